"""Queries: what has a type becomes the text that it becomes everywhere; nothing is written, no password shown."""

import asyncio
import os
import sqlite3
import sys
from contextlib import asynccontextmanager

import asyncpg
import pytest

from portrait.model.errors import InputRefused, TableBroken
from portrait.tables.databases import name_of, open_query
from portrait.tables.postgresql import CLOSE_SECONDS
from tables.reading import cells, rows_of

NO_DATE = "holds a date that is not between the years 1 and 9999"
INFINITE = "holds infinity, which is no value"
LOST = "holds a floating number of so many digits that some may be lost: give it as text, or as an integer"


async def query(url, sql, wanted=None):
    async with open_query(url, sql) as table:
        return await rows_of(table, wanted)


@pytest.fixture
def sqlite_url(tmp_path):
    path = tmp_path / "people.db"
    sqlite3.connect(path).close()
    path.touch()
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("sql", "cell"),
    [
        ("'00731'", "00731"),
        ("x'3030373331'", "00731"),
        ("x'ff'", "holds bytes that are no text in UTF-8"),
        ("NULL", ""),
        ("''", ""),
        ("9223372036854775807", "9223372036854775807"),
        ("442079460018.0", "442079460018"),
        ("0.1", "0.1"),
        ("9e15", "9000000000000000"),
        ("9007199254740993.0", LOST),
        ("9e999", INFINITE),
        ("CAST(x'616263ff' AS TEXT)", "holds bytes that are no text in UTF-8"),
    ],
)
async def test_values_of_sqlite(sqlite_url, sql, cell):
    """Trap 35: a column without a type, and with any."""
    assert cells(await query(sqlite_url, f"SELECT {sql} AS v")) == [[cell]]


POSTGRES = [
    ("'00731'::text", "00731"),
    ("NULL", ""),
    ("9223372036854775807", "9223372036854775807"),
    ("true", "true"),
    ("1.10::numeric(10,2)", "1.10"),
    ("1e30::numeric", "1" + "0" * 30),
    ("'NaN'::numeric", ""),
    ("'Infinity'::numeric", INFINITE),
    ("0.1::float4", "0.1"),
    ("16777217::float4", LOST),
    ("0.1::float8", "0.1"),
    ("'NaN'::float8", ""),
    ("'-inf'::float8", INFINITE),
    ("442079460018::float8", "442079460018"),
    ("9007199254740993::float8", LOST),
    ("timestamptz '2026-04-03 10:00:00.5+02'", "2026-04-03T08:00:00.500000Z"),
    ("timestamp '2026-04-03 10:00'", "2026-04-03T10:00:00"),
    ("date '2026-04-03'", "2026-04-03"),
    ("date '9999-12-31'", "9999-12-31"),
    ("time '10:30'", "10:30:00"),
    ("interval '36 hours'", "PT36H"),
    ("timestamptz 'infinity'", INFINITE),
    ("date '-infinity'", INFINITE),
    ("timestamp '0044-03-15 BC'", NO_DATE),
    ("date '12000-01-01'", NO_DATE),
    ("'3f2504e0-4f89-11d3-9a0c-0305e82c3301'::uuid", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
    ("'\\x6162'::bytea", "ab"),
    ("'\\xff'::bytea", "holds bytes that are no text in UTF-8"),
    ("'{\"a\":  1.10}'::json", '{"a":  1.10}'),
    ("'{\"a\":  1.10}'::jsonb", '{"a": 1.10}'),
    ("ARRAY['a', NULL, 'b']", '["a",null,"b"]'),
    ("ARRAY[[1,2],[3,4]]", "[[1,2],[3,4]]"),
    ("ARRAY[timestamptz '2026-04-03 10:00+02']", '["2026-04-03T08:00:00Z"]'),
    ("int4range(1, 5)", "[1,5)"),
    ("'empty'::int4range", "empty"),
    ("inet '10.0.0.1'", "10.0.0.1"),
    ("point '(1,2)'", "(1,2)"),
    ("B'101'", "101"),
    ("'x'::\"char\"", "x"),
]


async def test_values_of_postgresql(postgres_url):
    selected = ", ".join(f"{sql} AS v{number}" for number, (sql, _) in enumerate(POSTGRES))
    (row,) = cells(await query(postgres_url, f"SELECT {selected}"))
    assert dict(zip((sql for sql, _ in POSTGRES), row, strict=True)) == dict(POSTGRES)


async def test_rows_are_counted_and_columns_taken_by_name(url):
    numbers = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) SELECT i AS a, 'x' AS b FROM n"
    )
    rows = await query(url, numbers, ["b", "a"])
    assert [(row.number, list(row.cells)) for row in rows] == [
        (number, ["x", str(number)]) for number in range(1, 2501)
    ]


