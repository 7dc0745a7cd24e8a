"""The refresh goes on until nothing is due, whatever fails on the way, and beside others that do the same."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from harness import START, TENANT, ndjson
from portrait import projection
from portrait.maintenance import refresh
from portrait.maintenance.service import Upkeep
from portrait.model.document import STALE, Document
from portrait.model.errors import StorageBusy
from portrait.model.time import HOUR, rfc3339
from portrait.projection import Overtaken
from portrait.storage.conformance.support import by_key
from portrait.storage.contract import Changes

MANY = 60
SEGMENT = {"segmentId": "s", "segmentName": "what nobody may read in a log", "memberSince": "2026-01-15T00:00:00Z"}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Bounds of a tenth and less of the usual ones: the same holds for larger ones."""
    monkeypatch.setattr(refresh, "LOOK", 20)
    monkeypatch.setattr(refresh, "STEP", 5)


def ids(mark="c"):
    return [f"{mark}{number:03}" for number in range(MANY)]


async def due_later(opened, customer_ids, hours=1):
    """Record a segment of each customer that shows some hours from now, so that its document is due then."""
    lines = [
        {
            "customerId": customer_id,
            "section": "segments",
            "record": SEGMENT,
            "effectiveAt": rfc3339(START + hours * HOUR),
        }
        for customer_id in customer_ids
    ]
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await opened.client.post("/api/v1/records", content=ndjson(lines), headers=headers)
    assert answer.json()["recorded"] == len(lines), answer.text


async def segment_documents(opened, customer_ids):
    """Return each customer's stored document of segments."""
    documents = await opened.services.store.all_documents(TENANT, customer_ids)
    return {
        customer_id: document
        for customer_id, rows in documents.items()
        for document in rows
        if document.section == "segments"
    }


async def due(opened):
    return await opened.services.store.due(["segments"], opened.clock(), 1000)


async def test_documents_due_together_are_rendered_in_one_run(opened):
    await due_later(opened, ids())
    opened.clock.advance(2 * 3600)
    assert len(await due(opened)) == MANY
    assert await opened.services.upkeep.refresh() == MANY
    assert await due(opened) == []
    assert all(
        SEGMENT["segmentName"].encode() in document.body
        for document in (await segment_documents(opened, ids())).values()
    )
    await opened.checked()


async def test_services_that_refresh_at_once_render_each_document_once(opened):
    await due_later(opened, ids())
    opened.clock.advance(2 * 3600)
    services = opened.services
    both = [services.upkeep, Upkeep(services.store, services.registry, opened.clock, Overtaken())]
    rendered = await asyncio.gather(*(upkeep.refresh() for upkeep in both))
    assert sum(rendered) == MANY
    assert min(rendered) > MANY // 10, "one did it all"
    await opened.checked()


@pytest.fixture
def failing(opened, monkeypatch):
    """Make the fold of segments raise where a record's source is `bad`, as a plugin's may."""
    fold = opened.services.registry.stored("segments").fold
    render = fold.render

    def broken(state, now):
        if any("bad" in history for history in state.histories):
            raise ValueError(SEGMENT["segmentName"])
        return render(state, now)

    @asynccontextmanager
    async def while_failing():
        with monkeypatch.context() as patched:
            patched.setattr(fold, "render", broken)
            yield

    return while_failing


async def test_a_failing_document_is_set_aside_for_good_reported_once_and_delays_no_other(opened, failing, caplog):
    bad, good = ids("bad"), ids("good")
    await due_later(opened, bad, hours=1)
    await due_later(opened, good, hours=2)
    opened.clock.advance(3 * 3600)
    async with failing():
        assert await opened.services.upkeep.refresh() == len(good)
        assert await due(opened) == []
        assert {document.version for document in (await segment_documents(opened, bad)).values()} == {STALE}
        log_records = [record for record in caplog.records if record.name == "portrait.upkeep"]
        assert len(log_records) == 1
        assert log_records[0].levelno == logging.ERROR
        assert f"{len(bad)} documents of section segments" in log_records[0].getMessage()
        assert "ValueError in broken, line" in log_records[0].getMessage()
        assert log_records[0].exc_info is None
        assert SEGMENT["segmentName"] not in caplog.text
        caplog.clear()
        services = opened.services
        restarted = Upkeep(services.store, services.registry, opened.clock, Overtaken())
        assert await restarted.refresh() == 0
        assert caplog.records == []
    # Mended: a read shows it, and notes it for the next refresh.
    assert await opened.section("segments", bad[0]) == [SEGMENT]
    assert await opened.services.upkeep.refresh() == 1
    assert (await segment_documents(opened, bad[:1]))[bad[0]].version != STALE
    assert (await opened.services.upkeep.rebuild()).differences == []
    await opened.checked()


