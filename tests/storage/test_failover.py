"""A PostgreSQL server that crashes and comes back, again and again, under writes: nothing acknowledged is lost,
nothing is there twice or half, and the service goes on by itself.
"""

import asyncio
import json
import os
import signal
import time
import uuid
from contextlib import suppress
from pathlib import Path

import asyncpg
import httpx
import pytest

from databases import administer
from harness import TENANT, interaction, portrait, server
from own_server import OwnServer
from portrait.app import build
from portrait.ingest.records import Parser
from portrait.model.errors import Unavailable
from portrait.model.identifier import customer
from portrait.storage.contract import TenantRow

CLIENTS = 6
CRASHES = 6
BATCH = 12
"""So many that they go in by COPY."""
WAIT = 2.0
"""How long a request waits for a connection."""
SLACK = 10.0
"""The time that a busy machine may add to that."""


@pytest.fixture
def own():
    own_server = OwnServer("-c", "max_connections=40")
    yield own_server
    own_server.end()


@pytest.fixture
def url(own):
    name = f"portrait_{uuid.uuid4().hex}"
    administer(own.url(), f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    made = own.url(name)
    for words in (("db", "upgrade"), ("tenant", "create", TENANT)):
        done = portrait(*words, "--database", made)
        assert done.returncode == 0, done.stderr
    return made


class Client:
    """Writes without end, each record under its own key, and repeats calls answered 503 until they are accepted."""

    def __init__(self, http, mark):
        self._http = http
        self._mark = mark
        self.acknowledged = []
        """Keys, of each call together."""
        self.unavailable = 0
        self.duplicates = 0
        self.longest = 0.0

    async def go_on(self, until):
        number = 0
        while not until.is_set():
            count = BATCH if number % 3 == 0 else 1
            keys = [f"{self._mark}_{number}_{index}" for index in range(count)]
            await self._record(keys)
            self.acknowledged.append(keys)
            number += 1

    async def _record(self, keys):
        lines = [
            {
                "customerId": f"c{int(key.split('_')[1]) % 4}",
                "section": "interactions",
                "record": interaction(1) | {"id": key},
            }
            for key in keys
        ]
        body = b"".join(json.dumps(body_line).encode() + b"\n" for body_line in lines)
        for _ in range(2000):
            begun = time.monotonic()
            if len(keys) == 1:
                path = f"/api/v1/customers/{lines[0]['customerId']}/interactions"
                answer = await self._http.post(path, json=lines[0]["record"])
            else:
                headers = {"content-type": "application/x-ndjson"}
                answer = await self._http.post("/api/v1/records", content=body, headers=headers)
            self.longest = max(self.longest, time.monotonic() - begun)
            if answer.status_code in {200, 201}:
                self.duplicates += answer.status_code == 200
                return
            assert answer.status_code == 503, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["code"] in {"storage_failed", "storage_busy"}
            self.unavailable += 1
            await asyncio.sleep(0.02)
        raise AssertionError("the service does not recover")


async def crash(own, number):
    """Let the server end in one of three ways, be away for a while, and start it again."""
    match number % 3:
        case 0:
            await asyncio.to_thread(own.stop, "immediate")
        case 1:
            await asyncio.to_thread(own.kill)
        case _:
            await asyncio.to_thread(own.stop, "fast")
    await asyncio.sleep(0.4)
    await asyncio.to_thread(own.start)


async def fact_counts(url):
    """Return the keys of all facts, with the number of facts of each."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT key, count(*) FROM facts WHERE section = 'interactions' GROUP BY key")
        return dict(map(tuple, rows))
    finally:
        await connection.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_server_that_crashes_under_writes_loses_and_doubles_nothing(own, url, workers):
    with server(None, "--auth", "open", "--database", url, "--busy-seconds", str(WAIT), "--workers", workers) as (
        address,
        process,
    ):
        limits = httpx.Limits(max_keepalive_connections=0)
        headers = {"X-Tenant-Id": TENANT}
        async with httpx.AsyncClient(base_url=address, headers=headers, limits=limits, timeout=60) as http:
            enough = asyncio.Event()
            clients = [Client(http, f"m{number}") for number in range(CLIENTS)]
            writing = [asyncio.ensure_future(client.go_on(enough)) for client in clients]
            for number in range(CRASHES):
                taken = [len(client.acknowledged) for client in clients]
                async with asyncio.timeout(60):  # each of them has gone on since the last crash
                    while any(len(client.acknowledged) <= at for client, at in zip(clients, taken, strict=True)):
                        failed = [task for task in writing if task.done()]
                        assert failed == []
                        await asyncio.sleep(0.02)
                await asyncio.sleep(0.2)
                await crash(own, number)
            enough.set()
            await asyncio.wait_for(asyncio.gather(*writing), 60)
            assert (await http.get("/health/ready")).status_code == 200
            assert (await http.get("/api/v1/customers/c1/unified-profile")).status_code == 200
        assert process.poll() is None
    counts = await fact_counts(url)
    acknowledged = [key for client in clients for keys in client.acknowledged for key in keys]
    print(
        f"{len(acknowledged)} records acknowledged; {sum(client.unavailable for client in clients)} answers of 503,"
        f" the longest after {max(client.longest for client in clients):.1f} s"
    )
    assert set(acknowledged) - counts.keys() == set(), "what was acknowledged is gone"
    assert counts.keys() - set(acknowledged) == set(), "a call that was not repeated was kept"
    assert {key: number for key, number in counts.items() if number != 1} == {}, "a fact is there twice"
    assert sum(client.unavailable for client in clients) > 0
    assert max(client.longest for client in clients) < WAIT + SLACK
    checked = await asyncio.to_thread(portrait, "db", "check", "--database", url)
    assert (checked.returncode, " 0 differences" in checked.stdout) == (0, True), checked.stdout + checked.stderr


async def test_a_call_of_many_records_is_kept_whole_or_not_at_all(own, url):
    """No call is repeated here: a call answered 503 may be stored, but only as a whole."""
    services = build(url, auth="open", installed=False, busy_seconds=WAIT)
    store = services.store
    parser = Parser(TenantRow("t", "t", 0, b"secret"), "test")
    acknowledged, unknown = set(), set()

    async def tell(mark):
        number = 0
        while not enough.is_set():
            name = f"{mark}{number}"
            lines = [
                json.dumps(
                    {"customerId": f"c{index % 3}", "section": "interactions",
                     "record": interaction(1) | {"id": f"{name}_{index}"}}
                ).encode()
                for index in range(BATCH)
            ]  # fmt: skip
            incoming = [parser.line(index, text, services.registry) for index, text in enumerate(lines)]
            try:
                await services.recorder.record_all(TENANT, incoming)
            except Unavailable:
                unknown.add(name)
                await asyncio.sleep(0.02)
            else:
                acknowledged.add(name)
            number += 1

    enough = asyncio.Event()
    writing = [asyncio.ensure_future(tell(f"m{number}x")) for number in range(CLIENTS)]
    for number in range(CRASHES):
        before = len(acknowledged)
        async with asyncio.timeout(60):
            while len(acknowledged) < before + CLIENTS:  # noqa: ASYNC110  # it is the tasks that count
                await asyncio.sleep(0.02)
        await crash(own, number)
    enough.set()
    await asyncio.gather(*writing)
    calls = {}
    for index in range(3):
        for fact in await store.facts(TENANT, [customer(f"c{index}")]):
            calls.setdefault(fact.key.rpartition("_")[0], []).append(fact.key)
    await services.close()
    assert {name: keys for name, keys in calls.items() if len(keys) != BATCH or len(set(keys)) != BATCH} == {}
    assert acknowledged <= calls.keys() <= acknowledged | unknown
    assert unknown
    checked = await asyncio.to_thread(portrait, "db", "check", "--database", url)
    assert (checked.returncode, " 0 differences" in checked.stdout) == (0, True), checked.stdout + checked.stderr


async def test_while_the_server_is_away_answers_are_503_within_the_wait_and_then_right_again(own, url):
    with server(None, "--auth", "open", "--database", url, "--busy-seconds", str(WAIT)) as (address, _):
        headers = {"X-Tenant-Id": TENANT}
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as http:
            path = "/api/v1/customers/c1/interactions"
            assert (await http.post(path, json=interaction(1))).status_code == 201
            await asyncio.to_thread(own.stop, "immediate")
            begun = time.monotonic()
            answers = await asyncio.gather(
                *(http.post(path, json=interaction(number)) for number in range(2, 32)),
                *(http.get("/api/v1/customers/c1/unified-profile") for _ in range(30)),
                *(http.get(path) for _ in range(10)),
                http.get("/health/ready"),
            )
            assert time.monotonic() - begun < WAIT + SLACK
            assert {answer.status_code for answer in answers} == {503}
            assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
            assert (await http.get("/health/live")).status_code == 200
            await asyncio.to_thread(own.start)
            assert (await http.get("/health/ready")).status_code == 200
            assert (await http.post(path, json=interaction(2))).status_code == 201
            stored_records = (await http.get(path)).json()["data"]
            assert [stored_record["record"]["id"] for stored_record in stored_records] == ["ih_002", "ih_001"]


async def test_a_server_that_stops_answering_is_unavailable_within_the_wait_and_no_pile_of_requests(own, url):
    """Its processes are stopped, as by a frozen machine: connections stay open and nothing comes over them."""
    with server(None, "--auth", "open", "--database", url, "--busy-seconds", str(WAIT)) as (address, _):
        headers = {"X-Tenant-Id": TENANT}
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as http:
            path = "/api/v1/customers/c1/interactions"
            assert (await http.post(path, json=interaction(1))).status_code == 201
            first = int((own.data / "postmaster.pid").read_text().split()[0])
            frozen = [first, *processes_of(first)]
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            try:
                begun = time.monotonic()
                answers = await asyncio.wait_for(
                    asyncio.gather(
                        *(http.post(path, json=interaction(number)) for number in range(2, 22)),
                        *(http.get("/api/v1/customers/c1/unified-profile") for _ in range(20)),
                    ),
                    20,
                )
                took = time.monotonic() - begun
            finally:
                for pid in frozen:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
            assert {answer.status_code for answer in answers} == {503}
            assert took < 2 * WAIT + SLACK
            async with asyncio.timeout(20):
                while (await http.post(path, json=interaction(2))).status_code == 503:  # noqa: ASYNC110  # a server says no event
                    await asyncio.sleep(0.1)
            stored_records = (await http.get(path)).json()["data"]
            assert {"ih_001", "ih_002"} <= {stored_record["record"]["id"] for stored_record in stored_records}
    checked = await asyncio.to_thread(portrait, "db", "check", "--database", url)
    assert (checked.returncode, " 0 differences" in checked.stdout) == (0, True), checked.stdout + checked.stderr


def processes_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
