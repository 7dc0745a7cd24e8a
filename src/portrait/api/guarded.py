"""uvicorn's protocol for HTTP, held to limits."""

import asyncio
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from portrait.api.connections import Guard
from portrait.api.errors import new_request_id, problem
from portrait.api.operation import lines
from portrait.model import errors

IDLE, HEAD, BODY, FULL, LEFT = range(5)
"""What a connection reads: nothing yet, a head, a body, nothing until all is answered, nothing after that."""

_MALFORMED = errors.MalformedRequest("The request is not HTTP/1.1 (RFC 9112). Nothing after it is read.")
_UPGRADE = errors.MalformedRequest("The service speaks HTTP/1.1 only: send the body without Upgrade.")


class _Stopped(Exception):
    """Makes the parser stop; the connection knows why."""


class Guarded(HttpToolsProtocol):
    """uvicorn's protocol, held to limits: of a head, of a body's end, of what waits, and of time."""

    _taken: Any = None
    """The scope of the last request whose head was whole."""
    _fed = 0
    """Bytes since a head began; behind a head, since the last piece of the body."""
    url = b""

    def __init__(self, *words: Any, guard: Guard, **options: Any) -> None:
        super().__init__(*words, **options)
        self.headers = []
        self._guard = guard
        self._limits = guard.limits
        self._state = IDLE
        self._since = 0.0
        self._fault: errors.PortraitError | None = None
        self._discarded = 0
        self._waiting = 0
        self._waiting_since = 0.0
        self._waiting_for: Any = None

    def connection_made(  # type: ignore[override]  # as uvicorn has it
        self, transport: asyncio.Transport
    ) -> None:
        """Begin, if there is room."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._guard.join(self, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._guard.leave(self)
        super().connection_lost(exc)

    def look(self, now: float) -> None:
        """Let go of a client that keeps its connection open and does nothing."""
        waiting = self.transport.get_write_buffer_size()
        if waiting:
            self._look_at_reader(waiting, now)
            if self._state == LEFT:
                self._since = now
            return
        self._waiting = 0
        limits, state = self._limits, self._state
        cycle: Any = self.cycle
        if state == HEAD:
            patience = limits.head_seconds
        elif state == LEFT:
            patience = limits.linger_seconds
        elif state == IDLE and (cycle is None or cycle.response_complete):
            patience = limits.head_seconds if self._taken is None else limits.keep_alive_seconds
        else:
            return
        if now - self._since <= patience:
            return
        if state == HEAD:
            self.stop(errors.HeadTooSlow(f"The head did not arrive whole in {patience:g} seconds."))
        elif state == LEFT:
            self.transport.abort()
        else:
            self.transport.close()

    def _look_at_reader(self, waiting: int, now: float) -> None:
        """Let go of a client that does not take what is written for it."""
        if not self._waiting or self._waiting_for is not self.cycle:
            self._waiting, self._waiting_since, self._waiting_for = waiting, now, self.cycle
        elif now - self._waiting_since > self._limits.answer_seconds:
            if self._waiting - waiting < self._limits.answer_bytes:
                self.transport.abort()
            self._waiting, self._waiting_since = waiting, now

    def stop(self, error: errors.PortraitError | None) -> None:
        """Take nothing more from the client, and tell it why once its earlier requests are answered."""
        self._state, self._fault = FULL, error
        if not self._owes():
            self.tell()

    def _owes(self) -> bool:
        """Return whether an earlier request is still to be answered."""
        if self.pipeline and self.pipeline[0][0].more_body:  # the request can no longer arrive whole
            self.pipeline.popleft()
            return True
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        if cycle.more_body:
            cycle.disconnected = True
            cycle.message_event.set()
            return False
        if self._fault is None:
            cycle.keep_alive = False
        return True

    def tell(self) -> None:
        """Say why nothing more is taken, and leave."""
        if self._fault is None:
            self.transport.close()
            return
        request_id = new_request_id()
        status, headers, body = problem(self._fault, request_id)
        headers |= {"x-request-id": request_id, "content-length": str(len(body)), "connection": "close"}
        begin = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        defaults = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        self.transport.write(b"".join([begin, *defaults, lines(headers).encode(), b"\r\n", body]))
        self.leave()

    def leave(self) -> None:
        """End after the last answer, but throw away for a while the bytes that still come."""
        self._state, self._since = LEFT, self.loop.time()
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.transport.write_eof()

    def abort(self) -> None:
        """Cut the connection off."""
        self.transport.abort()

    def discard(self, size: int) -> None:
        """Throw away bytes that came, and read no more where they are many."""
        self._discarded += size
        if self._discarded > self._limits.linger_bytes:
            self.flow.pause_reading()

    def data_received(self, data: bytes | memoryview) -> None:  # noqa: C901, PLR0912  # calls cost, and this is the hot way
        """Parse what arrived."""
        before, size, limits = self._state, len(data), self._limits
        if before >= FULL:
            self.discard(size)
            return
        if size > limits.head_bytes:
            # The parser keeps a field until it is whole: it gets no more bytes at once than a head may have.
            view = memoryview(data)
            for begin in range(0, size, limits.head_bytes):
                self.data_received(view[begin : begin + limits.head_bytes])
            return
        if before == IDLE:
            self._state, self._fed = HEAD, size
        else:
            self._fed += size
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # what follows would be of another protocol
            self.stop(None)
        except httptools.HttpParserError:
            if self._state < FULL:
                self.stop(_MALFORMED)
        else:
            if self._fed > limits.head_bytes or len(self.headers) > limits.head_fields:
                self.stop(self._too_large())
            elif self._state == IDLE:
                if self.scope is not self._taken:  # the next request came in one piece with this one
                    self._state, self._since = HEAD, self.loop.time()
            elif before == IDLE:
                self._since = self.loop.time()

    def _too_large(self) -> errors.PortraitError:
        most, fields = self._limits.head_bytes, self._limits.head_fields
        if self._state != BODY and 2 * len(self.url) > most:
            return errors.TargetTooLong(f"A head has at most {most} bytes. Send long values in the body.")
        return errors.HeadTooLarge(f"A head has at most {most} bytes and {fields} fields.")

    def on_headers_complete(self) -> None:
        """Take a request whose head is whole and within its limits."""
        limits = self._limits
        if len(self.headers) > limits.head_fields or (
            self._fed > limits.head_bytes and self._size() > limits.head_bytes
        ):
            self.stop(self._too_large())
        elif len(self.pipeline) >= limits.pipelined:
            self.stop(None)
        elif self.parser.should_upgrade() and announces_body(self.headers):
            self.stop(_UPGRADE)  # the parser would take the body for the next request
        else:
            if not self.refuse_at_once():
                super().on_headers_complete()
            # A header field that comes behind the body is not the request's.
            self._taken, self._state, self._fed, self.headers = self.scope, BODY, 0, []
            return
        raise _Stopped

    def refuse_at_once(self) -> bool:
        """Answer a request that is refused whatever else it says; tell whether that was done."""
        return False

    def _size(self) -> int:
        """Return how many bytes a whole head has, counted with only the blanks that it needs."""
        line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n")
        return line + sum(len(name) + len(value) + 4 for name, value in self.headers) + 2

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._fed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._state, self._fed = IDLE, 0
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Begin to answer the next request that waits, if there is one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._state == FULL:
            self.tell()
        elif self._state == IDLE:
            self._since = self.loop.time()
        if self.flow.read_paused and not self.pipeline and self._state < FULL:
            self.flow.resume_reading()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: anybody could fill the log."""


def announces_body(headers: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether a body follows a head with these fields."""
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in headers)
