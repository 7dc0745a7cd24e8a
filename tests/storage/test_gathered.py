"""A group is few statements on PostgreSQL, each of a plan that holds whatever is in the tables, and under its locks."""

import asyncio
import json
import re

import asyncpg
import pytest

from harness import interaction
from portrait.ingest.records import Parser
from portrait.model.document import head_document
from portrait.model.identifier import customer
from portrait.model.time import system_clock
from portrait.sections import registry
from portrait.storage import postgres
from portrait.storage.conformance.support import TENANT, append, by_key, fact, head, put_documents
from portrait.storage.contract import Changes, StoredState, TenantRow
from portrait.storage.postgres import gathered, put
from portrait.writes.record_writer import RecordWriter
from portrait.writes.recording import Recorder

ROWS = (
    "INSERT INTO states SELECT 't', 'customer_id', n::text, 's', 1, '' FROM generate_series(1, 5) n",
    "INSERT INTO documents SELECT 't', n::text, '', '', NULL, 1, '' FROM generate_series(1, 5) n",
    "INSERT INTO identifiers SELECT 't', 'customer_id', n::text, n::text FROM generate_series(1, 5) n",
    "INSERT INTO facts SELECT 't', '', n::text, 's', n, '', 'k', '', '', n, '', 1 FROM generate_series(1, 5) n",
    "VACUUM ANALYZE",
)
KEPT = {
    gathered.LOOK: ["(value = w.id)", "(section = ''::text)"],
    gathered.LOOK_AT_ONCE: ["(value = w.id)", "(section = ''::text)"],
    gathered.OWNERS: ["(value = w.value)"],
    gathered.STATES: ["(section = w.section)"],
    gathered.KNOWN: ["(key = w.key)"],
    put.PLACEHOLDERS.many: [],
    put.together((put.FACTS, put.IDENTIFIERS, put.STATES, put.DOCUMENTS)): [],
}


@pytest.fixture
async def postgres_store(postgres_url):
    opened = postgres.open_store(postgres_url)
    yield opened
    await opened.close()


@pytest.mark.parametrize("rows", [(), ROWS], ids=["empty tables", "tables of one page"])
async def test_a_plan_that_is_kept_finds_by_index_all_that_is_compared(postgres_store, postgres_url, rows):
    connection = await asyncpg.connect(postgres_url, statement_cache_size=0)
    for statement in rows:
        await connection.execute(statement)
    async with connection.transaction():
        await connection.execute(gathered.GatheredTransaction.PLANS)
        for statement, compared in KEPT.items():
            values = ", ".join(["NULL"] * max(map(int, re.findall(r"\$(\d+)", statement))))
            await connection.execute(f"PREPARE kept AS {statement}")
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE kept({values})"))
            await connection.execute("DEALLOCATE kept")
            assert "Seq Scan" not in plan
            conditions = re.findall("Index Cond: (.*)", plan)
            assert len(conditions) == len(compared), plan
            for condition, last in zip(conditions, compared, strict=True):
                assert condition.startswith("((tenant = $1)")
                assert last in condition
    await connection.close()


@pytest.fixture
def sent(monkeypatch):
    """The statements that go to the server, in order."""
    statements = []
    for name in ("fetch", "execute", "copy_records_to_table"):
        call = getattr(asyncpg.Connection, name)

        async def noted(self, text, *values, call=call, **more):
            statements.append(text)
            return await call(self, text, *values, **more)

        monkeypatch.setattr(asyncpg.Connection, name, noted)
    return statements


@pytest.mark.parametrize(
    ("named", "statements"),
    [(lambda number: {"customerId": f"c{number}"}, 6),
     (lambda number: {"identifier": {"type": "device_id", "value": f"d{number}"}}, 7)],
    ids=["customers", "devices"],
)  # fmt: skip
async def test_a_group_of_known_customers_takes_few_statements(postgres_store, sent, named, statements):
    parser, sections = Parser(TenantRow("t", "t", 0, b"k" * 32), "test"), registry.load(installed=False)
    recorder = Recorder(postgres_store, RecordWriter(system_clock, sections.all_stored()))

    async def group(number):
        bodies = [{**named(row), "section": "interactions", "record": interaction(number)} for row in range(20)]
        incoming = [parser.line(at, json.dumps(body).encode(), sections) for at, body in enumerate(bodies)]
        sent.clear()
        assert (await recorder.record_each(TENANT, incoming)).recorded == 20
        return len(sent)

    await group(0)
    assert await group(1) <= statements


async def test_a_look_up_that_waits_for_a_lock_finds_what_was_written_meanwhile(postgres_store):
    """The head that a look-up has locked is the newest, though the statement began before it was written."""
    await put_documents(postgres_store, "c", head_document(head(1)))
    await append(postgres_store, fact(customer("c"), 1))
    await postgres_store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={customer("c"): "c"})))
    locked, looking = asyncio.Event(), asyncio.Event()
    where = (customer("c"), "s")

    async def first(tx):
        await tx.resolve_for_update(TENANT, [customer("c")])
        await tx.lock(TENANT, ["c"])
        locked.set()
        await looking.wait()
        await asyncio.sleep(0.2)
        await tx.apply(TENANT, Changes(states={where: StoredState(b"new", 1)}))
        await tx.apply(TENANT, Changes(documents=by_key({"c": [head_document(head(2))]})))

    async def second(tx):
        looking.set()
        assert await tx.resolve_for_update(TENANT, [customer("c")]) == {customer("c"): "c"}
        return await tx.lock(TENANT, ["c"]), await tx.states(TENANT, [where])

    task = asyncio.create_task(postgres_store.write(TENANT, first))
    await locked.wait()
    assert await postgres_store.write(TENANT, second) == ({"c": head(2)}, {where: StoredState(b"new", 1)})
    await task


async def test_a_look_up_locks_no_customer_that_was_merged_away(postgres_store):
    """A write locks the customer that the other was merged into: a lock on the merged id would only block others."""
    await put_documents(postgres_store, "gone", head_document(head(1, merged_into="c")))
    await postgres_store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={customer("gone"): "c"})))

    async def look(tx):
        assert await tx.resolve_for_update(TENANT, [customer("gone")]) == {customer("gone"): "c"}
        await asyncio.wait_for(postgres_store.write(TENANT, lambda other: other.lock(TENANT, ["gone"])), 5)

    await postgres_store.write(TENANT, look)


async def test_a_head_is_locked_as_it_stands_after_the_works_own_writes(postgres_store):
    await put_documents(postgres_store, "c", head_document(head(1)))
    await postgres_store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={customer("c"): "c"})))

    async def work(tx):
        await tx.resolve_for_update(TENANT, [customer("c")])
        await tx.apply(TENANT, Changes(documents=by_key({"c": [head_document(head(2))]})))
        second = await tx.lock(TENANT, ["c"])
        await tx.resolve_for_update(TENANT, [customer("c")])
        await tx.apply(TENANT, Changes(documents=dict.fromkeys(("c", name) for name in [""])))
        return second, await tx.lock(TENANT, ["c"])

    assert await postgres_store.write(TENANT, work) == ({"c": head(2)}, {"c": None})
