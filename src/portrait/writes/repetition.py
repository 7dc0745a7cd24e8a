"""Whether a record says what is known already: told again it changes nothing."""

from collections.abc import Sequence
from typing import NamedTuple

from portrait.model.errors import EventConflict, InvalidRecord
from portrait.model.fact import Fact, Op
from portrait.model.source import is_public
from portrait.model.warning import NO_MOMENT, RecordWarning
from portrait.sections.base import MAX_AHEAD
from portrait.writes.incoming import Incoming
from portrait.writes.unit_of_work import UnitOfWork


class Taken(NamedTuple):
    """What became of one record that was taken."""

    is_new: bool
    """Whether it says what was not known already."""
    warnings: tuple[RecordWarning, ...] = ()
    """What is doubtful about it."""


def novelty(unit: UnitOfWork, record: Incoming, fact: Fact, known: Sequence[Fact]) -> Taken:
    """Return whether a record is new, with what is doubtful about it.

    Args:
        unit: the working set.
        one: the record.
        fact: the fact that it would become.
        known: the facts that it may repeat.

    Raises:
        EventConflict: the key is known with another body.
        InvalidRecord: it lies too far ahead.
    """
    section = record.section
    _check_moment(record, fact)
    same_key = [section.bring_forward(other) for other in known]
    if section.grants is None or record.moment is not None:
        return Taken(not _is_duplicate(unit, record, fact, same_key))
    # Of what counts already each source's word is kept, too: it may come again.
    is_new = not _is_said_again(record, same_key)
    is_ignored = not is_new and unit.live_body(record.identifier, section, fact.key) != fact.body
    return Taken(is_new, (NO_MOMENT,) if record.is_line or is_ignored else ())


def _check_moment(record: Incoming, fact: Fact) -> None:
    """Hold that a record that cannot be planned does not lie too far ahead, by its sender's word or its own.

    Raises:
        InvalidRecord: it does.
    """
    own = record.parsed.effective_at
    latest = fact.effective_at if own is None else max(fact.effective_at, own)
    if latest <= fact.recorded_at + MAX_AHEAD or record.section.planned is None:
        return
    with record.section.own_code():
        is_planned = record.section.planned(record.record)
    if not is_planned:
        raise InvalidRecord(
            f"A record of `{record.section.name}` must not take effect more than 24 hours in the future: check the "
            "sender's clock, or send the record later."
        )


def _is_duplicate(unit: UnitOfWork, record: Incoming, fact: Fact, same_key: Sequence[Fact]) -> bool:
    """Tell whether a record says what is known already; of evidence, by the same source.

    Raises:
        EventConflict: the key is known with another body.
    """
    section = record.section
    if section.kind == "events":
        bodies = {other.body for other in same_key if other.op is Op.PUT}
        if not record.is_resent and bodies and fact.body not in bodies:
            raise EventConflict(
                "An event with this key was recorded with another body. Events never change: use a new key."
            )
        return bool(bodies)
    same_key = [other for other in same_key if _says_the_same_for(record, other)]
    if section.by_source and (record.moment is None or (record.is_resent and record.moment <= fact.recorded_at)):
        if unit.said(record.identifier, section, fact.key, record.source) == fact.body:
            return True
        if record.moment is None:
            return False
    if record.moment is None:
        if unit.live_body(record.identifier, section, fact.key) != fact.body:
            return False
        last = max(same_key, key=lambda other: (other.effective_at, other.id), default=None)
        return record.linked is None or (last is not None and last.body == fact.body)
    return any(other.op is Op.PUT and other.body == fact.body for other in same_key)


def _says_the_same_for(record: Incoming, other: Fact) -> bool:
    """Tell whether what a fact says need not be said by a record's source, too, because it counts as much."""
    if other.source == record.source:
        return True
    if record.linked is not None or record.section.by_source:
        return False
    return not is_public(other.source) and not is_public(record.source)


def _is_said_again(incoming: Incoming, same_key: Sequence[Fact]) -> bool:
    """Tell whether a record without a moment says what its source said before.

    What its source said last is no news. A line that allows something is none either if its source ever said so: a file
    that is loaded again cannot be told from a new decision, and must not overrule a withdrawal.
    """
    own_puts = [other for other in same_key if other.op is Op.PUT and other.source == incoming.source]
    if not own_puts:
        return False
    if max(own_puts, key=lambda other: other.id).body == incoming.parsed.body:
        return True
    grants = incoming.section.grants
    assert grants is not None
    with incoming.section.own_code():
        is_once = incoming.is_line and grants(incoming.record)
    return is_once and any(other.body == incoming.parsed.body for other in own_puts)
