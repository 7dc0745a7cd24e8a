"""What a connection may take of a real server: bytes, seconds, room; and that others do not notice."""

import json
import resource
import time
from types import SimpleNamespace

import httpx
import pytest

from api.sockets import PATIENCE, Client, resident, until
from harness import TENANT, interaction, portrait, server
from portrait.api.connections import MOST_BETWEEN_LOOKS, Guard, Limits

MIB = 2**20
LIMITS = {"head_seconds": 1, "answer_seconds": 1, "linger_seconds": 1, "linger_bytes": MIB}
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("connections") / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=path).returncode == 0
    return path


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def served(request, database):
    words = ("--auth", "open", "--workers", str(request.param), "--keep-alive-seconds", "4")
    with server(database, *words, limits=LIMITS) as (url, process):
        until(lambda: answers(url))
        yield url, process


@pytest.fixture(scope="module")
def alone(database):
    with server(database, "--keep-alive-seconds", "4", limits=LIMITS) as (url, process):
        until(lambda: answers(url))
        yield url, process


def answers(url):
    try:
        return httpx.get(f"{url}/health/live", timeout=PATIENCE).status_code == 200
    except httpx.HTTPError:
        return False


def head(size, name="x-filler"):
    """Return a head of so many bytes."""
    begin, end = LIVE[:-2] + name.encode() + b": ", b"\r\n\r\n"
    return begin + b"a" * (size - len(begin) - len(end)) + end


