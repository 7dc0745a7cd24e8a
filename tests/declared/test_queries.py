"""Sources in databases: values are bound, and whatever fails costs the section alone."""

import asyncio
import sqlite3
import time

import asyncpg
import pytest

from databases import administer
from declared.conftest import SEGMENT, code_of, data_of, section_of
from declared.servers import raw_server
from harness import TENANT

FILE = """
[sections.loyalty]
description = "Points and tier."
timeout = {timeout}
identifiers = ["card"]
{more}
[sections.loyalty.query]
database = "{database}"
sql = \"\"\"{sql}\"\"\"
{query}
"""
MEMBERS = "SELECT tier, points FROM members WHERE customer_id = :customer_id AND tenant = :tenant_id ORDER BY points"
ROWS = [
    ("c1", TENANT, "gold", 1200),
    ("c1", "other", "none", 0),
    ("it's; --", TENANT, "quoted", 1),
    ("%", TENANT, "percent", 2),
]
SCHEMA = "CREATE TABLE members (customer_id text, tenant text, tier text, points integer)"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """Return the URL of a database with members, on each engine in turn."""
    values = ", ".join("('{}', '{}', '{}', {})".format(*(str(cell).replace("'", "''") for cell in row)) for row in ROWS)
    fill = f"INSERT INTO members VALUES {values}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
        administer(url, SCHEMA, fill)
        return url
    with sqlite3.connect(tmp_path / "loyalty.db") as connection:
        connection.execute(SCHEMA)
        connection.execute(fill)
    connection.close()
    return f"sqlite:///{tmp_path}/loyalty.db"


@pytest.fixture
def over_sql(declared, database):
    """Return a function that opens a service with one source in that database."""

    def opened(sql=MEMBERS, *, timeout=3, more="", query="", url=database, **options):
        text = FILE.format(database=url, sql=sql.replace("\\", "\\\\"), timeout=timeout, more=more, query=query)
        return declared(text, **options)

    return opened


async def test_rows_are_records(over_sql):
    async with over_sql() as running:
        assert await section_of(running, "loyalty") == {"name": "loyalty", "data": [{"tier": "gold", "points": 1200}]}


async def test_values_are_bound_and_never_spliced(over_sql):
    hostile = {"it's; --": ["quoted"], "%": ["percent"]}
    hostile |= {customer: [] for customer in ("' OR '1'='1", "_", ":tenant_id", "$1", "é\\", "?1", "a/../b", "-- x")}
    async with over_sql() as running:
        for customer, tiers in hostile.items():
            assert [record["tier"] for record in await data_of(running, "loyalty", customer)] == tiers


async def test_identifiers_are_bound_first_or_all_and_without_them_nothing_is_asked(over_sql):
    sql = "SELECT :email AS first, :email_json AS every, :customer_id_json AS ids, :tenant_id AS tenant"
    async with over_sql(sql) as running:
        assert await section_of(running, "loyalty") == {"name": "loyalty", "data": []}
        for value in ("b@example.com", "a@example.com"):
            await running.recorded("identities", {"type": "email", "value": value})
            running.clock.advance(1)
        record = (await section_of(running, "loyalty"))["data"][0]
        assert (record["first"], record["every"]) == ("a@example.com", '["a@example.com","b@example.com"]')
        assert (record["ids"], record["tenant"]) == ('["c1"]', TENANT)


async def test_more_rows_than_allowed_are_refused(over_sql, caplog):
    sql = "SELECT tier, :customer_id AS a, :tenant_id AS b FROM members"
    async with over_sql(sql, query="rows = 3") as running:
        assert await code_of(running, name="loyalty") == (
            "source_failed",
            "The source has more records than may be shown.",
        )
    assert "more than 3 rows" in caplog.text
    async with over_sql(sql, query="rows = 4") as running:
        assert len((await section_of(running, "loyalty"))["data"]) == 4


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT tier FROM nothing WHERE :customer_id = :tenant_id", "nothing"),
        ("SELECT nothing FROM members WHERE :customer_id = :tenant_id", "nothing"),
        ("SELECT FROM WHERE :customer_id = :tenant_id", "syntax error"),
        ("SELECT 1 AS a, 2 AS a, :customer_id AS b, :tenant_id AS c", "two columns of one name"),
    ],
)
async def test_a_query_that_fails_says_so_and_the_rest_is_whole(over_sql, caplog, sql, words):
    async with over_sql(sql) as running:
        for _ in range(2):
            assert (await code_of(running, name="loyalty"))[0] == "source_failed"
    assert words in caplog.text
    assert "Traceback" not in caplog.text


LONG = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT max(i), :customer_id, :tenant_id FROM n",
    "postgresql": "SELECT pg_sleep(60)::text AS a, :customer_id AS b, :tenant_id AS c",
}


async def test_a_query_that_does_not_end_costs_its_deadline_and_ends_by_itself(over_sql, database):
    engine = database.partition(":")[0]
    async with over_sql(LONG[engine], timeout=0.3) as running:
        started = time.perf_counter()
        assert (await code_of(running, name="loyalty"))[0] in {"deadline_exceeded", "source_failed"}
        assert time.perf_counter() - started < 2
        calls = running.services.computed._runners["loyalty"]._calls
        for _ in range(100):
            if engine == "postgresql" or calls._running._running == 0:
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the thread goes on")
        if engine == "postgresql":
            await asyncio.sleep(0.5)
            assert await sleeping(database) == 0


