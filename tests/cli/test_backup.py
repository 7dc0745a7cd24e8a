"""A database file is copied beside a running service, and restored where none runs: whole, checked, or not at all."""

import shutil
from contextlib import closing, contextmanager

import apsw
import httpx
import pytest

from harness import TENANT, interaction, portrait, server


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=path).returncode == 0
    return path


@contextmanager
def serving(database, *words):
    with (
        server(database, "--auth", "open", *words) as (url, _),
        httpx.Client(base_url=url, headers={"X-Tenant-Id": TENANT}, timeout=30) as client,
    ):
        yield client


def record(client, *numbers):
    for number in numbers:
        answer = client.post("/api/v1/customers/c1/interactions", json=interaction(number))
        assert answer.status_code == 201, answer.text


def facts(path):
    reading = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with closing(apsw.Connection(f"{path.as_uri()}?immutable=1", flags=reading)) as connection:
        return connection.execute("SELECT count(*) FROM facts").get


def content(directory):
    """Return the content of each file in a directory, except SQLite's files beside an open database."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith(("-wal", "-shm"))}


def refused(database, *words):
    """Assert that a command is refused in a line and changes nothing; return the line."""
    before = content(database.parent)
    done = portrait("db", *map(str, words), database=database)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("portrait: ")
    assert len(done.stderr.splitlines()) == 1
    assert content(database.parent) == before
    return done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_copy_is_made_beside_a_service_and_put_back_when_none_runs(database, tmp_path, workers):
    copy = tmp_path / "backup.db"
    with serving(database, "--workers", str(workers)) as client:
        record(client, 1, 2)
        made = portrait("db", "backup", str(copy), database=database)
        assert (made.returncode, made.stdout) == (0, ""), made.stderr
        record(client, 3)
        assert "is in use" in refused(database, "restore", copy)
        assert "exists already" in refused(database, "backup", copy)
        assert client.get("/health/ready").status_code == 200
        record(client, 4)
    assert (facts(copy), facts(database)) == (2, 4)
    assert copy.stat().st_mode & 0o077 == 0
    checked = portrait("db", "check", database=copy)
    assert checked.stdout == "1 customers, 2 facts, 0 differences\n"
    restored = portrait("db", "restore", str(copy), database=database)
    assert restored.returncode == 0, restored.stderr
    kept = list(tmp_path.glob("portrait.db.*"))
    assert len(kept) == 1
    assert str(kept[0]) in restored.stderr
    assert facts(kept[0]) == 4
    with serving(database) as client:
        rows = client.get("/api/v1/customers/c1/interactions").json()["data"]
        assert [row["record"]["id"] for row in rows] == ["ih_002", "ih_001"]
        record(client, 5)


def test_an_idle_service_blocks_a_restore_too(database, tmp_path):
    copy = tmp_path / "backup.db"
    assert portrait("db", "backup", str(copy), database=database).returncode == 0
    with server(database, "--auth", "open"):
        assert "is in use" in refused(database, "restore", copy)


@pytest.mark.parametrize("damage", ["no database", "damaged", "gone", "a crash's log"])
def test_a_restore_replaces_an_unsound_database(database, tmp_path, damage):
    copy = tmp_path / "backup.db"
    with serving(database) as client:
        record(client, 1)
        assert portrait("db", "backup", str(copy), database=database).returncode == 0
        record(client, 2, 3)
        if damage == "a crash's log":  # as the files lie when a process is killed
            for suffix in ("", "-wal"):
                shutil.copy(f"{database}{suffix}", tmp_path / f"crashed{suffix}")
    if damage == "no database":
        database.write_bytes(b"not a database" * 10_000)
    elif damage == "damaged":
        with database.open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * 30_000)
    elif damage == "gone":
        database.unlink()
    else:
        for suffix in ("", "-wal"):
            shutil.move(tmp_path / f"crashed{suffix}", f"{database}{suffix}")
    restored = portrait("db", "restore", str(copy), database=database)
    assert restored.returncode == 0, restored.stderr
    assert facts(database) == 1
    assert portrait("db", "check", database=database).stdout == "1 customers, 1 facts, 0 differences\n"
    kept = sorted(path for path in tmp_path.glob("portrait.db.2*") if not path.name.endswith(("-wal", "-shm")))
    assert len(kept) == (damage != "gone")
    if damage == "a crash's log":
        assert portrait("db", "check", database=kept[0]).stdout == "1 customers, 3 facts, 0 differences\n"


def test_copied_restored_and_kept_files_are_readable_only_by_their_owner(database, tmp_path):
    copy = tmp_path / "backup.db"
    options = {"database": database, "umask": 0}
    with serving(database) as client:
        record(client, 1)
        assert portrait("db", "backup", str(copy), **options).returncode == 0
        for suffix in ("", "-wal"):  # as the files lie when a process is killed
            shutil.copy(f"{database}{suffix}", tmp_path / f"crashed{suffix}")
    for suffix in ("", "-wal"):
        shutil.move(tmp_path / f"crashed{suffix}", f"{database}{suffix}")
    assert copy.stat().st_mode & 0o777 == 0o600
    for path in (copy, database, tmp_path / "portrait.db-wal"):
        path.chmod(0o666)
    assert portrait("db", "restore", str(copy), **options).returncode == 0
    rights = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir() if path != copy}
    assert len(rights) == 3, rights
    assert set(rights.values()) == {"0o600"}, rights


def test_a_copy_that_cannot_serve_is_refused_and_nothing_is_touched(database, tmp_path):
    copy = tmp_path / "copy.db"
    assert "does not exist" in refused(database, "restore", copy)
    copy.write_bytes(b"not a database" * 1000)
    assert "is not an SQLite database" in refused(database, "restore", copy)
    copy.unlink()
    with closing(apsw.Connection(str(copy))) as other:
        other.execute("CREATE TABLE t (a)")
    assert "not a Portrait database" in refused(database, "restore", copy)
    copy.unlink()
    assert portrait("db", "backup", str(copy), database=database).returncode == 0
    sound = copy.read_bytes()
    with closing(apsw.Connection(str(copy))) as later:
        later.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "newer version" in refused(database, "restore", copy)
    copy.write_bytes(sound[:8192] + b"\xff" * 8192 + sound[16384:])
    assert "is corrupt" in refused(database, "restore", copy)
    copy.write_bytes(sound[: len(sound) // 2])
    assert "is corrupt" in refused(database, "restore", copy)
    assert "is the database itself" in refused(database, "restore", database)
    copy.write_bytes(sound)
    assert portrait("db", "restore", str(copy), database=database).returncode == 0


def test_a_copy_cannot_be_made_of_nothing_or_to_nowhere(database, tmp_path):
    assert "does not exist" in refused(database, "backup", tmp_path / "no" / "backup.db")
    nothing = tmp_path / "nothing.db"
    done = portrait("db", "backup", str(tmp_path / "backup.db"), database=nothing)
    assert (done.returncode, "does not exist" in done.stderr) == (1, True)
    assert not nothing.exists()
    assert not (tmp_path / "backup.db").exists()


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_postgresql_has_tools_of_its_own(command, tmp_path):
    done = portrait("db", command, str(tmp_path / "copy.db"), "--database", "postgresql://127.0.0.1:1/none")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pg_dump" in done.stderr
    assert "pg_basebackup" in done.stderr
    assert list(tmp_path.iterdir()) == []
