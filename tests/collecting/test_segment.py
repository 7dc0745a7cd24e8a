"""The events of Segment's family of clients, as each of them writes them, become records exactly once."""

import gzip
import json

import pytest

from portrait.model.identifier import Identifier

AT = "2026-06-01T11:00:00.000Z"


def track(id_="m1", **more):
    return {"type": "track", "messageId": id_, "userId": "u1", "event": "Order Completed", "timestamp": AT} | more


async def test_a_track_event_is_an_interaction_of_its_user(web):
    await web.batch(track(properties={"offer_id": "o1", "channelId": 7, "total": 19.9}))
    assert await web.served.section("interactions", "u1") == [
        {
            "id": "public:web:m1", "offerId": "o1", "channelId": "7", "interactionType": "Order Completed",
            "timestamp": "2026-06-01T11:00:00Z", "properties": {"total": 19.9},
        }
    ]  # fmt: skip


async def test_pages_and_screens_are_interactions_of_their_kind(web):
    page = {"url": "https://shop.example/a?token=1#x", "search": "?token=1", "referrer": "https://a.example/"}
    await web.batch(
        track("m1", type="page", name="Home", properties=page),
        track("m2", type="screen", name=None, properties=None, timestamp="2026-06-01T11:00:01Z"),
    )
    shown = await web.served.section("interactions", "u1")
    assert [(one["interactionType"], one.get("properties")) for one in shown] == [
        ("screen", None),
        ("page", {"url": "https://shop.example/a", "referrer": "https://a.example/", "name": "Home"}),
    ]


@pytest.mark.parametrize("user", ["", None, "absent"])
async def test_an_event_without_a_user_is_its_anonymous_ids(web, user):
    events = [track(f"m{n}", anonymousId=f"a{n}", userId=user) for n in (1, 2)]
    for event in events:
        if user == "absent":
            del event["userId"]
    await web.batch(*events)
    owners = [await resolved(web, "anonymous_id", f"a{n}") for n in (1, 2)]
    assert len(set(owners)) == 2
    assert len(await web.served.section("interactions", owners[0])) == 1


async def resolved(sender, type_, value):
    identifier = Identifier(type_, value)
    return (await sender.served.services.store.resolve("my-tenant", [identifier])).get(identifier)


async def test_numbers_as_ids_are_the_same_as_their_texts(web):
    await web.batch(track("m1", userId=7), track("m2", userId="7", timestamp="2026-06-01T11:00:01Z"))
    assert len(await web.served.section("interactions", "7")) == 2


async def test_an_event_that_is_sent_again_is_one_whatever_a_retry_changes(web):
    event = track(properties={"a": 1})
    for retry in ({}, {"sentAt": AT}, {"_metadata": {"retryCount": 3}}, {"properties": {"a": 2}}):
        await web.batch(event | retry)
    await web.post("/v1/t", event)
    shown = await web.served.section("interactions", "u1")
    assert [one["properties"] for one in shown] == [{"a": 1}]
    assert await web.rejects() == []


async def test_an_id_of_another_source_is_another_event(web, server):
    await web.batch(track())
    await server.batch(track())
    assert sorted(one["id"] for one in await web.served.section("interactions", "u1")) == ["public:web:m1", "shop:m1"]


async def test_an_event_without_an_id_is_one_however_often_it_is_sent(web):
    for sent in (AT, "2026-06-01T11:30:00Z"):
        await web.batch({key: value for key, value in track(sentAt=sent).items() if key != "messageId"})
    assert len(await web.served.section("interactions", "u1")) == 1


async def test_events_of_one_moment_keep_their_order_in_the_batch(web):
    await web.batch(*(track(f"{name}", event=name) for name in "zxyab"))
    shown = await web.served.section("interactions", "u1")
    assert [one["interactionType"] for one in reversed(shown)] == list("zxyab")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"timestamp": "2026-06-01 11:00:00"}, "2026-06-01T11:00:00Z"),
        ({"timestamp": 1780311600000}, "2026-06-01T11:00:00Z"),
        ({"timestamp": "2026-06-01T12:30:00.107+01:30"}, "2026-06-01T11:00:00.107000Z"),
        ({"timestamp": None, "originalTimestamp": AT}, "2026-06-01T11:00:00Z"),
        ({"timestamp": "2026-06-01T10:00:00Z", "originalTimestamp": AT}, "2026-06-01T10:00:00Z"),
        ({"timestamp": "1969-12-31T23:59:59Z"}, "1969-12-31T23:59:59Z"),
        ({"timestamp": "2026-06-01T13:00:00Z", "sentAt": "2026-06-01T13:00:05Z"}, "2026-06-01T11:59:55"),
        ({"timestamp": "2030-01-01T12:00:00+00:00"}, "2026-06-01T12:00:00"),
    ],
)
async def test_moments_in_every_form_that_clients_write(web, given, kept):
    await web.batch(track(**given))
    [shown] = await web.served.section("interactions", "u1")
    assert shown["timestamp"].startswith(kept.removesuffix("Z"))


