"""A program with the Python client of PostHog or Snowplow in it, and only its host changed. See `program.py`."""

import json
import sys
import time
from urllib.parse import urlsplit

maker, url, key = sys.argv[1:]
failed = []

if maker == "posthog":
    from posthog import Posthog

    client = Posthog(key, host=url, on_error=lambda error, batch: failed.extend((error, event) for event in batch))

    def track(user, name, data):
        client.capture(name, distinct_id=user, properties=data)

    def identify(user, traits):
        client.set(distinct_id=user, properties=traits)

    def flushed():
        client.flush()
        return {event["properties"]["n"] for _, event in failed if "n" in event["properties"]}

else:
    from snowplow_tracker import Emitter, SelfDescribing, SelfDescribingJson, Subject, Tracker

    emitter = Emitter(urlsplit(url).hostname, port=urlsplit(url).port, protocol="http", batch_size=10)
    client = Tracker("here", emitter, app_id=key)

    def track(user, name, data):
        what = SelfDescribingJson(f"iglu:org.example/{name.lower()}/jsonschema/1-0-0", data)
        client.track(SelfDescribing(what, event_subject=Subject().set_user_id(user)))

    def identify(user, traits):
        """Do nothing: Snowplow's events carry no traits."""

    def flushed():
        while emitter.event_store.size():
            client.flush()
            time.sleep(0.2)
        return set()


for line in sys.stdin:
    numbers = set()
    for call in json.loads(line):
        if call["kind"] == "identify":
            identify(call["user"], call["data"])
        else:
            track(call["user"], call["name"], call["data"])
            numbers.add(call["data"]["n"])
        time.sleep(call.get("wait", 0))
    numbers -= flushed()
    print(json.dumps({"sent": sorted(numbers), "failed": sorted({str(error) for error, _ in failed})}), flush=True)
    failed.clear()
