"""Which claims hold: all claims about some identifiers are decided together, so the order of recording does not matter.

Claims are gone through in one order, `precedence`, and each is let through unless a guard keeps apart what it would
join. So a claim that came late is decided on as though it had come first, wherever it ranks before others.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import combinations, groupby
from typing import NamedTuple

from portrait.identity.claim import FINAL, TEXT_AT, Claim, precedence
from portrait.identity.graph import Sets, groups_without
from portrait.identity.rules import Reason, Rule, Rules
from portrait.model.identifier import CUSTOMER_ID, Identifier, is_generated
from portrait.model.source import is_public
from portrait.model.time import DAY


class Decisions(NamedTuple):
    """What was decided on some claims."""

    reasons: Sequence[Reason | None]
    """Of each claim why it is refused; None: it holds."""
    following: frozenset[int]
    """The indexes of claims that hold only because others make their ends one person: alone they are refused."""
    shared: frozenset[Identifier]
    """Identifiers that count as shared, because they are seen with many people."""
    sets: Sets
    """The sets of identifiers that are one person by the claims that hold."""


def decide(
    claims: Sequence[Claim],
    bans: Collection[frozenset[Identifier]],
    identifiers: Collection[Identifier],
    rules: Rules,
) -> Decisions:
    """Decide on all claims about some identifiers.

    Which identifiers are shared depends on the people that they are seen with, and who is one person depends on which
    identifiers are shared. The size of a profile also depends on the customers that are merged by hand. So the pass is
    repeated until it finds no further shared identifier, and then no further merge by hand that a ban refuses: until
    all shared identifiers are known, one of them may carry a ban into a profile that it does not belong to.

    Args:
        claims: the claims.
        bans: the pairs that are not to be one person.
        identifiers: all identifiers concerned; those of claims need not be among them.
        rules: the tenant's rules.
    """
    keys = list(map(precedence(rules), claims))
    order = sorted(range(len(claims)), key=keys.__getitem__)
    seen = _seen(claims, rules)
    shared: frozenset[Identifier] = frozenset()
    parted = _contradicted(claims, order, bans)
    while True:
        run = _Pass(claims, bans, identifiers, rules, shared, parted)
        for _, equal in groupby(order, key=lambda index: keys[index][:TEXT_AT]):
            run.consider(list(equal))
        if further_shared := run.shared_among(seen):
            shared |= further_shared
        elif further := run.parted() - parted:
            parted, shared = parted | further, frozenset()
        else:
            return run.finish()


def _contradicted(
    claims: Sequence[Claim], order: Iterable[int], bans: Collection[frozenset[Identifier]]
) -> frozenset[int]:
    """Return the indexes of the claims that make one of two customers and that other words of people refuse."""
    by_hand = [index for index in order if claims[index].is_by_hand and not claims[index].is_refused]
    sets = Sets({identifier for index in by_hand for identifier in (claims[index].a, claims[index].b)}.union(*bans))
    contradicted = set()
    for index in by_hand:
        a, b = claims[index].a, claims[index].b
        if not _is_apart(sets, bans, a, b):
            sets.meet(a, b)
        elif claims[index].is_of_profiles:
            contradicted.add(index)
    return frozenset(contradicted)


def _is_apart(sets: Sets, bans: Iterable[frozenset[Identifier]], a: Identifier, b: Identifier) -> bool:
    """Tell whether a ban stands between the sets of two identifiers."""
    roots = {sets.find(a), sets.find(b)}
    return len(roots) > 1 and any({sets.find(end) for end in pair} == roots for pair in bans)


class Seen(NamedTuple):
    """With what an identifier is seen."""

    others: frozenset[Identifier]
    """The identifiers that sure claims connect with it, or with another form of it."""
    shared_from: int
    """With so many people it counts as shared."""
    forms: frozenset[Identifier]
    """It and its other forms: none of them is a person besides it."""


def _seen(claims: Iterable[Claim], rules: Rules) -> dict[Identifier, Seen]:
    """Return with what each identifier is seen that may turn out to be shared."""
    seen: dict[Identifier, set[Identifier]] = {}
    vouched: set[Identifier] = set()
    of_forms: list[Claim] = []
    for claim in claims:
        if claim.is_of_forms:
            of_forms.append(claim)
        elif claim.status not in FINAL and rules.is_sure(claim.rule, claim.confidence):
            for identifier, other in ((claim.a, claim.b), (claim.b, claim.a)):
                seen.setdefault(identifier, set()).add(other)
                if not is_public(claim.source) and claim.rule != Rule.FIRST_SEEN:
                    vouched.add(identifier)
    forms = _with_people_of_forms(seen, vouched, of_forms)
    return {
        identifier: Seen(frozenset(others), shared_from, forms.get(identifier, frozenset((identifier,))))
        for identifier, others in seen.items()
        if (shared_from := rules.shared_from(identifier.type, is_vouched=identifier in vouched)) is not None
        and len(others) >= shared_from
    }


def _with_people_of_forms(
    seen: dict[Identifier, set[Identifier]], vouched: set[Identifier], of_forms: Collection[Claim]
) -> dict[Identifier, frozenset[Identifier]]:
    """Have all forms of one be seen with the people of each; return the forms of each that has others.

    Ids that Portrait made are nobody's besides: whether there is one depends on what came first.
    """
    sets = Sets({end for claim in of_forms for end in (claim.a, claim.b)})
    for claim in of_forms:
        sets.meet(claim.a, claim.b)
    forms_of: dict[Identifier, frozenset[Identifier]] = {}
    for _, members in sets.all():
        forms = frozenset(members)
        others = {
            other
            for form in forms
            for other in seen.get(form, ())
            if other not in forms and not (other.type == CUSTOMER_ID and is_generated(other.value))
        }
        for form in forms:
            forms_of[form] = forms
            seen.setdefault(form, set()).update(others)
            seen[form] -= forms
        if not vouched.isdisjoint(forms):
            vouched |= forms
    return forms_of


class Group:
    """Identifiers that are one person as far as claims were decided on."""

    __slots__ = ("counts", "is_somebody", "names", "unique")

    def __init__(self, identifier: Identifier, rules: Rules) -> None:
        own = identifier.type == CUSTOMER_ID and is_generated(identifier.value)
        rule = rules.of(identifier.type)
        self.counts: dict[str, int] = {} if own else {identifier.type: 1}
        self.names: frozenset[str] = _NONE if own or rule.weak else frozenset((identifier.type,))
        """The types of its identifiers that name people: no weak types, and no ids that Portrait generated."""
        self.unique: frozenset[str] = self.names if rule.unique else _NONE
        self.is_somebody = identifier.type == CUSTOMER_ID and not own
        """Whether it is a customer of the company's, or holds two identifiers that a sure claim ties."""

    def take(self, other: "Group") -> None:
        """Take in another group."""
        for type_, count in other.counts.items():
            self.counts[type_] = self.counts.get(type_, 0) + count
        self.names |= other.names
        self.unique |= other.unique
        self.is_somebody |= other.is_somebody


