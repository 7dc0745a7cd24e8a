"""Making a database ready to serve, and PostgreSQL's errors in Portrait's words."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from secrets import token_hex
from threading import Event, Thread
from typing import TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from asyncpg.exceptions import TargetServerAttributeNotMatched

from portrait.model.errors import (
    DatabaseRefused,
    PortraitError,
    StorageBusy,
    StorageFailed,
    StorageFull,
)
from portrait.model.urls import without_password
from portrait.storage import migrations
from portrait.storage.postgres import citus
from portrait.storage.postgres.pool import Connection

HANDED_ON = "behind a pooler that keeps no prepared statements. Set prepared to false"
"""The message where a connection meets statements that another connection prepared, or misses its own."""
START_PATIENCE = 3.0
"""How long a start waits for the server and for another start's migration, in seconds."""
OLDEST = 150000
"""The oldest server version that is supported, as PostgreSQL numbers it."""


class OutOfTurn(Exception):  # no error: the work is run again
    """A transaction would have waited for a lock while it holds other locks: the holder may wait for this transaction.

    Args:
        customers: of each tenant the customers to lock before anything else when the work is run again.
    """

    def __init__(self, customers: Mapping[str, set[str]]) -> None:
        self.customers = customers


FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, OutOfTurn)
"""Whatever a statement can fail with; a connection cut in mid-answer shows as a state that the driver cannot be in."""
_MIGRATION_LOCK = 0x506F7274
"""The advisory lock under which one start at a time migrates."""
_LACKING = (
    "SELECT name FROM unnest($1::text[]) name"
    " WHERE NOT (SELECT bool_and(has_table_privilege(name, needed))"
    " FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) needed)"
)
"""Selects the tables that the user may not both read and write."""

T = TypeVar("T")


async def prepare(url: str, *, upgrade: bool, prepared: bool, reading: bool = False) -> bool:
    """Make sure that the database can serve, bringing its schema to this version where asked to. See `open_store`.

    Returns:
        Whether its tables are distributed.

    Raises:
        DatabaseRefused: it cannot; the detail says why and what to do, and never holds the password.
    """

    async def work(connection: Connection) -> bool:
        distributed = await _prepare(connection, url, upgrade=upgrade, reading=reading)
        if prepared:
            await _keeps_statements(connection, url)
        return distributed

    # A migration takes as long as it takes; only a start must say soon that it cannot be.
    return await _once(url, None if upgrade else START_PATIENCE, work)


async def _keeps_statements(connection: Connection, url: str) -> None:
    """Check that a statement that a connection prepares is its own: a pooler that hands connections on mixes them up.

    Raises:
        DatabaseRefused: another connection meets the statement.
    """
    if connection.get_server_pid() == await connection.fetchval("SELECT pg_backend_pid()"):
        return  # nobody stands between: a pooler tells its clients a number of its own
    name = f"portrait_{token_hex(8)}"
    other = await asyncpg.connect(url, timeout=START_PATIENCE, statement_cache_size=0)
    try:
        for session in (connection, other):
            await (await session.prepare("SELECT 1", name=name)).fetchval()
    except (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError):
        raise DatabaseRefused(f"{without_password(url)} is {HANDED_ON}.") from None
    finally:
        await other.close(timeout=1)


async def distribute(url: str, shards: int) -> list[str]:
    """Distribute the tables over a Citus cluster, with their rows; return the tables that were not distributed yet.

    Raises:
        DatabaseRefused: that cannot be; the detail says why and what to do, and never holds the password.
    """

    async def work(connection: Connection) -> list[str]:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
            migrations.needed("postgresql", await _schema_version(connection), without_password(url), upgrade=False)
            return await citus.distribute(connection, without_password(url), shards)

    return await _once(url, None, work)


