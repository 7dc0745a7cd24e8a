"""Interactions: what a customer did, or was shown, and when."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from portrait.sections.declaration import register_profile_section
from portrait.sections.record import Record, Text, Timestamp, impersonal, personal


@register_profile_section("interactions", key=("id",), kind="events", effective="timestamp", extras="properties")
class Interaction(Record, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Recent interaction history (last 20 events)."""

    id: Annotated[Text, impersonal, Meta(examples=["ih_001"])]
    offer_id: Annotated[str | None, impersonal, Meta(examples=["off_001"])] = None
    channel_id: Annotated[str | None, impersonal, Meta(examples=["ch_001"])] = None
    interaction_type: Annotated[Text, impersonal, Meta(examples=["impression"])]
    timestamp: Annotated[Timestamp, impersonal, Meta(examples=["2026-03-28T10:30:00Z"])]
    properties: Annotated[dict[str, Any] | UnsetType, personal] = UNSET
