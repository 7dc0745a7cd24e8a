"""What live records say of who is one person: of which pairs a unit speaks, and what all sources say of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from portrait.identity.normalise import Forms
from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier
from portrait.sections.base import StoredSection
from portrait.sections.fold import LatestState
from portrait.sections.identities import FOLD, Identity, Statement, identifier_of
from portrait.sections.links import LINKS, shown_by
from portrait.storage.contract import FactsAsked
from portrait.writes.ending import Ended
from portrait.writes.incoming import Incoming


class Concerned(NamedTuple):
    """What records of a unit say of one pair."""

    sources: set[str | None]
    """Whose records do."""
    given_values: dict[Identifier, str]
    """The values as they were given of those of whom records are told."""


Pair = tuple[Identifier, Identifier]


def pairs_of(incoming: Sequence[Incoming]) -> dict[Pair, Concerned]:
    """Return the pairs, each in order, of which records are evidence; those of one identifier and itself are none."""
    pairs: dict[Pair, Concerned] = {}
    for record in incoming:
        if record.linked is not None and record.identifier != record.linked.named.identifier:
            concerned = pairs.setdefault(_pair(record.identifier, record.linked.named.identifier), Concerned(set(), {}))
            concerned.sources.add(record.source)
            concerned.given_values[record.identifier] = record.named.value
    return pairs


def ended_pairs(
    ended: Sequence[Ended], known: Mapping[FactsAsked, Sequence[Fact]], forms: Forms
) -> dict[Pair, Concerned]:
    """Return the pairs of which records that ended were evidence.

    Args:
        ended: what ended, and where.
        known: the facts that are known of each key.
        forms: the forms in which the tenant's identifiers match.
    """
    pairs: dict[Pair, Concerned] = {}
    for section, identifier, key, counted in ended:
        if shown_by(section) is LINKS:
            facts = known.get(FactsAsked(identifier, section.name, key, None), ())
            bodies = {section.bring_forward(fact).body for fact in facts if fact.op is Op.PUT}
            for body in bodies if counted is None else bodies | {counted}:
                other = identifier_of(_record(section, body), forms)
                if other != identifier:
                    pairs[_pair(identifier, other)] = Concerned(set(), {})
    return pairs


class Said:
    """What live records say of pairs.

    Args:
        section: the section of evidence.
        forms: the forms in which the tenant's identifiers match.
        states: its states.
    """

    def __init__(self, section: StoredSection, forms: Forms, states: Mapping[Identifier, LatestState]) -> None:
        self._section = section
        self._forms = forms
        self._states = states
        self._records: dict[Identifier, dict[str, list[tuple[str, Identity]]]] = {}
        """The records in each state, with their keys, by the type of identifier that they name."""
        self._keys: dict[tuple[Identifier, str], dict[Identifier, list[str]]] = {}

    def of(self, identifier: Identifier, other: Identifier) -> list[Statement]:
        """Return what is said at one identifier of another, of each source and way of writing it."""
        state = self._states.get(identifier)
        if state is None:
            return []
        keys = self._keys.get((identifier, other.type))
        if keys is None:
            self._keys[identifier, other.type] = keys = self._named(identifier, other.type)
        return [each for key in keys.get(other, ()) for each in FOLD.evidence(state, key)]

    def keys(self, identifier: Identifier, other: Identifier) -> Sequence[str]:
        """Return the keys under which records at one identifier name another."""
        return self._named(identifier, other.type).get(other, ()) if identifier in self._states else ()

    def claims(self) -> set[tuple[Pair, str | None]]:
        """Return all that live records claim, by pair and source."""
        claims: set[tuple[Pair, str | None]] = set()
        for identifier, state in self._states.items():
            for key, body in _bodies(state).items():
                other = identifier_of(_record(self._section, body), self._forms)
                if other != identifier:
                    claims.update((_pair(identifier, other), each.source) for each in FOLD.evidence(state, key))
        return claims

    def _named(self, identifier: Identifier, type_: str) -> dict[Identifier, list[str]]:
        """Return the keys under which an identifier's state names others of a type."""
        records = self._records.get(identifier)
        if records is None:
            self._records[identifier] = records = {}
            for key, body in _bodies(self._states[identifier]).items():
                record = _record(self._section, body)
                records.setdefault(record.type, []).append((key, record))
        keys_of: dict[Identifier, list[str]] = {}
        for key, record in records.get(type_, ()):
            keys_of.setdefault(identifier_of(record, self._forms), []).append(key)
        return keys_of


def _bodies(state: LatestState) -> dict[str, bytes]:
    """Return of each key a body that was told: all of a key name the same identifier."""
    return {
        key: body
        for history in state.histories.values()
        for key, entries in history.entries.items()
        if (body := next((entry.body for entry in entries if entry.body is not None), None)) is not None
    }


def _record(section: StoredSection, body: bytes) -> Identity:
    record = section.shape.decode(body)
    assert isinstance(record, Identity)
    return record


def _pair(identifier: Identifier, other: Identifier) -> Pair:
    return (identifier, other) if identifier < other else (other, identifier)