async def test_a_document_that_is_overtaken_at_once_is_set_aside(opened, monkeypatch, caplog):
    await due_later(opened, ids())
    opened.clock.advance(2 * 3600)
    monkeypatch.setattr(opened.services.registry.stored("segments").fold, "render", lambda state, now: ([], now))
    assert await opened.services.upkeep.refresh() == 0
    assert await due(opened) == []
    assert f"{MANY} documents of section segments" in caplog.text


async def test_a_document_of_a_busy_customer_is_skipped_and_stays_due(opened, monkeypatch):
    await due_later(opened, ids())
    opened.clock.advance(2 * 3600)
    busy = set(ids()[::7])
    render = refresh.rendered

    async def held_by_another(tx, tenant, customer_id, *more):
        if customer_id in busy:
            raise StorageBusy("The database is busy with another writer; nothing was kept. Try again.")
        return await render(tx, tenant, customer_id, *more)

    with monkeypatch.context() as patched:
        patched.setattr(refresh, "rendered", held_by_another)
        assert await opened.services.upkeep.refresh() == MANY - len(busy)
        assert {customer_id for _, customer_id, _ in await due(opened)} == busy
        busy.update(ids())
        with pytest.raises(StorageBusy):
            await opened.services.upkeep.refresh()
    assert await opened.services.upkeep.refresh() == len(ids()[::7])


async def test_no_document_is_written_of_an_empty_section(opened):
    """A read finds a document overtaken; then the identifier belongs to another customer, or to none."""
    await due_later(opened, ["c1"])
    await opened.recorded(
        "interactions", {"id": "i", "interactionType": "click", "timestamp": "2026-05-01T00:00:00Z"}, "c2"
    )
    for customer_id, section in (("c2", "segments"), ("c1", "journeys"), ("nobody", "segments")):
        opened.services.upkeep._refresher._overtaken.note(TENANT, customer_id, section)
    before = await opened.services.store.all_documents(TENANT, ["c1", "c2", "nobody"])
    assert await opened.services.upkeep.refresh() == 0
    assert await opened.services.store.all_documents(TENANT, ["c1", "c2", "nobody"]) == before
    await opened.checked()


async def test_a_refresh_after_an_unmerge_writes_nothing_unfounded(opened):
    await due_later(opened, ["b"])
    await opened.recorded(
        "interactions", {"id": "i", "interactionType": "click", "timestamp": "2026-05-01T00:00:00Z"}, "a"
    )

    async def act(action):
        body = {"action": action, "targetId": "a", "sourceId": "b"}
        answer = await opened.client.post("/api/v1/identity", json=body)
        assert answer.status_code in {200, 201}, answer.text

    await act("merge")
    opened.clock.advance(2 * 3600)
    assert await opened.section("segments", "a") == [SEGMENT]
    await act("unmerge")
    await opened.services.upkeep.refresh()
    assert "a" not in await segment_documents(opened, ["a"])
    await opened.checked()


@pytest.mark.parametrize("whose", ["a customer without states", "nobody"])
async def test_an_unfounded_due_document_is_removed(opened, whose):
    customer_ids = ids() if whose == "nobody" else ["c1"]
    if whose != "nobody":
        await opened.recorded(
            "interactions", {"id": "i", "interactionType": "click", "timestamp": "2026-05-01T00:00:00Z"}
        )
    await due_later(opened, ["last"])
    stray = Document("segments", b"[]", b"", START, 1)
    await opened.services.store.write(
        TENANT,
        lambda tx: tx.apply(TENANT, Changes(documents=by_key({customer_id: [stray] for customer_id in customer_ids}))),
    )
    opened.clock.advance(2 * 3600)
    assert await opened.services.upkeep.refresh() == len(customer_ids) + 1
    assert (await segment_documents(opened, [*customer_ids, "last"])).keys() == {"last"}
    await opened.checked()


async def test_refresh_stops_when_it_is_asked_to(opened, monkeypatch):
    await due_later(opened, ids())
    opened.clock.advance(2 * 3600)
    begun = asyncio.Event()
    monkeypatch.setattr(refresh._Round, "left", lambda self, due: begun.set() or due)
    refreshing = asyncio.ensure_future(opened.services.upkeep.refresh())
    await begun.wait()
    await asyncio.sleep(0)
    refreshing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await refreshing
    monkeypatch.undo()
    assert await opened.services.upkeep.refresh() >= MANY // 2
    await opened.checked()


def test_overtaken_documents_noticed_by_reads_are_remembered_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(projection, "MAX_OVERTAKEN", 2)
    overtaken = Overtaken()
    for _ in range(2):
        for name in ("a", "b", "c"):
            overtaken.note(TENANT, name, "segments")
        assert overtaken.take() == [(TENANT, "a", "segments"), (TENANT, "b", "segments")]
