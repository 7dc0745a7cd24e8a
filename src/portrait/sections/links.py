"""Links: what was decided of the evidence that two identifiers are one person. Shown as `identities`.

A source's record in `identities` is evidence, and stays what it was. What became of it, under the rules of the time, is
a fact of its own here, told at both ends: everything derived follows from facts, never from rules that changed since.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from portrait.identity.graph import LINKED, RETRACTED, Graph, LinkRecord
from portrait.identity.rules import Rule
from portrait.model.fact import Fact
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer, is_generated
from portrait.sections.base import StoredSection
from portrait.sections.identities import Identity
from portrait.sections.record import Record, Shape, impersonal, personal

_APART = "!"
"""Begins the key of a pair that is not to be linked: no type begins so."""


class Decision(Record, frozen=True, omit_defaults=True):
    """The body of a link's fact: what was decided, told at one of its ends."""

    rule: Annotated[str, impersonal]
    value: Annotated[str, personal] = ""
    """The other identifier's value, as it was given."""
    at: Annotated[int, impersonal] = 0
    since: Annotated[int, impersonal] = 0
    confidence: Annotated[float, impersonal] = 1.0
    status: Annotated[str, impersonal] = LINKED
    into: Annotated[str | None, personal] = None
    credential: Annotated[str | None, impersonal] = None
    timed: Annotated[bool, impersonal] = False
    policy: Annotated[str | None, impersonal] = None
    follows: Annotated[bool, impersonal] = False


class LinksState(msgspec.Struct, frozen=True, array_like=True):
    """Per identifier and key of another, what each source says now; what was taken back is not kept."""

    ends: dict[str, dict[str, list[LinkRecord]]] = {}
    told: dict[str, int] = {}
    """When something was told of each identifier last, in microseconds."""


_EMPTY = LinksState()


class Links:
    """The fold of links: of each pair and source the newest decision counts."""

    state = LinksState
    window: int | None = None

    def empty(self) -> LinksState:
        """Return the state before any fact."""
        return _EMPTY

    def apply(self, state: LinksState, fact: Fact) -> LinksState:
        """Return the state after one more fact."""
        tag = fact.identifier.tag
        held = state.ends.get(tag, {})
        live = _live([*held.get(fact.key, ()), _told(fact)], fact.key)
        ends = held | {fact.key: live} if live else {key: told for key, told in held.items() if key != fact.key}
        at = max(_told_at(state, tag), fact.recorded_at)
        return LinksState(state.ends | {tag: ends}, state.told | {tag: at})

    def join(self, a: LinksState, b: LinksState) -> LinksState:
        """Return the state of two identifiers: the links of both. Of one that both hold the one told more counts."""
        if a.ends.keys().isdisjoint(b.ends):  # as two identifiers' states are
            return LinksState(a.ends | b.ends, a.told | b.told)
        tags = sorted(a.ends.keys() | b.ends.keys())
        chosen = [(tag, max((a, b), key=lambda state: _told_at(state, tag))) for tag in tags]
        return LinksState(
            {
                tag: {key: live for key, told in sorted(state.ends.get(tag, {}).items()) if (live := _live(told, key))}
                for tag, state in chosen
            },
            {tag: _told_at(state, tag) for tag, state in chosen},
        )

    def render(self, state: LinksState, now: int) -> tuple[list[Any], int | None]:
        """Return a profile's identifiers, but for the customer id that it is known by, the surest first."""
        shown = identified(state, now)
        every = (one for others in state.ends.values() for told in others.values() for one in told)
        return [one.record for one in shown], min(
            (one.at for one in every if one.status == LINKED and one.at > now), default=None
        )

    def keys(self, state: LinksState) -> int:  # noqa: ARG002  # the cap of a profile bounds links, and nothing else does
        """Return 0: no limit of keys keeps a link from being decided on, or taken back."""
        return 0


class Identified(NamedTuple):
    """One identifier of a profile."""

    identifier: Identifier
    record: Identity


def graph_of(states: Iterable[LinksState], identifiers: Iterable[Identifier] = ()) -> Graph:
    """Return the graph of links in states, each of other identifiers, and of identifiers that may have none."""
    ends: dict[Identifier, dict[Identifier, list[LinkRecord]]] = {one: {} for one in identifiers}
    held = list(states)
    for state in held:
        for tag, others in state.ends.items():
            ends.setdefault(Identifier.of_tag(tag), {}).update(
                (Identifier.of_tag(key), told) for key, told in others.items() if not key.startswith(_APART)
            )
    return Graph(ends, [frozenset(pair) for pair in bans_of(held)])


def ends_of(state: LinksState, identifier: Identifier) -> dict[Identifier, list[LinkRecord]]:
    """Return what is told of an identifier's links, by the other end; refused and retracted ones too."""
    return {
        Identifier.of_tag(key): told
        for key, told in state.ends.get(identifier.tag, {}).items()
        if not key.startswith(_APART)
    }


def told_of(state: LinksState, identifier: Identifier, other: Identifier) -> Sequence[LinkRecord]:
    """Return what is told at one identifier of its link with another."""
    return state.ends.get(identifier.tag, {}).get(link_key(other), ())


