"""A page of events costs what it holds and passes over, however long the history: counted by the engines themselves."""

import asyncio

import apsw
import pytest

from portrait.model.fact import Op
from portrait.model.identifier import customer
from portrait.storage import postgres
from portrait.storage.conformance.support import MAX, SECTION, TENANT, append, fact
from portrait.storage.contract import Cursor
from portrait.storage.sqlite.connection import connect
from portrait.storage.sqlite.reads import SqliteReads

SHORT, LONG, MANY = 400, 20_000, 300
LIMIT = 100
EXECUTIONS = 8
"""PostgreSQL chooses from the sixth on whether it keeps one plan."""
C, L = customer("short"), customer("long")
CROWD = [customer(f"one of many {n:04}") for n in range(MANY)]


async def fill(store):
    """Two customers, of whom one has fifty times the history, as many deletes on top of each; and a crowd."""
    for identifier, count in ((C, SHORT), (L, LONG)):
        for first in range(0, count, 5000):
            numbers = range(first, min(first + 5000, count))
            await append(store, *(fact(identifier, n, at=n, key=f"an event's own key {n:08}") for n in numbers))
        ended = [count - 1, count - 2, count - 150]
        await append(
            store,
            *(fact(identifier, count + n, at=n, key=f"an event's own key {n:08}", op=Op.DELETE) for n in ended),
        )
    await append(store, *(fact(identifier, n, at=n) for n, identifier in enumerate(CROWD)))


async def costs(events, touched):
    """Return the largest cost of a page of each history: the short, the long, the long from its middle, and many."""
    asked = {
        "short": ([C], None, LIMIT),
        "long": ([L], None, LIMIT),
        "middle": ([L], Cursor(LONG // 2, b""), LIMIT),
        "end": ([L], Cursor(MAX, b""), 1),
        "many": ([L, *CROWD], None, LIMIT),
    }
    spent_by_page = {}
    for name, (identifiers, before, limit) in asked.items():
        spent = []
        for _ in range(EXECUTIONS if len(identifiers) == 1 else 1):
            start = await touched()
            assert len(await events(TENANT, identifiers, SECTION, before, limit)) == limit
            spent.append(await touched() - start)
        spent_by_page[name] = max(spent)
    return spent_by_page


def costs_are_bounded(spent_by_page):
    """Assert the bounds that the contract sets on costs."""
    assert spent_by_page["long"] <= 1.5 * spent_by_page["short"]
    assert spent_by_page["middle"] <= 1.5 * spent_by_page["short"]
    assert spent_by_page["end"] <= spent_by_page["short"] / 10
    # Of each further identifier there is one look-up, and on the page of the first there is no room for more.
    assert spent_by_page["many"] <= 2 * spent_by_page["short"] + 6 * MANY


async def test_on_sqlite(store, path):
    await fill(store)
    connection = connect(path, patience=1)

    async def touched():
        return sum(
            connection.status(kind)[0] for kind in (apsw.SQLITE_DBSTATUS_CACHE_HIT, apsw.SQLITE_DBSTATUS_CACHE_MISS)
        )

    costs_are_bounded(await costs(SqliteReads(connection).events, touched))
    connection.close()


@pytest.mark.parametrize("statistics", ["none", "of empty tables", "current"])
async def test_on_postgresql(postgres_url, statistics):
    store = postgres.open_store(postgres_url, size=1)
    await store._rows("ALTER TABLE facts SET (autovacuum_enabled = false)")
    if statistics == "of empty tables":
        await store._rows("ANALYZE facts")
        for _ in range(EXECUTIONS):  # a plan that is kept was made for them
            assert await store.events(TENANT, [C], SECTION, None, LIMIT) == []
    await fill(store)
    if statistics == "current":
        await store._rows("ANALYZE facts")

    async def touched():
        await store._rows("SELECT pg_stat_force_next_flush()")
        await asyncio.sleep(0)
        rows = await store._rows(
            "SELECT heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit FROM pg_statio_user_tables"
            " WHERE relname = 'facts'"
        )
        return rows[0][0]

    async def within(*asked):
        return await store.write(TENANT, lambda tx: tx.events(*asked))

    costs_are_bounded(await costs(store.events, touched))
    costs_are_bounded(await costs(within, touched))
    await store.close()
