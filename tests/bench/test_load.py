"""The load generator, against a small server in a thread: counts, statuses, faults. Never how fast."""

import asyncio
import math
import threading

import pytest

from bench import generator
from bench.generator import ClosedLoop, OpenLoop
from bench.load import Plan, fire
from bench.process import Failure

BODY = b"x" * 3000
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + BODY


class Answering(asyncio.Protocol):
    """Answers each request as its path says."""

    seen = ()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        type(self).seen += (data,)
        path = data.split(b" ")[1]
        if path == b"/slow-pieces":
            self.transport.write(GOOD[:20])
            loop = asyncio.get_running_loop()
            loop.call_later(0.01, self.transport.write, GOOD[20:100])
            loop.call_later(0.02, self.transport.write, GOOD[100:])
        elif path == b"/slow":
            asyncio.get_running_loop().call_later(0.3, self.transport.write, GOOD)
        elif path == b"/broken":
            self.transport.write(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n")
        elif path == b"/not-modified":
            self.transport.write(b"HTTP/1.1 304 Not Modified\r\netag: a\r\n\r\n")
        elif path == b"/endless":
            self.transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
        elif path == b"/gone":
            self.transport.close()
        else:
            self.transport.write(GOOD)


@pytest.fixture
def port():
    loop = asyncio.new_event_loop()
    Answering.seen = ()
    server = loop.run_until_complete(loop.create_server(Answering, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()


class Sent:
    """A connection that holds from when each request counts."""

    def __init__(self):
        self.since = []

    def send(self, request, since):
        self.since.append(since)


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def plan(port, *paths, **more):
    usual = {"requests": [get(path) for path in paths], "connections": 2, "seconds": 0.2, "warmup": 0.05}
    return Plan(port=port, **{**usual, **more})


def test_a_closed_loop_counts_answers(port):
    result = fire(plan(port, "/a", "/b"))
    assert result.requests > 0
    assert result.statuses[200] >= result.requests
    assert 0 < result.p50 <= result.p99


def test_answers_in_pieces_are_put_together(port):
    assert fire(plan(port, "/slow-pieces")).statuses.keys() == {200}


def test_a_status_without_a_body_needs_no_length(port):
    assert fire(plan(port, "/not-modified", expected=304)).statuses.keys() == {304}


@pytest.mark.parametrize(
    ("path", "message"),
    [("/broken", "status 500"), ("/gone", "closed by the server"), ("/endless", "without Content-Length")],
)
def test_what_goes_wrong_is_said(port, path, message):
    with pytest.raises(Failure, match=message):
        fire(plan(port, "/a", path))


def test_each_request_is_sent_once_where_that_is_asked_for(port):
    paths = [f"/{number}" for number in range(50)]
    result = fire(plan(port, *paths, once=True, warmup=0, seconds=30))
    assert result.requests == 50
    assert sorted(Answering.seen) == sorted(map(get, paths))
    assert result.seconds < 30


def test_of_requests_in_a_row_one_is_timed(port):
    paths = [f"/{number}" for number in range(9)]
    result = fire(plan(port, *paths, once=True, connections=1, warmup=0, seconds=30, every=3, timed=2))
    assert (result.requests, result.statuses[200]) == (3, 9)


def test_the_one_that_is_named_is_timed(port):
    loop = ClosedLoop(plan(port, "/a", every=3, timed=2))
    sent = Sent()
    for _ in range(6):
        loop.send(sent, b"", 7.0)
    assert sent.since == [-math.inf, -math.inf, 7.0] * 2


def test_a_slow_server_is_waited_for_until_it_has_answered_once(port):
    done = fire(plan(port, "/slow", connections=1, seconds=0.05))
    assert done.requests == 1
    assert done.seconds > 0.05


def test_an_open_loop_sends_at_its_rate_whatever_the_answers_do(port):
    result = fire(plan(port, "/a", rate=100.0, seconds=0.5, warmup=0))
    assert 48 <= result.requests <= 51


def test_an_open_loop_counts_waiting_from_when_a_request_was_due(port):
    # One connection takes 20 ms an answer: at 200 a second they queue, and the later ones wait ever longer.
    result = fire(plan(port, "/slow-pieces", rate=200.0, connections=1, seconds=0.5, warmup=0))
    assert result.p99 > 500


async def test_what_an_open_loop_could_not_send_for_want_of_a_connection_is_told_apart(port, monkeypatch):
    monkeypatch.setattr(generator, "GRACE", 0.0)
    result = await OpenLoop(plan(port, "/slow", rate=100.0, connections=1, seconds=0.2, warmup=0)).run()
    assert result.faults["requests without an answer"] == 1
    assert result.faults["requests for which no connection came free"] >= 10