async def _once(url: str, patience: float | None, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Run work on a connection of its own, and say in Portrait's words what the server refuses."""
    connection: Connection | None = None
    try:
        _look_up(url)
        async with asyncio.timeout(patience):
            connection = await asyncpg.connect(url, timeout=START_PATIENCE, statement_cache_size=0)
            try:
                return await work(connection)
            finally:
                await connection.close(timeout=1)
    except (*FAULTS, ValueError, OverflowError, IndexError) as error:  # the last three: URLs that nobody checks
        if isinstance(error, TimeoutError) and connection is not None:
            message = f"did not let this start finish within {START_PATIENCE:g} seconds. {_HELD_UP}"
        else:
            message = _refusal(error)
        raise DatabaseRefused(f"{without_password(url)} {message}.") from None


def _look_up(url: str) -> None:
    """Check that name servers answer soon for the server names in a URL; of several names one answer is enough.

    Nothing can end a look-up that waits for a name server: who ends waits for it, unless it is in a thread like this.

    Raises:
        DatabaseRefused: no name server answers.
    """
    answered = Event()

    def look_up(name: str) -> None:
        with suppress(OSError, UnicodeError):  # whoever connects will say so
            socket.getaddrinfo(name, None)
        answered.set()

    names = _names(url)
    for name in names:
        Thread(target=look_up, args=(name,), daemon=True).start()
    if names and not answered.wait(START_PATIENCE):
        raise DatabaseRefused(
            f"{without_password(url)} is not found: no name server answers within {START_PATIENCE:g} seconds."
            " Check the server's name and this machine's DNS."
        )


def _names(url: str) -> list[str]:
    """Return the server names in a URL, as libpq reads it; no names where one is a socket."""
    parts = urlsplit(url)
    listed = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", ()))
    hosts = [unquote(host) for host in (listed or os.environ.get("PGHOST", "")).split(",") if host]
    if any(host.startswith(("/", "[")) for host in hosts):
        return []
    return [host.partition(":")[0] for host in hosts]


async def _prepare(connection: Connection, url: str, *, upgrade: bool, reading: bool) -> bool:
    number = int(await connection.fetchval("SHOW server_version_num"))
    if number < OLDEST:
        raise DatabaseRefused(f"{without_password(url)} is PostgreSQL {number // 10000}. Portrait needs 15 or later.")
    if await connection.fetchval("SHOW server_encoding") != "UTF8":
        raise DatabaseRefused(f"{without_password(url)} is not in UTF-8. Create a database with ENCODING 'UTF8'.")
    if await connection.fetchval("SHOW transaction_read_only") == "on":
        raise DatabaseRefused(f"{without_password(url)} is read-only. Name the primary, or let this user write.")
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        current = await _schema_version(connection)
        script = migrations.needed("postgresql", current, without_password(url), upgrade=upgrade, reading=reading)
        if script is not None:
            for statement in migrations.statements(script):  # Citus takes one at a time
                await connection.execute(statement)
    lacking = await connection.fetch(_LACKING, [*citus.DISTRIBUTED, "tenants", "credentials"])
    if lacking:
        tables = ", ".join(row[0] for row in lacking)
        raise DatabaseRefused(
            f"{without_password(url)} gives this user too few rights on: {tables}."
            " Grant it SELECT, INSERT, UPDATE and DELETE on them."
        )
    return await citus.is_distributed(connection, without_password(url))


async def _schema_version(connection: Connection) -> str | None:
    if await connection.fetchval("SELECT current_schema()") is None:
        raise asyncpg.InsufficientPrivilegeError
    if await connection.fetchval("SELECT to_regclass($1)", migrations.VERSION_TABLE) is None:
        return None
    version = await connection.fetchval(migrations.REVISION)
    return None if version is None else str(version)


_UNREACHED = "cannot be reached. Check that the server runs, and the address and port"
_HELD_UP = "Another start may be migrating, or a session hold a lock on its tables: try again, or end that session"

_REFUSALS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError),
        "refuses the user or the password. Check both, and the server's pg_hba.conf",
    ),
    (asyncpg.InvalidCatalogNameError, "has no such database. Create it, or name another"),
    (
        asyncpg.InsufficientPrivilegeError,
        "gives this user too few rights. Grant it CONNECT, USAGE on the schema, and rights on its tables or CREATE",
    ),
    (
        asyncpg.UndefinedTableError,
        "lacks a table of Portrait's. Restore it from a backup, or name another database",
    ),
    (
        (asyncpg.UndefinedObjectError, asyncpg.CantChangeRuntimeParamError),
        "does not know an option that the URL gives. Leave it out",
    ),
    (
        asyncpg.ObjectNotInPrerequisiteStateError,
        "takes no connections to this database. ALTER DATABASE … ALLOW_CONNECTIONS true, or name another",
    ),
    (
        TargetServerAttributeNotMatched,
        "does not match target_session_attrs. Name another server, or leave the option out",
    ),
    (asyncpg.TooManyConnectionsError, "takes no more connections. Raise max_connections, or use fewer"),
    (asyncpg.CannotConnectNowError, "is starting up or shutting down. Try again in a moment"),
    (TimeoutError, f"does not answer within {START_PATIENCE:g} seconds. Check the address and the network"),
    (ssl.SSLError, "could not be reached over TLS. Check sslmode and the certificates"),
    (OSError, _UNREACHED),
    (asyncpg.PostgresConnectionError, "closed the connection. Check the server, and the pooler before it"),
)
"""What a start is refused with, by the error met; the first that fits counts."""


