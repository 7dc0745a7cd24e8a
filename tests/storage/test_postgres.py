"""PostgreSQL keeps the storage contract; failures of a server are reported, survived, and never double a fact."""

import asyncio
import time
from functools import partial

import asyncpg
import pytest

from databases import administer, asked, database_url
from harness import portrait
from portrait.model.errors import DatabaseRefused, StorageBusy
from portrait.model.identifier import customer
from portrait.model.urls import without_password
from portrait.storage import conformance, postgres
from portrait.storage.conformance.support import TENANT, append, fact
from portrait.storage.contract import Changes, StoredState
from portrait.storage.postgres import store

CASES = conformance.cases()
C = customer("c")


@pytest.fixture
async def postgres_store(postgres_url):
    opened = postgres.open_store(postgres_url)
    yield opened
    await opened.close()


@pytest.mark.parametrize("case", CASES, ids=[case.__name__.removeprefix("test_") for case in CASES])
async def test_postgresql_keeps_the_contract(case, postgres_store):
    await case(postgres_store)


async def test_without_prepared_statements_reads_and_writes_go_on(postgres_url):
    opened = postgres.open_store(postgres_url, prepared=False)
    await append(opened, fact(C, 1))
    assert await opened.facts(TENANT, [C]) == [fact(C, 1)]
    await opened.close()


CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'portrait_%'"


async def test_reads_and_writes_survive_the_loss_of_every_connection(postgres_store, postgres_server):
    await append(postgres_store, fact(C, 1))
    await asyncio.to_thread(
        administer,
        postgres_server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
    )
    assert await postgres_store.facts(TENANT, [C]) == [fact(C, 1)]
    await asyncio.to_thread(
        administer,
        postgres_server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
    )
    await append(postgres_store, fact(C, 2))
    assert await postgres_store.facts(TENANT, [C]) == [fact(C, 1), fact(C, 2)]


async def test_a_connection_lost_in_mid_work_has_the_work_run_again_and_doubles_nothing(postgres_store):
    runs = []

    async def work(tx):
        await tx.apply(TENANT, Changes(facts=[fact(C, 1)]))
        if not runs:
            runs.append("cut")
            own = await tx._rows("SELECT pg_backend_pid()")
            await tx._rows("SELECT pg_terminate_backend($1)", own[0][0])
        runs.append("done")

    await postgres_store.write(TENANT, work)
    assert runs == ["cut", "done"]
    assert await postgres_store.facts(TENANT, [C]) == [fact(C, 1)]


async def test_a_pool_in_full_use_is_busy_within_the_wait(postgres_url):
    opened = postgres.open_store(postgres_url, size=1, patience=0.3)
    async with opened.snapshot() as reads:
        await reads.tenants(None, 1)
        started = time.monotonic()
        with pytest.raises(StorageBusy):
            await opened.tenants(None, 1)
        assert time.monotonic() - started < 2
    assert await opened.tenants(None, 1) == []
    await opened.close()


async def crosswise(postgres_store, work):
    """Do work on a then b and on b then a, both begun before either goes on."""
    both = asyncio.Barrier(2)
    runs = []

    async def one_run(tx, first, second):
        runs.append(first)
        await work(tx, first)
        if len(runs) <= 2:
            await both.wait()
        await work(tx, second)
        await tx.apply(TENANT, Changes(facts=[fact(customer(first), 1)]))

    await asyncio.gather(
        *(postgres_store.write(TENANT, partial(one_run, first=first, second=second)) for first, second in ("ab", "ba"))
    )
    assert len(await postgres_store.facts(TENANT, [customer("a"), customer("b")])) == 2
    return runs


async def deadlocks(url):
    """Return how many deadlocks the server met; it counts them at the latest when a connection ends."""
    rows = await asyncio.to_thread(
        asked, url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return rows[0][0]


async def test_customers_locked_in_opposite_orders_make_no_deadlock(postgres_store, postgres_url):
    """Work that would wait while it holds another lock releases it, and begins again with both."""
    runs = await crosswise(postgres_store, lambda tx, customer_id: tx.lock(TENANT, [customer_id]))
    assert len(runs) > 2
    await postgres_store.close()
    assert await deadlocks(postgres_url) == 0


async def test_deadlocks_are_run_again(postgres_store, postgres_url):
    """Rows that no lock stands for, written in opposite orders: both works are kept in the end."""

    async def write(tx, customer_id):
        await tx.apply(TENANT, Changes(states={(customer(customer_id), "s"): StoredState(b"", 1)}))
        await tx.states(TENANT, [])  # rows that are put may wait until the next read

    assert len(await crosswise(postgres_store, write)) > 2
    await postgres_store.close()
    assert await deadlocks(postgres_url) == 1


@pytest.fixture
def unhurried(monkeypatch):
    monkeypatch.setattr(store, "LONGEST_PAUSE", 0)


class Contended:
    """Work whose commit fails so many times by contention."""

    def __init__(self, times):
        self.left = times

    async def __call__(self, tx):
        await tx.apply(TENANT, Changes(facts=[fact(C, 1)]))
        self.left -= 1
        if self.left >= 0:
            raise asyncpg.DeadlockDetectedError


@pytest.mark.usefixtures("unhurried")
async def test_work_is_tried_for_as_long_as_a_request_waits(postgres_store):
    await postgres_store.write(TENANT, Contended(10 * store.ATTEMPTS))
    assert await postgres_store.facts(TENANT, [C]) == [fact(C, 1)]


@pytest.mark.usefixtures("unhurried")
async def test_work_that_others_keep_from_its_commit_for_ever_is_busy(postgres_url):
    opened = postgres.open_store(postgres_url, patience=0.05)
    with pytest.raises(StorageBusy, match="other writers of the same customers"):
        await opened.write(TENANT, Contended(10**9))
    assert await opened.facts(TENANT, [C]) == []
    await opened.write(TENANT, Contended(store.ATTEMPTS - 1))
    await opened.close()


REFUSED = {
    "postgresql://postgres@127.0.0.1:1/none": "cannot be reached",
    "postgresql://user:hunter2@127.0.0.1:1/none": "cannot be reached",
}


@pytest.mark.parametrize("url", REFUSED)
def test_an_unreachable_server_is_reported_without_the_password(url):
    with pytest.raises(DatabaseRefused, match=REFUSED[url]) as refused:
        postgres.open_store(url)
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in without_password(url)


def test_a_database_that_is_missing_or_not_ready_is_reported(postgres_server):
    with pytest.raises(DatabaseRefused, match="no such database"):
        postgres.open_store(database_url(postgres_server, "never_made"), upgrade=True)
    administer(postgres_server, "CREATE DATABASE portrait_empty TEMPLATE template0 ENCODING 'UTF8'")
    try:
        with pytest.raises(DatabaseRefused, match="portrait db upgrade"):
            postgres.open_store(database_url(postgres_server, "portrait_empty"))
    finally:
        administer(postgres_server, "DROP DATABASE portrait_empty")


async def test_a_schema_of_a_newer_version_is_refused(postgres_url):
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    with pytest.raises(DatabaseRefused, match="newer version"):
        postgres.open_store(postgres_url, upgrade=True)


def test_the_command_line_works_on_postgresql(postgres_url):
    for words in (("db", "upgrade"), ("tenant", "create", "t"), ("tenant", "list"), ("db", "check")):
        done = portrait(*words, "--database", postgres_url)
        assert done.returncode == 0, done.stderr
