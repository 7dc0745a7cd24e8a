"""The events of PostHog's clients become records exactly once."""

import base64
import gzip
import json
from urllib.parse import quote

import pytest

from portrait.collecting import posthog

AT = "2026-06-01T11:00:00.430807+00:00"
UUID = "018f3f5c-1111-7000-8000-00000000000"
LIBRARY = {"$lib": "posthog-python", "$lib_version": "7.91.1", "$is_server": True, "$geoip_disable": True}


def event(name="Order Completed", n=1, **more):
    return {"event": name, "uuid": f"{UUID}{n}", "timestamp": AT, "distinct_id": "u1", "properties": LIBRARY} | more


def says(**properties):
    return {"properties": LIBRARY | {f"${name}": value for name, value in properties.items()}}


def body(sender, *events, **more):
    return {"batch": list(events), "historical_migration": False, "sent_at": AT, "api_key": sender.key} | more


async def post(sender, content, path="/batch/"):
    answer = await sender.post(path, content, headers={})
    assert answer.status_code == 200, answer.text
    return answer.json()


def read(one):
    return posthog.read(json.dumps(one).encode(), None)


async def test_an_event_is_an_interaction_without_what_tells_of_the_library(web):
    given = says(current_url="https://shop.example/a?token=1", referrer="$direct", groups={"company": "acme"})
    given["properties"] |= {"total": 19.9, "token": web.key, "distinct_id": "u1"}
    answer = await post(web, body(web, event(**given)))
    assert answer == {"success": True, "received": 1, "refused": 0, "status": 1}
    assert await web.served.section("interactions", "u1") == [
        {
            "id": f"public:web:{UUID}1", "offerId": None, "channelId": None, "interactionType": "Order Completed",
            "timestamp": "2026-06-01T11:00:00.430807Z",
            "properties": {"total": 19.9, "url": "https://shop.example/a", "groups": {"company": "acme"}},
        }
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["/batch/", "/batch", "/capture/", "/e/", "/i/v0/e/", "/e/?ip=0&ver=1.449.2"])
@pytest.mark.parametrize("kind", ["batch", "list", "single"])
async def test_every_path_takes_every_form_with_the_key_where_it_stands(web, path, kind):
    one = event()
    forms = {
        "batch": body(web, one),
        "list": [one | {"properties": {"token": web.key}}],
        "single": one | {"api_key": web.key},
    }
    assert (await post(web, forms[kind], path))["refused"] == 0
    assert len(await web.served.section("interactions", "u1")) == 1


@pytest.mark.parametrize("form", ["gzip", "base64"])
async def test_what_pages_send_packed_is_unpacked_though_no_header_says_so(web, form):
    content = json.dumps(body(web, event())).encode()
    packed = gzip.compress(content) if form == "gzip" else b"data=" + quote(base64.b64encode(content), "").encode()
    await post(web, packed, "/e/?compression=base64" if form == "base64" else "/e/")
    assert len(await web.served.section("interactions", "u1")) == 1


@pytest.mark.parametrize("content", [b"data=%%%", b'{"batch": 1}', b"1", b"{"])
async def test_a_body_without_events_is_refused_for_good(web, content):
    answer = await web.post("/batch/", content)
    assert answer.status_code in {400, 422}
    assert answer.json()["message"]


async def test_a_retry_is_the_same_event(web):
    for sent in (AT, "2026-06-01T11:30:00Z"):
        await post(web, body(web, event(), sent_at=sent))
        await post(web, {key: value for key, value in event(api_key=web.key, sent_at=sent).items() if key != "uuid"})
    assert len(await web.served.section("interactions", "u1")) == 2


@pytest.mark.parametrize(
    "given",
    [
        says(process_person_profile=False),
        says(is_identified=False, process_person_profile=True),
        says(device_id="u1"),
    ],
)
async def test_an_id_of_a_device_is_no_users(web, given):
    await post(web, body(web, event(**given)))
    assert await web.owner("customer_id", "u1") is None
    owner = await web.owner("anonymous_id", "u1")
    assert len(await web.served.section("interactions", owner)) == 1


async def test_an_identified_users_device_is_not_theirs_alone(web):
    await post(web, body(web, event(**says(device_id="d1", is_identified=True, process_person_profile=True))))
    assert await web.owner("customer_id", "u1") == "u1"
    assert await web.owner("anonymous_id", "d1") is None


