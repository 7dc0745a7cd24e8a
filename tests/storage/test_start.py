"""A database that cannot serve is refused at the start, soon, with a message that names the fault and the remedy."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from harness import portrait
from portrait.model.errors import DatabaseRefused
from portrait.model.identifier import customer
from portrait.storage.conformance.support import TENANT, append, fact
from portrait.storage.sqlite import open_store
from portrait.storage.sqlite.connection import APPLICATION_ID, PAGE_SIZE

DEADLINE = 15.0


def refused(path, **options):
    """Return the message with which a database is refused, after asserting that it comes soon."""
    begun = time.monotonic()
    with pytest.raises(DatabaseRefused) as caught:
        open_store(path, **options)
    assert time.monotonic() - begun < DEADLINE
    assert str(path if path.parent.exists() else path.parent) in caught.value.detail
    return caught.value.detail


def opens(path):
    asyncio.run(open_store(path).close())


@pytest.fixture
def filled(path):
    """A database with enough facts that its middle holds some of them."""

    async def fill():
        store = open_store(path)
        for number in range(0, 2000, 500):
            await append(store, *(fact(customer(f"c{n}"), n, body=b"x" * 200) for n in range(number, number + 500)))
        await store.close()

    asyncio.run(fill())
    assert path.stat().st_size > 50 * PAGE_SIZE
    return path


def test_a_new_file_becomes_a_database(path):
    opens(path)
    with closing(apsw.Connection(str(path))) as connection:
        assert connection.pragma("application_id") == APPLICATION_ID
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("page_size") == PAGE_SIZE
        assert connection.pragma("auto_vacuum") == 2, "erasure could not give pages back"


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_database_that_another_holds_is_refused_and_opens_once_it_is_free(path, begin):
    opens(path)
    with closing(apsw.Connection(str(path))) as other:
        other.execute(begin)
        assert "is locked by another process. Stop that process, or wait" in refused(path)
    opens(path)


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_new_database_that_another_makes_is_refused_and_opens_once_it_is_free(path, begin):
    with closing(apsw.Connection(str(path))) as other:
        other.execute(begin)
        assert "is locked by another process. Stop that process, or wait" in refused(path)
    opens(path)


def test_a_database_that_another_process_holds_for_itself_is_refused(path):
    opens(path)
    holder = (
        "import apsw, sys; c = apsw.Connection(sys.argv[1]); c.execute('PRAGMA locking_mode = EXCLUSIVE');"
        "c.execute('BEGIN EXCLUSIVE; COMMIT'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        assert "is locked by another process" in refused(path)
        process.stdin.close()
    opens(path)


@pytest.fixture
def outside():
    """A directory that every user may enter: pytest's own is closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


TRIES = """
import os, sys
from pathlib import Path
from portrait.model.errors import DatabaseRefused
from portrait.storage.sqlite import open_store
if os.geteuid() == 0:  # who has every right steps down
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    open_store(Path(sys.argv[1]))
except DatabaseRefused as error:
    print(error.detail)
"""


def refused_to_somebody(path):
    """Return the message with which a database is refused to a user without rights."""
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", TRIES, str(path)], capture_output=True, text=True, check=False)
    assert time.monotonic() - begun < DEADLINE
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("of_file", "of_directory"), [(0o444, 0o777), (0o444, 0o555), (0o666, 0o555)], ids=["file", "both", "directory"]
)
def test_a_database_that_may_not_be_written_is_refused(outside, of_file, of_directory):
    path = outside / "portrait.db"
    opens(path)
    path.chmod(of_file)
    outside.chmod(of_directory)
    message = refused_to_somebody(path)
    outside.chmod(0o755)
    assert str(path) in message
    assert re.search(
        r"(is read-only\. Give|cannot be opened\. Check that) this user .*the file and its directory", message
    )


def test_a_database_that_may_not_be_read_is_refused(outside):
    path = outside / "portrait.db"
    opens(path)
    path.chmod(0o000)
    outside.chmod(0o555)
    message = refused_to_somebody(path)
    outside.chmod(0o755)
    assert f"{path} cannot be opened. Check that this user may read and write the file and its directory." in message


def test_a_new_database_in_a_directory_that_may_not_be_written_is_refused(outside):
    outside.chmod(0o555)
    path = outside / "portrait.db"
    message = refused_to_somebody(path)
    outside.chmod(0o755)
    assert f"{path} cannot be opened. Check that this user may read and write the file and its directory." in message


def test_a_database_overwritten_in_the_middle_is_refused(filled):
    with filled.open("r+b") as file:
        file.seek(filled.stat().st_size // 2)
        file.write(os.urandom(4 * PAGE_SIZE))
    assert "is corrupt. Restore it from a backup" in refused(filled)


@pytest.mark.parametrize("part", [0.99, 0.5, 0.1])
def test_a_truncated_database_is_refused(filled, part):
    os.truncate(filled, int(filled.stat().st_size * part))
    assert "is corrupt. Restore it from a backup" in refused(filled)


@pytest.mark.parametrize("size", [10, 100, 600, PAGE_SIZE])
def test_a_database_of_which_only_the_beginning_is_left_is_refused(filled, size):
    os.truncate(filled, size)
    message = refused(filled)
    assert re.search(r"is corrupt\. Restore it from a backup|is not an SQLite database\. Name another file", message)


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(path):
    opens(path)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert re.search(r"written by a newer version .*9999.* Use that version or a later one", refused(path))
    with closing(apsw.Connection(str(path))) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").get == "9999"


def test_another_applications_database_is_refused_and_left_as_it_is(path):
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE TABLE notes (text)")
    before = path.read_bytes()
    assert "is a database of another application. Name a Portrait database, or a new file" in refused(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no", b"name,value\n" * 1000, b"\0" * 3 * PAGE_SIZE, b"SQLite format 3\0" * 99])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path, content):
    path.write_bytes(content)
    assert re.search(r"is not an SQLite database\. Name another file|is corrupt\. Restore it", refused(path))
    assert path.read_bytes() == content


def test_a_directory_is_refused(path):
    path.mkdir()
    assert f"is a directory. Name a file in it, for example {path / 'portrait.db'}" in refused(path)


def test_a_directory_that_does_not_exist_is_refused(tmp_path):
    assert "does not exist. Create it, or name another database" in refused(tmp_path / "missing" / "portrait.db")
    assert not (tmp_path / "missing").exists()


def test_an_old_schema_is_refused_where_it_may_not_be_brought_forward(path):
    assert "Run `portrait db upgrade` first" in refused(path, upgrade=False)
    opens(path)
    asyncio.run(open_store(path, upgrade=False).close())


def test_the_command_line_reports_a_refused_database_in_one_line(path):
    path.write_bytes(b"no database" * 100)
    done = portrait("db", "check", database=path)
    assert done.returncode == 1
    assert re.fullmatch(r"portrait: .*is not an SQLite database\. Name another file.*\n", done.stderr)
    assert done.stdout == ""


async def test_stored_facts_are_there_after_a_start(path):
    for number in range(3):
        store = open_store(path)
        await append(store, fact(customer("c"), number))
        assert len(await store.facts(TENANT, [customer("c")])) == number + 1
        await store.close()
