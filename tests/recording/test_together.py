"""Several writers at once lose nothing, whether they share a service, a database, or write beside a rebuild."""

import asyncio
import json
import subprocess

import apsw
import httpx

from harness import TENANT, command, interaction, ndjson, portrait, server, service
from portrait.maintenance import walk
from sections.facts import ROOT

SAMPLE = (ROOT / "src" / "portrait" / "cli" / "sample.jsonl").read_bytes()


async def ids(running, customer_id="c1"):
    """Return the ids of all interactions of a customer."""
    keys, cursor = [], None
    while True:
        page = await running.listed("interactions", customer_id, limit=100, **({"cursor": cursor} if cursor else {}))
        keys += [stored_record["key"] for stored_record in page["data"]]
        cursor = page["pagination"]["cursor"]
        if not page["pagination"]["hasMore"]:
            return keys


async def test_many_tasks_on_one_customer_lose_nothing(tmp_path):
    async with service(tmp_path) as running:
        await asyncio.gather(*(running.recorded("interactions", interaction(number)) for number in range(60)))
        assert sorted(await ids(running)) == [f"ih_{number:03}" for number in range(60)]
        assert len(await running.section("interactions")) == 20
        running.clock.advance(1)
        await running.checked()


async def test_one_record_sent_by_many_at_once_is_recorded_once(tmp_path):
    async with service(tmp_path) as running:
        outcomes = await asyncio.gather(*(running.recorded("interactions", interaction(1)) for _ in range(20)))
        assert sum(outcome["recorded"] for outcome in outcomes) == 1
        assert sum(outcome["duplicates"] for outcome in outcomes) == 19
        assert await ids(running) == ["ih_001"]


async def test_two_services_on_one_database_lose_nothing(tmp_path):
    async with service(tmp_path) as first, service(tmp_path, tenants=(), clock=first.clock) as other:
        other.client.headers["X-Tenant-Id"] = TENANT
        await asyncio.gather(
            *((first if number % 2 else other).recorded("interactions", interaction(number)) for number in range(60))
        )
        assert sorted(await ids(first)) == sorted(await ids(other)) == [f"ih_{number:03}" for number in range(60)]
        first.clock.advance(1)
        await first.checked()


async def test_a_rebuild_while_writes_go_on_loses_nothing_and_finds_nothing_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(walk, "CHUNK", 1)  # a transaction a customer, so that writes come in between
    async with service(tmp_path) as running:
        customers = [f"c{number}" for number in range(10)]
        for customer_id in customers:
            await running.recorded("interactions", interaction(0), customer_id)
        writing = asyncio.gather(
            *(
                running.recorded("interactions", interaction(number), customer_id)
                for number in range(1, 11)
                for customer_id in customers
            )
        )
        reports = [await running.services.upkeep.rebuild() for _ in range(3)]
        await writing
        assert [report.differences for report in reports] == [[], [], []]
        running.clock.advance(1)
        await running.checked()
        for customer_id in customers:
            assert len(await ids(running, customer_id)) == 11


def derived(database):
    """Return all derived rows."""
    with apsw.Connection(str(database)) as connection:
        return {
            table: list(connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4"))
            for table in ("documents", "states", "identifiers", "facts")
        }


async def test_the_same_lines_again_change_no_row(tmp_path):
    async with service(tmp_path) as running:

        async def bulk():
            answer = await running.client.post(
                "/api/v1/records", content=SAMPLE, headers={"content-type": "application/x-ndjson"}
            )
            assert answer.status_code == 200
            return answer.json()

        count = len(SAMPLE.splitlines())
        doubts = {"warnings": [{"index": 1, "code": "unreadable_phone"}]}
        assert await bulk() == {"recorded": count, "duplicates": 0, "refused": []} | doubts
        before = derived(tmp_path / "portrait.db")
        running.clock.advance(3600)
        assert await bulk() == {"recorded": 0, "duplicates": count, "refused": []} | doubts
        assert derived(tmp_path / "portrait.db") == before


def test_a_load_beside_a_server_that_writes_loses_nothing(tmp_path):
    database = tmp_path / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=database).returncode == 0
    file = tmp_path / "lines.jsonl"
    file.write_bytes(
        ndjson({"customerId": "c1", "section": "interactions", "record": interaction(number)} for number in range(500))
    )
    with server(database, "--auth", "open") as (url, _), httpx.Client(base_url=url, timeout=30) as client:
        loading = subprocess.Popen(
            command("load", str(file), "--tenant", TENANT, database=database), stderr=subprocess.PIPE, text=True
        )
        for number in range(500, 600):
            answer = client.post(
                "/api/v1/customers/c1/interactions", json=interaction(number), headers={"X-Tenant-Id": TENANT}
            )
            assert answer.status_code == 201, answer.text
        _, output = loading.communicate(timeout=60)
        assert loading.returncode == 0, output
    with apsw.Connection(str(database)) as connection:
        assert connection.execute("SELECT count(DISTINCT key), count(*) FROM facts").fetchone() == (600, 600)
        [document] = connection.execute("SELECT body FROM documents WHERE section = 'interactions'").fetchone()
    assert len(json.loads(document)) == 20
    assert portrait("db", "check", database=database).returncode == 0
