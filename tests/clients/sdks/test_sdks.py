"""What clients of other makers send, with only their host changed, is stored once, in order, and for the right person.

Each test runs once with every client, against a server that is restarted once. With LONG_CLIENTS=1 in the environment
what is sent is sent five times, with a restart each time, and the server stands still for longer than clients wait for
an answer.
"""

import json
import os
from itertools import count, pairwise
from time import sleep
from typing import NamedTuple

import pytest

from clients.sdks.conftest import CLIENTS

pytestmark = [pytest.mark.registries, pytest.mark.timeout(1800)]


class Load(NamedTuple):
    """How often what is sent is sent, and how long the server stands still, in seconds."""

    rounds: int
    standstill: float


LOAD = Load(5, 20) if os.environ.get("LONG_CLIENTS") else Load(1, 2)
MANY = 120
"""Events at once: more than any client puts into one batch."""
LARGE = 100
"""Events of 30 kB at once."""
STREAM = 80
"""Events, a hundredth of a second apart, while the server is restarted."""
BROWSERS = [client for client in CLIENTS if client.is_in_browser]
KILOBYTES_30 = "x" * 30_000


class Calls:
    """Makes calls, each with a number of its own."""

    def __init__(self):
        self._numbers = count()

    def track(self, user, name="Clicked", anonymous=None, **more):
        return self._call("track", user, anonymous, name=name, **more)

    def page(self, user, name, anonymous=None):
        return self._call("page", user, anonymous, name=name)

    def identify(self, user, anonymous=None, **traits):
        return {"kind": "identify", "user": user, "anonymous": anonymous, "data": traits}

    def _call(self, kind, user, anonymous, data=None, **more):
        data = {"n": next(self._numbers), **(data or {})}
        return {"kind": kind, "user": user, "anonymous": anonymous, "data": data, **more}


def numbers(calls):
    return [call["data"]["n"] for call in calls if call["kind"] in {"track", "page"}]


def did(sender, calls):
    """Have calls made, and return which of them the client has sent."""
    sender.begin(calls)
    return sender.answer()[0]


def assert_in_order(kept):
    """Assert that events are in the order of the calls; those of one millisecond may be in any."""
    assert [event.millisecond for event in kept] == [
        event.millisecond for event in sorted(kept, key=lambda event: event.n)
    ]


def test_two_people_on_one_device_stay_two_with_what_each_did(client, sender, collector):
    calls = Calls()
    visit = {}
    landed = calls.track(None, "Landed", "device-1")
    batches = [[landed]]
    for user in ("ann", "ben"):
        batches.append([calls.identify(user, "device-1", email=f"{user}@shop.example.org", plan="free")])
        visit[user] = [
            calls.track(user, "Looked", "device-1"),
            calls.page(user, "Basket", "device-1"),
            {"kind": "group", "user": user, "anonymous": "device-1", "group": f"team-{user}", "data": {"size": 3}},
            calls.track(user, "Bought", "device-1"),
        ]
        batches.append([*visit[user]])
    batches.insert(3, [])  # here ann has been seen, and ben has not
    batches.append([{"kind": "alias", "user": "ben", "previous": "ben-before"}])
    batches.append([{"kind": "alias", "user": "ben", "previous": "ann"}])
    for batch in batches:
        if batch:
            assert did(sender, batch) == numbers(batch)
        else:
            every = sorted(numbers([landed, *visit["ann"]]))
            assert sorted(event.n for event in collector.settled("ann", len(every))) == every
    sleep(1)  # pages say nothing of what has no number
    for user, other in (("ann", "ben"), ("ben", "ann")):
        customer, links = collector.customer(user)
        assert customer == user
        assert not links & {("customer_id", other), ("email", f"{other}@shop.example.org")}
        # What a device did before is nobody's once two people have used it: some clients give each an id anew.
        may_be = numbers([landed]) if user == "ann" else []
        kept = [event for event in collector.settled(user, len(numbers(visit[user]))) if event.n not in may_be]
        assert sorted(event.n for event in kept) == numbers(visit[user])
        assert_in_order(kept)
        attributes = collector.attributes(user)
        assert (attributes["plan"], attributes["group"]["groupId"]) == ("free", f"team-{user}")
    assert (("anonymous_id", "ben-before") in collector.customer("ben")[1]) == client.has_alias
    assert collector.refused() == []


def test_many_and_large_events_are_each_there_once_and_in_order(client, sender, collector):
    calls = Calls()
    sent = {"cara": [], "dan": []}
    for _ in range(LOAD.rounds):
        batches = {
            "cara": [calls.track("cara", f"Step {n}") for n in range(MANY)],
            "dan": [calls.track("dan", data={"text": KILOBYTES_30}) for _ in range(LARGE)],
        }
        for user, batch in batches.items():
            assert did(sender, [calls.identify(user), *batch]) == numbers(batch)
            sent[user] += numbers(batch)
            kept = collector.settled(user, len(sent[user]))
            assert sorted(event.n for event in kept) == sent[user]
            assert_in_order(kept)
    assert {event.properties["text"] for event in collector.kept("dan")} == {KILOBYTES_30}
    assert collector.refused() == []


