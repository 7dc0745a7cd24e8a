"""Identity links: e-mail addresses, phone numbers, device ids and the like, with confidence."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from portrait.identity.normalise import normalise
from portrait.model.identifier import Identifier
from portrait.sections.declaration import register_profile_section
from portrait.sections.fold import Held, per_key
from portrait.sections.record import Record, Text, impersonal, personal


def highest_confidence(held: Sequence[Held]) -> Held:
    """Two histories joined: the higher confidence; among equals the newest."""
    return max(held, key=lambda one: (_confidence(one.record), one.entry))


def _confidence(record: Record) -> float:
    assert isinstance(record, Identity)
    return record.confidence


def _key(record: Record) -> tuple[str, ...]:
    assert isinstance(record, Identity)
    return (record.type, normalise(record.type, record.value))


@register_profile_section(
    "identities",
    key=("type", "value"),
    normalise=_key,
    order="confidence",
    combine=per_key(highest_confidence),
)
class Identity(Record, frozen=True):
    """Identity links (email, phone, device IDs) with confidence scores."""

    type: Annotated[Text, impersonal, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$", examples=["email"])]
    value: Annotated[Text, personal, Meta(pattern=r"\S", examples=["john@example.com"])]
    confidence: Annotated[float, impersonal, Meta(ge=0, le=1, examples=[1.0])] = 1.0


def identifier_of(record: Identity, region: str | None = None) -> Identifier:
    """Return the identifier that a record names, in the form in which it is matched.

    Args:
        record: the record.
        region: where phone numbers without a country's prefix are from, as ISO 3166-1 alpha-2.
    """
    return Identifier(record.type, normalise(record.type, record.value, region))
