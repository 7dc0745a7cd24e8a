"""Several processes write to one database: nothing is lost, and no caller sees a lock that comes free in time."""

import asyncio
from contextlib import closing

import apsw
import pytest

from harness import TENANT as NAME
from harness import service
from portrait.model.errors import DatabaseRefused, StorageBusy
from portrait.model.identifier import customer
from portrait.model.time import system_clock
from portrait.storage.conformance.support import TENANT, append, fact
from portrait.storage.sqlite import connection, open_store
from racers import begin, together

RECORDS = """
import asyncio, io, json, sys
from portrait import app
from portrait.cli.load import load_stream

url, mark, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

async def record():
    services = app.build(url, installed=False)
    tenant = await services.access.tenant("my-tenant")
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        click = {"id": f"{mark}{number}", "interactionType": "click", "timestamp": "2026-05-01T00:00:00Z"}
        segment = {"segmentId": "s", "segmentName": f"{mark}{number}", "memberSince": "2026-01-01T00:00:00Z"}
        section, told = ("segments", segment) if number % 5 == 0 else ("interactions", click)
        line = json.dumps({"customerId": "c1", "section": section, "record": told, "source": mark})
        outcome = await load_stream(services, tenant, io.BytesIO(line.encode()))
        assert (outcome.recorded, outcome.duplicates, outcome.refused.total()) == (1, 0, 0), outcome
    await services.close()

asyncio.run(record())
"""
"""Records one line after the other, each in a transaction of its own."""
WRITERS = "ab"
COUNT = 300


async def test_two_processes_that_record_for_one_customer_lose_nothing(tmp_path):
    async with service(tmp_path, clock=system_clock) as running:
        url = f"sqlite:///{tmp_path / 'portrait.db'}"
        together([begin("-c", RECORDS, url, mark, COUNT) for mark in WRITERS])
        facts = await running.services.store.facts(NAME, [customer("c1")])
        origins = sorted((fact.source, fact.section) for fact in facts)
        in_segments = COUNT // 5
        assert origins == sorted(
            [(mark, "segments") for mark in WRITERS for _ in range(in_segments)]
            + [(mark, "interactions") for mark in WRITERS for _ in range(COUNT - in_segments)]
        )
        assert len({fact.recorded_at for fact in facts}) == len(facts), "two facts told at one moment"
        keys = {fact.key for fact in facts if fact.section == "interactions"}
        assert len(keys) == 2 * (COUNT - in_segments)
        await running.checked()
        assert len(await running.section("interactions")) == 20


OPENS = """
import asyncio, sys
from pathlib import Path
from portrait.storage import migrations
from portrait.storage.sqlite import open_store

migrations.pending("sqlite", None)  # imports what would keep the processes apart
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(open_store(Path(sys.argv[1])).close())
"""


@pytest.mark.parametrize("turn", range(3))
def test_processes_that_make_the_same_new_database_at_once_all_open_it(path, turn):
    together([begin("-c", OPENS, path) for _ in range(4)])
    with closing(apsw.Connection(str(path))) as connection:
        assert connection.pragma("integrity_check") == "ok"
        assert connection.execute("SELECT count(*) FROM alembic_version").get == 1


def test_a_start_tries_again_where_sqlite_itself_does_not_wait(path, monkeypatch):
    """Where two turn one new file to its log, SQLite refuses one within milliseconds, a few times in 1,000."""
    prepare, tries = connection._prepare, []

    def refused_twice(*words, **options):
        tries.append(words)
        if len(tries) <= 2:
            raise apsw.BusyError("database is locked")
        prepare(*words, **options)

    monkeypatch.setattr(connection, "_prepare", refused_twice)
    asyncio.run(open_store(path).close())
    assert len(tries) == 3


def test_a_start_waits_for_another_process_no_longer_than_it_may(path, monkeypatch):
    monkeypatch.setattr(connection, "START_PATIENCE", 0.05)
    path.touch()
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseRefused, match="is locked by another process"):
            open_store(path)


async def test_a_write_waits_for_another_process_that_is_done_in_time(path, store):
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(append(store, fact(customer("c"), 1)))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        assert await store.facts(TENANT, [customer("c")]) == [], "reads go on while a write waits"
        other.execute("COMMIT")
        await waiting
    assert len(await store.facts(TENANT, [customer("c")])) == 1


async def test_a_write_that_waits_in_vain_is_busy_and_nothing_of_it_is_kept(path):
    store = open_store(path, patience=0.2)
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageBusy, match="nothing was kept"):
            await append(store, fact(customer("c"), 1))
        other.execute("COMMIT")
    assert await store.facts(TENANT, [customer("c")]) == []
    await append(store, fact(customer("c"), 2))
    assert [fact.recorded_at for fact in await store.facts(TENANT, [customer("c")])] == [2]
    await store.close()


async def test_many_writes_that_wait_in_vain_are_all_busy_within_the_patience_of_one(path):
    patience = 0.5
    store = open_store(path, patience=patience)
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        writes = [asyncio.ensure_future(append(store, fact(customer("c"), number))) for number in range(10)]
        done, late = await asyncio.wait(writes, timeout=4 * patience)
        other.execute("COMMIT")
    await asyncio.wait(writes)
    await store.close()
    assert {type(task.exception()) for task in done} == {StorageBusy}
    assert len(late) == 0, "each write waited for those before it to give up"


async def test_another_process_reads_what_was_acknowledged(path, store):
    other = open_store(path)
    for number in range(20):
        await append(store, fact(customer("c"), number))
        assert len(await other.facts(TENANT, [customer("c")])) == number + 1
    await other.close()
