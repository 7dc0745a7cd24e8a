"""Consent and preferences: what a customer allows, and how they would have it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from portrait.sections.declaration import register_profile_section
from portrait.sections.fold import Held, PerJoin, newest
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
    """Return when a decision or choice was made, where the record says so."""
    if isinstance(record, Consent):
        return record.revoked_at or record.granted_at
    assert isinstance(record, Preference)
    return record.updated_at


def strictness(record: Record) -> int:
    """Return how strict a decision is: of two at one moment the stricter counts, whichever was told first."""
    return _STRICTNESS[record.status] if isinstance(record, Consent) else 0


def stricter(one: Held, other: Held, joined_at: int | None) -> Held:
    """Two histories joined: of decisions up to then the stricter; later ones, preferences and equals by time."""
    is_later = joined_at is not None and max(one.entry.effective_at, other.entry.effective_at) > joined_at
    if is_later or strictness(one.record) == strictness(other.record):
        return newest((one, other))
    return max(one, other, key=lambda held: strictness(held.record))


register_profile_section(
    "consent",
    description="Consent and preference records.",
    key={Consent: ("purpose", "channel"), Preference: ("key",)},
    effective=effective,
    rank=strictness,
    combine=PerJoin(stricter),
    version=2,
)(Consent | Preference)
