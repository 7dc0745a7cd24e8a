"""Writing to PostgreSQL, inside one transaction at READ COMMITTED, under row locks on the customers' heads."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import asyncpg

from portrait.model.document import HEAD, Document, Head, known_head
from portrait.model.fact import Fact
from portrait.model.identifier import Identifier
from portrait.storage.contract import Credential, StoredState, Tenant
from portrait.storage.postgres.reads import PostgresReads, columns

_FACT_COLUMNS = (
    "tenant", "type", "value", "section", "effective_at", "id", "key", "op", "body", "recorded_at", "source", "version",
)  # fmt: skip
COPY_FROM = 8
"""From so many facts on, COPY is faster than an INSERT of arrays."""


class PostgresTransaction(PostgresReads):
    """Every read and write of the contract, over the transaction's connection."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._placeholders: dict[str, set[str]] = {}

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        return await self._connection.fetch(sql, *values)

    async def documents(
        self, tenant: str, customer_id: str, sections: Collection[str] | None
    ) -> Sequence[tuple[str, bytes, bytes, int | None, int]]:
        """See the contract."""
        rows = await super().documents(tenant, customer_id, sections)
        hidden = customer_id in self._placeholders.get(tenant, ())
        return [row for row in rows if row[0] != HEAD] if hidden else rows

    async def all_documents(self, tenant: str, customer_ids: Collection[str]) -> dict[str, list[Document]]:
        """See the contract."""
        found = await super().all_documents(tenant, customer_ids)
        for customer_id in self._placeholders.get(tenant, ()):
            if rest := [document for document in found.pop(customer_id, ()) if document.section != HEAD]:
                found[customer_id] = rest
        return found

    async def lock(self, tenant: str, customer_ids: Sequence[str]) -> dict[str, Head | None]:
        """See the contract.

        A row must be there to be locked: unknown customers get an empty head, which `settle` takes back if nobody
        filled it.
        """
        wanted = sorted(customer_ids)
        made = await self._rows(
            "INSERT INTO documents (tenant, customer_id, section, body, hash, version)"
            " SELECT $1, customer_id, $2, '', '', 0 FROM unnest($3::text[]) customer_id ON CONFLICT DO NOTHING"
            " RETURNING customer_id",
            tenant, HEAD, wanted,
        )  # fmt: skip
        self._placeholders.setdefault(tenant, set()).update(row[0] for row in made)
        rows = await self._rows(
            "SELECT customer_id, body FROM documents WHERE tenant = $1 AND section = $2"
            " AND customer_id = ANY($3::text[]) ORDER BY customer_id FOR UPDATE",
            tenant, HEAD, wanted,
        )  # fmt: skip
        return {customer_id: known_head(body) for customer_id, body in rows}

    async def settle(self) -> None:
        """Take back the empty heads that were made for locking and that nobody filled."""
        for tenant, customer_ids in self._placeholders.items():
            if customer_ids:
                await self._rows(
                    "DELETE FROM documents WHERE tenant = $1 AND section = $2 AND customer_id = ANY($3::text[])"
                    " AND body = ''",
                    tenant, HEAD, list(customer_ids),
                )  # fmt: skip

    async def append(self, tenant: str, facts: Sequence[Fact]) -> None:
        """See the contract."""
        rows = [
            (
                tenant, *fact.identifier, fact.section, fact.effective_at, fact.id, fact.key, fact.op.value, fact.body,
                fact.recorded_at, fact.source, fact.version,
            )
            for fact in facts
        ]  # fmt: skip
        if len(rows) >= COPY_FROM:
            await self._connection.copy_records_to_table("facts", records=rows, columns=_FACT_COLUMNS)
        elif rows:
            await self._rows(
                f"INSERT INTO facts ({', '.join(_FACT_COLUMNS)}) SELECT * FROM unnest("
                "$1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[], $7::text[], $8::text[],"
                " $9::bytea[], $10::bigint[], $11::text[], $12::int[])",
                *columns(rows, len(_FACT_COLUMNS)),
            )

    async def put_identifiers(self, tenant: str, owners: Mapping[Identifier, str]) -> None:
        """See the contract."""
        if owners:
            await self._rows(
                "INSERT INTO identifiers (tenant, type, value, customer_id)"
                " SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[])"
                " ON CONFLICT (tenant, type, value) DO UPDATE SET customer_id = excluded.customer_id",
                tenant, *columns([(*identifier, owner) for identifier, owner in owners.items()], 3),
            )  # fmt: skip

    async def put_states(self, tenant: str, states: Mapping[tuple[Identifier, str], StoredState]) -> None:
        """See the contract."""
        if states:
            rows = [(*identifier, section, *state) for (identifier, section), state in states.items()]
            await self._rows(
                "INSERT INTO states (tenant, type, value, section, body, version)"
                " SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[], $6::int[])"
                " ON CONFLICT (tenant, type, value, section)"
                " DO UPDATE SET body = excluded.body, version = excluded.version",
                tenant, *columns(rows, 5),
            )  # fmt: skip

    async def put_documents(self, tenant: str, documents: Mapping[str, Sequence[Document]]) -> None:
        """See the contract."""
        rows = [(customer_id, *document) for customer_id, held in documents.items() for document in held]
        if rows:
            await self._rows(
                "INSERT INTO documents (tenant, customer_id, section, body, hash, valid_until, version)"
                " SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[], $7::int[])"
                " ON CONFLICT (tenant, customer_id, section) DO UPDATE SET body = excluded.body, hash = excluded.hash,"
                " valid_until = excluded.valid_until, version = excluded.version",
                tenant, *columns(rows, 6),
            )  # fmt: skip
            filled = {customer_id for customer_id, section, *_ in rows if section == HEAD}
            self._placeholders.get(tenant, set()).difference_update(filled)

    async def drop_documents(self, tenant: str, customer_id: str, sections: Collection[str]) -> None:
        """See the contract."""
        await self._rows(
            "DELETE FROM documents WHERE tenant = $1 AND customer_id = $2 AND section = ANY($3::text[])",
            tenant, customer_id, list(sections),
        )  # fmt: skip

    async def drop_states(self, tenant: str, wanted: Collection[tuple[Identifier, str]]) -> None:
        """See the contract."""
        await self._rows(
            "DELETE FROM states s USING unnest($2::text[], $3::text[], $4::text[]) w (type, value, section)"
            " WHERE s.tenant = $1 AND s.type = w.type AND s.value = w.value AND s.section = w.section",
            tenant, *columns([(*identifier, section) for identifier, section in wanted], 3),
        )  # fmt: skip

    async def drop_identifiers(self, tenant: str, identifiers: Collection[Identifier]) -> None:
        """See the contract."""
        await self._rows(
            "DELETE FROM identifiers i USING unnest($2::text[], $3::text[]) w (type, value)"
            " WHERE i.tenant = $1 AND i.type = w.type AND i.value = w.value",
            tenant, *columns(identifiers, 2),
        )  # fmt: skip

    async def put_tenant(self, tenant: Tenant) -> bool:
        """See the contract."""
        sql = "INSERT INTO tenants (id, name, created_at, key_secret) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
        return bool(await self._rows(f"{sql} RETURNING 1", *tenant))

    async def put_credential(self, credential: Credential) -> None:
        """See the contract."""
        await self._rows(
            "INSERT INTO credentials (id, tenant, role, name, secret_hash, last_four, created_at, expires_at,"
            " revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            *credential,
        )

    async def revoke_credential(self, tenant: str | None, credential_id: str, at: int) -> bool:
        """See the contract."""
        sql = (
            "UPDATE credentials SET revoked_at = $1 WHERE tenant IS NOT DISTINCT FROM $2 AND id = $3"
            " AND revoked_at IS NULL RETURNING 1"
        )
        return bool(await self._rows(sql, at, tenant, credential_id))
