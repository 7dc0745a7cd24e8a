"""What a connection holds to by itself: how much its parser gets, and how slowly an answer may be taken."""

from types import SimpleNamespace

import pytest

from portrait.api.connections import Limits
from portrait.api.guarded import FULL, Guarded

LIMITS = Limits(head_bytes=100, answer_seconds=30, answer_bytes=1000)


class Alone(Guarded):
    """A connection that nothing serves; it notes what its parser gets and whether it is cut off."""

    def __init__(self):
        self._limits = LIMITS
        self._state = self._discarded = self._waiting = 0
        self._since = self._waiting_since = 0.0
        self._waiting_for = self.cycle = self.scope = None
        self.headers = []
        self.fed = []
        self.is_cut_off = False
        self.parser = SimpleNamespace(feed_data=lambda data: self.fed.append(len(data)))
        self.loop = SimpleNamespace(time=lambda: 0.0)

    def stop(self, error):
        self._state = FULL

    def discard(self, size):
        self._discarded += size

    def abort(self):
        self.is_cut_off = True

    @property
    def transport(self):
        return self

    @transport.setter
    def transport(self, transport):
        pass


@pytest.mark.parametrize("size", [100, 101, 1000])
def test_the_parser_gets_no_more_bytes_at_once_than_a_head_may_have(size):
    connection = Alone()
    connection.data_received(b"a" * size)
    assert connection.fed == {100: [100], 101: [100, 1], 1000: [100, 100]}[size]
    assert sum(connection.fed) + connection._discarded == size


@pytest.mark.parametrize(("taken", "is_cut_off"), [(0, True), (999, True), (1000, False), (5000, False)])
def test_a_client_that_takes_too_little_of_an_answer_in_its_time_is_cut_off(taken, is_cut_off):
    connection = Alone()
    connection._look_at_reader(10_000, 0.0)
    connection._look_at_reader(10_000 - taken, 30.0)
    assert not connection.is_cut_off
    connection._look_at_reader(10_000 - taken, 30.1)
    assert connection.is_cut_off == is_cut_off
