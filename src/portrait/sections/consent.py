"""Consent and preferences: what a customer allows, and how they would have it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from portrait.model.source import is_public
from portrait.sections.declaration import register_profile_section
from portrait.sections.fold import Entry, Held, PerJoin, ends, newest
from portrait.sections.record import Record, Text, Timestamp, impersonal, personal

_STRICTNESS = {"granted": 0, "pending": 1, "revoked": 2}


class Consent(Record, frozen=True, tag_field="kind", tag="consent", kw_only=True):
    """A customer's decision on one purpose, for one channel or for all."""

    purpose: Annotated[Text, impersonal, Meta(examples=["marketing"])]
    channel: Annotated[Text | None, impersonal, Meta(examples=["email"])] = None
    status: Annotated[Literal["granted", "revoked", "pending"], impersonal, Meta(examples=["granted"])]
    granted_at: Annotated[Timestamp | None, impersonal, Meta(examples=["2026-01-20T08:00:00Z"])] = None
    revoked_at: Annotated[Timestamp | None, impersonal] = None
    source: Annotated[str | None, impersonal, Meta(examples=["api"])] = None


class Preference(Record, frozen=True, tag_field="kind", tag="preference", kw_only=True):
    """A choice of a customer's, by a key that the tenant defines."""

    key: Annotated[Text, impersonal, Meta(examples=["newsletter.frequency"])]
    value: Annotated[Any, personal, Meta(examples=["weekly"])]
    updated_at: Annotated[Timestamp | None, impersonal, Meta(examples=["2026-01-20T08:00:00Z"])] = None
    source: Annotated[str | None, impersonal, Meta(examples=["api"])] = None


def effective(record: Record) -> datetime | None:
    """Return when a decision or choice was made, where the record says so: a revocation's moment is no grant's."""
    if isinstance(record, Consent):
        return record.revoked_at if record.status == "revoked" else record.granted_at
    assert isinstance(record, Preference)
    return record.updated_at


def strictness(record: Record) -> int:
    """Return how strict a decision is: of two at one moment the stricter counts, whichever was recorded first."""
    return _STRICTNESS[record.status] if isinstance(record, Consent) else 0


def is_revoked(record: Record) -> bool:
    """Tell whether a record is a decision against."""
    return isinstance(record, Consent) and record.status == "revoked"


def is_granted(record: Record) -> bool:
    """Tell whether a record is a decision in favour."""
    return isinstance(record, Consent) and record.status == "granted"


def is_preference(record: Record) -> bool:
    """Tell whether a record is no decision: it may be planned."""
    return isinstance(record, Preference)


def runs_out(record: Record, since: datetime) -> tuple[datetime, Record] | None:
    """Return when a grant ends by its own word, revoked from then on.

    An earlier revocation than the grant is one that the grant overruled.
    """
    if not isinstance(record, Consent) or record.status != "granted" or record.revoked_at is None:
        return None
    if record.revoked_at <= (record.granted_at or since):
        return None
    return record.revoked_at, replace(record, status="revoked")


def never_over_a_withdrawal(words: Sequence[Entry]) -> Entry:
    """Return the newest word; but what a public source allows never overrides another source's withdrawal.

    Anybody may speak as a public source. So what it says without withdrawing counts only where no other source's word
    is a withdrawal, or a later grant of a source that is not public lifts that. Where such a grant counts, a public one
    beside it adds nothing.
    """
    last = max(words)
    if not any(is_public(word.source) for word in words):
        return last
    records = {word.id: _decision_of(word) for word in words}
    others = [word for word in words if not _is_open(records[word.id], word.source)]
    if not others or not _is_open(records[last.id], last.source):
        return last
    lifted = max((word for word in others if is_granted(records[word.id])), default=None)
    if any(is_revoked(records[word.id]) and (lifted is None or word > lifted) for word in others):
        return max(others)
    is_given = is_granted(records[last.id]) and is_granted(records[max(others).id])
    return max(others) if is_given else last


def _decision_of(word: Entry) -> Record:
    assert word.body is not None
    decision: Record = _decode(word.body)
    return decision


def _is_open(record: Record, source: str | None) -> bool:
    """Tell whether a record is a public source's decision that withdraws nothing."""
    return is_public(source) and isinstance(record, Consent) and record.status != "revoked"


def _guarded(first: Held, second: Held) -> Held | None:
    """Return what counts of two histories' decisions of which a public source made one; None: the usual rule says."""
    for live, other in ((first, second), (second, first)):
        if not _is_open(live.record, live.entry.source) or live.entry.source == other.entry.source:
            continue
        is_given = is_granted(live.record) and is_granted(other.record) and not is_public(other.entry.source)
        if is_revoked(other.record) or is_given:
            return other
    return None


def stricter(first: Held, second: Held, joined_at: int | None) -> Held:
    """Two histories joined: the stricter of decisions up to then; later decisions, preferences and equals by time.

    A withdrawal in one history ends the records of the other that were recorded before it and lie ahead. What a public
    source allows in one never overrides another source's withdrawal in the other.
    """
    if (guarded := _guarded(first, second)) is not None:
        return guarded
    for end, live in ((first, second), (second, first)):
        if is_revoked(end.record) and end.entry.lapse is None and ends(end.entry, live.entry):
            return end
    is_later = joined_at is not None and max(first.entry.effective_at, second.entry.effective_at) > joined_at
    if is_later or strictness(first.record) == strictness(second.record):
        return newest((first, second))
    return max(first, second, key=lambda live: strictness(live.record))


_decode = msgspec.json.Decoder(Consent | Preference).decode

register_profile_section(
    "consent",
    description="Consent and preference records.",
    key={Consent: ("purpose", "channel"), Preference: ("key",)},
    effective=effective,
    rank=strictness,
    becomes=runs_out,
    withdraws=is_revoked,
    grants=is_granted,
    planned=is_preference,
    prefers=never_over_a_withdrawal,
    combine=PerJoin(stricter),
    version=4,
)(Consent | Preference)
