"""Reading from PostgreSQL. One statement a read where it is hot; lists of things go in as arrays."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from portrait.model.document import HEAD, Document, Head, read_head
from portrait.model.fact import Fact
from portrait.model.identifier import CUSTOMER_ID, Identifier
from portrait.storage.contract import Cursor, DocumentRow, FactsAsked, StoredState
from portrait.storage.postgres.access import PostgresAccess
from portrait.storage.postgres.collecting import PostgresCollected
from portrait.storage.postgres.put import columns
from portrait.storage.rows import FACT_COLUMNS, RowPage, fact_of, facts_asked, newest_first, question_rows

_DOCUMENT = "SELECT section, body, hash, valid_until, version FROM documents WHERE tenant = $1 AND customer_id = $2"
_HASH = _DOCUMENT.replace("body", "CASE section WHEN '' THEN body ELSE '' END")
_FACT = f"SELECT {FACT_COLUMNS} FROM facts"
_OF = " WHERE tenant = $1 AND type = $2 AND value = $3 AND section = $4"
EVENTS = (
    f"{_FACT} f{_OF} AND (effective_at, id) < ($5, $6) AND (effective_at, id) > ($7, $8) AND op = 'put'"
    " AND (SELECT id FROM facts d WHERE tenant = $1 AND type = $2 AND value = $3 AND section = $4"
    " AND key >= f.key AND key <= f.key AND op = 'delete' ORDER BY key, effective_at LIMIT 1) IS NULL"
    " ORDER BY effective_at DESC, id DESC LIMIT $9"
)
"""A page of events: puts by the primary key, each looked up among the deletes, until there are enough.

