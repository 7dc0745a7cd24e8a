"""Answers go out whole and in one write, with the bytes that uvicorn would send itself."""

import asyncio
import logging
import socket
from urllib.parse import urlsplit

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from harness import TENANT, interaction, portrait, server
from portrait.api.application import _send
from portrait.api.connections import Guard, Limits
from portrait.api.guarded import IDLE
from portrait.api.operation import Answer, lines
from portrait.api.wire import OneWrite

ANSWERS = {
    b"/whole": Answer(200, b"{}", {"etag": 'W/"1"'}, lines({"cache-control": "no-store"})),
    b"/large": Answer(201, b"x" * 70_000, {"content-type": "text/plain"}),
    b"/empty": Answer(204, b""),
    b"/same": Answer(304, b"", {"etag": 'W/"2"'}),
    b"/full": Answer(503, b"busy", {"retry-after": "1"}),
    b"/unknown": Answer(404, b"no", {"www-authenticate": 'Bearer realm="portrait"'}),
}


async def app(scope, receive, send):
    """Answer as the application does, and in the ways that the query names."""

    async def to_the_end():
        while (await receive())["type"] != "http.disconnect":
            pass

    how = scope["query_string"]
    reading = asyncio.create_task(to_the_end()) if how == b"reading" else None
    if how in {b"later", b"reading"}:
        await asyncio.sleep(0)
    await _send(ANSWERS[scope["raw_path"]], "7", scope, send)
    if how == b"twice":
        await _send(ANSWERS[scope["raw_path"]], "7", scope, send)
    if how == b"then-reading":
        await to_the_end()
    if reading:
        await reading


class Refusing:
    """The same application, which refuses `GET /full` before a request is made of it."""

    def __init__(self):
        self.refused = 0

    async def __call__(self, scope, receive, send):
        await app(scope, receive, send)

    def sheds(self):
        return True

    def refusal(self, method, target, headers):
        """Return the answer behind its status; None: the request is taken."""
        assert all(isinstance(field, bytes) for header in headers for field in header)
        if (method, target) != (b"GET", b"/full"):
            return None
        self.refused += 1
        answer = ANSWERS[b"/full"]
        head = f"{lines(answer.headers)}x-request-id: 7\r\ncontent-length: {len(answer.body)}\r\n\r\n"
        return head.encode() + answer.body


class Transport:
    """A transport that keeps the bytes written until it is closed."""

    def __init__(self):
        self.written = []
        self.closed = False
        self.ended = False
        self.after = ()

    def write(self, data):
        if data and not self.closed:
            self.written.append(data)

    def close(self):
        self.closed = True

    def write_eof(self):
        self.ended = True

    def is_closing(self):
        return self.closed

    def get_extra_info(self, name, default=None):
        del name
        return default

    def pause_reading(self):
        pass

    resume_reading = pause_reading


def exchange(protocol, received, *, application=app, access_log=False, paused=False, lost=False):
    """Return the transport after a protocol took pieces, a turn of the loop for each, and answered every request.

    Its `after` tells whether it was closed, how many requests were counted, and whether an idle client has a deadline.
    """

    async def scenario():
        config = uvicorn.Config(application, log_config=None, lifespan="off", proxy_headers=False)
        state = ServerState()
        state.default_headers = [(b"date", b"Mon, 30 Mar 2026 12:00:00 GMT"), (b"x-more", b"1")]
        ours = {"guard": Guard(Limits())} if protocol is OneWrite else {}
        connection, transport = protocol(config, state, {}, **ours), Transport()
        connection.access_log = access_log
        connection.connection_made(transport)
        if paused:
            connection.pause_writing()
        for piece in received:
            if not transport.closed:
                connection.data_received(piece)
            if not lost:
                await asyncio.sleep(0)
        if lost:
            connection.connection_lost(OSError())
        if paused:
            await asyncio.sleep(0)
            assert not transport.written
            connection.resume_writing()
        for _ in range(MANY):  # no task may wait for bytes that never come
            await asyncio.sleep(0)
        assert not state.tasks
        closed = transport.closed or transport.ended
        idle = (
            connection._state == IDLE and (connection.cycle is None or connection.cycle.response_complete)
            if ours
            else connection.timeout_keep_alive_task is not None
        )
        transport.after = closed, state.total_requests, idle and not closed
        connection.connection_lost(None)
        return transport

    return asyncio.run(scenario())


