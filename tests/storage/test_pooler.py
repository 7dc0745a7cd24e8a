"""PostgreSQL behind PgBouncer in transaction mode, which hands each connection on after every transaction."""

import asyncio
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import httpx
import pytest

from databases import administer, database_url
from harness import TENANT, interaction, portrait, server
from portrait.app import build
from portrait.ingest.records import Parser
from portrait.model.identifier import customer
from portrait.storage import conformance, postgres
from portrait.storage.conformance.support import TENANT as STORED
from portrait.storage.conformance.support import append, fact
from portrait.storage.contract import TenantRow

CASES = conformance.cases()
C = customer("c")
HANDED_ON = 3
"""So many connections to the server: fewer than ask for one at a time."""
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


class Pooler:
    """A PgBouncer before a server: `url` gives a database's URL through it."""

    def __init__(self, directory, behind, *, size=HANDED_ON, names="*"):
        where = urlsplit(behind)
        asked = parse_qs(where.query)
        host = asked["host"][0] if "host" in asked else where.hostname
        port = where.port or asked.get("port", ["5432"])[0]
        login = f"user={unquote(where.username or 'postgres')}"
        if where.password:
            login += f" password='{unquote(where.password)}'"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._settings = directory / "pgbouncer.ini"
        self._settings.write_text(
            f"[databases]\n{names} = host={host} port={port} {login}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = {size}\nmax_client_conn = 500\n"
        )
        # It refuses to run as root; the owner of the socket can reach it.
        owner = Path(host).owner() if host.startswith("/") else "root"
        other = owner if owner != "root" else pwd.getpwuid(65534).pw_name
        self._words = [PROGRAM, "-q", *(["-u", other] if os.geteuid() == 0 else []), str(self._settings)]
        self._process = None

    def url(self, database):
        return f"postgresql://anybody@127.0.0.1:{self._port}{urlsplit(database).path}"

    def __enter__(self):
        self._process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(200):
            assert self._process.poll() is None, self._process.stderr.read()
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        raise AssertionError("PgBouncer does not listen")

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


@pytest.fixture(scope="module")
def pooler(postgres_server, tmp_path_factory):
    with Pooler(tmp_path_factory.mktemp("pooler"), postgres_server) as pooler:
        yield pooler


@pytest.fixture
def pooled_url(pooler, postgres_url):
    return pooler.url(postgres_url)


@pytest.fixture
async def pooled(pooled_url):
    opened = postgres.open_store(pooled_url, prepared=False)
    yield opened
    await opened.close()


@asynccontextmanager
async def connections(url, number):
    """Connections to the pooler, by themselves."""
    opened = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(number)]
    try:
        yield opened
    finally:
        for connection in opened:
            await connection.close()


async def test_connections_really_are_handed_on(pooled_url):
    """The other tests here rest on this."""
    async with connections(pooled_url, 8) as opened:
        backends = [await connection.fetchval("SELECT pg_backend_pid()") for connection in opened]
        assert len(set(backends)) <= HANDED_ON


@pytest.mark.parametrize("case", CASES, ids=[case.__name__.removeprefix("test_") for case in CASES])
async def test_behind_a_pooler_the_contract_is_kept(case, pooled):
    await case(pooled)


async def test_many_that_write_and_read_at_once_read_what_was_written(pooled_url):
    """Two stores, as of two processes, each with more connections than the pooler has to the server."""
    stores = [postgres.open_store(pooled_url, prepared=False, size=10, patience=30) for _ in range(2)]

    async def write_and_read(number):
        own = customer(f"c{number}")
        expected = []
        for turn in range(12):
            mine, other = stores[turn % 2], stores[(turn + 1) % 2]
            chunk = [fact(own, 1000 * number + 20 * turn + index) for index in range(1 + 9 * (turn % 2))]
            await append(mine, *chunk)
            expected += chunk
            assert await other.facts(STORED, [own]) == expected
            async with mine.snapshot() as reads:
                assert await reads.facts(STORED, [own]) == expected
                assert await reads.with_facts(STORED, [own]) == {own}

    await asyncio.gather(*(write_and_read(number) for number in range(20)))
    for store in stores:
        await store.close()


def line(number):
    record = {"customerId": "c", "section": "interactions", "record": interaction(number)}
    return json.dumps(record).encode()


async def test_writers_of_one_customer_wait_for_each_other(pooled_url):
    services = [build(pooled_url, auth="open", installed=False, prepared=False, busy_seconds=60) for _ in range(2)]
    await services[0].access.create_tenant(TENANT)

    async def tell(number):
        service = services[number % 2]
        incoming = Parser(TenantRow("t", "t", 0, b"secret"), "test").line(0, line(number), service.registry)
        return await service.recorder.record_all(TENANT, [incoming])

    outcomes = await asyncio.gather(*(tell(number) for number in range(40)))
    assert [outcome.recorded for outcome in outcomes] == [1] * 40
    facts = await services[0].store.facts(TENANT, [C])
    assert len({fact.recorded_at for fact in facts}) == len(facts) == 40, "two were told at one moment"
    report = await services[1].upkeep.check()
    assert (report.differences, report.facts) == ([], 40)
    for service in services:
        await service.close()


async def test_a_caller_that_stops_waiting_leaves_no_transaction_open_behind_it(pooled):
    """Its connection goes on to others: a transaction or a lock that it left would be theirs."""
    for turn in range(10):
        given_up = [asyncio.ensure_future(append(pooled, fact(C, 100 * turn + number))) for number in range(10)]
        await asyncio.sleep(0.002 * turn)
        for task in given_up[::2]:
            task.cancel()
        results = await asyncio.gather(*given_up, return_exceptions=True)
        assert results[1::2] == [None] * 5
    kept = {fact.recorded_at for fact in await pooled.facts(STORED, [C])}
    assert kept >= {100 * turn + number for turn in range(10) for number in range(1, 10, 2)}
    await append(pooled, fact(C, 9999))


