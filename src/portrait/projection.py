"""From facts and states to documents: what recording, reading and upkeep share, over the storage contract alone."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from portrait.model.document import Document, Head, document
from portrait.model.errors import InvalidRequest, PortraitError, SectionFailed
from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier, customer
from portrait.sections.attributes import Attributes
from portrait.sections.base import STATE_TIMES, StoredSection
from portrait.sections.events import Events, EventsState
from portrait.sections.fold import JoinedState, Latest
from portrait.sections.links import LINKS, LinksState, graph_of
from portrait.storage.contract import Cursor, FactsAsked, Reads, StoredState

T = TypeVar("T")
MAX_OVERTAKEN = 10_000
"""How many overtaken documents are remembered at most."""
_encode_json = msgspec.json.Encoder(order="deterministic").encode
_NO_RECORDS = b'[],"error":'
"""Begins a body that says why it shows no records."""
_encode_state = msgspec.msgpack.Encoder().encode


class Overtaken:
    """Documents that reads found overtaken, by time or by newer code, for the background to render anew.

    A read renders them for its own answer and writes nothing. How many are remembered is bounded: the next read notes
    the rest.
    """

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str, str], None] = {}

    def note(self, tenant: str, customer_id: str, section: str) -> None:
        """Remember one document."""
        if len(self._documents) < MAX_OVERTAKEN:
            self._documents[tenant, customer_id, section] = None

    def take(self) -> list[tuple[str, str, str]]:
        """Return all remembered documents, as (tenant, customer id, section), and forget them."""
        documents, self._documents = list(self._documents), {}
        return documents


async def load_states(
    reads: Reads, tenant: str, section: StoredSection, identifiers: Collection[Identifier]
) -> dict[Identifier, Any]:
    """Return the state of each identifier in a section; what cannot be read as it stands is folded anew.

    Raises:
        SectionFailed: the section's own code raised an error.
    """
    states, unreadable = await readable_states(reads, tenant, section, identifiers)
    for error in unreadable.values():
        raise error
    return states


async def readable_states(
    reads: Reads, tenant: str, section: StoredSection, identifiers: Collection[Identifier]
) -> tuple[dict[Identifier, Any], dict[Identifier, PortraitError]]:
    """Return what `load_states` does, and beside it why the section's own code cannot fold the states of others."""
    stored = await reads.states(tenant, [(identifier, section.name) for identifier in identifiers])
    states: dict[Identifier, Any] = {}
    unreadable: dict[Identifier, PortraitError] = {}
    for identifier in identifiers:
        stored_state = stored.get((identifier, section.name))
        state = section.fold.empty() if stored_state is None else read_state(section, stored_state)
        if state is None:
            facts = await reads.facts(tenant, [identifier])
            try:
                state = fold_facts(section, facts)
            except (SectionFailed, InvalidRequest) as error:  # its fold; or its upgrade made what is no record
                unreadable[identifier] = error
                continue
        states[identifier] = state
    return states, unreadable


def fold_facts(section: StoredSection, facts: Iterable[Fact], state: Any = None) -> Any:
    """Return the state that an identifier's facts, deletes first, lead to in a section.

    Args:
        section: the section; facts of others are passed over.
        facts: the facts. Those of a state section are folded in the order in which they were recorded.
        state: where to begin; None: before any fact.

    Raises:
        SectionFailed: the section's own code raised an error.
    """
    state = section.fold.empty() if state is None else state
    ended = set()
    own = [fact for fact in facts if fact.section == section.name]
    if section.kind == "state":
        own.sort(key=lambda fact: (fact.recorded_at, fact.id))
    for fact in own:
        if section.kind == "events":
            if fact.op is Op.DELETE:
                ended.add(fact.key)
            elif fact.key in ended:
                continue
        with section.own_code():
            state = section.fold.apply(state, section.bring_forward(fact))
    return state


