"""Which claims hold, decided as a set: refusals and their reasons, precedence, and properties of all decisions."""

from collections import Counter
from functools import partial
from itertools import combinations
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.identity.decisions import FINAL, Claim, decide, precedence
from portrait.identity.graph import LINKED, Sets
from portrait.identity.rules import BY_HAND, DEFAULT, WORDS, Reason, Rule, Rules, TypeRule
from portrait.model.identifier import Identifier, customer, is_generated
from portrait.model.source import is_public
from portrait.model.time import DAY
from portrait.writes.claims import NEW

WEAK = ("device_id", "cookie_id", "anonymous_id")
FOLLOWS = "follows"
"""What becomes of a claim that holds because the two are one in another way."""
KNOWN = "known"
"""A source whose claims rank before all others': the claims that hold before another one comes."""
NOW = 1000 * DAY


def identifier(type_, value):
    return Identifier(type_, value)


A, B, C, X = map(customer, "ABCX")
E, F, G = (identifier("email", f"{name}@example.org") for name in "efg")
P, Q, R, S, T = (identifier("phone", f"+493090182{digit}") for digit in range(5))
D, K, N = (identifier(type_, "d") for type_ in WEAK)
L, M = identifier("loyalty", "l"), identifier("loyalty", "m")
ANON, NONA, NOAN = (customer(f"anon_{digit * 32}") for digit in "123")
LOCAL, NO_LINE = identifier("phone", "555-0123"), identifier("phone", "+445551234")


def claim(
    first, second, confidence=1.0, since=None, source="crm", *, timed=True, rule=Rule.RECORD, status=NEW, settled=False,
    tried=False,
):  # fmt: skip
    """Return a claim; without `since` it counts from its index among the claims of a row."""
    a, b = sorted((first, second))
    return Claim(a, b, source, rule, confidence, since, timed, status, settled=settled, tried=tried)


by_hand = partial(claim, rule=Rule.LINK)
tried = partial(claim, rule=Rule.LINK, tried=True)
merged = partial(claim, rule=Rule.MERGE)
matched = partial(claim, rule=Rule.MATCH, source="match")
public = partial(claim, source="public:web")
first_seen = partial(claim, rule=Rule.FIRST_SEEN, source=None)
pinned = partial(claim, settled=True, status=LINKED)


def profile(first, *others):
    """Return the sure claims that make one person of some identifiers, ranked before other claims."""
    return [claim(first, other, source=KNOWN) for other in others]


def decided(claims, rules=DEFAULT, bans=(), identifiers=()):
    """Return the decisions, and the outcome of each claim: its reason, `FOLLOWS`, or None."""
    numbered = [claim if claim.since is not None else claim._replace(since=at) for at, claim in enumerate(claims, 1)]
    ranked = msgspec.structs.replace(rules, source_ranks={KNOWN: 0, **rules.source_ranks})
    outcome = decide(numbered, [frozenset(pair) for pair in bans], identifiers, ranked)
    return outcome, [FOLLOWS if at in outcome.following else reason for at, reason in enumerate(outcome.reasons)]


def rules_of(**types):
    return Rules(types=types)


# --- one claim, and the profiles of its ends ---


class Row(NamedTuple):
    """A claim beside others that hold, and why it is refused."""

    claim: Claim
    reason: Reason | None
    beside: list[Claim]
    rules: Rules
    bans: list[tuple[Identifier, Identifier]]


def row(claim, reason, *beside, rules=DEFAULT, bans=()):
    return Row(claim, reason, [claim for claims in beside for claim in claims], rules, list(bans))