Where nothing may be sorted this has one plan, whatever the planner believes of the tables: the primary key alone gives
the order of the whole, `facts_by_key` alone that of the look-up, which asks for a range of one key for its sake. NOT
EXISTS would be planned as a join with all deletes.
"""


class PostgresReads(PostgresAccess, PostgresCollected):
    """Every read of the contract, over whatever runs a statement."""

    async def documents(self, tenant: str, customer_id: str, sections: Collection[str] | None) -> Sequence[DocumentRow]:
        """See the contract."""
        if sections is None:
            return await self._rows(_DOCUMENT, tenant, customer_id)
        return await self._rows(f"{_DOCUMENT} AND section = ANY($3::text[])", tenant, customer_id, [HEAD, *sections])

    async def hashes(self, tenant: str, customer_id: str, sections: Collection[str] | None) -> Sequence[DocumentRow]:
        """See the contract."""
        if sections is None:
            return await self._rows(_HASH, tenant, customer_id)
        return await self._rows(f"{_HASH} AND section = ANY($3::text[])", tenant, customer_id, [HEAD, *sections])

    async def all_documents(self, tenant: str, customer_ids: Collection[str]) -> dict[str, list[Document]]:
        """See the contract."""
        rows = await self._rows(
            "SELECT customer_id, section, body, hash, valid_until, version FROM documents"
            " WHERE tenant = $1 AND customer_id = ANY($2::text[])",
            tenant,
            list(customer_ids),
        )
        documents: dict[str, list[Document]] = {}
        for customer_id, *document in rows:
            documents.setdefault(customer_id, []).append(Document(*document))
        return documents

    async def resolve(self, tenant: str, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        """See the contract."""
        if len(identifiers) == 1:
            (identifier,) = identifiers
            rows = await self._rows(
                "SELECT type, value, customer_id FROM identifiers WHERE tenant = $1 AND type = $2 AND value = $3",
                tenant, *identifier,
            )  # fmt: skip
        else:
            rows = await self._rows(
                "SELECT i.type, i.value, i.customer_id FROM identifiers i"
                " JOIN unnest($2::text[], $3::text[]) w (type, value) ON i.type = w.type AND i.value = w.value"
                " WHERE i.tenant = $1 AND i.value = ANY($3::text[])",
                tenant, *columns(identifiers, 2),
            )  # fmt: skip
        return {Identifier(type_, value): customer_id for type_, value, customer_id in rows}

    async def members(self, tenant: str, customer_ids: Collection[str]) -> dict[str, list[Identifier]]:
        """See the contract."""
        rows = await self._rows(
            "SELECT customer_id, type, value FROM identifiers WHERE tenant = $1 AND customer_id = ANY($2::text[])"
            " ORDER BY type, value",
            tenant,
            list(customer_ids),
        )
        members: dict[str, list[Identifier]] = {}
        for customer_id, type_, value in rows:
            members.setdefault(customer_id, []).append(Identifier(type_, value))
        return members

    async def states(
        self, tenant: str, wanted: Collection[tuple[Identifier, str]]
    ) -> dict[tuple[Identifier, str], StoredState]:
        """See the contract."""
        rows = await self._rows(
            "SELECT s.type, s.value, s.section, s.body, s.version FROM states s"
            " JOIN unnest($2::text[], $3::text[], $4::text[]) w (type, value, section)"
            " ON s.type = w.type AND s.value = w.value AND s.section = w.section"
            " WHERE s.tenant = $1 AND s.value = ANY($3::text[])",
            tenant,
            *columns([(*identifier, section) for identifier, section in wanted], 3),
        )
        return {
            (Identifier(type_, value), section): StoredState(body, version)
            for type_, value, section, body, version in rows
        }

    async def customers(self, tenant: str, after: str | None, limit: int) -> list[tuple[str, Head]]:
        """See the contract."""
        rows = await self._rows(
            "SELECT value FROM identifiers WHERE tenant = $1 AND type = $2 AND value > $3 AND customer_id = value"
            " ORDER BY value LIMIT $4",
            tenant, CUSTOMER_ID, after or "", limit,
        )  # fmt: skip
        heads = await self._rows(
            "SELECT customer_id, body FROM documents WHERE tenant = $1 AND section = $2"
            " AND customer_id = ANY($3::text[]) ORDER BY customer_id",
            tenant, HEAD, [row[0] for row in rows],
        )  # fmt: skip
        return [(customer_id, read_head(body)) for customer_id, body in heads]

    async def events(
        self, tenant: str, identifiers: Collection[Identifier], section: str, before: Cursor | None, limit: int
    ) -> list[Fact]:
        """See the contract."""
        page = RowPage(before, limit)
        async with self._in_order():
            for identifier in identifiers:
                rows = await self._rows(EVENTS, tenant, *identifier, section, *page.below, *page.above, limit)
                page.add(map(fact_of, rows))
        return page.facts

    @asynccontextmanager
    async def _in_order(self) -> AsyncIterator[None]:
        """Have statements go by the order of an index, in a transaction: none is planned that sorts."""
        await self._rows("SET LOCAL enable_sort = off")
        yield
        await self._rows("SET LOCAL enable_sort TO DEFAULT")

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
        below = " AND (effective_at, id) < ($7, $8)" if before else ""
        sql = f"{_FACT}{_OF} AND key = $5{below} ORDER BY effective_at DESC, id DESC LIMIT $6"
        facts = [
            fact_of(row)
            for identifier in identifiers
            for row in await self._rows(sql, tenant, *identifier, section, key, limit, *(before or ()))
        ]
        return facts if len(identifiers) == 1 else newest_first(facts)[:limit]

    async def known(self, tenant: str, wanted: Collection[FactsAsked]) -> dict[FactsAsked, list[Fact]]:
        """See the contract."""
        if not wanted:
            return {}
        asked = list(wanted)
        rows = await self._rows(
            "SELECT w.ordinal, f.type, f.value, f.section, f.key, f.op, f.body, f.effective_at, f.recorded_at,"
            " f.source, f.id, f.version"
            " FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])"
            " WITH ORDINALITY w (type, value, section, key, moment, ordinal)"
            " JOIN facts f ON f.tenant = $1 AND f.type = w.type AND f.value = w.value AND f.section = w.section"
            " AND f.key = w.key AND f.value = ANY($3::text[]) AND (w.moment IS NULL OR f.effective_at = w.moment)",
            tenant,
            *columns(question_rows(asked), 5),
        )
        return facts_asked(asked, rows)

    async def facts(self, tenant: str, identifiers: Collection[Identifier]) -> list[Fact]:
        """See the contract."""
        rows = await self._rows(
            "SELECT f.type, f.value, f.section, f.key, f.op, f.body, f.effective_at, f.recorded_at, f.source, f.id,"
            " f.version FROM unnest($2::text[], $3::text[]) w (type, value)"
            " JOIN facts f ON f.tenant = $1 AND f.type = w.type AND f.value = w.value AND f.value = ANY($3::text[])"
            " ORDER BY f.type, f.value, f.section, f.op = 'put', f.effective_at, f.id",
            tenant, *columns(identifiers, 2),
        )  # fmt: skip
        return [fact_of(row) for row in rows]

    async def fact_identifiers(self, tenant: str, after: Identifier | None, limit: int) -> list[Identifier]:
        """See the contract."""
        rows = await self._rows(
            "SELECT DISTINCT type, value FROM facts WHERE tenant = $1 AND (type, value) > ($2, $3)"
            " ORDER BY type, value LIMIT $4",
            tenant, *(after or ("", "")), limit,
        )  # fmt: skip
        return [Identifier(*row) for row in rows]

    async def with_facts(self, tenant: str, identifiers: Collection[Identifier]) -> set[Identifier]:
        """See the contract."""
        rows = await self._rows(
            "SELECT DISTINCT f.type, f.value FROM unnest($2::text[], $3::text[]) w (type, value)"
            " JOIN facts f ON f.tenant = $1 AND f.type = w.type AND f.value = w.value AND f.value = ANY($3::text[])",
            tenant, *columns(identifiers, 2),
        )  # fmt: skip
        return {Identifier(*row) for row in rows}

    async def derived_customers(self, tenant: str, after: str | None, limit: int) -> list[str]:
        """See the contract."""
        rows = await self._rows(
            "(SELECT DISTINCT customer_id FROM documents WHERE tenant = $1 AND customer_id > $2 ORDER BY 1 LIMIT $3)"
            " UNION"
            " (SELECT DISTINCT customer_id FROM identifiers WHERE tenant = $1 AND customer_id > $2 ORDER BY 1 LIMIT $3)"
            " ORDER BY 1 LIMIT $3",
            tenant, after or "", limit,
        )  # fmt: skip
        return [row[0] for row in rows]

    async def derived_identifiers(self, tenant: str, after: Identifier | None, limit: int) -> list[Identifier]:
        """See the contract."""
        each = (
            "(SELECT DISTINCT type, value FROM {} WHERE tenant = $1 AND (type, value) > ($2, $3)"
            " ORDER BY type, value LIMIT $4)"
        )
        rows = await self._rows(
            f"{each.format('identifiers')} UNION {each.format('states')} ORDER BY 1, 2 LIMIT $4",
            tenant, *(after or ("", "")), limit,
        )  # fmt: skip
        return [Identifier(*row) for row in rows]

    async def states_of(
        self, tenant: str, identifiers: Collection[Identifier]
    ) -> dict[tuple[Identifier, str], StoredState]:
        """See the contract."""
        rows = await self._rows(
            "SELECT s.type, s.value, s.section, s.body, s.version FROM unnest($2::text[], $3::text[]) w (type, value)"
            " JOIN states s ON s.tenant = $1 AND s.type = w.type AND s.value = w.value AND s.value = ANY($3::text[])",
            tenant, *columns(identifiers, 2),
        )  # fmt: skip
        return {(Identifier(type_, value), section): StoredState(*state) for type_, value, section, *state in rows}

    async def due(self, sections: Collection[str], now: int, limit: int) -> list[tuple[str, str, str]]:
        """See the contract."""
        rows = await self._rows(
            "SELECT tenant, customer_id, section FROM documents WHERE valid_until IS NOT NULL AND valid_until <= $1"
            " AND section = ANY($2::text[]) ORDER BY valid_until LIMIT $3",
            now, list(sections), limit,
        )  # fmt: skip
        return [tuple(row) for row in rows]
