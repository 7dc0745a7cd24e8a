"""A tenant's rules by themselves: what is let through, what is refused and why, and what rules cannot say."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.identity.graph import LINKED, Graph, Profile, Told
from portrait.identity.rules import (
    DEFAULT,
    DEFAULT_TYPES,
    WORDS,
    Proposal,
    Reason,
    Rule,
    Rules,
    TypeRule,
    decided,
    parse,
    read,
    refusal,
    shown,
)
from portrait.model.errors import InvalidRules, MalformedJson
from portrait.model.fact import fact_id
from portrait.model.identifier import Identifier, customer, generated
from portrait.model.time import DAY

NOW = 1000 * DAY
WEAK = ("device_id", "cookie_id", "anonymous_id")
STRONG = ("customer_id", "email", "phone")


def one(type_, value):
    return Identifier(type_, value)


A, B = customer("A"), customer("B")
E, F = one("email", "e@example.org"), one("email", "f@example.org")
P, D = one("phone", "+4930901820"), one("device_id", "d")
ANON = generated()


def profile(*members):
    company = [each.value for each in members if each.type == "customer_id"]
    return Profile(company[0] if company else None, tuple(sorted(members)))


def graph_of(links, apart=()):
    """Return the graph of links, each by its ends and confidence, as records told them one after the other."""
    told = {}
    for at, (a, b, confidence) in enumerate(links, 1):
        for each, other in ((a, b), (b, a)):
            said = Told(at, fact_id(at), None, other.value, confidence, "record", at, at, LINKED, None)
            told.setdefault(each, {})[other] = [said]
    return Graph(told, [frozenset(pair) for pair in apart])


def why(a, b, x=None, y=None, *, rules=DEFAULT, confidence=1.0, people=None, apart=(), since=None, ties=()):
    """Return the reason for which a link between two profiles is refused; each is its end alone unless said."""
    x, y = profile(*(x or (a,))), profile(*(y or (b,)))
    told = {}
    for each, at in (since or {}).items():
        links = [Told(at, fact_id(at), None, each.value, 1.0, "record", at, at, LINKED, None)]
        told.setdefault(customer("anchor"), {})[each] = links
        told.setdefault(each, {})
    graph = graph_of(ties) if ties else Graph(told, [frozenset(pair) for pair in apart])
    proposal = Proposal(a, b, confidence, (x, y), graph, {a: 1, b: 1} | (people or {}))
    return refusal(rules, proposal, NOW)


OTHER = Rules(
    types={
        "loyalty": TypeRule(limit=1),
        "email": TypeRule(unique=True),
        "phone": TypeRule(limit=2, window_days=30),
        "customer_id": TypeRule(),
    },
    blocked_values=["Mr. Nobody"],
    blocked_patterns=[r"qa-\d+"],
    max_identifiers=4,
)
PHONES = [one("phone", f"+493090182{digit}") for digit in range(3)]
OLD = {PHONES[0]: NOW - 31 * DAY, PHONES[1]: NOW - DAY}
LOCAL, NO_LINE = one("phone", "555-0123"), one("phone", "+445551234")
ALLOWING = Rules(allowed_values=["555-0123"])
DECISIONS = {
    "a first link": (why(A, E), None),
    "two that are one already": (why(A, E, (A, E), (A, E), confidence=0.0), None),
    "an unknown type": (why(A, one("loyalty", "1")), Reason.UNKNOWN_TYPE),
    "a type of the tenant's own": (why(A, one("loyalty", "1"), rules=OTHER), None),
    "a value that says nothing": (why(A, one("email", "noreply@example.com")), Reason.BLOCKED_VALUE),
    "no value": (why(A, one("email", "")), Reason.BLOCKED_VALUE),
    "a value that the tenant blocks": (why(A, one("device_id", "MR. NOBODY"), rules=OTHER), Reason.BLOCKED_VALUE),
    "a pattern that the tenant blocks": (why(A, one("device_id", "QA-17"), rules=OTHER), Reason.BLOCKED_VALUE),
    "a part of a pattern": (why(A, one("device_id", "QA-17b"), rules=OTHER), None),
    "two customers": (why(A, B), Reason.UNIQUE_TYPE),
    "two customers by an e-mail": (why(A, E, y=(B, E)), Reason.UNIQUE_TYPE),
    "two customers where a person may have two": (why(A, B, rules=OTHER), None),
    "two e-mails where a person has one": (why(P, E, (P, F), rules=OTHER), Reason.UNIQUE_TYPE),
    "two e-mails by a phone": (why(P, E, (P, F)), None),
    "two e-mails by a device": (why(D, E, (D, F)), Reason.WEAK_EVIDENCE),
    "two phones by a device": (why(D, P, (D, PHONES[1])), Reason.WEAK_EVIDENCE),
    "a device of nobody's": (why(D, E), None),
    "an e-mail and a phone by a device": (why(D, E, (D, P)), None),
    "a local number of nobody's": (why(A, LOCAL), None),
    "a local number of somebody's": (why(B, LOCAL, y=(A, LOCAL)), Reason.UNCERTAIN_VALUE),
    "a local number of one's own": (why(A, LOCAL, (A, LOCAL), (A, LOCAL)), None),
    "a visitor's local number that is a customer's": (why(D, LOCAL, y=(A, LOCAL)), Reason.UNCERTAIN_VALUE),
    "a local number that the tenant allows": (why(D, LOCAL, y=(A, LOCAL), rules=ALLOWING), None),
    "a number that no line of the region has": (
        why(D, NO_LINE, y=(A, NO_LINE), rules=Rules(region="GB")), Reason.UNCERTAIN_VALUE),
    "the same of another region": (why(D, NO_LINE, y=(A, NO_LINE), rules=Rules(region="DE")), None),
    "a customer id that is a word for none": (why(customer("NULL"), E), Reason.BLOCKED_VALUE),
    "set apart": (why(A, E, apart=[(A, E)]), Reason.CANNOT_LINK),
    "others of theirs set apart": (why(A, F, y=(F, E), apart=[(A, E)]), Reason.CANNOT_LINK),
    "a third set apart": (why(A, F, apart=[(A, E)]), None),
    "too many identifiers": (why(A, E, (A, P), (E, D, F), rules=OTHER), Reason.COMPONENT_CAP),
    "as many as may be": (why(A, E, (A, P), (E, D), rules=OTHER), None),
    "seen with many": (why(A, D, people={D: 3}), Reason.SHARED_IDENTIFIER),
    "seen with some": (why(A, D, people={D: 2}), None),
    "an e-mail seen with many": (why(A, E, people={E: 3}), Reason.SHARED_IDENTIFIER),
    "an e-mail seen with some": (why(A, E, people={E: 2}), None),
    "a type of the tenant's own seen with many": (why(A, one("loyalty", "1"), people={A: 50}, rules=OTHER), None),
    "seen with many, and only warned of": (why(A, D, people={D: 3}, rules=Rules(shared="warn")), None),
    "seen with many, and demoted": (why(A, D, people={D: 3}, rules=Rules(shared="demote")), Reason.SHARED_IDENTIFIER),
    "unsure, and nobody's": (why(A, E, confidence=0.0), None),
    "unsure of two customers": (why(A, B, confidence=0.49, rules=OTHER), Reason.LOW_CONFIDENCE),
    "sure enough": (why(A, B, confidence=0.5, rules=OTHER), None),
    "unsure of a customer and two that are tied": (
        why(A, E, y=(E, D), confidence=0.49, ties=[(E, D, 0.5)]), Reason.LOW_CONFIDENCE),
    "unsure of a customer and two guessed to be one": (
        why(A, E, y=(E, D), confidence=0.49, ties=[(E, D, 0.49)]), None),
    "unsure of a customer and one with an id made for it": (
        why(A, E, y=(ANON, E), confidence=0.49, ties=[(ANON, E, 1.0)]), None),
    "one more than the limit": (
        why(one("loyalty", "1"), one("loyalty", "2"), rules=OTHER), Reason.LIMIT),
    "one more than the limit within its window": (
        why(A, PHONES[2], (A, *PHONES[:2]), rules=OTHER, since=OLD | {PHONES[0]: NOW - DAY}), Reason.LIMIT),
    "beyond its window": (why(A, PHONES[2], (A, *PHONES[:2]), rules=OTHER, since=OLD), None),
    "no guard": (why(D, E, (D, F), rules=Rules(weak_guard=False)), None),
    "no junk": (why(A, one("email", "test@test.com"), rules=Rules(block_junk=False)), None),
}  # fmt: skip


@pytest.mark.parametrize(("found", "expected"), DECISIONS.values(), ids=DECISIONS)
def test_what_the_rules_decide(found, expected):
    assert found is expected


def test_every_reason_is_given_somewhere_and_has_its_words():
    assert {expected for _, expected in DECISIONS.values()} == {None, *Reason} - {Reason.SELF_LINK, Reason.REVIEW}
    assert WORDS.keys() == set(Reason)
    assert len(set(WORDS.values())) == len(WORDS)


def test_a_generated_customer_id_counts_as_nobodys():
    anon, other = generated(), generated()
    assert why(E, P, (anon, E), (other, P)) is None
    assert why(D, E, (anon, D), (other, E)) is None


identifiers = st.builds(
    Identifier, st.sampled_from([*STRONG, *WEAK]), st.text("abcdefgh", min_size=4, max_size=6).filter(str)
)
profiles = st.lists(identifiers, min_size=1, max_size=5, unique=True)


@given(profiles, profiles, st.floats(0, 1), st.data())
def test_by_default_what_names_a_thing_never_joins_two_who_are_known_apart(x, y, confidence, data):
    if set(x) & set(y):
        return
    weak = data.draw(st.builds(Identifier, st.sampled_from(WEAK), st.text("ijkl", min_size=4)))
    other = data.draw(st.sampled_from(y))
    reason = why(weak, other, (*x, weak), y, confidence=confidence)
    same = {each.type for each in x if each.type in STRONG} & {each.type for each in y if each.type in STRONG}
    if same and not any(DEFAULT.blocks(each) or DEFAULT.is_uncertain(each) for each in (weak, other)):
        assert reason in {Reason.WEAK_EVIDENCE, Reason.UNIQUE_TYPE}
    assert why(other, weak, y, (*x, weak), confidence=confidence) is reason, "either way round"


@given(profiles, profiles, st.data())
def test_by_default_no_two_customers_of_the_companys_are_ever_joined(x, y, data):
    x, y = [one("email", "x@example.org"), A, *x], [one("email", "y@example.org"), B, *y]
    if not set(x) & set(y):
        assert why(data.draw(st.sampled_from(x)), data.draw(st.sampled_from(y)), x, y) is not None


# --- what is unsure gives way ---


def yields(a, b, confidence, x, y, links, rules=DEFAULT, rule=Rule.RECORD, apart=()):
    """Return why a link is refused, and the ends of the links that give way to it."""
    proposal = Proposal(a, b, confidence, (profile(*x), profile(*y)), graph_of(links, apart), {}, rule)
    reason, gives_way = decided(rules, proposal, NOW)
    return reason, {frozenset(link[:2]) for link in gives_way}


GUESSED = (A, E, 0.3)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(yields(B, E, 1.0, (B,), (A, E), [GUESSED]), (None, [(A, E)]), id="a sure word of another"),
        pytest.param(
            yields(B, E, 0.49, (B,), (A, E), [GUESSED]), (Reason.UNIQUE_TYPE, []), id="another guess does not"
        ),
        pytest.param(yields(B, E, 0.3, (B,), (A, E), [GUESSED], rule=Rule.LINK), (None, [(A, E)]), id="by hand"),
        pytest.param(yields(B, E, 1.0, (B,), (A, E), [(A, E, 0.5)]), (Reason.UNIQUE_TYPE, []), id="to what is sure"),
        pytest.param(yields(A, E, 1.0, (A, E), (A, E), [GUESSED]), (None, []), id="the same link, surely"),
        pytest.param(yields(A, D, 1.0, (A, E), (D,), [GUESSED]), (None, []), id="what contradicts nothing stays"),
        pytest.param(yields(E, D, 1.0, (A, E), (D,), [GUESSED]), (None, [(A, E)]), id="two are somebody"),
        pytest.param(yields(E, ANON, 1.0, (A, E), (ANON,), [GUESSED]), (None, []), id="an id made for it is nobody"),
        pytest.param(
            yields(E, D, 1.0, (A, E, D), (A, E, D), [GUESSED, (E, D, 0.3)]), (None, [(A, E)]), id="two of one profile"
        ),
        pytest.param(
            yields(D, B, 1.0, (A, E, D), (B,), [GUESSED, (E, D, 0.3)]), (None, [(E, D)]), id="the nearest of a chain"
        ),
        pytest.param(
            yields(B, E, 1.0, (B, P), (A, E), [GUESSED, (B, P, 1.0)], rules=Rules(max_identifiers=2)),
            (Reason.COMPONENT_CAP, []), id="not to what is refused all the same",
        ),
        pytest.param(
            yields(D, B, 1.0, (E, P, D), (B,), [(E, P, 0.3), (P, D, 0.3)], apart=[(E, P)]), (None, []),
            id="elsewhere nothing is decided on again",
        ),
    ],
)  # fmt: skip
def test_an_unsure_link_gives_way_to_a_sure_one_that_it_contradicts(found, expected):
    reason, pairs = expected
    assert found == (reason, {frozenset(pair) for pair in pairs})


# --- what says nothing of a person ---


def test_a_customer_id_is_blocked_by_the_tenants_own_list_alone():
    rules = Rules(blocked_values=["Guest"], blocked_patterns=["C.*"])
    assert rules.blocks(customer("GUEST"))
    assert not rules.blocks(customer("C1"))
    assert rules.blocks(one("email", "c1@example.org"))
    assert rules.blocks(customer(""))


# --- what rules cannot say ---

REFUSED = {
    "not JSON": (b"{", MalformedJson),
    "two of one name": (b'{"weakGuard":true,"weakGuard":tru}', MalformedJson),
    "a list": (b"[]", InvalidRules),
    "an unknown rule": ({"strict": True}, InvalidRules),
    "an unknown rule of a type": ({"types": {"email": {"most": 1}}}, InvalidRules),
    "a type with a colon": ({"types": {"a:b": {}}}, InvalidRules),
    "a type in capitals": ({"types": {"Email": {}}}, InvalidRules),
    "a type that ends in a new line": ({"types": {"loyalty\n": {}}}, InvalidRules),
    "types in a list": ({"types": [{}]}, InvalidRules),
    "a built-in type in a list": ({"types": {"email": [1]}}, InvalidRules),
    "a limit of none": ({"types": {"email": {"limit": 0}}}, InvalidRules),
    "a limit beyond all": ({"types": {"email": {"limit": 1001}}}, InvalidRules),
    "a confidence above 1": ({"minConfidence": 1.01}, InvalidRules),
    "a confidence below 0": ({"minConfidence": -0.1}, InvalidRules),
    "a text for a number": ({"maxIdentifiers": "10"}, InvalidRules),
    "one identifier": ({"maxIdentifiers": 1}, InvalidRules),
    "another treatment": ({"shared": "ignore"}, InvalidRules),
    "shared from one": ({"types": {"device_id": {"sharedFrom": 1}}}, InvalidRules),
    "an empty value": ({"blockedValues": [""]}, InvalidRules),
    "no regular expression": ({"blockedPatterns": ["("]}, InvalidRules),
    "an expression that looks around": ({"blockedPatterns": ["(?!a)b"]}, InvalidRules),
    "rules that are too long": ({"blockedValues": ["x" * 500] * 600}, InvalidRules),
    "an unknown region": ({"region": "XX"}, InvalidRules),
    "a region in small letters": ({"region": "de"}, InvalidRules),
    "a weak customer id": ({"types": {"customer_id": {"weak": True}}}, InvalidRules),
    "unique and weak": ({"types": {"email": {"unique": True, "weak": True}}}, InvalidRules),
    "unique, and two": ({"types": {"email": {"unique": True, "limit": 2}}}, InvalidRules),
    "a window without a limit": ({"types": {"loyalty": {"windowDays": 7}}}, InvalidRules),
    "a limit beyond the cap": ({"maxIdentifiers": 3, "types": {"email": {"limit": 4}}}, InvalidRules),
}


@pytest.mark.parametrize(("said", "error"), REFUSED.values(), ids=REFUSED)
def test_rules_that_cannot_be_are_refused(said, error):
    with pytest.raises(error):
        parse(said if isinstance(said, bytes) else json.dumps(said).encode())


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"types": {"email": {"limit": 0}}}, "`types[...].limit`: expected `int` >= 1."),
        ({"types": {"Secret": {}}}, "`types`: a type's name is of a-z, 0-9 and _"),
        ({"types": {"email": {"secret": 1}}}, "`types[...]`: rules there are priority, limit, "),
        ({"secret": 1}, "the document: rules there are types, blockedValues, "),
        ({"shared": "secret"}, "`shared`: expected one of warn, demote, split."),
        (["secret"], "the document: expected `object`."),
        ({"types": {"email": {"unique": True, "weak": True}}}, "`types.email`"),
        ({"minConfidence": 2}, "`minConfidence`: expected `float` <= 1.0."),
        ({"blockedPatterns": ["a", "secret("]}, "`blockedPatterns[1]` leaves a `(` open"),
        ({"region": "secret"}, "`region`"),
        ({"blockedValues": ["secret@example.org", ""]}, "blockedValues"),
    ],
)
def test_the_refusal_names_the_place_and_no_value(said, place):
    with pytest.raises(InvalidRules) as refused:
        parse(json.dumps(said).encode())
    assert place in refused.value.detail
    assert "secret" not in refused.value.detail


def test_what_is_left_out_is_as_by_default():
    assert parse(b"{}") == DEFAULT == read(None)
    assert parse(b'{"types":{"email":{}}}').all_types == DEFAULT_TYPES
    assert parse(b'{"types":{"loyalty":{"limit":1}}}').of("loyalty") == TypeRule(limit=1)
    assert not DEFAULT.knows("loyalty")


CHANGES = {
    "priority": st.integers(0, 1000),
    "limit": st.none() | st.integers(1, 10),
    "weak": st.booleans(),
    "sharedFrom": st.none() | st.integers(2, 9),
}


@given(st.sampled_from(sorted(DEFAULT_TYPES.keys() - {"customer_id"})), st.fixed_dictionaries({}, optional=CHANGES))
def test_what_is_left_out_of_a_built_in_type_is_as_by_default(name, said):
    rule = parse(json.dumps({"types": {name: said}}).encode()).of(name)
    assert msgspec.to_builtins(rule) == msgspec.to_builtins(DEFAULT_TYPES[name]) | said


def test_what_a_built_in_type_is_by_default_contradicts_nothing_that_is_said():
    assert parse(b'{"types":{"email":{"unique":true}}}').of("email").limit is None
    assert parse(b'{"types":{"customer_id":{"unique":false}}}').of("customer_id") == TypeRule(priority=0)
    few = parse(b'{"maxIdentifiers":3,"types":{"device_id":{"sharedFrom":2}}}')
    assert few.of("device_id").limit == few.of("email").limit == 3
    assert parse(json.dumps(shown(few)).encode()).all_types == few.all_types


@given(
    st.builds(
        Rules,
        types=st.dictionaries(
            st.sampled_from(["email", "loyalty", "device_id"]),
            st.builds(TypeRule, priority=st.integers(0, 1000), limit=st.none() | st.integers(1, 10)),
        ),
        blocked_values=st.lists(st.text("abc", min_size=1, max_size=5), max_size=3),
        shared=st.sampled_from(["warn", "demote", "split"]),
        max_identifiers=st.integers(2, 1000),
        min_confidence=st.floats(0, 1),
        weak_guard=st.booleans(),
        region=st.sampled_from([None, "DE", "US"]),
    )
)
def test_rules_as_they_are_shown_can_be_set_again_and_mean_the_same(rules):
    again = parse(json.dumps(shown(rules)).encode())
    assert shown(again) == shown(rules)
    assert again.all_types == rules.all_types
