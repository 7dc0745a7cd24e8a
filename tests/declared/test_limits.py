"""What sources may take: connections, threads, bytes of secrets, and time at their end."""

import asyncio
import gzip
import threading
import zlib
from types import SimpleNamespace

import asyncpg
import pytest

from declared.conftest import section_of
from declared.servers import answer, raw_server
from portrait.computed import calls
from portrait.declared import connecting, postgres_source, secret
from portrait.declared import http_source as http
from portrait.declared.secret import Secret, SecretMissing

LOYALTY = """
[sections.loyalty]
description = "Points."
timeout = 5
[sections.loyalty.query]
database = "{url}"
sql = "SELECT pg_sleep({sleeps})::text AS slept, :customer_id AS id, :tenant_id AS tenant"
"""


async def test_connections_to_a_service_are_bounded(over_http, monkeypatch):
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 2)

    async def slow(reader, writer):
        await asyncio.sleep(0.1)
        writer.write(answer([1]))

    async with raw_server(slow) as server, over_http(server.url, timeout=10) as running:
        answers = await asyncio.gather(*(section_of(running) for _ in range(6)))
        assert [part["data"] for part in answers] == [[1]] * 6
        assert (server.connections, len(server.requests)) == (2, 6)


async def test_no_more_is_inflated_than_an_answer_may_have(over_http, monkeypatch):
    inflated = []

    class Counting:
        """A decompressor whose output is counted."""

        def __init__(self, bits):
            self._real = zlib.decompressobj(bits)

        def decompress(self, *chunk):
            piece = self._real.decompress(*chunk)
            inflated.append(len(piece))
            return piece

    monkeypatch.setattr(http, "zlib", SimpleNamespace(decompressobj=Counting, MAX_WBITS=zlib.MAX_WBITS))
    body = answer(gzip.compress(b"[" + b" " * 1_000_000 + b"]"), headers=["Content-Encoding: gzip"])
    async with raw_server(body) as server, over_http(server.url, http="max_bytes = 10000") as running:
        assert (await section_of(running))["error"]["code"] == "source_failed"
    assert sum(inflated) == 10_001


async def test_a_connection_that_nobody_uses_is_not_trusted_for_long(over_http, monkeypatch):
    monkeypatch.setattr(http, "KEEP_ALIVE_SECONDS", 0.1)
    async with raw_server(answer([1])) as server, over_http(server.url) as running:
        await section_of(running)
        await asyncio.sleep(0.3)
        await section_of(running)
        assert server.connections == 2


async def test_a_connection_that_the_service_ends_is_made_anew(over_http):
    async def once(reader, writer):
        writer.write(answer([1]))
        await writer.drain()
        writer.close()

    async with raw_server(once) as server, over_http(server.url) as running:
        for _ in range(3):
            assert (await section_of(running))["data"] == [1]
            await asyncio.sleep(0.1)
        assert server.connections == 3


async def test_addresses_that_are_tried_are_few(over_http, monkeypatch):
    monkeypatch.setattr(connecting, "MAX_TRIED", 2)
    names = {"parcels.example": ["127.0.0.2", "127.0.0.3", "127.0.0.1"]}
    monkeypatch.setattr(connecting, "resolve", lambda host, port: names[host])
    tried = []
    connect = connecting.httpcore.AnyIOBackend.connect_tcp

    async def counted(self, host, port, *options):
        tried.append(host)
        return await connect(self, host, port, *options)

    monkeypatch.setattr(connecting.httpcore.AnyIOBackend, "connect_tcp", counted)
    async with raw_server(b"") as server:
        pass
    async with over_http(f"http://parcels.example:{server.port}/{{customer_id}}?{{tenant_id}}") as running:
        assert (await section_of(running))["error"]["code"] == "source_failed"
    assert tried == ["127.0.0.2", "127.0.0.3"]


