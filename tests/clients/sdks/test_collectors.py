"""What the Python clients of PostHog and Snowplow send, with only their host changed, is stored once, in order."""

from time import sleep

import pytest

from clients.sdks.conftest import HERE
from clients.sdks.driver import Program
from clients.sdks.test_sdks import MANY, STREAM, Calls, assert_in_order, did, numbers

pytestmark = [pytest.mark.registries, pytest.mark.timeout(600)]


@pytest.fixture(params=["posthog", "snowplow"])
def maker(request):
    return request.param


@pytest.fixture
def sender(maker, python, collector, tmp_path):
    running = Program((python, HERE / "collectors.py", maker, collector.url, collector.key), tmp_path)
    yield running
    running.close()


def test_two_people_stay_two_with_what_each_did(maker, sender, collector):
    calls, sent = Calls(), {}
    for user in ("ann", "ben"):
        sent[user] = [calls.track(user, "Clicked") for _ in range(MANY)]
        did(sender, [calls.identify(user, plan="free", email=f"{user}@shop.example.org"), *sent[user]])
    for user, events in sent.items():
        kept = collector.settled(user, MANY)
        assert sorted(event.n for event in kept) == numbers(events)
        assert_in_order(kept)
        customer, links = collector.customer(user)
        assert customer == user
        mails = {value for type_, value in links if type_ == "email"}
        assert mails == ({f"{user}@shop.example.org"} if maker == "posthog" else set())
    assert collector.refused() == []


def test_what_was_sent_is_there_once_when_the_server_is_restarted_or_stands_still(sender, collector):
    calls = Calls()
    stream = [calls.track("fay", wait=0.01) for _ in range(STREAM)]
    sender.begin(stream)
    sleep(0.4)
    collector.restart()
    sent, failed = sender.answer()
    assert failed == []
    held = [calls.track("fay") for _ in range(30)]
    with collector.held_up():
        sender.begin(held)
        sleep(2)
    sent += sender.answer()[0]
    kept = collector.settled("fay", STREAM + 30)
    assert sorted(event.n for event in kept) == sorted(sent) == numbers([*stream, *held])
    assert_in_order(kept)
    assert collector.refused() == []
