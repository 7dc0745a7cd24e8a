"""Reading tenants and credentials from SQLite."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from portrait.storage.contract import Credential, TenantRow

_TENANT = "SELECT id, name, created_at, key_secret, identity_rules FROM tenants"
_CREDENTIAL = (
    "SELECT id, tenant, role, name, secret_hash, last_four, created_at, expires_at, revoked_at, minted_by,"
    " last_used_at, write_grant FROM credentials"
)


class SqliteAccess(ABC):
    """The contract's reads of tenants and credentials, over whatever runs a statement."""

    @abstractmethod
    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement with values, and return its rows."""

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
