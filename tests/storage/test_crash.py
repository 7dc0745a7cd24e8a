"""A process that is killed in mid-write loses nothing that it acknowledged, and leaves nothing half done."""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from harness import TENANT, command, interaction, portrait
from portrait.app import build
from portrait.model.identifier import customer
from portrait.storage.conformance.support import TENANT as STORED
from portrait.storage.conformance.support import append, fact
from portrait.storage.sqlite import open_store

KILLS = 50
CHUNK = 20
STREAMS = "ab"
CUSTOMERS = 15

LOADS = """
import asyncio, dataclasses, io, json, os, sys
from portrait import app
from portrait.cli.load import load_stream
from portrait.ingest import loading

url, streams, customers, loading.MAX_CHUNK = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


class Endless(io.RawIOBase):
    # Lines without end, numbered; every third tells of a state that changes, the others are events.
    def __init__(self, mark):
        self.mark, self.number, self.rest = mark, 0, b""

    def readable(self):
        return True

    def readinto(self, space):
        self.rest = self.rest or self.line()
        part, self.rest = self.rest[:len(space)], self.rest[len(space):]
        space[:len(part)] = part
        return len(part)

    def line(self):
        number, self.number = self.number, self.number + 1
        click = {"id": f"{self.mark}{number}", "interactionType": "click", "timestamp": "2026-05-01T00:00:00Z"}
        segment = {"segmentId": self.mark, "segmentName": f"{number}", "memberSince": "2026-01-01T00:00:00Z"}
        section, told = ("segments", segment) if number % 3 == 0 else ("interactions", click)
        line = {"customerId": f"c{number * 7 % customers}", "section": section, "record": told}
        return json.dumps({**line, "source": f"{self.mark}{number}"}).encode() + b"\\n"


class Telling:
    # Says what was acknowledged, as soon as it was.
    def __init__(self, recorder):
        self.recorder = recorder

    async def record_each(self, tenant, incoming):
        outcome = await self.recorder.record_each(tenant, incoming)
        assert outcome.recorded == len(incoming), outcome
        os.write(1, "".join(f"{one.source}\\n" for one in (incoming[0], incoming[-1])).encode())
        return outcome


async def load():
    services = app.build(url, installed=False)
    services = dataclasses.replace(services, recorder=Telling(services.recorder))
    tenant = await services.access.tenant("my-tenant")
    await asyncio.gather(*(load_stream(services, tenant, io.BufferedReader(Endless(mark))) for mark in streams))


asyncio.run(load())
"""
"""Does what `portrait load` does, with two endless files at once, and prints the first and last of each chunk
that was acknowledged."""


@pytest.fixture
def chance():
    """Randomness whose seed a failure shows; CRASH_SEED gives it again."""
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().getrandbits(32))
    print(f"CRASH_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def empty(tmp_path):
    """A database with the tenant and nothing else."""
    path = tmp_path / "empty.db"
    done = portrait("tenant", "create", TENANT, database=path)
    assert done.returncode == 0, done.stderr
    return path


async def looked_at(path):
    """Return the sources of all facts; assert that derived rows agree with them, and that the file is sound."""
    services = build(f"sqlite:///{path}", installed=False)
    try:
        report = await services.upkeep.check()
        assert report.faults == []
        assert report.differences == []
        facts = [fact for n in range(CUSTOMERS) for fact in await services.store.facts(TENANT, [customer(f"c{n}")])]
        assert report.facts == len(facts)
        return [fact.source for fact in facts]
    finally:
        await services.close()


def killed_while_loading(path, wait):
    """Start loading, kill it some time after its first acknowledgement, and return the acknowledged ranges."""
    with subprocess.Popen(
        [sys.executable, "-c", LOADS, f"sqlite:///{path}", STREAMS, str(CUSTOMERS), str(CHUNK)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        first = process.stdout.readline()
        time.sleep(wait)
        process.kill()
        output, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == -signal.SIGKILL, errors
    ends = (first + output).split()
    return list(zip(ends[::2], ends[1::2], strict=True))


@pytest.mark.timeout(180)
def test_a_load_killed_at_any_moment_keeps_what_it_acknowledged_and_nothing_half(tmp_path, empty, chance):
    chunks, unheard = 0, 0
    for turn in range(KILLS):
        path = tmp_path / f"{turn}.db"
        shutil.copy(empty, path)
        acknowledged = killed_while_loading(path, chance.uniform(0, 0.2))
        sources = asyncio.run(looked_at(path))
        for mark in STREAMS:
            numbers = sorted(int(source[1:]) for source in sources if source[0] == mark)
            assert numbers == list(range(len(numbers))), "a record is missing, or there twice"
            assert len(numbers) % CHUNK == 0, "half of a chunk was kept"
            ends = [(int(first[1:]), int(last[1:])) for first, last in acknowledged if first[0] == mark]
            assert all(last - first == CHUNK - 1 for first, last in ends)
            promised = {number for first, last in ends for number in range(first, last + 1)}
            assert promised <= set(numbers)
            chunks += len(ends)
            unheard += len(numbers) > len(promised)
    print(f"{chunks} chunks acknowledged; in {unheard} cases one more was kept than was heard of")
    assert chunks > KILLS


def test_the_command_killed_again_and_again_ends_with_every_record_once(tmp_path, empty, chance):
    file = tmp_path / "records.jsonl"
    numbers = range(8000)
    lines = [
        {"customerId": f"c{n % CUSTOMERS}", "section": "interactions", "record": interaction(n), "source": f"a{n}"}
        for n in numbers
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("load", str(file), "--tenant", TENANT)
    sources = []
    for _ in range(8):
        process = subprocess.Popen(command(*words, database=empty), stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.1, 0.6))
        process.kill()
        process.wait()
        before, sources = sources, asyncio.run(looked_at(empty))
        assert set(before) <= set(sources), "a kill took what an earlier load had kept"
    done = portrait(*words, database=empty)
    assert done.returncode == 0, done.stderr
    recorded, duplicates = (int(count.replace(",", "")) for count in re.findall(r"([\d,]+) (?:rec|dup)", done.stderr))
    assert (recorded, duplicates) == (len(numbers) - len(sources), len(sources))
    assert sorted(asyncio.run(looked_at(empty))) == sorted(f"a{n}" for n in numbers)


HOLDS = """
import sys, time
import apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("PRAGMA cache_size = 1")  # so that what is not committed is in the file's log already
connection.execute("BEGIN IMMEDIATE")
rows = ((f"t{number}", b"x" * 500) for number in range(500))
connection.executemany("INSERT INTO tenants (id, name, created_at, key_secret) VALUES (?, 'lost', 0, ?)", rows)
print("held", flush=True)
time.sleep(60)
"""


def test_a_process_killed_in_a_transaction_frees_its_lock_and_leaves_nothing(path):
    async def goes_on():
        store = open_store(path, patience=0.5)
        assert await store.tenants(None, 10) == []
        await append(store, fact(customer("c"), 1))
        assert await store.facts(STORED, [customer("c")]) == [fact(customer("c"), 1)]
        assert await store.faults() == []
        await store.close()

    asyncio.run(open_store(path).close())
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert path.with_name(f"{path.name}-wal").stat().st_size > 100_000
        process.kill()
    asyncio.run(goes_on())
