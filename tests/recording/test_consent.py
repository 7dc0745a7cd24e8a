"""Consent: the newest decision counts, in any order, repeated, deleted, ahead of its time, and loaded again."""

from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.given import merge
from harness import START, ndjson
from portrait.model import time
from sections.facts import MINUTE

STRICT = ("granted", "pending", "revoked")
"""From the least strict."""
CONSENT = {"kind": "consent", "purpose": "marketing", "channel": "email"}
NOWHERE = "nothing"
"""The status where no decision counts."""
numbers = count()


def at(minutes):
    return time.rfc3339(START + int(minutes * MINUTE))


def decision(status, granted=None, revoked=None, **more):
    moments = {"grantedAt": granted, "revokedAt": revoked}
    timestamps = {name: None if minutes is None else at(minutes) for name, minutes in moments.items()}
    return {**CONSENT, "status": status, **timestamps, "source": None, **more}


async def bulk(running, *lines):
    headers = {"content-type": "application/x-ndjson"}
    answer = await running.client.post("/api/v1/records", content=ndjson(lines), headers=headers)
    assert answer.status_code == 200, answer.text
    outcome = answer.json()
    assert outcome["refused"] == []
    return outcome


def line(customer_id, record, **more):
    return {"customerId": customer_id, "section": "consent", "record": record, **more}


async def status(running, customer_id="c1"):
    statuses = [consent["status"] for consent in await running.section("consent", customer_id)]
    return statuses[0] if statuses else NOWHERE


# --- the moment of a decision is that of its own status ---

MOMENTS = [
    ([decision("granted", -300), decision("granted", -200), decision("revoked", -300)], "revoked"),
    ([decision("granted", -100, -200)], "granted"),
    ([decision("revoked", -100, -200), decision("granted", -150)], "granted"),
    ([decision("granted", -200), decision("granted", -300, -100)], "granted"),
    ([decision("granted", -300, -100)], "revoked"),
    ([decision("granted", None, 100)], "granted"),
    ([decision("granted", -100, 525600)], "granted"),
]


@pytest.mark.parametrize(("decisions", "expected"), MOMENTS)
async def test_a_decision_counts_from_the_moment_of_its_own_status(running, decisions, expected):
    for record in decisions:
        await running.recorded("consent", record)
        running.clock.advance(1)
    assert await status(running) == expected
    await running.checked()


async def test_a_grant_with_an_end_is_granted_until_then_and_revoked_after_however_far_ahead(running):
    years = 5 * 365 * 24 * 60
    grant = decision("granted", -100, years)
    await running.recorded("consent", grant)
    assert await running.section("consent") == [grant]
    assert [
        stored_record["record"] for stored_record in (await running.listed("consent", upcoming="true"))["data"]
    ] == [{**grant, "status": "revoked"}]
    running.clock.now = START + years * MINUTE - 10
    assert await status(running) == "granted"
    running.clock.advance(1)
    assert await running.section("consent") == [{**grant, "status": "revoked"}]
    assert await running.services.upkeep.refresh() == 1
    assert [stored_record["effectiveAt"] for stored_record in (await running.listed("consent"))["data"]] == [at(years)]
    await running.checked()


async def test_a_grant_that_ran_out_takes_nothing_from_a_later_one(running):
    await running.recorded("consent", decision("granted", -100, 60))
    await running.recorded("consent", decision("granted", -50))
    running.clock.advance(2 * 3600)
    assert await status(running) == "granted"