OTHER = Rules(
    types={
        "loyalty": TypeRule(limit=1),
        "email": TypeRule(unique=True),
        "phone": TypeRule(limit=2),
        "customer_id": TypeRule(),
    },
    max_identifiers=4,
)
GB, GERMANY = Rules(region="GB"), Rules(region="DE")
ROWS = {
    "a first link": row(claim(A, E), None),
    "two that are one already": row(claim(E, P, 0.0), None, profile(A, E, P)),
    "an unknown type": row(claim(A, L, status=Reason.UNKNOWN_TYPE.value), Reason.UNKNOWN_TYPE),
    "a type of the tenant's own": row(claim(A, L), None, rules=OTHER),
    "a value that says nothing": row(claim(A, E, status=Reason.BLOCKED_VALUE.value), Reason.BLOCKED_VALUE),
    "below the threshold": row(matched(A, B, status=Reason.REVIEW.value), Reason.REVIEW),
    "two customers": row(claim(A, B), Reason.UNIQUE_TYPE),
    "two customers by an e-mail": row(claim(A, E), Reason.UNIQUE_TYPE, profile(B, E)),
    "two customers where a person may have two": row(claim(A, B), None, rules=OTHER),
    "two e-mails where a person has one": row(claim(P, E), Reason.UNIQUE_TYPE, profile(P, F), rules=OTHER),
    "two e-mails by a phone": row(claim(P, E), None, profile(P, F)),
    "two e-mails by a device": row(claim(D, E), Reason.WEAK_EVIDENCE, profile(D, F)),
    "two e-mails by a cookie": row(claim(K, E), Reason.WEAK_EVIDENCE, profile(K, F)),
    "two e-mails by an anonymous id": row(claim(N, E), Reason.WEAK_EVIDENCE, profile(N, F)),
    "two phones by a device": row(claim(D, P), Reason.WEAK_EVIDENCE, profile(D, Q)),
    "two e-mails by a type that the tenant calls weak": row(
        claim(L, E), Reason.WEAK_EVIDENCE, profile(L, F), rules=rules_of(loyalty=TypeRule(weak=True))),
    "two e-mails by a type that it does not": row(claim(L, E), None, profile(L, F), rules=rules_of(loyalty=TypeRule())),
    "a device of nobody's": row(claim(D, E), None),
    "two devices of one": row(claim(A, K), None, profile(A, D)),
    "two who each have a device": row(claim(D, E), None, profile(E, K), profile(P, D)),
    "an e-mail and a phone by a device": row(claim(D, E), None, profile(D, P)),
    "two e-mails by a device, and no guard": row(claim(D, E), None, profile(D, F), rules=Rules(weak_guard=False)),
    "a local number of nobody's": row(claim(A, LOCAL), None),
    "a local number of somebody's": row(claim(B, LOCAL), Reason.UNCERTAIN_VALUE, profile(A, LOCAL)),
    "a local number of one's own": row(claim(A, LOCAL), None, profile(A, LOCAL)),
    "a local number of one's own in another way": row(claim(E, LOCAL), None, profile(A, E, LOCAL)),
    "a visitor's local number that is a customer's": row(claim(D, LOCAL), Reason.UNCERTAIN_VALUE, profile(A, LOCAL)),
    "a local number that the tenant allows": row(
        claim(D, LOCAL), None, profile(A, LOCAL), rules=Rules(allowed_values=["555-0123"])),
    "a local number where nothing is junk": row(
        claim(D, LOCAL), None, profile(A, LOCAL), rules=Rules(block_junk=False)),
    "a local number by hand, if no rule refuses it": row(tried(D, LOCAL), None, profile(A, LOCAL)),
    "a number that no line of the region has": row(
        claim(D, NO_LINE), Reason.UNCERTAIN_VALUE, profile(A, NO_LINE), rules=GB),
    "the same of another region": row(claim(D, NO_LINE), None, profile(A, NO_LINE), rules=GERMANY),
    "set apart": row(claim(A, E), Reason.CANNOT_LINK, bans=[(A, E)]),
    "others of theirs set apart": row(claim(A, F), Reason.CANNOT_LINK, profile(F, E), bans=[(A, E)]),
    "others of both set apart": row(claim(E, F), Reason.CANNOT_LINK, profile(E, P), profile(F, Q), bans=[(Q, P)]),
    "one of several bans": row(claim(A, F), Reason.CANNOT_LINK, profile(F, E), bans=[(B, C), (A, E), (P, D)]),
    "a third set apart": row(claim(A, F), None, bans=[(A, E)]),
    "set apart from one whom nothing is said of": row(claim(A, F), None, bans=[(A, X), (F, X)]),
    "too many identifiers": row(claim(A, E), Reason.COMPONENT_CAP, profile(A, P), profile(E, D, K), rules=OTHER),
    "as many as may be": row(claim(A, E), None, profile(A, P), profile(E, D), rules=OTHER),
    "unsure, and nobody's": row(claim(A, E, 0.0), None),
    "unsure of what is nobody's, where that waits": row(
        claim(A, E, 0.49), Reason.LOW_CONFIDENCE, rules=Rules(unsure="wait")),
    "sure enough, where the unsure waits": row(claim(A, E, 0.5), None, rules=Rules(unsure="wait")),
    "unsure of two customers": row(claim(A, B, 0.49), Reason.LOW_CONFIDENCE, rules=OTHER),
    "sure enough": row(claim(A, B, 0.5), None, rules=OTHER),
    "sure enough, but not for the tenant": row(
        claim(A, B, 0.89), Reason.LOW_CONFIDENCE, rules=Rules(types=OTHER.types, min_confidence=0.9)),
    "unsure, but not for the tenant": row(claim(A, B, 0.1), None, rules=Rules(types=OTHER.types, min_confidence=0.1)),
    "unsure of a customer and two that are tied": row(claim(A, E, 0.49), Reason.LOW_CONFIDENCE, profile(E, D)),
    "unsure of a customer and two guessed to be one": row(claim(A, E, 0.49), None, [claim(E, D, 0.49, source=KNOWN)]),
    "unsure of a customer and two linked by hand, unsurely": row(
        claim(A, E, 0.49), Reason.LOW_CONFIDENCE, [by_hand(E, D, 0.49)]),
    "unsure of a customer and one with an id made for it": row(claim(A, E, 0.49), None, [first_seen(E, ANON)]),
    "unsure of two pairs that are tied": row(claim(E, P, 0.49), Reason.LOW_CONFIDENCE, profile(E, D), profile(P, K)),
    "one more than the limit": row(claim(L, M), Reason.LIMIT, rules=OTHER),
    "as many as the limit": row(claim(P, Q), None, rules=OTHER),
    "one more than the limit, of what neither end is": row(
        claim(A, B), Reason.LIMIT, profile(A, L), profile(B, M), rules=OTHER),
    "one e-mail more than by default": row(
        claim(A, G), Reason.LIMIT, profile(A, *(identifier("email", f"{digit}@example.org") for digit in range(5)))),
    "a generated id and a customer's": row(claim(A, E), None, [first_seen(E, ANON)]),
    "two generated ids": row(claim(E, P), None, [first_seen(E, ANON), first_seen(P, NONA)]),
    "two generated ids by a device": row(claim(D, E), None, [first_seen(D, ANON), first_seen(E, NONA)]),
    "two generated ids where a profile has one id": row(
        claim(E, P), None, [first_seen(E, ANON), first_seen(P, NONA)], rules=rules_of(customer_id=TypeRule(limit=1))),
    "by hand, two customers": row(by_hand(A, B), None),
    "by hand, two e-mails by a device": row(by_hand(D, E), None, [pinned(D, F)]),
    "by hand, and unsure": row(by_hand(A, E, 0.1), None, profile(E, D)),
    "by hand, one more than the limit": row(by_hand(L, M), None, rules=OTHER),
    "by hand, a local number of somebody's": row(by_hand(D, LOCAL), None, [pinned(A, LOCAL)]),
    "by hand, set apart": row(by_hand(A, E), Reason.CANNOT_LINK, bans=[(A, E)]),
    "accepted, two customers": row(claim(A, B, rule=Rule.ACCEPTED), None),
    "accepted, set apart": row(claim(A, B, rule=Rule.ACCEPTED), Reason.CANNOT_LINK, bans=[(A, B)]),
    "if no rule refuses it, two customers": row(tried(A, B), Reason.UNIQUE_TYPE),
    "if no rule refuses it, and unsure": row(tried(A, E, 0.1), Reason.LOW_CONFIDENCE, profile(E, D)),
    "if no rule refuses it, set apart": row(tried(A, E), Reason.CANNOT_LINK, bans=[(A, E)]),
    "if no rule refuses it, too many": row(
        tried(A, E), Reason.COMPONENT_CAP, profile(A, P), profile(E, D, K), rules=OTHER),
    "linked under other rules": row(pinned(A, B), None),
    "linked under other rules, unsurely": row(pinned(A, E, 0.1), None, profile(E, D)),
    "linked under other rules, and set apart since": row(pinned(A, E), Reason.CANNOT_LINK, bans=[(A, E)]),
    "refused under other rules": row(
        claim(A, E, settled=True, status=Reason.UNIQUE_TYPE.value), Reason.UNIQUE_TYPE),
    "refused under these rules, for what is no more": row(claim(A, E, status=Reason.UNIQUE_TYPE.value), None),
    "linked under these rules, against what came since": row(
        claim(A, E, status=LINKED), Reason.UNIQUE_TYPE, profile(B, E)),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWS.values(), ids=ROWS)
def test_rules_decide_on_a_claim_beside_claims_that_hold(case):
    for beside in (case.beside, case.beside[::-1]):
        _, (*beside_reasons, reason) = decided([*beside, case.claim], case.rules, case.bans)
        assert beside_reasons == [None] * len(beside), "what the row takes to be held"
        assert reason is case.reason


STAGES = [
    (Reason.REVIEW, {}),
    (Reason.SHARED_IDENTIFIER, {"status": NEW}),
    (Reason.CANNOT_LINK, {"shared": "warn"}),
    (Reason.COMPONENT_CAP, {"bans": []}),
    (Reason.UNCERTAIN_VALUE, {"most": 9}),
    (Reason.UNIQUE_TYPE, {"allowed": ["555-0123"]}),
    (Reason.WEAK_EVIDENCE, {"unique": False}),
    (Reason.LOW_CONFIDENCE, {"guard": False}),
    (Reason.LIMIT, {"confidence": 1.0}),
    (None, {"limit": None}),
]
"""Changes that remove reasons one after the other, so that each is once the first that applies."""


def test_the_first_of_several_reasons_is_given():
    left = {"status": Reason.REVIEW.value, "shared": "demote", "bans": [(A, B)], "most": 4, "allowed": [],
            "unique": True, "guard": True, "confidence": 0.3, "limit": 1}  # fmt: skip
    claims = [*profile(A, LOCAL, identifier("device_id", "e")), *profile(B, D), claim(LOCAL, C), claim(LOCAL, X)]
    for reason, away in STAGES:
        left |= away
        rules = Rules(
            types={
                "customer_id": TypeRule(priority=0, unique=left["unique"]),
                "device_id": TypeRule(priority=30, weak=True, limit=left["limit"]),
            },
            shared=left["shared"], max_identifiers=left["most"], allowed_values=left["allowed"],
            weak_guard=left["guard"],
        )  # fmt: skip
        last = claim(LOCAL, D, left["confidence"], status=left["status"])
        assert decided([*claims, last], rules, left["bans"])[1][-1] is reason


