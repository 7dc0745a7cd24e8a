"""What a check or a rebuild found."""

from collections import Counter
from enum import StrEnum
from typing import Literal, NamedTuple, Self

import msgspec

from portrait.storage.migrations import Revision


class Difference(NamedTuple):
    """A stored row that differs from what the facts lead to."""

    tenant: str
    kind: Literal["document", "state", "identifier", "head", "link"]
    section: str
    reason: Literal["missing", "different", "unfounded"]


class Unregistered(msgspec.Struct):
    """What is stored of a section that is not registered: kept, not checked, and left out of what is rendered."""

    facts: int = 0
    documents: int = 0


class When(StrEnum):
    """From when on a customer is otherwise."""

    READ = "read"
    """From the first read on: by this version's code for a section."""
    REBUILD = "rebuild"
    """Once what is derived is made anew from the facts."""
    DECISION = "decision"
    """Once an identity record, or an action, concerns the customer's profile."""


class CustomerChange(NamedTuple):
    """What is otherwise of one customer id."""

    sections: tuple[str, ...] = ()
    """The sections that show something else, in order."""
    gained: tuple[str, ...] = ()
    """The types of the identifiers that the customer gains, in order."""
    lost: tuple[str, ...] = ()
    """The types of those that it loses."""
    is_regrouped: bool = False
    """Whether another customer id answers than before, or none; nothing else is told then."""
    owner: str | None = None
    """Which does then."""


class Outlook(msgspec.Struct):
    """What this version makes of a database, beside what stays."""

    revision: str
    """That of the database's schema."""
    pending: list[Revision] = []
    """The revisions that lead from there to this version's."""
    changes: dict[str, dict[When, dict[str, CustomerChange]]] = {}
    """By tenant and customer id; a customer that a rebuild changes already is under no decision."""

    def note(self, tenant: str, when: When, customer_id: str, change: CustomerChange) -> None:
        """Take a change in."""
        by_when = self.changes.setdefault(tenant, {each: {} for each in When})
        if when is When.REBUILD:
            by_when[When.DECISION].pop(customer_id, None)
        if when is not When.DECISION or customer_id not in by_when[When.REBUILD]:
            by_when[when][customer_id] = change


class Report(msgspec.Struct):
    """What a check or a rebuild found."""

    customers: int = 0
    facts: int = 0
    differences: list[Difference] = []
    unregistered: dict[str, Unregistered] = {}
    """By section: what could not be checked, since no section of that name is registered."""
    failed: Counter[str] = msgspec.field(default_factory=Counter)
    """By section: of how many customers it could not be checked, since the section's own code raised an error."""
    faults: list[str] = []
    """What the database's own check of its files found."""

    def of_unregistered(self, section: str) -> Unregistered:
        """Return what was counted of a section that is not registered, to count on."""
        return self.unregistered.setdefault(section, Unregistered())

    def add(self, other: Self) -> None:
        """Add the report of a part of the same walk."""
        self.customers += other.customers
        self.facts += other.facts
        self.differences += other.differences
        self.failed += other.failed
        for section, counted in other.unregistered.items():
            counts = self.of_unregistered(section)
            counts.facts += counted.facts
            counts.documents += counted.documents
