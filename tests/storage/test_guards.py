"""Guards of engines beyond their contract: a missing guard is noticed (`make mutants`)."""

import apsw
import asyncpg
import pytest

from portrait.model.document import head_document
from portrait.model.identifier import customer
from portrait.storage import sqlite
from portrait.storage.conformance.support import OTHER, TENANT, by_key, head
from portrait.storage.contract import Changes
from portrait.storage.postgres import open_store, pool
from portrait.storage.postgres.transaction import PostgresTransaction
from portrait.storage.sqlite import connection as engine


@pytest.mark.parametrize("ids", [["c0"], ["c0", "c1"], [f"c{number}" for number in range(12)]], ids=len)
async def test_the_statement_that_locks_on_a_cluster_sees_one_tenants_heads(postgres_url, ids):
    store = open_store(postgres_url)

    async def work(tx):
        await tx.apply(OTHER, Changes(owners={customer(customer_id): customer_id for customer_id in ids}))
        await tx.apply(OTHER, Changes(documents=by_key({customer_id: [head_document(head())] for customer_id in ids})))

    await store.write(OTHER, work)
    await store.close()
    connection = await asyncpg.connect(postgres_url)
    async with connection.transaction():
        transaction = PostgresTransaction(connection)
        assert await transaction._lock(TENANT, ids) == dict.fromkeys(ids)
        assert await transaction._lock(OTHER, ids) == dict.fromkeys(ids, head())
    await connection.close()


async def test_a_connection_that_was_long_unused_is_not_lent_again(postgres_url, monkeypatch):
    lent = pool.Pool(lambda: asyncpg.connect(postgres_url), size=2, patience=10)
    first = await lent.take()
    lent.give(first)
    again = await lent.take()
    assert again is first
    lent.give(again)
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.0)
    other = await lent.take()
    assert other is not first
    assert first.is_closed()
    lent.give(other)
    await lent.close()


async def test_a_large_file_is_not_read_whole_at_a_start(path, monkeypatch):
    await sqlite.open_store(path).close()
    statements = []

    def note(made):
        made.exec_trace = lambda cursor, sql, values: statements.append(sql) or True

    monkeypatch.setattr(apsw, "connection_hooks", [*apsw.connection_hooks, note])
    for limit, checked in ((engine.QUICK_CHECK_LIMIT, True), (0, False)):
        monkeypatch.setattr(engine, "QUICK_CHECK_LIMIT", limit)
        statements.clear()
        await sqlite.open_store(path).close()
        assert any("quick_check" in statement for statement in statements) == checked