# --- unsure claims give way ---


class Case(NamedTuple):
    """Claims in order, and the outcome of each."""

    claims: list[Claim]
    becomes: list[Reason | str | None]
    rules: Rules
    bans: list[tuple[Identifier, Identifier]]
    shared: set[Identifier]


def case(*claims_and_reasons, rules=DEFAULT, bans=(), shared=()):
    """Return a case from claims, each followed by its outcome."""
    return Case(list(claims_and_reasons[::2]), list(claims_and_reasons[1::2]), rules, list(bans), set(shared))


def check(case):
    outcome, becomes = decided(case.claims, case.rules, case.bans)
    assert becomes == case.becomes
    assert outcome.shared == case.shared
    for claim, reason in zip(case.claims, becomes, strict=True):
        is_one = outcome.sets.find(claim.a) == outcome.sets.find(claim.b)
        assert reason in FINAL or is_one == (reason in {None, FOLLOWS}), "what is refused is not one in another way"


GUESSED = claim(A, E, 0.3)
UNSURE = {
    "to a sure word of another": case(GUESSED, Reason.UNIQUE_TYPE, claim(B, E), None),
    "to another guess not": case(GUESSED, None, claim(B, E, 0.49), Reason.UNIQUE_TYPE),
    "to what is linked by hand": case(GUESSED, Reason.UNIQUE_TYPE, by_hand(B, E, 0.3), None),
    "to what is linked by hand, if no rule refuses it": case(GUESSED, Reason.UNIQUE_TYPE, tried(B, E, 0.3), None),
    "to what was linked under other rules": case(GUESSED, Reason.UNIQUE_TYPE, pinned(B, E, 0.3), None),
    "not what is sure": case(claim(A, E, 0.5), None, claim(B, E), Reason.UNIQUE_TYPE),
    "not where it is told surely too": case(GUESSED, None, claim(A, E, source="web"), None),
    "not where it contradicts nothing": case(GUESSED, None, claim(A, D), None),
    "to two that are somebody": case(GUESSED, Reason.LOW_CONFIDENCE, claim(E, D), None),
    "not to an id made for it": case(GUESSED, None, first_seen(E, ANON), None),
    "to two that are somebody, of several that are guessed to be a customer": case(
        claim(E, P, 0.3), None, claim(A, P, 0.3), None, claim(P, F, 0.3), Reason.LOW_CONFIDENCE, claim(F, K), None),
    "and a second one of the two stays": case(
        GUESSED, Reason.LOW_CONFIDENCE, claim(E, D, 0.3), None, claim(E, D, source="web"), None),
    "as the weakest of a chain": case(GUESSED, None, claim(E, D, 0.3), Reason.UNIQUE_TYPE, claim(D, B), None),
    "not to what is refused all the same": case(
        claim(B, P, source=KNOWN), None, GUESSED, None, claim(B, E), Reason.COMPONENT_CAP,
        rules=Rules(max_identifiers=2)),
    "and what hung by it stays with the other": case(
        GUESSED, Reason.LOW_CONFIDENCE, claim(E, P, 0.3), None, claim(E, D), None),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSURE.values(), ids=UNSURE)
def test_unsure_claims_give_way(case):
    check(case)


# --- which of two contradictory claims holds ---

PAIR = {"max_identifiers": 2}
RANKED = Rules(source_ranks={"crm": 1, "web": 900})
UNIQUE, CAP, BANNED = Reason.UNIQUE_TYPE, Reason.COMPONENT_CAP, Reason.CANNOT_LINK
PRECEDENCE = {
    "a person's word before a sure record": case(claim(A, E), UNIQUE, by_hand(B, E, 0.1), None),
    "an accepted one before a sure record": case(claim(A, E), UNIQUE, claim(B, E, rule=Rule.ACCEPTED), None),
    "a person's word before the best source": case(
        claim(A, E), UNIQUE, by_hand(B, E, source="web"), None, rules=RANKED),
    "pinned under other rules before a sure record": case(claim(A, E), UNIQUE, pinned(B, E, 0.1), None),
    "under these rules, by what was decided not": case(claim(A, E), None, claim(B, E, status=LINKED), UNIQUE),
    "refused under other rules not": case(
        claim(B, E), None, claim(A, E, settled=True, status=Reason.LIMIT.value), Reason.LIMIT),
    "of a person's word and a pinned one the earlier": case(
        pinned(A, E, since=2), BANNED, by_hand(B, E, since=1), None, bans=[(A, B)]),
    "of a pinned one and a person's word the earlier": case(
        by_hand(A, E, since=2), BANNED, pinned(B, E, since=1), None, bans=[(A, B)]),
    "an id that was made before a person's word": case(
        by_hand(A, E), BANNED, first_seen(E, ANON), None, bans=[(A, ANON)]),
    "sure before unsure": case(claim(A, E, 0.49), UNIQUE, claim(B, E, 0.5), None),
    "sure before unsure of the best source": case(
        claim(A, E, 0.49), UNIQUE, claim(B, E, source="web"), None, rules=RANKED),
    "sure before what asks the rules": case(tried(A, E), UNIQUE, claim(B, E), None),
    "what asks the rules before unsure": case(claim(A, E, 0.49), UNIQUE, tried(B, E, 0.1), None),
    "the better source": case(claim(A, E, source="web"), UNIQUE, claim(B, E), None, rules=RANKED),
    "the better of two unsure": case(claim(A, E, 0.3, source="web"), UNIQUE, claim(B, E, 0.2), None, rules=RANKED),
    "a source that is named, before one that is not": case(
        claim(A, E, source="till"), UNIQUE, claim(B, E), None, rules=RANKED),
    "a source that is not named, before the last": case(
        claim(A, E, source="web"), UNIQUE, claim(B, E, source="till"), None, rules=RANKED),
    "no source is as one that is not named": case(
        claim(A, E, source="till"), None, claim(B, E, source=None), UNIQUE, rules=RANKED),
    "the better source before strong types": case(
        claim(A, E, source="web"), CAP, claim(A, D), None, rules=Rules(source_ranks=RANKED.source_ranks, **PAIR)),
    "strong types before weak": case(claim(A, D), CAP, claim(A, E), None, rules=Rules(**PAIR)),
    "by the weaker end": case(
        claim(A, D), CAP, claim(P, D), CAP, claim(E, P), None, claim(A, E), None, rules=Rules(max_identifiers=3)),
    "as the tenant ranks types": case(
        claim(A, E), CAP, claim(A, L), None, rules=Rules(types={"loyalty": TypeRule(priority=9)}, **PAIR)),
    "strong types before what has a moment": case(
        claim(A, D), CAP, claim(A, E, timed=False), None, rules=Rules(**PAIR)),
    "with a moment before without": case(claim(A, E, timed=False), UNIQUE, claim(B, E), None),
    "with a moment before an earlier one without": case(
        claim(A, E, since=1, timed=False), UNIQUE, claim(B, E, since=9), None),
    "the earlier": case(claim(A, E, since=2), UNIQUE, claim(B, E, since=1), None),
    "the earlier of those without a moment": case(
        claim(A, E, since=2, timed=False), UNIQUE, claim(B, E, since=1, timed=False), None),
    "neither, where they tie at one moment": case(claim(B, E, since=1), UNIQUE, claim(A, E, since=1), UNIQUE),
    "neither by a thing that two addresses tie for": case(
        claim(D, E, since=1), Reason.WEAK_EVIDENCE, claim(D, F, since=1), Reason.WEAK_EVIDENCE),
    "both, where they tie for one person's": case(
        claim(A, E, since=1), None, claim(A, P, since=1), None, claim(D, E, since=2), None, claim(D, P, since=2), None),
    "by their text, without a moment": case(
        claim(B, E, since=1, timed=False), UNIQUE, claim(A, E, since=1, timed=False), None),
    "by the text of the other end, at one moment": case(
        claim(E, Q, since=1), CAP, claim(E, P, since=1), None, rules=Rules(**PAIR)),
    "two customers merged by hand before what either has": case(
        merged(A, B), None, claim(A, E), None, claim(B, F), BANNED, bans=[(E, F)]),
    "two customers merged by hand before what is unsure": case(
        merged(A, B), None, claim(A, E, 0.1), BANNED, claim(B, F), None, bans=[(E, F)]),
    "two customers linked by hand before what either has": case(
        by_hand(A, B), None, claim(A, E), None, claim(B, F), BANNED, bans=[(E, F)]),
    "two customers merged by hand after what else a person linked": case(
        merged(A, B), BANNED, by_hand(A, E), None, by_hand(B, F), None, bans=[(E, F)]),
    "two customers matched under other rules after what either has": case(
        matched(A, B, settled=True, status=LINKED), BANNED, claim(A, E), None, claim(B, F), None, bans=[(E, F)]),
    "two customers that a record names, as any two": case(
        claim(A, B), None, claim(A, E), None, claim(B, F), BANNED, rules=OTHER, bans=[(E, F)]),
    "two customers linked by hand if no rule refuses it, as any two": case(
        tried(A, B), None, claim(A, E, 0.3), None, claim(B, F, 0.3), BANNED, rules=OTHER, bans=[(E, F)]),
    "of two customers as wholes a person's word first": case(
        matched(B, C, since=1), BANNED, merged(A, B, since=2), None, bans=[(A, C)]),
    "of two customers as wholes the earlier by hand": case(
        merged(B, C, since=2), BANNED, merged(A, B, since=1), None, bans=[(A, C)]),
    "of two customers as wholes the earlier match": case(
        matched(B, C, since=2), BANNED, matched(A, B, since=1), None, bans=[(A, C)]),
}  # fmt: skip