_NONE: frozenset[str] = frozenset()


class _Pass:
    """Goes through the claims once, with a fixed set of shared identifiers."""

    def __init__(
        self,
        claims: Sequence[Claim],
        bans: Collection[frozenset[Identifier]],
        identifiers: Collection[Identifier],
        rules: Rules,
        shared: frozenset[Identifier],
        parted: frozenset[int],
    ) -> None:
        self._claims = claims
        self._rules = rules
        self._shared = shared
        self._parted = parted
        everyone = {*identifiers, *(identifier for claim in claims for identifier in (claim.a, claim.b))}
        self.sets = Sets(everyone)
        self._of_profiles = {
            index
            for index, claim in enumerate(claims)
            if claim.is_of_profiles and claim.stands and not claim.is_refused
        }
        ahead = self._of_profiles - parted
        self._whole = self._ahead(everyone, ahead)
        """The same sets, with customers already one that are joined as wholes: for the size of a profile to be."""
        by_hand = {index for index in ahead if claims[index].is_by_hand}
        self._merged = self._whole if by_hand == ahead else self._ahead(everyone, by_hand)
        """The same, but only with customers that a person made one: for the bans of a profile to be."""
        self._groups = {identifier: Group(identifier, rules) for identifier in everyone}
        self._linked: dict[Identifier, int] = {}
        """Since when each identifier is linked with anything."""
        self._bans = [pair for pair in bans if pair <= everyone]
        self._reasons: dict[int, Reason | None] = {}
        self._ties: list[tuple[Identifier, Identifier]] = []

    def _ahead(self, everyone: Iterable[Identifier], ahead: Iterable[int]) -> Sets:
        """Return sets in which some claims hold already; the pass's own where there are none."""
        indexes = list(ahead)
        if not indexes:
            return self.sets
        sets = Sets(everyone)
        for index in indexes:
            sets.meet(self._claims[index].a, self._claims[index].b)
        return sets

    def consider(self, equal: Sequence[int]) -> None:
        """Decide on claims that rank equally, one after the other, but for those that tie."""
        tied = self._tied(equal) if len(equal) > 1 else {}
        for index in equal:
            self._decide(index, tied.get(index))

    def _tied(self, equal: Iterable[int]) -> dict[int, Reason]:
        """Return the claims that tie, and why none holds: each gives the same unowned identifiers to another person.

        Only claims with a moment tie: of claims without, one came first.
        """
        ends: dict[Identifier, list[tuple[int, Identifier]]] = {}
        for index in equal:
            claim = self._claims[index]
            if claim.timed and not claim.stands and not claim.tried and self._reason(claim) is None:
                for identifier, other in ((claim.a, claim.b), (claim.b, claim.a)):
                    if not self._groups[self.sets.find(identifier)].is_somebody:
                        ends.setdefault(self.sets.find(identifier), []).append((index, other))
        tied: dict[int, Reason] = {}
        for some in ends.values():
            for (index, identifier), (another, other) in combinations(some, 2):
                a, b = self.sets.find(identifier), self.sets.find(other)
                reason = next((why for why, refuses in _APART if refuses(self, self._claims[another], a, b)), None)
                if a != b and reason is not None:
                    tied[index] = tied[another] = reason
        return tied

    def _decide(self, index: int, tied: Reason | None) -> None:
        """Decide on one claim; `tied` is the reason for which it ties with another, if it does."""
        claim = self._claims[index]
        reason = Reason.CANNOT_LINK if index in self._parted else tied or self._reason(claim)
        self._reasons[index] = reason
        if reason is not None:
            return
        if claim.rule != Rule.FIRST_SEEN:
            for identifier in (claim.a, claim.b):
                self._linked.setdefault(identifier, claim.since)
        root = self._join(claim.a, claim.b)
        for sets in {id(sets): sets for sets in (self._whole, self._merged)}.values():
            sets.meet(claim.a, claim.b)
        if self._rules.is_sure(claim.rule, claim.confidence):
            self._ties.append((claim.a, claim.b))
            if not any(
                identifier.type == CUSTOMER_ID and is_generated(identifier.value) for identifier in (claim.a, claim.b)
            ):
                self._groups[root].is_somebody = True

    def finish(self) -> Decisions:
        """Return the decisions; a refused claim holds after all where its ends are one person by other claims."""
        following = {
            index
            for index, reason in self._reasons.items()
            if reason is not None and reason not in FINAL and self._are_one(self._claims[index])
        }
        reasons = [None if index in following else self._reasons[index] for index in range(len(self._claims))]
        return Decisions(reasons, frozenset(following), frozenset(self._shared), self.sets)

    def _are_one(self, claim: Claim) -> bool:
        return self.sets.find(claim.a) == self.sets.find(claim.b)

    def parted(self) -> set[int]:
        """Return the indexes of the merges by hand that a ban refuses."""
        return {index for index in self._of_profiles if self._reasons[index] is not None}

    def shared_among(self, seen: Mapping[Identifier, Seen]) -> set[Identifier]:
        """Return the identifiers that are seen with so many people that they count as shared."""
        return {
            identifier
            for identifier, own in seen.items()
            if identifier not in self._shared and self._people(identifier, own) >= own.shared_from
        }

    def _people(self, identifier: Identifier, seen: Seen) -> int:
        """Return with how many people an identifier is seen.

        Identifiers that stay connected without it are one person's. Two groups that share no type may still be one
        person's: an address here and a number there. So for each type that names people the groups with that type are
        counted, and the highest count is returned. It is never more than the number of identifiers of the type.
        """
        roots = {self.sets.find(other) for other in seen.others}
        most: Counter[str] = Counter()
        for root in roots:
            for type_ in self._groups[root].names:
                most[type_] += self._groups[root].counts[type_]
        if max(most.values(), default=0) < seen.shared_from:
            return 0
        members = [member for root in roots for member in self.sets.members(root) if member not in seen.forms]
        everyone = set(members)
        ties = [pair for pair in self._ties if everyone.issuperset(pair)]
        people = Counter(
            type_
            for group in groups_without(identifier, members, ties)
            if not group_is_free(group, seen.others)
            for type_ in naming(self._rules, group)
        )
        return max(people.values(), default=0)

    def _reason(self, claim: Claim) -> Reason | None:
        """Return why a claim is refused, as things stand; None: it holds."""
        if claim.is_refused:
            return Reason(claim.status)
        a, b = self.sets.find(claim.a), self.sets.find(claim.b)
        if claim.stands:
            return Reason.CANNOT_LINK if a != b and self.is_banned(claim, a, b) else None
        if self._is_shared(claim):
            return Reason.SHARED_IDENTIFIER
        if a == b:
            return None
        return self._between(claim, a, b)

    def _between(self, claim: Claim, a: Identifier, b: Identifier) -> Reason | None:
        """Return the first reason for which two groups, by their roots, are kept apart."""
        guards = _HARD if claim.rule == Rule.MATCH else _GUARDS
        return next((reason for reason, refuses in guards if refuses(self, claim, a, b)), None)

    def is_banned(self, claim: Claim, a: Identifier, b: Identifier) -> bool:
        """Tell whether a ban stands between a member of one group and a member of the other.

        A person's own word ranks before a record: so customers merged by hand count as one for all other claims.
        """
        if _is_apart(self.sets, self._bans, a, b):
            return True
        return not claim.is_by_hand and _is_apart(self._merged, self._bans, a, b)

    def is_too_large(self, claim: Claim, a: Identifier, b: Identifier) -> bool:  # noqa: ARG002  # as all guards
        """Tell whether the profile would have more identifiers than the rules allow."""
        return self._size(claim) > self._rules.max_identifiers

    def is_uncertain(self, claim: Claim, a: Identifier, b: Identifier) -> bool:
        """Tell whether an uncertain end already belongs to a profile; by hand it may be linked all the same."""
        if claim.tried or (claim.is_of_forms and not all(map(self._rules.is_uncertain, (claim.a, claim.b)))):
            return False
        return any(
            len(self.sets.members(root)) > 1 and self._rules.is_uncertain(end)
            for end, root in ((claim.a, a), (claim.b, b))
        )

    def joins_two(self, claim: Claim, a: Identifier, b: Identifier) -> bool:  # noqa: ARG002  # as all guards
        """Tell whether both groups have an identifier of the same unique type."""
        return not self._groups[a].unique.isdisjoint(self._groups[b].unique)

    def is_weak(self, claim: Claim, a: Identifier, b: Identifier) -> bool:
        """Tell whether a weak identifier would join two groups that share a type that names people."""
        rules = self._rules
        is_weak = rules.weak_guard and (rules.of(claim.a.type).weak or rules.of(claim.b.type).weak)
        return is_weak and not self._groups[a].names.isdisjoint(self._groups[b].names)

    def is_unsure(self, claim: Claim, a: Identifier, b: Identifier) -> bool:
        """Tell whether both are somebody without this claim, which is too weak to make them one; or none need be."""
        if claim.confidence >= self._rules.min_confidence:
            return False
        return self._rules.unsure == "wait" or (self._groups[a].is_somebody and self._groups[b].is_somebody)

    def _size(self, claim: Claim) -> int:
        """Return how many identifiers the profile would have that the claim joins."""
        roots = {self._whole.find(claim.a), self._whole.find(claim.b)}
        size = sum(len(self._whole.members(root)) for root in roots)
        if size <= self._rules.max_identifiers:
            return size
        return counted(member for root in roots for member in self._whole.members(root))

    def _is_shared(self, claim: Claim) -> bool:
        """Tell whether a claim is refused for a shared end; where the rules only demote it, its first link holds."""
        shared = {claim.a, claim.b} & self._shared
        if not shared or self._rules.shared == "warn" or claim.rule == Rule.MATCH:
            return False
        return self._rules.shared == "split" or (
            not self._are_one(claim) and any(identifier in self._linked for identifier in shared)
        )

    def is_over_limit(self, claim: Claim, a: Identifier, b: Identifier) -> bool:
        """Tell whether any type would have more identifiers than its limit, of those linked within its window.

        The window ends with the claim: what it is allowed depends on no clock.
        """
        counts_a, counts_b = self._groups[a].counts, self._groups[b].counts
        for type_ in counts_a if len(counts_a) < len(counts_b) else counts_b:
            rule = self._rules.of(type_)
            if rule.limit is None or counts_a.get(type_, 0) + counts_b.get(type_, 0) <= rule.limit:
                continue
            if rule.window_days is None:
                return True
            begin = claim.since - rule.window_days * DAY
            members = (*self.sets.members(a), *self.sets.members(b))
            linked_at = (self._linked.get(member, claim.since) for member in members if member.type == type_)
            if sum(since > begin for since in linked_at) > rule.limit:
                return True
        return False

    def _join(self, identifier: Identifier, other: Identifier) -> Identifier:
        a, b = self.sets.find(identifier), self.sets.find(other)
        if a == b:
            return a
        root = self.sets.join(a, b)
        self._groups[root].take(self._groups[b if root == a else a])
        return root