@pytest.mark.parametrize(
    "body",
    [
        decision("granted", 24 * 60 + 1),
        decision("pending", 24 * 60 + 1),
        decision("revoked", None, 24 * 60 + 1),
        {"record": decision("granted"), "effectiveAt": at(24 * 60 + 1)},
        {"record": decision("granted", 24 * 60 + 1), "effectiveAt": at(0)},
    ],
)
async def test_a_decision_more_than_24_hours_ahead_is_refused(running, body):
    answer = await running.record("consent", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_record")
    assert "24 hours" in answer.json()["detail"]


async def test_a_decision_within_24_hours_counts_when_it_comes(running):
    await running.recorded("consent", decision("granted", 24 * 60 - 1))
    assert await status(running) == NOWHERE
    running.clock.advance(24 * 3600)
    assert await status(running) == "granted"


async def test_a_preference_can_be_planned(running):
    await running.recorded("consent", {"kind": "preference", "key": "k", "value": 1, "updatedAt": at(60 * 24 * 30)})


# --- in any order, repeated, deleted ---


class Deed(NamedTuple):
    """One decision, or the end of the record, at a moment."""

    moment: int
    status: str
    """Or NOWHERE: the record was deleted."""
    end: int | None = None


@st.composite
def deeds(draw, size=8):
    """Up to eight, deletes each at a moment of its own: at a decision's moment the one recorded last would count."""
    history = []
    for _ in range(draw(st.integers(1, size))):
        moment = draw(st.integers(-30, -10))
        status_ = draw(st.sampled_from([*STRICT, "granted", NOWHERE]))
        ends = st.none() | st.integers(moment + 1, -1) if status_ == "granted" else st.none()
        history.append(Deed(moment, status_, draw(ends)))
    taken = {deed.moment for deed in history if deed.status != NOWHERE}
    return [deed for deed in history if deed.status != NOWHERE or deed.moment not in taken]


def line_of(customer_id, deed):
    if deed.status == NOWHERE:
        return line(customer_id, CONSENT, op="delete", effectiveAt=at(deed.moment))
    own = (None, deed.moment) if deed.status == "revoked" else (deed.moment, deed.end)
    return line(customer_id, decision(deed.status, *own))


def counts(history, now=0):
    """Return the status that decisions lead to, worked out from all of them."""
    last = max(deed.moment for deed in history)
    stands = [
        "revoked" if deed.end is not None and deed.end <= now else deed.status
        for deed in history
        if deed.moment == last
    ]
    return max(stands, key=(NOWHERE, *STRICT).index)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), history=deeds())
def test_decisions_lead_to_one_status_in_any_order_repeated_and_deleted(opened, data, history):
    order = (
        data.draw(st.permutations([*history, *data.draw(st.lists(st.sampled_from(history), max_size=4))]))
        if history
        else []
    )
    cuts = data.draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)))

    async def work(running):
        who = f"p{next(numbers)}"
        await running.recorded("segments", {"segmentId": "s", "segmentName": "s", "memberSince": at(0)}, who)
        chunk = []
        for deed, cut in zip(order, cuts, strict=True):
            chunk.append(line_of(who, deed))
            if cut:
                await bulk(running, *chunk)
                chunk = []
        if chunk:
            await bulk(running, *chunk)
        assert await status(running, who) == (counts(history) if history else NOWHERE)

    opened(work)


# --- decisions ahead ---


async def test_a_withdrawal_ends_a_grant_recorded_before_it_by_a_fast_clock(running):
    await running.recorded("consent", decision("granted", 5))
    running.clock.advance(60)
    await running.recorded("consent", decision("revoked", None, 1))
    running.clock.advance(5 * 60)
    assert await status(running) == "revoked"
    assert (await running.listed("consent", upcoming="true"))["data"] == []
    await running.checked()


async def test_a_withdrawal_recorded_late_ends_a_grant_recorded_before_its_moment(running):
    await running.recorded("consent", decision("granted", 5))
    running.clock.advance(3600)
    assert await status(running) == "granted"
    await running.recorded("consent", decision("revoked", None, 1))
    assert await status(running) == "revoked"
    await running.checked()


async def test_a_withdrawal_by_a_slow_clock_ends_grants_that_lie_ahead(running):
    running.clock.advance(60)
    await running.recorded("consent", decision("granted", 10))
    await running.recorded("consent", decision("revoked", None, 0))
    running.clock.advance(3600)
    assert await status(running) == "revoked"


async def test_a_grant_recorded_after_a_withdrawal_counts_from_its_moment(running):
    await running.recorded("consent", decision("revoked"))
    await running.recorded("consent", decision("granted", 5))
    running.clock.advance(600)
    assert await status(running) == "granted"


async def test_a_withdrawal_at_one_identifier_ends_grants_ahead_at_another_of_the_person(running):
    for name in ("c1", "c2"):
        await running.recorded("segments", {"segmentId": "s", "segmentName": "s", "memberSince": at(0)}, name)
    await merge(running, "c2", "c1")
    running.clock.advance(60)
    await running.recorded("consent", decision("granted", 6), "c2")
    running.clock.advance(60)
    await running.recorded("consent", decision("revoked"), "c1")
    running.clock.advance(600)
    assert await status(running) == "revoked"
    await running.recorded("consent", decision("granted"), "c2")
    assert await status(running) == "granted"
    await running.checked()


async def test_a_delete_ends_a_decision_to_come_and_a_second_is_404(running):
    await running.recorded("consent", decision("granted", 5))
    (ahead,) = (await running.listed("consent", upcoming="true"))["data"]
    path = f"/api/v1/customers/c1/consent/{ahead['key']}"
    assert (await running.client.delete(path)).status_code == 204
    running.clock.advance(600)
    assert await status(running) == NOWHERE
    assert (await running.client.delete(path)).status_code == 404


