"""A full disk: writes are refused and leave nothing, reads go on, and writes do again once there is room."""

import asyncio
import resource

import httpx
import pytest

import harness
from portrait.model.document import document
from portrait.model.errors import StorageFailed, StorageFull
from portrait.model.identifier import customer
from portrait.storage.conformance.support import TENANT, append, documents_of, fact, put_documents
from portrait.storage.contract import Changes

C = customer("c")
LARGE = b"x" * 100_000
MANY_PAGES = 2**31 - 2


async def limit_pages(store, room):
    """Let the writer's connection add so many pages and no more: beyond, SQLite reports a full disk."""

    async def work(tx):
        pages = room if room == MANY_PAGES else tx._connection.pragma("page_count") + room
        assert tx._connection.pragma("max_page_count", pages) == pages

    await store.write(TENANT, work)


async def kept(store):
    return {fact.recorded_at for fact in await store.facts(TENANT, [C])}


async def test_a_write_without_room_is_refused_and_nothing_of_it_is_kept(store):
    await put_documents(store, "c", document("segments", b"[1]", None, 1))
    await append(store, fact(C, 1))
    await limit_pages(store, 2)
    for number in range(2, 5):
        with pytest.raises(StorageFull, match="nothing was kept"):
            await append(store, fact(C, 10 * number), fact(C, number, body=LARGE), fact(C, 20 * number))
        assert await kept(store) == {1}
    assert [document.body for document in await documents_of(store, "c")] == [b"[1]"]
    assert await store.faults() == []


async def test_writes_that_need_no_room_and_reads_go_on_meanwhile(store):
    await put_documents(store, "c", document("segments", b"[1]", None, 1))
    await limit_pages(store, 0)
    with pytest.raises(StorageFull):
        await append(store, fact(C, 1, body=LARGE))
    await put_documents(store, "c", document("segments", b"[2]", None, 1))
    assert [document.body for document in await documents_of(store, "c")] == [b"[2]"]
    await store.ready()


async def test_writes_go_on_once_there_is_room(path, store):
    await limit_pages(store, 1)
    with pytest.raises(StorageFull):
        await append(store, fact(C, 1, body=LARGE))
    await limit_pages(store, MANY_PAGES)
    await append(store, fact(C, 2, body=LARGE))
    assert await kept(store) == {2}
    assert await store.faults() == []


@pytest.mark.parametrize("room", [0, 1, 3, 8, 20, 40])
async def test_of_many_writes_at_once_those_acknowledged_are_kept_and_the_others_are_not(store, room):
    await append(store, fact(C, 1000))
    await limit_pages(store, room)

    async def work(tx, number):
        await tx.apply(
            TENANT, Changes(facts=[fact(C, number), fact(C, 2000 + number, body=LARGE if number % 4 == 0 else b"{}")])
        )
        return number

    results = await asyncio.gather(
        *(store.write(TENANT, lambda tx, number=number: work(tx, number)) for number in range(40)),
        return_exceptions=True,
    )
    acknowledged = {result for result in results if isinstance(result, int)}
    assert {type(result) for result in results} <= {int, StorageFull, StorageFailed}
    assert StorageFull in {type(result) for result in results}
    assert await kept(store) == {1000} | acknowledged | {2000 + number for number in acknowledged}
    assert await store.faults() == []
    await limit_pages(store, MANY_PAGES)
    await append(store, fact(C, 9000))


async def test_work_that_goes_on_after_a_full_disk_keeps_nothing_either(store):
    await limit_pages(store, 1)

    async def stubborn(tx):
        with pytest.raises(StorageFull):
            await tx.apply(TENANT, Changes(facts=[fact(C, number, body=LARGE) for number in range(5)]))
        await tx.apply(TENANT, Changes(facts=[fact(customer("d"), 1)]))
        raise KeyError("its own")

    with pytest.raises(StorageFull):
        await store.write(TENANT, stubborn)
    assert await kept(store) == set()
    assert await store.facts(TENANT, [customer("d")]) == []


async def test_a_service_answers_503_with_retry_after_and_goes_on_when_there_is_room(tmp_path):
    async with harness.service(tmp_path) as running:
        await running.recorded("interactions", harness.interaction(1))
        await limit_pages(running.services.store, 0)
        large = harness.interaction(2, offerId="x" * 100_000)
        refused = await running.record("interactions", large)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "30"
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == "storage_full"
        assert [event["id"] for event in await running.section("interactions")] == ["ih_001"]
        await limit_pages(running.services.store, MANY_PAGES)
        await running.recorded("interactions", large)
        assert [event["id"] for event in await running.section("interactions")] == ["ih_002", "ih_001"]
        await running.checked()


def test_a_server_whose_files_may_not_grow_refuses_writes_and_goes_on_when_they_may(tmp_path):
    """The limit is the operating system's own: a write to the file fails in mid-transaction."""
    path = tmp_path / "portrait.db"
    assert harness.portrait("tenant", "create", harness.TENANT, database=path).returncode == 0
    with (
        harness.server(path, "--auth", "open") as (url, process),
        httpx.Client(base_url=url, headers={"X-Tenant-Id": harness.TENANT}, timeout=30) as client,
    ):
        acknowledged, refused = [], []

        def record(number):
            body = harness.interaction(number, offerId=f"{number}" * 20_000)
            answer = client.post("/api/v1/customers/c1/interactions", json=body)
            if answer.status_code == 201:
                acknowledged.append(body["id"])
                return True
            refused.append(body["id"])
            assert answer.status_code == 503
            assert answer.json()["code"] in {"storage_full", "storage_failed"}
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) > 0
            return False

        def stored_ids():
            answer = client.get("/api/v1/customers/c1/interactions", params={"limit": 100})
            assert answer.status_code == 200
            return sorted(stored_record["record"]["id"] for stored_record in answer.json()["data"])

        assert all(map(record, range(1, 6)))
        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        largest = max(file.stat().st_size for file in tmp_path.iterdir())
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest + 30_000, most))
        while len(refused) < 4 and len(acknowledged) < 80:
            record(len(acknowledged) + len(refused) + 1)
        assert len(refused) == 4
        assert stored_ids() == acknowledged
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        assert all(map(record, range(90, 95)))
        assert stored_ids() == sorted(acknowledged)
    checked = harness.portrait("db", "check", database=path)
    assert (checked.returncode, " 0 differences" in checked.stdout) == (0, True), checked.stdout + checked.stderr
