"""Actions of a person on the graph: link, unlink, merge, unmerge, accept, reject, preview, explain."""

import json

import pytest

from harness import TENANT, interaction
from identifying.acting import (
    FREE,
    SEGMENT,
    act,
    apart,
    bulk,
    each,
    evidence,
    explained,
    line,
    named,
    owner,
    refused,
    rules,
    stored_state,
    tie,
    tried,
    visible_documents,
)
from portrait.identity.rules import Reason, Rule
from portrait.model.identifier import is_generated
from portrait.writes import neighbourhood

E, P, D = "email:e@example.org", "phone:+4930901820", "device_id:d"


def consent(status, at, purpose="marketing"):
    return {"kind": "consent", "purpose": purpose, "status": status, "grantedAt": at, "source": None, "channel": None}


def variant(name, at):
    return {"experimentId": "x", "experimentName": "x", "variant": name, "assignedAt": at}


@pytest.fixture
async def two(running):
    """Two customers with records of every kind, and identifiers of their own."""
    for name, day in (("A", 1), ("B", 2)):
        at = f"2026-05-0{day}T00:00:00Z"
        await each(
            running,
            tie(name, f"email:{name}@example.org", 0.9),
            tie(f"email:{name}@example.org", f"device_id:{name}", 0.8),
            line(name, "interactions", interaction(day, at)),
            line(f"device_id:{name}", "interactions", interaction(day + 10, at)),
            line(name, "segments", {**SEGMENT, "segmentName": name}),
            line(f"email:{name}@example.org", "segments", {**SEGMENT, "segmentId": name}),
            line(name, "consent", consent("granted" if name == "A" else "revoked", at)),
            line(name, "experiments", variant(name, at)),
        )
    return running


# --- merge and unmerge ---


async def test_a_merge_keeps_the_targets_id_and_everything_of_both(two):
    effect = await act(two, "merge", targetId="B", sourceId="A")
    assert [profile["customerId"] for profile in effect["before"]] == ["A", "B"]
    assert [profile["customerId"] for profile in effect["after"]] == ["B"]
    assert len(effect["after"][0]["identifiers"]) == 6
    answer = await two.profile("A")
    assert answer.json()["customerId"] == "B"
    assert answer.headers["content-location"] == "/api/v1/customers/B/unified-profile"
    assert [event["id"] for event in await two.section("interactions", "A")] == ["ih_012", "ih_002", "ih_011", "ih_001"]
    assert await act(two, "merge", targetId="B", sourceId="A") == {**effect, "before": effect["after"]}
    # Facts recorded under the old id from now on are the survivor's.
    await two.recorded("segments", {**SEGMENT, "segmentId": "later"}, "A")
    assert "later" in [segment["segmentId"] for segment in await two.section("segments", "B")]
    await two.checked()


async def test_an_unmerge_restores_both_customers_to_the_byte(two):
    before = await visible_documents(two)
    for target, source in (("A", "B"), ("B", "A")):
        await act(two, "merge", targetId=target, sourceId=source)
        assert (await visible_documents(two)).keys() == {target}
        effect = await act(two, "unmerge", targetId=target, sourceId=source)
        assert [profile["customerId"] for profile in effect["after"]] == ["A", "B"]
        assert await visible_documents(two) == before
        for name in "AB":
            assert "content-location" not in (await two.profile(name)).headers
    await two.checked()


async def test_facts_recorded_since_a_merge_follow_their_identifier(two):
    await act(two, "merge", targetId="A", sourceId="B")
    await each(
        two,
        line("device_id:B", "segments", {**SEGMENT, "segmentId": "b-later"}),
        line("device_id:A", "segments", {**SEGMENT, "segmentId": "a-later"}),
        tie("email:B@example.org", P, 0.7),
        line(P, "segments", {**SEGMENT, "segmentId": "phone-later"}),
    )
    await act(two, "unmerge", targetId="A", sourceId="B")
    assert [segment["segmentId"] for segment in await two.section("segments", "A")] == ["A", "a-later", "s"]
    assert [segment["segmentId"] for segment in await two.section("segments", "B")] == [
        "B",
        "b-later",
        "phone-later",
        "s",
    ]
    assert await owner(two, P) == "B"
    await two.checked()


