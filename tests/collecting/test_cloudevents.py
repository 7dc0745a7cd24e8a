"""CloudEvents in all three modes become records exactly once."""

import base64
import json
from urllib.parse import quote

import pytest

from portrait.collecting import cloudevents

PATH = "/v1/cloudevents"
STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
SOURCE = "https://shop.example/orders"


def event(id_="1", **more):
    attributes = {"specversion": "1.0", "id": id_, "source": SOURCE, "type": "example.shop.order.placed"}
    return attributes | {"subject": "u1", "time": "2026-06-01T11:00:00Z", "data": {"total": 19.9}} | more


async def post(sender, content, kind, **headers):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    return await sender.post(PATH, content, headers=sender.headers | {"content-type": kind} | headers)


async def taken(sender, content, kind, **headers):
    answer = await post(sender, content, kind, **headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def in_headers(one):
    return {f"ce-{name}": quote(value, "/: ") for name, value in one.items() if name != "data"}


async def in_binary(sender, one, kind="application/json", content=None):
    content = json.dumps(one["data"]).encode() if content is None else content
    return await taken(sender, content, kind, **in_headers(one))


def read(one):
    return cloudevents.read(json.dumps(one).encode(), None)


@pytest.mark.parametrize("mode", ["structured", "batched", "binary"])
async def test_an_event_in_every_mode_is_the_same_interaction(server, mode):
    one = event()
    for _ in range(2):
        if mode == "binary":
            answer = await in_binary(server, one)
        elif mode == "batched":
            answer = await taken(server, [one], f"{BATCHED}; charset=UTF-8")
        else:
            answer = await taken(server, one, STRUCTURED.upper())
        assert answer == {"success": True, "received": 1, "refused": 0}
    assert await server.served.section("interactions", "u1") == [
        {
            "id": f"shop:{SOURCE} 1", "offerId": None, "channelId": None, "timestamp": "2026-06-01T11:00:00Z",
            "interactionType": "example.shop.order.placed", "properties": {"total": 19.9},
        }
    ]  # fmt: skip


async def test_headers_that_a_gateway_adds_change_no_event_in_a_body(server):
    for content, kind in ((event("1"), STRUCTURED), ([event("2")], BATCHED)):
        await taken(server, content, kind, **{"ce-id": "9", "ce-subject": "u9"})
    assert len(await server.served.section("interactions", "u1")) == 2


async def test_attributes_in_headers_are_decoded(server):
    one = event(subject="Zo\u00eb \u20ac")
    await in_binary(server, one)
    headers = in_headers(event("2")) | {"ce-subject": r'"a \"b\" %E2%82%AC"'}
    await taken(server, one["data"], "application/json", **headers)
    assert await server.owner("customer_id", "Zo\u00eb \u20ac") is not None
    assert await server.owner("customer_id", 'a "b" \u20ac') is not None


@pytest.mark.parametrize(
    ("kind", "content", "properties"),
    [
        ("application/json", b"[1, NaN]", {"data": [1, None]}),
        ("application/vnd.example+json;charset=utf-8", b'{"a": 1}', {"a": 1}),
        ("text/plain", "ü".encode(), {"data": "ü"}),
        ("application/octet-stream", b"\x00", None),
        ("application/json", b"", None),
    ],
)
async def test_a_body_is_read_by_its_type(server, kind, content, properties):
    assert (await in_binary(server, event(), kind, content))["refused"] == 0
    [shown] = await server.served.section("interactions", "u1")
    assert shown.get("properties") == properties


async def test_a_body_without_a_type_is_json_where_it_can_be(server):
    for id_, content in (("1", b'{"a": 1}'), ("2", b"\x00")):
        answer = await server.post(PATH, content, headers=server.headers | in_headers(event(id_)))
        assert answer.json()["refused"] == 0
    shown = await server.served.section("interactions", "u1")
    assert sorted(str(one.get("properties")) for one in shown) == ["None", "{'a': 1}"]


def test_data_in_base64_is_read_by_its_type():
    def made(content, **more):
        encoded = {"data": None, "data_base64": base64.b64encode(content).decode()}
        return read(event(**encoded, **more)).properties

    assert made(b'{"a": 1}') == {"a": 1}
    assert made(b'{"a": 1}', datacontenttype="application/json") == {"a": 1}
    assert made(b"a", datacontenttype="text/plain") == {"data": "a"}
    assert made(b"\xff", datacontenttype="image/png") == {}


def test_the_user_and_the_device_stand_in_attributes_or_data():
    def made(**more):
        one = read(event(**more))
        return one.user_id, one.anonymous_id

    assert made() == ("u1", None)
    assert made(data={"userId": 7, "anonymousId": "d1"}) == ("7", "d1")
    assert made(userid="u2", anonymousid="d2", data={"userId": "x", "anonymousId": "y"}) == ("u2", "d2")
    assert made(subject=None, anonymousid="d2") == (None, "d2")
    assert read(event(data={"userId": 7, "anonymousId": "d1", "n": 1})).properties == {"n": 1}


async def test_events_of_two_sources_with_one_id_are_two(server):
    await taken(server, [event(), event(source="/other"), event(source="a b"), event(source="a", id="b 1")], BATCHED)
    assert len(await server.served.section("interactions", "u1")) == 4


def test_a_name_that_is_long_is_a_digest_of_it():
    assert read(event()).id == f"{SOURCE} 1"
    assert len(read(event("x" * 300)).id) == 32
    assert read(event("x" * 300)).id != read(event("x" * 301)).id


async def test_an_event_without_a_time_happened_when_it_is_received(server):
    for time in (None, ""):
        await taken(server, event(f"at {time}", time=time), STRUCTURED)
    shown = await server.served.section("interactions", "u1")
    assert len(shown) == 2
    assert all(one["timestamp"].startswith("2026-06-01T12:00:00") for one in shown)


def test_the_last_part_of_a_type_says_what_an_event_says():
    def made(type_, **data):
        return read(event(type=type_, data=data))

    identify = made("org.example.identify", userId="u1", name="Ann", plan="pro")
    assert (identify.kind, identify.traits) == ("identify", {"name": "Ann", "plan": "pro"})
    assert made("identify", traits={"plan": "pro"}, other=1).traits == {"plan": "pro"}
    group = made("org.example.group", groupId=99, traits={"size": 2})
    assert (group.kind, group.group_id, group.traits) == ("group", "99", {"size": 2})
    assert (made("x.alias", previousId="d1").kind, made("x.alias", previousId="d1").previous_id) == ("alias", "d1")
    page = made("x.page", name="Home", properties={"url": "/"})
    assert (page.kind, page.name, page.properties) == ("page", "Home", {"url": "/"})
    assert made("x.screen").kind == "screen"
    track = made("x.track", event="Order Completed", total=1, traits={"email": "old@shop.example.org"})
    assert (track.kind, track.name, track.traits) == ("track", "Order Completed", {})
    assert made("x.track").name == "x.track"
    unmapped = made("x.identified", traits={"a": 1}, properties={"b": 1}, event="e")
    assert (unmapped.kind, unmapped.name) == ("track", "x.identified")
    assert unmapped.properties == {"traits": {"a": 1}, "properties": {"b": 1}, "event": "e"}


async def test_an_event_that_says_who_somebody_is_links_them(server):
    given = event(type="org.example.identify", data={"traits": {"email": "ann@shop.example.org"}}, anonymousid="d1")
    await taken(server, given, STRUCTURED)
    assert await server.owner("email", "ann@shop.example.org") == "u1"
    assert await server.owner("anonymous_id", "d1") == "u1"


async def test_a_bad_event_is_kept_apart_and_costs_no_other(server):
    bad = [
        event("2", specversion="0.3"), event("3", specversion=1.0), event("4", specversion=None), event(None),
        event(""), event(5), event("6", source=None), event("7", type=""), event("8", subject=None), "none",
        event("9", time="soon"), event("10", data=None, data_base64="%"), event("11", data=None, data_base64=1),
        event("12", data=None, data_base64="ew==", datacontenttype="application/json"),
    ]  # fmt: skip
    for _ in range(2):
        answer = await taken(server, [*bad, event()], BATCHED)
        assert answer == {"success": True, "received": len(bad) + 1, "refused": len(bad)}
    assert len(await server.served.section("interactions", "u1")) == 1
    rejects = await server.rejects()
    assert [one.form for one in rejects] == ["cloudevents"] * len(bad)
    assert "An event needs a `subject`, a `userid` or an `anonymousid`." in {one.detail for one in rejects}


async def test_bad_events_in_headers_are_kept_apart(server):
    assert (await in_binary(server, event(), content=b"[{'a': None}]"))["refused"] == 1
    assert (await taken(server, {}, "application/json", **{"ce-id": "1"}))["refused"] == 1
    assert (await taken(server, b"", "text/plain", **in_headers(event()), **{"ce-data": "x"}))["refused"] == 0
    assert len(await server.rejects()) == 2
    [shown] = await server.served.section("interactions", "u1")
    assert "properties" not in shown


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"{", STRUCTURED), (b"[]", STRUCTURED), (b"{}", BATCHED), (b"[", BATCHED), (b"{}", "application/json")],
)
async def test_what_holds_no_event_is_refused_for_good(server, content, kind):
    answer = await post(server, content, kind)
    assert answer.status_code in {400, 422}
    assert answer.json()["message"]


async def test_a_key_in_an_event_is_none(server):
    answer = await server.post(PATH, event(writeKey=server.key), headers={"content-type": STRUCTURED})
    assert answer.status_code == 401