async def refilled(
    reads: Reads, tenant: str, section: StoredSection, identifier: Identifier, state: Any, until: int
) -> Any:
    """Return an identifier's state of events with what a delete has made room for.

    Args:
        reads: where its facts are.
        tenant: the tenant.
        section: the section.
        identifier: the identifier.
        state: the state, without what ended.
        until: the present moment, in microseconds: what lies ahead of it is in the state.
    """
    if section.fold.window is None:
        return fold_facts(section, await reads.facts(tenant, [identifier]))
    return fold_facts(section, await _newest(reads, tenant, section, [identifier], until), state)


async def _newest(
    reads: Reads, tenant: str, section: StoredSection, identifiers: Collection[Identifier], until: int
) -> list[Fact]:
    """Return the newest events that are due: a window of them, and all that happened with the last of these.

    Among events of one moment the fold chooses by key, which is not the order in which they were recorded. An event
    that several identifiers of one person have comes once.
    """
    window = section.fold.window or 0
    events: dict[tuple[str, bytes], Fact] = {}
    before = Cursor(until + 1, b"")
    while page := await reads.events(tenant, identifiers, section.name, before, window):
        for fact in await first_recorded(reads, tenant, section, identifiers, page):
            events.setdefault((fact.key, fact.body), fact)
        before = Cursor(page[-1].effective_at, page[-1].id)
        last = list(events.values())[window - 1] if len(events) >= window else None
        if len(page) < window or (last is not None and before.effective_at < last.effective_at):
            break
    return list(events.values())


async def first_recorded(
    reads: Reads, tenant: str, section: StoredSection, identifiers: Collection[Identifier], facts: Sequence[Fact]
) -> list[Fact]:
    """Return the events, of one person's identifiers, whose key was not recorded with another body before.

    Raises:
        SectionFailed: the section's own code raised an error.
    """
    hidden = await _contradicted(reads, tenant, section, identifiers, ((fact.key, fact.body) for fact in facts))
    return [fact for fact in facts if (fact.key, fact.body) not in hidden]


async def _contradicted(
    reads: Reads,
    tenant: str,
    section: StoredSection,
    identifiers: Collection[Identifier],
    events: Iterable[tuple[str, bytes]],
) -> set[tuple[str, bytes]]:
    """Return the events, by key and body, whose key was first recorded with another body for one of the identifiers."""
    if len(identifiers) < 2 or not isinstance(section.fold, Events):
        return set()
    bodies: dict[str, set[bytes]] = {}
    for key, body in events:
        bodies.setdefault(key, set()).add(body)
    asked = {FactsAsked(identifier, section.name, key, None) for identifier in identifiers for key in bodies}
    by_key: dict[str, list[Fact]] = {}
    for facts in (await reads.known(tenant, asked)).values() if asked else ():
        by_key.setdefault(facts[0].key, []).extend(facts)
    hidden: set[tuple[str, bytes]] = set()
    for key, facts in by_key.items():
        counts = first_body(section, facts)
        hidden.update((key, body) for body in bodies[key] if body != counts)
    return hidden


def first_body(section: StoredSection, facts: Iterable[Fact]) -> bytes | None:
    """Return the body with which an event was first recorded, as the code reads it now; None: it was not recorded.

    Where two identifiers of one person have one key with different bodies, this body counts.

    Raises:
        SectionFailed: the section's own code raised an error.
    """
    first = min((fact for fact in facts if fact.op is Op.PUT), key=lambda fact: fact.id, default=None)
    return None if first is None else section.bring_forward(first).body


def without_contradicted(section: StoredSection, facts: Mapping[T, Sequence[Fact]]) -> dict[T, list[Fact]]:
    """Return a person's facts in a section of events, by identifier, without puts of another body than `first_body`."""
    by_key: dict[str, list[Fact]] = {}
    for own_facts in facts.values():
        for fact in own_facts:
            by_key.setdefault(fact.key, []).append(fact)
    counts = {key: first_body(section, key_facts) for key, key_facts in by_key.items()}
    return {
        identifier: [
            fact for fact in own_facts if fact.op is Op.DELETE or section.bring_forward(fact).body == counts[fact.key]
        ]
        for identifier, own_facts in facts.items()
    }