async def test_unmerged_customers_stay_apart_until_an_explicit_merge(running):
    await rules(running, FREE)
    await each(running, tie("A", E), tie("B", E))
    assert await owner(running, "B") == "A"
    await act(running, "unmerge", targetId="A", sourceId="B")
    assert apart(await explained(running, "A")) == [([named("A"), named("B")], "unmerge", "api")]
    ties = [tie("B", E, 0.9), tie(E, "B", 0.8), tie("A", "B"), tie("B", P), tie("A", P), tie(P, "A", 0.9)]
    await each(running, *ties)
    assert await owner(running, "B") == await owner(running, P) == "B"
    assert await refused(running, "link", canonicalId="B", identifiers=[E]) == (409, "link_refused", "cannot_link")
    reasons = {candidate["reason"] for candidate in (await explained(running, "B"))["candidates"]}
    assert reasons == {"cannot_link"}
    await act(running, "merge", targetId="B", sourceId="A")
    assert await owner(running, "A") == "B"
    assert (await explained(running, "A"))["apart"] == []
    await running.checked()


async def test_customers_kept_apart_are_not_joined_until_a_person_allows_it(two):
    await act(two, "preview", of={"action": "cannot-link", "identifier": named("A"), "other": named("B")})
    assert (await explained(two, "A"))["apart"] == []
    effect = await act(two, "cannot-link", identifier="A", other="B", source="ann")
    assert effect["before"] == effect["after"]
    assert apart(await explained(two, "B")) == [([named("A"), named("B")], "cannot_link", "ann")]
    await rules(two, FREE)
    await each(two, tie("A", P), tie("B", P))
    assert [await owner(two, tag) for tag in ("A", "B", P)] == ["A", "B", "A"]
    assert {candidate["reason"] for candidate in (await explained(two, "B"))["candidates"]} == {"cannot_link"}
    await act(two, "merge", targetId="A", sourceId="B", source="bob")
    assert (await explained(two, "A"))["apart"] == []
    assert await refused(two, "cannot-link", identifier="A", other="B") == (409, "still_merged", None)
    assert await refused(two, "cannot-link", identifier="A", other="A") == (422, "self_link", None)
    assert await refused(two, "cannot-link", identifier="A", other=D) == (404, "identifier_not_found", None)
    await two.checked()


async def test_a_deleted_record_withdraws_no_link_made_by_a_person(running):
    await each(running, tie("A", "B"), tie("B", "A"), tie("A", E, source="crm"))
    await act(running, "link", canonicalId="A", identifiers=[E], source="ann")
    await act(running, "merge", targetId="A", sourceId="B", source="bob")
    for stored_record in (await running.client.get("/api/v1/customers/A/identities")).json()["data"]:
        assert (
            await running.client.delete(f"/api/v1/customers/A/identities/{stored_record['key']}")
        ).status_code == 204
    assert [await owner(running, tag) for tag in ("B", E)] == ["A", "A"]
    assert len((await explained(running, "A"))["merges"]) == 1
    await running.checked()


@pytest.mark.parametrize("by_hand", ["link", "merge", "accept"])
@pytest.mark.parametrize("first", ["hand", "record"])
async def test_a_record_of_the_same_source_changes_no_link_made_by_a_person(running, by_hand, first):
    other = {"link": E, "merge": "B", "accept": P}[by_hand]
    fields = {
        "link": {"canonicalId": "A", "identifiers": [E]},
        "merge": {"targetId": "A", "sourceId": "B"},
        "accept": {"identifier": "A", "other": P},
    }[by_hand]
    await each(running, tie("B", P), tie("A", P, source="web"))
    if by_hand != "merge":
        await rules(running, FREE)
    if first == "hand" or by_hand != "link":  # what records alone do not join is told before and after
        await act(running, by_hand, **fields)
        await each(running, tie("A", other, 0.3))
    else:
        await each(running, tie("A", other, 0.9))
        await act(running, by_hand, **fields)
    listed = (await running.client.get("/api/v1/customers/A/identities")).json()["data"]
    for stored_record in listed:
        if (stored_record["record"]["type"], stored_record["record"]["value"]) == tuple(named(other).values()):
            assert (
                await running.client.delete(f"/api/v1/customers/A/identities/{stored_record['key']}")
            ).status_code == 204
    assert await owner(running, other) == "A"
    await running.checked()