async def test_nothing_is_written(over_sql, database):
    engine = database.partition(":")[0]
    writes = {
        "sqlite": "WITH t AS (SELECT 1) DELETE FROM members WHERE :customer_id <> :tenant_id",
        "postgresql": "WITH t AS (DELETE FROM members WHERE :customer_id <> :tenant_id RETURNING 1) SELECT 1 FROM t",
    }
    async with over_sql(writes[engine]) as running:
        assert (await code_of(running, name="loyalty"))[0] == "source_failed"
    counted = "SELECT count(*) AS n, :customer_id AS a, :tenant_id AS b FROM members"
    async with over_sql(counted) as running:
        assert (await section_of(running, "loyalty"))["data"][0]["n"] == len(ROWS)


async def test_a_database_that_is_not_there_stops_no_start(declared, tmp_path):
    for url in (f"sqlite:///{tmp_path}/nothing.db", "postgresql://reader@127.0.0.1:9/loyalty"):
        text = FILE.format(database=url, sql=MEMBERS, timeout=3, more="", query="")
        async with declared(text) as running:
            assert await code_of(running, name="loyalty") == ("source_failed", "The source cannot be reached.")
    assert not (tmp_path / "nothing.db").exists()


async def test_a_server_that_accepts_and_says_nothing_costs_its_deadline(declared):
    async def silent(reader, writer):
        await asyncio.sleep(30)

    async with raw_server(silent) as server:
        url = f"postgresql://reader@127.0.0.1:{server.port}/loyalty?sslmode=disable"
        async with declared(FILE.format(database=url, sql=MEMBERS, timeout=0.3, more="", query="")) as running:
            started = time.perf_counter()
            assert (await code_of(running, name="loyalty"))[0] in {"deadline_exceeded", "source_failed"}
            assert time.perf_counter() - started < 2


class Unshown:
    """A value that has no form in JSON."""


SQLITE = [("1.5", 1.5), ("NULL", None), ("9223372036854775807", 2**63 - 1), ("x'00'", Unshown), ("9e999", Unshown)]


async def test_values_of_sqlite_are_shown_or_refused(declared, tmp_path):
    url = f"sqlite:///{tmp_path}/values.db"
    sqlite3.connect(tmp_path / "values.db").close()
    for expression, value in SQLITE:
        sql = f"SELECT {expression} AS v, :customer_id AS a, :tenant_id AS b"
        async with declared(FILE.format(database=url, sql=sql, timeout=3, more="", query="")) as running:
            if value is Unshown:
                assert (await code_of(running, name="loyalty"))[0] == "source_failed"
            else:
                assert (await section_of(running, "loyalty"))["data"][0]["v"] == value


POSTGRESQL = [
    ("1.10::numeric", "1.10"),
    ("'2026-01-02T03:04:05+02'::timestamptz", "2026-01-02T01:04:05Z"),
    ("'2026-01-02'::date", "2026-01-02"),
    ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("ARRAY[1, 2]", [1, 2]),
    ("'{\"a\": [1]}'::jsonb", {"a": [1]}),
    ("'{\"a\": [1]}'::json", {"a": [1]}),
    ("true", True),
    ("'10.0.0.1'::inet", "10.0.0.1"),
    ("'2026-01-02T03:04:05'::timestamp", Unshown),
    ("'NaN'::float8", Unshown),
    ("'Infinity'::numeric", Unshown),
    ("'\\x00'::bytea", Unshown),
    ("'1 day'::interval", Unshown),
]


async def test_values_of_postgresql_are_shown_or_refused(declared, postgres_url):
    for expression, value in POSTGRESQL:
        sql = f"SELECT {expression} AS v, :customer_id AS a, :tenant_id AS b".replace("\\", "\\\\").replace('"', '\\"')
        text = FILE.format(database=postgres_url, sql=sql, timeout=3, more="", query="")
        async with declared(text) as running:
            if value is Unshown:
                assert (await code_of(running, name="loyalty"))[0] == "source_failed", expression
            else:
                assert (await section_of(running, "loyalty"))["data"][0]["v"] == value


@pytest.fixture
def numbered_url(postgres_url):
    """Return the URL of a database whose customers have numbers."""
    administer(postgres_url, "CREATE TABLE numbered (id integer, tier text)", "INSERT INTO numbered VALUES (7, 'gold')")
    return postgres_url


async def test_what_a_value_is_compared_with_decides_nothing_about_its_type(declared, numbered_url, caplog):
    sql = "SELECT tier FROM numbered WHERE id = :customer_id::integer AND :tenant_id <> ''"
    async with declared(FILE.format(database=numbered_url, sql=sql, timeout=3, more="", query="")) as running:
        await running.recorded("segments", SEGMENT, "7")
        assert (await section_of(running, "loyalty", "7"))["data"] == [{"tier": "gold"}]
        assert (await code_of(running, name="loyalty"))[0] == "source_failed"
    assert "22P02" in caplog.text
    assert '"c1"' not in caplog.text, "the server's words repeat the value"


async def sleeping(url):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
    finally:
        await connection.close()
