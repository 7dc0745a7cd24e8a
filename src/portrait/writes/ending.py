"""How a record is ended: for every identifier of its customer that holds it."""

from collections.abc import MutableMapping, Sequence
from typing import NamedTuple

from portrait.model.errors import CustomerNotFound, InvalidRecord, RecordNotFound
from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier
from portrait.projection import first_body
from portrait.sections.base import MAX_AHEAD, StoredSection
from portrait.sections.fold import Events
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
    told = {one: known.get(FactsAsked(one, section.name, key, None), []) for one in members}
    if section.kind == "events":
        shown = first_body(section, (fact for facts in told.values() for fact in facts))
        held = [one for one, facts in told.items() if facts and all(_is_shown(section, fact, shown) for fact in facts)]
    else:
        held = [one for one in members if unit.has_record(one, section, key)]
    if section.kind == "events" or shown_by(section) is not section:
        end = _at_once(unit, end)
    elif end.effective_at is not None:
        held = [one for one in members if one in held or told[one]]
        if not held and end.parsed.record is not None:
            held = [end.identifier]
        left = [one for one in held if not any(_is_same(end, fact) for fact in told[one])]
        if held and not left:
            return []
        held = left
    if not held and end.is_line and any(fact.op is Op.DELETE for facts in told.values() for fact in facts):
        return []
    if not held:
        raise not_held()
    return _end(unit, end, held, known)


def _at_once(unit: UnitOfWork, end: Incoming) -> Incoming:
    """Return an end of what cannot be planned to end: now at the latest.

    Raises:
        InvalidRecord: it lies further ahead than clocks differ.
    """
    if end.effective_at is None or end.effective_at <= unit.now:
        return end
    if end.effective_at > unit.now + MAX_AHEAD:
        raise InvalidRecord(f"A record of `{end.section.name}` ends at once: `effectiveAt` must not lie ahead of us.")
    return end._replace(effective_at=None)


def _is_shown(section: StoredSection, fact: Fact, shown: bytes | None) -> bool:
    """Tell whether an event's fact says what its customer shows under the key."""
    is_own = not isinstance(section.fold, Events)  # a fold of one's own is given all
    return fact.op is Op.PUT and (is_own or section.bring_forward(fact).body == shown)


def _is_same(end: Incoming, fact: Fact) -> bool:
    return fact.op is Op.DELETE and fact.effective_at == end.effective_at


def not_held() -> RecordNotFound:
    """Return the error that says that there is nothing to end."""
    return RecordNotFound("No record of this customer, live or to come, has this key in this section.")


def _end(
    unit: UnitOfWork, end: Incoming, held: Sequence[Identifier], known: MutableMapping[FactsAsked, list[Fact]]
) -> list[Ended]:
    section, key = end.section, end.parsed.key
    ended = []
    for one in held:
        body = unit.live_body(one, section, key) if section.kind == "state" else None
        fact = unit.fact(end, one)
        unit.add(section, fact)
        known.setdefault(FactsAsked(one, section.name, key, None), []).append(fact)
        ended.append(Ended(section, one, key, body))
    return ended
