"""Links: the decisions on the evidence that two identifiers are one person. Shown as `identities`.

A source's record in `identities` is evidence, and never changes. The decision on it, under the rules of the time, is a
fact of its own here, recorded at both ends: everything derived follows from facts, never from rules that changed since.
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
"""Begins the key of a ban's fact: no type begins so."""


class Decision(Record, frozen=True, omit_defaults=True):
    """The body of a link's fact: the decision, recorded at one of its ends."""

    rule: Annotated[str, impersonal]
    value: Annotated[str, personal] = ""
    """The other identifier's original value."""
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
    """The links and bans of identifiers, each by the tags of its two ends; retracted records are not kept."""

    ends: dict[str, dict[str, list[LinkRecord]]] = {}
    """Of each link the live record of each source."""
    recorded_at: dict[str, int] = {}
    """When each identifier's newest fact was recorded, in microseconds."""
    bans: dict[str, dict[str, LinkRecord]] = {}
    """Of each pair that somebody kept apart the newest record, which may lift the ban."""


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
        tag, record = fact.identifier.tag, _link_record(fact)
        recorded_at = state.recorded_at | {tag: max(_told_at(state, tag), fact.recorded_at)}
        if fact.key.startswith(_APART):
            bans, other = state.bans.get(tag, {}), fact.key.removeprefix(_APART)
            newest = max(bans.get(other, record), record, key=lambda each: each.order)
            return LinksState(state.ends, recorded_at, state.bans | {tag: bans | {other: newest}})
        links = state.ends.get(tag, {})
        live = _live([*links.get(fact.key, ()), record])
        ends = links | {fact.key: live} if live else {key: records for key, records in links.items() if key != fact.key}
        return LinksState(state.ends | {tag: ends}, recorded_at, state.bans)

    def join(self, a: LinksState, b: LinksState) -> LinksState:
        """Return the state of two identifiers: the links of both. Of a tag that both have, the newer links count."""
        if a.recorded_at.keys().isdisjoint(b.recorded_at):  # as two identifiers' states are
            return LinksState(a.ends | b.ends, a.recorded_at | b.recorded_at, a.bans | b.bans)
        tags = sorted(a.recorded_at.keys() | b.recorded_at.keys())
        chosen = [(tag, max((a, b), key=lambda state: _told_at(state, tag))) for tag in tags]
        return LinksState(
            {
                tag: {key: live for key, records in sorted(state.ends[tag].items()) if (live := _live(records))}
                for tag, state in chosen
                if tag in state.ends
            },
            {tag: _told_at(state, tag) for tag, state in chosen},
            {tag: dict(sorted(state.bans[tag].items())) for tag, state in chosen if tag in state.bans},
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
                (Identifier.of_tag(key), records) for key, records in others.items()
            )
    return Graph(ends, [frozenset(pair) for pair in bans_of(all_states)])


def ends_of(state: LinksState, identifier: Identifier) -> dict[Identifier, list[LinkRecord]]:
    """Return the records of an identifier's links, by the other end; refused and retracted ones too."""
    return {Identifier.of_tag(key): records for key, records in state.ends.get(identifier.tag, {}).items()}


def told_of(state: LinksState, identifier: Identifier, other: Identifier) -> Sequence[LinkRecord]:
    """Return the records at one identifier of its link with another."""
    return state.ends.get(identifier.tag, {}).get(link_key(other), ())


def bans_of(states: Iterable[LinksState]) -> dict[tuple[Identifier, Identifier], LinkRecord]:
    """Return the pairs that are not to be linked, in order, with the record of the ban.

    The newest record of either end counts: an end that had no owner when a ban was recorded has no record of it.
    """
    newest: dict[tuple[Identifier, Identifier], LinkRecord] = {}
    for state in states:
        for tag, others in state.bans.items():
            for key, record in others.items():
                identifier, other = sorted((Identifier.of_tag(tag), Identifier.of_tag(key)))
                earlier = newest.get((identifier, other), record)
                newest[identifier, other] = max(earlier, record, key=lambda each: each.order)
    return {pair: record for pair, record in sorted(newest.items()) if record.status == LINKED}


def linked(state: LinksState, identifier: Identifier) -> list[Identifier]:
    """Return the other ends of an identifier's links that hold."""
    return [
        other
        for other, records in ends_of(state, identifier).items()
        if any(record.status == LINKED for record in records)
    ]


def only_bans(state: LinksState) -> LinksState:
    """Return a state with the bans only."""
    return LinksState(bans=state.bans)


def told_at(state: LinksState) -> int:
    """Return when the newest fact of a state's links was recorded, in microseconds; 0: there is none."""
    return max(state.recorded_at.values(), default=0)


def _told_at(state: LinksState, tag: str) -> int:
    return state.recorded_at.get(tag, 0)


def link_key(other: Identifier, *, apart: bool = False) -> str:
    """Return the key of a link to an identifier, or of the ban on it."""
    return _APART + other.tag if apart else other.tag


def identified(state: LinksState, now: int) -> list[Identified]:
    """Return the identifiers that a profile shows at a moment, the surest first, with their newest original value."""
    graph = graph_of([state])
    latest: dict[Identifier, tuple[int, int, str]] = {}
    for others in state.ends.values():
        for key, records in others.items():
            for each in records:
                if each.status == LINKED:
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
    """Tell whether Portrait generated an identifier, so that no source gave it."""
    return identifier.type == CUSTOMER_ID and is_generated(identifier.value)


def _link_record(fact: Fact) -> LinkRecord:
    made = _decision.decode(fact.body)
    return LinkRecord(
        fact.recorded_at, fact.id, fact.source, made.value, made.confidence, made.rule, made.at, made.since,
        made.status, made.into, made.credential, made.timed, made.policy,
        made.follows,
    )  # fmt: skip


def _live(records: list[LinkRecord]) -> list[LinkRecord]:
    """Return the records of a pair that count: of each source the newest record, and the newest by hand.

    A record that ends retracts the source's records; a retraction by hand retracts those by hand too.
    """
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
    """Tell whether a record is retracted; a split by an earlier version is not: it waits, as a refused link does."""
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
    version=3,
    upgrade=None,
    effective=None,
    normalise=None,
    opaque_keys=False,
    shown_as="identities",
)
"""Not among the registered sections: no caller writes to it, and its document is that of the section `identities`."""


def shown_by(section: StoredSection) -> StoredSection:
    """Return the section whose states a section's document is made from."""
    return LINKS if section.name == LINKS.shown_as else section