def read_state(section: StoredSection, stored: StoredState) -> Any:
    """Return a state from its stored form; None where another version of the section folded it, or it is damaged."""
    if stored.version != section.version:
        return None
    try:
        return msgspec.msgpack.decode(stored.body, type=section.fold.state)
    except (msgspec.MsgspecError, ValueError):
        return None


def store_state(section: StoredSection, state: Any) -> StoredState:
    """Return a state in its stored form.

    Raises:
        SectionFailed: the state is nothing that can be stored.
    """
    with section.own_code():
        return StoredState(_encode_state(state), section.version)


def is_state_too_large(section: StoredSection, stored: StoredState) -> bool:
    """Tell whether a stored state takes more bytes than the section's bound on documents lets it."""
    return len(stored.body) > STATE_TIMES * section.max_bytes


def joined(section: StoredSection, states: Iterable[Any]) -> Any:
    """Return the one state of a customer with these states of its identifiers, most of which are empty.

    Raises:
        SectionFailed: the section's own code raised an error.
    """
    parts = list(states)
    if len(parts) == 1:  # most customers have one identifier
        return parts[0]
    with section.own_code():
        empty = section.fold.empty()
        parts = [state for state in parts if state != empty] or [empty]
        while len(parts) > 1:  # by twos, and their joins by twos: each record is gone through a few times only
            parts = [
                section.fold.join(*parts[index : index + 2]) if index + 1 < len(parts) else parts[index]
                for index in range(0, len(parts), 2)
            ]
        return parts[0]


def is_by_join(section: StoredSection) -> bool:
    """Tell whether it matters to a section since when a customer's identifiers are one person's."""
    return isinstance(section.fold, Latest) and section.fold.by_join


def needs_links(section: StoredSection, state: Any) -> bool:
    """Tell whether it matters to a joined state since when a customer's identifiers are one person's."""
    return is_by_join(section) and len(state.histories) > 1


def linked(state: Any, links: Iterable[LinksState]) -> Any:
    """Return the joined state of a customer's identifiers, with since when they are one person's.

    Args:
        state: the joined state, of a section that needs links.
        links: the links of the same identifiers.
    """
    times: dict[str, dict[str, int]] = {}
    for (identifier, other), at in graph_of(links).joined_at().items():
        times.setdefault(identifier.tag, {})[other.tag] = at
        times.setdefault(other.tag, {})[identifier.tag] = at
    return JoinedState(state.histories, times)


def may_clash(section: StoredSection, states: Iterable[Any]) -> bool:
    """Tell whether several identifiers have events, which may have one key with different bodies."""
    return isinstance(section.fold, Events) and sum(state.told_at > 0 for state in states) > 1


async def settled(
    reads: Reads, tenant: str, section: StoredSection, states: Mapping[Identifier, EventsState], now: int
) -> EventsState:
    """Return the joined state of events that may clash: of each key as it was recorded first.

    Args:
        reads: where the facts are.
        tenant: the tenant.
        section: the section.
        states: the state of each identifier of a customer.
        now: the present moment, in microseconds.
    """
    state: EventsState = joined(section, states.values())
    identifiers = [identifier for identifier, each in states.items() if each.told_at > 0]
    events = ((event.key, event.body) for event in state.events)
    hidden = await _contradicted(reads, tenant, section, identifiers, events)
    if not hidden:
        return state
    ahead = [event for event in state.events if event.effective_at > now and (event.key, event.body) not in hidden]
    newest = await _newest(reads, tenant, section, identifiers, now)
    return fold_facts(section, newest, EventsState(state.told_at, ahead))  # type: ignore[no-any-return]  # a state of events is folded into one


