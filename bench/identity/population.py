"""The people: what pseudopeople's sample says of them, and what a seed adds: addresses, numbers, devices, accounts."""

import random
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from bench.identity.shares import Shares

DOMAINS = ("example.com", "example.net", "example.org")
AREAS = ("206", "253", "360", "425", "509", "503", "541", "971")
"""Area codes; all numbers are made up."""
LEAST_AGE = 16
"""Younger people of the sample send no events."""


class Person(msgspec.Struct, frozen=True):
    """One person of the sample."""

    id: str
    household: str | None
    first: str
    last: str
    age: int


class Means(NamedTuple):
    """By what a person can be known."""

    person: str
    emails: tuple[str, ...]
    phone: str
    """Ten digits, without the country's prefix."""
    accounts: tuple[str, ...]
    """Customer ids that the company gives once the person signs up."""
    devices: tuple[str, ...]
    """Ids of devices; a shared device is listed for each of its people."""
    activity: float
    """How often the person visits, against others."""


class World(NamedTuple):
    """Everybody who sends events."""

    means: dict[str, Means]
    households: dict[str, tuple[str, ...]]
    """By person, who else lives with them."""


def read(lines: Iterable[bytes]) -> list[Person]:
    """Return the people that JSON lines hold."""
    decoder = msgspec.json.Decoder(Person)
    return [decoder.decode(line) for line in lines]


def dice(*what: object) -> random.Random:
    """Return random numbers that are the same for the same words, on every machine."""
    return random.Random(":".join(map(str, what)))  # noqa: S311  # for repeating, not for hiding


def world(people: Iterable[Person], shares: Shares, seed: int) -> World:
    """Return by what the grown-up of some people can be known."""
    adults = [person for person in people if person.age >= LEAST_AGE]
    homes: dict[str, list[str]] = {}
    for person in adults:
        homes.setdefault(person.household or f"alone {person.id}", []).append(person.id)
    common = {
        home: f"{home}-common"
        for home, members in homes.items()
        if len(members) > 1 and dice(seed, home, "device").random() < shares.shared_device
    }
    taken: set[str] = set()
    means = {}
    for index, person in enumerate(adults):
        roll = dice(seed, person.id)
        area = dice(seed, person.household or person.id, "area").choice(AREAS)
        emails = [_first_free(_addresses(person, roll), taken) for _ in range(1 + (roll.random() < shares.two_emails))]
        accounts = int(roll.random() < shares.account)
        accounts += accounts and roll.random() < shares.two_accounts
        devices = [f"{person.id}-own"] if roll.random() < shares.own_device else []
        if roll.random() < shares.second_device:
            devices.append(f"{person.id}-second")
        shared = common.get(person.household or "")
        if shared:
            devices.append(shared)
        means[person.id] = Means(
            person.id,
            tuple(emails),
            _first_free(_numbers(area, roll), taken),
            tuple(f"C{index:06}{'-B' if second else ''}" for second in range(accounts)),
            tuple(devices) or (f"{person.id}-own",),
            0.2 + roll.random() ** 3 * 4,
        )
    together = {person: tuple(sorted({*members} - {person})) for members in homes.values() for person in members}
    return World(means, together)


def _first_free(forms: Iterator[str], taken: set[str]) -> str:
    """Return the first form that nobody has yet, and take it."""
    form = next(form for form in forms if form not in taken)
    taken.add(form)
    return form


def _addresses(person: Person, roll: random.Random) -> Iterator[str]:
    """Yield the addresses that a person may have, the likeliest first: people of one name get neighbouring ones."""
    first, last = _plain(person.first), _plain(person.last)
    local = roll.choice((f"{first}.{last}", f"{first[:1]}{last}", f"{first}{last}", f"{first}{2020 - person.age}"))
    domain = roll.choice(DOMAINS)
    yield f"{local}@{domain}"
    number = roll.randrange(1, 90)
    while True:
        yield f"{local}{number}@{domain}"
        number += 1


def _numbers(area: str, roll: random.Random) -> Iterator[str]:
    while True:
        yield f"{area}{roll.randrange(200, 999)}{roll.randrange(10_000):04}"


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z]", "", letters) or "x"
