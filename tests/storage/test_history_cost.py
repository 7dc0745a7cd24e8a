"""A page of a key's history costs what the page holds, however long the history is: counted by the engines."""

import asyncio
from contextlib import closing

import apsw
import pytest

from portrait.model.identifier import Identifier, customer
from portrait.storage import postgres
from portrait.storage.conformance.support import SECTION, TENANT, append, fact
from portrait.storage.contract import Changes, Cursor, FactsAsked
from portrait.storage.sqlite.connection import connect
from portrait.storage.sqlite.reads import SqliteReads

C = customer("c")
LIMIT = 20
SHORT, LONG = 200, 4000
TIMES = 8
"""From the sixth time on PostgreSQL may run a statement by a plan that knows no values."""


async def filled(store):
    """Fill four keys: short and long, each at moments of their own and all at one moment."""
    ids = iter(range(1_000_000))
    for size in (SHORT, LONG):
        for kind in PLACES:
            at = [number if kind == "each" else 7 for number in range(size)]
            for begin in range(0, size, 1000):
                facts = (
                    fact(C, next(ids), at=moment, key=f"{kind} {size}", body=b"x" * 100) for moment in at[begin:][:1000]
                )
                await append(store, *facts)


def pages(connection):
    """Return how many pages a connection has touched so far."""
    hits, _ = connection.status(apsw.SQLITE_DBSTATUS_CACHE_HIT)
    misses, _ = connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)
    return hits + misses


PLACES = {"each": Cursor(150, b""), "one": Cursor(7, b"\xff" * 16)}


async def read(reads, key):
    kind = key.partition(" ")[0]
    assert len(await reads.history(TENANT, [C], SECTION, key, None, LIMIT)) == LIMIT
    assert len(await reads.history(TENANT, [C], SECTION, key, PLACES[kind], LIMIT)) == LIMIT


@pytest.mark.parametrize("kind", PLACES)
async def test_sqlite_touches_as_many_pages_of_a_long_history_as_of_a_short_one(store, path, kind):
    await filled(store)
    touched = {}
    with closing(connect(path, patience=1)) as connection:
        for size in (SHORT, LONG):
            before = pages(connection)
            await read(SqliteReads(connection), f"{kind} {size}")
            touched[size] = pages(connection) - before
    assert touched[LONG] <= 2 * touched[SHORT] < SHORT


async def test_sqlite_finds_what_is_known_of_a_key_without_passing_over_other_keys_of_the_section(store, path):
    await filled(store)
    await append(store, fact(C, 2_000_000, at=9, key="few"))
    with closing(connect(path, patience=1)) as connection:
        for moment in (9, None):
            before = pages(connection)
            asked = FactsAsked(C, SECTION, "few", moment)
            assert len((await SqliteReads(connection).known(TENANT, [asked]))[asked]) == 1
            assert pages(connection) - before < 20


async def test_sqlite_finds_the_identifiers_of_a_customer_without_passing_over_others(store, path):
    owners = {Identifier("email", f"{number:05}@example.org"): f"c{number:05}" for number in range(5000)}
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners=owners)))
    with closing(connect(path, patience=1)) as connection:
        before = pages(connection)
        found = await SqliteReads(connection).members(TENANT, ["c00007"])
        assert found == {"c00007": [Identifier("email", "00007@example.org")]}
        assert pages(connection) - before < 20


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("analysed", [False, True])
async def test_postgresql_touches_as_many_blocks_of_a_long_history_as_of_a_short_one(postgres_url, kind, analysed):
    store = postgres.open_store(postgres_url, size=1)
    try:
        await filled(store)
        if analysed:
            await store._rows("ANALYZE facts")

        async def blocks():
            await store._rows("SELECT pg_stat_force_next_flush()")
            await asyncio.sleep(0)
            rows = await store._rows(
                "SELECT heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit"
                " FROM pg_statio_user_tables WHERE relname = 'facts'"
            )
            return rows[0][0]

        touched = {}
        for size in (SHORT, LONG):
            before = await blocks()
            for _ in range(TIMES):
                await read(store, f"{kind} {size}")
            touched[size] = await blocks() - before
        assert touched[LONG] <= 2 * touched[SHORT] < TIMES * SHORT
    finally:
        await store.close()
