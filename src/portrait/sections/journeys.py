"""Journeys: a customer's enrollments, active and completed."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from portrait.sections.declaration import register_profile_section
from portrait.sections.fold import Held, newest_per_key
from portrait.sections.record import Record, Text, Timestamp, impersonal


def one_active(records: Sequence[Held]) -> Iterator[Held]:
    """Two histories joined: of a journey active in several, the earliest enrollment stays, the others are `merged`."""
    kept: dict[str, Held] = {}
    chosen = sorted(newest_per_key(records), key=lambda live: (_enrollment(live).enrolled_at, live.history, live.key))
    for live in chosen:
        enrollment = _enrollment(live)
        if enrollment.status != "active":
            yield live
            continue
        stays = kept.setdefault(enrollment.journey_id, live)
        # A re-entry within one history is that source's own affair.
        yield (live if stays.history == live.history else live._replace(record=replace(enrollment, status="merged")))


def _enrollment(live: Held) -> "Enrollment":
    assert isinstance(live.record, Enrollment)
    return live.record


def _shown(record: Record) -> bool:
    assert isinstance(record, Enrollment)
    return record.status in {"active", "completed"}


@register_profile_section(
    "journeys",
    key=("journey_id", "enrolled_at"),
    order="enrolled_at",
    shown=_shown,
    combine=one_active,
    version=2,
)
class Enrollment(Record, frozen=True, kw_only=True):
    """Active and completed journey enrollments."""

    journey_id: Annotated[Text, impersonal, Meta(examples=["jrn_001"])]
    journey_name: Annotated[Text, impersonal, Meta(examples=["Onboarding"])]
    status: Annotated[Text, impersonal, Meta(examples=["active"])]
    current_step: Annotated[str | None, impersonal, Meta(examples=["welcome-mail"])] = None
    enrolled_at: Annotated[Timestamp, impersonal, Meta(examples=["2026-02-01T09:00:00Z"])]
    completed_at: Annotated[Timestamp | None, impersonal] = None
