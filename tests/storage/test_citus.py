"""A distributed PostgreSQL (Citus) keeps the storage contract, by statements that stay on one shard where they can."""

import asyncio
import json
import os
import uuid
from contextlib import asynccontextmanager

import asyncpg
import pytest

from databases import administer, asked, citus_cluster, server_url
from harness import portrait
from portrait.app import build
from portrait.ingest.records import Parser
from portrait.model.errors import StorageFailed
from portrait.model.identifier import Identifier
from portrait.storage import conformance, migrations, postgres
from portrait.storage.conformance.support import TENANT
from portrait.storage.contract import TenantRow
from portrait.storage.postgres.store import _Snapshot
from portrait.storage.postgres.transaction import PostgresTransaction

CASES = conformance.cases()


@pytest.fixture
async def citus_store(citus_url):
    opened = postgres.open_store(citus_url)
    yield opened
    await opened.close()


@pytest.mark.parametrize("case", CASES, ids=[case.__name__.removeprefix("test_") for case in CASES])
async def test_citus_keeps_the_contract(case, citus_store):
    await case(citus_store)


async def test_a_profile_and_an_identifier_are_read_by_the_routers_fast_path(citus_url):
    async with noting(citus_url) as (connection, messages):
        reads = _Snapshot(connection)
        for ask in (
            lambda: reads.documents(TENANT, "c", None),
            lambda: reads.documents(TENANT, "c", ["consent"]),
            lambda: reads.resolve(TENANT, [Identifier("email", "e")]),
        ):
            messages.clear()
            await ask()
            assert any("fast-path router query" in message for message in messages), messages


async def test_facts_of_one_customer_stay_on_one_shard(citus_url):
    services = build(citus_url, auth="open", installed=False)
    parser = Parser(TenantRow("t", "t", 0, b"secret"), "test")

    def incoming(number):
        record = {"id": f"i{number}", "interactionType": "x", "timestamp": "2026-03-01T00:00:00Z"}
        row = {"customerId": "c", "section": "interactions", "record": record}
        return parser.line(0, json.dumps(row).encode(), services.registry)

    async with noting(citus_url) as (connection, messages):
        for number in range(2):  # the first makes the customer, the second finds it
            async with connection.transaction():
                tx = Routed(connection, messages)
                await services.recorder._record(tx, TENANT, [incoming(number)], atomic=True)
                assert tx.statements > 5
    await services.close()


@asynccontextmanager
async def noting(url):
    """Open a connection, and note the messages of Citus's planner on each statement: EXPLAIN shows no fast path."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    messages = []
    connection.add_log_listener(lambda _, message: messages.append(message.message))
    await connection.execute("SET client_min_messages TO debug2")
    yield connection, messages
    await connection.close()


class Routed(PostgresTransaction):
    """A transaction each of whose statements must be planned for a single shard."""

    def __init__(self, connection, messages):
        super().__init__(connection)
        self.statements = 0
        self._messages = messages

    async def _rows(self, sql, *values):
        self._messages.clear()
        rows = await super()._rows(sql, *values)
        self.statements += 1
        assert "Creating router plan" in self._messages, (sql, self._messages)
        return rows


@pytest.fixture
def cluster(citus_database):
    """Return the URL of a new database of the cluster, with Portrait's tables, not distributed."""
    with citus_cluster(os.environ["PORTRAIT_TEST_CITUS_URL"], f"portrait_{uuid.uuid4().hex}") as url:
        asyncio.run(postgres.open_store(url, upgrade=True).close())
        yield url


def placed(url):
    rows = asked(url, "SELECT logicalrelid::text, column_to_column_name(logicalrelid, partkey) FROM pg_dist_partition")
    return dict(rows)


LAYOUT = {
    "documents": "customer_id", "facts": "value", "states": "value", "identifiers": "value",
    "tenants": None, "credentials": None, "alembic_version": None,
}  # fmt: skip


