"""The log goes into the file beside the writer: no commit waits for it, unless the log has become too long."""

import asyncio
import logging
import threading
from contextlib import closing

import apsw
import pytest

from portrait.model.errors import StorageFull
from portrait.model.identifier import customer
from portrait.storage.conformance.support import TENANT, append, fact
from portrait.storage.sqlite import connection as settings
from portrait.storage.sqlite import open_store

C = customer("c")
LONG = 30
SHORT = 50
"""After so many pages a checkpoint: what holds for these holds for 4,000."""


@pytest.fixture(autouse=True)
def _short_log(monkeypatch):
    monkeypatch.setattr(settings, "CHECKPOINT", SHORT)


class Filled:
    """A store that is given one fact after another, of some pages each."""

    def __init__(self, store):
        self.store = store
        self.checkpoints = store._log._checkpoints
        self.count = 0

    async def append(self):
        await append(self.store, fact(C, self.count, key=f"{self.count}", body=b"x" * 20_000))
        self.count += 1

    async def until(self, length):
        while self.checkpoints.length <= length:
            await self.append()

    async def kept(self):
        return len(await self.store.facts(TENANT, [C]))


@pytest.fixture
async def filled(store):
    return Filled(store)


@pytest.fixture
def held(filled):
    """The checkpoint that begins next is held up until it is let go."""
    begun, let_go = threading.Event(), threading.Event()
    checks = filled.checkpoints._check

    def check():
        begun.set()
        assert let_go.wait(LONG)
        checks()

    filled.checkpoints._check = check
    yield begun, let_go
    let_go.set()


async def once(holds):
    """Wait for what another thread does."""
    async with asyncio.timeout(LONG):
        while not holds():  # noqa: ASYNC110  # what it waits for is no event
            await asyncio.sleep(0.001)


class Failing:
    """A connection whose checkpoints fail; for nothing else."""

    def __init__(self, connection):
        self._connection = connection
        self.count = 0

    def wal_checkpoint(self, **_):
        self.count += 1
        raise apsw.FullError

    def __getattr__(self, name):
        return getattr(self._connection, name)


async def test_no_commit_waits_for_a_checkpoint_until_the_log_has_twice_its_size(filled, held):
    begun, let_go = held
    await filled.until(SHORT)
    assert await asyncio.to_thread(begun.wait, LONG)
    await filled.until(2 * SHORT)
    count = filled.count
    waits = asyncio.ensure_future(filled.append())
    await asyncio.wait([waits], timeout=0.3)
    assert not waits.done()
    assert await filled.kept() == count, "reads wait for nothing"
    let_go.set()
    await asyncio.wait_for(waits, LONG)
    assert filled.checkpoints.length < SHORT, "the log has begun anew"
    assert await filled.kept() == count + 1


@pytest.mark.parametrize("stores", [1, 2])
async def test_under_writers_that_never_pause_the_log_begins_anew_again_and_again(path, filled, stores):
    others = [open_store(path) for _ in range(1, stores)]
    writers = [filled, *map(Filled, others)]
    group = 8
    anew, before, most = 0, 0, 0
    for number in range(150):
        for one in writers:
            one.count = number * group * stores
        await asyncio.gather(
            *(
                append(one.store, fact(C, place, key=f"{place}", body=b"x" * 10_000))
                for at, one in enumerate(writers)
                for place in range((number * stores + at) * group, (number * stores + at + 1) * group)
            )
        )
        length = max(one.checkpoints.length for one in writers)
        anew, before, most = anew + (length < before), length, max(most, length)
    assert anew > 10
    # Alone, one group comes on top of the bound. Of two one may write whenever the other would begin the log anew.
    assert most < (4 if stores == 1 else 12) * SHORT
    assert await filled.kept() == 150 * group * stores
    for one in others:
        await one.close()
    assert await filled.store.faults() == []


async def test_a_short_rest_is_left_to_the_writer_and_then_the_log_begins_anew(path, filled, held, monkeypatch):
    begun, let_go = held
    await filled.until(SHORT)
    assert await asyncio.to_thread(begun.wait, LONG)
    monkeypatch.setattr(settings, "CHECKPOINT", 20 * SHORT)  # far from the bound, and what follows is a short rest
    with closing(settings.connect(path, patience=1)) as reader:
        reader.execute("BEGIN; SELECT count(*) FROM facts").fetchall()
        await filled.append()
        let_go.set()
        await once(lambda: filled.checkpoints._is_rest_short)
    length = filled.checkpoints.length
    await filled.append()
    assert filled.checkpoints.length < length
    assert await filled.kept() == filled.count


async def test_a_checkpoint_that_fails_is_said_once_and_loses_nothing_and_at_the_bound_writes_are_refused(
    path, filled, monkeypatch, caplog
):
    writing, beside = (Failing(one) for one in (filled.store._log._connection, filled.checkpoints._connection))
    with monkeypatch.context() as patch:
        patch.setattr(filled.store._log, "_connection", writing)
        patch.setattr(filled.checkpoints, "_connection", beside)
        await filled.until(2 * SHORT)
        await once(lambda: beside.count and not filled.checkpoints._is_under_way)
        for _ in range(3):
            with pytest.raises(StorageFull):
                await filled.append()
        assert [one.levelno for one in caplog.records] == [logging.ERROR]
        assert "FullError" in caplog.text
        assert await filled.kept() == filled.count
        with closing(apsw.Connection(str(path))) as other:
            assert other.execute("SELECT count(*) FROM facts").get == filled.count
    await filled.until(0)
    await filled.append()
    assert filled.checkpoints.length < 2 * SHORT
    await filled.until(SHORT)
    await once(lambda: len(caplog.records) > 1)
    assert [one.levelno for one in caplog.records] == [logging.ERROR, logging.WARNING]
    assert await filled.kept() == filled.count


async def test_a_checkpoint_does_not_go_into_a_file_that_was_written_over(path, filled, held, tmp_path, caplog):
    begun, let_go = held
    copy = tmp_path / "copy.db"
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    await filled.until(SHORT)
    assert await asyncio.to_thread(begun.wait, LONG)
    content = copy.read_bytes()
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
    let_go.set()
    await filled.store.close()
    assert path.read_bytes() == content
    assert "written over" in caplog.text


async def test_closing_finishes_the_checkpoint_under_way_and_leaves_neither_thread_nor_log(path, filled, held):
    begun, let_go = held
    await filled.until(SHORT)
    assert await asyncio.to_thread(begun.wait, LONG)
    threading.Timer(0.1, let_go.set).start()
    await filled.store.close()
    assert not filled.checkpoints._thread.is_alive()
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(path.name)] == [path.name]
    with closing(apsw.Connection(str(path))) as connection:
        assert connection.execute("SELECT count(*) FROM facts").get == filled.count
