"""Identity links: e-mail addresses, phone numbers, device ids and the like, with confidence."""

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

from msgspec import Meta

from portrait.identity.normalise import Forms, normalise
from portrait.model.identifier import Identifier
from portrait.sections.declaration import register_profile_section
from portrait.sections.fold import Entry, Held, Latest, LatestState, per_key
from portrait.sections.record import Record, Shape, Text, impersonal, personal


class Identity(Record, frozen=True):
    """Identity links (email, phone, device IDs) with confidence scores."""

    type: Annotated[Text, impersonal, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$", examples=["email"])]
    value: Annotated[Text, personal, Meta(pattern=r"\S", examples=["john@example.com"])]
    confidence: Annotated[float, impersonal, Meta(ge=0, le=1, examples=[1.0])] = 1.0


def highest_confidence(records: Sequence[Held]) -> Held:
    """Two histories joined: the higher confidence; among equals the newest."""
    return max(records, key=lambda live: (_confidence(live.record), live.entry))


def _confidence(record: Record) -> float:
    assert isinstance(record, Identity)
    return record.confidence


def _key(record: Record) -> tuple[str, ...]:
    assert isinstance(record, Identity)
    return (record.type, normalise(record.type, record.value))


class Statement(NamedTuple):
    """The evidence of one source, at one identifier, for another."""

    source: str | None
    record: Identity
    """Its newest record."""
    at: int
    """From when that record is true, in microseconds."""
    recorded_at: int
    id: bytes
    since: int
    """From when it has claimed this without a break, in microseconds."""
    timed: bool
    """Whether the source named that moment."""


class EvidenceFold(Latest):
    """The fold of evidence: of each key the records of every source, from its first since the last end to its newest.

    An end ends the records of all sources. A late end that lies between two records of a source makes its evidence
    begin with the newest, though there may have been others after the end.
    """

    def evidence(self, state: LatestState, key: str) -> Iterator[Statement]:
        """Yield the evidence under a key, source by source; records that lie ahead too."""
        for history in state.histories.values():
            by_source: dict[str | None, list[Entry]] = {}
            for entry in _since_end(history.entries.get(key, [])):
                by_source.setdefault(entry.source, []).append(entry)
            for source, entries in by_source.items():
                first, last = entries[0], entries[-1]
                assert last.body is not None
                record = self._shape.decode(last.body)
                assert isinstance(record, Identity)
                is_timed = first.effective_at != first.recorded_at
                yield Statement(
                    source, record, last.effective_at, last.recorded_at, last.id, first.effective_at, is_timed
                )

    def _prune(self, entries: list[Entry], told_at: int) -> list[Entry]:
        if len(entries) == 1:
            return entries
        ordered = sorted({entry.id: entry for entry in entries}.values())
        due = [entry for entry in ordered if entry.effective_at <= told_at]
        kept = [entry for entry in due if entry.body is None][-1:]
        by_source: dict[str | None, list[Entry]] = {}
        for entry in _since_end(due):
            by_source.setdefault(entry.source, []).append(entry)
        for source_entries in by_source.values():
            kept += [source_entries[0], *source_entries[1:][-1:]]
        return sorted(kept) + ordered[len(due) :]


def _since_end(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return the entries of a key, in order, that come after its last end."""
    ends = [index for index, entry in enumerate(entries) if entry.body is None]
    return entries[ends[-1] + 1 :] if ends else entries


FOLD = EvidenceFold(Shape(Identity, extras=None, where=__name__), _key, combine=per_key(highest_confidence),
                    order=_confidence)  # fmt: skip

register_profile_section("identities", key=("type", "value"), normalise=_key, fold=FOLD, version=2)(Identity)


def identifier_of(record: Identity, forms: Forms) -> Identifier:
    """Return the identifier that a record names, in the form in which it is matched.

    Args:
        record: the record.
        forms: the forms in which the tenant's identifiers match.
    """
    return forms.of(record.type, record.value)
