"""Overload: excess requests are refused at once, other tenants have turns, and clients that left cost nothing."""

import asyncio
import gc
import json
import socket
import tracemalloc
from collections import Counter
from contextlib import asynccontextmanager

import apsw
import pytest
import uvicorn

from harness import TENANT, interaction, ndjson, service
from portrait.access import cache, keys, strangers
from portrait.api.connections import Limits
from portrait.api.wire import protocol
from portrait.serving import admission, leaving
from portrait.writes.incoming import LINK_WEIGHT
from portrait.writes.recording import MAX_CHUNK

OTHER = "other"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    """A PostgreSQL database's URL, or None for SQLite in a directory."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def narrow(database, tmp_path, monkeypatch):
    """A service of two tenants in which few requests may be under way, and few may wait."""
    monkeypatch.setattr(admission, "MOST_WRITES", 4)
    monkeypatch.setattr(admission, "LEAST_WRITES", 4)
    async with service(tmp_path, tenants=(TENANT, OTHER), database=database) as running:
        running.client._transport.app._admission.writes._waiting._most = 8
        yield running


async def post(running, number, tenant=TENANT):
    headers = {"X-Tenant-Id": tenant}
    return await running.client.post("/api/v1/customers/c1/interactions", json=interaction(number), headers=headers)


async def test_a_flood_is_refused_in_part_others_are_served_and_accepted_records_stay(narrow):
    gate = narrow.client._transport.app._admission.writes
    highest = [0, 0]

    async def look():
        while True:
            highest[:] = [max(highest[0], gate.waiting), max(highest[1], gate.under_way)]
            await asyncio.sleep(0)

    looking = asyncio.ensure_future(look())
    flood = [asyncio.ensure_future(post(narrow, number)) for number in range(150)]
    await asyncio.sleep(0.01)
    others = await asyncio.gather(*(post(narrow, 1000 + number, OTHER) for number in range(3)))
    answers = await asyncio.gather(*flood)
    looking.cancel()
    assert [answer.status_code for answer in others] == [201] * 3
    counted = Counter(answer.status_code for answer in answers)
    assert counted.keys() == {201, 503}
    for refused in (answer for answer in answers if answer.status_code == 503):
        assert refused.json()["code"] == "overloaded"
        assert int(refused.headers["retry-after"]) >= 1
    assert highest[0] <= 9  # the excess request stays until the longest queue has dropped a request
    assert highest[1] <= 4
    page = await narrow.listed("interactions", limit=100)
    accepted = {f"ih_{number:03}" for number, answer in enumerate(answers) if answer.status_code == 201}
    assert {row["record"]["id"] for row in page["data"]} == accepted
    assert (await post(narrow, 500)).status_code == 201, "after the flood all is as before"


async def test_probes_and_documents_are_never_refused(running):
    admitted = running.client._transport.app._admission
    for gate in (admitted.reads, admitted.writes):
        gate._limit = lambda _: 0
        gate._most = 0
        gate._shedding = {None: 1e18, TENANT: 1e18}
        gate._waiting.count = lambda _: 10**6
    assert (await running.profile()).status_code == 503
    assert (await running.client.get("/api/v1/customers")).status_code == 503
    assert (await post(running, 1)).status_code == 503
    asked = await running.client.post("/api/v1/unified-profile", json={})
    assert (asked.status_code, asked.json()["code"]) == (503, "overloaded")
    for path in ("/health/live", "/health/ready", "/docs", "/openapi.json"):
        assert (await running.client.get(path)).status_code == 200


async def test_a_wrong_key_is_refused_from_memory_for_a_while(guarded, monkeypatch):
    access = guarded.services.access
    asked = []
    real = guarded.services.store.credential

    async def credential(credential_id):
        asked.append(credential_id)
        return await real(credential_id)

    monkeypatch.setattr(guarded.services.store, "credential", credential)
    made_up = str(keys.mint())
    headers = {"X-API-Key": made_up, "X-Tenant-Id": TENANT}
    for _ in range(20):
        assert (await guarded.client.get("/api/v1/customers", headers=headers)).status_code == 401
    assert len(asked) == 1
    good = await guarded.key("viewer")
    assert (await guarded.client.get("/api/v1/customers", headers={"X-API-Key": good})).status_code == 200
    access._credentials._refused.clear()
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.0)
    asked.clear()
    for _ in range(3):
        assert (await guarded.client.get("/api/v1/customers", headers=headers)).status_code == 401
    assert len(asked) == 3, "remembered for a while, not for ever"


async def test_made_up_keys_fill_no_memory_and_push_no_good_key_out(guarded, monkeypatch):
    monkeypatch.setattr(cache, "MAX_SIZE", 10)
    access = guarded.services.access
    good = {"X-API-Key": await guarded.key("viewer")}
    assert (await guarded.client.get("/api/v1/customers", headers=good)).status_code == 200
    for _ in range(50):
        wrong = {"X-API-Key": str(keys.mint())}
        assert (await guarded.client.get("/api/v1/customers", headers=wrong)).status_code == 401
    assert len(access._credentials._refused) <= 10
    assert len(access._credentials._credentials) == 1


async def test_unknown_keys_are_looked_up_few_at_a_time_and_do_not_delay_known_keys(guarded, monkeypatch):
    monkeypatch.setattr(strangers, "A_SECOND", 3.0)
    access = guarded.services.access
    access._credentials._strangers = strangers.Strangers(lambda: 0.0)
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(admission, "BURST_SECONDS", 0.05)
    good = {"X-API-Key": await guarded.key("viewer")}
    assert (await guarded.client.get("/api/v1/customers", headers=good)).status_code == 200

    async def ask(headers):
        return (await guarded.client.get("/api/v1/customers", headers=headers)).status_code

    wrong = [{"X-API-Key": str(keys.mint())} for _ in range(40)]
    answers = asyncio.gather(*map(ask, wrong))
    assert await ask(good) == 200
    counted = Counter(await answers)
    assert counted.keys() == {401, 503}
    assert counted[401] <= 3 + strangers.AT_ONCE
    assert await ask(good) == 200


async def test_callers_with_a_key_being_looked_up_share_the_lookup(guarded, monkeypatch):
    asked = []
    real = guarded.services.store.credential

    async def credential(credential_id):
        asked.append(credential_id)
        await asyncio.sleep(0.01)
        return await real(credential_id)

    monkeypatch.setattr(guarded.services.store, "credential", credential)
    headers = {"X-API-Key": await guarded.key("viewer")}
    answers = await asyncio.gather(*(guarded.client.get("/api/v1/customers", headers=headers) for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(asked) == 1


async def test_only_the_latest_tenants_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_SIZE", 3)
    names = [f"t{number}" for number in range(8)]
    async with service(tmp_path, tenants=names) as running:
        for name in names:
            answer = await running.client.get("/api/v1/customers", headers={"X-Tenant-Id": name})
            assert answer.status_code == 200
        assert list(running.services.access._tenants) == names[-3:]


async def test_a_bulk_of_links_is_written_in_pieces_between_which_others_have_their_turn(database, tmp_path):
    async with service(tmp_path, database=database) as running:
        store, pieces = running.services.store, []
        write = store.write

        async def counted(tenant, work):
            result = await write(tenant, work)
            pieces.append(len(result[1]))
            return result

        store.write = counted
        links = [
            {
                "customerId": f"c{number}",
                "section": "identities",
                "record": {"type": "device_id", "value": f"d{number}"},
            }
            for number in range(120)
        ]
        plain = [
            {"customerId": f"c{number}", "section": "interactions", "record": interaction(number)}
            for number in range(900)
        ]
        answer = await running.client.post(
            "/api/v1/records", content=ndjson(links + plain), headers={"content-type": "application/x-ndjson"}
        )
        assert answer.json()["recorded"] == 1020
        assert pieces[:2] == [MAX_CHUNK // LINK_WEIGHT] * 2
        assert sum(pieces) == 1020
        assert max(pieces) <= MAX_CHUNK


async def test_a_bulk_beyond_a_tenants_limit_is_refused(running, monkeypatch):
    places = running.client._transport.app._admission.long
    taken = [places.hold(TENANT) for _ in range(admission.MOST_LONG_OF_ONE)]
    for slot in taken:
        slot.__enter__()
    answer = await running.client.post("/api/v1/records", json=[])
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    taken[0].__exit__(None, None, None)
    assert (await running.client.post("/api/v1/records", json=[])).status_code == 200


@asynccontextmanager
async def served(running):
    """Serve a service's application on a socket, in this process; yield its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(running.client._transport.app, http=protocol(Limits()), lifespan="off", log_config=None)
    uvicorn_server = uvicorn.Server(config)
    serving = asyncio.ensure_future(uvicorn_server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        uvicorn_server.should_exit = True
        await serving


async def sent(port, number):
    """Post a record on a connection of its own; return the connection."""
    body = json.dumps(interaction(number)).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST /api/v1/customers/c1/interactions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Tenant-Id: {TENANT}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return reader, writer


async def until(holds):
    """Wait, for long if need be, until a condition is true."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # the server's state sends no event
            await asyncio.sleep(0.005)


async def test_nothing_is_done_for_a_client_that_left_while_it_waited(database, tmp_path, caplog):
    async with service(tmp_path, database=database) as running, served(running) as port:
        gate = running.client._transport.app._admission.writes
        limit = gate._limit
        gate._limit = lambda _: 0
        gate._most = 0
        clients = [await sent(port, number) for number in range(12)]
        await until(lambda: gate.waiting == 12)
        for _, writer in clients[::2]:
            writer.close()
        await until(lambda: gate.waiting == 6)
        gate._limit = limit
        gate.nudge()
        for reader, writer in clients[1::2]:
            assert b" 201 " in await reader.readline()
            writer.close()
        page = await running.listed("interactions", limit=100)
        assert {row["record"]["id"] for row in page["data"]} == {f"ih_{number:03}" for number in range(1, 12, 2)}
        assert "Exception" not in caplog.text


async def test_a_waiting_record_is_dropped_when_its_client_leaves(tmp_path):
    async with service(tmp_path) as running, served(running) as port:
        lock = apsw.Connection(str(tmp_path / "portrait.db"))
        lock.execute("BEGIN IMMEDIATE")
        together = running.services.recorder._together
        first = await sent(port, 0)
        await until(lambda: together._under_way)
        waiting = [await sent(port, number) for number in range(1, 5)]
        await until(lambda: len(together._waiting[TENANT]) == 4)
        for _, writer in waiting[:3]:
            writer.close()
        await until(lambda: len(together._waiting[TENANT]) == 1)
        lock.execute("ROLLBACK")
        lock.close()
        for reader, writer in (first, waiting[3]):
            assert b" 201 " in await reader.readline()
            writer.close()
        page = await running.listed("interactions", limit=100)
        assert {row["record"]["id"] for row in page["data"]} == {"ih_000", "ih_004"}


async def test_a_bulk_stops_when_its_client_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr("portrait.api.bulk.MAX_CHUNK", 10)
    async with service(tmp_path) as running, served(running) as port:
        body = ndjson(
            {"customerId": "c1", "section": "interactions", "record": interaction(number)} for number in range(100)
        )
        lock = apsw.Connection(str(tmp_path / "portrait.db"))
        lock.execute("BEGIN IMMEDIATE")
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"POST /api/v1/records HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Tenant-Id: {TENANT}\r\n"
            f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        places = running.client._transport.app._admission.long
        await until(lambda: places._taken[TENANT] == 1)
        await until(lambda: running.services.store._writer._expiring)
        writer.close()
        await until(lambda: not places._taken)
        lock.execute("ROLLBACK")
        lock.close()
        await running.recorded("interactions", interaction(500))
        page = await running.listed("interactions", limit=100)
        assert len(page["data"]) <= 11, "at most the piece that had begun"


async def test_repeated_floods_leave_no_memory_behind(database, tmp_path, monkeypatch):
    monkeypatch.setattr(admission, "MOST_WRITES", 4)
    monkeypatch.setattr(admission, "LEAST_WRITES", 4)
    async with service(tmp_path, database=database) as running, served(running) as port:
        admitted = running.client._transport.app._admission
        admitted.writes._waiting._most = 8
        tracemalloc.start()
        memory_sizes = []
        for _ in range(4):
            clients = [await sent(port, number) for number in range(60)]
            for number, (reader, writer) in enumerate(clients):
                if number % 3:
                    assert (await reader.readline()).split(b" ")[1] in {b"201", b"503"}
                writer.close()
            await until(lambda: admitted.writes.under_way == admitted.writes.waiting == 0)
            await until(lambda: not running.services.recorder._together._under_way)
            gc.collect()
            memory_sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert not leaving._waiting
        assert memory_sizes[3] - memory_sizes[1] < 200_000, memory_sizes
