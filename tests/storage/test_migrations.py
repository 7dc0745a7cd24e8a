"""Migrations lead from nothing to the declared schema, in one step that is taken whole or not at all."""

import asyncio
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from portrait.model.errors import DatabaseRefused
from portrait.storage import migrations, schema
from portrait.storage.sqlite import connection as engine
from portrait.storage.sqlite import open_store

VERSIONS = Path(migrations.__file__).parent / "versions"


def opens(path):
    asyncio.run(open_store(path).close())


def normalised(statement):
    """Return a statement with white space, quotes and the order of a table's parts made equal."""
    text = re.sub(r"\s+", " ", statement.replace('"', "")).strip(" ;")
    if not text.startswith("CREATE TABLE"):
        return text
    text, within, settings = text.partition(" WITH (")
    head, _, rest = text.partition("(")
    body, _, tail = rest.rpartition(")")
    tail += within + settings
    parts = [part.strip() for part in re.split(r",(?![^(]*\))", body)]
    return head.strip(), parts, tail.strip()


def declared_on_postgresql():
    return [
        normalised(str(statement.compile(dialect=postgresql.dialect())))
        for table in schema.POSTGRESQL.sorted_tables
        for statement in (CreateTable(table), *map(CreateIndex, table.indexes))
    ]


def in_file(path):
    with closing(apsw.Connection(str(path))) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: normalised(sql) for name, sql in rows}


def created(tmp_path):
    """Return the schema of a file that was made from the declaration alone."""
    path = tmp_path / "declared.db"
    with closing(apsw.Connection(str(path))) as connection:
        for table in schema.SQLITE.sorted_tables:
            connection.execute(str(CreateTable(table).compile(dialect=sqlite.dialect())))
            for index in table.indexes:
                connection.execute(str(CreateIndex(index).compile(dialect=sqlite.dialect())))
    return in_file(path)


def test_migrations_from_nothing_make_the_declared_schema(path, tmp_path):
    opens(path)
    migrated = in_file(path)
    del migrated[migrations.VERSION_TABLE]
    assert len(migrated) > len(schema.SQLITE.tables)
    assert migrated == created(tmp_path)


def test_columns_and_keys_are_those_declared(path, tmp_path):
    opens(path)
    created(tmp_path)
    look = 'SELECT name, type, "notnull", pk, dflt_value FROM pragma_table_info(?) ORDER BY cid'
    with (
        closing(apsw.Connection(str(path))) as upgraded,
        closing(apsw.Connection(str(tmp_path / "declared.db"))) as other,
    ):
        for table in schema.SQLITE.tables:
            columns = upgraded.execute(look, (table,)).fetchall()
            assert columns
            assert columns == other.execute(look, (table,)).fetchall()


def test_postgresql_would_get_the_declared_schema_too():
    script = migrations.pending("postgresql", None)
    script = re.sub("--.*", "", script)
    later = {
        f"CREATE TABLE {table}": f"WITH {to}" for table, to in re.findall(r"ALTER TABLE (\w+) SET (\(.*\));", script)
    }
    added: dict[str, list[str]] = {}
    for table, column in re.findall(r"ALTER TABLE (\w+) ADD COLUMN (.*);", script):
        added.setdefault(f"CREATE TABLE {table}", []).append(column.replace('"', ""))
    statements = script.split(";")
    dropped = {
        name: at for at, statement in enumerate(statements) for name in re.findall(r"DROP INDEX (\w+)", statement)
    }
    made = {at: re.search(r"INDEX (\w+)", statement) for at, statement in enumerate(statements)}
    written = [
        normalised(statement)
        for at, statement in enumerate(statements)
        if "CREATE" in statement and not (made[at] and dropped.get(made[at][1], -1) > at)
    ]
    for parts in written:
        if isinstance(parts, tuple) and parts[0] in added:
            parts[1][-1:-1] = added[parts[0]]
    written = [
        (*table[:2], later.get(table[0], table[2])) if isinstance(table, tuple) else table
        for table in written
        if migrations.VERSION_TABLE not in table[0]
    ]
    assert sorted(written, key=str) == sorted(declared_on_postgresql(), key=str)


def test_latest_is_the_newest_revision():
    assert max(file.stem.partition("_")[0] for file in VERSIONS.glob("[0-9]*.py")) == migrations.LATEST


def test_a_migrated_database_has_nothing_pending(path):
    opens(path)
    with closing(apsw.Connection(str(path))) as connection:
        assert engine.schema_version(connection) == migrations.LATEST
    assert not re.search("CREATE|ALTER|DROP", migrations.pending("sqlite", migrations.LATEST))


def made_by(monkeypatch, path, revision):
    """Make a database file as the version did whose newest revision this was."""
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "LATEST", revision)
        opens(path)


def test_postgresql_is_read_from_the_revision_on_that_has_the_columns_of_now():
    changed = r"(?:CREATE|ALTER|DROP) TABLE (?!alembic_version)(\w+)"
    later = re.findall(changed, migrations.pending("postgresql", migrations.READABLE_FROM["postgresql"]))
    # None of these says anything about customers that is shown; of tenants a column came that reading does not ask for.
    assert set(later) == {"credentials", "rejects", "rejected_identifiers", "tenants"}
    assert "tenants" in re.findall(changed, migrations.pending("postgresql", "0002"))


