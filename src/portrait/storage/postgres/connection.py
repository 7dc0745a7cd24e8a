"""Making a database ready to serve, and PostgreSQL's errors in Portrait's words."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from portrait.model.errors import (
    DatabaseRefused,
    PortraitError,
    StorageBusy,
    StorageFailed,
    StorageFull,
)
from portrait.settings import without_password
from portrait.storage import migrations
from portrait.storage.postgres import citus

START_PATIENCE = 4.0
"""How long a start waits for the server and for another start's migration, in seconds."""
OLDEST = 150000
"""The oldest server version that is supported, as PostgreSQL numbers it."""
FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Whatever a statement can fail with; a connection cut in mid-answer shows as a state that the driver cannot be in."""
_MIGRATION_LOCK = 0x506F7274
"""The advisory lock under which one start at a time migrates."""
_LACKING = (
    "SELECT name FROM unnest($1::text[]) name"
    " WHERE NOT (SELECT bool_and(has_table_privilege(name, needed))"
    " FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) needed)"
)
"""Those of some tables that the user may not both read and write."""

T = TypeVar("T")
if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection


async def prepare(url: str, *, upgrade: bool) -> bool:
    """Make sure that the database can serve, bringing its schema to this version where asked to.

    Returns:
        Whether its tables are distributed.

    Raises:
        DatabaseRefused: it cannot; the detail says why and what to do, and never holds the password.
    """
    return await _once(url, START_PATIENCE, lambda connection: _prepare(connection, url, upgrade=upgrade))


async def distribute(url: str, shards: int) -> list[str]:
    """Distribute the tables over a Citus cluster, with the rows they hold; return which were not yet.

    Raises:
        DatabaseRefused: that cannot be; the detail says why and what to do, and never holds the password.
    """

    async def work(connection: Connection) -> list[str]:
        await connection.execute("SELECT pg_advisory_lock($1)", _MIGRATION_LOCK)
        migrations.needed("postgresql", await _schema_version(connection), without_password(url), upgrade=False)
        return await citus.distribute(connection, without_password(url), shards)

    return await _once(url, None, work)


async def _once(url: str, patience: float | None, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Run work on a connection of its own, and say in Portrait's words what the server refuses."""
    try:
        async with asyncio.timeout(patience):
            connection = await asyncpg.connect(url, timeout=START_PATIENCE, statement_cache_size=0)
            try:
                return await work(connection)
            finally:
                await connection.close(timeout=1)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, ValueError) as error:
        raise DatabaseRefused(f"{without_password(url)} {_refusal(error)}.") from None


async def _prepare(connection: Connection, url: str, *, upgrade: bool) -> bool:
    number = int(await connection.fetchval("SHOW server_version_num"))
    if number < OLDEST:
        raise DatabaseRefused(f"{without_password(url)} is PostgreSQL {number // 10000}. Portrait needs 15 or later.")
    if await connection.fetchval("SHOW server_encoding") != "UTF8":
        raise DatabaseRefused(f"{without_password(url)} is not in UTF-8. Create a database with ENCODING 'UTF8'.")
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        current = await _schema_version(connection)
        script = migrations.needed("postgresql", current, without_password(url), upgrade=upgrade)
        if script is not None:
            await connection.execute(script)
    lacking = await connection.fetch(_LACKING, [*citus.DISTRIBUTED, "tenants", "credentials"])
    if lacking:
        shown = ", ".join(row[0] for row in lacking)
        raise DatabaseRefused(
            f"{without_password(url)} gives this user too few rights on: {shown}."
            " Grant it SELECT, INSERT, UPDATE and DELETE on them."
        )
    if await connection.fetchval("SHOW transaction_read_only") == "on":
        raise DatabaseRefused(f"{without_password(url)} is read-only. Name the primary, or let this user write.")
    return await citus.is_distributed(connection, without_password(url))


async def _schema_version(connection: Connection) -> str | None:
    if await connection.fetchval("SELECT to_regclass($1)", migrations.VERSION_TABLE) is None:
        return None
    version = await connection.fetchval(f"SELECT version_num FROM {migrations.VERSION_TABLE}")
    return None if version is None else str(version)


def _refusal(error: Exception) -> str:  # noqa: PLR0911  # a table in the form of a match
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return "refuses the user or the password. Check both, and the server's pg_hba.conf"
        case asyncpg.InvalidCatalogNameError():
            return "has no such database. Create it, or name another"
        case asyncpg.InsufficientPrivilegeError():
            return "gives this user too few rights. Grant it CONNECT, and rights on the schema's tables"
        case asyncpg.TooManyConnectionsError():
            return "takes no more connections. Raise max_connections, or use fewer"
        case asyncpg.CannotConnectNowError():
            return "is starting up or shutting down. Try again in a moment"
        case TimeoutError() | asyncio.TimeoutError():
            return f"does not answer within {START_PATIENCE:g} seconds. Check the address and the network"
        case ssl.SSLError():
            return "could not be reached over TLS. Check sslmode and the certificates"
        case OSError():
            return "cannot be reached. Check that the server runs, and the address and port"
        case asyncpg.PostgresError():
            return f"cannot be used: PostgreSQL reports {type(error).__name__}"
        case _:
            return "is not a URL that can be used. Write postgresql://user:password@host:5432/database"


def is_transient(error: BaseException) -> bool:
    """Tell whether a transaction that failed so can be run again: nothing of it was kept."""
    return isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError)


def is_lost(error: BaseException) -> bool:
    """Tell whether an error means that the connection is gone."""
    return isinstance(
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


def translated(error: BaseException) -> PortraitError:
    """Return an error of PostgreSQL's at work as one of the tree's."""
    match error:
        case asyncpg.DiskFullError() | asyncpg.OutOfMemoryError():
            return StorageFull("The database has no room to write; nothing was kept. Free disk space, then try again.")
        case asyncpg.TooManyConnectionsError() | asyncpg.LockNotAvailableError() | asyncpg.QueryCanceledError():
            return StorageBusy("The database is busy; nothing was kept. Try again.")
        case _ if is_transient(error):
            return StorageBusy("The database is busy with other writers of the same customers; nothing was kept.")
        case _:
            return StorageFailed(f"The database reports {type(error).__name__}. Try again.")
