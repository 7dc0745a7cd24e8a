"""A claim lives while a live record or a person's word makes it; what moments, bans and moves do to it."""

import pytest

from harness import TENANT, interaction
from identifying.acting import (
    FREE,
    SEGMENT,
    act,
    bulk,
    each,
    evidence,
    explained,
    line,
    named,
    owner,
    refused,
    rules,
    tie,
    tried,
)
from portrait.identity.rules import Rule
from portrait.model.fact import Fact, Op, fact_id
from portrait.model.identifier import Identifier, is_generated
from portrait.sections.links import LINKS, Decision, link_key
from portrait.storage.contract import Changes

E, F, P, D = "email:e@example.org", "email:f@example.org", "phone:+4930901820", "device_id:d"


async def deleted(running, customer_id, tag):
    """Delete the identity record that names an identifier."""
    for stored_record in (await running.client.get(f"/api/v1/customers/{customer_id}/identities")).json()["data"]:
        if f"{stored_record['record']['type']}:{stored_record['record']['value']}" == tag:
            answer = await running.client.delete(f"/api/v1/customers/{customer_id}/identities/{stored_record['key']}")
            assert answer.status_code == 204


async def waiting(running, customer_id):
    return {
        (candidate["other"]["value"], candidate["reason"])
        for candidate in (await explained(running, customer_id))["candidates"]
    }


# --- a claim lives as long as evidence or a person makes it ---


async def test_late_older_evidence_revives_no_link_whose_record_is_deleted(running):
    await each(running, tie("A", E, effectiveAt="2026-03-01T00:00:00Z"))
    await deleted(running, "A", E)
    await bulk(running, tie("A", E, 0.9, effectiveAt="2026-02-01T00:00:00Z"))
    assert await owner(running, E) is None
    assert await waiting(running, "A") == set()
    await bulk(running, tie("A", E, 0.8))
    assert await owner(running, E) == "A"
    await running.checked()


async def test_the_end_of_a_record_ends_no_evidence_recorded_at_the_other_identifier(running):
    await each(running, tie("A", E, source="crm"), tie(E, "A", 0.7, source="web"))
    await deleted(running, "A", E)
    assert await running.section("identities", "A") == [evidence(E, 0.7)]
    await deleted(running, "A", "customer_id:A")
    assert await running.section("identities", "A") == []
    assert await owner(running, E) != "A"
    await running.checked()


async def test_a_refused_claim_waits_no_more_once_its_record_is_deleted(running):
    await each(running, tie("B", E), tie("A", E))
    assert await waiting(running, "A") == {("e@example.org", "unique_type")}
    await deleted(running, "A", E)
    assert await waiting(running, "A") == set()
    assert await refused(running, "accept", identifier="A", other=E) == (409, "not_merged", None)
    await running.checked()


async def test_an_identifier_goes_to_the_next_claimant_once_its_link_is_deleted(running):
    await each(running, tie("B", E), tie("A", E))
    await deleted(running, "B", E)
    assert await owner(running, E) == "A"
    await running.checked()


@pytest.mark.parametrize("reason", ["missing", "unfounded"])
async def test_a_missing_or_unfounded_decision_is_reported_and_put_right(running, reason):
    await each(running, tie("A", E), line("B", "segments", SEGMENT))
    store = running.services.store
    b, e = Identifier("customer_id", "B"), Identifier("email", "e@example.org")

    async def append_decisions(tx):
        """Append decisions that no record founds: link B and the address, or retract A's link to it."""
        pairs = [(Identifier("customer_id", "A"), e)] if reason == "missing" else [(b, e)]
        status = "retracted" if reason == "missing" else "limit"
        at = 1_800_000_000_000_000
        for pair in pairs:
            for identifier, other in (pair, pair[::-1]):
                at += 1
                body = LINKS.shape.encode(Decision(rule=Rule.RECORD, value=other.value, at=at, since=at, status=status))
                key = link_key(other)
                fact = Fact(identifier, LINKS.name, key, Op.PUT, body, at, at, "api", fact_id(at), LINKS.version)
                await tx.apply(TENANT, Changes(facts=[fact]))

    await store.write(TENANT, append_decisions)
    differences = [
        difference for difference in (await running.services.upkeep.check()).differences if difference.kind == "link"
    ]
    assert {difference.reason for difference in differences} == {reason}
    await running.services.upkeep.rebuild()
    await running.checked()
    assert await owner(running, E) == "A"
    assert await waiting(running, "B") == set()