async def test_a_ban_on_an_unowned_identifier_is_lifted_by_linking_the_two(running):
    await each(running, tie("A", E))
    await act(running, "unlink", canonicalId="A", identifier=E)
    await act(running, "link", canonicalId="A", identifiers=[E])
    assert await owner(running, E) == "A"
    assert (await explained(running, "A"))["apart"] == []
    await running.checked()


GIVEN = {"email": "Bar@X.org", "phone": "+1 (201) 555-0123"}


async def shown_as(running, customer_id):
    return {
        identifier["type"]: identifier["value"]
        for identifier in await running.section("identities", customer_id)
        if identifier["type"] in GIVEN
    }


async def test_identifiers_are_shown_as_they_were_given_whatever_becomes_of_their_links(running):
    tags = [f"{type_}:{value}" for type_, value in GIVEN.items()]
    await each(running, *(tie("B", tag) for tag in tags), *(tie("A", tag) for tag in tags))
    assert (await shown_as(running, "A"), await shown_as(running, "B")) == ({}, GIVEN)
    await act(running, "merge", targetId="A", sourceId="B")
    assert await shown_as(running, "A") == GIVEN
    await act(running, "unmerge", targetId="A", sourceId="B")
    assert (await shown_as(running, "A"), await shown_as(running, "B")) == ({}, GIVEN)
    await running.checked()


@pytest.mark.parametrize("swapped", [False, True])
async def test_an_accepted_identifier_is_shown_as_it_was_given(running, swapped):
    await each(running, tie("B", f"phone:{GIVEN['phone']}"), tie("A", f"phone:{GIVEN['phone']}"))
    ends = ["A", "phone:+12015550123"]
    a, b = reversed(ends) if swapped else ends
    await act(running, "accept", identifier=a, other=b)
    assert await shown_as(running, "A") == {"phone": GIVEN["phone"]}
    await running.checked()


async def test_a_split_off_identifier_waits_for_review(running):
    await each(
        running,
        *(evidence_line for n in "123" for evidence_line in (tie(f"s{n}", f"email:s{n}@x.org"), tie(f"s{n}", D))),
    )
    assert await owner(running, "s1") == "s1"
    assert [identifier["type"] for identifier in await running.section("identities", "s1")] == ["email"]
    waits = [
        (candidate["identifier"], candidate["reason"]) for candidate in (await explained(running, "s1"))["candidates"]
    ]
    assert waits == [(named("s1"), "shared_identifier")]
    await act(running, "accept", identifier="s1", other=D)
    assert await owner(running, D) == "s1"
    await act(running, "unlink", canonicalId="s1", identifier=D)
    assert (await explained(running, "s1"))["candidates"] == []
    await running.checked()


async def test_an_unmerge_takes_back_every_link_across_the_cut(running):
    await rules(running, FREE)
    await each(running, tie("A", E), tie("B", P), tie("A", D), tie("B", D), tie(E, P), tie(P, "A"), tie("B", "A", 0.9))
    await act(running, "unmerge", targetId="A", sourceId="B")
    assert [await owner(running, tag) for tag in (E, P, D)] == ["A", "B", "A"]
    assert (await explained(running, "A"))["merges"] == []
    await running.checked()


