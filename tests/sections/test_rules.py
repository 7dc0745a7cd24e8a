"""The contract's table of records, line by line: which record counts, and the records of two joined histories."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import START
from portrait.model import time
from portrait.model.fact import Op
from portrait.projection import read_state, store_state
from portrait.sections.fold import Entry, JoinedState, ends
from sections.facts import MINUTE, RECORDED_FROM, SECTIONS, Statement, facts_of, parsed, rendered, state_of

A, B, C = "c1", "c2", "c3"


def saying(who, minutes, **record):
    return Statement(who, START + minutes * MINUTE, record, record)


def joined(name, *statements, now=START, order=None, since=RECORDED_FROM):
    """Return the records of the histories once they are joined."""
    section = SECTIONS[name]
    facts = facts_of(section, list(statements), since)
    apart = [state_of(section, [fact for fact in facts if fact.identifier.value == who]) for who in (A, B)]
    both = section.fold.join(*(apart if order is None else reversed(apart)))
    return json.loads(rendered(section, both, now)[0])


def identity(who, minutes, confidence, value="a@example.com"):
    return saying(who, minutes, type="email", value=value, confidence=confidence)


def test_identities_joined_are_a_union_with_the_higher_confidence():
    records = joined("identities", identity(A, -10, 0.9), identity(B, -5, 0.4), identity(B, -5, 0.7, "b@example.com"))
    assert [(record["value"], record["confidence"]) for record in records] == [
        ("a@example.com", 0.9),
        ("b@example.com", 0.7),
    ]


def test_in_one_history_the_newest_confidence_counts_even_if_lower():
    records = joined("identities", identity(A, -10, 0.9), identity(A, -5, 0.4))
    assert [record["confidence"] for record in records] == [0.4]


def test_identities_are_shown_by_confidence_then_key():
    records = joined(
        "identities", identity(A, -3, 0.5, "b@example.com"), identity(A, -9, 0.5), identity(A, -5, 1, "z@example.com")
    )
    assert [record["value"] for record in records] == ["z@example.com", "a@example.com", "b@example.com"]


def event(who, minutes, id_):
    return saying(who, minutes, id=id_, interactionType="click", timestamp="2026-01-01T00:00:00Z")


def test_interactions_joined_are_all_by_time_newest_first_ties_by_id_descending():
    records = joined("interactions", event(A, -3, "a"), event(B, -2, "b"), event(A, -2, "c"), event(B, -9, "d"))
    assert [record["id"] for record in records] == ["c", "b", "a", "d"]


def test_of_interactions_joined_the_newest_20_are_shown():
    statements = [event(A if n % 2 else B, -n, f"e{n:02}") for n in range(1, 31)]
    assert [record["id"] for record in joined("interactions", *statements)] == [f"e{n:02}" for n in range(1, 21)]


def segment(who, minutes, name, since):
    return saying(who, minutes, segmentId="s", segmentName=name, memberSince=since)


def test_segments_joined_keep_the_earlier_member_since_and_the_newest_name():
    records = joined(
        "segments",
        segment(A, -9, "Old name", "2026-01-01T00:00:00Z"),
        segment(B, -5, "New name", "2026-02-01T00:00:00Z"),
    )
    assert records == [{"segmentId": "s", "segmentName": "New name", "memberSince": "2026-01-01T00:00:00Z"}]


def enrollment(who, minutes, journey="j", status="active", at="2026-01-01T00:00:00Z"):
    return saying(who, minutes, journeyId=journey, journeyName="J", status=status, enrolledAt=at)


def test_of_a_journey_active_in_both_the_earlier_enrollment_stays_and_the_other_is_merged():
    statements = [enrollment(A, -9, at="2026-02-01T00:00:00Z"), enrollment(B, -5, at="2026-01-01T00:00:00Z")]
    assert [record["enrolledAt"] for record in joined("journeys", *statements)] == ["2026-01-01T00:00:00Z"]
    section = SECTIONS["journeys"]
    live = section.state_fold.live(state_of(section, facts_of(section, statements)), START)
    assert {(live_record.record.enrolled_at.month, live_record.record.status) for live_record in live} == {
        (1, "active"),
        (2, "merged"),
    }


def test_a_completed_enrollment_is_shown_beside_an_active_one():
    statements = [enrollment(A, -9, status="completed"), enrollment(B, -5, at="2026-02-01T00:00:00Z")]
    assert [record["status"] for record in joined("journeys", *statements)] == ["active", "completed"]


def test_two_journeys_stay_active_side_by_side():
    assert len(joined("journeys", enrollment(A, -9, "j1"), enrollment(B, -5, "j2"))) == 2


@pytest.mark.parametrize(("status", "shows"), [("active", 1), ("completed", 1), ("exited", 0), ("paused", 0)])
def test_enrollments_are_shown_while_active_or_completed(status, shows):
    assert len(joined("journeys", enrollment(A, -9, status=status))) == shows


def assigned(who, minutes, variant, at):
    return saying(who, minutes, experimentId="e", experimentName="E", variant=variant, assignedAt=at)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_in_one_history_the_first_exposure_counts_whenever_it_is_recorded(data):
    days = data.draw(st.lists(st.integers(1, 28), min_size=1, max_size=6, unique=True))
    minutes = data.draw(st.lists(st.integers(-50, 0), min_size=len(days), max_size=len(days), unique=True))
    statements = [
        assigned(A, at, f"v{day}", f"2026-02-{day:02}T00:00:00Z") for day, at in zip(days, minutes, strict=True)
    ]
    for ahead in (RECORDED_FROM, START):
        assert [
            record["variant"] for record in joined("experiments", *statements, since=ahead, now=START + MINUTE)
        ] == [f"v{min(days)}"]


def test_an_assignment_recorded_after_the_end_of_the_first_counts():
    first = assigned(A, -9, "control", "2026-02-01T00:00:00Z")
    end = first._replace(record=None, effective_at=START - 5 * MINUTE)
    forced = assigned(A, -1, "treatment", "2026-03-01T00:00:00Z")
    for statements in ([first, end, forced], [first, forced, end]):
        assert [
            record["variant"] for record in joined("experiments", *statements, since=START, now=START + MINUTE)
        ] == ["treatment"]


def test_experiments_joined_keep_the_first_exposure():
    records = joined(
        "experiments",
        assigned(A, -5, "treatment", "2026-02-01T00:00:00Z"),
        assigned(B, -9, "control", "2026-03-01T00:00:00Z"),
    )
    assert [record["variant"] for record in records] == ["treatment"]


def consent(who, minutes, status, channel=None):
    return saying(who, minutes, kind="consent", purpose="marketing", channel=channel, status=status)


@pytest.mark.parametrize(
    ("first", "other", "stricter"),
    [
        ("granted", "revoked", "revoked"),
        ("granted", "pending", "pending"),
        ("pending", "revoked", "revoked"),
        ("granted", "granted", "granted"),
    ],
)
@pytest.mark.parametrize("times", [(-9, -5), (-5, -9)])
@pytest.mark.parametrize("order", [None, "reversed"])
def test_of_consent_in_two_histories_the_stricter_counts_whichever_is_newer(first, other, stricter, times, order):
    records = joined("consent", consent(A, times[0], first), consent(B, times[1], other), order=order)
    assert [record["status"] for record in records] == [stricter]


def test_consent_of_another_channel_is_another_record():
    records = joined("consent", consent(A, -9, "granted", "email"), consent(B, -5, "revoked"))
    assert {(record["channel"], record["status"]) for record in records} == {("email", "granted"), (None, "revoked")}


def test_of_preferences_in_two_histories_the_newest_counts():
    def preference(who, minutes, value):
        return saying(who, minutes, kind="preference", key="k", value=value)

    assert [record["value"] for record in joined("consent", preference(A, -9, "a"), preference(B, -5, "b"))] == ["b"]


STRICT = ("granted", "pending", "revoked")
"""From the least strict."""


JOINED = st.none() | st.integers(-7, 1).map(lambda minutes: START + minutes * MINUTE)


def decided(decisions, joined_at):
    """Return the statuses after decisions, recorded in this order, of histories joined since a moment."""
    section = SECTIONS["consent"]
    state = state_of(section, facts_of(section, [consent(*decision) for decision in decisions], START))
    if joined_at is not None:
        since = {
            identifier: {other: joined_at for other in state.histories if other != identifier}
            for identifier in state.histories
        }
        state = JoinedState(state.histories, since)
    return [record.status for record in section.fold.render(state, START + MINUTE)[0]]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.just(-5), st.sampled_from(STRICT)), min_size=1), JOINED)
def test_the_strictest_of_decisions_at_one_moment_counts_in_any_history_and_order(decisions, joined_at):
    assert decided(decisions, joined_at) == [max((status for _, _, status in decisions), key=STRICT.index)]


@settings(max_examples=200, deadline=None)
@given(st.data(), JOINED)
def test_decisions_lead_to_one_status_in_any_order(data, joined_at):
    decision = st.tuples(st.sampled_from([A, B, C]), st.sampled_from([-6, -5, 0]), st.sampled_from(STRICT))
    decisions = data.draw(st.lists(decision, min_size=1))
    assert decided(data.draw(st.permutations(decisions)), joined_at) == decided(decisions, joined_at)


def test_a_state_of_consent_that_an_older_version_folded_is_folded_anew():
    """Version 1 ranked a pending decision as a grant, and stored it so."""
    section = SECTIONS["consent"]
    state = state_of(section, facts_of(section, [consent(A, -5, "pending"), consent(A, -5, "granted")]))
    stored = store_state(section, state)
    assert read_state(section, stored) == state
    assert read_state(section, stored._replace(version=1)) is None


def test_a_later_grant_overrules_an_earlier_denial_in_one_history():
    statements = [consent(A, -5, "granted"), consent(A, -9, "revoked")]
    assert joined("consent", *statements, since=START, now=START + MINUTE)[0]["status"] == "granted"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_withdrawal_recorded_late_leaves_no_status_less_strict_than_all_facts_give(data):
    """Once a grant recorded ahead has become effective, a state no longer knows the decision before it."""
    section = SECTIONS["consent"]
    decision = st.tuples(st.just(A), st.integers(-70, 0), st.sampled_from([*STRICT, "granted"]))
    statements = [consent(*decided) for decided in data.draw(st.lists(decision, min_size=1, max_size=8))]
    facts = facts_of(section, statements)
    rank = {"granted": 0, "pending": 1, "revoked": 2}
    left = []
    for fact, statement in zip(facts, statements, strict=True):
        entry = Entry(fact.effective_at, rank[statement.record["status"]], fact.recorded_at, fact.id, None, fact.body)
        left = [kept for kept in left if entry.rank < 2 or not ends(entry, kept)] + [entry]
    right = max(entry for entry in left if entry.effective_at <= START).rank
    shows = rank[section.fold.render(state_of(section, facts), START)[0][0].status]
    assert shows >= right


def test_decisions_of_one_moment_count_by_their_current_status_when_one_has_run_out():
    section = SECTIONS["consent"]
    ends_soon = consent(A, -50, "granted")
    ends_soon.record["revokedAt"] = time.rfc3339(START + 10 * MINUTE)
    for statements in ([ends_soon, consent(A, -50, "pending")], [consent(A, -50, "pending"), ends_soon]):
        state = state_of(section, facts_of(section, statements, START))
        shows = [section.fold.render(state, START + at * MINUTE)[0][0].status for at in (1, 9, 10)]
        assert shows == ["pending", "pending", "revoked"]
        assert [upcoming_record.record.status for upcoming_record in section.fold.upcoming(state, START + MINUTE)] == [
            "revoked"
        ]


@pytest.mark.parametrize(
    ("record", "at"),
    [
        ({"kind": "consent", "purpose": "p", "status": "granted", "grantedAt": "2026-01-02T00:00:00Z"}, "2026-01-02"),
        (
            {
                "kind": "consent", "purpose": "p", "status": "revoked", "grantedAt": "2026-01-02T00:00:00Z",
                "revokedAt": "2026-01-03T00:00:00Z",
            },
            "2026-01-03",
        ),
        ({"kind": "preference", "key": "k", "value": 1, "updatedAt": "2026-01-04T00:00:00Z"}, "2026-01-04"),
    ],
)  # fmt: skip
def test_a_decision_is_true_from_its_own_moment(record, at):
    assert parsed(SECTIONS["consent"], record).effective_at == time.parse(f"{at}T00:00:00Z")


def test_a_decision_without_a_moment_is_effective_when_recorded():
    assert parsed(SECTIONS["consent"], {"kind": "consent", "purpose": "p", "status": "granted"}).effective_at is None


def test_a_fact_effective_in_the_future_shows_from_then_on():
    statements = [consent(A, -5, "granted"), consent(A, 30, "revoked")]
    section = SECTIONS["consent"]
    state = state_of(section, facts_of(section, statements))
    at = START + 30 * MINUTE
    assert section.fold.render(state, START)[1] == at
    assert [joined("consent", *statements, now=now)[0]["status"] for now in (START, at - 1, at)] == [
        "granted",
        "granted",
        "revoked",
    ]
    assert section.fold.render(state, at)[1] is None


def test_a_delete_ends_a_record_and_a_newer_fact_brings_it_back():
    section = SECTIONS["segments"]
    first = segment(A, -9, "Name", "2026-01-01T00:00:00Z")
    ended = first._replace(record=None, effective_at=START - 5 * MINUTE)
    again = segment(A, -1, "Name", "2026-03-01T00:00:00Z")
    assert facts_of(section, [ended])[0].op is Op.DELETE
    assert joined("segments", first, ended) == []
    assert [record["memberSince"] for record in joined("segments", first, ended, again)] == ["2026-03-01T00:00:00Z"]
    assert joined("segments", first._replace(effective_at=START - 20 * MINUTE), ended) == []


def test_a_delete_in_one_history_leaves_the_others_record():
    first = segment(A, -9, "Name", "2026-01-01T00:00:00Z")
    ended = first._replace(record=None, effective_at=START - 5 * MINUTE)
    other = segment(B, -8, "Name", "2026-02-01T00:00:00Z")
    assert [record["memberSince"] for record in joined("segments", first, ended, other)] == ["2026-02-01T00:00:00Z"]


def bought(who, minutes, id_, cents, currency="EUR"):
    return saying(who, minutes, purchaseId=id_, currency=currency, cents=cents, boughtAt="2026-01-01T00:00:00Z")


def test_lifetime_value_sums_purchases_by_currency_over_both_histories():
    sums = joined(
        "lifetime-value",
        bought(A, -9, "a", 100),
        bought(A, -8, "b", 250),
        bought(B, -7, "c", 5),
        bought(B, -6, "d", 7, "JPY"),
    )
    assert sums == [{"currency": "EUR", "cents": 355}, {"currency": "JPY", "cents": 7}]


def test_lifetime_value_counts_a_purchase_ahead_from_its_moment_on():
    statements = [bought(A, -9, "a", 100), bought(A, 30, "b", 50)]
    sums = [joined("lifetime-value", *statements, now=START + at * MINUTE)[0]["cents"] for at in (0, 29, 30)]
    assert sums == [100, 100, 150]