STEPS = st.one_of(
    st.tuples(st.sampled_from(["granted", "pending"]), st.integers(-20, 60)),
    st.tuples(st.sampled_from(["revoked", NOWHERE]), st.none()),
    st.tuples(st.just("wait"), st.integers(1, 30)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=2, max_size=10))
def test_a_withdrawal_or_a_delete_ends_all_that_lies_ahead_and_nothing_else(opened, steps):
    async def work(running):
        who = f"a{next(numbers)}"
        running.clock.now = (running.clock.now // MINUTE + 1) * MINUTE
        begun, history = running.clock.now, []
        await running.recorded("segments", {"segmentId": "s", "segmentName": "s", "memberSince": at(0)}, who)
        for index, (kind, minutes) in enumerate(steps):
            if kind == "wait":
                running.clock.advance(minutes * 60)
                continue
            now = running.clock.now
            moment = now + 1 if minutes is None else begun + minutes * MINUTE + index
            if kind in {"revoked", NOWHERE}:
                history = [deed for deed in history if deed.moment <= now]
            history.append(Deed(moment, kind))
            record = {**CONSENT, "status": kind}
            if kind == NOWHERE:
                await bulk(running, line(who, CONSENT, op="delete", effectiveAt=time.rfc3339(moment)))
            else:
                await running.recorded("consent", {"record": record, "effectiveAt": time.rfc3339(moment)}, who)
            running.clock.advance(1)
        for _ in range(4):
            due = [deed for deed in history if deed.moment <= running.clock.now]
            assert await status(running, who) == (counts(due) if due else NOWHERE)
            running.clock.advance(20 * 60)

    opened(work)


# --- without a moment ---


async def test_a_line_without_a_moment_loaded_again_after_a_withdrawal_changes_nothing_and_says_so(running):
    granted = line("c1", decision("granted"), source="crm")
    outcome = await bulk(running, granted)
    assert (outcome["recorded"], outcome["warnings"]) == (1, [{"index": 0, "code": "no_moment"}])
    await running.recorded("consent", decision("revoked"))
    running.clock.advance(3600)
    again = await bulk(running, granted, granted)
    assert (again["recorded"], again["duplicates"]) == (0, 2)
    assert again["warnings"] == [{"index": index, "code": "no_moment"} for index in (0, 1)]
    assert await status(running) == "revoked"
    await running.recorded("consent", {"record": decision("granted"), "source": "crm"})
    assert await status(running) == "revoked"


async def test_a_line_without_a_moment_loaded_again_after_a_delete_changes_nothing(running):
    granted = line("c1", decision("granted"))
    await bulk(running, granted)
    await bulk(running, line("c1", CONSENT, op="delete"))
    assert (await bulk(running, granted))["duplicates"] == 1
    assert await status(running) == NOWHERE


async def test_a_new_decision_of_a_person_counts_without_a_moment(running):
    """Single records are not sent again as a file is."""
    for choice in ("granted", "revoked", "granted", "revoked"):
        await running.recorded("consent", decision(choice))
        assert await status(running) == choice


async def test_a_line_with_a_moment_grants_again(running):
    granted = line("c1", decision("granted"), source="crm")
    await bulk(running, granted)
    await running.recorded("consent", decision("revoked"))
    running.clock.advance(3600)
    assert (await bulk(running, granted | {"effectiveAt": at(30)}))["recorded"] == 1
    assert await status(running) == "granted"


async def test_a_preference_repeated_without_a_moment_leaves_the_newer_one(running):
    def preference(value):
        return {"kind": "preference", "key": "k", "value": value}

    await bulk(running, line("c1", preference("weekly"), source="crm"))
    await running.recorded("consent", preference("daily"))
    await bulk(running, line("c1", preference("weekly"), source="crm"))
    assert [consent["value"] for consent in await running.section("consent")] == ["daily"]
    await bulk(running, line("c1", preference("never"), source="crm"))
    assert [consent["value"] for consent in await running.section("consent")] == ["never"]


WORDS = st.lists(st.tuples(st.sampled_from(["crm", "shop"]), st.sampled_from(STRICT)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), statements=WORDS, customers_own=st.booleans())
def test_lines_without_moments_sent_again_never_make_a_status_less_strict(opened, data, statements, customers_own):
    again = data.draw(st.lists(st.sampled_from(statements), min_size=1, max_size=6))

    async def work(running):
        who = f"n{next(numbers)}"
        lines = [line(who, decision(status_), source=source) for source, status_ in statements]
        await bulk(running, *lines)
        if customers_own:
            await running.recorded("consent", decision("revoked"), who)
        before = await status(running, who)
        await bulk(running, *(line(who, decision(status_), source=source) for source, status_ in again))
        after = await status(running, who)
        assert after != "granted" or before == "granted"

    opened(work)
