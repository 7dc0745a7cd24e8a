"""Whose an identifier is, and what could be known at best from the records.

An identifier that several people used is nobody's, and is in no pair: wherever it stands, it is right for one of them
and wrong for another, so it says nothing of how well people are told apart. Junk is nobody's either.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from bench.identity import forms
from bench.identity.stream import Event
from portrait.identity.normalise import normalise
from portrait.model.identifier import Identifier

REGION = "US"
"""Where numbers without a country's prefix are from."""


class Truth(NamedTuple):
    """Who is who."""

    owner: dict[Identifier, str]
    """By identifier that one person alone used, who that is."""
    most: int
    """The most identifiers that one person used, shared ones too."""
    attainable: dict[Identifier, int]
    """By the same identifiers, in which set they would be if every true link held, and no other."""


def identifier(type_: str, value: str) -> Identifier:
    """Return an identifier in its matched form."""
    return Identifier(type_, normalise(type_, value, REGION))


JUNK = frozenset(
    identifier(type_, value)
    for type_, values in (("email", forms.JUNK_EMAILS), ("phone", forms.JUNK_PHONES))
    for value in values
)


def truth(events: Iterable[Event]) -> Truth:
    """Return the truth of a stream."""
    used: dict[str, set[Identifier]] = {}
    claims: list[tuple[str, Identifier, Identifier]] = []
    guessed: list[tuple[Identifier, Identifier]] = []
    for event in events:
        if event.person is not None:
            used.setdefault(event.person, set()).update(identifier(*name) for name in event.used)
        for record in event.records:
            ends = _ends(record)
            if event.person is not None:
                used.setdefault(event.person, set()).update(end for end in ends if end not in JUNK)
            if len(ends) == 1 or JUNK.intersection(ends):
                continue
            if event.person is None:
                guessed.append((ends[0], ends[1]))
            else:
                claims.append((event.person, ends[0], ends[1]))
    owner = _owners(used)
    claims += [(owner[a], a, b) for a, b in guessed if a in owner and owner[a] == owner.get(b)]
    return Truth(owner, max(map(len, used.values()), default=0), _attainable(owner, claims))


def _ends(record: Mapping[str, object]) -> list[Identifier]:
    """Return the identifiers that a record names."""
    named = [record["identifier"]]
    if record["section"] == "identities":
        named.append(record["record"])
    return [identifier(str(name["type"]), str(name["value"])) for name in named if isinstance(name, dict)]


def _owners(used: Mapping[str, Collection[Identifier]]) -> dict[Identifier, str]:
    owner: dict[Identifier, str] = {}
    several: set[Identifier] = set()
    for person, identifiers in used.items():
        for identifier in identifiers:
            if owner.setdefault(identifier, person) != person:
                several.add(identifier)
    return {identifier: person for identifier, person in owner.items() if identifier not in several}


def _attainable(
    owner: Mapping[Identifier, str], claims: Iterable[tuple[str, Identifier, Identifier]]
) -> dict[Identifier, int]:
    """Return the sets in which an all-knowing judge would have the identifiers.

    The judge knows which person made each claim. So a shared device joins the identifiers of each of its people, and
    joins no two people: nothing that keeps people apart finds more from links alone.
    """
    near: dict[tuple[str, Identifier], list[tuple[str, Identifier]]] = {}
    for person, a, b in claims:
        near.setdefault((person, a), []).append((person, b))
        near.setdefault((person, b), []).append((person, a))
    set_numbers: dict[tuple[str, Identifier], int] = {}
    for number, start in enumerate(near):
        ahead = [start]
        while ahead:
            node = ahead.pop()
            if node not in set_numbers:
                set_numbers[node] = number
                ahead += near[node]
    alone = len(near)
    return {
        identifier: set_numbers.get((person, identifier), alone + at)
        for at, (identifier, person) in enumerate(owner.items())
    }
