"""How a record is ended: for every identifier of its customer that holds it."""

from collections.abc import MutableMapping, Sequence
from typing import NamedTuple

from portrait.model.errors import CustomerNotFound, InvalidRecord, RecordNotFound
from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier
from portrait.projection import first_body
from portrait.sections.base import MAX_AHEAD, StoredSection
from portrait.sections.events import Events
from portrait.sections.links import shown_by
from portrait.storage.contract import FactsAsked
from portrait.writes.incoming import Incoming
from portrait.writes.unit_of_work import UnitOfWork


class Ended(NamedTuple):
    """A record that was ended at one identifier."""

    section: StoredSection
    identifier: Identifier
    key: str
    body: bytes | None
    """What counted before, of a state; None: nothing did."""


def record_ended(unit: UnitOfWork, end: Incoming, known: MutableMapping[FactsAsked, list[Fact]]) -> list[Ended]:
    """Add the facts that end a record, and return where; nowhere, if it was ended so already.

    An end that says when is a fact like any other: it may come late, and where it names its record by the fields of the
    key, ahead of the record too.

    Args:
        unit: the working set.
        end: the end; `UnitOfWork.known` has loaded what it may end.
        known: the facts that are known.

    Raises:
        CustomerNotFound, RecordNotFound: there is no such customer, or nothing that could be ended.
        InvalidRecord: what ends at once would end too far ahead.
    """
    if not unit.is_known(end.identifier):
        raise CustomerNotFound
    section, key = end.section, end.parsed.key
    members = unit.members_of(end.identifier)
    facts_of = {identifier: known.get(FactsAsked(identifier, section.name, key, None), []) for identifier in members}
    if section.kind == "events":
        shown_body = first_body(section, (fact for facts in facts_of.values() for fact in facts))
        holders = [
            identifier
            for identifier, facts in facts_of.items()
            if facts and all(_is_shown(section, fact, shown_body) for fact in facts)
        ]
    else:
        holders = [identifier for identifier in members if unit.has_record(identifier, section, key)]
    if section.kind == "events" or shown_by(section) is not section:
        end = _at_once(unit, end)
    elif end.effective_at is not None:
        holders = [identifier for identifier in members if identifier in holders or facts_of[identifier]]
        if not holders and end.parsed.named_by is not None:
            holders = [end.identifier]
        left = [identifier for identifier in holders if not any(_is_same(end, fact) for fact in facts_of[identifier])]
        if holders and not left:
            return []
        holders = left
    if not holders and end.is_line and any(fact.op is Op.DELETE for facts in facts_of.values() for fact in facts):
        return []
    if not holders:
        raise not_held()
    return _end(unit, end, holders, known)


def _at_once(unit: UnitOfWork, end: Incoming) -> Incoming:
    """Return an end of what cannot be planned to end: now at the latest.

    Raises:
        InvalidRecord: it lies further ahead than clocks differ.
    """
    if end.effective_at is None or end.effective_at <= unit.now:
        return end
    if end.effective_at > unit.now + MAX_AHEAD:
        raise InvalidRecord(f"A record of `{end.section.name}` ends at once: `effectiveAt` must not be in the future.")
    return end._replace(effective_at=None)


def _is_shown(section: StoredSection, fact: Fact, shown_body: bytes | None) -> bool:
    """Tell whether an event's fact says what its customer shows under the key."""
    is_own = not isinstance(section.fold, Events)  # a fold of one's own is given all
    return fact.op is Op.PUT and (is_own or section.bring_forward(fact).body == shown_body)


def _is_same(end: Incoming, fact: Fact) -> bool:
    return fact.op is Op.DELETE and fact.effective_at == end.effective_at


def not_held() -> RecordNotFound:
    """Return the error that says that there is nothing to end."""
    return RecordNotFound("This customer has no record under this key in this section, current or later.")


def _end(
    unit: UnitOfWork, end: Incoming, holders: Sequence[Identifier], known: MutableMapping[FactsAsked, list[Fact]]
) -> list[Ended]:
    section, key = end.section, end.parsed.key
    ended = []
    for identifier in holders:
        body = unit.live_body(identifier, section, key) if section.kind == "state" else None
        fact = unit.fact(end, identifier)
        unit.add(section, fact)
        known.setdefault(FactsAsked(identifier, section.name, key, None), []).append(fact)
        ended.append(Ended(section, identifier, key, body))
    return ended