@pytest.mark.parametrize("case", PRECEDENCE.values(), ids=PRECEDENCE)
def test_of_two_contradictory_claims_the_higher_ranked_holds(case):
    check(case)


IN_ORDER = [
    first_seen(E, ANON, since=9),
    by_hand(A, E, 0.1, since=1, source="web"),
    pinned(B, E, 0.1, since=2, source="web"),
    claim(A, E, rule=Rule.ACCEPTED, since=3),
    claim(A, D, since=9),
    claim(A, E, since=2, source=None),
    claim(A, E, since=3, source="till"),
    claim(A, E, since=1, timed=False, source="till"),
    claim(A, E, since=2, timed=False, source="till"),
    claim(E, P, since=1, source="till"),
    claim(B, E, since=1, source="web"),
    tried(A, F, 0.1, since=1),
    claim(A, E, 0.49, since=1),
    claim(A, E, 0.49, since=1, source="web"),
    merged(B, C, since=8),
    merged(A, B, since=9),
    matched(A, B, since=1),
    matched(A, C, since=1),
]


@given(st.permutations(IN_ORDER))
def test_the_order_is_total(mixed):
    assert sorted(mixed, key=precedence(RANKED)) == IN_ORDER


# --- bans ---

BANS = {
    "what came later stays with the side that it was linked to first": case(
        claim(A, E), None, claim(B, F), None, merged(A, B), BANNED, claim(B, P), None, claim(A, P), BANNED,
        claim(A, D), None, bans=[(A, B)]),
    "all ways between two": case(
        claim(E, P), None, claim(P, D), BANNED, claim(F, D), None, claim(E, D), BANNED, bans=[(E, F)],
        rules=rules_of(phone=TypeRule(priority=60))),
    "a person's words": case(by_hand(A, E), None, by_hand(B, E), BANNED, bans=[(A, B)]),
    "what was linked under other rules": case(pinned(A, E), None, pinned(B, E), BANNED, bans=[(A, B)]),
    "what matching found": case(matched(A, B), BANNED, bans=[(A, B)]),
    "a chain of matches, by its last": case(
        matched(A, B), None, matched(B, C), None, matched(C, X), BANNED, bans=[(A, X)]),
    "several at once": case(claim(A, E), None, claim(E, P), BANNED, claim(A, D), BANNED, bans=[(A, P), (E, D)]),
    "nobody who is one already": case(claim(A, E), None, claim(A, E, source="web"), None, bans=[(A, P)]),
    "nobody by one of whom nothing is known": case(claim(A, E), None, bans=[(A, X), (E, X)]),
}  # fmt: skip


@pytest.mark.parametrize("case", BANS.values(), ids=BANS)
def test_bans_keep_apart(case):
    check(case)


# --- shared identifiers ---

MANY = Reason.SHARED_IDENTIFIER
WARN, DEMOTE = Rules(shared="warn"), Rules(shared="demote")


def each_of(end, others, *becomes, **settings):
    """Return claims between an identifier and several others, each with its outcome."""
    arguments = [
        argument for other, reason in zip(others, becomes, strict=True) for argument in (claim(end, other), reason)
    ]
    return case(*arguments, **settings)