async def test_an_unmerge_of_customers_merged_before_parts_them_where_the_merge_joined_them(running):
    for name in "ABCD":
        await bulk(running, line(name, "segments", {**SEGMENT, "segmentId": name}))
    before = await visible_documents(running)
    await act(running, "merge", targetId="B", sourceId="A")
    await act(running, "merge", targetId="D", sourceId="C")
    halves = await visible_documents(running)
    await act(running, "merge", targetId="A", sourceId="C")
    assert {await owner(running, customer_id) for customer_id in "ABCD"} == {"B"}, "A is B's: B stays"
    await act(running, "unmerge", targetId="D", sourceId="A")
    assert await visible_documents(running) == halves
    await act(running, "unmerge", targetId="A", sourceId="B")
    await act(running, "unmerge", targetId="C", sourceId="D")
    assert await visible_documents(running) == before
    await running.checked()


async def test_the_stricter_consent_counts_up_to_the_merge_and_the_newest_after_it(running):
    await each(
        running,
        line("A", "consent", consent("revoked", "2026-01-01T00:00:00Z")),
        line("B", "consent", consent("granted", "2026-05-01T00:00:00Z")),
        line("A", "consent", consent("pending", "2026-01-01T00:00:00Z", "calls")),
        line("B", "consent", consent("granted", "2026-05-01T00:00:00Z", "calls")),
    )
    await act(running, "merge", targetId="B", sourceId="A")

    async def statuses():
        return {
            consent_record["purpose"]: consent_record["status"]
            for consent_record in await running.section("consent", "B")
        }

    assert await statuses() == {"marketing": "revoked", "calls": "pending"}
    running.clock.advance(3600)
    await bulk(running, line("B", "consent", consent("granted", "2026-06-01T12:30:00Z")))
    assert await statuses() == {"marketing": "granted", "calls": "pending"}
    await bulk(running, line("A", "consent", consent("revoked", "2026-06-01T12:45:00Z")))
    assert await statuses() == {"marketing": "revoked", "calls": "pending"}
    await act(running, "unmerge", targetId="B", sourceId="A")
    assert await statuses() == {"marketing": "granted", "calls": "granted"}
    await running.checked()


async def test_the_first_exposure_to_an_experiment_counts_and_the_crossover_is_named(two):
    previewed = await act(two, "preview", of={"action": "merge", "targetId": "B", "sourceId": "A"})
    effect = await act(two, "merge", targetId="B", sourceId="A")
    assert effect == previewed
    assert effect["crossovers"] == (await explained(two, "A"))["crossovers"] == ["x"]
    assert [experiment["variant"] for experiment in await two.section("experiments", "B")] == ["A"]
    assert (await act(two, "unmerge", targetId="B", sourceId="A"))["crossovers"] == []
    assert (await explained(two, "A"))["crossovers"] == []


# --- link and unlink ---


async def test_a_link_by_hand_is_all_or_nothing(running):
    await each(running, tie("A", E), tie("B", P))
    fields = {"canonicalId": "B", "identifiers": [D, E]}
    assert await refused(running, "link", **fields) == (409, "link_refused", "unique_type")
    assert await owner(running, D) is None
    effect = await act(running, "link", canonicalId="B", identifiers=[D, "email:b@example.org"], confidence=0.7)
    assert [profile["customerId"] for profile in effect["before"]] == ["B", None, None]
    assert [profile["customerId"] for profile in effect["after"]] == ["B"]
    assert await running.section("identities", "B") == [
        evidence(P), evidence(D, 0.7), evidence("email:b@example.org", 0.7)]  # fmt: skip
    await running.checked()


async def test_a_link_by_hand_parts_nothing_that_was_one(running):
    await rules(running, FREE)
    await each(running, tie("B", E, 0.3), tie("A", P))
    await act(running, "link", canonicalId="A", identifiers=[E])
    assert {await owner(running, tag) for tag in ("A", "B", E, P)} == {await owner(running, "A")}
    await running.checked()


async def test_a_link_of_several_identifiers_names_the_refused_one(running):
    await each(running, tie("B", E))
    several = await tried(running, "link", canonicalId="A", identifiers=[D, E])
    assert several.json()["detail"].startswith("Record 1, counted from 0: ")
    assert several.json()["reason"] == "unique_type"
    single_answer = await tried(running, "link", canonicalId="A", identifiers=[E])
    assert not single_answer.json()["detail"].startswith("Record")


