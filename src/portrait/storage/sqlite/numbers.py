"""Numbers of identifiers, and of the names of sections and sources: facts and states refer to them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from portrait.model.identifier import Identifier

MAX_NAMES = 10_000
"""The most names that a connection keeps the numbers of: sources may have any names."""
WANTED = "(SELECT value AS w FROM json_each(?)) CROSS JOIN"
"""Joins the elements of an `array`, each as `w`, with a table, in this order: a seek for each element."""
Rows = Callable[[str, tuple[Any, ...]], list[Any]]
"""Runs a statement with values, and returns its rows."""


def array(values: Iterable[object]) -> str:
    """Return values as one JSON array, for `json_each`: one statement for all takes a third of the time."""
    return msgspec.json.encode(list(values)).decode()


class Numbers:
    """What a connection that reads knows of numbers, which stay what they are once committed."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def names(self, names: Iterable[str]) -> Mapping[str, int]:
        """Return the numbers of names, among others; those of unknown names are absent."""
        if len(self._names) > MAX_NAMES:
            self._names, self._numbers = {}, {}
        if missing := set(names) - self._numbers.keys():
            self._learn(self._rows(f"SELECT number, name FROM {WANTED} names ON name = w", (array(missing),)))
        return self._numbers

    def name(self, name: str) -> int | None:
        """Return the number of a name; None: it is unknown."""
        return self.names([name]).get(name)

    def named(self, number: int) -> str:
        """Return the name that has a number."""
        if number not in self._names:
            self._learn(self._rows("SELECT number, name FROM names WHERE number = ?", (number,)))
        return self._names[number]

    def registered(self, tenant: str, identifiers: Iterable[Identifier]) -> list[tuple[Identifier, int, str | None]]:
        """Return the known identifiers among these, with their numbers and the customers that they belong to."""
        rows = self._rows(
            f"SELECT type, value, number, customer_id FROM {WANTED} identifiers"
            " ON tenant = ? AND type = w ->> 0 AND value = w ->> 1",
            (array(identifiers), tenant),
        )
        return [(Identifier(type_, value), number, customer_id) for type_, value, number, customer_id in rows]

    def identifiers(self, tenant: str, identifiers: Iterable[Identifier]) -> dict[Identifier, int]:
        """Return the numbers of identifiers; of unknown identifiers, which have neither facts nor states, none."""
        return {identifier: number for identifier, number, _ in self.registered(tenant, identifiers)}

    def _learn(self, rows: Iterable[tuple[int, str]]) -> None:
        for number, name in rows:
            self._names[number], self._numbers[name] = name, number


class GivenNumbers(Numbers):
    """What a work that writes knows of numbers, and gives. It is forgotten with the work, which may take them back."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self._known: dict[tuple[str, Identifier], int | None] = {}
        """By tenant, as far as they were asked for; None: it has none."""

    def keep(self, tenant: str, rows: Iterable[tuple[str, str, int]]) -> dict[Identifier, int]:
        """Keep and return the numbers of identifiers, whose rows have type, value and number."""
        numbers = {Identifier(type_, value): number for type_, value, number in rows}
        self._known |= {(tenant, identifier): number for identifier, number in numbers.items()}
        return numbers

    def registered(self, tenant: str, identifiers: Iterable[Identifier]) -> list[tuple[Identifier, int, str | None]]:
        """See `Numbers`."""
        wanted = list(identifiers)
        registered = super().registered(tenant, wanted)
        self._known |= dict.fromkeys((tenant, identifier) for identifier in wanted)
        self._known |= {(tenant, identifier): number for identifier, number, _ in registered}
        return registered

    def identifiers(self, tenant: str, identifiers: Iterable[Identifier]) -> dict[Identifier, int]:
        """See `Numbers`."""
        wanted = list(identifiers)
        if missing := [identifier for identifier in wanted if (tenant, identifier) not in self._known]:
            self.registered(tenant, missing)
        numbers = ((identifier, self._known[tenant, identifier]) for identifier in wanted)
        return {identifier: number for identifier, number in numbers if number is not None}

    def given(
        self, tenant: str, identifiers: Iterable[Identifier], owners: Mapping[Identifier, str | None]
    ) -> dict[Identifier, int]:
        """Return the numbers of identifiers; those that are new get one, and the customers that they belong to."""
        wanted = set(identifiers)
        numbers = self.identifiers(tenant, wanted)
        missing = [(*identifier, owners.get(identifier)) for identifier in wanted - numbers.keys()]
        sql = (
            "INSERT INTO identifiers (tenant, type, value, customer_id)"
            " SELECT ?, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) RETURNING type, value, number"
        )
        return numbers | self.keep(tenant, self._rows(sql, (tenant, array(missing)))) if missing else numbers

    def given_names(self, names: Iterable[str]) -> Mapping[str, int]:
        """Return the numbers of names, among others; those that are new get one."""
        wanted = set(names)
        if missing := wanted - self.names(wanted).keys():
            sql = "INSERT INTO names (name) SELECT value FROM json_each(?) RETURNING number, name"
            self._learn(self._rows(sql, (array(missing),)))
        return self._numbers