SHARED = {
    "a device": each_of(D, [A, B, C], MANY, MANY, MANY, shared={D}),
    "an e-mail": each_of(E, [A, B, C], MANY, MANY, MANY, shared={E}),
    "a phone": each_of(P, [A, B, C], MANY, MANY, MANY, shared={P}),
    "a cookie": each_of(K, [A, B, C], MANY, MANY, MANY, shared={K}),
    "an anonymous id": each_of(N, [A, B, C], MANY, MANY, MANY, shared={N}),
    "not with some": each_of(D, [A, B], None, UNIQUE),
    "an e-mail not with some": each_of(E, [A, B], None, UNIQUE),
    "from what the tenant says": each_of(
        D, [A, B], MANY, MANY, shared={D}, rules=rules_of(device_id=TypeRule(shared_from=2))),
    "a customer id never by default": each_of(A, [P, Q, R], None, None, None),
    "a type of the tenant's own not": each_of(L, [A, B, C], None, UNIQUE, UNIQUE, rules=rules_of(loyalty=TypeRule())),
    "a type of the tenant's own where it says so": each_of(
        L, [A, B, C], MANY, MANY, MANY, shared={L}, rules=rules_of(loyalty=TypeRule(shared_from=3))),
    "warned of": each_of(D, [A, B, C], None, UNIQUE, UNIQUE, shared={D}, rules=WARN),
    "demoted": each_of(D, [A, B, C], None, MANY, MANY, shared={D}, rules=DEMOTE),
    "what it held together parts": each_of(E, [P, Q, R], MANY, MANY, MANY, shared={E}),
    "demoted, it holds its first alone": each_of(E, [P, Q, R], None, MANY, MANY, shared={E}, rules=DEMOTE),
    "warned of, it holds all": each_of(E, [P, Q, R], None, None, None, shared={E}, rules=WARN),
    "demoted, it holds its first by every source": case(
        claim(A, D), None, claim(B, D), MANY, claim(C, D), MANY,
        claim(A, D, source="web"), None, shared={D}, rules=DEMOTE),
    "demoted, its first is the one that ranks first": case(
        claim(A, D), MANY, claim(B, D), MANY, by_hand(C, D), None, shared={D}, rules=DEMOTE),
    "demoted, an id made for it is not its first": case(
        first_seen(D, ANON), None, claim(A, D), None, claim(B, D), MANY, claim(C, D), MANY, shared={D}, rules=DEMOTE),
    "demoted, and something else joins": case(
        claim(A, D), None, claim(B, D), MANY, claim(C, D), MANY, claim(A, E), None, shared={D}, rules=DEMOTE),
    "not one's with three addresses": case(
        claim(A, E), None, claim(A, F), None, claim(A, G), None, claim(P, E), None, claim(P, F), None,
        claim(P, G), None),
    "one's addresses as one person's": case(
        claim(A, P), None, claim(A, Q), None, claim(E, P), None, claim(E, Q), None, claim(E, R), None),
    "one's addresses as one person's, and two others": case(
        claim(A, P), None, claim(A, Q), None, claim(E, P), MANY, claim(E, Q), MANY, claim(E, R), MANY,
        claim(E, S), MANY, shared={E}),
    "not by an address here and a number there": each_of(D, [A, E, P], None, None, None),
    "not by things": each_of(E, [D, K, N, identifier("device_id", "e")], None, None, None, None),
    "not by things of one with several numbers": case(
        claim(A, P), None, claim(A, Q), None, claim(A, R), None, claim(A, E), None,
        *(argument for name in "xyz" for argument in (claim(E, identifier("device_id", name)), None))),
    "not by ids that were made": case(
        first_seen(E, ANON), None, by_hand(E, NONA), None, by_hand(E, NOAN), None),
    "by refused claims too": each_of(D, [E, F, G], MANY, MANY, MANY, shared={D}),
    "by a claim refused under other rules": case(
        claim(A, D), MANY, claim(B, D), MANY, claim(C, D, settled=True, status=UNIQUE.value), UNIQUE, shared={D}),
    "not by an unsure one": case(claim(A, D), None, claim(B, D), UNIQUE, claim(C, D, 0.49), UNIQUE),
    "by one that is sure enough for the tenant": case(
        claim(A, D), MANY, claim(B, D), MANY, claim(C, D, 0.49), MANY, shared={D}, rules=Rules(min_confidence=0.4)),
    "by an unsure one that is by hand": case(claim(A, D), MANY, claim(B, D), MANY, tried(C, D, 0.1), MANY, shared={D}),
    "not by what is refused for good": case(
        claim(A, D), None, claim(B, D), UNIQUE, claim(C, D, status=Reason.BLOCKED_VALUE.value), Reason.BLOCKED_VALUE),
    "not by what only a guess ties to those seen": case(
        claim(A, P), None, claim(A, E), None, claim(E, P), None, claim(E, Q), None, claim(P, R, 0.3), None),
    "its unsure claims as well": case(
        claim(A, D), MANY, claim(B, D), MANY, claim(C, D), MANY, claim(D, E, 0.3), MANY, shared={D}),
    "but not what somebody linked by hand": case(
        by_hand(A, D), None, claim(B, D), MANY, claim(C, D), MANY, shared={D}),
    "but not what somebody accepted": case(
        claim(A, D, rule=Rule.ACCEPTED), None, claim(B, D), MANY, claim(C, D), MANY, shared={D}),
    "but not an id made for it": case(
        first_seen(D, ANON), None, claim(A, D), MANY, claim(B, D), MANY, claim(C, D), MANY, shared={D}),
    "but not what was linked under other rules": case(
        pinned(A, D), None, claim(B, D), MANY, claim(C, D), MANY, shared={D}),
    "what somebody links if no rule refuses it": case(
        tried(A, D), MANY, claim(B, D), MANY, claim(C, D), MANY, shared={D}),
    "what is said again of what somebody linked by hand": case(
        by_hand(A, D), None, claim(A, D), FOLLOWS, claim(B, D), MANY, claim(C, D), MANY, shared={D}),
    "from two on, where public sources alone name it": case(
        public(A, D), MANY, public(B, D), MANY, shared={D}),
    "from two on, by two public sources": case(
        public(A, N), MANY, public(B, N, source="public:app"), MANY, shared={N}),
    "from two on, an id made for it is nobody's word": case(
        first_seen(K, ANON), None, public(A, K), MANY, public(B, K), MANY, shared={K}),
    "from two on, without its unsure claims": case(
        public(A, D), MANY, public(B, D), MANY, claim(A, D, 0.4), MANY, shared={D}),
    "not from two on, where another source names it": case(public(A, D), None, public(B, D), UNIQUE, claim(A, D), None),
    "not where a public source contradicts another": case(public(B, D), UNIQUE, claim(A, D), None),
    "not where somebody links it by hand": case(public(A, D), UNIQUE, by_hand(B, D), None),
    "not with one person's two names": case(claim(A, E), None, public(A, D), None, public(E, D), None),
    "no address from two on, whoever names it": case(public(A, E), None, public(B, E), UNIQUE),
    "never, where the tenant says so": case(
        public(A, D), None, public(B, D), UNIQUE,
        rules=rules_of(device_id=TypeRule(weak=True))),
    "warned of from two on": case(public(A, D), None, public(B, D), UNIQUE, shared={D}, rules=WARN),
    "two at once": case(
        claim(A, D), MANY, claim(B, D), MANY, claim(C, D), MANY, claim(A, E), MANY, claim(B, E), MANY,
        claim(C, E), MANY, claim(D, E), MANY, shared={D, E}),
    "two at once, demoted": case(
        claim(A, D), None, claim(B, D), MANY, claim(C, D), MANY, claim(A, E), None, claim(B, E), MANY,
        claim(C, E), MANY, claim(D, E), None, shared={D, E}, rules=DEMOTE),
    "one that shows when another is split off": case(
        claim(E, P), MANY, claim(E, Q), MANY, claim(E, R), MANY, claim(L, P), MANY, claim(L, Q), MANY,
        claim(L, S), MANY, claim(L, T), MANY, shared={E, L}, rules=rules_of(loyalty=TypeRule(shared_from=3))),
    "not one that shows only where another is split off": case(
        claim(E, P), None, claim(E, Q), None, claim(E, R), None, claim(L, P), None, claim(L, Q), None,
        claim(L, S), None, rules=rules_of(loyalty=TypeRule(shared_from=3))),
}  # fmt: skip


@pytest.mark.parametrize("case", SHARED.values(), ids=SHARED)
def test_an_identifier_claimed_for_many_is_shared(case):
    check(case)


# --- claims that follow ---