async def test_an_unlinked_identifier_leaves_with_its_own_links_and_does_not_return(running):
    await each(running, line(E, "segments", SEGMENT), tie(E, D))
    before = await visible_documents(running)
    (made,) = before
    await each(running, tie("A", E), line("A", "segments", {**SEGMENT, "segmentId": "a"}))
    await act(running, "unlink", canonicalId="A", identifier=E)
    assert await visible_documents(running) == before | {"A": (await visible_documents(running))["A"]}
    assert await owner(running, D) == await owner(running, E) == made
    await each(running, tie("A", E, 0.9), tie(E, "A", 0.8), line(E, "segments", {**SEGMENT, "segmentId": "later"}))
    assert await owner(running, E) == made
    await act(running, "link", canonicalId="A", identifiers=[E])
    assert await owner(running, D) == "A", "somebody's own word lifts what somebody's own word set"
    await running.checked()


async def test_an_identifier_without_facts_has_no_owner_once_it_is_unlinked(running):
    await each(running, tie("A", E))
    effect = await act(running, "unlink", canonicalId="A", identifier=E)
    assert [profile["customerId"] for profile in effect["after"]] == ["A", None]
    assert await owner(running, E) is None
    await bulk(running, line(E, "segments", SEGMENT))
    assert is_generated(await owner(running, E))
    await bulk(running, tie(E, "A"))
    assert await owner(running, E) != "A"
    await running.checked()


# --- review ---


async def waiting(running, customer_id="A"):
    return [
        (candidate["identifier"]["value"], candidate["other"]["value"], candidate["reason"], candidate["source"])
        for candidate in (await explained(running, customer_id))["candidates"]
    ]


async def test_a_refused_claim_waits_and_holds_once_it_is_accepted(running):
    await each(running, tie("B", "email:E@example.org"), tie("A", E, 0.7, source="api"))
    assert await waiting(running) == [("A", "e@example.org", "unique_type", "api")]
    fields = {"identifier": "A", "other": E}
    previewed = await act(running, "preview", of={"action": "accept", "identifier": named("A"), "other": named(E)})
    assert len(await waiting(running)) == 1
    assert await act(running, "accept", **fields) == previewed
    assert await owner(running, "A") == await owner(running, "B") == "B"
    assert await waiting(running) == []
    identities = await running.section("identities", "B")
    certain = {"e@example.org": 1.0, "A": 1.0}
    assert {identity["value"]: identity["confidence"] for identity in identities} == certain, (
        "a person's word is certain"
    )
    assert await refused(running, "accept", **fields) == (409, "not_merged", None)
    await running.checked()


async def test_a_rejected_candidate_waits_no_more_and_stays_apart(running):
    await rules(running, {**FREE, "minConfidence": 0.8})
    await each(running, tie("B", E), tie("A", E, 0.7))
    assert await waiting(running) == [("A", "e@example.org", "low_confidence", "api")]
    effect = await act(running, "reject", identifier="A", other=E)
    assert effect["before"] == effect["after"]
    assert await waiting(running) == []
    await each(running, tie("A", E, 0.9))
    assert await owner(running, "A") == "A"
    await running.checked()


async def test_a_rejected_candidate_may_still_be_accepted(running):
    await each(running, tie("B", E), tie("A", E))
    await act(running, "reject", identifier="A", other=E)
    await act(running, "accept", identifier="A", other=E)
    assert await owner(running, "A") == await owner(running, E) == "B"
    assert (await explained(running, "B"))["apart"] == []
    await running.checked()


async def test_an_accepted_link_joins_no_profiles_of_which_others_are_kept_apart(running):
    await each(running, tie("A", E), tie("B", P), tie("A", P))
    await act(running, "cannot-link", identifier=E, other="B")
    assert await refused(running, "accept", identifier="A", other=P) == (409, "link_refused", "cannot_link")
    await act(running, "allow-link", identifier=E, other="B")
    await act(running, "accept", identifier="A", other=P)
    assert await owner(running, E) == await owner(running, "B")
    await running.checked()


# --- preview ---