def _refusal(error: Exception) -> str:
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):  # asyncpg has no class for it
        return "does not speak TLS, which sslmode asks for. Turn it on there, or write another sslmode"
    for kinds, message in _REFUSALS:
        if isinstance(error, kinds):
            return message
    if isinstance(error, asyncpg.PostgresError):
        return f"cannot be used: PostgreSQL reports {type(error).__name__}"
    return "is not a URL that can be used. Write postgresql://user:password@host:5432/database"


def is_transient(error: BaseException) -> bool:
    """Tell whether a transaction that failed so can be run again: nothing of it was kept."""
    return isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError | OutOfTurn)


def is_lost(error: BaseException) -> bool:
    """Tell whether an error means that the connection is gone."""
    return not isinstance(error, TimeoutError) and isinstance(
        error,
        asyncpg.PostgresConnectionError
        | asyncpg.CannotConnectNowError
        | asyncpg.AdminShutdownError
        | asyncpg.CrashShutdownError
        | asyncpg.ConnectionDoesNotExistError
        | asyncpg.InterfaceError
        | asyncpg.InternalClientError
        | OSError,
    )


_AT_WORK: tuple[tuple[tuple[type[BaseException], ...], PortraitError], ...] = (
    (
        (asyncpg.FeatureNotSupportedError,),
        StorageFailed("The database's tables were distributed since this start; nothing was kept. Start again."),
    ),
    (
        (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError),
        StorageFailed(f"The database is {HANDED_ON}; nothing was kept."),
    ),
    ((TimeoutError,), StorageFailed("The database does not answer in time. Try again.")),
    (
        (asyncpg.DiskFullError, asyncpg.OutOfMemoryError),
        StorageFull("The database has no room to write; nothing was kept. Free disk space, then try again."),
    ),
    (
        (asyncpg.TooManyConnectionsError, asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError),
        StorageBusy("The database is busy; nothing was kept. Try again."),
    ),
    (
        (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, OutOfTurn),
        StorageBusy("The database is busy with other writers of the same customers; nothing was kept."),
    ),
)
"""What an error at work is called, by its kind; the first that fits counts."""


def translated(error: BaseException) -> PortraitError:
    """Return the error of Portrait's for an error of PostgreSQL's at work."""
    for kinds, failure in _AT_WORK:
        if isinstance(error, kinds):
            return type(failure)(failure.detail)
    return StorageFailed(f"The database reports {type(error).__name__}. Try again.")
