"""Rules for collecting, and refused events, in SQLite."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from portrait.model.identifier import Identifier
from portrait.storage.contract import RefusedEvent, RejectCount
from portrait.storage.rows import REJECT_COLUMNS, reject_of, reject_row


class SqliteCollected(ABC):
    """The contract's reads for collecting, over whatever runs a statement."""

    @abstractmethod
    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement with values, and return its rows."""

    async def collecting_rules(self, tenant: str) -> bytes | None:
        """See the contract."""
        rows = self._rows("SELECT collecting_rules FROM tenants WHERE id = ?", (tenant,))
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
        # A page of one person's is small: it is found first, and then looked through.
        named, values = "", []
        if identifier is not None:
            named = " AND id IN (SELECT id FROM rejected_identifiers WHERE tenant = ? AND type = ? AND value = ?)"
            values = [tenant, *identifier]
        rows = self._rows(
            f"SELECT {REJECT_COLUMNS} FROM rejects WHERE tenant = ? AND id > ?"
            f" AND source = coalesce(?, source) AND code = coalesce(?, code){named} ORDER BY id LIMIT ?",
            (tenant, after or b"", source, code, *values, limit),
        )
        return [reject_of(row) for row in rows]

    async def count_rejects(self, tenant: str) -> list[RejectCount]:
        """See the contract."""
        rows = self._rows(
            "SELECT source, code, count(*), sum(length(body)) FROM rejects WHERE tenant = ?"
            " GROUP BY source, code ORDER BY source, code",
            (tenant,),
        )
        return [RejectCount(*row) for row in rows]


class SqliteCollecting(SqliteCollected):
    """The contract's writes for collecting."""

    @abstractmethod
    def _put(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement with each row of values."""

    async def set_collecting_rules(self, tenant: str, rules: bytes | None) -> None:
        """See the contract."""
        self._put("UPDATE tenants SET collecting_rules = ? WHERE id = ?", [(rules, tenant)])

    async def put_rejects(self, tenant: str, rejects: Sequence[RefusedEvent]) -> None:
        """See the contract."""
        sql = (
            f"INSERT INTO rejects (tenant, {REJECT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING RETURNING id"
        )
        new = [reject for reject in rejects if self._rows(sql, (tenant, *reject_row(reject)))]
        self._put(
            "INSERT INTO rejected_identifiers (tenant, type, value, id) VALUES (?, ?, ?, ?)",
            [(tenant, *identifier, reject.id) for reject in new for identifier in reject.identifiers],
        )

    async def remove_rejects(self, tenant: str, ids: Collection[bytes]) -> int:
        """See the contract."""
        removed = [
            row
            for id_ in ids
            for row in self._rows(
                "DELETE FROM rejects WHERE tenant = ? AND id = ? RETURNING tenant, identifiers, id", (tenant, id_)
            )
        ]
        self._forget(removed)
        return len(removed)

    async def remove_rejects_before(self, moment: int, limit: int) -> int:
        """See the contract."""
        removed = self._rows(
            "DELETE FROM rejects WHERE rowid IN (SELECT rowid FROM rejects WHERE received_at < ?"
            " ORDER BY received_at LIMIT ?) RETURNING tenant, identifiers, id",
            (moment, limit),
        )
        self._forget(removed)
        return len(removed)

    def _forget(self, removed: Sequence[tuple[str, str, bytes]]) -> None:
        self._put(
            "DELETE FROM rejected_identifiers WHERE tenant = ? AND type = ? AND value = ? AND id = ?",
            [
                (tenant, *identifier, id_)
                for tenant, identifiers, id_ in removed
                for identifier in msgspec.json.decode(identifiers)
            ],
        )