FOLLOWING = {
    "what was refused, where the two are one by others": case(
        claim(A, LOCAL), None, claim(D, LOCAL), FOLLOWS, claim(A, D), None),
    "what was refused under other rules": case(
        claim(A, E), None, claim(A, P), None, claim(E, P, settled=True, status=UNIQUE.value), FOLLOWS),
    "what contradicts a person's word": case(by_hand(A, B), None, claim(A, E), None, claim(B, E), FOLLOWS),
    "not what is refused for good": case(
        claim(A, E), None, claim(A, P), None, claim(E, P, status=Reason.BLOCKED_VALUE.value), Reason.BLOCKED_VALUE),
    "not what waits for somebody's look": case(
        merged(A, B), None, matched(A, B, status=Reason.REVIEW.value), Reason.REVIEW),
    "not where nothing else makes them one": case(
        claim(A, LOCAL), None, claim(D, LOCAL), Reason.UNCERTAIN_VALUE, claim(E, D), None),
    "and joins nothing by itself": case(
        claim(E, P), None, claim(E, P, 0.3, source="web", settled=True, status=UNIQUE.value), FOLLOWS,
        claim(P, D, 0.3, settled=True, status=UNIQUE.value), UNIQUE),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLLOWING.values(), ids=FOLLOWING)
def test_a_refused_claim_follows_where_its_ends_are_linked_otherwise(case):
    check(case)


# --- how large a profile may be ---

THREE = Rules(max_identifiers=3)
LARGE = {
    "no more than may be": case(claim(A, E), None, claim(A, P), None, claim(A, D), CAP, rules=THREE),
    "two that are one at the most": case(
        claim(A, E), None, claim(A, P), None, claim(E, P), None, claim(A, E, source="web"), None, rules=THREE),
    "ids that were made count nothing": case(
        first_seen(E, ANON), None, claim(A, E), None, claim(A, P), None, claim(A, D), CAP, rules=THREE),
    "by hand whatever there is": case(
        by_hand(A, E), None, by_hand(A, P), None, by_hand(A, D), None, by_hand(A, K), None, rules=THREE),
    "by hand first, and of others what fits": case(
        claim(A, E), None, claim(A, P), CAP, by_hand(A, D), None, rules=THREE),
    "pinned first, and of others what fits": case(claim(A, E), None, claim(A, P), CAP, pinned(A, D), None, rules=THREE),
    "what somebody links if no rule refuses it, as others": case(
        claim(A, E), None, claim(A, P), None, tried(A, D), CAP, rules=THREE),
    "a merge is counted ahead": case(claim(A, E), None, claim(A, P), CAP, merged(A, B), None, rules=THREE),
    "a merge is counted ahead, with what either has": case(
        claim(A, E), None, claim(B, F), CAP, merged(A, B), None, rules=THREE),
    "a chain of merges": case(claim(A, E), CAP, merged(A, B), None, merged(B, C), None, rules=THREE),
    "merges whatever there is": case(
        claim(A, E), CAP, merged(A, B), None, merged(B, C), None, merged(C, X), None, rules=THREE),
    "a merge that a ban keeps from holding is not counted": case(
        claim(A, E), None, claim(A, P), None, merged(A, B), BANNED, rules=THREE, bans=[(A, B)]),
    "what a ban keeps from a merged profile is not counted": case(
        claim(A, E), BANNED, claim(A, P), None, merged(A, B), None, rules=THREE, bans=[(E, B)]),
    "of two merges the one that a ban keeps from holding is not counted": case(
        merged(A, B), None, claim(A, E), None, claim(A, P), CAP, merged(B, C), BANNED, rules=THREE, bans=[(A, C)]),
    "a match is not counted ahead": case(claim(A, E), None, claim(A, P), None, matched(A, B), CAP, rules=THREE),
    "a match under other rules is": case(claim(A, E), None, claim(A, P), CAP,
        matched(A, B, settled=True, status=LINKED), None, rules=THREE),
    "what is refused is not counted": case(claim(A, E), None, claim(B, E), UNIQUE, claim(A, P), None, rules=THREE),
}  # fmt: skip


@pytest.mark.parametrize("case", LARGE.values(), ids=LARGE)
def test_a_profile_grows_no_larger_than_the_cap(case):
    check(case)


# --- links within the window of a limit ---

PHONES = rules_of(phone=TypeRule(limit=2, window_days=30))
EARLIER, BEGIN = NOW - DAY, NOW - 30 * DAY
OF_TWO = Rules(types=PHONES.types, source_ranks={"web": 900})
WINDOW = {
    "all within": case(
        claim(A, P, since=EARLIER), None, claim(A, Q, since=EARLIER), None, claim(A, R, since=NOW), Reason.LIMIT,
        rules=PHONES),
    "one before": case(
        claim(A, P, since=BEGIN - DAY), None, claim(A, Q, since=EARLIER), None, claim(A, R, since=NOW), None,
        rules=PHONES),
    "one at its begin": case(
        claim(A, P, since=BEGIN), None, claim(A, Q, since=EARLIER), None, claim(A, R, since=NOW), None, rules=PHONES),
    "one just after its begin": case(
        claim(A, P, since=BEGIN + 1), None, claim(A, Q, since=EARLIER), None, claim(A, R, since=NOW), Reason.LIMIT,
        rules=PHONES),
    "one before, where no window is": case(
        claim(A, P, since=BEGIN - DAY), None, claim(A, Q, since=EARLIER), None, claim(A, R, since=NOW), Reason.LIMIT,
        rules=rules_of(phone=TypeRule(limit=2))),
    "one before, told again": case(
        claim(A, P, since=BEGIN - DAY), None, claim(A, P, since=EARLIER, source="web"), None,
        claim(A, Q, since=EARLIER), None, claim(A, R, since=NOW), None, rules=PHONES),
    "one that had an id before": case(
        first_seen(P, ANON, since=BEGIN - DAY), None, claim(A, P, since=EARLIER), None,
        claim(A, Q, since=EARLIER), None, claim(A, R, since=NOW), Reason.LIMIT, rules=PHONES),
    "one that was linked before in vain": case(
        claim(A, P, since=EARLIER), None, claim(B, P, 0.3, since=BEGIN - DAY), UNIQUE, claim(A, Q, since=EARLIER), None,
        claim(A, R, since=NOW), Reason.LIMIT, rules=PHONES),
    "of two who join, both": case(
        claim(A, P, since=EARLIER), None, claim(A, Q, since=EARLIER), None, claim(E, R, since=EARLIER), None,
        claim(A, E, since=NOW, source="web"), Reason.LIMIT, rules=OF_TWO),
    "of two who join, what is within the window of what joins them": case(
        claim(A, P, since=BEGIN), None, claim(A, Q, since=EARLIER), None, claim(E, R, since=EARLIER), None,
        claim(A, E, since=NOW, source="web"), None, rules=OF_TWO),
}  # fmt: skip


@pytest.mark.parametrize("case", WINDOW.values(), ids=WINDOW)
def test_a_limit_counts_what_was_linked_within_the_window_before_a_claim(case):
    check(case)


# --- matches ---

MATCHED = {
    "two customers": case(matched(A, B), None),
    "two customers, with little probability": case(claim(A, E), None, claim(B, F), None, matched(A, B, 0.01), None),
    "beyond a limit": case(
        claim(A, E), None, claim(B, F), None, matched(A, B), None, rules=rules_of(email=TypeRule(limit=1))),
    "two of a type that a person has one of": case(
        claim(A, E), None, claim(B, F), None, matched(A, B), None, rules=rules_of(email=TypeRule(unique=True))),
    "beyond the most": case(claim(A, E), None, claim(B, F), None, matched(A, B), CAP, rules=THREE),
    "as many as may be": case(claim(A, E), None, matched(A, B), None, rules=THREE),
    "set apart": case(claim(A, E), None, claim(B, F), None, matched(A, B), BANNED, bans=[(E, F)]),
    "not what waits": case(matched(A, B, status=Reason.REVIEW.value), Reason.REVIEW, matched(B, C), None),
    "what hangs on it follows, and joins nothing else": case(
        claim(A, E), None, matched(A, B), None, claim(B, E), FOLLOWS, claim(B, P), None, claim(A, P), FOLLOWS),
    "and what hangs on it waits without it": case(
        claim(A, E), None, claim(B, E), UNIQUE, claim(B, P), None, claim(A, P), UNIQUE),
    "and then told": case(matched(A, B), None, claim(A, B), FOLLOWS),
    "what is linked by hand stands without it": case(matched(A, B), None, by_hand(A, B), None, claim(A, E), None),
    "customers whose ids are shared": case(
        matched(A, B), None, claim(A, E), MANY, claim(A, F), MANY, shared={A},
        rules=rules_of(customer_id=TypeRule(unique=True, shared_from=2))),
}  # fmt: skip


