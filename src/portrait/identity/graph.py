"""The identity graph: which identifiers are one person, since when, and how sure we are.

Links join identifiers; a connected set is a profile. Everything here follows from the links alone, so it is the same
whether it is kept up link by link or derived anew.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import msgspec

from portrait.identity.confidence import combined
from portrait.identity.rules import BY_HAND
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer, is_generated

LINKED = "linked"
RETRACTED = "retracted"
"""The status of evidence for a link, or for a ban; any other status is the reason for which a rule refused the
link."""


class LinkRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The evidence of one source, at one end of a link, with the newest decision on it."""

    recorded_at: int
    id: bytes
    source: str | None
    value: str
    """The other identifier's original value."""
    confidence: float
    rule: str
    """How we came to it: see `identity.rules`."""
    at: int
    """From when it holds by the source's own date, in microseconds."""
    since: int
    """From when the source has claimed it without a break: the moment that it named, else when it was
    recorded; in microseconds."""
    status: str
    into: str | None
    """The customer id that stayed, where the link joined two profiles."""
    credential: str | None = None
    """The id of the credential that acted, where somebody decided it by the API."""
    timed: bool = False
    """Whether the source named the moment from which it counts."""
    policy: str | None = None
    """Under which rules it was decided: see `identity.rules.Rules.name`."""
    follows: bool = False
    """Whether it holds only because the two are one person by other links: alone it joins nothing."""

    @property
    def order(self) -> tuple[int, bytes]:
        """What one source's records are sorted by: the later one counts."""
        return self.recorded_at, self.id

    @property
    def is_by_hand(self) -> bool:
        """Whether it is a person's own word, or leads to an id of Portrait's making."""
        return self.rule in BY_HAND


class Link(NamedTuple):
    """One link between two identifiers, with the evidence of all its sources."""

    a: Identifier
    b: Identifier
    since: int
    confidence: float
    into: str | None
    evidence: tuple[LinkRecord, ...]

    @property
    def order(self) -> tuple[int, Identifier, Identifier]:
        """The order in which links came to be: total."""
        return self.since, self.a, self.b


class Profile(NamedTuple):
    """Identifiers that are one person."""

    customer_id: str | None
    """None: none of them is a customer id."""
    members: tuple[Identifier, ...]
    """In order."""


class Merge(NamedTuple):
    """One time that two profiles became one."""

    link: Link
    source: str
    """The customer id that went."""
    into: str
    """The customer id that stayed."""

    @property
    def first_evidence(self) -> LinkRecord:
        """The earliest evidence of the link, by which the two became one."""
        return min(self.link.evidence, key=lambda record: (record.since, record.order))


class Graph:
    """The links of some identifiers.

    Args:
        ends: by identifier and by the other end, the evidence of each source.
        apart: the pairs that are not to be one person.
    """

    def __init__(
        self,
        ends: dict[Identifier, dict[Identifier, list[LinkRecord]]],
        apart: Collection[frozenset[Identifier]] = (),
    ) -> None:
        self.identifiers = set(ends)
        self.apart = set(apart)
        evidence: dict[tuple[Identifier, Identifier], tuple[LinkRecord, ...]] = {}
        for identifier, others in reversed(ends.items()):  # of a pair that both ends hold, the later end's counts
            for other, records in others.items():
                pair = (identifier, other) if identifier < other else (other, identifier)
                if pair not in evidence and other in ends and (live := _heard(records)):
                    evidence[pair] = live
        self.links = sorted((_link(*pair, records) for pair, records in evidence.items()), key=lambda link: link.order)
        self._joining = [link for link in self.links if not all(record.follows for record in link.evidence)]

    def profiles(self) -> list[Profile]:
        """Return the connected sets, by their first identifier.

        The customer id that a profile keeps is found by going through the links as they came: where one joins two
        profiles, the id that was decided on then stays; else a company's own id goes before a generated one, then the
        id that was linked first, then the lower id in byte order.
        """
        sets, kept, _ = self._replayed()
        return [Profile(kept[root], members) for root, members in sets.all()]

    def merges(self) -> list[Merge]:
        """Return the links that made one of two profiles with a customer id each, as they came."""
        return self._replayed()[2]

    def _replayed(self) -> "tuple[Sets, dict[Identifier, str | None], list[Merge]]":
        """Go through the links as they came; return the sets, the customer id of each by its root, and the merges."""
        sets = Sets(self.identifiers)
        first: dict[str, int] = {}
        for link in self._joining:
            for identifier in (link.a, link.b):
                if identifier.type == CUSTOMER_ID:
                    first.setdefault(identifier.value, link.since)
        kept = {
            identifier: identifier.value if identifier.type == CUSTOMER_ID else None for identifier in self.identifiers
        }
        merges = []
        for link in self._joining:
            a, b = sets.find(link.a), sets.find(link.b)
            if a == b:
                if link.into is not None and customer(link.into) in sets.members(a):
                    kept[a] = link.into  # decided on when the two were not one yet, as far as was known
                continue
            ids = {kept[a], kept[b]} - {None}
            stays = _survivor(kept[a], kept[b], link.into, first)
            merges += [Merge(link, gone, stays) for gone in ids - {stays} if gone is not None and stays is not None]
            kept[sets.join(a, b)] = stays
        return sets, kept, merges

    def joined_at(self) -> dict[tuple[Identifier, Identifier], int]:
        """Return since when each pair of identifiers of one person has been one person, in microseconds."""
        sets = Sets(self.identifiers)
        moments = {}
        for link in self._joining:
            root_a, root_b = sets.find(link.a), sets.find(link.b)
            if root_a != root_b:
                for identifier, other in product(sets.members(root_a), sets.members(root_b)):
                    moments[min(identifier, other), max(identifier, other)] = link.since
                sets.join(root_a, root_b)
        return moments

    def confidences(self, anchor: Identifier, now: int) -> dict[Identifier, tuple[float, tuple[Link, ...]]]:
        """Return how sure we are of each identifier, and the path that says so, from a customer's anchor.

        The widest path: of all paths the one whose weakest link is strongest, and that link's confidence. Along a path
        nothing is added, which would overstate, nor multiplied, which would punish length.
        """
        near: dict[Identifier, list[tuple[Identifier, Link]]] = {}
        for link in self.links:
            if (confidence := combined(link.evidence, now)) is not None:
                weighed = link._replace(confidence=confidence)
                near.setdefault(link.a, []).append((link.b, weighed))
                near.setdefault(link.b, []).append((link.a, weighed))
        widest: dict[Identifier, tuple[float, tuple[Link, ...]]] = {}
        ahead: list[tuple[float, int, Identifier, tuple[Link, ...]]] = [(-1.0, 0, anchor, ())]
        while ahead:
            width, length, identifier, path = heapq.heappop(ahead)
            if identifier in widest:
                continue
            widest[identifier] = -width, path
            for other, link in near.get(identifier, ()):
                if other not in widest:
                    heapq.heappush(ahead, (-min(-width, link.confidence), length + 1, other, (*path, link)))
        return widest

    def path(self, a: Identifier, b: Identifier, now: int) -> tuple[Link, ...]:
        """Return the widest path between two identifiers; empty where there is none."""
        return self.confidences(a, now).get(b, (0.0, ()))[1]