async def test_columns_of_one_name_are_numbered(url):
    async with open_query(url, "SELECT 1 AS a, 2 AS a") as table:
        assert table.columns == ("a (1)", "a (2)")
        with pytest.raises(InputRefused, match=r"has several columns `a`: ask for `a \(1\)` or `a \(2\)`"):
            await rows_of(table, ["a"])
        assert cells(await rows_of(table, ["a (2)"])) == [["2"]]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE q (a int)",
        "DELETE FROM people",
        "SELEC 1",
        "SELECT * FROM nowhere",
        "SELECT 1; SELECT 2",
        "",
        "INSERT INTO people VALUES ('x')",
    ],
)
async def test_a_query_that_gives_no_rows_is_refused(url, sql):
    await prepare(url, "CREATE TABLE people (id text)", "INSERT INTO people VALUES ('1')")
    with pytest.raises(InputRefused, match=r"the query|The query"):
        await query(url, sql)
    assert cells(await query(url, "SELECT id FROM people")) == [["1"]]


async def test_a_query_that_would_write_is_refused_even_where_it_gives_rows(url):
    await prepare(url, "CREATE TABLE people (id text)")
    with pytest.raises(InputRefused, match=r"it would write|readonly database"):
        await query(url, "INSERT INTO people VALUES ('x') RETURNING id")


async def prepare(url, *statements):
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
        return
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def test_what_is_written_meanwhile_is_not_read(postgres_url):
    await prepare(postgres_url, "CREATE TABLE people AS SELECT generate_series(1, 3000) AS id")
    async with open_query(postgres_url, "SELECT id FROM people") as table:
        rows = []
        async for batch in table.batches(["id"]):
            if not rows:
                await prepare(postgres_url, "DELETE FROM people")
            rows += batch
    assert len(rows) == 3000


async def test_a_lost_connection_ends_the_table(postgres_url):
    async with open_query(postgres_url, "SELECT g, pg_backend_pid() AS pid FROM generate_series(1, 100000) g") as table:
        batches = table.batches(["pid"])
        first = await anext(batches)
        await prepare(postgres_url, f"SELECT pg_terminate_backend({first[0].cells[0]})")
        with pytest.raises(TableBroken, match="cannot be read behind row 1000: the connection was lost"):
            await anext(batches)


async def test_an_error_in_mid_query_repeats_no_value(url):
    sql = "SELECT abs(CASE WHEN i = 1500 THEN -9223372036854775807 - 1 ELSE CAST(i AS bigint) END) AS v FROM n"
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
    rows = []

    async def read_on(table):
        async for batch in table.batches(["v"]):
            rows.extend(batch)

    async with open_query(url, f"{numbers} {sql}") as table:
        with pytest.raises(TableBroken) as refusal:
            await read_on(table)
    assert len(rows) == 1000
    assert "cannot be read behind row 1000" in refusal.value.detail
    assert "9223372036854775807" not in refusal.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@127.0.0.1:1/x",
        "postgresql://u:hun/ter2@127.0.0.1:1/x",
        "postgresql://u:hunter2@127.0.0.1:port/x",
        "mysql://u:hunter2@127.0.0.1:1/x",
        "mysql://u:hun/ter2@127.0.0.1:1/x",
        "postgresql:///x?password=hunter2&host=/nowhere",
        "hunter2",
        "oracle://u:hunter2@h/x",
    ],
)
async def test_a_database_that_cannot_be_reached_is_refused_without_its_password(url):
    with pytest.raises(InputRefused) as refusal:
        await query(url, "SELECT 1")
    assert "ter2" not in refusal.value.detail


