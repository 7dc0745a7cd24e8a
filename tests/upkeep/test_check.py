"""The check judges each customer as it stands at a moment, and reports the rows it could not judge."""

import asyncio
import itertools
import random

import pytest

from harness import TENANT, portrait, service
from portrait.maintenance import walk
from portrait.model.document import STALE, stale
from portrait.model.identifier import customer
from portrait.model.time import rfc3339_millis, system_clock
from portrait.storage.conformance.support import by_key
from portrait.storage.contract import Changes

SEGMENT = {"segmentId": "s", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}
CLICK = {"id": "i", "interactionType": "click", "timestamp": "2026-05-01T00:00:00Z"}
PEOPLE = [f"c{n:02}" for n in range(12)]
QUIET = [f"q{n:02}" for n in range(6)]
"""No facts of these are recorded while a check is under way, but time goes on."""
ROUNDS = 3


async def write_records(running, customer_id, number, moments=3):
    """Record statuses that change with time every ten milliseconds, an event, and the end of an earlier one."""
    now = system_clock()
    later = [
        {"record": {**SEGMENT, "segmentId": f"s{number}.{ahead}"}, "effectiveAt": rfc3339_millis(now + ahead * 10_000)}
        for ahead in range(1, moments + 1)
    ]
    await running.recorded("segments", later, customer_id)
    await running.recorded("interactions", {**CLICK, "id": f"i{number}"}, customer_id)
    await running.client.delete(f"/api/v1/customers/{customer_id}/interactions/i{number - 3}")


async def traffic(running, done):
    """Record, merge, unmerge and refresh, until the event is set."""

    async def write(chosen):
        for number in itertools.count():
            if done.is_set():
                return
            await write_records(running, chosen.choice(PEOPLE), number)
            target, source = chosen.sample(PEOPLE, 2)
            for action in ("merge", "unmerge"):
                body = {"action": action, "targetId": target, "sourceId": source}
                answer = await running.client.post("/api/v1/identity", json=body)
                assert answer.status_code in {200, 201, 409, 422}, answer.text

    async def refresh():
        while not done.is_set():
            await running.services.upkeep.refresh()
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        group.create_task(write(random.Random(1)))
        group.create_task(write(random.Random(2)))
        group.create_task(refresh())


async def test_beside_traffic_there_are_no_differences(database, monkeypatch):
    monkeypatch.setattr(walk, "CHUNK", 2)
    async with service(None, database=database, clock=system_clock) as running:
        for customer_id in PEOPLE:
            await write_records(running, customer_id, 0)
        store = running.services.store
        listed = store.fact_identifiers

        async def slowly(*asked):
            """List as slowly as if there were many identifiers: meanwhile other tasks render anew."""
            await asyncio.sleep(0.1)
            return await listed(*asked)

        monkeypatch.setattr(store, "fact_identifiers", slowly)
        done = asyncio.Event()
        going = asyncio.ensure_future(traffic(running, done))
        try:
            for number in range(ROUNDS):
                for customer_id in QUIET:
                    await write_records(running, customer_id, number, moments=100)
                report = await running.services.upkeep.check()
                assert report.differences == []
                assert report.customers > 0
        finally:
            done.set()
            await going
        await running.checked()


@pytest.mark.parametrize("what", ["a customer's document", "one without ground"])
async def test_a_stale_document_is_to_be_rendered_and_no_difference(opened, what):
    await opened.recorded("segments", SEGMENT)
    name = "segments" if what == "a customer's document" else "journeys"
    store = opened.services.store
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(documents=by_key({"c1": [stale(name)]}))))
    await opened.checked()
    assert await opened.section(name) == ([SEGMENT] if name == "segments" else [])
    assert (await opened.services.upkeep.rebuild()).differences == []
    versions = {document.section: document.version for document in (await store.all_documents(TENANT, ["c1"]))["c1"]}
    assert STALE not in [version for section, version in versions.items() if section]
    assert ("journeys" in versions) is False