class Sets:
    """Disjoint sets of identifiers, each under one of its members, its root; the smaller set joins the larger."""

    def __init__(self, identifiers: Iterable[Identifier]) -> None:
        self._root = {identifier: identifier for identifier in identifiers}
        self._members = {identifier: [identifier] for identifier in self._root}

    def find(self, identifier: Identifier) -> Identifier:
        """Return the root of an identifier's set."""
        return self._root[identifier]

    def members(self, root: Identifier) -> list[Identifier]:
        """Return the set with a root."""
        return self._members[root]

    def join(self, a: Identifier, b: Identifier) -> Identifier:
        """Join the sets of two roots; return the root of the joined set."""
        if a == b:
            return a
        large, small = (a, b) if len(self._members[a]) >= len(self._members[b]) else (b, a)
        moved = self._members.pop(small)
        self._root.update(dict.fromkeys(moved, large))
        self._members[large] += moved
        return large

    def meet(self, a: Identifier, b: Identifier) -> bool:
        """Join the sets of two identifiers; return whether they were in one set already."""
        root_a, root_b = self._root[a], self._root[b]
        if root_a != root_b:
            self.join(root_a, root_b)
        return root_a == root_b

    def all(self) -> list[tuple[Identifier, tuple[Identifier, ...]]]:
        """Return every set with its root, in order."""
        return sorted(
            ((root, tuple(sorted(members))) for root, members in self._members.items()), key=lambda pair: pair[1]
        )


def groups_without(
    identifier: Identifier, identifiers: Iterable[Identifier], ties: Iterable[tuple[Identifier, Identifier]]
) -> list[Sequence[Identifier]]:
    """Return the sets that stay connected without an identifier, and that identifier as a set of its own.

    Args:
        identifier: the identifier to take out.
        identifiers: identifiers that may be tied to nothing.
        ties: which identifiers are tied.
    """
    remaining = [pair for pair in ties if identifier not in pair]
    sets = Sets({*identifiers, *(member for pair in remaining for member in pair)})
    for member, other in remaining:
        sets.join(sets.find(member), sets.find(other))
    return [members for _, members in sets.all()]


def first_owner(identifier: Identifier) -> str | None:
    """Return the customer id that an identifier never seen before belongs to; None: a profile is made for it."""
    return identifier.value if identifier.type == CUSTOMER_ID else None


def survivor(a: Profile, b: Profile, links: Sequence[Link]) -> str | None:
    """Return the customer id that stays where two profiles become one and nobody says which."""
    first: dict[str, int] = {}
    for link in links:
        for identifier in (link.a, link.b):
            if identifier.type == CUSTOMER_ID:
                first.setdefault(identifier.value, link.since)
    return _survivor(a.customer_id, b.customer_id, None, first)


def _survivor(a: str | None, b: str | None, into: str | None, first: Mapping[str, int]) -> str | None:
    if a is None or b is None:
        return a if b is None else b
    if into in {a, b}:
        return into
    never = max(first.values(), default=0) + 1
    return min(
        (a, b), key=lambda customer_id: (is_generated(customer_id), first.get(customer_id, never), customer_id.encode())
    )


def _heard(records: Iterable[LinkRecord]) -> tuple[LinkRecord, ...]:
    """Return the evidence that counts: what a source decided by hand goes before its records."""
    live = tuple([record for record in records if record.status == LINKED])
    if len(live) < 2:  # nearly always
        return live
    by_hand = {record.source for record in live if record.is_by_hand}
    return tuple(record for record in live if record.is_by_hand or record.source not in by_hand)


def _link(a: Identifier, b: Identifier, records: tuple[LinkRecord, ...]) -> Link:
    if len(records) == 1:  # nearly always
        return Link(a, b, records[0].since, 0.0, records[0].into, records)
    first = min(records, key=lambda record: (record.since, record.id))
    into = next(
        (record.into for record in sorted(records, key=lambda record: record.since) if record.into is not None), None
    )
    return Link(a, b, first.since, 0.0, into, records)


def aliases(profile: Profile) -> list[str]:
    """Return the customer ids of a profile, without the id that it keeps."""
    kept = None if profile.customer_id is None else customer(profile.customer_id)
    return [member.value for member in profile.members if member.type == CUSTOMER_ID and member != kept]
