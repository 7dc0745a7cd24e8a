"""Writing to a PostgreSQL that stands alone: few statements a transaction, each with a plan that is kept.

What is set goes as one statement. The head of a customer is locked by the statement that looks its id up.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import asyncpg

from portrait.model.document import HEAD, Head, known_head
from portrait.model.fact import Fact
from portrait.model.identifier import CUSTOMER_ID, Identifier
from portrait.storage.contract import Changes, FactsAsked, StoredState
from portrait.storage.postgres import put
from portrait.storage.postgres.put import columns
from portrait.storage.postgres.transaction import COPY_FROM, CUSTOM_PLANS, PostgresTransaction
from portrait.storage.rows import FACT_COLUMNS, facts_asked, question_rows

# Behind OFFSET 0 stands a query of its own, which can be planned in one way only: for each that is asked, by the
# primary key or another index that begins with all that is compared. So a plan may be kept, whatever is in the tables,
# if it is not made to go through a table that is one page long today.
LOOK = (
    "SELECT w.id, i.customer_id, d.body FROM unnest($2::text[]) w (id)"
    " LEFT JOIN LATERAL (SELECT customer_id FROM identifiers"
    f" WHERE tenant = $1 AND type = '{CUSTOMER_ID}' AND value = w.id OFFSET 0) i ON true"
    " LEFT JOIN LATERAL (SELECT body FROM documents"
    f" WHERE tenant = $1 AND customer_id = w.id AND section = '{HEAD}'"
    " AND ($3 OR i.customer_id IS NULL OR i.customer_id = w.id) OFFSET 0 FOR UPDATE) d ON true"
)
"""Looks customer ids up and locks their heads, one after another: all heads, or those of customers not merged away."""
LOOK_AT_ONCE = LOOK.replace("FOR UPDATE", "FOR UPDATE NOWAIT")
"""The same, but waits for no lock."""
OWNERS = (
    "SELECT w.type, w.value, i.customer_id FROM unnest($2::text[], $3::text[]) w (type, value)"
    " CROSS JOIN LATERAL (SELECT customer_id FROM identifiers"
    " WHERE tenant = $1 AND type = w.type AND value = w.value OFFSET 0) i"
)
"""Looks any identifiers up."""
STATES = (
    "SELECT w.ordinal, s.body, s.version"
    " FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY w (type, value, section, ordinal)"
    " CROSS JOIN LATERAL (SELECT body, version FROM states"
    " WHERE tenant = $1 AND type = w.type AND value = w.value AND section = w.section OFFSET 0) s"
)
KNOWN = (
    "SELECT w.ordinal, f.* FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])"
    " WITH ORDINALITY w (type, value, section, key, moment, ordinal)"
    f" CROSS JOIN LATERAL (SELECT {FACT_COLUMNS} FROM facts"
    " WHERE tenant = $1 AND type = w.type AND value = w.value AND section = w.section AND key = w.key"
    " AND (w.moment IS NULL OR effective_at = w.moment) OFFSET 0) f"
)


class GatheredTransaction(PostgresTransaction):
    """A transaction that puts what it writes all at once."""

    PLANS: ClassVar = "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off"

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        super().__init__(connection)
        self._looked: dict[str, dict[str, bytes | None]] = {}
        """Of each tenant the heads that a look-up has locked and `lock` has not returned yet; None: no head."""
        self._absent: defaultdict[str, set[str]] = defaultdict(set)
        """Of each tenant the customers without a head before the first lock: whoever makes it may be waited for."""
        self._keeps_plans = True

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        """Run a statement whose plan depends on its values."""
        if self._keeps_plans:
            await self._connection.execute(CUSTOM_PLANS)
            self._keeps_plans = False
        return await super()._rows(sql, *values)

    async def _kept(self, sql: str, *values: Any) -> list[Any]:
        """Run a statement that has one plan whatever its values."""
        return await super()._rows(sql, *values)

    async def resolve_for_update(self, tenant: str, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        """See the contract.

        Customers that are asked for by their ids are locked. A merged customer is not: a write wants the customer that
        it went into.
        """
        if any(type_ != CUSTOMER_ID for type_, _ in identifiers):
            rows = await self._kept(OWNERS, tenant, *columns(identifiers, 2))
            return {Identifier(type_, value): owner for type_, value, owner in rows}
        rows = await self._look(tenant, [value for _, value in identifiers], merged=False)
        return {Identifier(CUSTOMER_ID, value): owner for value, owner, _ in rows if owner is not None}

    async def lock(self, tenant: str, customer_ids: Sequence[str]) -> dict[str, Head | None]:
        """See the contract.

        A row must be there to be locked: unknown customers get an empty head, which `settle` takes back if nobody
        filled it.
        """
        looked = self._looked.pop(tenant, {})
        if unseen := [customer_id for customer_id in customer_ids if customer_id not in looked]:
            await self._look(tenant, unseen)
            looked |= self._looked.pop(tenant)
        heads = {customer_id: looked[customer_id] for customer_id in customer_ids}
        if missing := sorted(customer_id for customer_id, body in heads.items() if body is None):
            # To make a row is to wait for whoever makes it too, and there is no INSERT that does not.
            if self._is_late(tenant) and set(missing) - self._absent[tenant] - self.held[tenant]:
                raise self._out_of_turn(tenant, customer_ids)
            new = [(tenant, customer_id, HEAD, b"", b"", None, 0) for customer_id in missing]
            made = {row[1]: b"" for row in await self._kept(put.PLACEHOLDERS.many, *columns(new, len(new[0])))}
            self._placeholders.setdefault(tenant, set()).update(made)
            self._absent[tenant].clear()
            self.held[tenant].update(made)
            heads |= made
            # A row that another writer makes or takes back meanwhile is in neither answer.
            if others := [customer_id for customer_id in missing if customer_id not in made]:
                await self._look(tenant, others)
                heads |= self._looked.pop(tenant)
                if None in heads.values():
                    raise self._out_of_turn(tenant, customer_ids)
        return {customer_id: known_head(body or b"") for customer_id, body in heads.items()}

    async def _look(self, tenant: str, customer_ids: Collection[str], *, merged: bool = True) -> list[Any]:
        """Look customers up, and lock the heads of those that have one; heads of merged customers only with `merged`.

        Raises:
            OutOfTurn: other customers are locked already, and another transaction has locked one of these.
        """
        late = self._is_late(tenant)
        try:
            rows = await self._kept(LOOK_AT_ONCE if late else LOOK, tenant, sorted(customer_ids), merged)
        except asyncpg.LockNotAvailableError:
            if not late:
                raise
            raise self._out_of_turn(tenant, customer_ids) from None
        looked = {customer_id: body for customer_id, owner, body in rows if merged or owner in {None, customer_id}}
        self._looked.setdefault(tenant, {}).update(looked)
        absent = {customer_id for customer_id, body in looked.items() if body is None}
        self.held[tenant].update(looked.keys() - absent)
        if not late:
            self._absent[tenant] |= absent
        return rows

    async def states(
        self, tenant: str, wanted: Collection[tuple[Identifier, str]]
    ) -> dict[tuple[Identifier, str], StoredState]:
        """See the contract."""
        asked = list(wanted)
        rows = await self._kept(STATES, tenant, *columns([(*identifier, section) for identifier, section in asked], 3))
        return {asked[ordinal - 1]: StoredState(body, version) for ordinal, body, version in rows}

    async def known(self, tenant: str, wanted: Collection[FactsAsked]) -> dict[FactsAsked, list[Fact]]:
        """See the contract."""
        asked = list(wanted)
        rows = await self._kept(
            KNOWN,
            tenant,
            *columns(question_rows(asked), 5),
        )
        return facts_asked(asked, rows)

    async def _own(self, tenant: str, owners: Mapping[Identifier, str]) -> None:
        """Lock nothing: what was made here is seen all at once."""

    async def claim(self, tenant: str, owners: Mapping[Identifier, str]) -> set[Identifier]:
        """See the contract."""
        if not owners:
            return set()
        rows = [(tenant, *identifier, owner) for identifier, owner in sorted(owners.items())]
        return self._claimed(tenant, await self._kept(put.CLAIMS.many, *columns(rows, len(rows[0]))))

    async def apply(self, tenant: str, changes: Changes) -> None:
        """See the contract."""
        self._looked.clear()
        await super().apply(tenant, changes)

    async def _put_all(self, facts: list[tuple[Any, ...]], others: Mapping[put.Put, list[tuple[Any, ...]]]) -> None:
        rows = {put.FACTS: facts, **others}
        if len(facts) >= COPY_FROM:
            await self._connection.copy_records_to_table("facts", records=facts, columns=put.FACTS.names)
            del rows[put.FACTS]
        if puts := tuple(into for into, some in rows.items() if some):
            values = [column for into in puts for column in columns(rows[into], len(into.names))]
            await self._kept(put.together(puts), *values)
