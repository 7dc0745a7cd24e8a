"""One connection of the load generator: requests out, as prepared; answers in, as little read as will do."""

import asyncio
import re
from typing import Protocol, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_WITHOUT_BODY = frozenset({204, 304})
# One for all connections: what was read is worked off before the next read.
_buffer = memoryview(bytearray(2**18))


class Listener(Protocol):
    """Who is told what happens on a connection."""

    def answered(self, connection: "Connection") -> None:
        """Take note of an answer."""

    def fault(self, what: str) -> None:
        """Take note of something that went wrong."""


class Connection(asyncio.BufferedProtocol):
    """A connection, with at most one request under way."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._left = 0
        self.status = 0
        """The last answer's."""
        self.since = 0.0
        """From when the request under way counts."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so: whoever is measured keeps connections open."""
        del exc
        self._listener.fault("connections closed by the server")

    def send(self, request: bytes, since: float) -> None:
        """Send a request whose time counts from a moment."""
        assert self._transport is not None
        self.since = since
        self._transport.write(request)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        del sizehint
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take in what was read."""
        if self._left:
            self._left -= nbytes
        elif not self._begin(self._head + _buffer[:nbytes]):
            return
        if self._left < 0:
            self._listener.fault("answers longer than they said")
        elif not self._left:
            self._listener.answered(self)

    def _begin(self, data: bytes) -> bool:
        """Take in an answer's beginning; tell whether its head is whole."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._head = data
            return False
        self._head = b""
        self.status = int(data[9:12])
        length = _LENGTH.search(data, 0, end)
        size = 0
        if self.status not in _WITHOUT_BODY:
            if length is None:
                self._listener.fault("answers without Content-Length")
            else:
                size = int(length[1])
        self._left = end + 4 + size - len(data)
        return True
