"""Citus: the same tables, distributed over several servers so that a customer's rows lie together."""

from hashlib import blake2b

from portrait.model.errors import DatabaseRefused
from portrait.storage import migrations
from portrait.storage.postgres.pool import Connection

DISTRIBUTED = {"documents": "customer_id", "facts": "value", "states": "value", "identifiers": "value"}
"""The tables that are distributed, and the column whose hash names a row's shard.

The value of an identifier of type `customer_id` is the customer's id: what is recorded under its own id lies in the
shard of its documents, and a write stays there.
"""
REFERENCE = ("tenants", "credentials", migrations.VERSION_TABLE)
"""Small tables that every server holds whole, so that any of them answers."""

_SNAPSHOT_LOCK = 0x506F7275
"""The advisory lock that keeps commits out while a snapshot begins on every server: writers share it."""
BEGIN_WRITE = (
    f"SET LOCAL citus.max_adaptive_executor_pool_size TO 1; SELECT pg_advisory_xact_lock_shared({_SNAPSHOT_LOCK})"
)
"""What a writing transaction begins with. One connection to each server: each takes part in the commit."""
_LOCKS = (
    "SELECT {}(key), get_shard_id_for_distribution_column('documents', customer_id), customer_id"
    " FROM unnest($1::bigint[], $2::text[]) w (key, customer_id)"
)
LOCKS = _LOCKS.format("pg_advisory_xact_lock")
"""Takes customers' locks, one after another, and returns in which shard of `documents` each customer lies."""
TRY_LOCKS = _LOCKS.format("pg_try_advisory_xact_lock")
"""The same, but waits for no lock, and returns which locks it took."""


def lock_key(tenant: str, customer_id: str) -> int:
    """Return the number of a customer's lock on the coordinator. Customers that share it wait for each other."""
    digest = blake2b(f"{tenant}\0{customer_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


async def begin_snapshot(connection: Connection, patience: float) -> None:
    """Make a transaction that has just begun see one moment on every server.

    Citus begins on each server when a statement first goes there, and commits on one after another. So writers are
    waited for, up to `patience` seconds, and kept waiting until a statement has gone to all servers: over one
    connection to each, which later statements use too.
    """
    try:
        await connection.execute(
            f"SET LOCAL citus.max_adaptive_executor_pool_size TO 1; SET LOCAL lock_timeout = {int(patience * 1000)};"
            f" SELECT pg_advisory_lock({_SNAPSHOT_LOCK})"
        )
        await connection.execute("SELECT 1 FROM documents LIMIT 1")
        await connection.execute(f"SELECT pg_advisory_unlock({_SNAPSHOT_LOCK})")
    except BaseException:
        connection.terminate()  # a failed transaction could not give the lock back
        raise


async def is_distributed(connection: Connection, database: str) -> bool:
    """Tell whether the tables of a database are distributed.

    Raises:
        DatabaseRefused: only some tables are, or they are distributed otherwise than this code's statements need.
    """
    tables = await _managed_tables(connection)
    if not tables:
        return False
    if not await connection.fetchval("SELECT citus_is_coordinator()"):
        raise DatabaseRefused(f"{database} is a worker of its cluster. Name the coordinator: writers meet there.")
    faults = _faults(tables)
    missing = sorted({*DISTRIBUTED, *REFERENCE} - tables.keys())
    if missing and not faults:
        raise DatabaseRefused(
            f"{database} has only some of its tables distributed; missing: {', '.join(missing)}."
            " Run `portrait db distribute` to finish."
        )
    if faults:
        raise DatabaseRefused(_misplaced(database, faults))
    return True


async def distribute(connection: Connection, database: str, shards: int) -> list[str]:
    """Distribute the tables that are not distributed yet, with their rows. Return their names.

    Args:
        connection: to the coordinator, in a transaction; its user may create tables and call Citus's functions.
        database: what people call the database.
        shards: over how many shards; where some tables are distributed already, their number stays.

    Raises:
        DatabaseRefused: the server has no Citus, or tables are distributed otherwise than this code's statements need.
    """
    if await connection.fetchval("SELECT 1 FROM pg_extension WHERE extname = 'citus'") is None:
        raise DatabaseRefused(
            f"{database} has no Citus. Install the extension on every server, then `CREATE EXTENSION citus` in the"
            " database and `citus_add_node` for each worker."
        )
    if not await connection.fetchval("SELECT count(*) FROM pg_dist_node WHERE groupid > 0 AND isactive"):
        raise DatabaseRefused(f"{database} has no workers. Add them with `citus_add_node`, then distribute.")
    await connection.execute("SET LOCAL citus.multi_shard_modify_mode TO 'sequential'")
    tables = await _managed_tables(connection)
    if faults := _faults(tables):
        raise DatabaseRefused(_misplaced(database, faults))
    done = []
    placed = [table for table in DISTRIBUTED if table in tables]
    for table, column in DISTRIBUTED.items():
        if table in placed:
            continue
        if placed:
            call = "SELECT create_distributed_table($1, $2, colocate_with := $3)"
            await connection.execute(call, table, column, placed[0])
        else:
            call = "SELECT create_distributed_table($1, $2, colocate_with := 'none', shard_count := $3)"
            await connection.execute(call, table, column, shards)
        placed.append(table)
        done.append(table)
    for table in REFERENCE:
        if table not in tables:
            await connection.execute("SELECT create_reference_table($1)", table)
            done.append(table)
    for table in done:
        await connection.execute("SELECT truncate_local_data_after_distributing_table($1::regclass)", table)
    return done


async def _managed_tables(connection: Connection) -> dict[str, tuple[str | None, int]]:
    """Return the tables that Citus manages: of each the distribution column (None: a reference table) and group."""
    if await connection.fetchval("SELECT to_regclass('pg_catalog.pg_dist_partition')") is None:
        return {}
    rows = await connection.fetch(
        "SELECT relname, column_to_column_name(logicalrelid, partkey), colocationid"
        " FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid"
        " WHERE pg_table_is_visible(logicalrelid) AND relname = ANY($1::text[])",
        [*DISTRIBUTED, *REFERENCE],
    )
    return {name: (column, group) for name, column, group in rows}


def _faults(tables: dict[str, tuple[str | None, int]]) -> list[str]:
    """Return a line for each table that is not distributed as it must be: how it is and how it must be."""
    faults = []
    for table, (column, _) in tables.items():
        wanted = DISTRIBUTED.get(table)
        if column != wanted:
            here = f"by {column}" if column else "whole on every server"
            faults.append(f"{table} stands {here}, not {f'by {wanted}' if wanted else 'whole on every server'}")
    if not faults and len({group for table, (_, group) in tables.items() if table in DISTRIBUTED}) > 1:
        faults.append(f"{', '.join(DISTRIBUTED)} are not co-located")
    return faults


def _misplaced(database: str, faults: list[str]) -> str:
    return (
        f"{database} has tables distributed otherwise than Portrait needs: {'; '.join(faults)}."
        " Call undistribute_table() for these, then run `portrait db distribute`."
    )