# --- moments ---


async def test_a_link_counts_from_its_own_moment_whenever_it_is_recorded(running):
    def consent(tag, status, at):
        record = {"kind": "consent", "purpose": "p", "status": status, "grantedAt": at if status == "granted" else None,
                  "revokedAt": at if status == "revoked" else None}  # fmt: skip
        return line(tag, "consent", record)

    lines = [
        tie("A", E, effectiveAt="2024-01-01T00:00:00Z"),
        consent("A", "revoked", "2024-06-01T00:00:00Z"),
        consent(E, "granted", "2025-06-01T00:00:00Z"),
    ]
    await each(running, *reversed(lines))
    assert [consent_record["status"] for consent_record in await running.section("consent", "A")] == ["granted"]
    await running.checked()


async def test_an_earlier_moment_of_a_link_changes_dependent_sections_at_once(running):
    def consent(tag, status, at):
        when = {"grantedAt": at} if status == "granted" else {"revokedAt": at}
        return line(tag, "consent", {"kind": "consent", "purpose": "p", "status": status, **when})

    await each(
        running,
        tie("A", E, effectiveAt="2026-05-01T00:00:00Z", source="crm"),
        consent("A", "revoked", "2026-03-01T00:00:00Z"),
        consent(E, "granted", "2026-04-01T00:00:00Z"),
    )
    assert [consent_record["status"] for consent_record in await running.section("consent", "A")] == ["revoked"]
    await bulk(running, tie("A", E, effectiveAt="2026-01-01T00:00:00Z", source="web"))
    assert [consent_record["status"] for consent_record in await running.section("consent", "A")] == ["granted"]
    await running.checked()


async def test_an_identifier_split_off_by_three_duplicates_returns_once_they_are_merged(running):
    await each(running, *(tie(name, E) for name in "ABC"))
    assert await owner(running, E) is None
    for name in "BC":
        await act(running, "merge", targetId="A", sourceId=name)
    assert await owner(running, E) == "A"
    await act(running, "unmerge", targetId="A", sourceId="C")
    await act(running, "unmerge", targetId="A", sourceId="B")
    assert await owner(running, E) is None
    await running.checked()


# --- bans ---


async def test_a_ban_is_lifted_by_naming_just_the_two(running):
    await each(running, *(line(customer_id, "segments", SEGMENT) for customer_id in ("father", "son", "son-2")))
    await act(running, "cannot-link", identifier="father", other="son")
    await act(running, "merge", targetId="son", sourceId="son-2")
    for action in ({"targetId": "father", "sourceId": "son-2"}, {"targetId": "son-2", "sourceId": "father"}):
        assert await refused(running, "merge", **action) == (409, "link_refused", "cannot_link")
    text = (await tried(running, "merge", targetId="father", sourceId="son-2")).text
    assert "son" not in text.replace("person", "").replace("reason", "")
    allowing = {"action": "allow-link", "identifier": named("son"), "other": named("father")}
    effect = await act(running, "preview", of=allowing)
    assert effect["before"] == effect["after"]
    await act(running, "allow-link", identifier="son", other="father")
    assert await refused(running, "allow-link", identifier="son", other="father") == (409, "not_merged", None)
    await act(running, "merge", targetId="father", sourceId="son-2")
    assert await owner(running, "son") == "father"
    await running.checked()


async def test_a_claim_refused_by_a_ban_alone_holds_once_the_ban_is_lifted(running):
    await rules(running, FREE)
    await each(running, tie("A", E))
    await act(running, "unlink", canonicalId="A", identifier=E)
    assert await owner(running, E) is None
    await act(running, "allow-link", identifier="A", other=E)
    assert await owner(running, E) == "A"
    await running.checked()