async def load_joined(
    reads: Reads, tenant: str, section: StoredSection, members: Sequence[Identifier], now: int
) -> Any:
    """Return the one state of a customer with these identifiers, as they are stored; of events as shown at a moment."""
    states = await load_states(reads, tenant, section, members)
    if may_clash(section, states.values()):
        return await settled(reads, tenant, section, states, now)
    state = joined(section, states.values())
    if not needs_links(section, state):
        return state
    return linked(state, (await load_states(reads, tenant, LINKS, members)).values())


def render(section: StoredSection, state: Any, now: int, *, losers: bool = False) -> Document:
    """Return a section's document at a moment, from the joined state of a customer's identifiers.

    Args:
        section: the section.
        state: the joined state.
        now: the moment, in microseconds.
        losers: whether it is to show, where the section can, also what does not count: such a document is not stored.

    A document of more bytes than the section may have shows an error instead of its records: see `is_too_large`.

    Raises:
        SectionFailed: the section's own code raised an error, or made what is no JSON.
    """
    with section.own_code():
        records, valid_until = section.fold.render(state, now)
        if losers and isinstance(section.fold, Attributes):
            records = section.fold.with_losers(records, state, now)
        body = _encode_json(records)
    if len(body) > section.max_bytes:
        body = _too_large(section)
    return document(section.document, body, valid_until, section.version)


def is_too_large(section: StoredSection, rendered: Document) -> bool:
    """Tell whether a document shows, instead of the section's records, that these take too many bytes."""
    return rendered.body.startswith(_NO_RECORDS) and rendered.body == _too_large(section)


def _too_large(section: StoredSection) -> bytes:
    detail = f"The section has more than {section.max_bytes} bytes. Delete some of its records."
    return _NO_RECORDS + _encode_json({"code": "too_large", "detail": detail})


def head_of(facts: Iterable[Fact]) -> Head | None:
    """Return the head of a customer with these facts; None where there are none."""
    moments = [(fact.recorded_at, fact.id) for fact in facts]
    if not moments:
        return None
    created_at, profile_id = min(moments)
    return Head(profile_id, created_at, max(moments)[0])


def new_heads(
    facts: Sequence[Fact],
    owners: Mapping[Identifier, str],
    members: Mapping[str, Sequence[Identifier]],
    heads: Mapping[str, Head | None],
    merged: Mapping[str, str],
) -> dict[str, Head]:
    """Return the heads of the customers that facts were added to, and of those that were merged away.

    A customer is as old as the first fact of its own customer id, whatever it was merged with since.

    Args:
        facts: the facts that are added, those of each identifier as they were recorded.
        owners: whose each identifier is.
        members: the identifiers of each customer.
        heads: the heads as they were; None: of a customer that is new.
        merged: the surviving customer of each customer that was merged away.
    """
    first = {fact.identifier: fact for fact in reversed(facts)}
    last: dict[str, int] = {}
    for identifier, fact in {fact.identifier: fact for fact in facts}.items():
        if (owner := owners.get(identifier)) is not None:
            last[owner] = max(last.get(owner, 0), fact.recorded_at)

    def before(customer_id: str) -> Head:
        if (head := heads.get(customer_id)) is not None:
            return head
        fact = first[customer(customer_id)]
        return Head(fact.id, fact.recorded_at, fact.recorded_at)

    made = {}
    for owner, updated_at in last.items():
        identifiers = tuple(members[owner])
        own = identifiers == (customer(owner),)
        made[owner] = msgspec.structs.replace(
            before(owner), updated_at=updated_at, merged_into=None, members=() if own else identifiers
        )
    for alias, owner in merged.items():
        head = before(alias)
        if head.merged_into != owner:
            made[alias] = msgspec.structs.replace(head, updated_at=head.created_at, merged_into=owner, members=())
    return made
