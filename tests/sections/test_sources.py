"""What several sources say of one key: whose word counts, and what a source that anybody can speak as may not do."""

import copy

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import START
from portrait.model import time
from portrait.model.source import is_public
from portrait.sections.fold import JoinedState
from portrait.sections.ranks import rank_of, with_rank, without_rank
from sections.facts import MINUTE, RANKS, RECORDED_FROM, SECTIONS, Statement, facts_of, state_of

A, B, C = "c1", "c2", "c3"
CRM, SHOP, WEB, APP = "crm", "shop", "public:web", "public:app"
STATUSES = ("granted", "pending", "revoked")
"""From the least strict."""
CONSENT, ATTRIBUTES = SECTIONS["consent"], SECTIONS["attributes"]


def decision(source, minutes, status, who=A, lapses=None):
    """Return what a source said of a decision; `lapses`: when its grant runs out, in minutes."""
    record = {"kind": "consent", "purpose": "marketing", "status": status}
    if lapses is not None:
        record["revokedAt"] = time.rfc3339(START + lapses * MINUTE)
    return Statement(who, START + minutes * MINUTE, record, record, source)


def end(minutes, who=A):
    """Return the end of what sources said."""
    return decision(None, minutes, "granted", who)._replace(record=None)


def shown(section, statements, now=START, since=START, joined_at=None):
    """Return the records that a customer's statements show, recorded in this order from a moment on."""
    state = state_of(section, facts_of(section, list(statements), since))
    if joined_at is not None:
        tags = list(state.histories)
        state = JoinedState(
            state.histories, {tag: {other: joined_at for other in tags if other != tag} for tag in tags}
        )
    return section.fold.render(state, now)[0]


def status(*statements, now=1, **more):
    """Return the status that decisions lead to, a minute after START or later; None: no decision counts."""
    return next((record.status for record in shown(CONSENT, statements, START + now * MINUTE, **more)), None)


# --- consent: what a public source allows never overrides another source's withdrawal ---

PUBLIC_DECISIONS = {
    "a public grant counts where nobody else spoke": ([decision(WEB, -5, "granted")], "granted"),
    "and beside an older grant": ([decision(CRM, -9, "granted"), decision(WEB, -5, "granted")], "granted"),
    "and after what is pending": ([decision(CRM, -9, "pending"), decision(WEB, -5, "granted")], "granted"),
    "not over a withdrawal": ([decision(CRM, -9, "revoked"), decision(WEB, -5, "granted")], "revoked"),
    "not at one moment with it": ([decision(CRM, -5, "revoked"), decision(WEB, -5, "granted")], "revoked"),
    "nor does what is pending": ([decision(CRM, -9, "revoked"), decision(WEB, -5, "pending")], "revoked"),
    "not over that of another public source": ([decision(APP, -9, "revoked"), decision(WEB, -5, "granted")], "revoked"),
    "over its own withdrawal": ([decision(WEB, -9, "revoked"), decision(WEB, -5, "granted")], "granted"),
    "a public withdrawal counts": ([decision(CRM, -9, "granted"), decision(WEB, -5, "revoked")], "revoked"),
    "another source's grant overrides it": ([decision(WEB, -9, "revoked"), decision(CRM, -5, "granted")], "granted"),
    "of another source all that is newest counts": (
        [decision(CRM, -9, "revoked"), decision(SHOP, -5, "granted")], "granted"),
    "a withdrawal that its source took back is none": (
        [decision(CRM, -9, "revoked"), decision(CRM, -7, "granted"), decision(WEB, -5, "granted")], "granted"),
    "a withdrawal that another source lifted is none": (
        [decision(CRM, -9, "revoked"), decision(SHOP, -7, "granted"), decision(WEB, -5, "granted")], "granted"),
    "not one that a public source lifted": (
        [decision(CRM, -9, "revoked"), decision(APP, -7, "granted"), decision(WEB, -5, "granted")], "revoked"),
    "not one that was told after the lifting": (
        [decision(SHOP, -9, "granted"), decision(CRM, -7, "revoked"), decision(WEB, -5, "granted")], "revoked"),
    "at one moment the stricter of the others counts": (
        [decision(SHOP, -7, "granted"), decision(CRM, -7, "revoked"), decision(WEB, -5, "granted")], "revoked"),
    "what is pending after a withdrawal lifts nothing": (
        [decision(CRM, -9, "revoked"), decision(SHOP, -7, "pending"), decision(WEB, -5, "granted")], "pending"),
    "a withdrawal that ended is none": (
        [decision(CRM, -9, "revoked"), end(-7), decision(WEB, -5, "granted")], "granted"),
    "a late one from before the end is none": (
        [end(-7), decision(WEB, -5, "granted"), decision(CRM, -9, "revoked")], "granted"),
    "an end ends all": ([decision(CRM, -9, "revoked"), decision(WEB, -8, "granted"), end(-7)], None),
    "a grant that ran out is a withdrawal": (
        [decision(CRM, -9, "granted", lapses=-3), decision(WEB, -5, "granted")], "revoked"),
    "not before it runs out": ([decision(CRM, -9, "granted", lapses=30), decision(WEB, -5, "granted")], "granted"),
}  # fmt: skip


