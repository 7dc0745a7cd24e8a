"""Attributes: what is known of a customer by name, such as a family name, and who says so.

Of what several sources say the word of the source with the lowest rank counts, and among equals the newest.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from portrait.model.source import is_public
from portrait.sections.base import Section, StoredSection
from portrait.sections.declaration import register_profile_section
from portrait.sections.fold import Entry, Held, Latest, LatestState, per_key
from portrait.sections.ranks import rank_of
from portrait.sections.record import Record, Shape, Text, Timestamp, impersonal, personal

PERSON = {
    "name": "name",
    "given_name": "givenName",
    "additional_name": "additionalName",
    "family_name": "familyName",
    "honorific_prefix": "honorificPrefix",
    "honorific_suffix": "honorificSuffix",
    "birth_date": "birthDate",
    "gender": "gender",
    "nationality": "nationality",
    "language": "knowsLanguage",
    "job_title": "jobTitle",
    "organization": "worksFor",
    "address_street": "address.streetAddress",
    "address_post_office_box": "address.postOfficeBoxNumber",
    "address_postal_code": "address.postalCode",
    "address_locality": "address.addressLocality",
    "address_region": "address.addressRegion",
    "address_country": "address.addressCountry",
}
"""By the name of an attribute of a person the property of schema.org's Person, or of its PostalAddress, that it is."""


class Attribute(Record, frozen=True, kw_only=True):
    """What a source says of a customer, by a name."""

    name: Annotated[Text, impersonal, Meta(examples=["family_name"])]
    value: Annotated[Any, personal, Meta(examples=["Doe"])]
    updated_at: Annotated[Timestamp | None, impersonal, Meta(examples=["2026-01-20T08:00:00Z"])] = None
    source: Annotated[str | None, impersonal, Meta(examples=["crm"])] = None


class Loser(msgspec.Struct, frozen=True, rename="camel"):
    """What a source says that does not count, since another source's word does."""

    value: Any
    updated_at: Timestamp | None
    source: str | None


class ShownAttribute(Attribute, frozen=True, kw_only=True):
    """An attribute as a profile shows it: where asked for, with what did not count, the most preferred first."""

    losers: Annotated[list[Loser] | UnsetType, personal] = UNSET


class Attributes(Latest):
    """The fold of attributes: it shows who says what, and who says otherwise."""

    shows = ShownAttribute

    def with_losers(self, shown: Iterable[Any], state: LatestState, now: int) -> list[ShownAttribute]:
        """Return the attributes that a state shows at a moment, each with what other sources said last."""
        words: dict[str, list[Held]] = {}
        for word in self.words(state, now):
            words.setdefault(word.key, []).append(word)
        return [
            ShownAttribute(
                name=record.name, value=record.value, updated_at=record.updated_at, source=record.source,
                losers=[_loser(word.record) for word in _others(words[record.name])],
            )
            for record in shown
        ]  # fmt: skip

    def _held(self, state: LatestState, key: str, tag: str, entry: Entry) -> Held:
        held = super()._held(state, key, tag, entry)
        assert isinstance(held.record, Attribute)
        return held._replace(record=_credited(held.record, entry.source))


def _credited(record: Attribute, source: str | None) -> Attribute:
    """Return a record with its source: the one that it names, but where anybody may have named it, or who told it."""
    return replace(record, source=source) if record.source is None or is_public(source) else record


def _others(words: Sequence[Held]) -> list[Held]:
    """Return what sources said last, but for that whose word counts, the most preferred first."""
    ordered = sorted(words, key=_preference, reverse=True)
    newest = {word.entry.source: word for word in sorted(words, key=lambda word: word.entry)}
    del newest[ordered[0].entry.source]
    return [word for word in ordered if newest.get(word.entry.source) is word]


def _loser(record: Record) -> Loser:
    assert isinstance(record, Attribute)
    return Loser(record.value, record.updated_at, record.source)


def _weight(entry: Entry) -> tuple[int, Entry]:
    """Return what attributes are preferred by, the highest first."""
    assert entry.body is not None
    return -rank_of(entry.body), entry


def _preference(word: Held) -> tuple[int, Entry]:
    return _weight(word.entry)


def preferred(words: Iterable[Entry]) -> Entry:
    """Return the word of the source with the lowest rank; among equals the newest."""
    return max(words, key=_weight)


def preferred_history(records: Sequence[Held]) -> Held:
    """Two histories joined: the word of the source with the lowest rank; among equals the newest."""
    return max(records, key=_preference)


def has_losers(section: Section) -> bool:
    """Tell whether a section can show what sources said that does not count."""
    return isinstance(section, StoredSection) and isinstance(section.fold, Attributes)


FOLD = Attributes(
    Shape(Attribute, ranked=True, where=__name__),
    lambda record: (record.name,) if isinstance(record, Attribute) else (),
    prefers=preferred,
    combine=per_key(preferred_history),
)

register_profile_section(
    "attributes",
    default=False,
    description="What is known of a customer by name, with who says so.",
    key=("name",),
    effective="updated_at",
    ranked=True,
    fold=FOLD,
)(Attribute)