async def test_a_database_that_is_not_there_is_refused(postgres_url):
    with pytest.raises(InputRefused, match="refuses the connection"):
        await query(postgres_url.replace("/portrait_", "/nowhere_"), "SELECT 1")


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
async def test_a_server_that_says_nothing_is_waited_for_so_long(monkeypatch, scheme):
    monkeypatch.setattr(f"portrait.tables.{scheme}.CONNECT_SECONDS", 0.2)
    gone = asyncio.Event()

    async def say_nothing(reader, writer):
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(20):
        with pytest.raises(InputRefused, match=r"does not answer within 0\.2 seconds"):
            await query(f"{scheme}://u:p@127.0.0.1:{port}/x", "SELECT 1")
    gone.set()
    server.close()


async def test_a_file_that_somebody_writes_to_is_waited_for_so_long(monkeypatch, sqlite_url):
    monkeypatch.setattr("portrait.tables.databases.BUSY_SECONDS", 0.05)
    await prepare(sqlite_url, "CREATE TABLE people (id text)")
    writer = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    async with asyncio.timeout(5):
        with pytest.raises(InputRefused, match="database is locked"):
            await query(sqlite_url, "SELECT * FROM people")
    writer.close()


async def test_a_connection_that_does_not_close_is_left(monkeypatch, postgres_url):
    closed = []

    async def close(self, **options):
        closed.append(options["timeout"])
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "close", close)
        assert cells(await query(postgres_url, "SELECT 1 AS v")) == [["1"]]
    assert closed == [CLOSE_SECONDS]


async def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "a.db").write_text("no database at all" * 100)
    with pytest.raises(InputRefused, match=r"a\.db refuses the query: file is not a database"):
        await query(f"sqlite:///{tmp_path}/a.db", "SELECT * FROM x")
    with pytest.raises(InputRefused, match="is no file"):
        await query(f"sqlite:///{tmp_path}/none.db", "SELECT 1")
    assert not (tmp_path / "none.db").exists()


async def test_a_name_with_odd_characters_is_that_file(tmp_path):
    path = tmp_path / "a?mode=rw#%20[1].db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (id)")
    connection.execute("INSERT INTO t VALUES ('1')")
    connection.commit()
    connection.close()
    assert cells(await query(f"sqlite:///{path}", "SELECT * FROM t")) == [["1"]]


async def test_a_reader_that_gives_up_leaves_nothing_open(sqlite_url):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(query(sqlite_url, endless), 0.05)
    await asyncio.sleep(0.1)
    assert cells(await query(sqlite_url, "SELECT 1 AS v")) == [["1"]]


@pytest.mark.parametrize(
    ("library", "url", "extra"), [("asyncpg", "postgresql://x/y", "postgres"), ("pymysql", "mysql://x/y", "mysql")]
)
async def test_a_missing_library_says_what_to_install(monkeypatch, library, url, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputRefused, match=rf"pip install .*\[{extra}\]"):
        await query(url, "SELECT 1")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://u:p@h/shop", "shop"),
        ("postgresql://u:p@h/shop?x=y/z", "shop"),
        ("sqlite:////tmp/a.db", "a.db"),
        ("sqlite:///a.db", "a.db"),
        ("postgresql://h", "h"),
    ],
)
def test_a_table_has_the_name_of_its_database(url, name):
    assert name_of(url) == name


