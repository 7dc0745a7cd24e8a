"""Segments: the groups that a customer belongs to."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from portrait.sections.declaration import register_profile_section
from portrait.sections.fold import Held, newest, per_key
from portrait.sections.record import Record, Text, Timestamp, impersonal


def earlier_membership(records: Sequence[Held]) -> Held:
    """Two histories joined: the newest record, a member since the earlier moment."""
    last = newest(records)
    since = min(live.record.member_since for live in records if isinstance(live.record, Segment))
    return last._replace(record=replace(last.record, member_since=since))


@register_profile_section(
    "segments", key=("segment_id",), order="member_since", combine=per_key(earlier_membership), version=2
)
class Segment(Record, frozen=True):
    """Customer segment memberships."""

    segment_id: Annotated[Text, impersonal, Meta(examples=["seg_001"])]
    segment_name: Annotated[Text, impersonal, Meta(examples=["High Value"])]
    member_since: Annotated[Timestamp, impersonal, Meta(examples=["2026-01-15T00:00:00Z"])]
