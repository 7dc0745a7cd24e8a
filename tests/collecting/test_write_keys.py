"""Write keys are made for a named source, with origins and a rate, and listed as what they are."""

import asyncio

import httpx
import pytest

from collecting.conftest import Sender
from harness import TENANT, service
from portrait.access.grants import MAX_EVENTS_PER_SECOND, MAX_ORIGINS, grant_of
from portrait.api import collect
from portrait.collecting import collector
from portrait.ingest import records
from portrait.model.errors import InvalidParameter

EVENT = {"type": "track", "messageId": "m1", "userId": "u1", "event": "Seen", "timestamp": "2026-06-01T11:00:00Z"}


async def made(served, status, **fields):
    answer = await served.client.post("/api/v1/keys", json={"role": "collector", **fields})
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_an_administrator_makes_a_write_key_over_http(served):
    key = await made(served, 201, source="web", origins=["https://shop.example"], eventsPerSecond=5, name="page")
    assert (key["role"], key["source"], key["origins"], key["eventsPerSecond"]) == (
        "collector", "public:web", ["https://shop.example"], 5,
    )  # fmt: skip
    await Sender(served, key["key"]).batch(EVENT)
    private = await made(served, 201, source="shop", private=True)
    assert (private["source"], private["origins"], private["eventsPerSecond"]) == ("shop", [], 1000)
    listed = (await served.client.get("/api/v1/keys")).json()["data"]
    assert sorted(one["source"] for one in listed) == ["public:web", "shop"]


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"role": "editor", "source": "web"}, {"role": "viewer", "private": True}, {"role": "admin", "origins": []},
        {"role": "editor", "eventsPerSecond": 7}, {"source": "web", "eventsPerSecond": 0},
        {"source": "web", "eventsPerSecond": MAX_EVENTS_PER_SECOND + 1},
    ],
)  # fmt: skip
async def test_what_goes_with_write_keys_alone_is_refused_elsewhere(served, fields):
    await made(served, 422, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"source": ""}, {"source": "public:web"}, {"source": "a b"}, {"source": "web", "origins": ["shop.example"]},
        {"source": "web", "origins": ["https://shop.example/path"]}, {"source": "web", "origins": ["*"]},
    ],
)  # fmt: skip
async def test_a_source_or_an_origin_that_breaks_its_rule_is_refused(served, fields):
    await made(served, 400, **fields)


def test_a_grant_is_within_its_bounds():
    origins = tuple(f"https://{number}.example" for number in range(MAX_ORIGINS + 1))
    assert grant_of("web", origins=origins[1:], events_per_second=MAX_EVENTS_PER_SECOND).origins == origins[1:]
    for wrong in ({"origins": origins}, {"events_per_second": 0}, {"events_per_second": MAX_EVENTS_PER_SECOND + 1}):
        with pytest.raises(InvalidParameter):
            grant_of("web", **wrong)


async def test_a_write_key_ends_when_it_is_said_to(served):
    services = served.services
    minted = await services.access.create_key(
        TENANT, "collector", grant=grant_of("web"), expires_at=served.clock.now + 1_000_000
    )
    web = Sender(served, str(minted.key))
    await web.batch(EVENT)
    served.clock.advance(2)
    assert (await web.post("/v1/batch", {"batch": [EVENT]})).status_code == 401


async def test_a_platform_key_is_no_write_key(tmp_path):
    async with service(tmp_path, auth="keys") as served:
        web = Sender(served, await served.key("platform", None))
        assert (await web.post("/v1/batch", {"batch": [EVENT]})).status_code == 401


async def test_a_body_that_stops_arriving_is_to_be_sent_again(web, monkeypatch):
    monkeypatch.setattr(collect, "BODY_SECONDS", 0.05)

    async def slowly():
        yield b'{"batch":['
        await asyncio.sleep(5)
        yield b"]}"

    request = httpx.Request("POST", "http://localhost/v1/batch", headers=web.headers, content=slowly())
    answer = await web.served.client.send(request)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_busy")
    assert "retry-after" in answer.headers


async def test_of_a_large_refused_event_the_beginning_is_kept(web, monkeypatch):
    monkeypatch.setattr(collector, "MAX_KEPT", 100)
    await web.batch(EVENT | {"event": None, "properties": {"text": "x" * 1000}})
    assert [len(one.body) for one in await web.rejects()] == [100]


async def test_an_event_larger_than_any_record_is_kept_apart(web, monkeypatch):
    monkeypatch.setattr(records, "MAX_LINE", 2000)
    answer = await web.batch(EVENT | {"properties": {"text": "x" * 2000}}, EVENT | {"messageId": "m2"})
    assert answer["refused"] == 1
    assert [one.code for one in await web.rejects()] == ["body_too_large"]
    assert len(await web.served.section("interactions", "u1")) == 1


async def test_many_events_are_recorded_in_transactions_of_some(web, monkeypatch):
    monkeypatch.setattr(collector, "MAX_CHUNK", 10)
    taken = []
    each = web.served.services.recorder.record_each

    async def record_each(tenant, incoming):
        taken.append(len(incoming))
        return await each(tenant, incoming)

    monkeypatch.setattr(web.served.services.recorder, "record_each", record_each)
    await web.batch(*(EVENT | {"messageId": f"m{number}"} for number in range(35)))
    assert taken == [10, 10, 10, 5]
