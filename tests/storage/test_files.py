"""A database's files that are moved, removed, replaced or written over under a service are noticed at once."""

import logging
import os
from contextlib import closing

import apsw
import httpx
import pytest

import harness
from portrait.model.errors import StorageFailed
from portrait.model.identifier import customer
from portrait.storage.conformance.support import TENANT, append, fact
from portrait.storage.sqlite import backup, open_store
from portrait.storage.sqlite import connection as settings

C = customer("c")


def beside(path, suffix):
    return path.with_name(path.name + suffix)


def vacuumed(path, copy):
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))


def replaced(path, copy):
    copy.rename(path)


def overwritten(path, copy):
    with path.open("r+b") as file:
        file.write(copy.read_bytes())
        file.truncate()


CHANGES = {
    "moved": lambda path, copy: path.rename(path.with_name("elsewhere")),
    "removed": lambda path, copy: path.unlink(),
    "replaced by a copy": replaced,
    "written over with an older copy": overwritten,
    "written over with something else": lambda path, copy: path.write_bytes(b"not a database" * 10_000),
    "emptied": lambda path, copy: os.truncate(path, 0),
    "directory moved": lambda path, copy: path.parent.rename(path.parent.with_name("elsewhere")),
}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "portrait.db"


@pytest.fixture
async def grown(path, tmp_path, store):
    """A store with a copy of what it once was, that has grown since and put its log into its file."""
    await append(store, fact(C, 1))
    copy = tmp_path / "copy.db"
    vacuumed(path, copy)
    for number in range(2, 40):
        await append(store, fact(C, number, key=f"{number}", body=b"x" * 2000))
    with closing(apsw.Connection(str(path))) as connection:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    assert len(await store.facts(TENANT, [C])) == 39
    return copy


async def refused(store, asked, caplog):
    """Assert that nothing is read or written any more, and that the log says so once."""
    for ask in asked:
        with pytest.raises(StorageFailed):
            await ask()
    errors = [log_record for log_record in caplog.records if log_record.levelno == logging.ERROR]
    assert len(errors) == 1


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("first", ["read", "write", "snapshot", "ready"])
async def test_a_replaced_file_is_noticed_by_whichever_operation_comes_first(path, store, grown, change, first, caplog):
    async def snapshot():
        async with store.snapshot() as reads:
            await reads.facts(TENANT, [C])

    asks = {
        "read": lambda: store.facts(TENANT, [C]),
        "write": lambda: append(store, fact(C, 100)),
        "snapshot": snapshot,
        "ready": store.ready,
    }
    change(path, grown)
    before = sorted(path.parent.iterdir()) if path.parent.exists() else []
    await refused(store, [asks.pop(first), *asks.values()], caplog)
    assert (sorted(path.parent.iterdir()) if path.parent.exists() else []) == before, "a file was made"


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_log_that_is_removed_is_noticed_before_the_next_commit(path, store, grown, suffix, caplog):
    beside(path, suffix).unlink()
    await refused(store, [lambda: append(store, fact(C, 100)), store.ready, lambda: store.facts(TENANT, [C])], caplog)


async def test_a_file_that_is_moved_back_is_served_again(path, store, grown):
    away = path.with_name("away")
    for _ in range(2):
        path.rename(away)
        with pytest.raises(StorageFailed, match="moved, removed or replaced"):
            await store.facts(TENANT, [C])
        away.rename(path)
        assert len(await store.facts(TENANT, [C])) >= 39
        await append(store, fact(C, 100 + len(await store.facts(TENANT, [C])), key="more"))


async def test_an_overwritten_file_stays_refused_and_gets_no_page_of_the_old_log(path, store, grown):
    await append(store, fact(C, 100, key="in the log", body=b"y" * 9000))
    overwritten(path, grown)
    content = path.read_bytes()
    with pytest.raises(StorageFailed, match="written over"):
        await append(store, fact(C, 101))
    await store.close()
    assert path.read_bytes() == content
    beside(path, "-wal").unlink()
    again = open_store(path)
    assert [fact.recorded_at for fact in await again.facts(TENANT, [C])] == [1]
    await again.close()


