"""Several processes serve one database: any process reads what another has acknowledged, also under load."""

import asyncio
import json
import os
import signal
from pathlib import Path

import httpx
import pytest

from harness import TENANT, interaction, portrait, server

HEADERS = {"X-Tenant-Id": TENANT}
WORKERS = 2


@pytest.fixture(params=["sqlite", "postgres_url", "citus_url"])
def served(request, tmp_path):
    sqlite = f"sqlite:///{tmp_path / 'portrait.db'}"
    database = sqlite if request.param == "sqlite" else request.getfixturevalue(request.param)
    assert portrait("tenant", "create", TENANT, "--database", database).returncode == 0
    with server(None, "--auth", "open", "--workers", str(WORKERS), "--database", database) as (url, process):
        yield url, process


def children(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if b"spawn_main" in words_of(child)]


def words_of(pid):
    """Return a process's command line; empty if the process has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid):
    return Path(f"/proc/{pid}").exists()


async def answered(client, pids):
    """Wait until the service answers and all workers are there."""
    for _ in range(200):
        try:
            if (await client.get("/health/ready")).status_code == 200 and len(pids()) == WORKERS:
                return
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("the service does not answer")


async def refuses(port):
    """Wait until nobody listens on a port; a connection made meanwhile may be taken or cut off."""
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
        except ConnectionRefusedError:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("somebody listens")


async def test_a_stop_closes_the_port_while_requests_go_on(served):
    url, process = served
    port = httpx.URL(url).port
    ended = asyncio.Event()

    async def body():
        yield json.dumps(interaction(1)).encode()
        await ended.wait()

    async with httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=30) as client:
        await answered(client, lambda: children(process.pid))
        headers = {"content-type": "application/json"}
        slow = asyncio.create_task(client.post("/api/v1/customers/c1/interactions", content=body(), headers=headers))
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        await refuses(port)
        assert process.poll() is None
        ended.set()
        assert (await slow).status_code == 201
    assert await asyncio.to_thread(process.wait, 20) == 0


async def test_workers_do_not_outlive_their_supervisor(served):
    url, process = served
    async with httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=30) as client:
        await answered(client, lambda: children(process.pid))
        workers = children(process.pid)
        process.kill()
        await refuses(httpx.URL(url).port)
        for _ in range(200):
            if not any(map(alive, workers)):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("a worker is left")


async def test_any_workers_next_read_has_every_acknowledged_record(served):
    url, process = served
    # A connection for each request: whichever worker is free takes it.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, headers=HEADERS, limits=limits, timeout=30) as client:
        await answered(client, lambda: children(process.pid))

        async def customer(name):
            for number in range(1, 16):
                response = await client.post(f"/api/v1/customers/{name}/interactions", json=interaction(number))
                assert response.status_code == 201, response.text
                profile = (await client.get(f"/api/v1/customers/{name}/unified-profile")).json()
                ids = [record["id"] for record in profile["sections"][1]["data"]]
                assert ids == [f"ih_{index:03}" for index in range(number, 0, -1)]

        await asyncio.gather(*(customer(f"c{number}") for number in range(8)))


async def test_a_worker_that_dies_is_replaced_and_a_stop_ends_all(served):
    url, process = served
    async with httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=30) as client:
        await answered(client, lambda: children(process.pid))
        first, *_ = before = children(process.pid)
        os.kill(first, signal.SIGKILL)
        await answered(client, lambda: [pid for pid in children(process.pid) if pid != first])
        assert (await client.get("/api/v1/customers")).status_code == 200
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    assert [pid for pid in before if alive(pid)] == []


def test_fewer_than_one_worker_is_refused(tmp_path):
    refused = portrait("serve", "--workers", "0", "--port", "0", database=tmp_path / "portrait.db")
    assert (refused.returncode, refused.stderr) == (1, "portrait: The setting workers must be a number, at least 1.\n")


def test_a_failed_start_is_reported_once_for_any_number_of_workers(tmp_path):
    (tmp_path / "portrait.db").write_bytes(b"not a database, but long enough to be looked at as one " * 20)
    refused = portrait("serve", "--workers", "3", "--port", "0", database=tmp_path / "portrait.db")
    assert refused.returncode == 1
    assert refused.stderr.count("is not an SQLite database") == 1