PREVIEWS = {
    "link": {"canonicalId": "A", "identifiers": [named(P), named(D)]},
    "link to one whom nobody knows": {"canonicalId": "new", "identifiers": [named(P)]},
    "unlink": {"canonicalId": "A", "identifier": named("email:A@example.org")},
    "merge": {"targetId": "B", "sourceId": "A"},
}


@pytest.mark.parametrize("name", PREVIEWS)
async def test_a_preview_says_what_the_action_does_and_changes_nothing(two, name):
    action, fields = name.split()[0], PREVIEWS[name]
    before = await stored_state(two)
    previewed = await act(two, "preview", of={"action": action, **fields})
    assert await stored_state(two) == before
    effect = (await two.client.post("/api/v1/identity", json={"action": action, **fields})).json()
    made = [profile["customerId"] for profile in effect["after"] if is_generated(profile["customerId"] or "")]
    if not made:
        assert effect == previewed
    assert effect["before"] == previewed["before"] != effect["after"]
    assert len(effect["after"]) == len(previewed["after"])
    undo = {"action": "unmerge", "targetId": "B", "sourceId": "A"}
    if action == "merge":
        before = await stored_state(two)
        previewed = await act(two, "preview", of=undo)
        assert await stored_state(two) == before
        assert await act(two, **undo) == previewed


# --- what cannot be ---

CANNOT = {
    "a merge with itself": ("merge", {"targetId": "A", "sourceId": "A"}, (422, "self_link", None)),
    "an unmerge from itself": ("unmerge", {"targetId": "A", "sourceId": "A"}, (422, "self_link", None)),
    "a merge with nobody": ("merge", {"targetId": "A", "sourceId": "X"}, (404, "customer_not_found", None)),
    "a merge into nobody": ("merge", {"targetId": "X", "sourceId": "A"}, (404, "customer_not_found", None)),
    "an unmerge of two": ("unmerge", {"targetId": "A", "sourceId": "B"}, (409, "not_merged", None)),
    "an unmerge of nobody": ("unmerge", {"targetId": "A", "sourceId": "X"}, (404, "customer_not_found", None)),
    "a link with itself": ("link", {"canonicalId": "A", "identifiers": ["A"]}, (422, "self_link", None)),
    "a link of a blocked value": (
        "link", {"canonicalId": "A", "identifiers": [P, "email:test@test.com"]}, (422, "blocked_identifier", None)),
    "a link of no value": (
        "link", {"canonicalId": "A", "identifiers": [P, "email:\u200b"]}, (422, "blocked_identifier", None)),
    "a link of an unknown type": (
        "link", {"canonicalId": "A", "identifiers": [P, "shoe_size:44"]}, (422, "unknown_identifier_type", None)),
    "a link of a malformed type": (
        "link", {"canonicalId": "A", "identifiers": [P, "Shoe Size:44"]}, (422, "invalid_record", None)),
    "a link of two customers": (
        "link", {"canonicalId": "A", "identifiers": [P, "B"]}, (409, "link_refused", "unique_type")),
    "a link of another's": (
        "link", {"canonicalId": "A", "identifiers": [P, "email:B@example.org"]}, (409, "link_refused", "unique_type")),
    "a link to no name": ("link", {"canonicalId": "..", "identifiers": [P]}, (422, "invalid_record", None)),
    "an unlink of a customer's own id": (
        "unlink", {"canonicalId": "A", "identifier": "A"}, (422, "self_link", None)),
    "an unlink of another's": (
        "unlink", {"canonicalId": "A", "identifier": "email:B@example.org"}, (409, "not_merged", None)),
    "an unlink of nobody's": ("unlink", {"canonicalId": "A", "identifier": P}, (409, "not_merged", None)),
    "an unlink from nobody": ("unlink", {"canonicalId": "X", "identifier": P}, (404, "customer_not_found", None)),
    "an unlink of a blocked value": (
        "unlink", {"canonicalId": "A", "identifier": "email:null"}, (422, "blocked_identifier", None)),
    "accept what nobody told": ("accept", {"identifier": "A", "other": P}, (409, "not_merged", None)),
    "accept what holds": (
        "accept", {"identifier": "A", "other": "email:A@example.org"}, (409, "not_merged", None)),
    "accept of nobody": ("accept", {"identifier": "X", "other": P}, (409, "not_merged", None)),
    "reject what nobody told": ("reject", {"identifier": "A", "other": P}, (409, "not_merged", None)),
    "reject of nobody": ("reject", {"identifier": P, "other": "X"}, (409, "not_merged", None)),
    "resolve nobody's": ("resolve", {"identifier": P}, (404, "identifier_not_found", None)),
    "resolve an unknown type": ("resolve", {"identifier": "shoe_size:44"}, (422, "unknown_identifier_type", None)),
    "resolve a blocked value": ("resolve", {"identifier": "email:none"}, (422, "blocked_identifier", None)),
}  # fmt: skip