MYSQL = os.environ.get("PORTRAIT_TEST_MYSQL_URL")


@pytest.mark.skipif(not MYSQL, reason="no MySQL: PORTRAIT_TEST_MYSQL_URL names none")
class TestMysql:
    """On a server with a database that may be written to: MySQL 8 or MariaDB 10.6."""

    async def test_values(self):
        kinds = {
            "a varchar(9)": ("'00731'", "00731"),
            "b bigint unsigned": ("18446744073709551615", "18446744073709551615"),
            "c decimal(9,2)": ("1.10", "1.10"),
            "d float": ("1234567", LOST),
            "e float": ("0.1", "0.1"),
            "f double": ("0.1", "0.1"),
            "g datetime(6)": ("'2026-04-03 10:00:00.5'", "2026-04-03T10:00:00.500000"),
            "h date": ("'2026-04-03'", "2026-04-03"),
            "i time": ("'10:30:00'", "10:30:00"),
            "j bit(8)": ("b'101'", "5"),
            "k blob": ("'abc'", "abc"),
            "l tinyint(1)": ("1", "1"),
            "m varbinary(9)": ("x'ff'", "holds bytes that are no text in UTF-8"),
            "n text": ("'é🎉'", "é🎉"),
            "o int": ("NULL", ""),
            "p timestamp null": ("'2026-04-03 10:00:00'", "2026-04-03T10:00:00Z"),
            "q double": ("9007199254740992", LOST),
        }
        async with mysql_table(", ".join(kinds)) as table:
            await mysql(
                "SET time_zone = '+00:00'",
                f"INSERT INTO {table} VALUES ({', '.join(sql for sql, _ in kinds.values())})",
            )
            (row,) = cells(await query(MYSQL, f"SELECT * FROM {table}"))
        assert dict(zip(kinds, row, strict=True)) == {kind: cell for kind, (_, cell) in kinds.items()}

    async def test_nothing_is_written(self):
        async with mysql_table("id int") as table:
            for sql in [
                f"CREATE TABLE {table}_2 (a int)",
                f"INSERT INTO {table} VALUES (1)",
                f"DROP TABLE {table}",
                "SELEC 1",
                "SET @a = 1",
            ]:
                with pytest.raises(InputRefused, match="query"):
                    await query(MYSQL, sql)
            assert await query(MYSQL, f"SELECT * FROM {table}") == []

    async def test_a_lost_connection_ends_the_table(self):
        async with mysql_table("id int") as table:
            await mysql(f"INSERT INTO {table} VALUES {', '.join(['(1)'] * 2000)}")
            sql = f"SELECT connection_id() AS c, a.id FROM {table} a, {table} b"
            async with open_query(MYSQL, sql) as result:
                batches = result.batches(["c"])
                first = await anext(batches)
                await mysql(f"KILL {first[0].cells[0]}")
                with pytest.raises(TableBroken, match="the connection was lost"):
                    async for _ in batches:
                        pass

    async def test_a_reader_that_gives_up_reads_no_more(self):
        async with mysql_table("id int") as table:
            await mysql(f"INSERT INTO {table} VALUES {', '.join(['(1)'] * 5000)}")
            async with open_query(MYSQL, f"SELECT '%s' AS v FROM {table} a, {table} b") as result:
                batches = result.batches(["v"])
                assert (await anext(batches))[0].cells == ["%s"]


async def mysql(*statements):
    from urllib.parse import unquote, urlsplit

    import pymysql

    parts = urlsplit(MYSQL)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=unquote(parts.password or ""),
        database=parts.path[1:],
        charset="utf8mb4",
        autocommit=True,
    )
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


@asynccontextmanager
async def mysql_table(columns):
    name = f"portrait_{os.getpid()}"
    await mysql(f"CREATE TABLE {name} ({columns})")
    try:
        yield name
    finally:
        await mysql(f"DROP TABLE {name}")