@pytest.mark.parametrize(("decisions", "expected"), PUBLIC_DECISIONS.values(), ids=PUBLIC_DECISIONS)
def test_what_a_public_source_decides_overrides_no_withdrawal(decisions, expected):
    assert status(*decisions) == expected


def test_a_public_grant_is_void_from_when_another_source_s_grant_runs_out():
    decisions = decision(CRM, -9, "granted", lapses=30), decision(WEB, -5, "granted")
    assert [status(*decisions, now=now) for now in (29, 30)] == ["granted", "revoked"]


def test_a_public_grant_that_lies_ahead_overrides_no_withdrawal_once_it_is_due():
    decisions = decision(CRM, -9, "revoked"), decision(WEB, 5, "granted")
    assert [status(*decisions, now=now, since=RECORDED_FROM) for now in (4, 5)] == ["revoked", "revoked"]


def test_a_withdrawal_that_lies_ahead_voids_a_public_grant_once_it_is_due():
    decisions = decision(WEB, -9, "granted"), decision(CRM, 5, "revoked")
    assert [status(*decisions, now=now, since=RECORDED_FROM) for now in (4, 5)] == ["granted", "revoked"]


@pytest.mark.parametrize("joined_at", [None, START - 60 * MINUTE, START])
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_histories_a_public_grant_overrides_no_withdrawal_of_the_other(joined_at, turned):
    decisions = [decision(CRM, -9, "revoked"), decision(WEB, -5, "granted", B)]
    assert status(*(reversed(decisions) if turned else decisions), joined_at=joined_at) == "revoked"


def test_of_two_histories_a_public_grant_beside_another_source_s_takes_nothing_from_it():
    """A later grant of the shop's lifts the withdrawal in the other history: a public one after it changes nothing."""
    lifted = [decision(CRM, -9, "revoked", C), decision(SHOP, -7, "granted")]
    before = START - 60 * MINUTE
    assert status(*lifted, joined_at=before) == "granted"
    assert status(*lifted, decision(WEB, -5, "granted"), joined_at=before) == "granted"
    assert status(*lifted, decision(WEB, -5, "granted", B), joined_at=before) == "granted"


def test_of_two_histories_a_public_grant_overrides_the_withdrawal_of_its_own_source():
    decisions = decision(WEB, -9, "revoked"), decision(WEB, -5, "granted", B)
    assert status(*decisions, joined_at=START - 60 * MINUTE) == "granted"


def histories(sources, *, statuses=STATUSES, ends=True):
    """Statements of decisions in up to three histories, at few moments, so that they meet; grants may run out."""
    said = st.builds(
        decision,
        st.sampled_from(sources),
        st.integers(-6, 6).map(lambda tens: 10 * tens),
        st.sampled_from(statuses),
        st.sampled_from([A, A, B, C]),
        st.none() | st.integers(-7, 7).map(lambda tens: 10 * tens + 5),
    )
    ended = st.builds(end, st.integers(-6, 6).map(lambda tens: 10 * tens), st.sampled_from([A, B]))
    return st.lists(st.one_of(said, said, said, ended) if ends else said, max_size=10)


