"""Connections, held open and handed out: no task and no timer where one is free."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import asyncpg

from portrait.model.errors import Overloaded, StorageBusy, StorageFailed
from portrait.serving.leaving import may_leave
from portrait.serving.turns import Turns

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

IDLE_SECONDS = 300.0
"""After so long unused a connection is not trusted any more: what stands between may have forgotten it."""
MOST_WAITING = 1000
"""The most that wait for a connection."""


class Pool:
    """Up to `size` connections to one server. Tenants that wait for one have turns.

    asyncpg's own pool starts two tasks each time that a connection is taken and given back, as much work as a profile's
    query; and it resets connections, on which nothing here leaves anything behind.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        size: int,
        patience: float,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._connect = connect
        self.size = size
        self._patience = patience
        self._idle: list[tuple[float, Connection]] = []
        self._open = 0
        """How many connections there are, or are being made."""
        self._waiting: Turns[asyncio.Future[Connection | None]] = Turns(most_waiting)
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait for a connection."""
        return self._waiting.size

    @asynccontextmanager
    async def connection(self, tenant: str | None = None) -> AsyncIterator[Connection]:
        """Lend a connection.

        Raises:
            StorageBusy, Overloaded: none came free in time, or too many wait.
        """
        connection = await self.take(tenant)
        try:
            yield connection
        finally:
            self.give(connection)

    async def take(self, tenant: str | None = None) -> Connection:
        """Return a connection, which must be given back.

        Raises:
            StorageBusy: none came free in time.
            Overloaded: too many wait, and of this tenant most.
            StorageFailed: the pool is closed.
            Left: the caller has left.
            OSError, asyncpg.PostgresError: a new one could not be made.
        """
        if self._closed:
            raise StorageFailed("The database is closed here. Try another instance, or again soon.")
        while self._idle:
            since, connection = self._idle.pop()
            if not connection.is_closed() and time.monotonic() - since < IDLE_SECONDS:
                return connection
            self._drop(connection)
        if self._open < self.size:
            self._open += 1
            return await self._make()
        return await self._wait(tenant)

    def give(self, connection: Connection) -> None:
        """Take a connection back. One that is in the midst of something is closed."""
        if self._closed or connection.is_closed() or connection.is_in_transaction() or _is_busy(connection):
            self._drop(connection)
        elif not self._hand_over(connection):
            self._idle.append((time.monotonic(), connection))

    async def close(self) -> None:
        """Close all connections that nobody uses; the others are closed when they are given back."""
        self._closed = True
        while self._idle:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await self._idle.pop()[1].close(timeout=1)

    async def _make(self) -> Connection:
        """Make a connection in room that is counted already."""
        try:
            return await self._connect()
        except BaseException:
            self._leave()
            raise

    async def _wait(self, tenant: str | None) -> Connection:
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.add(tenant, turn)
        if self._waiting.is_too_long:
            self._refuse(self._waiting.take_of(self._waiting.longest, newest=True))
        try:
            with may_leave():
                async with asyncio.timeout(self._patience):
                    connection = await turn
        except BaseException as error:
            self._waiting.remove(tenant, turn)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                late = turn.result()  # it came in the same moment: somebody else may have it
                self._leave() if late is None else self.give(late)
            if isinstance(error, TimeoutError):
                raise StorageBusy("All connections to the database are in use; nothing was kept. Try again.") from None
            raise
        return await self._make() if connection is None else connection

    @staticmethod
    def _refuse(turn: "asyncio.Future[Connection | None]") -> None:
        if not turn.done():
            turn.set_exception(Overloaded("Too many requests wait for the database; nothing was kept. Try again soon."))

    def _hand_over(self, connection: Connection | None) -> bool:
        """Give a connection, or the room for one (None), to whose turn it is; tell whether anybody waited."""
        while (turn := self._waiting.take()) is not None:
            if not turn.done():
                turn.set_result(connection)
                return True
        return False

    def _drop(self, connection: Connection) -> None:
        connection.terminate()
        self._leave()

    def _leave(self) -> None:
        """Pass a connection's room on to who waits, still counted, or count it no more."""
        if not self._hand_over(None):
            self._open -= 1


def _is_busy(connection: Connection) -> bool:
    """Tell whether a statement is under way still: one whose caller has stopped waiting is being cancelled."""
    driver_connection: Any = connection
    return bool(driver_connection._protocol._is_cancelling())  # noqa: SLF001  # asyncpg's own pool asks just so