async def test_an_impossible_action_is_refused_and_changes_nothing_done_or_previewed(two, caplog):
    for what, (action, fields, expected) in CANNOT.items():
        assert await refused(two, action, **fields) == expected, what
        if action not in {"resolve", "reject"}:
            body = {name: named(value) if name in {"identifier", "other"} else value for name, value in fields.items()}
            if "identifiers" in body:
                body["identifiers"] = [named(tag) for tag in body["identifiers"]]
            assert await refused(two, "preview", of={"action": action, **body}) == expected, what
    assert caplog.text == ""
    await two.checked()


async def test_no_value_of_an_identifier_is_in_a_refusal(two):
    secrets = ("@example.org", "4930901820", "secret")
    for action, fields, _ in [
        *CANNOT.values(),
        ("link", {"canonicalId": "A", "identifiers": ["secret:secret", "email:secret@example.org"]}, None),
        ("resolve", {"identifier": "email:secret@example.org"}, None),
    ]:
        text = (await tried(two, action, **fields)).text
        assert not [secret for secret in secrets if secret in text]


async def test_a_merge_past_the_cap_is_refused_and_one_up_to_it_is_not(running):
    await rules(running, {"maxIdentifiers": 4, "types": {"cookie_id": {"limit": 4}, "anonymous_id": {"limit": 4},
                                                         "device_id": {"limit": 4}, "email": {"limit": 4},
                                                         "phone": {"limit": 4}}})  # fmt: skip
    await each(running, tie("A", E), tie("B", P), tie("C", "email:c@example.org"), tie("C", D))
    over = (409, "link_refused", "component_cap")
    assert await refused(running, "merge", targetId="A", sourceId="C") == over
    assert await refused(running, "preview", of={"action": "merge", "targetId": "A", "sourceId": "C"}) == over
    await act(running, "merge", targetId="A", sourceId="B")
    await each(running, tie("A", "cookie_id:c"))
    assert await owner(running, "cookie_id:c") is None
    assert await refused(running, "accept", identifier="A", other="cookie_id:c") == over
    assert await refused(running, "link", canonicalId="A", identifiers=["cookie_id:c"]) == over
    await running.checked()


# --- whatever the clock says ---


async def test_no_record_parts_customers_that_were_merged_by_hand(running):
    await each(running, tie("A", E))
    await act(running, "unlink", canonicalId="A", identifier=E)
    await bulk(running, line("B", "segments", SEGMENT))
    await act(running, "merge", targetId="A", sourceId="B")
    await each(running, tie("B", E))
    assert (await owner(running, "customer_id:B"), await owner(running, E)) == ("A", None)
    (waits,) = [each for each in (await explained(running, "A"))["candidates"] if each["identifier"]["value"] == "B"]
    assert waits["reason"] == "cannot_link"
    await each(running, tie("C", E))
    assert await owner(running, E) == "C"
    assert await refused(running, "merge", targetId="B", sourceId="C") == (409, "link_refused", "cannot_link")
    assert await owner(running, "customer_id:B") == "A"
    await running.checked()