async def test_the_id_of_a_page_stands_among_its_properties(web):
    one = event(properties={"token": web.key, "distinct_id": "u2", "$is_identified": True})
    del one["distinct_id"]
    await post(web, body(web, one), "/e/")
    assert len(await web.served.section("interactions", "u2")) == 1


async def test_identify_joins_a_device_and_says_who_somebody_is(server):
    before = event("$pageview", 1, distinct_id="d1", **says(is_identified=False, device_id="d1"))
    identify = event("$identify", 2, **says(anon_distinct_id="d1", is_identified=False))
    identify["$set"] = {"email": "ann@shop.example.org"}
    await post(server, body(server, before, identify), "/e/")
    assert await server.owner("anonymous_id", "d1") == "u1"
    assert await server.owner("email", "ann@shop.example.org") == "u1"
    [shown] = await server.served.section("interactions", "u1")
    assert shown["interactionType"] == "page"


def test_what_is_set_is_said_of_the_person_beside_or_among_properties():
    given = event("$set", **says(set={"plan": "pro", "$creator": 1}, set_once={"since": "2026-01-01", "plan": "free"}))
    given |= {"$set": {"city": "Bath"}, "$set_once": {"$initial_referrer": "$direct", "city": "Ely"}}
    assert read(given).traits == {"plan": "pro", "since": "2026-01-01", "city": "Bath"}
    assert read(given).kind == "identify"
    assert read(event("$set_once", **{"$set_once": {"since": 1}})).traits == {"since": 1}


async def test_what_any_event_sets_is_said_of_the_person_too(server):
    await post(server, body(server, event(**says(set={"email": "ann@shop.example.org"}))))
    assert await server.owner("email", "ann@shop.example.org") == "u1"
    assert len(await server.served.section("interactions", "u1")) == 1


async def test_an_alias_joins_what_was_before_to_the_user(web):
    given = {"properties": {"distinct_id": "d1", "alias": "u1"}, "distinct_id": "d1"}
    assert (await post(web, body(web, event("$create_alias", **given))))["refused"] == 0
    assert await web.owner("anonymous_id", "d1") == "u1"


def test_a_group_has_its_id_its_type_and_what_is_set_of_it():
    given = says(group_type="company", group_key="acme", group_set={"size": 11})
    group = read(event("$groupidentify", **given))
    assert (group.kind, group.group_id, group.traits) == ("group", "acme", {"size": 11, "groupType": "company"})
    assert (group.user_id, group.anonymous_id) == ("u1", None)


def test_an_id_that_is_made_up_to_describe_a_group_is_no_users():
    given = says(group_type="company", group_key="acme")
    made_up = read(event("$groupidentify", distinct_id=f"{UUID}7", **given))
    assert (made_up.user_id, made_up.anonymous_id) == (None, f"{UUID}7")
    given["properties"]["$is_identified"] = True
    assert read(event("$groupidentify", distinct_id=f"{UUID}7", **given)).user_id == f"{UUID}7"


async def test_a_screen_has_its_name(web):
    await post(web, body(web, event("$screen", **says(screen_name="Home"))))
    [shown] = await web.served.section("interactions", "u1")
    assert (shown["interactionType"], shown["properties"]) == ("screen", {"name": "Home"})


async def test_a_bad_event_is_kept_apart_and_costs_no_other(web):
    bad = [
        event(n=2, distinct_id=None), event(None, 3), event(n=4, timestamp="soon"), event("$create_alias", 5), "none",
        event("$groupidentify", 6, distinct_id="$company_acme", **says(group_key="acme")), event(n=7, distinct_id=""),
    ]  # fmt: skip
    for _ in range(2):
        answer = await post(web, body(web, *bad, event()))
        assert answer == {"success": True, "received": len(bad) + 1, "refused": len(bad), "status": 1}
    assert len(await web.served.section("interactions", "u1")) == 1
    rejects = await web.rejects()
    assert [one.form for one in rejects] == ["posthog"] * len(bad)
    assert "An event needs a `distinct_id` of somebody, and `$create_alias` an `alias`." in {
        one.detail for one in rejects
    }


@pytest.mark.parametrize("key", [5, ["phc_a"], "", None])
async def test_what_is_no_text_is_no_key(web, key):
    answer = await web.post("/batch/", body(web, event(), api_key=key), headers={})
    assert answer.status_code == 401


async def test_an_unknown_key_is_refused_and_not_shown(web):
    answer = await web.post("/batch/", body(web, event(), api_key="phc_wrong"), headers={})
    assert answer.status_code == 401
    assert "phc_wrong" not in answer.text
