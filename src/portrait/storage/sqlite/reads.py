"""Reading from SQLite. Statements are short and indexed: tens of microseconds, so they run where they are called."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import apsw
import msgspec

from portrait.model.document import HEAD, Document, Head, read_head
from portrait.model.fact import Fact
from portrait.model.identifier import CUSTOMER_ID, Identifier
from portrait.storage.contract import Credential, Cursor, DocumentRow, FactsAsked, StoredState, TenantRow
from portrait.storage.rows import FACT_COLUMNS, RowPage, fact_of, newest_first
from portrait.storage.sqlite.connection import translated

_DOCUMENT = "SELECT section, body, hash, valid_until, version FROM documents WHERE tenant = ? AND customer_id = ?"
_HASH = _DOCUMENT.replace("body", "CASE section WHEN '' THEN body ELSE x'' END")
_TENANT = "SELECT id, name, created_at, key_secret, identity_rules FROM tenants"
_FACT = f"SELECT {FACT_COLUMNS} FROM facts"
_OF = " WHERE tenant = ? AND type = ? AND value = ? AND section = ?"
WANTED = "(SELECT value AS w FROM json_each(?)) CROSS JOIN"
"""Joins the elements of an `array`, each as `w`, with a table, in this order: a seek for each element."""
_CREDENTIAL = (
    "SELECT id, tenant, role, name, secret_hash, last_four, created_at, expires_at, revoked_at, minted_by,"
    " last_used_at FROM credentials"
)


def array(values: Iterable[object]) -> str:
    """Return values as one JSON array, for `json_each`: one statement for all takes a third of the time."""
    return msgspec.json.encode(list(values)).decode()


def placeholders(values: Collection[object]) -> str:
    """Return as many placeholders as there are values."""
    return ",".join("?" * len(values))


class SqliteReads:
    """Every read of the contract, over one connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

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

    async def resolve(self, tenant: str, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        """See the contract."""
        rows = self._rows(
            f"SELECT type, value, customer_id FROM {WANTED} identifiers"
            " ON tenant = ? AND type = w ->> 0 AND value = w ->> 1",
            (array(identifiers), tenant),
        )
        return {Identifier(type_, value): customer_id for type_, value, customer_id in rows}

    async def members(self, tenant: str, customer_ids: Collection[str]) -> dict[str, list[Identifier]]:
        """See the contract."""
        sql = "SELECT type, value FROM identifiers WHERE tenant = ? AND customer_id = ? ORDER BY type, value"
        by_customer = {
            customer_id: [Identifier(*row) for row in self._rows(sql, (tenant, customer_id))]
            for customer_id in customer_ids
        }
        return {customer_id: identifiers for customer_id, identifiers in by_customer.items() if identifiers}

    async def states(
        self, tenant: str, wanted: Collection[tuple[Identifier, str]]
    ) -> dict[tuple[Identifier, str], StoredState]:
        """See the contract."""
        rows = self._rows(
            f"SELECT type, value, section, body, version FROM {WANTED} states"
            " ON tenant = ? AND type = w ->> 0 AND value = w ->> 1 AND section = w ->> 2",
            (array((*identifier, section) for identifier, section in wanted), tenant),
        )
        return {
            (Identifier(type_, value), section): StoredState(body, version)
            for type_, value, section, body, version in rows
        }

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
            f"{_FACT}{_OF} AND (effective_at, id) < (?, ?) AND (effective_at, id) > (?, ?) AND op = 'put'"
            " AND NOT EXISTS (SELECT 1 FROM facts d WHERE d.tenant = facts.tenant AND d.type = facts.type"
            " AND d.value = facts.value AND d.section = facts.section AND d.key = facts.key AND d.op = 'delete')"
            " ORDER BY effective_at DESC, id DESC LIMIT ?"
        )
        page = RowPage(before, limit)
        for identifier in identifiers:
            page.add(map(fact_of, self._rows(sql, (tenant, *identifier, section, *page.below, *page.above, limit))))
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
        sql = f"{_FACT}{_OF} AND key = ?{below} ORDER BY effective_at DESC, id DESC LIMIT ?"
        facts = [
            fact_of(row)
            for identifier in identifiers
            for row in self._rows(sql, (tenant, *identifier, section, key, *(before or ()), limit))
        ]
        return facts if len(identifiers) == 1 else newest_first(facts)[:limit]

    async def known(self, tenant: str, wanted: Collection[FactsAsked]) -> dict[FactsAsked, list[Fact]]:
        """See the contract."""
        facts: dict[FactsAsked, list[Fact]] = {}
        for timed in (False, True):
            asked = [question for question in wanted if (question.moment is not None) is timed]
            if not asked:
                continue
            at = " AND effective_at = w ->> 4" if timed else ""
            rows = self._rows(
                f"SELECT {FACT_COLUMNS} FROM {WANTED} facts"
                f" ON tenant = ? AND type = w ->> 0 AND value = w ->> 1 AND section = w ->> 2 AND key = w ->> 3{at}",
                (array((*question.identifier, *question[1:]) for question in asked), tenant),
            )
            for fact in map(fact_of, rows):
                moment = fact.effective_at if timed else None
                facts.setdefault(FactsAsked(fact.identifier, fact.section, fact.key, moment), []).append(fact)
        return facts

    async def facts(self, tenant: str, identifiers: Collection[Identifier]) -> list[Fact]:
        """See the contract."""
        sql = f"{_FACT} WHERE tenant = ? AND type = ? AND value = ? ORDER BY section, op = 'put', effective_at, id"
        return [fact_of(row) for identifier in identifiers for row in self._rows(sql, (tenant, *identifier))]

    async def tenant(self, tenant: str) -> TenantRow | None:
        """See the contract."""
        rows = self._rows(f"{_TENANT} WHERE id = ?", (tenant,))
        return TenantRow(*rows[0]) if rows else None

    async def tenants(self, after: str | None, limit: int) -> list[TenantRow]:
        """See the contract."""
        rows = self._rows(
            f"{_TENANT} WHERE id > ? ORDER BY id LIMIT ?",
            (after or "", limit),
        )
        return [TenantRow(*row) for row in rows]

    async def credential(self, credential_id: str) -> Credential | None:
        """See the contract."""
        rows = self._rows(f"{_CREDENTIAL} WHERE id = ?", (credential_id,))
        return Credential(*rows[0]) if rows else None

    async def credentials(self, tenant: str | None, after: str | None, limit: int) -> list[Credential]:
        """See the contract."""
        rows = self._rows(
            f"{_CREDENTIAL} WHERE tenant IS ? AND id > ? ORDER BY id LIMIT ?", (tenant, after or "", limit)
        )
        return [Credential(*row) for row in rows]

    async def descendants(
        self, tenant: str | None, credential_id: str, after: str | None, limit: int
    ) -> list[Credential]:
        """See the contract."""
        rows = self._rows(
            "WITH RECURSIVE line (id) AS (SELECT id FROM credentials WHERE minted_by = ?1"
            " AND (?2 IS NULL OR tenant = ?2) UNION SELECT c.id FROM credentials c JOIN line ON c.minted_by = line.id"
            f" WHERE ?2 IS NULL OR c.tenant = ?2) {_CREDENTIAL} WHERE id IN (SELECT id FROM line) AND id > ?3"
            " ORDER BY id LIMIT ?4",
            (credential_id, tenant, after or "", limit),
        )
        return [Credential(*row) for row in rows]

    async def fact_identifiers(self, tenant: str, after: Identifier | None, limit: int) -> list[Identifier]:
        """See the contract."""
        # One seek an identifier, whatever the number of its facts.
        sql = "SELECT type, value FROM facts WHERE tenant = ? AND (type, value) > (?, ?) ORDER BY type, value LIMIT 1"
        identifiers: list[Identifier] = []
        last = after or Identifier("", "")
        while len(identifiers) < limit and (rows := self._rows(sql, (tenant, *last))):
            last = Identifier(*rows[0])
            identifiers.append(last)
        return identifiers

    async def with_facts(self, tenant: str, identifiers: Collection[Identifier]) -> set[Identifier]:
        """See the contract."""
        sql = "SELECT 1 FROM facts WHERE tenant = ? AND type = ? AND value = ? LIMIT 1"
        return {identifier for identifier in identifiers if self._rows(sql, (tenant, *identifier))}

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
        values = (tenant, *(after or ("", "")), limit)
        identifiers = {
            Identifier(*row)
            for table in ("identifiers", "states")
            for row in self._rows(
                f"SELECT DISTINCT type, value FROM {table} WHERE tenant = ? AND (type, value) > (?, ?)"
                " ORDER BY type, value LIMIT ?",
                values,
            )
        }
        return sorted(identifiers)[:limit]

    async def states_of(
        self, tenant: str, identifiers: Collection[Identifier]
    ) -> dict[tuple[Identifier, str], StoredState]:
        """See the contract."""
        sql = "SELECT section, body, version FROM states WHERE tenant = ? AND type = ? AND value = ?"
        return {
            (identifier, section): StoredState(body, version)
            for identifier in identifiers
            for section, body, version in self._rows(sql, (tenant, *identifier))
        }

    async def due(self, sections: Collection[str], now: int, limit: int) -> list[tuple[str, str, str]]:
        """See the contract."""
        return self._rows(
            "SELECT tenant, customer_id, section FROM documents WHERE valid_until IS NOT NULL AND valid_until <= ?"
            f" AND section IN ({placeholders(sections)}) ORDER BY valid_until LIMIT ?",
            (now, *sections, limit),
        )
