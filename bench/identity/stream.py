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
DESKS = tuple(f"desk{one}@example.com" for one in range(5))
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
        """What whoever is at it uses."""
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
    return (encoder.encode(one) + b"\n" for one in events)


def read(lines: Iterable[bytes]) -> list[Event]:
    """Return the events that JSON lines hold."""
    decoder = msgspec.json.Decoder(Event)
    return [decoder.decode(one) for one in lines]


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
        weights = [one.activity for one in people]
        while True:
            for one in self._roll.choices(people, weights, k=1000):
                yield from self._visit(one)

    def _chance(self, share: float) -> bool:
        return self._roll.random() < share

    def _visit(self, one: Means) -> Iterator[Event]:
        shares = self._shares
        name = f"kiosk-{self._roll.randrange(KIOSKS)}" if self._chance(shares.kiosk) else self._roll.choice(one.devices)
        device = self._devices.setdefault(name, _Device(name, self._seed))
        if not device.is_app and self._chance(shares.cleared):
            device.renew()
        if device.renewed:
            device.renewed = False
            yield self._event(one, "first_visit", [says(device.anonymous, device.thing, "sdk")], device)
        for _ in range(self._roll.randrange(1, 4)):
            told_of = device.anonymous if self._chance(0.7) else device.thing
            yield self._event(one, "view", [self._interaction(told_of, "view")], device)
        yield from self._named(one, device)
        if self._chance(shares.service):
            yield self._event(one, "call", [says(("phone", self._phone(one)), self._by_name(one), "crm")])
        if self._chance(shares.guess):
            yield from self._guess(one, device)
        is_shared = name.startswith("kiosk") or name.endswith("-common")
        if is_shared and self._chance(shares.logout):
            device.renew()

    def _named(self, one: Means, device: _Device) -> Iterator[Event]:
        """Yield what in a visit is told under a name, or leads to one."""
        shares = self._shares
        accounts = self._signed_up.get(one.person, 0)
        if accounts < len(one.accounts) and self._chance(0.3):
            yield self._sign_up(one, device, accounts)
            accounts += 1
        elif accounts and self._chance(shares.login):
            yield self._login(one, device, accounts)
        elif self._chance(shares.newsletter):
            typed = ("email", self._email(one))
            yield self._event(one, "newsletter", [says(device.anonymous, typed, "web", 0.8)], device)
        if self._chance(shares.purchase):
            yield self._purchase(one, device, accounts)

    def _sign_up(self, one: Means, device: _Device, account: int) -> Event:
        self._signed_up[one.person] = account + 1
        id_ = "customer_id", one.accounts[account]
        email = "email", forms.address(_address_of(one, account), self._roll)
        records = [says(device.anonymous, id_, "web"), says(id_, email, "web")]
        if self._chance(self._shares.phone_given):
            records.append(says(id_, ("phone", self._phone(one)), "web", 0.9))
        return self._event(one, "sign_up", records, device)

    def _login(self, one: Means, device: _Device, accounts: int) -> Event:
        """Return a login by the account's address: the site tells the address, the app the device and the id too."""
        account = self._roll.randrange(accounts)
        email = "email", forms.address(_address_of(one, account), self._roll)
        if not device.is_app:
            return self._event(one, "login", [says(device.anonymous, email, "web")], device)
        id_ = "customer_id", one.accounts[account]
        records = [says(device.thing, email, "app"), says(device.anonymous, id_, "app")]
        return self._event(one, "login", records, device)

    def _purchase(self, one: Means, device: _Device, accounts: int) -> Event:
        email = "email", self._email(one)
        with_phone = self._chance(self._shares.phone_given)
        phone = "phone", self._phone(one)
        if accounts:
            id_ = "customer_id", one.accounts[self._roll.randrange(accounts)]
            records = [self._interaction(id_, "purchase"), says(id_, email, "shop", 0.9)]
            return self._event(one, "purchase", records + [says(id_, phone, "shop", 0.9)] * with_phone, device)
        if self._chance(self._shares.desk_email):
            email = "email", self._roll.choice(DESKS)
        records = [self._interaction(email, "purchase"), says(device.anonymous, email, "shop", 0.9)]
        return self._event(one, "guest_purchase", records + [says(email, phone, "shop", 0.9)] * with_phone, device)

    def _guess(self, one: Means, device: _Device) -> Iterator[Event]:
        """Yield what a bought list says: that a device, or an address, is somebody's of the household."""
        others = self._world.households[one.person]
        right = not others or self._chance(self._shares.guess_right)
        of = self._world.means[one.person if right else self._roll.choice(others)]
        told_of = device.thing if self._chance(0.5) else ("email", one.emails[0])
        guessed = "email", of.emails[-1]
        if told_of != guessed:
            yield self._event(None, "guess", [says(told_of, guessed, "list", 0.3)])

    def _by_name(self, one: Means) -> Named:
        """Return by what the person is found during a call."""
        accounts = self._signed_up.get(one.person, 0)
        if self._chance(self._shares.desk_email):
            return "email", self._roll.choice(DESKS)
        if accounts:
            return "customer_id", one.accounts[self._roll.randrange(accounts)]
        return "email", self._email(one)

    def _email(self, one: Means) -> str:
        """Return an address as it comes from a form."""
        if self._chance(self._shares.junk):
            return self._roll.choice(forms.JUNK_EMAILS)
        email = self._roll.choice(one.emails)
        if self._chance(self._shares.typo):
            return forms.misspelt(email, self._roll)
        return forms.address(email, self._roll)

    def _phone(self, one: Means) -> str:
        """Return a number as it comes from a form."""
        if self._chance(self._shares.junk):
            return self._roll.choice(forms.JUNK_PHONES)
        others = self._world.households[one.person]
        whose = one
        if others and self._chance(self._shares.relative_phone):
            whose = self._world.means[self._roll.choice(others)]
        return forms.number(whose.phone, self._roll)

    def _event(self, one: Means | None, kind: str, records: list[Record], device: _Device | None = None) -> Event:
        self._made += 1
        used = device.used if device else ()
        return Event(_START + self._made * _BETWEEN, one.person if one else None, kind, records, used)

    def _interaction(self, told_of: Named, kind: str) -> Record:
        at = rfc3339((_START + (self._made + 1) * _BETWEEN) * SECOND)
        record = {"id": f"e{self._made + 1}", "interactionType": kind, "timestamp": at}
        return _line(told_of, "interactions", record, "web")


def _address_of(one: Means, account: int) -> str:
    """Return the address by which somebody logs in to one of their accounts."""
    return one.emails[min(account, len(one.emails) - 1)]


def says(told_of: Named, other: Named, source: str, confidence: float = 1.0) -> Record:
    """Return the record that tells of two identifiers to be one person."""
    return _line(told_of, "identities", {"type": other[0], "value": other[1], "confidence": confidence}, source)


def _line(told_of: Named, section: str, record: Record, source: str) -> Record:
    return {
        "identifier": {"type": told_of[0], "value": told_of[1]}, "section": section, "record": record, "source": source,
    }  # fmt: skip
