"""Connections: what each may take of a process, and who looks after all of them."""

import asyncio
import logging
from typing import NamedTuple, Protocol

from portrait.model import errors

_log = logging.getLogger("portrait.connections")
MOST_BETWEEN_LOOKS = 1.0
"""The most seconds between two looks at all connections."""
BETWEEN_LINES = 10.0
"""At least so many seconds lie between two lines of the log about refused connections."""


class Limits(NamedTuple):
    """What a connection may take. Times are in seconds."""

    connections: int = 1000
    """So many are open at once in one process."""
    keep_alive_seconds: float = 120
    """So long a connection is kept that asks nothing after an answer."""
    head_bytes: int = 2**16
    """The largest head: the line of the request and its header fields. So much may also stand around a body."""
    head_fields: int = 256
    """The most header fields."""
    head_seconds: float = 10
    """So long a head may take from its first byte, and the first byte from the connection's begin."""
    pipelined: int = 64
    """So many requests may wait behind the one that is being answered."""
    answer_seconds: float = 30
    """In so many seconds a client takes `answer_bytes` of what is written for it, or all."""
    answer_bytes: int = 2**20
    linger_seconds: float = 5
    """So long after the last answer, bytes that still come are thrown away: to close at once could lose the answer."""
    linger_bytes: int = 2**22
    """So much is thrown away, in bytes; the rest is not read."""
    spare: int = 64
    """So many refused connections at once get an answer that says why; more are cut off."""


class Connection(Protocol):
    """What a guard looks after."""

    def look(self, now: float) -> None:
        """Let go of the connection if it is open and does nothing."""

    def stop(self, error: errors.PortraitError | None) -> None:
        """Take nothing more from the client, and tell it why."""

    def abort(self) -> None:
        """Cut the connection off."""


class Guard:
    """Looks after the connections of one process: bounds their number, and looks at each at intervals."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        shortest = min(
            limits.keep_alive_seconds, limits.head_seconds, limits.answer_seconds, limits.linger_seconds
        )  # fmt: skip
        self._between = min(MOST_BETWEEN_LOOKS, shortest / 4)
        self._open: set[Connection] = set()
        self._stopping: set[Connection] = set()
        self._refused = 0
        self._next_line = 0.0
        self._looking: asyncio.TimerHandle | None = None

    def join(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Take a new connection, or refuse it."""
        if self._looking is None:
            self._looking = loop.call_later(self._between, self._look, loop)
        if len(self._open) < self.limits.connections:
            self._open.add(connection)
            return
        self._refused += 1
        if len(self._stopping) < self.limits.spare:
            self._stopping.add(connection)
            connection.stop(
                errors.TooManyConnections("This process has reached its limit of connections. Try again later.")
            )
        else:
            connection.abort()

    def leave(self, connection: Connection) -> None:
        """Forget a connection that has closed."""
        self._open.discard(connection)
        self._stopping.discard(connection)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        if self._refused and now >= self._next_line:
            _log.warning(
                "%d connections were refused: %d are open, the limit of this process (setting `connections`)",
                self._refused, self.limits.connections,
            )  # fmt: skip
            self._refused, self._next_line = 0, now + BETWEEN_LINES
        self._looking = None
        if self._open or self._stopping or self._refused:
            self._looking = loop.call_later(self._between, self._look, loop)
        for connection in [*self._open, *self._stopping]:
            connection.look(now)
