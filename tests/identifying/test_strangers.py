"""Strangers who share a placeholder or an uncertain number stay strangers, on every engine."""

import pytest

from harness import service
from identifying.acting import SEGMENT, act, bulk, each, evidence, line, owner, rules, tie


@pytest.fixture
async def anywhere(any_engine):
    async with service(None, database=any_engine) as running:
        yield running


async def parted(running, *tags):
    """Assert that identifiers belong to different people."""
    owners = [await owner(running, tag) for tag in tags]
    assert None not in owners
    assert len(set(owners)) == len(tags)


@pytest.mark.parametrize("value", ["0000000000", "7777777777", "5555555555", "1234567890", "555-5555"])
async def test_a_visitor_with_a_placeholder_for_a_phone_is_no_customer(anywhere, value):
    await rules(anywhere, {"region": "GB"})
    await bulk(anywhere, tie("A", f"phone:{value}"), tie("A", "email:a@example.org"))
    outcome = await bulk(anywhere, tie("cookie_id:c", "phone:" + "-".join((value[:3], value[3:]))))
    assert [warning["code"] for warning in outcome["warnings"]] == ["blocked_value"]
    await parted(anywhere, "A", "cookie_id:c")
    assert [identifier["type"] for identifier in await anywhere.section("identities", "A")] == ["email"]


@pytest.mark.parametrize(
    "value", ["ffffffff-ffff-ffff-ffff-ffffffffffff", "9774d56d682e549c", "{idfa}", "d41d8cd98f00b204e9800998ecf8427e"]
)
async def test_visitors_with_the_same_filler_for_a_device_are_not_one_person(anywhere, value):
    people = [*(f"cookie_id:c{number}" for number in range(15)), "A", "email:e@example.org"]
    await bulk(anywhere, *(tie(tag, f"device_id:{value}") for tag in people))
    await parted(anywhere, *people)
    await anywhere.checked()


@pytest.mark.parametrize(("region", "value"), [("US", "555-0123"), (None, "020 7946 0018"), ("GB", "0000 123456")])
async def test_an_uncertain_number_is_shown_once_and_joins_nobody(anywhere, region, value):
    """It is shown for the customer who gave it first, and stays theirs when they are linked for another reason."""
    await rules(anywhere, {"region": region})
    people = ["A", "B", *(f"cookie_id:c{number}" for number in range(4))]
    first, *others = [await bulk(anywhere, tie(tag, f"phone:{value}")) for tag in people]
    doubt = "invalid_phone" if region == "GB" else "unreadable_phone"
    assert [warning["code"] for warning in first["warnings"]] == [doubt]
    assert [[warning["code"] for warning in other["warnings"]] for other in others] == [[doubt, "uncertain_value"]] * 5
    await parted(anywhere, *people)
    assert [identifier["value"] for identifier in await anywhere.section("identities", "A")] == [value]
    assert await anywhere.section("identities", "B") == []
    await bulk(anywhere, tie("A", "cookie_id:c0"))
    assert await owner(anywhere, "cookie_id:c0") == await owner(anywhere, f"phone:{value}") == "A"
    await anywhere.checked()


async def test_facts_about_an_uncertain_value_are_refused(anywhere):
    body = [line("phone:555-0123", "segments", SEGMENT), line("email:see notes", "segments", SEGMENT)]
    answer = (await anywhere.client.post("/api/v1/records", json=body)).json()
    assert (answer["recorded"], [refusal["code"] for refusal in answer["refused"]]) == (0, ["blocked_identifier"] * 2)
    assert "+ and the country code" in answer["refused"][0]["detail"]


async def test_a_person_may_link_or_accept_an_uncertain_number(anywhere):
    await each(anywhere, tie("cookie_id:B", "phone:555-0123"), tie("cookie_id:C", "phone:555-0124"))
    await act(anywhere, "link", canonicalId="B", identifiers=["phone:555-0123"])
    assert await owner(anywhere, "cookie_id:B") == "B"
    await each(anywhere, tie("C", "phone:555-0124"))
    assert await owner(anywhere, "phone:555-0124") == "C", "what a customer gives goes before what a cookie does"
    await parted(anywhere, "C", "cookie_id:C")
    await act(anywhere, "accept", identifier="cookie_id:C", other="phone:555-0124")
    assert await owner(anywhere, "cookie_id:C") == "C"
    await anywhere.checked()


async def test_visitors_who_log_in_as_undefined_are_not_one_customer(anywhere):
    visitors = [f"cookie_id:v{number}" for number in range(6)]
    lines = [tie(visitor, "undefined") for visitor in visitors]
    lines += [tie(visitor, f"email:v{number}@example.org") for number, visitor in enumerate(visitors)]
    outcome = await bulk(anywhere, *lines)
    assert [warning["code"] for warning in outcome["warnings"]] == ["blocked_value"] * 6
    await parted(anywhere, *visitors)


@pytest.mark.parametrize("name", ["NULL", "0", "undefined"])
async def test_a_customer_id_that_means_none_is_recorded_with_a_warning_and_linked_with_nothing(anywhere, name):
    outcome = await anywhere.recorded(
        "identities", [evidence(f"email:e{number}@example.org") for number in range(3)], name
    )
    assert {(warning["index"], warning["code"]) for warning in outcome["warnings"]} == {
        (number, code) for number in range(3) for code in ("null_customer_id", "blocked_value")
    }
    assert await anywhere.section("identities", name) == []
    outcome = await anywhere.recorded("segments", SEGMENT, name)
    assert outcome["warnings"] == [{"index": 0, "code": "null_customer_id"}]
    answer = await anywhere.client.put("/api/v1/identity/rules", json={"allowedValues": [name.lower()]})
    assert answer.status_code == 200
    assert "warnings" not in await anywhere.recorded("identities", evidence("email:f@example.org"), name)
    assert len(await anywhere.section("identities", name)) == 1
    await anywhere.checked()


async def test_a_customer_id_that_means_none_names_no_customer(anywhere):
    outcome = await anywhere.recorded("identities", evidence("customer_id:null"), "A")
    assert [warning["code"] for warning in outcome["warnings"]] == ["blocked_value"]
    assert await owner(anywhere, "null") is None
    await anywhere.checked()
