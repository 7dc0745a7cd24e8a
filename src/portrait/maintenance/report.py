"""What a check or a rebuild found."""

from collections import Counter
from typing import Literal, NamedTuple, Self

import msgspec


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