@pytest.mark.parametrize("case", MATCHED.values(), ids=MATCHED)
def test_matches_are_linked_whatever_rules_weigh_identifiers(case):
    check(case)


# --- cases outside the tables ---


def test_every_reason_is_given_somewhere_and_has_its_words():
    reasons_given = {row.reason for row in ROWS.values()} | {
        reason for shared_case in SHARED.values() for reason in shared_case.becomes
    }
    assert reasons_given == {None, FOLLOWS, *Reason} - {Reason.SELF_LINK}
    assert WORDS.keys() == set(Reason)
    assert len(set(WORDS.values())) == len(WORDS)


def test_every_rule_occurs_in_some_case():
    tables = (UNSURE, PRECEDENCE, BANS, SHARED, FOLLOWING, LARGE, WINDOW, MATCHED)
    every = [case.rules for table in (ROWS, *tables) for case in table.values()]
    of_claims = {"blocked_values", "blocked_patterns"}  # claims refused for their value are refused earlier
    assert _otherwise(every, DEFAULT) == {field.name for field in msgspec.structs.fields(Rules)} - of_claims
    types = [type_ for rules in every for type_ in rules.types.values()]
    of_forms = {"form", "of"}  # claims are of forms that were made before
    assert _otherwise(types, TypeRule()) == {field.name for field in msgspec.structs.fields(TypeRule)} - of_forms


def _otherwise(every, usual):
    names = [field.name for field in msgspec.structs.fields(usual)]
    return {name for setting in every for name in names if getattr(setting, name) != getattr(usual, name)}


def test_an_identifier_without_claims_is_a_set_of_its_own():
    outcome, _ = decided([claim(A, E)], identifiers=[B, A])
    assert [members for _, members in outcome.sets.all()] == [(A, E), (B,)]
    assert decided([])[0].sets.all() == []


# --- properties of all decisions ---

ENDS = [A, B, C, ANON, E, F, P, Q, R, D, K, L, LOCAL]
EVERY_RULES = [
    DEFAULT,
    Rules(types={"loyalty": TypeRule()}, shared="warn"),
    Rules(types={"loyalty": TypeRule(unique=True), "device_id": TypeRule(30, 2, weak=True, shared_from=2)},
          shared="demote"),
    rules_of(customer_id=TypeRule(), email=TypeRule(10, 1, shared_from=2), loyalty=TypeRule(shared_from=2)),
    Rules(types={"phone": TypeRule(20, 1, window_days=2), "customer_id": TypeRule(0)}, max_identifiers=3,
          weak_guard=False),
    Rules(types={name: TypeRule() for name in ("email", "phone", "device_id", "cookie_id")}, max_identifiers=4,
          source_ranks={"crm": 1, "web": 900}, min_confidence=0.4),
]  # fmt: skip
ends = st.lists(st.sampled_from(ENDS), min_size=2, max_size=2, unique=True)
usual_ends = st.lists(st.sampled_from([end for end in ENDS if end != L]), min_size=2, max_size=2, unique=True)
every_rules = st.sampled_from(EVERY_RULES)
bans_of = st.lists(ends.map(tuple), max_size=2)


@st.composite
def claims_of(draw, kinds=("record",), ends=ends, most=12, settles=False):
    """Claims as they may be stored, no two of one source and kind of one pair."""
    made = {}
    for pair in draw(st.lists(ends, max_size=most)):
        kind = draw(st.sampled_from(kinds))
        is_of_customers = kind in {Rule.MERGE, Rule.MATCH}
        first, second = draw(st.sampled_from([*combinations((A, B, C), 2)])) if is_of_customers else pair
        drawn_claim = claim(
            first, second, draw(st.sampled_from([1.0, 0.5, 0.3])), draw(st.integers(1, 4)) * DAY,
            draw(st.sampled_from(["crm", "web", "public:web", None])), timed=draw(st.booleans()),
            rule=Rule.LINK if kind == "tried" else Rule(kind), tried=kind == "tried",
        )  # fmt: skip
        if settles and kind != "tried":
            status = draw(st.sampled_from([NEW, NEW, NEW, LINKED, Reason.LIMIT.value, Reason.BLOCKED_VALUE.value]))
            drawn_claim = drawn_claim._replace(status=status, settled=status != NEW and draw(st.booleans()))
        made[_key(drawn_claim)] = drawn_claim
    return list(made.values())


KINDS = ("record", "record", "record", "record", "match", "link", "merge", "accepted", "tried")
any_claims = claims_of(KINDS, settles=True)


ALONE = [kind for kind in KINDS if kind not in {Rule.MERGE, Rule.MATCH}]


def _key(claim):
    return claim.a, claim.b, claim.rule in BY_HAND, claim.source


def summary_of(outcome, claims):
    """Return what was decided, whatever the order of claims."""
    becomes = {
        claim: (reason, at in outcome.following)
        for at, (claim, reason) in enumerate(zip(claims, outcome.reasons, strict=True))
    }
    return becomes, outcome.shared, [members for _, members in outcome.sets.all()]


@given(any_claims, bans_of, every_rules, st.randoms(use_true_random=False))
def test_the_order_in_which_claims_are_given_decides_nothing(claims, bans, rules, random):
    mixed = random.sample(claims, len(claims))
    (outcome, _), (again, _) = decided(claims, rules, bans), decided(mixed, rules, bans[::-1])
    assert summary_of(outcome, claims) == summary_of(again, mixed)


@given(any_claims, bans_of, every_rules)
def test_the_sets_are_made_by_the_claims_that_hold_alone(claims, bans, rules):
    outcome, becomes = decided(claims, rules, bans, ENDS)
    sets = Sets(ENDS)
    for claim, reason in zip(claims, becomes, strict=True):
        if reason is None:
            sets.meet(claim.a, claim.b)
    assert [members for _, members in outcome.sets.all()] == [members for _, members in sets.all()]
    for claim, reason in zip(claims, becomes, strict=True):
        is_one = sets.find(claim.a) == sets.find(claim.b)
        assert is_one == (reason in {None, FOLLOWS}) or (reason is not None and reason in FINAL)


@given(claims_of(ALONE, settles=True), claims_of(ALONE, settles=True, most=1), bans_of, every_rules, st.booleans())
def test_a_claim_that_is_refused_changes_nothing_unless_it_shows_an_end_to_be_shared(claims, more, bans, rules, shares):
    if shares:
        more = [claim for claim in more if not rules.is_sure(claim.rule, claim.confidence)]
    else:
        rules = _sharing_nothing(rules)
    taken = {_key(claim) for claim in claims}
    more = [claim for claim in more if _key(claim) not in taken]
    (before, _), (after, becomes) = decided(claims, rules, bans, ENDS), decided([*claims, *more], rules, bans, ENDS)
    if more and becomes[-1] is not None:
        reasons, *others = summary_of(after, [*claims, *more])
        assert ({claim: reasons[claim] for claim in claims}, *others) == summary_of(before, claims)