def asked(method, path, *headers, version="1.1", body=b""):
    """Return a request's bytes."""
    lengths = [f"Content-Length: {len(body)}"] if body else []
    head = "\r\n".join([f"{method} {path} HTTP/{version}", "Host: localhost", *headers, *lengths])
    return f"{head}\r\n\r\n".encode() + body


MANY = 100
"""More turns of the loop than any exchange takes."""
HOW = ("", "?later", "?reading", "?then-reading", "?twice")
HEADERS = ("Accept: */*", "Connection: close", "Expect: 100-continue")

requests = st.builds(
    asked,
    st.sampled_from(["GET", "HEAD", "POST"]),
    st.sampled_from([path.decode() + how for path in ANSWERS for how in HOW]),
    st.sampled_from([HEADERS[0], *HEADERS]),
    version=st.sampled_from(["1.1"] * 3 + ["1.0"]),
    body=st.sampled_from([b"", b"{}"]),
)


def alike(received, **options):
    """Assert that OneWrite acts as uvicorn's protocol; but it closes after an answer that precedes the body's end."""
    ours, theirs = exchange(OneWrite, received, **options), exchange(HttpToolsProtocol, received, **options)
    written, expected = b"".join(ours.written), b"".join(theirs.written)
    if ours.after[0] and written != expected and not options.get("lost"):
        before, close, after = written.rpartition(b"connection: close\r\n")
        assert close
        assert expected.startswith(before + after)
        return
    assert written == expected
    assert ours.after == theirs.after


@given(st.data())
def test_every_byte_is_uvicorns_own(data):
    sent = b"".join(data.draw(st.lists(requests, min_size=1, max_size=5)))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=6)))
    alike([sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)])


@given(st.data())
def test_a_refusal_before_a_request_is_made_is_answered_as_one_after_it(data):
    sent = b"".join(data.draw(st.lists(requests | st.just(asked("GET", "/full")), min_size=1, max_size=6)))
    received = pieces(data, sent)
    at_once = exchange(OneWrite, received, application=Refusing())
    later = exchange(OneWrite, received)
    assert b"".join(at_once.written) == b"".join(later.written)
    closed, _, idle = at_once.after  # how many are counted differs where the application fails behind an answer
    assert (closed, idle) == (later.after[0], later.after[2])


def test_a_request_with_a_body_is_refused_by_the_application():
    application = Refusing()
    transport = exchange(OneWrite, [asked("GET", "/full", body=b"{}")], application=application)
    assert application.refused == 0
    assert b"".join(transport.written) == b"".join(exchange(OneWrite, [asked("GET", "/full", body=b"{}")]).written)


def test_a_refusal_is_made_at_once_where_no_answer_is_owed():
    application = Refusing()
    full = asked("GET", "/full")
    transport = exchange(OneWrite, [full, full + asked("GET", "/whole"), full], application=application)
    assert application.refused == 3
    assert [answer.split(b" ", 2)[1] for answer in transport.written] == [b"503", b"503", b"200", b"503"]
    assert transport.after == (False, 4, True)


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_one_request_is_answered_as_uvicorn_would(method, how, header, lost):
    alike([asked(method, f"/whole{how}", header)], lost=lost)


@pytest.mark.parametrize("path", ANSWERS)
@pytest.mark.parametrize("header", ["Accept: */*", "Connection: close"])
def test_an_answer_is_one_write(path, header):
    assert len(exchange(OneWrite, [asked("GET", path.decode(), header)]).written) == 1


def test_a_client_that_does_not_read_is_waited_for():
    whole = exchange(OneWrite, [asked("GET", "/whole")])
    late = exchange(OneWrite, [asked("GET", "/whole")], paused=True)
    assert b"".join(late.written) == b"".join(whole.written)


def test_an_access_log_has_a_line_for_each_request(caplog):
    with caplog.at_level(logging.INFO, "uvicorn.access"):
        exchange(OneWrite, [asked("GET", "/whole"), asked("GET", "/same")], access_log=True)
    assert [record.args[-1] for record in caplog.records if record.name == "uvicorn.access"] == [200, 304]


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b", "a\nb", "\x00"])
def test_no_value_ends_its_line(value):
    with pytest.raises(ValueError, match="control"):
        lines({"etag": value})


