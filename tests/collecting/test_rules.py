"""A tenant's rules say which properties name offers and channels, what of a request is kept, what CloudEvents are."""

import json

import pytest

from harness import TENANT, portrait, service
from portrait.access import cache

TRACK = {"type": "track", "messageId": "m1", "userId": "u1", "event": "Seen", "timestamp": "2026-06-01T11:00:00Z"}
PATH = "/api/v1/collecting/rules"
SHORT = {"url": "https://shop.example/a", "list": ["https://shop.example/b"]}


async def put(sender, status=200, **rules):
    answer = await sender.served.client.put(PATH, json=rules)
    assert answer.status_code == status, answer.text
    return answer.json()


async def shown(sender, user="u1"):
    return await sender.served.section("interactions", user)


async def test_rules_are_shown_and_left_out_ones_are_the_default(web):
    default = {
        "offerProperties": ["offerId", "offer_id"], "channelProperties": ["channelId", "channel_id"], "keep": [],
        "eventTypes": {},
    }  # fmt: skip
    assert (await web.served.client.get(PATH)).json() == default
    assert await put(web, keep=["ip"]) == default | {"keep": ["ip"]}
    assert (await web.served.client.get(PATH)).json() == default | {"keep": ["ip"]}
    assert await put(web) == default


async def test_properties_of_the_tenants_choice_name_offers_and_channels(web):
    await put(web, offerProperties=["promotion_id", "promo"], channelProperties=["utm"])
    await web.batch(TRACK | {"properties": {"promo": "p1", "offer_id": "o1", "utm": "mail"}})
    [one] = await shown(web)
    assert (one["offerId"], one["channelId"], one["properties"]) == ("p1", "mail", {"offer_id": "o1"})


@pytest.mark.parametrize(
    ("keep", "properties"),
    [
        ([], {"url": "https://shop.example/a", "list": ["https://shop.example/b"]}),
        (["ip"], {"url": "https://shop.example/a", "list": ["https://shop.example/b"], "ip": "203.0.113.7"}),
        (
            ["userAgent"],
            {"url": "https://shop.example/a", "list": ["https://shop.example/b"], "userAgent": "Browser/1"},
        ),
        (["query"], {"url": "https://shop.example/a?b=1#c", "list": ["https://shop.example/b?d"], "search": "?b=1"}),
    ],
)
async def test_of_a_request_is_kept_what_the_tenant_lists(web, keep, properties):
    await put(web, keep=keep)
    given = {"url": "https://shop.example/a?b=1#c", "search": "?b=1", "list": ["https://shop.example/b?d"]}
    context = {"ip": "203.0.113.7", "userAgent": "Browser/1"}
    await web.batch(TRACK | {"properties": given, "context": context})
    assert [one["properties"] for one in await shown(web)] == [properties]