def test_values_that_not_every_json_holds_cost_no_event(client, sender, collector):
    calls = Calls()
    batch = [calls.track("eve", "Odd", odd=number == 1) for number in range(3)]
    assert did(sender, [calls.identify("eve"), *batch]) == numbers(batch)
    kept = collector.settled("eve", 3)
    assert sorted(event.n for event in kept) == numbers(batch)
    [odd] = [event.properties for event in kept if "huge" in event.properties]
    assert (odd.get("nan"), odd.get("infinite"), odd["nul"], odd["half"]) == (None, None, "a\ufffdb", "\ufffd")
    assert (odd["large"], odd["price"]) == (1e22, 19.9)
    written = ("1180591620717411303424", 2**53 + 1) if client.runs_in == "python" else (2.0**70, 2**53 - 1)
    assert (odd["huge"], odd["exact"]) == written
    assert collector.refused() == []


def test_what_was_sent_is_there_once_when_the_server_is_restarted_or_stands_still(client, sender, collector):
    calls = Calls()
    did(sender, [calls.identify("fay")])
    stream, sent = [], []
    for _ in range(LOAD.rounds):
        part = [calls.track("fay", wait=0.01) for _ in range(STREAM)]
        sender.begin(part)
        sleep(0.4)
        collector.restart()
        answered, failed = sender.answer()
        assert failed == [] or not client.tries_again
        stream += part
        sent += answered
    # Those without a wait are in one batch, in the order of the calls: the client is busy with the one before them.
    held = [calls.track("fay", "Held", wait=0.7), *(calls.track("fay", "Held") for _ in range(12))]
    with collector.held_up():
        sender.begin(held)
        sleep(LOAD.standstill)
    sent += sender.answer()[0]
    after = [calls.track("fay", "After")]
    sent += did(sender, after)
    kept = collector.settled("fay", len(sent))
    stored = sorted(event.n for event in kept)
    every = numbers([*stream, *held, *after])
    print(f"{client.name} {client.runs_in}: {len(every)} called, {len(sent)} sent, {len(stored)} stored")
    assert len(stored) == len(set(stored))
    assert set(sent) <= set(stored) <= set(every)
    assert_in_order(kept)
    if client.tries_again:
        assert stored == every
    if not client.is_in_browser:
        assert [event.n for event in kept if event.name == "Held"] == numbers(held)
        moments = [event.moment for event in kept if event.name == "Held"]
        assert all(before < after for before, after in pairwise(moments))
    assert set(numbers(after)) <= set(sent)
    assert collector.customer("fay")[0] == "fay"


@pytest.mark.parametrize("client", BROWSERS, ids=lambda client: client.name, indirect=True)
def test_what_a_page_sends_again_after_it_is_loaded_anew_is_there_once(client, sender, collector):
    calls = Calls()
    did(sender, [calls.identify("hal")])
    left = []
    for _ in range(LOAD.rounds):
        part = [*(calls.track("hal") for _ in range(29)), calls.track("hal", wait=0.05)]
        sender.begin([*part, {"kind": "reload"}])
        left += part
    after = [calls.track("hal", "After")]
    sent = did(sender, [calls.identify("hal"), *after])
    kept = collector.settled("hal", len(sent))
    stored = sorted(event.n for event in kept)
    every = numbers([*left, *after])
    print(f"{client.name}: {len(every)} called, {len(sent)} sent, {len(stored)} stored")
    assert len(stored) == len(set(stored))
    assert set(numbers(after)) <= set(sent) <= set(stored) <= set(every)
    assert_in_order(kept)


def test_a_refused_event_is_listed_with_its_reason_and_costs_no_other(client, sender, collector):
    calls = Calls()
    bad = [calls.track("undefined") for _ in range(2)]
    good = [calls.track("gil") for _ in range(3)]
    did(sender, [calls.identify("undefined"), *bad])
    assert did(sender, [calls.identify("gil"), *good]) == numbers(good)
    assert sorted(event.n for event in collector.settled("gil", 3)) == numbers(good)
    refused = [(code, detail, json.loads(body)) for code, detail, body in collector.refused()]
    assert sorted(event["properties"]["n"] for _, _, event in refused if event["type"] == "track") == numbers(bad)
    assert {event["userId"] for _, _, event in refused} == {"undefined"}
    assert all(code and detail for code, detail, _ in refused)
    assert collector.customer("undefined") is None