async def test_calls_that_wait_for_a_name_wait_for_the_same(over_http, monkeypatch):
    asked = []
    go_on = threading.Event()

    def resolve(host, port):
        asked.append(host)
        go_on.wait(5)
        return ["127.0.0.1"]

    monkeypatch.setattr(connecting, "resolve", resolve)
    async with raw_server(answer([1])) as server:
        url = f"http://parcels.example:{server.port}/{{customer_id}}?{{tenant_id}}"
        async with over_http(url, timeout=5) as running:
            asking = [asyncio.create_task(section_of(running)) for _ in range(5)]
            await asyncio.sleep(0.3)
            go_on.set()
            assert [part["data"] for part in await asyncio.gather(*asking)] == [[1]] * 5
    assert asked == ["parcels.example"]


async def test_a_name_server_that_does_not_answer_costs_the_deadline(over_http, monkeypatch):
    go_on = threading.Event()

    def resolve(host, port):
        go_on.wait(10)
        return []

    monkeypatch.setattr(connecting, "resolve", resolve)
    async with over_http("http://parcels.example/{customer_id}?{tenant_id}", timeout=0.3) as running:
        for _ in range(2):
            assert (await section_of(running))["error"]["code"] == "deadline_exceeded"
        waiting = [thread for thread in threading.enumerate() if thread.name == "portrait-resolve"]
        assert len(waiting) == 1
        assert waiting[0].daemon
        go_on.set()


@pytest.mark.parametrize("size", [100, 101])
def test_a_secrets_file_is_bounded(tmp_path, monkeypatch, size):
    monkeypatch.setattr(secret, "MAX_SECRET_BYTES", 100)
    (tmp_path / "secret").write_text("x" * size)
    if size == 100:
        assert Secret(None, str(tmp_path / "secret")).read() == "x" * 100
    else:
        with pytest.raises(SecretMissing, match="more than 100 bytes"):
            Secret(None, str(tmp_path / "secret")).read()


def test_of_a_secrets_file_no_more_is_read(monkeypatch):
    monkeypatch.setattr(secret, "MAX_SECRET_BYTES", 100)
    with pytest.raises(SecretMissing, match="more than 100 bytes"):
        Secret(None, "/dev/zero").read()


async def test_connections_to_a_database_are_bounded_and_end(declared, postgres_url, monkeypatch):
    monkeypatch.setattr(postgres_source, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(postgres_source, "IDLE_SECONDS", 0.3)
    async with declared(LOYALTY.format(url=postgres_url, sleeps=0.2)) as running:
        asking = [asyncio.create_task(section_of(running, "loyalty")) for _ in range(4)]
        await asyncio.sleep(0.3)
        assert await connected(postgres_url) == 2
        answers = await asyncio.gather(*asking)
        assert all(part["data"][0]["id"] == "c1" for part in answers)
        await until_none(postgres_url)


async def test_connections_to_a_database_end_with_the_service(declared, postgres_url):
    async with declared(LOYALTY.format(url=postgres_url, sleeps=0)) as running:
        await section_of(running, "loyalty")
        assert await connected(postgres_url) == 1
    await until_none(postgres_url)


async def connected(url):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portrait' AND datname = current_database()"
        )
    finally:
        await connection.close()


async def until_none(url):
    for _ in range(100):
        if not await connected(url):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a connection stays")


@pytest.mark.parametrize("end", ["hangs", "fails"])
async def test_a_loop_ends_whatever_what_it_holds_does_then(monkeypatch, end):
    monkeypatch.setattr(calls, "END_SECONDS", 0.1)
    ended = threading.Event()

    async def at_end():
        ended.set()
        if end == "fails":
            raise ValueError
        await asyncio.sleep(60)

    async def function(context):
        return threading.current_thread()

    loops = calls.Loops("held", function, lambda context, hanging: None, at_end)
    thread, error = await loops.call(None, asyncio.get_running_loop().time() + 5)
    assert error is None
    loops.close()
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
    assert ended.is_set()
