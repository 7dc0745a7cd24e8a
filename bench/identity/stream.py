"""The stream: what a company's site, app, shops and CRM tell of people's visits, and who it was in truth."""

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from bench.identity import forms
from bench.identity.population import Means, World, dice
from bench.identity.shares import Shares
from portrait.model.time import SECOND, rfc3339

KIOSKS = 2
"""Tablets in shops, with the app."""
DESKS = tuple(f"desk{number}@example.com" for number in range(5))
"""Addresses of the company's own staff."""
_START = 1_767_225_600
"""2026-01-01T00:00:00Z, in seconds."""
_BETWEEN = 60
"""Seconds from one event to the next."""

Named = tuple[str, str]
Record = dict[str, Any]


class Event(msgspec.Struct, frozen=True):
    """One thing that happened, and the records that it becomes."""

    at: int
    """In seconds since 1970."""
    person: str | None
    """Who it was in truth; None: nobody's own act, but a guess about people."""
    kind: str
    records: list[Record]
    """Lines of a bulk."""
    used: tuple[Named, ...] = ()
    """What the person had in hand, named in a record or not: who sits at a browser uses its cookie."""


class _Device:
    """A browser or an app: what it calls itself, and the anonymous id that it holds until a logout."""

    def __init__(self, id_: str, seed: int) -> None:
        self.seed = seed
        self.id = id_
        self.is_app = id_.endswith("-own") or id_.startswith("kiosk")
        self.turn = 0
        self.renewed = True

    @property
    def anonymous(self) -> Named:
        return "anonymous_id", self._made("anonymous", self.turn)

    @property
    def used(self) -> tuple[Named, ...]:
        """The identifiers that a person at the device uses."""
        return self.anonymous, self.thing

    @property
    def thing(self) -> Named:
        """The device's id, or the browser's cookie."""
        return ("device_id", self._made("device")) if self.is_app else ("cookie_id", self._made("cookie", self.turn))

    def renew(self) -> None:
        """Begin anew with another anonymous id, and a browser with another cookie."""
        self.turn += 1
        self.renewed = True

    def _made(self, *what: object) -> str:
        return str(uuid.UUID(int=dice(self.seed, self.id, *what).getrandbits(128), version=4))


def stream(world: World, shares: Shares, seed: int, events: int) -> Iterator[Event]:
    """Yield so many events of a world's people, in the order in which they happen."""
    made = _Stream(world, shares, seed).events()
    return (event for _, event in zip(range(events), made, strict=False))


def lines(events: Iterable[Event]) -> Iterator[bytes]:
    """Yield events as JSON lines."""
    encoder = msgspec.json.Encoder()
    return (encoder.encode(event) + b"\n" for event in events)


def read(lines: Iterable[bytes]) -> list[Event]:
    """Return the events that JSON lines hold."""
    decoder = msgspec.json.Decoder(Event)
    return [decoder.decode(line) for line in lines]


