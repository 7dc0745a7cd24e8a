"""Asking for less reads less: counted by the engines themselves."""

import asyncio
import os

import apsw
import pytest

from portrait.model.document import document, head_document
from portrait.storage import postgres
from portrait.storage.conformance.support import TENANT, head, put_documents
from portrait.storage.sqlite.connection import connect
from portrait.storage.sqlite.reads import SqliteReads

SMALL = ("consent", "segments")
HEAVY = 256 * 1024


async def fill(store):
    """One customer with two small sections, beside others of 256 kB that no engine can compress."""
    heavy = [document(name, os.urandom(HEAVY // 4), None, 1) for name in ("a", "interactions", "journeys", "z")]
    await put_documents(store, "c", head_document(head()), *heavy, *(document(name, b"[]", None, 1) for name in SMALL))


async def reads_of(store):
    yield "all", lambda: store.documents(TENANT, "c", None), 7
    yield "two", lambda: store.documents(TENANT, "c", SMALL), 3
    yield "hashes", lambda: store.hashes(TENANT, "c", None), 7


async def test_sqlite_touches_only_the_pages_of_requested_documents(store, path):
    await fill(store)
    connection = connect(path, patience=1)

    def pages():
        hits, _ = connection.status(apsw.SQLITE_DBSTATUS_CACHE_HIT)
        misses, _ = connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)
        return hits + misses

    touched = {}
    async for name, read, rows in reads_of(SqliteReads(connection)):
        before = pages()
        assert len(await read()) == rows
        touched[name] = pages() - before
    connection.close()
    assert touched["all"] > HEAVY // 16_384
    assert touched["two"] < 12
    assert touched["hashes"] < 24


@pytest.fixture
async def postgres_store(postgres_url):
    opened = postgres.open_store(postgres_url, size=1)
    yield opened
    await opened.close()


async def test_postgresql_fetches_no_body_that_is_not_requested(postgres_store):
    await fill(postgres_store)

    async def blocks():
        await postgres_store._rows("SELECT pg_stat_force_next_flush()")
        await asyncio.sleep(0)
        rows = await postgres_store._rows(
            "SELECT toast_blks_read + toast_blks_hit FROM pg_statio_user_tables WHERE relname = 'documents'"
        )
        return rows[0][0]

    fetched = {}
    async for name, read, rows in reads_of(postgres_store):
        before = await blocks()
        assert len(await read()) == rows
        fetched[name] = await blocks() - before
    assert fetched["all"] > HEAVY // 8192
    assert (fetched["two"], fetched["hashes"]) == (0, 0)