@pytest.mark.parametrize("revision", ["0002", "0006"])
def test_of_an_older_file_that_is_read_a_copy_is_and_the_file_stays_as_it_is(path, monkeypatch, revision):
    made_by(monkeypatch, path, revision)
    before = path.read_bytes()
    store = open_store(path, upgrade=False, reading=True)
    assert asyncio.run(store.revision()) == revision
    assert asyncio.run(store.tenants(None, 1)) == []
    asyncio.run(store.close())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_newer_file_or_none_is_not_read(path, tmp_path, monkeypatch):
    made_by(monkeypatch, path, "0002")
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseRefused, match="newer version"):
        open_store(path, upgrade=False, reading=True)
    with pytest.raises(DatabaseRefused, match="no tables"):
        open_store(tmp_path / "none.db", upgrade=False, reading=True)


def test_each_pending_revision_has_its_name_and_purpose_in_order():
    revisions = migrations.pending_revisions("0003")
    assert [(revision.name, revision.rewrites) for revision in revisions] == [
        ("0004", False), ("0005", False), ("0006", False), ("0007", True), ("0008", False),
    ]  # fmt: skip
    assert all(re.fullmatch(r"[A-Z].+\.", revision.purpose) for revision in revisions)
    assert migrations.pending_revisions(migrations.LATEST) == migrations.pending_revisions("9999") == []


def test_a_start_writes_no_file_anew_but_an_upgrade_does_and_says_how_far_it_is(path, monkeypatch):
    made_by(monkeypatch, path, "0005")
    before = path.read_bytes()
    with pytest.raises(DatabaseRefused, match=r"0005.*anew, with no way back.*portrait db upgrade"):
        open_store(path, upgrade=None)
    assert path.read_bytes() == before
    shares = []
    asyncio.run(open_store(path, upgrade=True, progress=shares.append).close())
    assert shares == sorted(shares)
    assert len(shares) > 50
    assert (shares[0] > 0, shares[-1]) == (True, 1)
    asyncio.run(open_store(path, upgrade=None).close())


def test_a_start_brings_a_file_forward_that_is_not_written_anew(path, monkeypatch):
    made_by(monkeypatch, path, "0005")
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "LATEST", "0006")
        patch.setattr(migrations, "pending_revisions", lambda _: [])
        asyncio.run(open_store(path, upgrade=None).close())
    with closing(apsw.Connection(str(path))) as connection:
        assert engine.schema_version(connection) == "0006"


def test_an_upgrade_says_what_it_takes_of_the_disk_and_refuses_where_that_is_not_there(path, monkeypatch):
    assert engine.rewrite(path) is None
    made_by(monkeypatch, path, "0006")
    size = path.stat().st_size
    assert engine.rewrite(path) == (size, int(size * 1.3))
    usage = SimpleNamespace(free=int(size * 1.3) - 1)
    with monkeypatch.context() as patch:
        patch.setattr(engine.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(DatabaseRefused, match=f"{int(size * 1.3):,} more.*Make room"):
            engine.rewrite(path)
    opens(path)
    assert engine.rewrite(path) is None


def test_there_is_no_way_from_a_revision_that_is_not_known():
    assert migrations.pending("sqlite", "9999") is None


def test_opening_again_changes_nothing(path):
    opens(path)
    before = path.read_bytes()
    opens(path)
    assert path.read_bytes() == before


def test_every_statement_of_a_migration_is_run(path, monkeypatch):
    # A later revision's statements come after those that note the one before.
    first = migrations.pending("sqlite", None)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "pending", lambda *_: first + "CREATE TABLE later (key TEXT);")
        opens(path)
    assert "later" in in_file(path)


@pytest.mark.parametrize("kept", [0, 1, 2, 7, 11])
def test_a_failed_migration_leaves_the_database_as_it_was_and_the_next_succeeds(path, tmp_path, monkeypatch, kept):
    statements = migrations.pending("sqlite", None).split(";")
    broken = ";".join([*statements[:kept], "CREATE TABLE broken (", *statements[kept:]])
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "pending", lambda *_: broken)
        with pytest.raises(DatabaseRefused):
            open_store(path)
    assert in_file(path) == {}
    opens(path)
    migrated = in_file(path)
    del migrated[migrations.VERSION_TABLE]
    assert migrated == created(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
import apsw
from portrait.storage import migrations
from portrait.storage.sqlite import connection

connection.migrations.pending("sqlite", None)  # imports once what every child needs
directory = Path(sys.argv[1])
number = 0
while True:
    number += 1
    child = os.fork()
    if child == 0:
        seen = 0

        def kill(cursor, sql, values):
            global seen
            seen += 1
            if seen > number:
                os.kill(os.getpid(), signal.SIGKILL)
            return True

        apsw.connection_hooks.append(lambda made: setattr(made, "exec_trace", kill))
        connection.prepare(directory / f"{number}.db", upgrade=True, create=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    print(number, os.WTERMSIG(status), flush=True)
"""


def test_a_start_that_is_killed_at_any_statement_leaves_nothing_or_all_and_the_next_succeeds(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=True)
    kills = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(kills) > 15, "fewer kills than the migration has statements"
    assert {how for _, how in kills} == {signal.SIGKILL}
    whole = in_file(tmp_path / f"{len(kills) + 1}.db")
    for number, _ in kills:
        path = tmp_path / f"{number}.db"
        assert in_file(path) in ({}, whole)
        opens(path)
        assert in_file(path) == whole
        with closing(apsw.Connection(str(path))) as connection:
            assert connection.pragma("application_id") == engine.APPLICATION_ID
            assert connection.pragma("auto_vacuum") == 2
            assert connection.pragma("page_size") == engine.PAGE_SIZE
