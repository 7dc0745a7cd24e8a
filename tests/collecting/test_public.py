"""A page's key is in everybody's hands: whoever has it joins no two people, undoes nothing and outdoes nobody."""

import pytest

from collecting.conftest import sender
from harness import TENANT
from portrait.model import time
from portrait.model.identifier import Identifier, customer

NOW = "2026-06-01T11:59:00Z"
EMAIL = {"type": "email", "value": "ann@shop.example.org"}


def identify(user, number=1, at=NOW, **more):
    return {"type": "identify", "messageId": f"i{number}", "userId": user, "timestamp": at} | more


def seen(number, **more):
    return {"type": "track", "messageId": f"t{number}", "event": "Seen", "timestamp": NOW} | more


def preferences(user, number, *, marketing, at=NOW):
    context = {"consent": {"categoryPreferences": {"marketing": marketing}}}
    return identify(user, number, at, context=context)


async def owner(of, type_, value):
    identifier = Identifier(type_, value)
    return (await of.served.services.store.resolve(TENANT, [identifier])).get(identifier)


async def status(of, user="u1"):
    return [one["status"] for one in await of.served.section("consent", user)]


@pytest.mark.parametrize("is_first", [True, False])
async def test_it_takes_nobodys_address_whoever_speaks_first(web, is_first):
    claim = identify("mallory", traits={"email": EMAIL["value"]})
    if is_first:
        await web.batch(claim)
    await web.served.recorded("identities", EMAIL, "ann", params={})
    if not is_first:
        await web.batch(claim)
    assert await owner(web, "email", EMAIL["value"]) == "ann"


async def test_it_joins_no_two_known_people(web):
    await web.served.recorded("identities", EMAIL, "ann")
    await web.served.recorded("identities", {**EMAIL, "value": "bob@shop.example.org"}, "bob")
    await web.batch(
        {"type": "alias", "messageId": "a1", "userId": "ann", "previousId": "bob"},
        {"type": "alias", "messageId": "a2", "userId": "ann", "previousId": "bob@shop.example.org"},
        identify("ann", 3, traits={"email": "bob@shop.example.org"}),
        identify("ann", 4, anonymousId="shared"), identify("bob", 5, anonymousId="shared"),
    )  # fmt: skip
    for user in ("ann", "bob"):
        assert await owner(web, "customer_id", user) == user
        assert await owner(web, "email", f"{user}@shop.example.org") == user


async def test_what_an_anonymous_id_did_shows_with_neither_of_two_users_of_it(web):
    await web.batch(seen(1, anonymousId="a1"), identify("u1", 2, anonymousId="a1"))
    assert len(await web.served.section("interactions", "u1")) == 1
    await web.batch(identify("u2", 3, anonymousId="a1"), seen(4, userId="u2", anonymousId="a1"))
    assert await web.served.section("interactions", "u1") == []
    assert [one["id"] for one in await web.served.section("interactions", "u2")] == ["public:web:t4"]
    await web.served.checked()


async def test_it_undoes_no_withdrawal_but_its_own(web, server):
    await server.batch(preferences("u1", 1, marketing=False, at="2026-06-01T10:00:00Z"))
    await web.batch(preferences("u1", 2, marketing=True))
    assert await status(web) == ["revoked"]
    await web.batch(preferences("u2", 3, marketing=False, at="2026-06-01T10:00:00Z"))
    await web.batch(preferences("u2", 4, marketing=True))
    assert await status(web, "u2") == ["granted"]
    other = await sender(web.served, "app")
    await other.batch(preferences("u2", 5, marketing=False))
    await web.batch(preferences("u2", 6, marketing=True, at="2026-06-01T11:59:30Z"))
    assert await status(web, "u2") == ["revoked"]


async def test_its_word_loses_to_every_other_sources(web, server):
    await server.batch(identify("u1", traits={"plan": "pro"}, at="2026-01-01T00:00:00Z"))
    await web.batch(identify("u1", traits={"plan": "free", "theme": "dark"}))
    shown = {one["name"]: (one["value"], one["source"]) for one in await web.served.section("attributes", "u1")}
    assert shown == {"plan": ("pro", "shop"), "theme": ("dark", "public:web")}


async def test_it_says_nothing_of_people_from_more_than_a_day_ago_but_what_happened_keeps_its_moment(web, server):
    old = "2026-01-01T00:00:00Z"
    for of in (web, server):
        await of.batch(identify("u1", at=old, traits={"plan": "free"}), seen(9, userId="u1", timestamp=old))
    every = await web.served.services.store.facts(TENANT, [customer("u1")])
    moments = {(fact.source, fact.section): fact.effective_at for fact in every}
    happened = time.parse(old)
    for kept in (("shop", "attributes"), ("shop", "interactions"), ("public:web", "interactions")):
        assert happened <= moments[kept] < happened + 1000
    now, day = web.served.clock.now, 24 * 3600 * 1_000_000
    assert now - day - 1000 <= moments["public:web", "attributes"] <= now - day


@pytest.mark.parametrize("field", ["source", "context"])
async def test_it_speaks_as_no_other_source(web, field):
    await web.batch(identify("u1", traits={"plan": "free"}, **{field: {"source": "crm"}}) | {"source": "crm"})
    [shown] = await web.served.section("attributes", "u1")
    assert shown["source"] == "public:web"


async def test_nobody_else_speaks_as_it_does(web):
    line = {"customerId": "u1", "section": "attributes", "record": {"name": "plan", "value": 1}, "source": "public:web"}
    answer = await web.served.client.post("/api/v1/records", json=[line])
    assert [one["code"] for one in answer.json()["refused"]] == ["invalid_record"]