@settings(max_examples=400, deadline=None)
@given(histories([None, CRM, SHOP]), st.integers(0, 13), st.sampled_from([RECORDED_FROM, START]))
def test_without_public_sources_what_counts_is_what_counts_without_a_preference(statements, tens, since):
    plain = copy.copy(CONSENT.fold)
    plain._prefers = None
    facts = facts_of(CONSENT, statements, since)
    now = START + (10 * tens + 1) * MINUTE
    states = [plain.empty(), CONSENT.fold.empty()]
    for fact in facts:
        states = [fold.apply(state, fact) for fold, state in zip((plain, CONSENT.fold), states, strict=True)]
    for histories_of in ([A, B, C], [A], [B]):
        of_some = [
            msgspec.structs.replace(
                state, histories={tag: state.histories[tag] for tag in state.histories if tag[-2:] in histories_of}
            )
            for state in states
        ]
        (old, _), (new, _) = (
            fold.render(state, now) for fold, state in zip((plain, CONSENT.fold), of_some, strict=True)
        )
        assert old == new
        assert plain.upcoming(of_some[0], now) == CONSENT.fold.upcoming(of_some[1], now)
        assert plain.keys(of_some[0]) == CONSENT.fold.keys(of_some[1])


JOINED = st.none() | st.integers(-7, 1).map(lambda tens: START + 10 * tens * MINUTE)


