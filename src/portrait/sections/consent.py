"""Consent and preferences: what a customer allows, and how they would have it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from portrait.sections.declaration import register_profile_section
from portrait.sections.fold import Held, newest, per_key
from portrait.sections.record import Record, Text, Timestamp, none, personal

_STRICTNESS = {"granted": 0, "pending": 1, "revoked": 2}


class Consent(Record, frozen=True, tag_field="kind", tag="consent", kw_only=True):
    """A customer's decision on one purpose, for one channel or for all."""

    purpose: Annotated[Text, none, Meta(examples=["marketing"])]
    channel: Annotated[Text | None, none, Meta(examples=["email"])] = None
    status: Annotated[Literal["granted", "revoked", "pending"], none, Meta(examples=["granted"])]
    granted_at: Annotated[Timestamp | None, none, Meta(examples=["2026-01-20T08:00:00Z"])] = None
    revoked_at: Annotated[Timestamp | None, none] = None
    source: Annotated[str | None, none, Meta(examples=["api"])] = None


class Preference(Record, frozen=True, tag_field="kind", tag="preference", kw_only=True):
    """A choice of a customer's, by a key that the tenant defines."""

    key: Annotated[Text, none, Meta(examples=["newsletter.frequency"])]
    value: Annotated[Any, personal, Meta(examples=["weekly"])]
    updated_at: Annotated[Timestamp | None, none, Meta(examples=["2026-01-20T08:00:00Z"])] = None
    source: Annotated[str | None, none, Meta(examples=["api"])] = None


def effective(record: Record) -> datetime | None:
    """Return when a decision or choice was made, where the record says so."""
    if isinstance(record, Consent):
        return record.revoked_at or record.granted_at
    assert isinstance(record, Preference)
    return record.updated_at


def rank(record: Record) -> int:
    """Of two decisions at one moment, a denial counts."""
    return int(isinstance(record, Consent) and record.status == "revoked")


def stricter(held: Sequence[Held]) -> Held:
    """Two histories joined: of decisions the stricter, of preferences and among equals the newest."""
    strictest = max(map(_strictness, held))
    return newest([one for one in held if _strictness(one) == strictest])


def _strictness(held: Held) -> int:
    return _STRICTNESS[held.record.status] if isinstance(held.record, Consent) else 0


register_profile_section(
    "consent",
    description="Consent and preference records.",
    key={Consent: ("purpose", "channel"), Preference: ("key",)},
    effective=effective,
    rank=rank,
    combine=per_key(stricter),
)(Consent | Preference)