class _Stream:
    def __init__(self, world: World, shares: Shares, seed: int) -> None:
        self._world = world
        self._shares = shares
        self._seed = seed
        self._roll = dice(seed, "stream")
        self._devices: dict[str, _Device] = {}
        self._signed_up: dict[str, int] = {}
        """By person, how many of the accounts exist."""
        self._made = 0

    def events(self) -> Iterator[Event]:
        people = list(self._world.means.values())
        weights = [means.activity for means in people]
        while True:
            for means in self._roll.choices(people, weights, k=1000):
                yield from self._visit(means)

    def _chance(self, share: float) -> bool:
        return self._roll.random() < share

    def _visit(self, means: Means) -> Iterator[Event]:
        shares = self._shares
        name = (
            f"kiosk-{self._roll.randrange(KIOSKS)}" if self._chance(shares.kiosk) else self._roll.choice(means.devices)
        )
        device = self._devices.setdefault(name, _Device(name, self._seed))
        if not device.is_app and self._chance(shares.cleared):
            device.renew()
        if device.renewed:
            device.renewed = False
            yield self._event(means, "first_visit", [says(device.anonymous, device.thing, "sdk")], device)
        for _ in range(self._roll.randrange(1, 4)):
            identifier = device.anonymous if self._chance(0.7) else device.thing
            yield self._event(means, "view", [self._interaction(identifier, "view")], device)
        yield from self._named(means, device)
        if self._chance(shares.service):
            yield self._event(means, "call", [says(("phone", self._phone(means)), self._by_name(means), "crm")])
        if self._chance(shares.guess):
            yield from self._guess(means, device)
        is_shared = name.startswith("kiosk") or name.endswith("-common")
        if is_shared and self._chance(shares.logout):
            device.renew()

    def _named(self, means: Means, device: _Device) -> Iterator[Event]:
        """Yield the events of a visit that name the person, or lead to a name."""
        shares = self._shares
        accounts = self._signed_up.get(means.person, 0)
        if accounts < len(means.accounts) and self._chance(0.3):
            yield self._sign_up(means, device, accounts)
            accounts += 1
        elif accounts and self._chance(shares.login):
            yield self._login(means, device, accounts)
        elif self._chance(shares.newsletter):
            typed = ("email", self._email(means))
            yield self._event(means, "newsletter", [says(device.anonymous, typed, "web", 0.8)], device)
        if self._chance(shares.purchase):
            yield self._purchase(means, device, accounts)

    def _sign_up(self, means: Means, device: _Device, account: int) -> Event:
        self._signed_up[means.person] = account + 1
        id_ = "customer_id", means.accounts[account]
        email = "email", forms.address(_address_of(means, account), self._roll)
        records = [says(device.anonymous, id_, "web"), says(id_, email, "web")]
        if self._chance(self._shares.phone_given):
            records.append(says(id_, ("phone", self._phone(means)), "web", 0.9))
        return self._event(means, "sign_up", records, device)

    def _login(self, means: Means, device: _Device, accounts: int) -> Event:
        """Return a login by the account's address: the site tells the address, the app the device and the id too."""
        account = self._roll.randrange(accounts)
        email = "email", forms.address(_address_of(means, account), self._roll)
        if not device.is_app:
            return self._event(means, "login", [says(device.anonymous, email, "web")], device)
        id_ = "customer_id", means.accounts[account]
        records = [says(device.thing, email, "app"), says(device.anonymous, id_, "app")]
        return self._event(means, "login", records, device)

    def _purchase(self, means: Means, device: _Device, accounts: int) -> Event:
        email = "email", self._email(means)
        with_phone = self._chance(self._shares.phone_given)
        phone = "phone", self._phone(means)
        if accounts:
            id_ = "customer_id", means.accounts[self._roll.randrange(accounts)]
            records = [self._interaction(id_, "purchase"), says(id_, email, "shop", 0.9)]
            return self._event(means, "purchase", records + [says(id_, phone, "shop", 0.9)] * with_phone, device)
        if self._chance(self._shares.desk_email):
            email = "email", self._roll.choice(DESKS)
        records = [self._interaction(email, "purchase"), says(device.anonymous, email, "shop", 0.9)]
        return self._event(means, "guest_purchase", records + [says(email, phone, "shop", 0.9)] * with_phone, device)

    def _guess(self, means: Means, device: _Device) -> Iterator[Event]:
        """Yield a record of a bought list: that a device, or an address, is somebody's of the household."""
        others = self._world.households[means.person]
        right = not others or self._chance(self._shares.guess_right)
        of = self._world.means[means.person if right else self._roll.choice(others)]
        identifier = device.thing if self._chance(0.5) else ("email", means.emails[0])
        guessed = "email", of.emails[-1]
        if identifier != guessed:
            yield self._event(None, "guess", [says(identifier, guessed, "list", 0.3)])

    def _by_name(self, means: Means) -> Named:
        """Return the identifier by which the person is found during a call."""
        accounts = self._signed_up.get(means.person, 0)
        if self._chance(self._shares.desk_email):
            return "email", self._roll.choice(DESKS)
        if accounts:
            return "customer_id", means.accounts[self._roll.randrange(accounts)]
        return "email", self._email(means)

    def _email(self, means: Means) -> str:
        """Return an address as it comes from a form."""
        if self._chance(self._shares.junk):
            return self._roll.choice(forms.JUNK_EMAILS)
        email = self._roll.choice(means.emails)
        if self._chance(self._shares.typo):
            return forms.misspelt(email, self._roll)
        return forms.address(email, self._roll)

    def _phone(self, means: Means) -> str:
        """Return a number as it comes from a form."""
        if self._chance(self._shares.junk):
            return self._roll.choice(forms.JUNK_PHONES)
        others = self._world.households[means.person]
        whose = means
        if others and self._chance(self._shares.relative_phone):
            whose = self._world.means[self._roll.choice(others)]
        return forms.number(whose.phone, self._roll)

    def _event(self, means: Means | None, kind: str, records: list[Record], device: _Device | None = None) -> Event:
        self._made += 1
        used = device.used if device else ()
        return Event(_START + self._made * _BETWEEN, means.person if means else None, kind, records, used)

    def _interaction(self, identifier: Named, kind: str) -> Record:
        at = rfc3339((_START + (self._made + 1) * _BETWEEN) * SECOND)
        record = {"id": f"e{self._made + 1}", "interactionType": kind, "timestamp": at}
        return _line(identifier, "interactions", record, "web")


def _address_of(means: Means, account: int) -> str:
    """Return the address by which somebody logs in to one of their accounts."""
    return means.emails[min(account, len(means.emails) - 1)]


def says(identifier: Named, other: Named, source: str, confidence: float = 1.0) -> Record:
    """Return the record that claims two identifiers to be one person."""
    return _line(identifier, "identities", {"type": other[0], "value": other[1], "confidence": confidence}, source)


def _line(identifier: Named, section: str, record: Record, source: str) -> Record:
    return {
        "identifier": {"type": identifier[0], "value": identifier[1]},
        "section": section,
        "record": record,
        "source": source,
    }
