"""Writing to PostgreSQL, inside one transaction at READ COMMITTED, under locks on the customers.

A transaction waits for customers only before it holds any lock, and takes them in one order. It does not wait for a
customer that it needs later: if another transaction holds that lock, all locks are given back and the work begins again
with all customers at once. So no two transactions wait for each other.

Statement after statement, as Citus takes them; `gathered.py` sends fewer to a server that stands alone.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import asyncpg

from portrait.model.document import HEAD, Document, Head, known_head
from portrait.model.identifier import Identifier
from portrait.storage.contract import Changes, Credential, DocumentRow, TenantRow
from portrait.storage.postgres import citus, put
from portrait.storage.postgres.collecting import PostgresCollecting
from portrait.storage.postgres.connection import OutOfTurn
from portrait.storage.postgres.put import columns
from portrait.storage.postgres.reads import PostgresReads
from portrait.storage.rows import divided, fact_rows

CUSTOM_PLANS = "SET LOCAL plan_cache_mode = force_custom_plan"
"""A plan kept for arrays of any length is made for short ones, and on a table without statistics scans the tenant."""
COPY_FROM = 32
"""From so many facts on, COPY is faster than an INSERT."""
_RULES = 0x506F7277
"""The advisory lock on a tenant's rules, the first number of two: the second is the tenant's."""
_MINTING = 0x506F7276
"""The advisory lock that whoever mints shares, and whoever revokes has alone. All tenants share
it: both are rare and short."""


class PostgresTransaction(PostgresCollecting, PostgresReads):
    """Every read and write of the contract, over the transaction's connection."""

    PLANS: ClassVar = CUSTOM_PLANS
    """How its statements are planned: what a transaction begins with."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._placeholders: dict[str, set[str]] = {}
        self.held: defaultdict[str, set[str]] = defaultdict(set)
        """Of each tenant the customers that are locked."""
        self._claims: set[str] = set()
        """The tenants in which identifiers were claimed."""

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        return await self._connection.fetch(sql, *values)

    async def documents(self, tenant: str, customer_id: str, sections: Collection[str] | None) -> Sequence[DocumentRow]:
        """See the contract."""
        return self._seen(tenant, customer_id, await super().documents(tenant, customer_id, sections))

    async def hashes(self, tenant: str, customer_id: str, sections: Collection[str] | None) -> Sequence[DocumentRow]:
        """See the contract."""
        return self._seen(tenant, customer_id, await super().hashes(tenant, customer_id, sections))

    def _seen(self, tenant: str, customer_id: str, rows: Sequence[DocumentRow]) -> Sequence[DocumentRow]:
        """Return a customer's documents without the head that was made for locking."""
        hidden = customer_id in self._placeholders.get(tenant, ())
        return [row for row in rows if Document(*row).section != HEAD] if hidden else rows

    async def all_documents(self, tenant: str, customer_ids: Collection[str]) -> dict[str, list[Document]]:
        """See the contract."""
        documents = await super().all_documents(tenant, customer_ids)
        for customer_id in self._placeholders.get(tenant, ()):
            if rest := [document for document in documents.pop(customer_id, ()) if document.section != HEAD]:
                documents[customer_id] = rest
        return documents

    async def hold(self, customers: Mapping[str, Collection[str]]) -> None:
        """Lock customers of some tenants before anything else is done."""
        for tenant, customer_ids in customers.items():
            await self.lock(tenant, sorted(customer_ids))

    async def resolve_for_update(self, tenant: str, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        """See the contract."""
        return await self.resolve(tenant, identifiers)

    async def lock(self, tenant: str, customer_ids: Sequence[str]) -> dict[str, Head | None]:
        """See the contract.

        A row must be there to be locked: unknown customers get an empty head, which `settle` takes back if nobody
        filled it.
        """
        heads: dict[str, Head | None] = {}
        for group in await self._take(tenant, customer_ids):
            heads |= await self._lock(tenant, group)
        return heads

    def _is_late(self, tenant: str) -> bool:
        """Tell whether a lock that is asked for now must not be waited for."""
        return bool(self.held[tenant]) or tenant in self._claims

    def _out_of_turn(self, tenant: str, customer_ids: Collection[str]) -> OutOfTurn:
        return OutOfTurn({**self.held, tenant: self.held[tenant].union(customer_ids)})

    async def _take(self, tenant: str, customer_ids: Collection[str]) -> list[list[str]]:
        """Take customers' locks on the coordinator; return them in groups, of one shard each.

        A row's lock on one server ends while the same commit is on its way to another server: whoever took that lock
        would read there what was before the commit. The coordinator gives its locks back when all is done. Citus locks
        rows of one shard at a time.

        Raises:
            OutOfTurn: other customers are locked already, and another transaction has locked one of these.
        """
        late = self._is_late(tenant)
        wanted = sorted((citus.lock_key(tenant, customer_id), customer_id) for customer_id in customer_ids)
        # Not by `_rows`: the statement goes to no shard.
        rows = await self._connection.fetch(citus.TRY_LOCKS if late else citus.LOCKS, *columns(wanted, 2))
        if late and not all(taken for taken, _, _ in rows):
            raise self._out_of_turn(tenant, customer_ids)
        self.held[tenant].update(customer_ids)
        groups: dict[int, list[str]] = {}
        for _, shard, customer_id in rows:
            groups.setdefault(shard, []).append(customer_id)
        return [sorted(group) for group in groups.values()]

    async def _lock(self, tenant: str, wanted: list[str]) -> dict[str, Head | None]:
        heads: dict[str, Head | None] = {}
        while missing := [customer_id for customer_id in wanted if customer_id not in heads]:
            rows = await self._rows(
                "SELECT customer_id, body FROM documents WHERE tenant = $1 AND section = $2"
                " AND customer_id = ANY($3::text[]) ORDER BY customer_id FOR UPDATE",
                tenant, HEAD, missing,
            )  # fmt: skip
            heads |= {customer_id: known_head(body) for customer_id, body in rows}
            # A row that another writer makes or takes back meanwhile is in neither answer: it is tried again.
            new = [
                (tenant, customer_id, HEAD, b"", b"", None, 0) for customer_id in missing if customer_id not in heads
            ]
            made = [row[1] for row in await self._put(put.PLACEHOLDERS, new)]
            heads |= dict.fromkeys(made)
            self._placeholders.setdefault(tenant, set()).update(made)
        return heads

    async def settle(self) -> None:
        """Take back the empty heads that were made for locking and that nobody filled."""
        for tenant, customer_ids in self._placeholders.items():
            if customer_ids:
                await self._rows(
                    "DELETE FROM documents WHERE tenant = $1 AND section = $2 AND customer_id = ANY($3::text[])"
                    " AND body = ''",
                    tenant, HEAD, list(customer_ids),
                )  # fmt: skip

    async def apply(self, tenant: str, changes: Changes) -> None:
        """See the contract."""
        owners, freed = divided(changes.owners)
        states, dropped = divided(changes.states)
        documents, removed = divided(changes.documents)
        await self._remove(tenant, freed, dropped, removed)
        await self._own(tenant, owners)
        await self._put_all(
            fact_rows(tenant, changes.facts),
            {
                put.IDENTIFIERS: [(tenant, *identifier, owner) for identifier, owner in owners.items()],
                put.STATES: [(tenant, *identifier, name, *state) for (identifier, name), state in states.items()],
                put.DOCUMENTS: [(tenant, customer_id, *document) for (customer_id, _), document in documents.items()],
            },
        )
        filled = {customer_id for customer_id, section in documents if section == HEAD}
        self._placeholders.get(tenant, set()).difference_update(filled)

    async def _put_all(self, facts: list[tuple[Any, ...]], others: Mapping[put.Put, list[tuple[Any, ...]]]) -> None:
        """Put rows of facts, and of what follows from them."""
        if len(facts) >= COPY_FROM:
            await self._connection.copy_records_to_table("facts", records=facts, columns=put.FACTS.names)
        else:
            await self._put(put.FACTS, facts)
        for into, rows in others.items():
            await self._put(into, rows)

    async def _remove(
        self,
        tenant: str,
        identifiers: Collection[Identifier],
        states: Collection[tuple[Identifier, str]],
        documents: Collection[tuple[str, str]],
    ) -> None:
        """Remove owners, states and documents."""
        if identifiers:
            await self._rows(
                "DELETE FROM identifiers i USING unnest($2::text[], $3::text[]) w (type, value)"
                " WHERE i.tenant = $1 AND i.type = w.type AND i.value = w.value AND i.value = ANY($3::text[])",
                tenant, *columns(identifiers, 2),
            )  # fmt: skip
        if states:
            await self._rows(
                "DELETE FROM states s USING unnest($2::text[], $3::text[], $4::text[]) w (type, value, section)"
                " WHERE s.tenant = $1 AND s.type = w.type AND s.value = w.value AND s.section = w.section"
                " AND s.value = ANY($3::text[])",
                tenant, *columns([(*identifier, section) for identifier, section in states], 3),
            )  # fmt: skip
        if documents:
            await self._rows(
                "DELETE FROM documents d USING unnest($2::text[], $3::text[]) w (customer_id, section)"
                " WHERE d.tenant = $1 AND d.customer_id = w.customer_id AND d.section = w.section"
                " AND d.customer_id = ANY($2::text[])",
                tenant, *columns(documents, 2),
            )  # fmt: skip

    async def _own(self, tenant: str, owners: Mapping[Identifier, str]) -> None:
        """Lock the customers that were made here: an identifier may lead to one before the whole commit is done."""
        if made := set(owners.values()) - self.held[tenant]:
            await self._take(tenant, made)

    async def claim(self, tenant: str, owners: Mapping[Identifier, str]) -> set[Identifier]:
        """See the contract."""
        rows = [(tenant, *identifier, owner) for identifier, owner in sorted(owners.items())]
        return self._claimed(tenant, await self._put(put.CLAIMS, rows))

    def _claimed(self, tenant: str, rows: list[Any]) -> set[Identifier]:
        if rows:
            self._claims.add(tenant)
        return {Identifier(type_, value) for _, type_, value in rows}

    async def _put(self, into: put.Put, rows: Sequence[Sequence[Any]]) -> list[Any]:
        if not rows:
            return []
        statement, values = into.statement(rows)
        return await self._rows(statement, *values)

    async def put_tenant(self, tenant: TenantRow) -> bool:
        """See the contract."""
        sql = "INSERT INTO tenants (id, name, created_at, key_secret, identity_rules) VALUES ($1, $2, $3, $4, $5)"
        return bool(await self._rows(f"{sql} ON CONFLICT DO NOTHING RETURNING 1", *tenant))

    async def hold_rules(self, tenant: str, *, alone: bool = False) -> TenantRow | None:
        """See the contract."""
        lock = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
        # A statement of its own: the next statement sees the rules that the last sole holder has set.
        await self._rows(f"SELECT {lock}({_RULES}, hashtext($1))", tenant)
        return await self.tenant(tenant)

    async def set_rules(self, tenant: str, rules: bytes | None) -> None:
        """See the contract."""
        await self._rows("UPDATE tenants SET identity_rules = $1 WHERE id = $2", rules, tenant)

    async def put_credential(self, credential: Credential) -> None:
        """See the contract."""
        await self._rows(
            "INSERT INTO credentials (id, tenant, role, name, secret_hash, last_four, created_at, expires_at,"
            " revoked_at, minted_by, last_used_at, write_grant)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            *credential,
        )

    async def hold_credential(self, credential_id: str) -> Credential | None:
        """See the contract."""
        await self._rows(f"SELECT pg_advisory_xact_lock_shared({_MINTING})")
        return await self.credential(credential_id)

    async def note_use(self, credential_id: str, at: int) -> None:
        """See the contract."""
        sql = "UPDATE credentials SET last_used_at = greatest(last_used_at, $1) WHERE id = $2"
        await self._rows(sql, at, credential_id)

    async def revoke_credentials(self, tenant: str | None, credential_ids: Collection[str], at: int) -> set[str]:
        """See the contract."""
        await self._rows(f"SELECT pg_advisory_xact_lock({_MINTING})")
        rows = await self._rows(
            "UPDATE credentials SET revoked_at = $1 WHERE tenant IS NOT DISTINCT FROM $2 AND id = ANY($3::text[])"
            " AND revoked_at IS NULL RETURNING id",
            at, tenant, list(credential_ids),
        )  # fmt: skip
        return {row[0] for row in rows}
