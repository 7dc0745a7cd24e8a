"""What a query or a URL may name of the customer: ids, and identifiers by their type."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from portrait.identity.rules import DEFAULT_TYPES
from portrait.model.identifier import CUSTOMER_ID, Identifier

TENANT_ID = "tenant_id"
ALL = "_json"
"""Behind the name of a type it means all values of this type, as a JSON array."""


class Asker(Protocol):
    """What a computed section is told of the customer: see `Context`."""

    @property
    def tenant_id(self) -> str:
        """The tenant."""
        ...

    @property
    def customer_id(self) -> str:
        """The customer's id."""
        ...

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        """All that the customer is known by."""
        ...


class Names:
    """The names that one source may use.

    Args:
        own_types: types of identifiers that are not built in.
    """

    def __init__(self, own_types: Iterable[str]) -> None:
        self._types = (*DEFAULT_TYPES, *own_types)

    def fault(self, name: str, *, several: bool) -> str | None:
        """Return what is wrong with a name, or None.

        Args:
            name: as a query or a URL has it.
            several: whether all values of a type may be meant.
        """
        if name in {CUSTOMER_ID, TENANT_ID, *self._types} or (several and name.removesuffix(ALL) in self._types):
            return None
        if name.endswith(ALL) and not several:
            return f"names {name}; a URL takes one value: use {name.removesuffix(ALL)}"
        known = ", ".join(dict.fromkeys((CUSTOMER_ID, TENANT_ID, *self._types)))
        return f"names {name}; known are {known}. Add another type of identifier to `identifiers`"


@dataclass(frozen=True)
class Question:
    """Who is asked about, and by which names."""

    names: tuple[str, ...]
    tenants: frozenset[str] | None
    """The tenants whose customers are asked about; None: all."""

    def values(self, asker: Asker) -> dict[str, str] | None:
        """Return the values of the names; None: there is nothing to ask, since the customer lacks one of them."""
        if self.tenants is not None and asker.tenant_id not in self.tenants:
            return None
        values = {name: self._value(name, asker) for name in self.names}
        present = {name: value for name, value in values.items() if value is not None}
        return present if len(present) == len(values) else None

    @staticmethod
    def _value(name: str, asker: Asker) -> str | None:
        if name == CUSTOMER_ID:
            return asker.customer_id
        if name == TENANT_ID:
            return asker.tenant_id
        own = [identifier.value for identifier in asker.identifiers if identifier.type == name]
        if own:
            return own[0]
        if name.endswith(ALL):
            type_ = name.removesuffix(ALL)
            every = [identifier.value for identifier in asker.identifiers if identifier.type == type_]
            return msgspec.json.encode(every).decode() if every else None
        return None


def tenant_fault(names: Iterable[str], tenants: frozenset[str] | None) -> str | None:
    """Return why a source could show one tenant's customer what is another's, or None.

    Two tenants may call two people by one id.
    """
    if TENANT_ID in set(names) or (tenants is not None and len(tenants) == 1):
        return None
    return "says nothing of the tenant: name tenant_id in it, or one tenant in `tenants`"


def customer_fault(names: Iterable[str]) -> str | None:
    """Return why a source would show every customer the same, or None."""
    if set(names) - {TENANT_ID}:
        return None
    return "says nothing of the customer: name customer_id in it, or a type of identifier"


def fault_of(uses: Iterable[str], tenants: frozenset[str] | None) -> str | None:
    """Return what a source's names leave open, or None."""
    named = tuple(uses)
    return customer_fault(named) or tenant_fault(named, tenants)
