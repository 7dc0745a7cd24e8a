"""Rules for collecting, and refused events, in PostgreSQL.

On Citus refused events stand on the coordinator: few are written, and people read them.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from portrait.model.identifier import Identifier
from portrait.storage.contract import RefusedEvent, RejectCount
from portrait.storage.postgres.put import columns
from portrait.storage.rows import REJECT_COLUMNS, reject_of, reject_row


class PostgresCollected(ABC):
    """The contract's reads for collecting, over whatever runs a statement."""

    @abstractmethod
    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        """Run a statement, on the pool's or a transaction's connection."""

    async def collecting_rules(self, tenant: str) -> bytes | None:
        """See the contract."""
        rows = await self._rows("SELECT collecting_rules FROM tenants WHERE id = $1", tenant)
        return rows[0][0] if rows else None

    async def rejects(
        self,
        tenant: str,
        after: bytes | None,
        limit: int,
        *,
        source: str | None = None,
        code: str | None = None,
        identifier: Identifier | None = None,
    ) -> list[RefusedEvent]:
        """See the contract."""
        named, values = "", []
        if identifier is not None:
            named = " AND id IN (SELECT id FROM rejected_identifiers WHERE tenant = $1 AND type = $6 AND value = $7)"
            values = [*identifier]
        rows = await self._rows(
            f"SELECT {REJECT_COLUMNS} FROM rejects WHERE tenant = $1 AND id > $2"
            f" AND source = coalesce($3, source) AND code = coalesce($4, code){named} ORDER BY id LIMIT $5",
            tenant, after or b"", source, code, limit, *values,
        )  # fmt: skip
        return [reject_of(row) for row in rows]

    async def count_rejects(self, tenant: str) -> list[RejectCount]:
        """See the contract."""
        rows = await self._rows(
            "SELECT source, code, count(*), sum(length(body)) FROM rejects WHERE tenant = $1"
            " GROUP BY source, code ORDER BY source, code",
            tenant,
        )
        return [RejectCount(*row) for row in rows]


class PostgresCollecting(PostgresCollected):
    """The contract's writes for collecting."""

    async def set_collecting_rules(self, tenant: str, rules: bytes | None) -> None:
        """See the contract."""
        await self._rows("UPDATE tenants SET collecting_rules = $1 WHERE id = $2", rules, tenant)

    async def put_rejects(self, tenant: str, rejects: Sequence[RefusedEvent]) -> None:
        """See the contract."""
        rows = await self._rows(
            f"INSERT INTO rejects (tenant, {REJECT_COLUMNS}) SELECT $1, * FROM unnest($2::bytea[], $3::text[],"
            " $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::bytea[])"
            " ON CONFLICT DO NOTHING RETURNING id",
            tenant, *columns([reject_row(reject) for reject in rejects], 8),
        )  # fmt: skip
        new = {row[0] for row in rows}
        named = {
            (*identifier, reject.id) for reject in rejects if reject.id in new for identifier in reject.identifiers
        }
        await self._rows(
            "INSERT INTO rejected_identifiers (tenant, type, value, id)"
            " SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bytea[]) ON CONFLICT DO NOTHING",
            tenant, *columns(named, 3),
        )  # fmt: skip

    async def remove_rejects(self, tenant: str, ids: Collection[bytes]) -> int:
        """See the contract."""
        return await self._forget(
            await self._rows(
                "DELETE FROM rejects WHERE tenant = $1 AND id = ANY($2::bytea[]) RETURNING tenant, identifiers, id",
                tenant, list(ids),
            )
        )  # fmt: skip

    async def remove_rejects_before(self, moment: int, limit: int) -> int:
        """See the contract."""
        return await self._forget(
            await self._rows(
                "DELETE FROM rejects r USING (SELECT tenant, id FROM rejects WHERE received_at < $1"
                " ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED) o WHERE r.tenant = o.tenant AND r.id = o.id"
                " RETURNING r.tenant, r.identifiers, r.id",
                moment, limit,
            )
        )  # fmt: skip

    async def _forget(self, removed: Sequence[Any]) -> int:
        named = [
            (tenant, *identifier, id_)
            for tenant, identifiers, id_ in removed
            for identifier in msgspec.json.decode(identifiers)
        ]
        await self._rows(
            "DELETE FROM rejected_identifiers r USING unnest($1::text[], $2::text[], $3::text[], $4::bytea[])"
            " w (tenant, type, value, id) WHERE r.tenant = w.tenant AND r.type = w.type AND r.value = w.value"
            " AND r.id = w.id",
            *columns(named, 4),
        )
        return len(removed)
