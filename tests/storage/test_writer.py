"""SQLite's one writer: tenants have turns, waiting works are bounded in number and time, and none runs in vain."""

import asyncio
import threading
from collections import Counter

import apsw
import pytest

from portrait.model.errors import Overloaded, StorageBusy
from portrait.serving import leaving
from portrait.storage.sqlite import writer
from portrait.storage.sqlite.writer import Writer

LONG = 30


class HeldWriter:
    """A writer that its first work blocks until it is let go; works note that they ran, in order."""

    def __init__(self, path, **options):
        connection = apsw.Connection(str(path))
        connection.pragma("journal_mode", "wal")
        self.ran = []
        self.let_go = threading.Event()
        self.writer = Writer(connection, lambda: None, **{"patience": LONG, **options})

    async def hold(self):
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def work(_):
            loop.call_soon_threadsafe(begun.set)
            assert self.let_go.wait(LONG)

        task = asyncio.ensure_future(self.writer.run("holder", work))
        await asyncio.wait_for(begun.wait(), LONG)
        return task

    def come(self, tenant, name):
        async def work(_):
            self.ran.append(name)
            return name

        return asyncio.ensure_future(self.writer.run(tenant, work))


@pytest.fixture
async def make_writer(tmp_path):
    made = []

    def make(**options):
        made.append(HeldWriter(tmp_path / f"{len(made)}.db", **options))
        return made[-1]

    yield make
    for held_writer in made:
        held_writer.let_go.set()
        held_writer.writer.close()


async def test_tenants_have_turns_however_much_one_has_waiting(make_writer):
    held_writer = make_writer()
    tasks = [await held_writer.hold(), *(held_writer.come("flood", f"flood {number}") for number in range(50))]
    await asyncio.sleep(0)
    tasks += [
        held_writer.come("other", "other 0"),
        held_writer.come("other", "other 1"),
        held_writer.come(None, "platform"),
    ]
    await asyncio.sleep(0)
    held_writer.let_go.set()
    await asyncio.gather(*tasks)
    assert held_writer.ran[:6] == ["flood 0", "other 0", "platform", "flood 1", "other 1", "flood 2"]
    assert held_writer.ran[6:] == [f"flood {number}" for number in range(3, 50)]


async def test_of_too_many_works_those_of_the_busiest_tenant_are_refused_and_the_rest_is_done(make_writer):
    held_writer = make_writer(most_waiting=10)
    first = await held_writer.hold()
    flood = [held_writer.come("flood", f"flood {number}") for number in range(30)]
    await asyncio.sleep(0)
    other = [held_writer.come("other", f"other {number}") for number in range(3)]
    await asyncio.sleep(0)
    assert held_writer.writer._jobs.size == 10
    held_writer.let_go.set()
    results = await asyncio.gather(first, *flood, *other, return_exceptions=True)
    done = [result for result in results if isinstance(result, str)]
    assert Counter(map(type, results[1:])) == {str: 10, Overloaded: 23}
    assert {"other 0", "other 1", "other 2"} <= set(done)
    assert sorted(held_writer.ran) == sorted(done), "what was refused was not run, and what was run was answered"


async def test_a_work_whose_caller_has_left_is_not_run(make_writer):
    held_writer = make_writer()
    first = await held_writer.hold()
    cancelled, gone, stays = (held_writer.come("a", name) for name in ("cancelled", "gone", "stays"))
    await asyncio.sleep(0)
    cancelled.cancel()
    leaving.leave(gone)
    await asyncio.wait([cancelled, gone])
    assert held_writer.writer._jobs.size == 1
    held_writer.let_go.set()
    await asyncio.gather(first, stays)
    assert held_writer.ran == ["stays"]


async def test_a_work_that_waited_too_long_is_refused_though_the_writer_is_blocked(make_writer):
    held_writer = make_writer(patience=0.2)
    first = await held_writer.hold()
    late = held_writer.come("a", "late")
    with pytest.raises(StorageBusy):
        await asyncio.wait_for(late, LONG)
    assert not first.done()
    held_writer.let_go.set()
    await first
    assert await held_writer.come("a", "next") == "next"
    assert held_writer.ran == ["next"]


async def test_works_behind_another_process_are_refused_in_time_and_a_late_one_tries_on(make_writer):
    held_writer = make_writer(patience=0.5)
    other = apsw.Connection(held_writer.writer._connection.db_filename("main"))
    other.execute("BEGIN IMMEDIATE")
    early = [held_writer.come("a", f"early {number}") for number in range(3)]
    results = await asyncio.wait_for(asyncio.gather(*early, return_exceptions=True), LONG)
    assert [type(result) for result in results] == [StorageBusy] * 3
    late = held_writer.come("a", "late")
    await asyncio.sleep(0)
    other.execute("ROLLBACK")
    other.close()
    assert await late == "late"


async def test_every_work_is_run_or_refused(make_writer):
    held_writer = make_writer(most_waiting=20)
    first = await held_writer.hold()
    tasks = [held_writer.come(f"t{number % 7}", number) for number in range(60)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    await asyncio.sleep(0)
    held_writer.let_go.set()
    results = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert held_writer.writer._jobs.size == 0
    assert sorted(held_writer.ran) == sorted(result for result in results if isinstance(result, int))


async def test_works_in_one_commit_are_bounded(make_writer, monkeypatch):
    monkeypatch.setattr(writer, "MAX_GROUP", 3)
    monkeypatch.setattr(writer, "MAX_GROUP_SECONDS", LONG)
    held_writer = make_writer()
    at = []
    held_writer.writer._check = lambda: at.append(len(held_writer.ran))  # as a commit begins, and before it ends
    tasks = [await held_writer.hold(), *(held_writer.come("a", number) for number in range(7))]
    await asyncio.sleep(0)
    held_writer.let_go.set()
    await asyncio.gather(*tasks)
    assert at == [0, 2, 2, 5, 5, 7]