HEADS = {
    "one field": (head(2**16 + 1), 431, "head_too_large"),
    "one field without an end": (LIVE[:-2] + b"a: " + b"b" * 2**17, 431, "head_too_large"),
    "one name without an end": (LIVE[:-2] + b"a" * 2**17, 431, "head_too_large"),
    "many fields": (LIVE[:-2] + b"a: b\r\n" * 300 + b"\r\n", 431, "head_too_large"),
    "many fields without an end": (LIVE[:-2] + b"a: b\r\n" * 9000, 431, "head_too_large"),
    "a target": (b"GET /" + b"a" * 2**16 + b" HTTP/1.1\r\n\r\n", 414, "target_too_long"),
    "a target without an end": (b"GET /" + b"a" * 2**17, 414, "target_too_long"),
    "a query": (b"GET /health/live?" + b"a" * 2**16 + b" HTTP/1.1\r\n\r\n", 414, "target_too_long"),
    "blank lines": (b"\r\n" * 2**16, 431, "head_too_large"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_is_too_large_is_refused_and_the_connection_closed(served, name):
    sent, status, code = HEADS[name]
    with Client(served[0]) as client:
        assert client.send(sent).refused() == (status, code)
        assert client.ends() == b""


def test_a_head_of_the_largest_size_is_taken(served):
    with Client(served[0]) as client:
        assert client.send(head(2**16)).answer()[0] == 200
        assert client.send(head(2**16 + 1)).refused() == (431, "head_too_large")


MALFORMED = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    "another version": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no such method": b"GTE /health/live HTTP/1.1\r\n\r\n",
    "no colon": LIVE[:-2] + b"header\r\n\r\n",
    "a blank before the colon": LIVE[:-2] + b"a : b\r\n\r\n",
    "NUL in a value": LIVE[:-2] + b"a: \x00\r\n\r\n",
    "a path that is not ASCII": "GET /é HTTP/1.1\r\n\r\n".encode(),
    "no path": b"GET http://[::1 HTTP/1.1\r\n\r\n",
    "two lengths": LIVE[:-2] + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a length that is none": LIVE[:-2] + b"Content-Length: -1\r\n\r\n",
    "length and chunks": LIVE[:-2] + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a body and an upgrade": LIVE[:-2] + b"Content-Length: 5\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nabcde",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_a_problem_and_closes_the_connection(served, name):
    with Client(served[0]) as client:
        assert client.send(MALFORMED[name]).refused() == (400, "malformed_request")
        assert client.ends() == b""


def test_earlier_requests_are_answered_before_the_problem(served):
    with Client(served[0]) as client:
        client.send(LIVE * 3 + MALFORMED["no colon"] + LIVE)
        assert [client.answer()[0] for _ in range(3)] == [200] * 3
        assert client.refused() == (400, "malformed_request")
        assert client.ends() == b""


def test_a_body_that_breaks_off_is_a_problem_for_its_own_request(served):
    post = (
        b"POST /api/v1/customers/c1/segments HTTP/1.1\r\nHost: localhost\r\nX-Tenant-Id: my-tenant\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\nno size\r\n"
    )
    with Client(served[0]) as client:
        assert client.send(post).refused() == (400, "malformed_request")
    with Client(served[0]) as client:
        client.send(LIVE + post)
        assert client.answer()[0] == 200
        assert client.refused() == (400, "malformed_request")


def test_an_endless_field_behind_a_body_is_refused(served):
    post = (
        b"POST /api/v1/customers/c1/segments HTTP/1.1\r\nHost: localhost\r\nX-Tenant-Id: my-tenant\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n0\r\nx: "
    )
    with Client(served[0]) as client:
        client.send(post).pour(b"a" * 2**16, 2**18)
        assert client.refused() == (431, "head_too_large")


def test_an_upgrade_is_answered_as_what_it_is_and_the_connection_closed(served):
    with Client(served[0]) as client:
        client.send(LIVE[:-2] + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + LIVE)
        status, headers, _ = client.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert client.ends() == b""


def test_a_connection_answers_requests_up_to_a_limit_and_closes(served):
    with Client(served[0]) as client:
        client.send(LIVE * 1000)
        answered = client.ends().split(b"HTTP/1.1 ")[1:]
        assert 64 <= len(answered) < 1000
        assert [b"connection: close" in part for part in answered] == [False] * (len(answered) - 1) + [True]


def test_a_half_head_is_refused_in_time(served):
    with Client(served[0]) as fresh, Client(served[0]) as used:
        fresh.send(LIVE[:20])
        assert used.send(LIVE).answer()[0] == 200
        used.send(LIVE[:20])
        for client in (fresh, used):
            assert client.refused() == (408, "head_too_slow")
            assert client.ends() == b""


def test_a_head_that_drips_is_refused_in_time(served):
    with Client(served[0]) as client:
        begun = time.monotonic()
        for byte in LIVE[:-2] + b"a: " + b"b" * 10_000:
            if client.pour(bytes([byte]), 1) == 0 or not client.is_open():
                break
            assert time.monotonic() - begun < PATIENCE


def test_a_connection_that_asks_nothing_is_closed(served):
    with Client(served[0]) as client:
        assert client.ends() == b""


def test_between_requests_a_connection_waits_longer_than_a_head(served):
    with Client(served[0]) as client:
        for _ in range(2):
            assert client.send(LIVE).answer()[0] == 200
            time.sleep(2.5 * LIMITS["head_seconds"])
            assert client.is_open()
        assert client.ends() == b""


KEYS = {
    "no credential": (b"/api/v1/records", b"", 401),
    "no such method": (b"/health/live", b"", 405),
    "no such operation": (b"/nowhere", b"", 404),
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("size", [b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_endless_body_is_not_read_once_it_is_refused(alone, name, size):
    path, more, expected = KEYS[name]
    endless(alone, path, size + more, expected)


BODIES = {
    "another type": (b"Content-Type: text/plain\r\n", 415),
    "too large": (b"Content-Type: application/json\r\n", 413),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("size", [b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("path", [b"/api/v1/records", b"/api/v1/customers/c1/segments"])
def test_a_body_of_the_wrong_kind_is_not_read_on(served, name, size, path):
    more, expected = BODIES[name]
    if (name, path, size[:1]) == ("too large", b"/api/v1/records", b"T"):
        size += b"X-Tenant-Id: nobody\r\n"
        expected = 403
    else:
        size += b"X-Tenant-Id: my-tenant\r\n"
    endless(served, path, size + more, expected)


def endless(served, path, fields, expected):
    """Send an endless body; assert that it is refused and answered, and that the server does not read it."""
    url, process = served
    before = resident(process.pid)
    head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n"
    piece = b"10000\r\n" + b" " * 2**16 + b"\r\n" if b"chunked" in fields else b" " * 2**16
    with Client(url) as client:
        client.send(head)
        if expected != 413 or b"Length" in fields:
            status, _ = client.refused()
            assert status == expected
        # The socket buffers on both sides add to the bytes that the server throws away.
        assert client.pour(piece, 256 * MIB) < 64 * MIB
    assert resident(process.pid) - before < 24 * MIB


def test_a_client_that_waits_for_leave_is_refused_without_a_body(alone):
    with Client(alone[0]) as client:
        client.send(
            b"POST /api/v1/records HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.refused() == (401, "unauthenticated")
        assert client.ends() == b""


def test_an_answer_behind_a_whole_body_keeps_the_connection(served):
    body = json.dumps(interaction(1)).encode()
    post = (
        b"POST /api/v1/customers/c1/interactions HTTP/1.1\r\nHost: localhost\r\nX-Tenant-Id: %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    ) % (TENANT.encode(), len(body))
    with Client(served[0]) as client:
        assert client.send(post + body).answer()[0] == 201
        assert client.send(post).send(body).answer()[0] == 201
        assert client.send(LIVE).answer()[0] == 200


def test_a_client_that_does_not_read_its_answers_is_let_go(served):
    with Client(served[0], receive=4096) as client:
        client.send(LARGE * 60)
        until(lambda: client.pour(LIVE, 1) == 0)  # its end is no longer there


def test_a_client_that_reads_slowly_but_steadily_has_all(served):
    with Client(served[0]) as other:
        size = len(other.send(LARGE).answer()[2])
    with Client(served[0], receive=2**16) as client:
        client.send(LARGE * 40)
        for _ in range(40):
            status, _, body = client.answer()
            assert (status, len(body)) == (200, size)
            time.sleep(0.05)


def test_heads_and_bodies_of_many_take_little_memory(alone):
    url, process = alone
    before = resident(process.pid)
    clients = [Client(url) for _ in range(60)]
    try:
        for number, client in enumerate(clients):
            client.send(LIVE[:-2] if number % 2 else LIVE.replace(b"GET", b"POST")[:-2])
            client.send(b"x: " if number % 3 else b"Transfer-Encoding: chunked\r\n\r\n5;")
        for client in clients:
            assert client.pour(b"a" * 2**16, 64 * MIB) < 64 * MIB
        assert resident(process.pid) - before < 48 * MIB
    finally:
        for client in clients:
            client.socket.close()
    with Client(url) as client:
        assert client.send(LIVE).answer()[0] == 200


def test_more_connections_than_a_process_takes_are_refused_and_logged(database):
    log = []
    with server(database, "--auth", "open", "--connections", "6", limits={**LIMITS, "head_seconds": 30}, log=log) as (
        url,
        _,
    ):
        until(lambda: answers(url))
        until(lambda: takes(url))
        clients = []
        try:
            while len(clients) < 6:
                clients.append(Client(url))
            assert all(client.send(LIVE).answer()[0] == 200 for client in clients)
            for _ in range(20):
                with Client(url) as client:
                    status, headers, body = client.answer()
                    assert (status, headers["retry-after"]) == (503, "1")
                    assert json.loads(body)["code"] == "too_many_connections"
                    assert client.ends() == b""
            assert all(client.send(LIVE).answer()[0] == 200 for client in clients)
            until(lambda: any("connections were refused" in line for line in log))
            crowd = [Client(url) for _ in range(200)]  # only some of them get an answer
            for client in crowd:
                client.socket.close()
            clients.pop().socket.close()
            until(lambda: takes(url))
        finally:
            for client in clients:
                client.socket.close()
    lines = [line for line in log if "connections were refused" in line]
    assert 1 <= len(lines) <= 3
    assert "6 are open" in lines[0]


def takes(url):
    with Client(url) as client:
        try:
            return client.send(LIVE).answer()[0] == 200
        except (OSError, AssertionError):
            return False


def test_few_file_descriptors_lower_the_number_of_connections(database):
    log = []

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

    with server(database, "--auth", "open", limits=LIMITS, log=log, preexec_fn=few) as (url, _):
        until(lambda: answers(url))
        silent = [Client(url) for _ in range(200)]
        until(lambda: any("connections were refused" in line for line in log))
        for client in silent:
            client.ends()
            client.socket.close()
        until(lambda: takes(url))
    assert sum("32 connections at once, not 1000: the limit of open files is 128" in line for line in log) == 1
    assert not [line for line in log if "Traceback" in line or "Too many open files" in line]


def test_the_server_does_not_start_with_too_few_file_descriptors(database):
    def none():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    refused = portrait("serve", "--port", "0", database=database, preexec_fn=none)
    assert refused.returncode == 1
    assert refused.stderr.startswith("portrait: The limit of open files is 64. Raise it, to ")


@pytest.mark.parametrize("seconds", [1, 10**6])
def test_connections_are_looked_at_often_enough_for_every_limit(seconds):
    delays = []
    limits = Limits(keep_alive_seconds=seconds, head_seconds=10**6, answer_seconds=10**6, linger_seconds=10**6)
    Guard(limits).join(object(), SimpleNamespace(call_later=lambda delay, *_: delays.append(delay)))
    assert delays == [min(seconds / 4, MOST_BETWEEN_LOOKS)]


def test_few_of_the_connections_beyond_the_limit_get_an_answer_and_others_are_cut_off():
    ends = []
    guard = Guard(Limits(connections=1, spare=2))
    loop = SimpleNamespace(call_later=lambda *_: None)

    class Stranger:
        def stop(self, error):
            ends.append(error.code)

        def abort(self):
            ends.append("cut off")

    strangers = [Stranger() for _ in range(5)]
    for stranger in strangers:
        guard.join(stranger, loop)
    assert ends == ["too_many_connections", "too_many_connections", "cut off", "cut off"]
    guard.leave(strangers[1])
    guard.join(Stranger(), loop)
    assert ends[4:] == ["too_many_connections"]
