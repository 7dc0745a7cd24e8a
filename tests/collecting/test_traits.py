"""What clients say of people: each trait an attribute of its source, told once."""

import pytest

from harness import TENANT
from portrait.model.identifier import customer

AT = "2026-06-01T11:00:00Z"


def identify(number=1, at=AT, user="u1", **traits):
    return {"type": "identify", "messageId": f"i{number}", "userId": user, "timestamp": at, "traits": traits}


async def attributes(sender, user="u1"):
    return {one["name"]: one["value"] for one in await sender.served.section("attributes", user)}


async def facts(sender, section="attributes", user="u1"):
    every = await sender.served.services.store.facts(TENANT, [customer(user)])
    return [fact for fact in every if fact.section == section]


async def test_traits_are_attributes_under_their_names_for_a_person(server):
    address = {"street": "6 Main St", "city": "Springfield", "postalCode": "94107", "state": "CA", "country": "US"}
    await server.batch(
        identify(
            firstName="Ann",
            lastName="Doe",
            birthday="1990-01-02",
            company={"name": "Initech"},
            address=address,
            plan="free",
            logins=5,
            tags=["a"],
        )
    )
    assert await attributes(server) == {
        "given_name": "Ann", "family_name": "Doe", "birth_date": "1990-01-02", "company": {"name": "Initech"},
        "address_street": "6 Main St",
        "address_locality": "Springfield", "address_postal_code": "94107", "address_region": "CA",
        "address_country": "US", "plan": "free", "logins": 5, "tags": ["a"],
    }  # fmt: skip


async def test_an_address_in_a_form_of_its_own_stays_whole(server):
    await server.batch(
        identify(address={"street": "6 Main St", "floor": 3}), identify(2, user="u2", address="6 Main St")
    )
    assert await attributes(server) == {"address": {"street": "6 Main St", "floor": 3}}
    assert await attributes(server, "u2") == {"address": "6 Main St"}


async def test_a_group_is_an_attribute(server):
    group = {"type": "group", "messageId": "g1", "userId": "u1", "groupId": 99, "traits": {"name": "Initech"}}
    await server.batch(group)
    assert await attributes(server) == {"group": {"groupId": "99", "traits": {"name": "Initech"}}}


@pytest.mark.parametrize("is_public", [True, False])
async def test_a_trait_that_its_source_said_last_is_no_news_whenever_it_is_said(web, server, is_public):
    sender = web if is_public else server
    for number, at in enumerate((AT, AT, "2026-06-01T11:30:00Z", "2026-06-01T10:00:00Z", "2026-05-01T00:00:00Z")):
        await sender.batch(identify(number, at, plan="free"))
    assert len(await facts(sender)) == 1


async def test_an_older_word_that_comes_late_does_not_count(server):
    await server.batch(
        identify(1, "2026-06-01T11:00:00Z", plan="pro"), identify(2, "2026-06-01T10:00:00Z", plan="free")
    )
    assert await attributes(server) == {"plan": "pro"}


async def test_words_of_one_moment_count_in_their_order(server):
    await server.batch(identify(1, plan="a"), identify(2, plan="b"), identify(3, plan="c"))
    assert await attributes(server) == {"plan": "c"}


async def test_traits_in_the_context_are_read_of_an_identify_alone(server):
    context = {"traits": {"plan": "free"}}
    track = {"type": "track", "messageId": "m1", "userId": "u1", "event": "Seen", "context": context}
    await server.batch(track)
    assert await attributes(server) == {}
    await server.batch({"type": "identify", "messageId": "m2", "userId": "u1", "context": context})
    assert await attributes(server) == {"plan": "free"}


async def test_a_trait_that_cannot_be_kept_costs_no_other(server):
    answer = await server.batch(identify(plan="free", **{"": 1}, note="x" * 2**20))
    assert answer["refused"] == 1
    assert await attributes(server) == {"plan": "free"}
    [reject] = await server.rejects()
    assert (reject.code, reject.identifiers) == ("body_too_large", (customer("u1"),))