@settings(max_examples=400, deadline=None)
@given(
    histories([None, CRM, SHOP, APP]),
    histories([WEB], statuses=("granted", "pending"), ends=False),
    JOINED,
    st.randoms(use_true_random=False),
)
def test_nothing_that_a_public_source_allows_undoes_a_withdrawal(statements, allowed, joined_at, random):
    """Grants that run out are withdrawals: those of the public source itself are left out here."""
    public = [decision(WEB, (each.effective_at - START) // MINUTE, each.record["status"], each.customer_id)
              for each in allowed]  # fmt: skip
    mixed = list(statements)
    for each in public:
        mixed.insert(random.randint(0, len(mixed)), each)
    since = START + 100 * MINUTE  # so nothing lies ahead
    before = status(*statements, now=200, since=since, joined_at=joined_at)
    if before == "revoked":
        assert status(*mixed, now=200, since=since, joined_at=joined_at) == "revoked"


# --- attributes: the lowest rank counts, then the newest ---


def said(source, minutes, value, who=A, name="family_name"):
    record = {"name": name, "value": value}
    return Statement(who, START + minutes * MINUTE, record, record, source)


def value(*statements, **more):
    records = shown(ATTRIBUTES, statements, START + MINUTE, **more)
    return [(record.value, record.source) for record in records]


WORDS = {
    "the newest of one source": ([said(CRM, -9, "Doe"), said(CRM, -5, "Roe")], [("Roe", CRM)]),
    "the lower rank before the newer": ([said(CRM, -9, "Doe"), said(None, -5, "Roe")], [("Doe", CRM)]),
    "the newer among equals": ([said(CRM, -9, "Doe"), said(SHOP, -5, "Roe")], [("Roe", SHOP)]),
    "a public source behind all": ([said(None, -9, "Doe"), said(WEB, -5, "Roe")], [("Doe", None)]),
    "a public source alone": ([said(WEB, -5, "Roe")], [("Roe", WEB)]),
    "null is a word": ([said(CRM, -9, None), said(None, -5, "Roe")], [(None, CRM)]),
    "an end ends the words of all": (
        [said(CRM, -9, "Doe"), said(None, -8, "Roe"), end_of := said(None, -7, "")._replace(record=None)], []),
    "after an end the next word counts": (
        [said(CRM, -9, "Doe"), end_of, said(WEB, -5, "Roe")], [("Roe", WEB)]),
    "a late word from before an end does not": (
        [end_of, said(WEB, -5, "Roe"), said(CRM, -9, "Doe")], [("Roe", WEB)]),
    "of two histories the lower rank": ([said(CRM, -9, "Doe"), said(None, -5, "Roe", B)], [("Doe", CRM)]),
    "of two histories the newer among equals": ([said(CRM, -9, "Doe"), said(SHOP, -5, "Roe", B)], [("Roe", SHOP)]),
}  # fmt: skip


@pytest.mark.parametrize(("statements", "expected"), WORDS.values(), ids=WORDS)
def test_the_word_of_the_lowest_rank_counts_and_among_equals_the_newest(statements, expected):
    assert value(*statements) == expected


def test_of_one_source_the_newest_word_counts_whatever_rank_it_had_before():
    body = b'{"name":"family_name","value":"Doe","updatedAt":null,"source":null}'
    older, newer = facts_of(ATTRIBUTES, [said(CRM, -9, "Doe"), said(CRM, -9, "Roe")], START)
    facts = [msgspec.structs.replace(older, body=with_rank(body, 1)), newer]
    assert [record.value for record in ATTRIBUTES.fold.render(state_of(ATTRIBUTES, facts), START + MINUTE)[0]] == [
        "Roe"
    ]


def test_the_source_that_a_record_names_is_shown_but_not_where_anybody_may_have_named_it():
    def naming(source):
        statement = said(source, -5, "Doe")
        record = {**statement.record, "source": "till 7"}
        return statement._replace(record=record, key_of=record)

    assert value(naming(CRM)) == [("Doe", "till 7")]
    assert value(naming(WEB)) == [("Doe", WEB)]


attribute_histories = st.lists(
    st.builds(
        lambda source, minutes, value, who, name, is_end: said(source, minutes, value, who, name)._replace(
            **({"record": None} if is_end else {})
        ),
        st.sampled_from(list(RANKS)),
        st.integers(-9, -1),
        st.integers(0, 3),
        st.sampled_from([A, B]),
        st.sampled_from(["x", "y"]),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=12,
)


def words_of(statements):
    """Return, of each name, all that each source said last in each history since its last end, by its own order."""
    words = {}
    for index, each in enumerate(statements):
        words.setdefault((each.key_of["name"], each.customer_id), []).append((each.effective_at, index, each))
    last = {}
    for (name, _), all_said in words.items():
        ended = max((said[:2] for said in all_said if said[2].record is None), default=(0, 0))
        newest = {}
        for at, index, each in sorted(all_said, key=lambda each: each[:2]):
            # What is told before an end at its own moment ends with it, what is told after it does not.
            if each.record is not None and (at, index) > ended:
                newest[each.source] = (at, index, each)
        last.setdefault(name, []).extend(newest.values())
    return {name: all_said for name, all_said in last.items() if all_said}


@settings(max_examples=300, deadline=None)
@given(attribute_histories)
def test_what_counts_and_what_loses_follow_from_what_each_source_said_last(statements):
    state = state_of(ATTRIBUTES, facts_of(ATTRIBUTES, statements, START))
    now = START + MINUTE
    attributes = ATTRIBUTES.fold.with_losers(ATTRIBUTES.fold.render(state, now)[0], state, now)
    expected = {}
    for name, words in words_of(statements).items():
        ordered = sorted(words, key=lambda word: (-RANKS[word[2].source], *word[:2]), reverse=True)
        counts = ordered[0][2]
        newest = {}
        for word in sorted(words, key=lambda word: word[:2]):
            newest[word[2].source] = word
        losers = [
            (word[2].record["value"], word[2].source)
            for word in ordered
            if word[2].source != counts.source and newest[word[2].source] is word
        ]
        expected[name] = (counts.record["value"], counts.source, losers)
    assert {
        each.name: (each.value, each.source, [(loser.value, loser.source) for loser in each.losers])
        for each in attributes
    } == expected


@given(st.integers(0, 1001), st.sampled_from([b'{"name":"a","value":{"rank":7}}', b'{"value":"\\",\\"rank\\":7}"}']))
def test_a_body_with_a_rank_has_it_and_is_the_body_without_it(rank, body):
    assert rank_of(with_rank(body, rank)) == rank
    assert without_rank(with_rank(body, rank)) == without_rank(body) == body


def test_a_rank_that_no_rule_gives_is_left_out():
    assert with_rank(b'{"name":"a"}', 100) == b'{"name":"a"}'


def test_public_sources_are_told_by_how_their_names_begin():
    assert [is_public(source) for source in (WEB, "public:", "public", "crm", "a public:web", None)] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
