"""The engine's face: one database, through a pool of connections."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from secrets import token_hex
from typing import Any, TypeVar

import asyncpg

from portrait.model.errors import ShuttingDown
from portrait.model.fact import Fact
from portrait.model.identifier import Identifier
from portrait.storage.contract import Cursor, Reads, Work
from portrait.storage.migrations import REVISION
from portrait.storage.postgres import citus
from portrait.storage.postgres.connection import FAULTS, OutOfTurn, is_lost, is_transient, prepare, translated
from portrait.storage.postgres.gathered import GatheredTransaction
from portrait.storage.postgres.pool import Connection, Pool
from portrait.storage.postgres.reads import PostgresReads
from portrait.storage.postgres.transaction import PostgresTransaction

T = TypeVar("T")
ATTEMPTS = 5
"""How often at least a transaction is tried that others' locks or a lost connection kept from its commit; where it was
locks, for as long as a request waits for one."""
CROWD = 4
"""So many wait for each connection of the pool where it is crowded."""
LEAST_WAIT = 0.1
"""A lock is waited for so long at least, in seconds, however long a connection was waited for."""
LONGEST_PAUSE = 0.5
"""The most that is waited between two tries, in seconds."""


class _Connection(Connection):
    """Names what it prepares at random: processes number alike, and a pooler may give one the connection of another."""

    def _get_unique_id(self, prefix: str) -> str:
        return f"__portrait_{prefix}_{token_hex(8)}__"


class _Snapshot(PostgresReads):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        return await self._connection.fetch(sql, *values)


class PostgresStore(PostgresReads):
    """A database, open. The pool fills as it is used, on the event loop that uses it."""

    def __init__(self, url: str, *, size: int, patience: float, prepared: bool, distributed: bool) -> None:
        self._patience = patience
        self._distributed = distributed
        self._transaction = PostgresTransaction if distributed else GatheredTransaction
        self._begin = f"BEGIN; SET LOCAL lock_timeout = %d; {self._transaction.PLANS}"
        if distributed:
            self._begin += f"; {citus.BEGIN_WRITE}"
        connect = partial(
            asyncpg.connect,
            url,
            connection_class=_Connection,
            # A pooler that hands connections on between transactions knows no prepared statements.
            statement_cache_size=1024 if prepared else 0,
            timeout=patience,
            command_timeout=patience + 1,
        )
        self._pool = Pool(connect, size=size, patience=patience)
        self._closed = False
        self._writing = 0
        self._written = asyncio.Event()

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        return await self._read(_whose(sql, values), lambda connection: connection.fetch(sql, *values))

    async def events(
        self, tenant: str, identifiers: Collection[Identifier], section: str, before: Cursor | None, limit: int
    ) -> list[Fact]:
        """See the contract."""

        async def read(connection: Connection) -> list[Fact]:
            async with connection.transaction(readonly=True):
                return await _Snapshot(connection).events(tenant, identifiers, section, before, limit)

        return await self._read(tenant, read)

    async def _read(self, tenant: str | None, read: Callable[[Connection], Awaitable[T]]) -> T:
        """Read over a connection, and once more over another where that was lost."""
        attempt = 1
        while True:
            try:
                connection = await self._pool.take(tenant)
                try:
                    return await read(connection)
                finally:
                    self._pool.give(connection)
            except FAULTS as error:
                if not is_lost(error) or attempt == ATTEMPTS:
                    raise translated(error) from error
                await asyncio.sleep(0.02 * attempt)
                attempt += 1

    async def write(self, tenant: str | None, work: Work[T]) -> T:
        """See the contract."""
        if self._closed:
            raise ShuttingDown("The service is stopping; nothing was kept. Try another instance, or again soon.")
        self._writing += 1
        try:
            return await self._write(tenant, work)
        finally:
            self._writing -= 1
            self._written.set()

    async def _write(self, tenant: str | None, work: Work[T]) -> T:
        until = time.monotonic() + self._patience
        attempt = 1
        first: Mapping[str, Collection[str]] = {}
        while True:
            writes: PostgresTransaction | None = None
            committing = False
            try:
                async with self._pool.connection(tenant) as connection:
                    left = max(LEAST_WAIT, until - time.monotonic())  # what a lock is waited for, of the whole wait
                    await connection.execute(self._begin % int(left * 1000))
                    try:
                        writes = self._transaction(connection)
                        await writes.hold(first)
                        result = await work(writes)
                        await writes.settle()
                    except BaseException:
                        if not connection.is_closed():
                            await connection.execute("ROLLBACK")
                        raise
                    committing = True
                    await connection.execute("COMMIT")
                    return result
            except FAULTS as error:
                # A connection lost in mid-commit may have committed: to run the work again could double it.
                safe = is_transient(error) or (is_lost(error) and not committing)
                late = is_lost(error) or time.monotonic() > until
                if not safe or (late and attempt >= ATTEMPTS):
                    raise translated(error) from error
                if writes is not None and is_transient(error):
                    first = error.customers if isinstance(error, OutOfTurn) else writes.held
                if not isinstance(error, OutOfTurn):
                    await asyncio.sleep(_pause(attempt))
                attempt += 1

    @property
    def is_crowded(self) -> bool:
        """See the contract."""
        return self._pool.waiting >= CROWD * self._pool.size

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reads]:
        """See the contract."""
        try:
            async with (
                self._pool.connection() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                if self._distributed:
                    await citus.begin_snapshot(connection, self._patience)
                yield _Snapshot(connection)
        except FAULTS as error:
            raise translated(error) from error

    async def ready(self) -> None:
        """See the contract."""
        await self._rows("SELECT 1 FROM tenants LIMIT 1")  # whole on every server, where others are distributed

    async def revision(self) -> str:
        """See the contract."""
        return str((await self._rows(REVISION))[0][0])

    async def faults(self) -> list[str]:
        """See the contract: PostgreSQL checks its own files (`pg_amcheck`, checksums)."""
        return []

    async def close(self) -> None:
        """See the contract."""
        if self._closed:
            return
        self._closed = True
        while self._writing:
            self._written.clear()
            await self._written.wait()
        await self._pool.close()


def _whose(sql: str, values: Sequence[Any]) -> str | None:
    """Return whose rows a statement reads: the tenant comes first, also in what statements are given."""
    return str(values[0]) if "tenant = $1" in sql else None


def _pause(attempt: int) -> float:
    """Return how long to wait after a try, in seconds: those who met are not to meet again."""
    return random.uniform(0.5, 1) * min(0.02 * 2.0**attempt, LONGEST_PAUSE)  # noqa: S311  # no secret


def open_store(
    url: str,
    *,
    size: int = 10,
    patience: float = 10.0,
    prepared: bool = True,
    upgrade: bool = False,
    reading: bool = False,
) -> PostgresStore:
    """Open a database.

    Args:
        url: its URL.
        size: the most connections at once.
        patience: how long a request waits for one of them, in seconds.
        prepared: whether statements are prepared once a connection; not behind a pooler that hands connections on.
        upgrade: whether an older schema, or none, is brought to this version; refused where not.
        reading: whether an older schema will do where it is not upgraded: see `migrations.READABLE_FROM`.

    Raises:
        DatabaseRefused: the database cannot serve; the detail says why and what to do.
    """
    # A thread of its own: this may be called where an event loop runs already.
    with ThreadPoolExecutor(1) as aside:
        distributed = aside.submit(
            asyncio.run, prepare(url, upgrade=upgrade, prepared=prepared, reading=reading)
        ).result()
    return PostgresStore(url, size=size, patience=patience, prepared=prepared, distributed=distributed)