async def test_a_merge_that_all_claims_together_refuse_is_refused(two, monkeypatch):
    """An identifier that is shared no more may carry a ban along, which stands between neither of the two before."""
    decide = neighbourhood.decide

    def refusing(claims, *others):
        decisions = decide(claims, *others)
        reasons = [
            Reason.CANNOT_LINK if claim.rule == Rule.MERGE else reason
            for claim, reason in zip(claims, decisions.reasons, strict=True)
        ]
        return decisions._replace(reasons=reasons)

    monkeypatch.setattr(neighbourhood, "decide", refusing)
    assert await refused(two, "merge", targetId="A", sourceId="B") == (409, "link_refused", "cannot_link")


async def test_evidence_is_explained_though_this_machines_clock_is_behind(running):
    segments = [line("A", "segments", {**SEGMENT, "segmentId": f"s{number}"}) for number in range(50)]
    at = "2026-05-01T00:00:00Z"
    await bulk(running, *segments, line("A", "experiments", variant("a", at)), line(E, "experiments", variant("b", at)),
               tie("A", E))  # fmt: skip
    cluster = (await running.client.get("/api/v1/identity", params={"customerId": "A"})).json()["cluster"]
    assert cluster == {"canonicalId": "A", "identifiers": [evidence(E)]} == {**cluster, "identifiers": await
        running.section("identities", "A")}  # fmt: skip
    explanation = await explained(running, "A")
    assert [identifier["value"] for identifier in explanation["identifiers"]] == ["e@example.org"]
    assert explanation["crossovers"] == ["x"]


async def test_an_identifier_unlinked_during_an_explanation_is_not_explained(running, monkeypatch):
    await each(running, line(E, "segments", SEGMENT), tie("A", E))
    explainer = running.services.explainer
    load = explainer._links

    async def late(tenant, members):
        monkeypatch.undo()
        await act(running, "unlink", canonicalId="A", identifier=E)
        return await load(tenant, members)

    monkeypatch.setattr(explainer, "_links", late)
    assert (await explained(running, "A"))["identifiers"] == []


# --- rules ---


async def test_rules_apply_to_evidence_recorded_after_them(running):
    await each(running, tie("A", E), tie("B", E, 0.9))
    assert await owner(running, "B") == "B"
    await rules(running, FREE)
    assert await owner(running, "B") == "B", "what was decided stays as it was decided"
    await each(running, tie("B", E, 0.8))
    assert await owner(running, "B") == "A"
    made = await running.services.rules.set(TENANT, None)
    assert made == await running.services.rules.get(TENANT)
    assert not made.types
    assert await owner(running, "B") == "A"
    await running.checked()


async def test_a_blocked_customer_id_is_blocked_on_every_way_in(running):
    await bulk(running, line("GUEST", "segments", SEGMENT))
    answer = await running.client.put("/api/v1/identity/rules", json={"blockedValues": ["guest"]})
    assert answer.status_code == 200
    before = await stored_state(running)
    ways = [
        await running.record("segments", {**SEGMENT, "segmentId": "new"}, "GUEST"),
        await running.record("identities", [evidence(E)], "GUEST"),
        await tried(running, "link", canonicalId="GUEST", identifiers=[E]),
    ]
    assert [(response.status_code, response.json()["code"]) for response in ways] == [(422, "blocked_identifier")] * 3
    assert not any("GUEST" in response.text for response in ways)
    bulk_answer = await running.client.post(
        "/api/v1/records", json=[line("GUEST", "segments", {**SEGMENT, "segmentId": "n"})]
    )
    assert [refusal["code"] for refusal in bulk_answer.json()["refused"]] == ["blocked_identifier"]
    assert await stored_state(running) == before
    assert (await running.profile("GUEST")).status_code == 200, "what is held of it can be read"


async def test_the_region_of_phone_numbers_is_set_before_the_first_record_alone(running):
    await rules(running, {"region": "DE"})
    await each(running, tie("A", "phone:030 901820"))
    assert await owner(running, "phone:+4930901820") == "A"
    answer = await running.client.put("/api/v1/identity/rules", json={"region": "US"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rules")
    assert json.loads((await running.client.get("/api/v1/identity/rules")).text)["region"] == "DE"
    assert (await running.client.put("/api/v1/identity/rules", json={"region": "DE"})).status_code == 200
