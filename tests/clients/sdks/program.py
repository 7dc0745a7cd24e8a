"""A program with one of the Python clients in it, and only its host changed.

It reads a list of calls a line, makes them, flushes, and prints what of them the client has sent. See `driver.py`.
"""

import json
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal

maker, url, key = sys.argv[1:]
if maker == "segment":
    from segment.analytics.client import Client
else:
    from rudderstack.analytics.client import Client

ODD = {
    "nan": float("nan"), "infinite": float("-inf"), "huge": 2**70, "exact": 2**53 + 1, "large": 1e22, "nul": "a\0b",
    "half": "\ud800", "price": Decimal("19.90"), "at": datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC), "kinds": {"a"},
}  # fmt: skip
failed = []
client = Client(key, host=url, on_error=lambda error, batch: failed.extend((error, event) for event in batch))


def called(call):
    """Make a call; return whether the client has taken it."""
    kind, user, anonymous, data = call["kind"], call.get("user"), call.get("anonymous"), call.get("data")
    who = {"user_id": user, "anonymous_id": anonymous}
    match kind:
        case "track":
            data = {**ODD, **data} if call.get("odd") else data
            taken, _ = client.track(event=call["name"], properties=data, **who)
        case "page":
            taken, _ = client.page(name=call["name"], properties=data, **who)
        case "identify":
            taken, _ = client.identify(traits=data, **who)
        case "group":
            taken, _ = client.group(group_id=call["group"], traits=data, **who)
        case "alias":
            taken, _ = client.alias(previous_id=call["previous"], user_id=user)
    return taken


def number(event):
    return (event.get("properties") or {}).get("n")


for line in sys.stdin:
    calls = json.loads(line)
    numbers = set()
    for call in calls:
        taken = called(call)
        if taken and "n" in (call.get("data") or {}) and call["kind"] in {"track", "page"}:
            numbers.add(call["data"]["n"])
        time.sleep(call.get("wait", 0))
    client.flush()
    numbers -= {number(event) for _, event in failed}
    print(json.dumps({"sent": sorted(numbers), "failed": sorted({str(error) for error, _ in failed})}), flush=True)
    failed.clear()
client.shutdown()