async def test_values_that_no_store_keeps_cost_no_event(web):
    body = (
        b'{"batch":[{"type":"track","messageId":"m1","userId":"u1","event":"e","timestamp":"2026-06-01T11:00:00Z",'
        b'"properties":{"nan":NaN,"inf":-Infinity,"big":1180591620717411303424,"nul":"a\\u0000b","half":"\\ud800",'
        b'"large":1e+22,"zero":-0.0}},' + json.dumps(track("m2", timestamp="2026-06-01T11:00:01Z")).encode() + b"]}"
    )
    answer = await web.post("/v1/batch", body)
    assert answer.json() == {"success": True, "received": 2, "refused": 0}
    shown = await web.served.section("interactions", "u1")
    assert shown[1]["properties"] == {
        "nan": None, "inf": None, "big": "1180591620717411303424", "nul": "a\ufffdb", "half": "\ufffd", "large": 1e22,
        "zero": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("id_", ["x" * 300, "a\nb", "ü" * 200])
async def test_an_id_that_no_record_can_have_names_its_event_by_a_digest(web, id_):
    for _ in range(2):
        await web.batch(track(id_), track(f"{id_}2", timestamp="2026-06-01T11:00:01Z"))
    assert len(await web.served.section("interactions", "u1")) == 2
    assert await web.rejects() == []


async def test_a_bad_event_is_kept_apart_and_costs_no_other(web):
    bad = [
        track("m1", type="shout"), track("m2", userId=None), track("m3", event=None), track("m4", timestamp="soon"),
        track("m5", userId="undefined"), track("m6", type=["track"]), "no object", {"type": "group", "userId": "u1"},
        {"type": "alias", "userId": "u1"},
    ]  # fmt: skip
    answer = await web.batch(*bad, track("m9"))
    assert answer == {"success": True, "received": len(bad) + 1, "refused": len(bad)}
    assert len(await web.served.section("interactions", "u1")) == 1
    rejects = await web.rejects()
    assert {one.body for one in rejects} == {json.dumps(event, separators=(",", ":")).encode() for event in bad}
    assert {one.source for one in rejects} == {"public:web"}
    assert len(rejects) == len(bad)
    await web.batch(*bad)
    assert await web.rejects() == rejects


async def test_a_user_and_an_anonymous_id_are_linked(web):
    await web.batch(track("m0", userId=None, anonymousId="a1", timestamp="2026-06-01T10:00:00Z"))
    await web.batch({"type": "identify", "messageId": "m1", "userId": "u1", "anonymousId": "a1", "timestamp": AT})
    assert len(await web.served.section("interactions", "u1")) == 1
    assert await web.served.section("identities", "u1") == [{"type": "anonymous_id", "value": "a1", "confidence": 1.0}]


async def test_an_alias_of_itself_is_nothing_and_one_of_a_known_person_joins_nobody(web):
    await web.batch(track("m1"), track("m2", userId="u2"))
    answer = await web.batch(
        {"type": "alias", "messageId": "m3", "userId": "u1", "previousId": "u1"},
        {"type": "alias", "messageId": "m4", "userId": "u1", "previousId": "u2"},
        {"type": "alias", "messageId": "m5", "userId": "u1", "previousId": "a1"},
    )
    assert answer["refused"] == 0
    assert await resolved(web, "customer_id", "u2") == "u2"
    assert await resolved(web, "anonymous_id", "a1") == "u1"
    assert await resolved(web, "anonymous_id", "u2") is None


async def test_a_trait_that_is_an_identifier_is_linked(server):
    await server.batch(
        {
            "type": "identify",
            "messageId": "m1",
            "userId": "u1",
            "context": {"traits": {"email": "ann@shop.example.org"}},
        }
    )
    assert await resolved(server, "email", "ann@shop.example.org") == "u1"


@pytest.mark.parametrize("kind", ["track", "page"])
async def test_traits_that_a_client_repeats_are_not_said(server, kind):
    stale = {"email": "old@shop.example.org"}
    answer = await server.batch(track(type=kind, traits=stale, context={"traits": stale}))
    assert answer["refused"] == 0
    assert await server.owner("email", "old@shop.example.org") is None


async def test_a_change_of_consent_is_consent(server):
    context = {"consent": {"categoryPreferences": {"marketing": True, "ads": False, "odd": "yes"}}}
    await server.batch(track("m1", event="Segment Consent Preference Updated", context=context))
    shown = await server.served.section("consent", "u1")
    assert [(one["purpose"], one["status"]) for one in shown] == [("ads", "revoked"), ("marketing", "granted")]
    assert await server.served.section("interactions", "u1") == []


async def test_bodies_in_gzip_of_any_type_are_taken(web):
    body = gzip.compress(json.dumps({"batch": [track()]}).encode())
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/json;charset=UTF-8"):
        headers = web.headers | {"content-encoding": "gzip", "content-type": kind}
        assert (await web.post("/v1/batch", body, headers=headers)).status_code == 200
    assert len(await web.served.section("interactions", "u1")) == 1