def test_distribute_moves_the_rows_and_again_does_nothing(cluster):
    def run(*words, **more):
        done = portrait(*words, "--database", cluster, **more)
        assert done.returncode == 0, done.stderr
        return done.stderr + done.stdout

    run("tenant", "create", "t")
    row = {"customerId": "c", "section": "segments"}
    lines = [
        {**row, "record": {"segmentId": str(number), "segmentName": "s", "memberSince": "2026-01-15T00:00:00Z"}}
        for number in range(20)
    ]
    text = "\n".join(map(json.dumps, lines))
    run("load", "--tenant", "t", "-", input=text)
    before = run("show", "c", "--tenant", "t", "--json")
    assert run("db", "distribute", "--shards", "4") == f"Distributed: {', '.join(LAYOUT)}.\n"
    assert placed(cluster) == LAYOUT
    assert asked(cluster, "SELECT count(*) FROM ONLY facts")[0][0] == 20
    assert run("db", "distribute") == "All tables were distributed already.\n"
    assert contents(run("show", "c", "--tenant", "t", "--json")) == contents(before)
    run("load", "--tenant", "t", "-", input=text)
    assert "20 facts, 0 differences" in run("db", "check")


def contents(text):
    return {name: value for name, value in json.loads(text).items() if name != "computedAt"}


@pytest.mark.parametrize(
    ("statements", "detail"),
    [
        (
            ["SELECT create_distributed_table('documents', 'section')"],
            "documents stands by section, not by customer_id",
        ),
        (["SELECT create_reference_table('facts')"], "facts stands whole on every server, not by value"),
        (
            [
                "SELECT create_distributed_table('documents', 'customer_id', colocate_with := 'none')",
                "SELECT create_distributed_table('facts', 'value', colocate_with := 'none')",
            ],
            "are not co-located",
        ),
    ],
)
def test_tables_distributed_otherwise_are_refused(cluster, statements, detail):
    administer(cluster, *statements)
    for words in (("serve", "--port", "0"), ("db", "distribute")):
        refused = portrait(*words, "--database", cluster)
        assert refused.returncode == 1
        assert detail in refused.stderr
        assert "undistribute_table()" in refused.stderr


def test_a_distribution_begun_by_hand_is_finished_only_by_distribute(cluster):
    administer(cluster, "SELECT create_distributed_table('facts', 'value', shard_count := 4)")
    refused = portrait("serve", "--port", "0", "--database", cluster)
    assert (refused.returncode, "Run `portrait db distribute` to finish." in refused.stderr) == (1, True)
    assert portrait("db", "distribute", "--database", cluster).returncode == 0
    assert placed(cluster) == LAYOUT


def test_a_worker_is_no_way_in(citus_database):
    host, port = asked(citus_database, "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid > 0 LIMIT 1")[0]
    refused = portrait("tenant", "list", "--database", server_url(citus_database, host, port))
    assert (refused.returncode, "is a worker of its cluster" in refused.stderr) == (1, True)


def test_a_cluster_without_workers_is_refused(cluster):
    administer(cluster, "SELECT citus_remove_node(nodename, nodeport) FROM pg_dist_node WHERE groupid > 0")
    refused = portrait("db", "distribute", "--database", cluster)
    assert (refused.returncode, "has no workers. Add them" in refused.stderr) == (1, True)
    assert placed(cluster) == {}


def test_a_distributed_database_takes_statements_of_a_migration(cluster):
    assert portrait("db", "distribute", "--database", cluster).returncode == 0
    script = "CREATE INDEX one ON facts (key);\n\nCREATE INDEX two ON states (version);\n\nDROP INDEX one;\n\n"

    async def migrate():
        connection = await asyncpg.connect(cluster)
        async with connection.transaction():
            for statement in migrations.statements(script):
                await connection.execute(statement)
        await connection.close()

    assert len(migrations.statements(script)) == 3
    asyncio.run(migrate())


async def test_a_service_older_than_the_distribution_says_so(cluster):
    opened = await asyncio.to_thread(postgres.open_store, cluster)
    names = [f"c{number}" for number in range(20)]
    await opened.write(TENANT, lambda tx: tx.lock(TENANT, names))
    assert (await asyncio.to_thread(portrait, "db", "distribute", "--database", cluster)).returncode == 0
    with pytest.raises(StorageFailed, match="were distributed since this start"):
        await opened.write(TENANT, lambda tx: tx.lock(TENANT, names))
    await opened.close()


def test_a_server_without_citus_is_told_apart(postgres_url, tmp_path):
    refused = portrait("db", "distribute", "--database", postgres_url)
    assert refused.returncode == 1
    assert "has no Citus. Install the extension on every server" in refused.stderr
    refused = portrait("db", "distribute", "--database", f"sqlite:///{tmp_path / 'p.db'}")
    assert (refused.returncode, "SQLite file cannot be distributed" in refused.stderr) == (1, True)
