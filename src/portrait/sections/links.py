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
    recorded_at: dict[str, int] = {}
    """When each identifier's newest fact was recorded, in microseconds."""


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
        links = state.ends.get(tag, {})
        live = _live([*links.get(fact.key, ()), _link_record(fact)], fact.key)
        ends = links | {fact.key: live} if live else {key: records for key, records in links.items() if key != fact.key}
        at = max(_told_at(state, tag), fact.recorded_at)
        return LinksState(state.ends | {tag: ends}, state.recorded_at | {tag: at})

    def join(self, a: LinksState, b: LinksState) -> LinksState:
        """Return the state of two identifiers: the links of both. Of one that both hold the one told more counts."""
        if a.ends.keys().isdisjoint(b.ends):  # as two identifiers' states are
            return LinksState(a.ends | b.ends, a.recorded_at | b.recorded_at)
        tags = sorted(a.ends.keys() | b.ends.keys())
        chosen = [(tag, max((a, b), key=lambda state: _told_at(state, tag))) for tag in tags]
        return LinksState(
            {
                tag: {
                    key: live
                    for key, records in sorted(state.ends.get(tag, {}).items())
                    if (live := _live(records, key))
                }
                for tag, state in chosen
            },
            {tag: _told_at(state, tag) for tag, state in chosen},
        )

    def render(self, state: LinksState, now: int) -> tuple[list[Any], int | None]:
        """Return a profile's identifiers, but for the customer id that it is known by, the surest first."""
        identities = identified(state, now)
        every = (record for others in state.ends.values() for records in others.values() for record in records)
        return [identity.record for identity in identities], min(
            (record.at for record in every if record.status == LINKED and record.at > now), default=None
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
    ends: dict[Identifier, dict[Identifier, list[LinkRecord]]] = {identifier: {} for identifier in identifiers}
    all_states = list(states)
    for state in all_states:
        for tag, others in state.ends.items():
            ends.setdefault(Identifier.of_tag(tag), {}).update(
                (Identifier.of_tag(key), records) for key, records in others.items() if not key.startswith(_APART)
            )
    return Graph(ends, [frozenset(pair) for pair in bans_of(all_states)])


def ends_of(state: LinksState, identifier: Identifier) -> dict[Identifier, list[LinkRecord]]:
    """Return what is told of an identifier's links, by the other end; refused and retracted ones too."""
    return {
        Identifier.of_tag(key): records
        for key, records in state.ends.get(identifier.tag, {}).items()
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
            for key, records in others.items():
                if key.startswith(_APART):
                    identifier, other = sorted((Identifier.of_tag(tag), Identifier.of_tag(key[1:])))
                    every = [*records, newest[identifier, other]] if (identifier, other) in newest else records
                    newest[identifier, other] = max(every, key=lambda each: each.order)
    return {pair: record for pair, record in sorted(newest.items()) if record.status == LINKED}


def linked(state: LinksState, identifier: Identifier) -> list[Identifier]:
    """Return the other ends of an identifier's links that hold."""
    return [
        other
        for other, records in ends_of(state, identifier).items()
        if any(record.status == LINKED for record in records)
    ]


def only_bans(state: LinksState) -> LinksState:
    """Return a state with what is told of pairs that are not to be linked, and nothing else."""
    return LinksState(
        {
            tag: bans
            for tag, others in state.ends.items()
            if (bans := {key: records for key, records in others.items() if key.startswith(_APART)})
        }
    )


def told_at(state: LinksState) -> int:
    """Return when something was told of a state's links last, in microseconds; 0: never."""
    return max((_told_at(state, tag) for tag in state.ends), default=0)


def _told_at(state: LinksState, tag: str) -> int:
    if (at := state.recorded_at.get(tag)) is not None:
        return at
    every = (record.recorded_at for records in state.ends.get(tag, {}).values() for record in records)
    return max(every, default=0)


def link_key(other: Identifier, *, apart: bool = False) -> str:
    """Return the key under which a link to an identifier, or its ban, stands."""
    return _APART + other.tag if apart else other.tag


def identified(state: LinksState, now: int) -> list[Identified]:
    """Return the identifiers that a profile's links show at a moment, the surest first, as they were given last."""
    graph = graph_of([state])
    latest: dict[Identifier, tuple[int, int, str]] = {}
    for others in state.ends.values():
        for key, records in others.items():
            for each in records:
                if each.status == LINKED and not key.startswith(_APART):
                    other = Identifier.of_tag(key)
                    value_at = each.at, each.recorded_at, each.value
                    latest[other] = max(latest.get(other, value_at), value_at)
    identities: list[Identified] = []
    for profile in graph.profiles():
        if profile.customer_id is None:
            continue
        anchor = customer(profile.customer_id)
        for identifier, (confidence, _) in graph.confidences(anchor, now).items():
            if identifier != anchor and identifier in latest and not is_own(identifier):
                value = latest[identifier][2]
                identities.append(
                    Identified(identifier, Identity(type=identifier.type, value=value, confidence=float(confidence)))
                )
    return sorted(identities, key=lambda identity: (-identity.record.confidence, identity.identifier))


def is_own(identifier: Identifier) -> bool:
    """Tell whether an identifier is one of Portrait's making, which no source gave."""
    return identifier.type == CUSTOMER_ID and is_generated(identifier.value)


def _link_record(fact: Fact) -> LinkRecord:
    made = _decision.decode(fact.body)
    return LinkRecord(
        fact.recorded_at, fact.id, fact.source, made.value, made.confidence, made.rule, made.at, made.since,
        made.status, made.into, made.credential, made.timed, made.policy,
        made.follows,
    )  # fmt: skip


def _live(records: list[LinkRecord], key: str) -> list[LinkRecord]:
    """Return what counts of what is told of a pair: of each source its newest record's word, and that of a person.

    A record that ends takes back what records said, a person what anybody did. Of a ban what anybody said last counts.
    """
    if key.startswith(_APART):
        return [max(records, key=lambda record: record.order)]
    if len(records) == 1:
        return [] if _is_back(records[0]) else records
    newest: dict[tuple[bool, str | None], LinkRecord] = {}
    for record in sorted(records, key=lambda record: record.order):
        if not _is_back(record):
            newest[record.is_by_hand, record.source] = record
            continue
        newest.pop((False, record.source), None)
        if record.rule != Rule.RECORD:
            newest.pop((True, record.source), None)
    return sorted(
        newest.values(), key=lambda record: (record.source is not None, record.source or "", record.is_by_hand)
    )


def _is_back(record: LinkRecord) -> bool:
    """Tell whether a word is taken back: what was split off by earlier versions waits, as what is refused does."""
    return record.status == RETRACTED and record.rule != Rule.SPLIT


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
