"""Collecting, measured: made events, and that what they are compared with is the same work."""

import asyncio
import base64
import json

from bench import report
from bench.events import IDENTIFY, SOURCE, Events, batch, lines, ndjson
from bench.floors.copying import copied, rows
from bench.groups.collecting import BATCH, RECORDS
from bench.measure import Series
from bench.ours import EVENTS_PER_SECOND, Portrait
from bench.population import TENANT, customer_id
from harness import service
from portrait.access.grants import grant_of
from portrait.model import time
from portrait.model.identifier import customer

USERS = 7


def test_every_event_is_new_and_one_in_ten_says_traits():
    events = Events(USERS, 1)
    made = events.some(BATCH) + events.some(BATCH)
    for field in ("messageId", "timestamp"):
        assert len({event[field] for event in made}) == len(made)
    assert [event["type"] for event in made] == ["identify", *["track"] * (IDENTIFY - 1)] * (len(made) // IDENTIFY)
    assert {event["userId"] for event in made} == {customer_id(index) for index in range(USERS)}


def test_what_a_source_said_of_somebody_is_said_anew_each_time():
    said = [event["traits"] for event in Events(1, 1).some(BATCH) if event["type"] == "identify"]
    for name in said[0]:
        assert len({traits[name] for traits in said}) == len(said)


def test_a_customers_events_are_of_something_done():
    events = Events(USERS, 1)
    made = [events.tracked(index) for index in range(USERS) for _ in range(IDENTIFY)]
    assert {event["type"] for event in made} == {"track"}
    assert len({event["messageId"] for event in made}) == len(made)


async def told(tmp_path, path, body, headers):
    """Send a body to a service of its own, and return its answer and all facts but for when they were recorded."""
    async with service(tmp_path, tenants=(TENANT,), clock=time.system_clock) as served:
        grant = grant_of(SOURCE, private=True, events_per_second=EVENTS_PER_SECOND)
        key = (await served.services.access.create_key(TENANT, "collector", grant=grant)).key
        credential = {"authorization": f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"} if not headers else {}
        answer = await served.client.post(path, content=body, headers={**headers, **credential})
        facts = await served.services.store.facts(TENANT, [customer(customer_id(index)) for index in range(USERS)])
    return answer.json(), sorted(
        (fact.identifier, fact.section, fact.key, fact.effective_at, fact.source, fact.op, fact.body) for fact in facts
    )


async def test_events_and_the_bulk_beside_them_make_the_same_facts(tmp_path):
    events = Events(USERS, 1).some(BATCH)
    for name in ("collected", "bulk"):
        (tmp_path / name).mkdir()
    answer, collected = await told(tmp_path / "collected", "/v1/batch", batch(events), {})
    assert answer == {"success": True, "received": BATCH, "refused": 0}
    answer, recorded = await told(
        tmp_path / "bulk", "/api/v1/records", ndjson(events), {"content-type": "application/x-ndjson"}
    )
    assert answer == {"recorded": RECORDS, "duplicates": 0, "refused": []}
    assert collected == recorded
    assert len(collected) == RECORDS


def test_as_many_rows_are_copied_as_events_make_records():
    assert len(rows()) == RECORDS == sum(1 for event in Events(USERS, 1).some(BATCH) for _ in lines(event))


def test_rows_are_copied(postgres_url):
    assert asyncio.run(copied(postgres_url, 2, 0.1)) > 0


def test_a_client_presents_its_key_and_nothing_else():
    head, _, body = Portrait("it", "", "an-admins-key").send("the-write-key", b"{}").partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    headers = dict(field.split(": ") for field in fields)
    assert first == "POST /v1/batch HTTP/1.1"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"the-write-key:"
    assert "X-Tenant-Id" not in headers
    assert json.loads(body) == {}


def test_a_collector_is_no_bar_among_profiles():
    series = {name: Series(name, "", [1.0]) for name in ("peer.handwritten", "peer.handwritten.collect")}
    assert [name for name in series if report._is_full(name)] == ["peer.handwritten"]