class Sent:
    """An application that keeps the headers of its requests."""

    def __init__(self):
        self.headers = []

    async def __call__(self, scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        self.headers.append(list(scope["headers"]))
        await _send(ANSWERS[b"/whole"], "7", scope, send)


def limited(received, **limits):
    """Feed pieces to a connection with these limits; return its bytes, its requests' headers and its timers."""

    async def scenario():
        loop, timers = asyncio.get_running_loop(), []
        later, loop.call_later = loop.call_later, lambda *words: timers.append(words) or later(*words)
        asked = Sent()
        config = uvicorn.Config(asked, log_config=None, lifespan="off", proxy_headers=False, ws="none")
        connection, transport = OneWrite(config, ServerState(), {}, guard=Guard(Limits(**limits))), Transport()
        connection.connection_made(transport)
        for piece in received:
            connection.data_received(piece)
            await asyncio.sleep(0)
        for _ in range(MANY):
            await asyncio.sleep(0)
        connection.connection_lost(None)
        return b"".join(transport.written), asked.headers, timers

    return asyncio.run(scenario())


def pieces(data, sent):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=6)))
    return [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]


@given(st.data(), st.integers(0, 400), st.integers(0, 400), st.booleans())
def test_a_head_is_taken_up_to_its_limit_however_it_comes(data, path, field, follows):
    head = asked("GET", f"/{'p' * path}", f"x: {'v' * field}")
    written, taken, _ = limited(pieces(data, head + head * follows), head_bytes=300)
    first = written[:12]
    if len(head) <= 300:
        assert (first, len(taken)) == (b"HTTP/1.1 200", 1 + follows)
    else:
        assert first == (b"HTTP/1.1 414" if 2 * (path + 1) > 300 else b"HTTP/1.1 431")
        assert (written.count(b"HTTP/1.1 "), taken) == (1, [])


@given(st.data(), st.integers(1, 20), st.integers(1, 20))
def test_fields_are_counted(data, fields, most):
    head = asked("GET", "/whole", *["a: b"] * fields)
    written, taken, _ = limited(pieces(data, head), head_fields=most)
    assert (written[:12], len(taken)) == ((b"HTTP/1.1 200", 1) if fields < most else (b"HTTP/1.1 431", 0))


@given(st.data())
def test_fields_behind_a_body_are_not_the_requests(data):
    sent = asked("POST", "/whole", "transfer-encoding: chunked") + b"1\r\na\r\n0\r\nx-api-key: late\r\n\r\n"
    written, [taken], _ = limited(pieces(data, sent))
    assert written.startswith(b"HTTP/1.1 200")
    assert dict(taken) == {b"host": b"localhost", b"transfer-encoding": b"chunked"}


def test_no_request_sets_a_timer():
    few, many = (limited([asked("GET", "/whole")] * number)[2] for number in (1, 50))
    assert len(few) == len(many) == 1


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("wire") / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=path).returncode == 0
    with server(path, "--auth", "open") as (url, _):
        yield urlsplit(url)


def talk(served, *requests):
    """Send requests on one connection, each after the answer to the last; return the statuses."""
    statuses = []
    with (
        socket.create_connection((served.hostname, served.port), timeout=10) as connection,
        connection.makefile("rb") as answers,
    ):
        for request in requests:
            connection.sendall(request)
            statuses.append(int(answers.readline().split()[1]))
            length = 0
            while (line := answers.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name == b"content-length" else length
            if not request.startswith(b"HEAD") and statuses[-1] not in {304, 100}:
                answers.read(length)
    return statuses


def line(method, path, *headers, body=b""):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"X-Tenant-Id: {TENANT}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_one_connection_takes_answers_of_every_kind(served):
    profile = "/api/v1/customers/c1/unified-profile"
    body = str(interaction(1)).replace("'", '"').encode()
    post = line(
        "POST", "/api/v1/customers/c1/interactions", "Content-Type: application/json", f"Content-Length: {len(body)}",
        body=body,
    )  # fmt: skip
    waiting = post.removesuffix(body).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    asked = [post, line("GET", profile), line("HEAD", profile), line("GET", profile, "If-None-Match: *"),
             line("GET", "/nowhere"), line("GET", profile)]  # fmt: skip
    assert talk(served, *asked) == [201, 200, 200, 304, 404, 200]
    assert talk(served, waiting, body, line("HEAD", profile), line("GET", profile)) == [100, 201, 200, 200]
