"""A write key lets in so many events a second, a while of it at once, and tells whoever sends more how long to wait."""

from hypothesis import given
from hypothesis import strategies as st

from portrait.collecting import limits
from portrait.collecting.limits import BURST_SECONDS, EVENT_BYTES, MAX_WAIT, KeyLimits


class Seconds:
    """A clock that somebody sets."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_burst_is_let_in_and_the_next_once_it_is_made_up_for():
    clock = Seconds()
    counted = KeyLimits(clock)
    assert counted.wait("k", 10) == 0
    counted.count("k", 10, [b"{}"] * 10 * BURST_SECONDS)
    assert counted.wait("k", 10) == 1
    assert counted.wait("other", 10) == 0
    clock.now = 0.5
    assert counted.wait("k", 10) == 0


def test_a_batch_is_taken_while_anything_is_left_and_owed_afterwards():
    clock = Seconds()
    counted = KeyLimits(clock)
    counted.count("k", 1, [b"{}"] * 10 * BURST_SECONDS)
    wait = counted.wait("k", 1)
    assert wait == 9 * BURST_SECONDS
    clock.now = wait - 1
    assert counted.wait("k", 1) == 1
    clock.now = wait + 0.5
    assert counted.wait("k", 1) == 0


def test_a_large_event_counts_as_several():
    small, large = KeyLimits(Seconds()), KeyLimits(Seconds())
    small.count("k", 1, [b"x" * (EVENT_BYTES - 1)] * 40)
    large.count("k", 1, [b"x" * 3 * EVENT_BYTES] * 10)
    assert small.wait("k", 1) == large.wait("k", 1) == 40 - BURST_SECONDS


def test_nobody_is_asked_to_wait_longer_than_clients_do():
    counted = KeyLimits(Seconds())
    counted.count("k", 1, [b"{}"] * 100_000)
    assert counted.wait("k", 1) == MAX_WAIT == 300


def test_what_came_with_keys_of_long_ago_is_forgotten(monkeypatch):
    monkeypatch.setattr(limits, "MAX_KEYS", 3)
    counted = KeyLimits(Seconds())
    for key in "abcd":
        counted.count(key, 1, [b"{}"] * 100)
    assert [counted.wait(key, 1) > 0 for key in "abcd"] == [False, True, True, True]
    assert len(counted._left) == 3


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 500)), max_size=30), st.integers(1, 100))
def test_over_any_time_no_more_is_let_in_than_the_rate_the_burst_and_one_batch(sent, rate):
    clock = Seconds()
    counted = KeyLimits(clock)
    let_in = 0
    for pause, events in sent:
        clock.now += pause
        if counted.wait("k", rate) == 0:
            assert let_in <= rate * (clock.now + BURST_SECONDS) + 1e-6
            counted.count("k", rate, [b"{}"] * events)
            let_in += events