BADGES = '''
from typing import Annotated
from portrait import Record, Text, impersonal, register_profile_section


@register_profile_section("badges", key=("badge_id",), order="badge_id")
class Badge(Record, frozen=True):
    """Badges."""
    badge_id: Annotated[Text, impersonal]
'''
FAILING = BADGES.replace('order="badge_id"', "order=lambda record: 1 / len(record.badge_id[5:])")


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "badges.py"
    path.write_text(BADGES)
    return path


async def test_facts_and_documents_of_an_unregistered_section_are_counted_and_kept(database, plugin):
    async with service(None, database=database, plugins=(str(plugin),)) as running:
        await running.recorded("badges", [{"badgeId": "b1"}, {"badgeId": "b2"}])
        await running.recorded("badges", {"badgeId": "b3"}, "c2")
        await running.recorded("segments", SEGMENT, "c2")
        store = running.services.store
        await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(documents=by_key({"c2": [stale("badges")]}))))
    async with service(None, database=database, tenants=()) as without:
        store = without.services.store
        before = await store.all_documents(TENANT, ["c1", "c2"])
        for report in (await without.services.upkeep.check(), await without.services.upkeep.rebuild()):
            assert report.differences == []
            assert {name: (counts.facts, counts.documents) for name, counts in report.unregistered.items()} == {
                "badges": (3, 2)
            }
        assert await store.all_documents(TENANT, ["c1", "c2"]) == before


async def test_a_section_whose_code_raises_is_reported_and_does_not_stop_the_rest(database, plugin):
    plugin.write_text(BADGES)
    async with service(None, database=database, plugins=(str(plugin),)) as running:
        for customer_id, badge in (("c1", "short"), ("c2", "longer")):
            await running.recorded("badges", {"badgeId": badge}, customer_id)
            await running.recorded("segments", SEGMENT, customer_id)
        store = running.services.store
        await store.write(
            TENANT, lambda tx: tx.apply(TENANT, Changes(documents=dict.fromkeys(("c1", name) for name in ["segments"])))
        )
        await store.write(
            TENANT, lambda tx: tx.apply(TENANT, Changes(states=dict.fromkeys([(customer("c2"), "segments")])))
        )
    plugin.write_text(FAILING)
    async with service(None, database=database, plugins=(str(plugin),), tenants=()) as running:
        service_upkeep, store = running.services.upkeep, running.services.store
        for report in (await service_upkeep.check(), await service_upkeep.rebuild()):
            assert report.failed == {"badges": 1}
            differences = sorted(
                (difference.kind, difference.section, difference.reason) for difference in report.differences
            )
            assert ("document", "segments", "missing") in differences
            assert ("state", "segments", "missing") in differences
        report = await service_upkeep.check()
        assert (report.differences, report.failed) == ([], {"badges": 1})
        versions = {
            document.section: document.version for document in (await store.all_documents(TENANT, ["c1"]))["c1"]
        }
        assert (versions["badges"], versions["segments"]) == (STALE, 2)
    plugin.write_text(BADGES)
    async with service(None, database=database, plugins=(str(plugin),), tenants=()) as running:
        await running.checked()
        running.client.headers["X-Tenant-Id"] = TENANT
        assert await running.section("badges", "c1") == [{"badgeId": "short"}]


async def test_the_command_reports_unchecked_sections_and_its_exit_code_tells_faults(tmp_path, plugin):
    database = tmp_path / "portrait.db"
    async with service(tmp_path, plugins=(str(plugin),)) as running:
        await running.recorded("badges", {"badgeId": "short"})
    checked = portrait("db", "check", database=database)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "1 facts and 1 documents of section badges could not be checked" in checked.stdout
    plugin.write_text(FAILING)
    checked = portrait("db", "check", "--plugin", str(plugin), database=database)
    assert checked.returncode == 1
    assert "section badges of 1 customers could not be checked: its own code raises an error" in checked.stdout
