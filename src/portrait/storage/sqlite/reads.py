"""Reading from SQLite. Statements are short and indexed: tens of microseconds, so they run where they are called."""

from collections.abc import Collection, Sequence
from typing import Any

import apsw

from portrait.model.document import HEAD, Document, Head, read_head
from portrait.model.fact import Fact, Op
from portrait.model.identifier import CUSTOMER_ID, Identifier
from portrait.storage.contract import Cursor, DocumentRow, FactsAsked, StoredState
from portrait.storage.rows import RowPage, newest_first
from portrait.storage.sqlite.access import SqliteAccess
from portrait.storage.sqlite.collecting import SqliteCollected
from portrait.storage.sqlite.connection import translated
from portrait.storage.sqlite.numbers import WANTED, Numbers, array

_DOCUMENT = "SELECT section, body, hash, valid_until, version FROM documents WHERE tenant = ? AND customer_id = ?"
_HASH = _DOCUMENT.replace("body", "CASE section WHEN '' THEN body ELSE x'' END")
FACT_COLUMNS = "section, key, is_end, effective_at, recorded_at, source, id, version, body"
_FACT = f"SELECT {FACT_COLUMNS} FROM facts WHERE identifier = ?"
# The primary key holds whole rows: SQLite would rather pass over all of a section's than look a key up in the index.
_OF_A_KEY = f"SELECT {FACT_COLUMNS} FROM facts INDEXED BY facts_by_key WHERE identifier = ? AND section = ? AND key = ?"


def placeholders(values: Collection[object]) -> str:
    """Return as many placeholders as there are values."""
    return ",".join("?" * len(values))