def test_a_pooler_whose_server_is_away_is_refused_at_the_start_in_words(postgres_url, tmp_path):
    away = urlsplit(postgres_url)._replace(netloc="postgres@127.0.0.1:1", query="").geturl()
    with Pooler(tmp_path, away) as pooler:
        begun = time.monotonic()
        refused = portrait("serve", "--port", "0", "--prepared", "false", "--database", pooler.url(postgres_url))
        assert time.monotonic() - begun < 10
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert re.search(r"cannot be reached|does not answer", refused.stderr), refused.stderr


@pytest.fixture
def empty_url(pooler, postgres_server):
    name = f"portrait_empty_{uuid.uuid4().hex}"
    administer(postgres_server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    yield pooler.url(database_url(postgres_server, name))
    administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


def test_starts_at_once_make_the_tables_once(empty_url):
    """Through the pooler too one start at a time migrates: its lock ends with its transaction."""
    with ThreadPoolExecutor(4) as several:
        starts = [
            several.submit(portrait, "db", "upgrade", "--prepared", "false", "--database", empty_url) for _ in range(4)
        ]
    assert [start.result().stderr for start in starts] == ["The database has this version's schema.\n"] * 4
    assert portrait("db", "check", "--prepared", "false", "--database", empty_url).returncode == 0


def test_processes_that_serve_through_it_read_what_any_of_them_acknowledged(pooled_url):
    made = portrait("tenant", "create", TENANT, "--database", pooled_url, "--prepared", "false")
    assert made.returncode == 0, made.stderr

    async def customer_of(client, name):
        for number in range(1, 16):
            recorded = await client.post(f"/api/v1/customers/{name}/interactions", json=interaction(number))
            assert recorded.status_code == 201, recorded.text
            page = (await client.get(f"/api/v1/customers/{name}/interactions", params={"limit": 50})).json()
            assert len(page["data"]) == number

    async def all_at_once(url):
        limits = httpx.Limits(max_keepalive_connections=0)
        headers = {"X-Tenant-Id": TENANT}
        async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60) as client:
            await asyncio.gather(*(customer_of(client, f"c{number}") for number in range(20)))

    env = {"PORTRAIT_PREPARED": "false", "PORTRAIT_DATABASE": pooled_url}
    with server(None, "--auth", "open", "--workers", "2", env=env) as (url, _):
        asyncio.run(all_at_once(url))
    checked = portrait("db", "check", "--database", pooled_url, "--prepared", "false")
    assert (checked.returncode, " 0 differences" in checked.stdout) == (0, True), checked.stdout + checked.stderr


@pytest.mark.parametrize("size", [1, HANDED_ON])
def test_a_pooler_with_prepared_statements_is_refused_at_the_start(postgres_server, postgres_url, tmp_path, size):
    with Pooler(tmp_path, postgres_server, size=size) as pooler:
        refused = portrait("tenant", "list", "--prepared", "true", "--database", pooler.url(postgres_url))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
    assert "Set prepared to false" in refused.stderr


ASKS = """
import asyncio, sys
from portrait.model.errors import Unavailable
from portrait.model.identifier import customer
from portrait.storage.postgres import PostgresStore

# Past the start's check.
store = PostgresStore(sys.argv[1], size=1, patience=5.0, prepared=True, distributed=False)

async def ask():
    while words := sys.stdin.readline().split():
        try:
            if words[0] == "events":
                facts = await store.events("acme", [customer("c")], "interactions", None, 100)
            else:
                facts = await store.history("acme", [customer("c")], "interactions", words[1], None, 100)
            print("found", *(fact.key for fact in facts), flush=True)
        except Unavailable as error:
            print("unavailable", error.detail, flush=True)

asyncio.run(ask())
"""


def begin(url):
    words = [sys.executable, "-c", ASKS, url]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_no_process_runs_what_another_has_prepared(postgres_server, postgres_url, tmp_path):
    """Two processes number their statements alike, and a pooler gives one the connection of the other.

    A start refuses this where it sees it; where it does not, a call fails and never gets another's answer.
    """
    direct = postgres.open_store(postgres_url)
    await append(direct, *(fact(C, number, key=f"key_000{number}") for number in range(3)))
    await direct.close()

    def asked(process, *words):
        process.stdin.write(" ".join(words) + "\n")
        process.stdin.flush()
        return process.stdout.readline()

    with Pooler(tmp_path, postgres_server, size=2) as pooler:
        url = pooler.url(postgres_url)
        first, other = await asyncio.gather(*(asyncio.to_thread(begin, url) for _ in range(2)))
        try:
            assert await asyncio.to_thread(asked, first, "history", "key_0001") == "found key_0001\n"
            async with connections(url, 2) as holders:
                for holder in holders:  # both connections to the server
                    await holder.execute("BEGIN")
                prepared = [await holder.fetchval("SELECT count(*) FROM pg_prepared_statements") for holder in holders]
                assert sorted(prepared) == [0, 1]
                await holders[prepared.index(0)].execute("ROLLBACK")  # frees the one on which nothing was prepared
                assert (await asyncio.to_thread(asked, other, "events")).count("key_") == 3
                again = await asyncio.to_thread(asked, first, "history", "key_0001")
        finally:
            for process in (first, other):
                process.stdin.close()
                process.wait(20)
                process.stdout.close()
    assert again == "found key_0001\n" or again.startswith("unavailable"), again
    if again.startswith("unavailable"):
        assert "prepared" in again, "the error does not say which setting is wrong"