async def test_a_cloudevent_of_a_mapped_type_is_a_record_of_its_section(server):
    await put(server, eventTypes={"com.shop.segment.joined": "segments"})
    event = {
        "specversion": "1.0", "id": "1", "source": "/crm", "subject": "u1", "time": "2026-05-01T00:00:00Z",
        "data": {"segmentId": "s1", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"},
    }  # fmt: skip
    events = [event | {"type": type_, "id": type_} for type_ in ("com.shop.segment.joined", "com.shop.other")]
    bad = events[0] | {"id": "2", "data": {"segmentId": "s2"}}
    headers = server.headers | {"content-type": "application/cloudevents-batch+json"}
    for _ in range(2):
        answer = await server.post("/v1/cloudevents", json.dumps([*events, bad]).encode(), headers=headers)
        assert answer.json()["refused"] == 1
    assert [one["segmentId"] for one in await server.served.section("segments", "u1")] == ["s1"]
    assert [one["interactionType"] for one in await shown(server)] == ["com.shop.other"]
    assert [one.code for one in await server.rejects()] == ["invalid_record"]


@pytest.mark.parametrize("data", [5, None, {"a": 1}, [1], {"type": "email", "value": ["x"]}])
async def test_a_cloudevent_whose_data_is_no_record_of_its_section_is_kept_apart(server, data):
    await put(server, eventTypes={"t": "identities"})
    event = {"specversion": "1.0", "id": "1", "source": "/crm", "subject": "u1", "type": "t", "data": data}
    headers = server.headers | {"content-type": "application/cloudevents+json"}
    answer = await server.post("/v1/cloudevents", json.dumps(event).encode(), headers=headers)
    assert (answer.status_code, answer.json()["refused"]) == (200, 1)
    assert [one.code for one in await server.rejects()] == ["invalid_record"]


async def test_what_a_new_mapping_mends_is_taken_when_it_is_replayed(server):
    await put(server, eventTypes={"t": "segments"})
    event = {"specversion": "1.0", "id": "1", "source": "/crm", "subject": "u1", "type": "t", "data": {"a": 1}}
    headers = server.headers | {"content-type": "application/cloudevents+json"}
    await server.post("/v1/cloudevents", json.dumps(event).encode(), headers=headers)
    await put(server)
    answer = await server.served.client.post("/api/v1/rejects", json={"action": "replay"})
    assert answer.json() == {"taken": 1, "refused": 0}
    assert [one["properties"] for one in await shown(server)] == [{"a": 1}]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"keep": ["cookies"]}, "`keep`"), ({"offerProperties": [""]}, "`offerProperties`"),
        ({"offerProperties": "promo"}, "`offerProperties`"), ({"eventTypes": {"t": "nowhere"}}, "`eventTypes`"),
        ({"eventTypes": {"": "segments"}}, "`eventTypes`"), ({"offers": []}, "offerProperties"),
        ({"channelProperties": ["x"] * 101}, "`channelProperties`"),
        ({"keep": ["ip"], "eventTypes": []}, "`eventTypes`"),
    ],
)  # fmt: skip
async def test_rules_that_break_their_schema_are_refused_and_change_nothing(web, rules, words):
    problem = await put(web, 422, **rules)
    assert (problem["code"], words in problem["detail"]) == ("invalid_rules", True), problem
    assert "cookies" not in problem["detail"]
    assert (await web.served.client.get(PATH)).json()["keep"] == []


async def test_rules_that_are_too_long_are_refused(web):
    await put(web, 422, eventTypes={f"{'t' * 200}{number}": "segments" for number in range(400)})


async def test_rules_of_another_process_take_effect(tmp_path, monkeypatch):
    async with service(tmp_path) as served, service(tmp_path, tenants=()) as other:
        monkeypatch.setattr(cache, "FRESH_SECONDS", 0.0)
        assert (await served.services.collector.rules(TENANT)).keep == ()
        await other.services.collector.set_rules(TENANT, b'{"keep":["ip"]}')
        assert (await served.services.collector.rules(TENANT)).keep == ("ip",)


def test_the_command_line_shows_and_sets_rules(tmp_path):
    path, file = tmp_path / "portrait.db", tmp_path / "rules.json"
    assert portrait("tenant", "create", TENANT, database=path).returncode == 0
    file.write_text('{"keep": ["query"]}')
    done = portrait("collecting", "rules", "--tenant", TENANT, "--file", str(file), database=path)
    assert json.loads(done.stdout)["keep"] == ["query"]
    done = portrait("collecting", "rules", "--tenant", TENANT, database=path)
    assert json.loads(done.stdout)["keep"] == ["query"]
    done = portrait("collecting", "rules", "--tenant", TENANT, "--default", database=path)
    assert json.loads(done.stdout)["keep"] == []
    file.write_text('{"keep": 7}')
    done = portrait("collecting", "rules", "--tenant", TENANT, "--file", str(file), database=path)
    assert (done.returncode, done.stdout) == (1, "")