class SqliteReads(SqliteAccess, SqliteCollected):
    """Every read of the contract, over one connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._numbers = Numbers(self._rows)

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except apsw.Error as error:
            raise translated(error) from error

    async def documents(self, tenant: str, customer_id: str, sections: Collection[str] | None) -> Sequence[DocumentRow]:
        """See the contract."""
        if sections is None:
            return self._rows(_DOCUMENT, (tenant, customer_id))
        wanted = (HEAD, *sections)
        return self._rows(f"{_DOCUMENT} AND section IN ({placeholders(wanted)})", (tenant, customer_id, *wanted))

    async def hashes(self, tenant: str, customer_id: str, sections: Collection[str] | None) -> Sequence[DocumentRow]:
        """See the contract."""
        if sections is None:
            return self._rows(_HASH, (tenant, customer_id))
        wanted = (HEAD, *sections)
        return self._rows(f"{_HASH} AND section IN ({placeholders(wanted)})", (tenant, customer_id, *wanted))

    async def all_documents(self, tenant: str, customer_ids: Collection[str]) -> dict[str, list[Document]]:
        """See the contract."""
        by_customer = {
            customer_id: [Document(*row) for row in self._rows(_DOCUMENT, (tenant, customer_id))]
            for customer_id in customer_ids
        }
        return {customer_id: documents for customer_id, documents in by_customer.items() if documents}

    def _fact(self, identifier: Identifier, row: Sequence[Any]) -> Fact:
        """Return the fact that a row of `FACT_COLUMNS` holds."""
        section, key, is_end, effective_at, recorded_at, source, id_, version, body = row
        named = self._numbers.named
        return Fact(
            identifier, named(section), key, Op.DELETE if is_end else Op.PUT, body, effective_at, recorded_at,
            None if source is None else named(source), id_, version,
        )  # fmt: skip

    async def resolve(self, tenant: str, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        """See the contract."""
        registered = self._numbers.registered(tenant, identifiers)
        return {identifier: owner for identifier, _, owner in registered if owner is not None}

    async def members(self, tenant: str, customer_ids: Collection[str]) -> dict[str, list[Identifier]]:
        """See the contract."""
        # SQLite would rather go over all of a tenant's in order than sort the few of a customer.
        sql = (
            "SELECT type, value FROM identifiers INDEXED BY identifiers_by_customer"
            " WHERE tenant = ? AND customer_id = ? ORDER BY type, value"
        )
        by_customer = {
            customer_id: [Identifier(*row) for row in self._rows(sql, (tenant, customer_id))]
            for customer_id in customer_ids
        }
        return {customer_id: identifiers for customer_id, identifiers in by_customer.items() if identifiers}

    async def states(
        self, tenant: str, wanted: Collection[tuple[Identifier, str]]
    ) -> dict[tuple[Identifier, str], StoredState]:
        """See the contract."""
        numbers = self._numbers.identifiers(tenant, {identifier for identifier, _ in wanted})
        sections = self._numbers.names({section for _, section in wanted})
        keys = {
            (numbers[identifier], sections[section]): (identifier, section)
            for identifier, section in wanted
            if identifier in numbers and section in sections
        }
        rows = self._rows(
            f"SELECT identifier, section, body, version FROM {WANTED} states"
            " ON identifier = w ->> 0 AND section = w ->> 1",
            (array(keys),),
        )
        return {keys[number, section]: StoredState(body, version) for number, section, body, version in rows}

    async def customers(self, tenant: str, after: str | None, limit: int) -> list[tuple[str, Head]]:
        """See the contract."""
        rows = self._rows(
            "SELECT i.value, d.body FROM identifiers i JOIN documents d"
            " ON d.tenant = i.tenant AND d.customer_id = i.customer_id AND d.section = ?"
            " WHERE i.tenant = ? AND i.type = ? AND i.value > ? AND i.customer_id = i.value"
            " ORDER BY i.value LIMIT ?",
            (HEAD, tenant, CUSTOMER_ID, after or "", limit),
        )
        return [(customer_id, read_head(body)) for customer_id, body in rows]

    async def events(
        self, tenant: str, identifiers: Collection[Identifier], section: str, before: Cursor | None, limit: int
    ) -> list[Fact]:
        """See the contract."""
        # Puts come by the primary key, each looked up among the deletes, until there are enough.
        sql = (
            f"{_FACT} AND section = ? AND (effective_at, id) < (?, ?) AND (effective_at, id) > (?, ?) AND NOT is_end"
            " AND NOT EXISTS (SELECT 1 FROM facts d INDEXED BY facts_by_key WHERE d.identifier = facts.identifier"
            " AND d.section = facts.section AND d.key = facts.key AND d.is_end)"
            " ORDER BY effective_at DESC, id DESC LIMIT ?"
        )
        page = RowPage(before, limit)
        name = self._numbers.name(section)
        for identifier, number in self._numbers.identifiers(tenant, identifiers).items():
            rows = self._rows(sql, (number, name, *page.below, *page.above, limit))
            page.add(self._fact(identifier, row) for row in rows)
        return page.facts

    async def history(
        self,
        tenant: str,
        identifiers: Collection[Identifier],
        section: str,
        key: str,
        before: Cursor | None,
        limit: int,
    ) -> list[Fact]:
        """See the contract."""
        below = " AND (effective_at, id) < (?, ?)" if before else ""
        sql = f"{_OF_A_KEY}{below} ORDER BY effective_at DESC, id DESC LIMIT ?"
        name = self._numbers.name(section)
        facts = [
            self._fact(identifier, row)
            for identifier, number in self._numbers.identifiers(tenant, identifiers).items()
            for row in self._rows(sql, (number, name, key, *(before or ()), limit))
        ]
        return facts if len(identifiers) == 1 else newest_first(facts)[:limit]

    async def known(self, tenant: str, wanted: Collection[FactsAsked]) -> dict[FactsAsked, list[Fact]]:
        """See the contract."""
        numbers = self._numbers.identifiers(tenant, {question.identifier for question in wanted})
        sections = self._numbers.names({question.section for question in wanted})
        questions = [question for question in wanted if question.identifier in numbers and question.section in sections]
        facts: dict[FactsAsked, list[Fact]] = {}
        for at, is_timed in (("", False), (" AND effective_at = w ->> 4", True)):
            asked = [
                (index, numbers[question.identifier], sections[question.section], question.key, question.moment)
                for index, question in enumerate(questions)
                if (question.moment is not None) is is_timed
            ]
            rows = asked and self._rows(
                f"SELECT w ->> 0, {FACT_COLUMNS} FROM {WANTED} facts INDEXED BY facts_by_key"
                f" ON identifier = w ->> 1 AND section = w ->> 2 AND key = w ->> 3{at}",
                (array(asked),),
            )
            for index, *row in rows:
                question = questions[index]
                facts.setdefault(question, []).append(self._fact(question.identifier, row))
        return facts

    async def facts(self, tenant: str, identifiers: Collection[Identifier]) -> list[Fact]:
        """See the contract."""
        sql = f"{_FACT} ORDER BY section, NOT is_end, effective_at, id"
        numbers = self._numbers.identifiers(tenant, identifiers)
        return [
            self._fact(identifier, row) for identifier, number in numbers.items() for row in self._rows(sql, (number,))
        ]

    async def fact_identifiers(self, tenant: str, after: Identifier | None, limit: int) -> list[Identifier]:
        """See the contract."""
        rows = self._rows(
            "SELECT type, value FROM identifiers WHERE tenant = ? AND (type, value) > (?, ?)"
            " AND EXISTS (SELECT 1 FROM facts WHERE identifier = number) ORDER BY type, value LIMIT ?",
            (tenant, *(after or ("", "")), limit),
        )
        return [Identifier(*row) for row in rows]

    async def with_facts(self, tenant: str, identifiers: Collection[Identifier]) -> set[Identifier]:
        """See the contract."""
        sql = "SELECT 1 FROM facts WHERE identifier = ? LIMIT 1"
        numbers = self._numbers.identifiers(tenant, identifiers)
        return {identifier for identifier, number in numbers.items() if self._rows(sql, (number,))}

    async def derived_customers(self, tenant: str, after: str | None, limit: int) -> list[str]:
        """See the contract."""
        values = (tenant, after or "", limit)
        documented = self._rows(
            "SELECT DISTINCT customer_id FROM documents WHERE tenant = ? AND customer_id > ? ORDER BY 1 LIMIT ?",
            values,
        )
        registered = self._rows(
            "SELECT DISTINCT customer_id FROM identifiers WHERE tenant = ? AND customer_id > ? ORDER BY 1 LIMIT ?",
            values,
        )
        return sorted({row[0] for row in (*documented, *registered)})[:limit]

    async def derived_identifiers(self, tenant: str, after: Identifier | None, limit: int) -> list[Identifier]:
        """See the contract."""
        rows = self._rows(
            "SELECT type, value FROM identifiers WHERE tenant = ? AND (type, value) > (?, ?) AND"
            " (customer_id IS NOT NULL OR EXISTS (SELECT 1 FROM states WHERE identifier = number))"
            " ORDER BY type, value LIMIT ?",
            (tenant, *(after or ("", "")), limit),
        )
        return [Identifier(*row) for row in rows]

    async def states_of(
        self, tenant: str, identifiers: Collection[Identifier]
    ) -> dict[tuple[Identifier, str], StoredState]:
        """See the contract."""
        sql = "SELECT section, body, version FROM states WHERE identifier = ?"
        return {
            (identifier, self._numbers.named(section)): StoredState(body, version)
            for identifier, number in self._numbers.identifiers(tenant, identifiers).items()
            for section, body, version in self._rows(sql, (number,))
        }

    async def due(self, sections: Collection[str], now: int, limit: int) -> list[tuple[str, str, str]]:
        """See the contract."""
        return self._rows(
            "SELECT tenant, customer_id, section FROM documents WHERE valid_until IS NOT NULL AND valid_until <= ?"
            f" AND section IN ({placeholders(sections)}) ORDER BY valid_until LIMIT ?",
            (now, *sections, limit),
        )
