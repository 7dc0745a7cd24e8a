"""Rows of facts, alike in every engine."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier
from portrait.storage.contract import Cursor, FactsAsked, RefusedEvent

K = TypeVar("K")
V = TypeVar("V")
FACT_COLUMNS = "type, value, section, key, op, body, effective_at, recorded_at, source, id, version"
"""The columns of a fact in the order that `fact_of` takes them."""

FACT_ROW = (
    "tenant", "type", "value", "section", "effective_at", "id", "key", "op", "body", "recorded_at", "source", "version",
)  # fmt: skip
"""The columns of `fact_rows`."""


def fact_rows(tenant: str, facts: Iterable[Fact]) -> list[tuple[Any, ...]]:
    """Return facts as rows of `FACT_ROW`."""
    return [
        (
            tenant, *fact.identifier, fact.section, fact.effective_at, fact.id, fact.key, fact.op.value, fact.body,
            fact.recorded_at, fact.source, fact.version,
        )
        for fact in facts
    ]  # fmt: skip


REJECT_COLUMNS = "id, source, form, code, detail, received_at, identifiers, body"
"""The columns of `reject_row`, in its order."""


def reject_row(reject: RefusedEvent) -> tuple[Any, ...]:
    """Return a refused event as a row of `REJECT_COLUMNS`."""
    *fields, identifiers, body = reject
    return (*fields, msgspec.json.encode(identifiers).decode(), body)


def reject_of(row: Sequence[Any]) -> RefusedEvent:
    """Return the refused event that a row of `REJECT_COLUMNS` holds."""
    reject = RefusedEvent(*row)
    return reject._replace(identifiers=tuple(Identifier(*each) for each in msgspec.json.decode(row[-2])))


def divided(changes: Mapping[K, V | None]) -> tuple[dict[K, V], list[K]]:
    """Return what is set of a mapping of changes, and what is removed."""
    put = {key: row for key, row in changes.items() if row is not None}
    return put, [key for key, row in changes.items() if row is None] if len(put) < len(changes) else []


def fact_of(row: Sequence[Any]) -> Fact:
    """Return the fact that a row of `FACT_COLUMNS` holds."""
    type_, value, section, key, op, body, effective_at, recorded_at, source, id_, version = row
    identifier = Identifier(type_, value)
    return Fact(identifier, section, key, Op(op), body, effective_at, recorded_at, source, id_, version)


def facts_asked(asked: Sequence[FactsAsked], rows: Iterable[Sequence[Any]]) -> dict[FactsAsked, list[Fact]]:
    """Return facts by what asked for them; a row has the question's number, from 1, before `FACT_COLUMNS`."""
    facts: dict[FactsAsked, list[Fact]] = {}
    for number, *fact in rows:
        facts.setdefault(asked[number - 1], []).append(fact_of(fact))
    return facts


def question_rows(asked: Iterable[FactsAsked]) -> list[tuple[Any, ...]]:
    """Return what asks for facts as rows of type, value, section, key and moment."""
    return [(*question.identifier, question.section, question.key, question.moment) for question in asked]


def newest_first(facts: Iterable[Fact]) -> list[Fact]:
    """Return facts in the order of (effective_at, id), the newest first."""
    return sorted(facts, key=lambda fact: (fact.effective_at, fact.id), reverse=True)


_FIRST = Cursor(-(2**63), b"")
_LAST = Cursor(2**63 - 1, b"\xff" * 17)
"""Cursors below and above every fact: ids have 16 bytes."""


class RowPage:
    """One page of facts, the newest first, gathered from one identifier after another.

    Args:
        below: the cursor that all facts lie below; None: any fact may be on the page.
        limit: how many facts the page has at most.
    """

    def __init__(self, below: Cursor | None, limit: int) -> None:
        self.below = below or _LAST
        self.above = _FIRST
        """The cursor that further facts must lie above: once the page is full, its end."""
        self.facts: list[Fact] = []
        self._limit = limit

    def add(self, facts: Iterable[Fact]) -> None:
        """Take in what an identifier has between `above` and `below`, as far as it belongs on the page."""
        self.facts = newest_first([*self.facts, *facts])[: self._limit]
        if len(self.facts) == self._limit and self.facts:
            self.above = Cursor(self.facts[-1].effective_at, self.facts[-1].id)
