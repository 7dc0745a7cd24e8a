"""What evidence does: which identifiers it joins, which id stays, why it is refused, and what profiles show."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness import TENANT, interaction, service
from identifying.acting import (
    AT,
    FREE,
    SEGMENT,
    act,
    bulk,
    each,
    evidence,
    explained,
    line,
    owner,
    rules,
    stored_state,
    tie,
    visible_documents,
)
from portrait.api import bulk as api_bulk
from portrait.ingest.records import Parser
from portrait.model.identifier import Identifier, is_generated
from portrait.writes import neighbourhood, regrouping
from portrait.writes.unit_of_work import UnitOfWork


@pytest.fixture
async def free(running):
    await rules(running, FREE)
    return running


async def warned(running, customer_id, *records):
    answer = await running.recorded("identities", list(records), customer_id)
    return [(warning["index"], warning["code"]) for warning in answer.get("warnings", [])]


# --- unknown identifiers ---


async def test_an_identifier_that_nobody_knows_gets_a_profile_until_a_customer_id_claims_it(running):
    await bulk(running, line("device_id:d", "interactions", interaction(1)))
    made = await owner(running, "device_id:d")
    assert is_generated(made)
    assert (await running.profile(made)).json()["customerId"] == made
    assert await running.section("identities", made) == [evidence("device_id:d")]
    await bulk(running, tie("c1", "device_id:d"))
    assert await owner(running, "device_id:d") == await owner(running, made) == "c1"
    assert [event["id"] for event in await running.section("interactions")] == ["ih_001"]
    assert await running.section("identities") == [evidence("device_id:d")], "no id of our own making is shown"
    answer = await running.profile(made)
    assert answer.json()["customerId"] == "c1"
    assert answer.headers["content-location"] == "/api/v1/customers/c1/unified-profile"
    await running.checked()


async def test_an_identifier_is_known_in_each_way_of_writing_it(running):
    await bulk(running, line("email:Ann@Example.com", "segments", SEGMENT))
    await bulk(running, tie("c1", "email: ann@EXAMPLE.com "))
    assert await owner(running, "email:ANN@example.com") == "c1"
    assert await running.section("identities") == [evidence("email: ann@EXAMPLE.com ")], "as it was given last"


async def test_a_named_identifier_without_facts_gets_no_profile(running):
    await bulk(running, tie("c1", "email:e@example.org"))
    assert (await stored_state(running))[1].keys() == {("customer_id", "c1"), ("email", "e@example.org")}
    answer = await running.client.post(
        "/api/v1/identity", json={"action": "resolve", "identifier": evidence("phone:+4930901820") | {"confidence": 1}}
    )
    assert answer.status_code == 422


# --- refusals by rules ---


async def test_a_claim_refused_by_a_rule_leaves_its_record_accepted(running):
    await running.recorded("identities", evidence("email:b@example.org"), "B")
    before = await running.section("identities", "B")
    assert await warned(
        running,
        "A",
        evidence("email:a@example.org"),
        evidence("customer_id:B"),
        evidence("email:b@example.org"),
        evidence("customer_id:A"),
        evidence("shoe_size:44"),
        evidence("badge:7"),
        evidence("email:none@none.com"),
        evidence("email:\u200b \u200b"),
    ) == [
        (1, "unique_type"),
        (2, "unique_type"),
        (3, "self_link"),
        (4, "unknown_type"),
        (5, "unknown_type"),
        (6, "blocked_value"),
        (7, "blocked_value"),
    ]
    assert await running.section("identities", "A") == [evidence("email:a@example.org")]
    assert await running.section("identities", "B") == before
    assert len((await running.listed("identities", "A"))["data"]) == 8, "the evidence stays"
    waiting = [
        (candidate["other"]["value"], candidate["reason"])
        for candidate in (await explained(running, "A"))["candidates"]
    ]
    assert waiting == [("B", "unique_type"), ("b@example.org", "unique_type")]
    await running.checked()


async def test_a_bulk_warns_of_each_record_as_a_single_one_is_warned_of(running, monkeypatch):
    records = [
        *(evidence(f"email:{name}@example.org") for name in "ab"),
        evidence("shoe_size:44"),
        evidence("customer_id:A"),
    ]
    lines = [line(name, "identities", record) for name, record in zip("AAAA", records, strict=True)]
    await running.recorded("identities", records[1], "B")
    expected = [(1, "unique_type"), (2, "unknown_type"), (3, "self_link")]
    answer = await running.client.post("/api/v1/records", json=[{"section": "nothing"}, *lines, lines[0]])
    outcome = answer.json()
    assert (outcome["recorded"], outcome["duplicates"], len(outcome["refused"])) == (4, 1, 1)
    assert [(warning["index"] - 1, warning["code"]) for warning in outcome["warnings"]] == expected
    assert "warnings" not in await bulk(running, line("A", "segments", SEGMENT)), "present only if there are any"
    monkeypatch.setattr(api_bulk, "MAX_WARNED", 2)
    monkeypatch.setattr(api_bulk, "MAX_CHUNK", 2)
    sized = [line("C", "identities", evidence(f"shoe_size:{size}")) for size in range(6)]
    assert [(warning["index"], warning["code"]) for warning in (await bulk(running, *sized))["warnings"]] == [
        (0, "unknown_type"), (1, "unknown_type"), (2, "too_many_warnings")]  # fmt: skip


async def test_beyond_the_most_waiting_claims_further_ones_wait_at_their_other_end_alone(running, monkeypatch):
    monkeypatch.setattr(regrouping, "MOST_WAITING", 2)
    await each(running, *(tie(name, "email:e@example.org") for name in "ABCDEF"))
    for name in "ABCDEF":
        (waits,) = (await explained(running, name))["candidates"]
        assert (waits["other"]["value"], waits["reason"]) == ("e@example.org", "shared_identifier")
    shared = Identifier("email", "e@example.org")
    before = len(await running.services.store.facts(TENANT, [shared]))
    await each(running, *(tie(name, "email:e@example.org") for name in "GHI"))
    assert len(await running.services.store.facts(TENANT, [shared])) == before
    await running.checked()


@pytest.fixture
def loaded_heads(monkeypatch):
    """Return the numbers of customers that transactions have loaded, one more at each time that they load any."""
    numbers = []
    reach = UnitOfWork.reach

    async def counted(unit, identifiers):
        await reach(unit, identifiers)
        numbers.append(len(unit.heads))

    monkeypatch.setattr(UnitOfWork, "reach", counted)
    return numbers


async def test_few_of_many_claims_waiting_at_an_identifier_are_looked_up(running, monkeypatch, loaded_heads):
    monkeypatch.setattr(neighbourhood, "MOST_LOOKED_UP", 4)
    await bulk(running, *(tie(f"c{number}", "phone:+4930901820") for number in range(30)))
    loaded_heads.clear()
    await bulk(running, tie("c20", "email:e@example.org"))
    assert await owner(running, "email:e@example.org") == "c20"
    assert max(loaded_heads) <= 1 + 4
    await running.checked()


async def test_claims_that_wait_lead_to_few_of_many_customers(running, monkeypatch, loaded_heads):
    ends = [(f"c{number}", f"loyalty:{number}") for number in range(12)]
    await rules(running, {"types": {"loyalty": {"limit": 1}}})
    await each(running, *(tie(*end) for end in ends))
    await each(running, *(tie(name, other) for (name, _), (_, other) in pairwise(ends)))
    monkeypatch.setattr(neighbourhood, "MOST", 5)
    before = [await owner(running, other) for _, other in ends]
    loaded_heads.clear()
    await bulk(running, tie("c0", "email:e@example.org"))
    assert 2 <= max(loaded_heads) <= 5
    assert [await owner(running, other) for _, other in ends] == before
    await running.checked()


async def test_refused_or_withdrawn_claims_use_no_room_of_live_ones(running):
    cookies = [f"cookie_id:k{number}" for number in range(150)]
    lines = [tie(cookie, "A") for cookie in cookies]
    answer = await running.client.post("/api/v1/records", json=lines)
    assert len(answer.json()["warnings"]) == 50
    await each(running, line("B", "segments", SEGMENT))
    for action in ("merge", "unmerge"):
        await act(running, action, targetId="A", sourceId="B")
    assert await owner(running, cookies[0]) == "A"
    await act(running, "unlink", canonicalId="A", identifier=cookies[0])
    assert await owner(running, cookies[0]) != "A"
    assert await owner(running, cookies[100]) == "A", "the first that waited has the place that is free"
    await running.checked()


async def test_a_refused_line_of_a_bulk_leaves_the_other_lines_counting(running):
    await bulk(
        running, tie("A", "email:e@example.org"), tie("B", "email:e@example.org"), line("B", "segments", SEGMENT)
    )
    assert await owner(running, "email:e@example.org") == "A"
    assert await running.section("segments", "B") == [SEGMENT]
    await running.checked()


@pytest.mark.parametrize("weak", ["device_id", "cookie_id", "anonymous_id"])
@pytest.mark.parametrize(
    ("mine", "yours"),
    [
        ("email:a@example.org", "email:b@example.org"),
        ("phone:+4930901820", "phone:+4930901821"),
        ("A", "B"),
    ],
)
async def test_by_default_an_identifier_of_a_device_never_joins_two_people(running, weak, mine, yours):
    device = f"{weak}:shared"
    await each(running, line(mine, "segments", SEGMENT), line(yours, "segments", SEGMENT), tie(mine, device))
    before = await visible_documents(running)
    await each(
        running, tie(yours, device), tie(device, yours, 0.9), tie(device, mine, 0.9), line(device, "segments", SEGMENT)
    )
    assert await owner(running, mine) == await owner(running, device) != await owner(running, yours)
    after = await visible_documents(running)
    assert after[await owner(running, yours)] == before[await owner(running, yours)]
    await running.checked()


async def test_the_weaker_evidence_of_one_request_is_refused(running):
    # Recorded first, the device would join the addresses of two people.
    await each(running, line("email:b@example.org", "segments", SEGMENT))
    await bulk(running, tie("device_id:d", "email:b@example.org"), tie("device_id:d", "email:a@example.org"),
               tie("A", "email:a@example.org"), tie("A", "device_id:d"))  # fmt: skip
    assert await owner(running, "email:a@example.org") == "A"
    assert await owner(running, "email:b@example.org") != "A"
    await running.checked()


async def test_a_claim_refused_for_joining_two_holds_once_they_are_linked(running):
    await each(running, tie("email:e@example.org", "device_id:d"), tie("device_id:d", "email:f@example.org", 0.7))
    assert await owner(running, "email:f@example.org") is None
    await each(running, tie("A", "email:e@example.org", 0.8), tie("A", "email:f@example.org", 0.6))
    assert await running.section("identities", "A") == [
        evidence("device_id:d", 0.8),
        evidence("email:e@example.org", 0.8),
        evidence("email:f@example.org", 0.7),  # over the device: min(0.8, 1.0, 0.7)
    ]
    await running.checked()


async def test_a_shared_identifier_is_split_off_where_the_rules_say_so(running):
    await rules(running, {"shared": "split", "types": {"device_id": {"weak": True, "sharedFrom": 3}}})
    people = [f"email:p{number}@example.org" for number in range(3)]
    await each(
        running, *(line(tag, "segments", SEGMENT) for tag in people), *(tie(tag, "device_id:d") for tag in people)
    )
    assert await owner(running, "device_id:d") is None
    assert len({await owner(running, tag) for tag in people}) == 3
    await bulk(running, tie("email:p4@example.org", "device_id:d"))
    assert await owner(running, "device_id:d") is None
    await running.checked()


async def test_a_shared_identifier_is_linked_with_a_warning_where_the_rules_say_so(running):
    await rules(running, {**FREE, "shared": "warn"})
    await each(running, tie("A", "phone:+4930901820"), tie("B", "phone:+4930901820"))
    assert await warned(running, "C", evidence("phone:+4930901820")) == [(0, "shared_identifier")]
    assert await owner(running, "C") == await owner(running, "A")
    assert await warned(running, "C", evidence("email:e@example.org")) == []
    await running.checked()


async def test_an_identifier_of_one_person_with_several_addresses_is_not_shared(running):
    mails = [f"email:a{number}@example.org" for number in range(3)]
    await each(running, *(tie("A", mail) for mail in mails))
    await each(running, *(tie(mail, "phone:+4930901820") for mail in mails))
    await each(running, tie("email:b@example.org", "phone:+4930901820"))
    assert await owner(running, "phone:+4930901820") == await owner(running, "email:b@example.org") == "A"
    await running.checked()


async def test_two_people_with_several_addresses_are_two(running):
    for name in "ab":
        mails = [f"email:{name}{number}@example.org" for number in range(3)]
        await each(running, *(tie(name.upper(), mail) for mail in mails))
        await each(running, *(tie(mail, "device_id:d") for mail in mails))
    await each(running, tie("anonymous_id:n", "device_id:d"))
    assert await owner(running, "anonymous_id:n") == await owner(running, "device_id:d") == "A", "B's are one person's"
    await each(running, tie("email:c@example.org", "device_id:d"))
    assert await owner(running, "device_id:d") is None
    await running.checked()


async def test_an_identifier_that_was_split_off_stays_split_off(running):
    people = [f"phone:+493090182{number}" for number in range(6)]
    await each(running, *(tie("email:desk@example.org", phone) for phone in people[:3]))
    desk = await owner(running, "email:desk@example.org")
    for phone in people[3:]:
        await each(running, tie("email:desk@example.org", phone))
        assert await owner(running, phone) is None
    assert await running.section("identities", desk) == [evidence("email:desk@example.org")]
    await running.checked()


async def test_an_accepted_identifier_is_split_off_no_more(running):
    people = [f"phone:+493090182{number}" for number in range(5)]
    await each(running, *(tie("email:desk@example.org", phone) for phone in people[:3]), tie("A", people[0]))
    await act(running, "accept", identifier="email:desk@example.org", other=people[2])
    await each(running, *(tie("email:desk@example.org", phone) for phone in people[3:]))
    assert await owner(running, "email:desk@example.org") == await owner(running, people[2]) != "A"
    await running.checked()


# --- unsure evidence ---


async def test_an_unsure_link_gives_way_to_a_sure_one_and_waits_for_review(running):
    await each(running, tie("A", "email:E@example.org", 0.3, source="list"))
    assert await running.section("identities", "A") == [evidence("email:E@example.org", 0.3)]
    assert await warned(running, "B", evidence("email:e@example.org", 0.9)) == []
    assert await owner(running, "email:e@example.org") == "B"
    assert await running.section("identities", "A") == []
    (waits,) = (await explained(running, "A"))["candidates"]
    assert (waits["other"]["value"], waits["reason"], waits["confidence"]) == ("E@example.org", "unique_type", 0.3)
    await running.checked()


async def test_an_unsure_link_confirmed_by_sure_evidence_stays(running):
    await each(running, tie("A", "email:e@example.org", 0.3), tie("email:e@example.org", "A", 0.9))
    await each(running, tie("B", "email:e@example.org"))
    assert await running.section("identities", "A") == [evidence("email:e@example.org", 0.9)]
    assert await owner(running, "email:e@example.org") == "A"


async def test_an_accepted_link_gives_way_to_no_evidence(running):
    await each(running, tie("A", "phone:+4930901820"), tie("email:e@example.org", "device_id:d"))
    await each(running, tie("A", "email:e@example.org", 0.3))
    await act(running, "accept", identifier="A", other="email:e@example.org")
    assert await warned(running, "B", evidence("email:e@example.org")) == [(0, "unique_type")]
    assert await owner(running, "email:e@example.org") == "A"
    await running.checked()


async def test_unsure_evidence_marks_no_identifier_as_shared(running):
    await each(running, tie("A", "email:e@example.org"))
    await each(running, *(tie("email:e@example.org", f"customer_id:{name}", 0.3) for name in "BCDE"))
    assert await owner(running, "email:e@example.org") == "A"
    await running.checked()


async def test_rules_that_came_later_undo_no_link(running):
    await each(running, tie("A", "device_id:d", 0.8))
    await rules(running, {"blockedValues": ["d"]})
    await each(running, tie("A", "device_id:d", 0.9))
    assert await running.section("identities", "A") == [evidence("device_id:d", 0.8)]
    await running.checked()


# --- confidence ---


async def test_confidence_is_the_widest_path_from_the_customer(free):
    # c1 -0.9- e -0.8- p, and c1 -0.5- p: p is min(0.9, 0.8). d hangs on p by two sources: 4 · 3/2 = 6, and 6/7.
    await each(
        free,
        tie("c1", "email:e@example.org", 0.9),
        tie("email:e@example.org", "phone:+4930901820", 0.8),
        tie("c1", "phone:+4930901820", 0.5),
        tie("phone:+4930901820", "device_id:d", 0.8, source="crm"),
        tie("phone:+4930901820", "device_id:d", 0.6, source="web"),
        tie("device_id:d", "loyalty:7", 0.3),
    )
    assert await free.section("identities") == [
        evidence("email:e@example.org", 0.9),
        evidence("device_id:d", 0.8),
        evidence("phone:+4930901820", 0.8),
        evidence("loyalty:7", 0.3),
    ]
    paths = {identifier["type"]: identifier["path"] for identifier in (await explained(free, "c1"))["identifiers"]}
    assert [link["confidence"] for link in paths["loyalty"]] == [0.9, 0.8, 0.857143, 0.3]
    assert [record["source"] for record in paths["loyalty"][2]["evidence"]] == ["crm", "web"]


async def test_a_source_that_repeats_itself_counts_once_by_its_newest_evidence(running):
    for confidence in (0.8, 0.6, 0.7, 0.6):
        await bulk(running, tie("c1", "email:e@example.org", confidence, source="crm"))
        assert await running.section("identities") == [evidence("email:e@example.org", confidence)]
    # From the other end it is the same link, and the same source.
    await bulk(running, tie("email:e@example.org", "c1", 0.9, source="crm"))
    assert await running.section("identities") == [evidence("email:e@example.org", 0.9)]
    await bulk(running, tie("c1", "email:e@example.org", 0.8, source="web"))
    assert await running.section("identities") == [evidence("email:e@example.org", 0.972973)]  # 9 · 4 = 36, 36 / 37
    await bulk(running, tie("c1", "email:e@example.org", 1.0, source="web"))
    assert await running.section("identities") == [evidence("email:e@example.org", 1.0)]


MOMENTS = ({}, {"effectiveAt": "2026-01-02T00:00:00Z"})


@pytest.mark.parametrize("when", MOMENTS, ids=["from now on", "at a moment of its own"])
async def test_two_sources_with_the_same_evidence_count_once_each(running, when):
    async def count_recorded(*sources):
        lines = [tie("c1", "email:e@example.org", 0.8, source=source, **when) for source in sources]
        answer = await running.client.post("/api/v1/records", json=lines)
        assert answer.json()["refused"] == []
        return answer.json()["recorded"], answer.json()["duplicates"]

    assert await count_recorded("crm") == (1, 0)
    assert await count_recorded("web") == (1, 0)
    assert await running.section("identities") == [evidence("email:e@example.org", 0.941176)]  # 4 · 4 = 16, 16 / 17
    assert await count_recorded("crm") == await count_recorded("web") == (0, 1)
    assert await count_recorded("web", "shop", "crm", "shop") == (1, 3)
    assert await running.section("identities") == [evidence("email:e@example.org", 0.984615)]  # 64 / 65
    await running.checked()


async def test_a_source_may_repeat_earlier_evidence_after_changing_it(running):
    """Its newest evidence counts, not that it once gave other evidence."""
    for confidence in (0.8, 0.6):
        await bulk(running, tie("c1", "email:e@example.org", confidence, source="crm"))
    await bulk(running, tie("c1", "email:e@example.org", 0.8, source="web"))
    await bulk(running, tie("c1", "email:e@example.org", 0.8, source="crm"))
    assert await running.section("identities") == [evidence("email:e@example.org", 0.941176)]


async def test_a_link_of_a_later_moment_shows_from_then_on(running):
    await bulk(running, tie("c1", "email:e@example.org", 0.9, effectiveAt="2026-06-01T13:00:00Z"))
    assert await running.section("identities") == []
    running.clock.advance(3600)
    assert await running.section("identities") == [evidence("email:e@example.org", 0.9)]


# --- which id stays ---


async def test_the_id_whose_first_link_is_earliest_stays_then_byte_order(free):
    await each(free, line("A", "segments", SEGMENT), tie("B", "email:b@example.org"), tie("A", "email:a@example.org"))
    await each(free, tie("A", "email:b@example.org"))
    assert await owner(free, "A") == "B", "B was linked first, though A was known first"
    await each(free, line("Z", "segments", SEGMENT), line("Y", "segments", SEGMENT), tie("Z", "Y"))
    assert await owner(free, "Z") == "Y", "neither was linked before"
    await each(free, line("phone:+4930901820", "segments", SEGMENT), tie("~", "phone:+4930901820"))
    assert await owner(free, "phone:+4930901820") == "~", "a company's id before one made here, whatever the order"
    await free.checked()


async def test_a_customer_merged_away_leads_to_the_one_that_stays_at_every_step(free):
    for name in "ABCD":
        await bulk(free, line(name, "segments", {**SEGMENT, "segmentId": name}), tie(name, f"loyalty:{name}"))
    for name in "BCD":
        await bulk(free, tie("A", f"loyalty:{name}"))
    for name in "BCD":
        answer = await free.profile(name)
        assert answer.json()["customerId"] == "A"
        assert answer.headers["content-location"] == "/api/v1/customers/A/unified-profile"
    assert [segment["segmentId"] for segment in await free.section("segments", "D")] == ["A", "B", "C", "D"]
    await free.checked()


# --- the order of arrival ---

PEOPLE = ("a", "b")
STRONG = ["email:{}1@example.org", "email:{}2@example.org", "phone:+493090182{}", "loyalty:{}"]
THINGS = ["device_id:{}", "anonymous_id:{}1", "anonymous_id:{}2", "cookie_id:{}"]
PAST = "2026-02-0{}T00:00:00Z"


@st.composite
def people(draw):
    """Lines of evidence on two people without a conflict: identifiers of each are linked, in either direction."""
    lines = []
    for person in PEOPLE:
        number = str(PEOPLE.index(person))
        strong = [tag.format(number if "phone" in tag else person) for tag in STRONG]
        nodes = [*([person.upper()] if draw(st.booleans()) else []), *strong]
        ties = [(node, draw(st.sampled_from(nodes[:index]))) for index, node in enumerate(nodes) if index]
        for device in (tag.format(person) for tag in THINGS):
            ties += [(device, other) for other in draw(st.lists(st.sampled_from(nodes), min_size=1, unique=True))]
            nodes.append(device)
        for a, b in ties:
            end, other = draw(st.permutations([a, b]))
            confidence = draw(
                st.sampled_from([0.5, 0.7, 0.8, 1.0])
            )  # a confidence below the least that merges may be refused
            lines.append(tie(end, other, confidence, source=draw(st.sampled_from(["crm", "web"])), effectiveAt=AT))
        for index in range(draw(st.integers(0, 6))):
            section, record = draw(
                st.sampled_from(
                    [
                        ("interactions", interaction(index, PAST.format(index + 1))),
                        ("segments", {**SEGMENT, "segmentId": f"s{index}"}),
                        ("consent", {"kind": "consent", "purpose": "p", "status": draw(
                            st.sampled_from(["granted", "revoked"])), "grantedAt": PAST.format(index + 1)}),
                        ("experiments", {"experimentId": "x", "experimentName": "x", "variant": str(index),
                                         "assignedAt": PAST.format(index + 1)}),
                    ]
                )
            )  # fmt: skip
            lines.append(line(draw(st.sampled_from(nodes)), section, record, effectiveAt=PAST.format(index + 1)))
    return lines


async def groups(running, tenant):
    """Return the sets of identifiers with customer id and documents of each; generated ids are left out.

    Confidence is counted from the customer id: where that is generated, it is left out.
    """
    documents = await visible_documents(running, tenant)
    members_of = {}
    for identifier, name in (await stored_state(running, tenant))[1].items():
        members_of.setdefault(name, set()).add(identifier)
    return sorted(
        (
            sorted(identifier for identifier in members if not is_generated(identifier.value)),
            None if is_generated(name) else name,
            sorted((s, b) for s, b in documents.get(name, {}).items() if s != "identities" or not is_generated(name)),
        )
        for name, members in members_of.items()
    )


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(lines=people(), data=st.data())
def test_evidence_without_conflicts_gives_the_same_profiles_in_any_order(lines, data, tmp_path_factory):
    orders = [lines, list(reversed(lines)), data.draw(st.permutations(lines))]
    sizes = [1, 4, len(lines)]

    async def run():
        async with service(tmp_path_factory.mktemp("order"), tenants=()) as running:
            groupings = []
            for index, (order, size) in enumerate(zip(orders, sizes, strict=True)):
                tenant = await running.services.access.create_tenant(f"t{index}")
                await rules(running, {"types": {"loyalty": {}}}, tenant.id)
                tenant = await running.services.store.tenant(tenant.id)
                parser = Parser(tenant, "test")
                for start in range(0, len(order), size):
                    texts = [json.dumps(line).encode() for line in order[start : start + size]]
                    incoming = [parser.line(at, text, running.services.registry) for at, text in enumerate(texts)]
                    outcome = await running.services.recorder.record_each(tenant.id, incoming)
                    assert outcome.refused == []
                groupings.append(await groups(running, tenant.id))
            await running.checked()
            return groupings

    first, *others = asyncio.run(run())
    for other in others:
        assert other == first
    assert TENANT not in {name for _, name, _ in first}


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(lines=people(), data=st.data())
def test_unsure_evidence_parts_or_joins_no_surely_linked_identifiers_in_any_order(lines, data, tmp_path_factory):
    nodes = sorted({tag for line in lines if line["section"] == "identities" for tag in _ends(line)})
    pairs = st.lists(st.sampled_from(nodes), min_size=2, max_size=2, unique=True)
    guesses = [tie(a, b, 0.3, source="list") for a, b in data.draw(st.lists(pairs, min_size=1, max_size=6))]
    orders = [lines, guesses + lines, data.draw(st.permutations(guesses + lines))]

    async def run():
        async with service(tmp_path_factory.mktemp("guess"), tenants=()) as running:
            groupings = []
            for index, order in enumerate(orders):
                tenant = await running.services.access.create_tenant(f"t{index}")
                await rules(running, {"types": {"loyalty": {}}}, tenant.id)
                tenant = await running.services.store.tenant(tenant.id)
                parser = Parser(tenant, "test")
                for at, line in enumerate(order):
                    incoming = [parser.line(at, json.dumps(line).encode(), running.services.registry)]
                    assert (await running.services.recorder.record_each(tenant.id, incoming)).refused == []
                groupings.append([members for members, _, _ in await groups(running, tenant.id)])
            await running.checked()
            return groupings

    without, first, mixed = asyncio.run(run())
    assert first == without
    assert mixed == without


async def test_identifiers_tied_by_unsure_links_only_make_no_linked_identifier_shared(running):
    await each(
        running,
        tie("email:b2@example.org", "phone:+4930901821"),
        tie("email:b1@example.org", "cookie_id:b"),
        tie("anonymous_id:b", "cookie_id:b"),
        tie("anonymous_id:b", "phone:+4930901821"),
        tie("email:a@example.org", "device_id:b", 0.3, source="list"),
        tie("device_id:a", "email:a@example.org"),
        tie("device_id:b", "anonymous_id:b"),
    )
    assert await owner(running, "device_id:b") == await owner(running, "anonymous_id:b")
    assert await owner(running, "device_id:b") != await owner(running, "device_id:a")
    await running.checked()


def _ends(line):
    """Return the two identifiers that evidence names, as tags."""
    return [f"{tag['type']}:{tag['value']}" for tag in (line["identifier"], line["record"])]