def bans_of(states: Iterable[LinksState]) -> dict[tuple[Identifier, Identifier], LinkRecord]:
    """Return which pairs are not to be linked, in order, and who said so.

    What is told last counts, at whichever end: one that was nobody's then was told nothing.
    """
    newest: dict[tuple[Identifier, Identifier], LinkRecord] = {}
    for state in states:
        for tag, others in state.ends.items():
            for key, told in others.items():
                if key.startswith(_APART):
                    one, other = sorted((Identifier.of_tag(tag), Identifier.of_tag(key[1:])))
                    every = [*told, newest[one, other]] if (one, other) in newest else told
                    newest[one, other] = max(every, key=lambda each: each.order)
    return {pair: told for pair, told in sorted(newest.items()) if told.status == LINKED}


def linked(state: LinksState, identifier: Identifier) -> list[Identifier]:
    """Return the other ends of an identifier's links that hold."""
    return [other for other, told in ends_of(state, identifier).items() if any(one.status == LINKED for one in told)]


def only_bans(state: LinksState) -> LinksState:
    """Return a state with what is told of pairs that are not to be linked, and nothing else."""
    return LinksState(
        {
            tag: bans
            for tag, others in state.ends.items()
            if (bans := {key: told for key, told in others.items() if key.startswith(_APART)})
        }
    )


def told_at(state: LinksState) -> int:
    """Return when something was told of a state's links last, in microseconds; 0: never."""
    return max((_told_at(state, tag) for tag in state.ends), default=0)


def _told_at(state: LinksState, tag: str) -> int:
    if (at := state.told.get(tag)) is not None:
        return at
    every = (one.recorded_at for told in state.ends.get(tag, {}).values() for one in told)
    return max(every, default=0)


def link_key(other: Identifier, *, apart: bool = False) -> str:
    """Return the key under which a link to an identifier, or its ban, stands."""
    return _APART + other.tag if apart else other.tag


def identified(state: LinksState, now: int) -> list[Identified]:
    """Return the identifiers that a profile's links show at a moment, the surest first, as they were given last."""
    graph = graph_of([state])
    given: dict[Identifier, tuple[int, int, str]] = {}
    for others in state.ends.values():
        for key, told in others.items():
            for each in told:
                if each.status == LINKED and not key.startswith(_APART):
                    other = Identifier.of_tag(key)
                    told_as = each.at, each.recorded_at, each.value
                    given[other] = max(given.get(other, told_as), told_as)
    shown: list[Identified] = []
    for profile in graph.profiles():
        if profile.customer_id is None:
            continue
        anchor = customer(profile.customer_id)
        for one, (confidence, _) in graph.confidences(anchor, now).items():
            if one != anchor and one in given and not is_own(one):
                value = given[one][2]
                shown.append(Identified(one, Identity(type=one.type, value=value, confidence=float(confidence))))
    return sorted(shown, key=lambda one: (-one.record.confidence, one.identifier))


def is_own(identifier: Identifier) -> bool:
    """Tell whether an identifier is one of Portrait's making, which no source gave."""
    return identifier.type == CUSTOMER_ID and is_generated(identifier.value)


def _told(fact: Fact) -> LinkRecord:
    made = _decision.decode(fact.body)
    return LinkRecord(
        fact.recorded_at, fact.id, fact.source, made.value, made.confidence, made.rule, made.at, made.since,
        made.status, made.into, made.credential, made.timed, made.policy,
        made.follows,
    )  # fmt: skip


def _live(told: list[LinkRecord], key: str) -> list[LinkRecord]:
    """Return what counts of what is told of a pair: of each source its newest record's word, and that of a person.

    A record that ends takes back what records said, a person what anybody did. Of a ban what anybody said last counts.
    """
    if key.startswith(_APART):
        return [max(told, key=lambda one: one.order)]
    if len(told) == 1:
        return [] if _is_back(told[0]) else told
    newest: dict[tuple[bool, str | None], LinkRecord] = {}
    for one in sorted(told, key=lambda one: one.order):
        if not _is_back(one):
            newest[one.is_by_hand, one.source] = one
            continue
        newest.pop((False, one.source), None)
        if one.rule != Rule.RECORD:
            newest.pop((True, one.source), None)
    return sorted(newest.values(), key=lambda one: (one.source is not None, one.source or "", one.is_by_hand))


def _is_back(told: LinkRecord) -> bool:
    """Tell whether a word is taken back: what was split off by earlier versions waits, as what is refused does."""
    return told.status == RETRACTED and told.rule != Rule.SPLIT


_decision = msgspec.json.Decoder(Decision)

LINKS = StoredSection(
    name="links",
    description="What was decided on the evidence that two identifiers are one person.",
    origin=__name__,
    roles=frozenset(),
    default=False,
    shape=Shape(Decision, extras=None, where=__name__),
    key_fields={},
    kind="state",
    fold=Links(),
    version=2,
    upgrade=None,
    effective=None,
    normalise=None,
    opaque_keys=False,
    shown_as="identities",
)
"""Kept beside the registered sections: nobody writes to it, and what it shows is the section `identities`."""


def shown_by(section: StoredSection) -> StoredSection:
    """Return the section whose states a section's document is made from."""
    return LINKS if section.name == LINKS.shown_as else section
