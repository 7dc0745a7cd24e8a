"""A claim that two identifiers are one person, and the order in which claims are decided on."""

from collections.abc import Callable
from typing import NamedTuple

from portrait.identity.graph import LINKED
from portrait.identity.rules import BY_HAND, OF_FORMS, Reason, Rule, Rules
from portrait.model.identifier import CUSTOMER_ID, Identifier

FINAL = frozenset({Reason.UNKNOWN_TYPE, Reason.BLOCKED_VALUE, Reason.REVIEW})
"""Reasons that are about a claim itself: it stays refused whatever else is known."""


class Claim(NamedTuple):
    """That two identifiers are one person, as one source claims it now."""

    a: Identifier
    b: Identifier
    """The two, in order."""
    source: str | None
    rule: str
    """Where it comes from: see `identity.rules.Rule`."""
    confidence: float
    since: int
    """From when it counts, in microseconds: the moment that its source named, else when it was recorded."""
    timed: bool
    """Whether its source named a moment."""
    status: str
    """The earlier decision on it: linked, or the reason for the refusal."""
    settled: bool = False
    """Whether that decision was made under other rules than the tenant's present ones, and stands."""
    tried: bool = False
    """Whether somebody links the two now: only if no rule refuses it, and all that is sure holds as it did."""

    @property
    def is_refused(self) -> bool:
        """Whether it stays refused, whatever else is known."""
        return self.status in FINAL or (self.settled and self.status != LINKED)

    @property
    def is_by_hand(self) -> bool:
        """Whether it is a person's own word, whatever the rules say."""
        return self.rule in BY_HAND and not self.tried

    @property
    def is_of_forms(self) -> bool:
        """Whether the forms of its ends make it, and nobody's word."""
        return self.rule in OF_FORMS

    @property
    def stands(self) -> bool:
        """Whether only a ban can refuse it."""
        return self.is_by_hand or (self.settled and self.status == LINKED)

    @property
    def is_of_profiles(self) -> bool:
        """Whether it says that two customers are one, with whatever else belongs to either."""
        is_of_two = self.a.type == self.b.type == CUSTOMER_ID
        return is_of_two and not self.tried and (self.rule == Rule.MATCH or self.rule in BY_HAND)


_FIRST = (False, 0)
TEXT_AT = 5
"""Where the claim's own text begins in what it is ordered by."""


def precedence(rules: Rules) -> Callable[[Claim], tuple[object, ...]]:
    """Return the order in which claims are decided on: total, and the same whatever came first.

    First come a person's own links and what was decided under earlier rules. Then sure claims come before unsure ones;
    then the source's rank decides; strong types come before weak ones, claims with a moment before claims without, the
    earlier before the later (a claim without a moment counts from its arrival), and last the claim's own text decides.
    What the forms of two identifiers say comes after all that sources and people say: it joins what either belongs to.
    Claims that join two customers as a whole come at the end: they join what either has by all other claims. But where
    a person made the claim, the two count as one for the bans that other claims meet: no record parts them.
    """

    def key(claim: Claim) -> tuple[object, ...]:
        own = claim.since, claim.a, claim.b, claim.source or ""
        if claim.is_of_profiles:
            return 5, claim.rule == Rule.MATCH, _FIRST, False, *own
        if claim.is_of_forms:
            return 4, False, _FIRST, False, 0, *own[1:]
        if claim.stands:
            return 0, claim.rule != Rule.FIRST_SEEN, _FIRST, False, *own
        is_sure = rules.is_sure(claim.rule, claim.confidence)
        rank = 2 if claim.tried else 1 if is_sure else 3
        types = rules.of(claim.a.type), rules.of(claim.b.type)
        weakest = any(rule.weak for rule in types), max(rule.priority for rule in types)
        return rank, rules.rank(claim.source), weakest, not claim.timed, *own

    return key