async def test_a_copy_of_portraits_making_is_told_from_its_original_though_nothing_changed(
    path, store, grown, tmp_path
):
    copy = tmp_path / "backup.db"
    backup(path, copy, patience=1)
    overwritten(path, copy)
    with pytest.raises(StorageFailed, match="written over"):
        await store.facts(TENANT, [C])


async def test_checkpoints_growth_other_processes_and_a_vacuum_are_no_replacement(path, store, grown):
    other = open_store(path)
    for number in range(200, 230):
        await append((store, other)[number % 2], fact(C, number, key=f"{number}", body=b"z" * 5000))
        with closing(apsw.Connection(str(path))) as connection:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if number % 10 == 0:
                for sql in ("CREATE TABLE spare (body)", "INSERT INTO spare VALUES (zeroblob(300000))",
                            "DROP TABLE spare", "VACUUM"):  # fmt: skip
                    connection.execute(sql)
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        assert len(await store.facts(TENANT, [C])) == 39 + number - 199
        await other.ready()
    await other.close()


def test_a_service_reports_a_replaced_file_and_loses_nothing_acknowledged(tmp_path):
    path = tmp_path / "portrait.db"
    assert harness.portrait("tenant", "create", harness.TENANT, database=path).returncode == 0
    with (
        harness.server(path, "--auth", "open") as (url, _),
        httpx.Client(base_url=url, headers={"X-Tenant-Id": harness.TENANT}, timeout=30) as client,
    ):

        def record(number):
            return client.post("/api/v1/customers/c1/interactions", json=harness.interaction(number)).status_code

        def statuses():
            profile = client.get("/api/v1/customers/c1/unified-profile")
            return record(99), profile.status_code, client.get("/health/ready").status_code, profile.json().get("code")

        assert record(1) == 201
        path.rename(tmp_path / "away.db")
        assert statuses() == (503, 503, 503, "storage_failed")
        assert client.get("/health/live").status_code == 200
        (tmp_path / "away.db").rename(path)
        assert record(2) == 201
    with closing(apsw.Connection(str(path))) as connection:
        assert connection.execute("SELECT count(*) FROM facts").get == 2


@pytest.fixture
def _short_log(monkeypatch):
    """A checkpoint each 50 pages: what holds for these holds for 4,000."""
    monkeypatch.setattr(settings, "CHECKPOINT", 50)


@pytest.mark.usefixtures("_short_log")
async def test_the_log_is_short_again_once_a_long_reader_has_left(path):
    limit = 2 * settings.CHECKPOINT * settings.PAGE_SIZE
    store = open_store(path)
    log = beside(path, "-wal")
    await append(store, fact(C, 0))
    async with store.snapshot() as reads:
        assert len(await reads.facts(TENANT, [C])) == 1
        number = 0
        while log.stat().st_size < 3 * limit:
            number += 1
            await append(store, fact(C, number, key=f"{number}", body=b"x" * 50_000))
        assert len(await reads.facts(TENANT, [C])) == 1
    for more in range(number + 1, number + 4):
        await append(store, fact(C, more, key=f"{more}"))
    assert log.stat().st_size <= limit
    assert len(await store.facts(TENANT, [C])) == number + 4
    await store.close()


@pytest.mark.usefixtures("_short_log")
async def test_the_log_is_short_again_after_readers_that_followed_upon_each_other(path):
    """There was always a reader, at a moment of the log that was gone already."""
    limit = 2 * settings.CHECKPOINT * settings.PAGE_SIZE
    store = open_store(path)
    log = beside(path, "-wal")
    readers = []
    largest = 0
    for number in range(120):
        await append(store, fact(C, number, key=f"{number}", body=b"x" * 20_000))
        reader = settings.connect(path, patience=1)
        reader.execute("BEGIN; SELECT count(*) FROM facts").fetchall()
        readers.append(reader)
        if len(readers) > 3:
            readers.pop(0).close()
        largest = max(largest, log.stat().st_size)
    assert largest > limit, "the readers kept the log from being begun anew"
    for reader in readers:
        reader.close()
    for number in range(200, 204):
        await append(store, fact(C, number, key=f"{number}"))
    assert log.stat().st_size <= limit
    await store.close()
