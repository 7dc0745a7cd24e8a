"""The events of Snowplow's clients become records exactly once."""

import base64
import json
from urllib.parse import urlencode

import pytest

from portrait.collecting import snowplow
from portrait.collecting.request import SentRequest

TP2 = "/com.snowplowanalytics.snowplow/tp2"
SCHEMA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
DTM = "1780311600965"
SHOWN_AT = "2026-06-01T11:00:00.965000Z"
DESCRIBED = {
    "schema": "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
    "data": {"schema": "iglu:org.example/add_to_basket/jsonschema/1-0-0", "data": {"sku": "ü?>-1", "n": 2}},
}


def event(e="pv", n=1, **more):
    fields = {"e": e, "eid": f"5f4ac0aa-0000-4000-8000-00000000000{n}", "dtm": DTM, "stm": "1780311600000", "uid": "u1"}
    return fields | {"aid": "app", "tna": "t", "p": "web", "tv": "py-1.1.0", "ua": "x", "ip": "192.0.2.1"} | more


def body(*events):
    return {"schema": SCHEMA, "data": list(events)}


def in_base64(value, padded=True):
    encoded = base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
    return encoded if padded else encoded.rstrip("=")


async def post(sender, *events, **options):
    answer = await sender.post(TP2, body(*events), **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def read(one):
    return snowplow.read(json.dumps(one).encode(), None)


async def test_a_page_view_is_a_page(web):
    page = {
        "url": "https://shop.example/a?token=1",
        "refr": "https://a.example/",
        "page": "Home",
        "cx": "e30",
        "co": "{}",
    }
    assert await post(web, event(**page)) == {"success": True, "received": 1, "refused": 0}
    assert await web.served.section("interactions", "u1") == [
        {
            "id": "public:web:5f4ac0aa-0000-4000-8000-000000000001", "offerId": None, "channelId": None,
            "interactionType": "page", "timestamp": SHOWN_AT,
            "properties": {"url": "https://shop.example/a", "referrer": "https://a.example/", "name": "Home"},
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    "held",
    [
        {"ue_pr": json.dumps(DESCRIBED)},
        {"ue_px": in_base64(DESCRIBED)},
        {"ue_px": in_base64(DESCRIBED, padded=False)},
    ],
)
def test_a_self_describing_event_has_the_name_of_its_schema(held):
    made = read(event("ue", **held))
    assert (made.kind, made.name, made.properties) == ("track", "add_to_basket", {"sku": "ü?>-1", "n": 2})


def test_a_screen_view_is_a_screen():
    data = {"schema": "iglu:com.snowplowanalytics.mobile/screen_view/jsonschema/1-0-0", "data": {"name": "Home"}}
    made = read(event("ue", ue_pr=json.dumps(DESCRIBED | {"data": data})))
    assert (made.kind, made.name) == ("screen", "Home")


@pytest.mark.parametrize(
    ("given", "name", "properties"),
    [
        (
            {"e": "se", "se_ca": "shop", "se_ac": "add", "se_la": "", "se_pr": "pcs", "se_va": "2.5"},
            "add",
            {"category": "shop", "property": "pcs", "value": 2.5},
        ),
        ({"e": "pp", "url": "https://shop.example/", "page": "Home", "pp_mix": "0"}, "page_ping",
         {"url": "https://shop.example/", "title": "Home"}),
        ({"e": "tr", "tr_id": "o1", "tr_tt": "19.90", "tr_tx": "x", "tr_sh": "NaN", "tr_cu": "EUR"}, "transaction",
         {"orderId": "o1", "total": 19.9, "tax": "x", "shipping": "NaN", "currency": "EUR"}),
        ({"e": "ti", "ti_id": "o1", "ti_sk": "007", "ti_nm": "Pot", "ti_pr": "1e3", "ti_qu": "2"}, "transaction_item",
         {"orderId": "o1", "sku": "007", "name": "Pot", "price": 1000, "quantity": 2}),
    ],
)  # fmt: skip
def test_other_types_have_names_and_fields_in_words(given, name, properties):
    made = read(event(**given))
    assert (made.kind, made.name, made.properties) == ("track", name, properties)
    assert str(made.properties) == str(properties), "whole numbers are whole"


def test_a_moment_that_the_caller_gives_goes_before_the_clients():
    assert read(event(ttm="1780311500000")).at == 1780311500000 * 1000
    assert read(event()).at == int(DTM) * 1000


async def test_a_clock_that_is_ahead_is_set_right_by_when_it_was_sent(web):
    await post(web, event(dtm="1780318800965", stm="1780318805000"))  # an hour ahead of the service
    [shown] = await web.served.section("interactions", "u1")
    assert shown["timestamp"].startswith("2026-06-01T11:59:55.96")


@pytest.mark.parametrize(
    "given", [{"duid": "d1", "tnuid": "x", "nuid": "y"}, {"tnuid": "d1", "nuid": "y"}, {"nuid": "d1"}]
)
async def test_a_device_is_linked_with_its_user(web, given):
    await post(web, event(n=1, uid="", **given), event(n=2, **given))
    assert await web.owner("anonymous_id", "d1") == "u1"
    assert len(await web.served.section("interactions", "u1")) == 2
    assert await web.owner("anonymous_id", "y") is None


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/i", "/i/"])
async def test_a_query_is_an_event(web, method, path):
    query = urlencode(event("ue", aid=web.key, ue_px=in_base64(DESCRIBED)))
    answer = await web.served.client.request(method, f"{path}?{query}")
    assert (answer.status_code, answer.json()["refused"]) == (200, 0)
    [shown] = await web.served.section("interactions", "u1")
    assert shown["properties"] == {"sku": "ü?>-1", "n": 2}


def test_of_a_parameter_that_comes_twice_the_first_counts():
    assert SentRequest(b"", {}, b"e=pv&e=pp&aid=&url=%ff").query == {"e": "pv", "aid": "", "url": "\ufffd"}


async def test_the_application_id_is_the_key_only_where_there_is_no_other(web):
    assert (await post(web, event(aid=web.key), headers={}))["refused"] == 0
    assert (await post(web, event(aid="app")))["refused"] == 0
    query = urlencode(event() | {"writeKey": web.key})
    assert (await web.served.client.get(f"/i?{query}")).status_code == 200
    for content in (body(event()), body()):
        assert (await web.post(TP2, content, headers={})).status_code == 401


async def test_a_key_in_a_query_is_not_kept(web):
    query = urlencode(event("nothing") | {"writeKey": web.key})
    assert (await web.served.client.get(f"/i?{query}")).json()["refused"] == 1
    [kept] = await web.rejects()
    assert web.key.encode() not in kept.body


async def test_a_retry_is_the_same_event(web):
    for sent in ("1780311600000", "1780311660000"):
        await post(web, event(stm=sent))
        await post(web, {name: text for name, text in event(stm=sent).items() if name != "eid"})
    assert len(await web.served.section("interactions", "u1")) == 2


async def test_a_bad_event_is_kept_apart_and_costs_no_other(web):
    bad = [
        event("zz", 2), event("", 3), event(n=4, uid=None), event(n=5, dtm="soon"), event("se", 6), event("ue", 7),
        event("ue", 8, ue_px="%"), event("ue", 8, ue_px="ü"), event("ue", 8, ue_pr="{}"), event("ue", 8, ue_pr="{"),
        event(["pv"], 9), "none",
    ]  # fmt: skip
    for _ in range(2):
        answer = await post(web, *bad, event(url=[{}]))
        assert answer == {"success": True, "received": len(bad) + 1, "refused": len(bad)}
    assert len(await web.served.section("interactions", "u1")) == 1
    rejects = await web.rejects()
    assert [one.form for one in rejects] == ["snowplow"] * len(bad)
    assert "An event needs a `uid`, or one of `duid`, `tnuid` and `nuid`." in {one.detail for one in rejects}


@pytest.mark.parametrize("content", [b'{"data": 1}', b"1", b""])
async def test_a_body_without_events_is_refused_for_good(web, content):
    answer = await web.post(TP2, content)
    assert answer.status_code in {400, 422}
    assert answer.json()["message"]


async def test_a_page_may_send_cookies_along_and_read_the_answer(web):
    page = {"origin": "https://shop.example"}
    for answer in (
        await web.served.client.options(TP2, headers=page),
        await web.post(TP2, body(event()), headers=web.headers | page),
        await web.post(TP2, body(event()), headers=page),
    ):
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["vary"] == "Origin"
    answer = await web.served.client.options(TP2, headers=[(b"origin", b"https://\x85.example")])
    assert answer.status_code == 204
    answer = await web.served.client.options(TP2)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    answer = await web.served.client.options("/v1/batch", headers=page)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