# --- moving ---


async def test_a_move_gives_an_old_number_to_its_new_owner_in_one_action(running):
    await each(running, tie("A", P), tie("A", E), tie("B", F), tie("B", P))
    fields = {"sourceId": "A", "targetId": "B", "identifier": {"type": "phone", "value": "+4930901820"}}
    previewed = await act(running, "preview", of={"action": "move", **fields})
    assert await owner(running, P) == "A"
    effect = await act(running, "move", **fields)
    assert effect == previewed
    assert await owner(running, P) == "B"
    assert [identifier["value"] for identifier in await running.section("identities", "A")] == ["e@example.org"]
    await each(running, tie("A", P, 0.9), tie(P, "A", source="web"))
    assert await owner(running, P) == "B", "it does not go back by itself"
    assert await refused(running, "move", **fields) == (409, "not_merged", None)
    await running.checked()


def without_made(effect):
    """Return the profiles of an effect without generated ids, which are made anew each time."""
    return {
        when: [
            (profile["customerId"], [each for each in profile["identifiers"] if not is_generated(each["value"])])
            for profile in effect[when]
        ]
        for when in ("before", "after")
    }


@pytest.mark.parametrize("records", [0, 1])
async def test_a_move_gives_an_identifier_that_the_new_owner_never_had(running, records):
    await each(running, tie("A", P), tie("A", E), tie("B", F))
    await each(running, *[line(P, "interactions", interaction(number)) for number in range(records)])
    fields = {"sourceId": "A", "targetId": "B", "identifier": {"type": "phone", "value": "+4930901820"}}
    previewed = await act(running, "preview", of={"action": "move", **fields})
    assert without_made(await act(running, "move", **fields)) == without_made(previewed)
    assert (await owner(running, P), await owner(running, E)) == ("B", "A")
    assert len(await running.section("interactions", "B")) == records
    await running.checked()


async def test_a_refused_move_changes_nothing(running):
    await each(running, tie("A", P), tie("B", F))
    number = {"type": "phone", "value": "+4930901820"}
    assert await refused(running, "move", sourceId="A", targetId="A", identifier=number) == (422, "self_link", None)
    own = {"type": "customer_id", "value": "A"}
    assert await refused(running, "move", sourceId="A", targetId="B", identifier=own) == (422, "self_link", None)
    nobody = (404, "customer_not_found", None)
    assert await refused(running, "move", sourceId="X", targetId="B", identifier=number) == nobody
    assert await refused(running, "move", sourceId="A", targetId="X", identifier=number) == nobody
    other = {"type": "phone", "value": "+4930901821"}
    assert await refused(running, "move", sourceId="A", targetId="B", identifier=other) == (409, "not_merged", None)
    await running.checked()


# --- ranks ---


async def test_the_source_of_higher_rank_is_believed(running):
    await rules(running, {"sourceRanks": {"crm": 1, "form": 900}})
    await each(running, tie("A", E, source="form"), tie("B", E, source="web"), tie("C", F, source="web"))
    assert await owner(running, E) == "B"
    await each(running, tie("C", E, source="crm"))
    assert await owner(running, E) is None, "seen with three it is nobody's"
    await each(running, tie("D", F, source="form"))
    assert await owner(running, F) == "C"
    await each(running, tie("D", F, 0.9, source="crm"))
    assert await owner(running, F) == "D"
    await running.checked()


@pytest.mark.parametrize("order", [1, -1])
async def test_an_identifier_claimed_for_two_at_one_moment_waits_until_an_earlier_claim_decides(running, order):
    lines = [tie(name, E, effectiveAt="2026-03-01T00:00:00Z", source="crm") for name in "AB"]
    await each(running, *lines[::order])
    assert await owner(running, E) is None
    assert await waiting(running, "A") == await waiting(running, "B") == {("e@example.org", "unique_type")}
    await bulk(running, tie("B", E, effectiveAt="2026-02-01T00:00:00Z", source="web"))
    assert await owner(running, E) == "B", "an earlier claim ties with none"
    await running.checked()
