"""Rows of facts, alike in every engine."""

from collections.abc import Iterable, Sequence
from typing import Any

from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier

FACT_COLUMNS = "type, value, section, key, op, body, effective_at, recorded_at, source, id, version"
"""The columns of a fact in the order that `fact_of` takes them."""


def fact_of(row: Sequence[Any]) -> Fact:
    """Return the fact that a row of `FACT_COLUMNS` holds."""
    type_, value, section, key, op, body, effective_at, recorded_at, source, id_, version = row
    identifier = Identifier(type_, value)
    return Fact(identifier, section, key, Op(op), body, effective_at, recorded_at, source, id_, version)


def newest_first(facts: Iterable[Fact]) -> list[Fact]:
    """Return facts in the order of (effective_at, id), the newest first."""
    return sorted(facts, key=lambda fact: (fact.effective_at, fact.id), reverse=True)