_Guard = Callable[[_Pass, Claim, Identifier, Identifier], bool]
_HARD: tuple[tuple[Reason, _Guard], ...] = (
    (Reason.CANNOT_LINK, _Pass.is_banned),
    (Reason.COMPONENT_CAP, _Pass.is_too_large),
)
"""The guards for a match: matching weighs what records say of people, not identifiers."""
_APART: tuple[tuple[Reason, _Guard], ...] = (
    (Reason.UNIQUE_TYPE, _Pass.joins_two),
    (Reason.WEAK_EVIDENCE, _Pass.is_weak),
)
"""The guards that show two groups to be two people's."""
_GUARDS: tuple[tuple[Reason, _Guard], ...] = (
    *_HARD,
    (Reason.UNCERTAIN_VALUE, _Pass.is_uncertain),
    *_APART,
    (Reason.LOW_CONFIDENCE, _Pass.is_unsure),
    (Reason.LIMIT, _Pass.is_over_limit),
)
"""The guards for all other claims, in the order in which a reason is given."""


def counted(identifiers: Iterable[Identifier]) -> int:
    """Return how many identifiers count: ids that Portrait generated do not."""
    return sum(not (identifier.type == CUSTOMER_ID and is_generated(identifier.value)) for identifier in identifiers)


def group_is_free(group: Iterable[Identifier], seen: Collection[Identifier]) -> bool:
    """Tell whether no member of a group was seen."""
    return not any(identifier in seen for identifier in group)


def naming(rules: Rules, members: Iterable[Identifier]) -> set[str]:
    """Return the types of the members that name people: no weak types, and no ids that Portrait generated."""
    return {
        member.type
        for member in members
        if not rules.of(member.type).weak and not (member.type == CUSTOMER_ID and is_generated(member.value))
    }