def _sharing_nothing(rules):
    types = {name: msgspec.structs.replace(rule, shared_from=None) for name, rule in rules.all_types.items()}
    return msgspec.structs.replace(rules, types=types)


@given(any_claims, bans_of, every_rules)
def test_a_ban_on_two_already_apart_parts_nobody_where_nothing_is_shared(claims, bans, rules):
    outcome, _ = decided(claims, _sharing_nothing(rules), (), ENDS)
    idle = [(first, second) for first, second in bans if outcome.sets.find(first) != outcome.sets.find(second)]
    again, _ = decided(claims, _sharing_nothing(rules), idle, ENDS)
    assert again.sets.all() == outcome.sets.all()


@given(claims_of(("record",) * 5 + ("tried",), most=16), bans_of)
def test_by_default_records_join_no_two_customers_of_the_companys(claims, bans):
    outcome, _ = decided([*claims, first_seen(E, ANON, since=1), first_seen(P, NONA, since=1)], DEFAULT, bans)
    for _, members in outcome.sets.all():
        assert sum(member.type == "customer_id" and not is_generated(member.value) for member in members) <= 1


@given(claims_of(ends=usual_ends, most=16), bans_of)
def test_by_default_an_identifier_of_a_device_never_joins_two_who_are_known_apart(claims, bans):
    # Of sources of one rank: the word of a source that ranks first holds before the strongest of one that ranks last.
    claims = [claim._replace(source=None) if is_public(claim.source) else claim for claim in claims]
    by_things = [claim for claim in claims if claim.a.type in WEAK or claim.b.type in WEAK]
    surely = [claim._replace(confidence=1.0) for claim in claims if claim not in by_things]
    claims = [*by_things, *surely]
    outcome, becomes = decided(claims, DEFAULT, bans)
    sets = Sets({*ENDS})
    for claim, reason in list(zip(claims, becomes, strict=True))[len(by_things) :]:
        if reason is None:
            sets.meet(claim.a, claim.b)
    for _, members in outcome.sets.all():
        people = {sets.find(member) for member in members}
        named = Counter(
            type_
            for root in people
            for type_ in {
                member.type
                for member in sets.members(root)
                if member.type not in WEAK and not is_generated(member.value)
            }
        )
        assert max(named.values(), default=0) <= 1, "of what weak types tie, no two groups hold one type"


@given(claims_of(), bans_of, st.sampled_from([D, K, N]), st.data())
def test_a_thing_that_public_sources_alone_give_to_two_customers_belongs_to_neither(claims, bans, thing, data):
    apart = [each for each in claims if thing not in {each.a, each.b}]
    first, second = (public(customer, thing, since=data.draw(st.integers(1, 4)) * DAY) for customer in (A, B))
    outcome, becomes = decided([first, *apart, second], DEFAULT, bans)
    assert becomes[0] == becomes[-1] == MANY
    assert list(outcome.sets.members(thing)) == [thing]


@given(claims_of(("record", "record", "record", "match", "tried"), most=16), bans_of, every_rules)
def test_nothing_exceeds_the_most_identifiers_of_a_profile(claims, bans, rules):
    outcome, _ = decided([*claims, first_seen(E, ANON, since=1)], rules, bans)
    for _, members in outcome.sets.all():
        assert sum(not is_generated(member.value) for member in members) <= rules.max_identifiers


@given(any_claims, every_rules)
def test_only_claims_by_hand_exceed_the_most_identifiers(claims, rules):
    check_size(claims, rules, ())


def check_size(claims, rules, bans):
    outcome, becomes = decided(claims, rules, bans, ENDS)
    sets = Sets(ENDS)
    for claim, reason in zip(claims, becomes, strict=True):
        if claim.stands and reason is None:
            sets.meet(claim.a, claim.b)
    for _, members in outcome.sets.all():
        if sum(not is_generated(member.value) for member in members) > rules.max_identifiers:
            assert len({sets.find(member) for member in members}) == 1


@given(any_claims, bans_of, every_rules)
def test_every_ban_holds_against_every_claim(claims, bans, rules):
    outcome, _ = decided(claims, rules, bans, ENDS)
    assert all(outcome.sets.find(first) != outcome.sets.find(second) for first, second in bans)


@given(any_claims, bans_of, every_rules, every_rules)
def test_decisions_are_repeated_by_the_same_rules_and_stand_under_others(claims, bans, rules, later):
    outcome, _ = decided(claims, rules, bans)
    again = [
        claim if claim.settled else claim._replace(status=LINKED if reason is None else reason.value)
        for claim, reason in zip(claims, outcome.reasons, strict=True)
    ]
    assert summary_of(decided(again, rules, bans)[0], claims) == summary_of(outcome, claims)
    stands = [
        claim._replace(status=LINKED if reason is None else reason.value, settled=True, tried=False)
        for claim, reason in zip(claims, outcome.reasons, strict=True)
    ]
    later_outcome, _ = decided(stands, later, bans)
    assert later_outcome.reasons == outcome.reasons
    assert [members for _, members in later_outcome.sets.all()] == [members for _, members in outcome.sets.all()]


# --- merges that a ban keeps from holding ---


@pytest.mark.parametrize("joined", [merged, partial(matched, settled=True, status=LINKED)], ids=["merge", "match"])
def test_what_a_ban_keeps_from_joining_two_makes_no_profile_larger_than_there_may_be(joined):
    """Without the two as one there is room for other claims, and no longer for the claim that the ban was about."""
    check_size(
        [claim(P, Q, since=1), claim(A, P, since=2), claim(A, R, since=3), joined(A, B, since=4)], THREE, [(B, R)]
    )


def test_a_ban_on_an_identifier_that_turns_out_to_be_shared_keeps_no_merge_from_holding():
    """Until it is known to be shared, it belongs to one of the two."""
    rules = rules_of(email=TypeRule(shared_from=2))
    shared = [claim(B, E), claim(C, E)]
    assert decided(shared, rules)[1] == [Reason.SHARED_IDENTIFIER] * 2
    assert decided([*shared, merged(A, B)], rules, [(A, E)])[1] == [*[Reason.SHARED_IDENTIFIER] * 2, None]


def test_a_merge_that_a_person_contradicts_parts_no_other_merge():
    """Both merges and the ban are people's words: the earlier merge holds, whatever a record would join meanwhile."""
    claims = [merged(A, C, since=1), claim(E, F, since=2), claim(A, E, since=3), claim(B, F, since=4)]
    rules, bans = rules_of(customer_id=TypeRule(unique=False)), [(B, C)]
    alone = decided(claims, rules, bans)[1]
    assert alone[0] is None
    assert decided([*claims, merged(B, C, since=5)], rules, bans)[1] == [*alone, BANNED]


def test_a_merge_that_a_ban_keeps_from_holding_shows_nobody_to_be_shared():
    claims = [claim(end, other) for end in (E, A) for other in (P, Q, R)]
    rules, bans = Rules(max_identifiers=5), [(A, B)]
    assert decided([*claims, merged(A, B)], rules, bans)[1] == [*decided(claims, rules, bans)[1], BANNED]
