"""Writing to SQLite, inside the writer's transaction: BEGIN IMMEDIATE has locked everything before the first read."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import apsw

from portrait.model.document import HEAD, Head, known_head
from portrait.model.errors import StorageFull
from portrait.model.fact import Op
from portrait.model.identifier import Identifier
from portrait.storage.contract import Changes, Credential, TenantRow
from portrait.storage.rows import divided
from portrait.storage.sqlite.collecting import SqliteCollecting
from portrait.storage.sqlite.connection import translated
from portrait.storage.sqlite.numbers import WANTED, GivenNumbers, array
from portrait.storage.sqlite.reads import SqliteReads

SET_OWNERS = "UPDATE identifiers SET customer_id = ? WHERE number = ?"
DELETE_STATES = "DELETE FROM states WHERE identifier = ? AND section = ?"
DELETE_DOCUMENTS = "DELETE FROM documents WHERE tenant = ? AND customer_id = ? AND section = ?"
FACT_ROW = "identifier, section, effective_at, id, key, is_end, recorded_at, source, version, body"
INSERT_FACTS = f"INSERT INTO facts ({FACT_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# Not OR REPLACE: that would give the row another place, and its index a new entry.
PUT_STATES = (
    "INSERT INTO states (identifier, section, body, version) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET body = excluded.body, version = excluded.version"
)
PUT_DOCUMENTS = (
    "INSERT INTO documents (tenant, customer_id, section, body, hash, valid_until, version)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body, hash = excluded.hash,"
    " valid_until = excluded.valid_until, version = excluded.version"
)


class SqliteTransaction(SqliteCollecting, SqliteReads):
    """Every read and write of the contract in one work, over the writer's connection."""

    _numbers: GivenNumbers

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__(connection)
        self._numbers = GivenNumbers(self._rows)

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        self._check_open()
        return super()._rows(sql, values)

    def _check_open(self) -> None:
        """Refuse to go on where SQLite has undone the transaction by itself: each statement would commit alone."""
        if not self._connection.in_transaction:
            raise StorageFull("The database rolled the transaction back, because it has no room; nothing was kept.")

    def _put(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._check_open()
        try:
            self._connection.executemany(sql, rows)
        except apsw.Error as error:
            raise translated(error) from error

    async def resolve_for_update(self, tenant: str, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        """See the contract: everything is locked."""
        return await self.resolve(tenant, identifiers)

    async def lock(self, tenant: str, customer_ids: Sequence[str]) -> dict[str, Head | None]:
        """See the contract."""
        rows = self._rows(
            f"SELECT customer_id, body FROM {WANTED} documents ON tenant = ? AND customer_id = w AND section = ?",
            (array(customer_ids), tenant, HEAD),
        )
        return {**dict.fromkeys(customer_ids), **{customer_id: known_head(body) for customer_id, body in rows}}

    async def claim(self, tenant: str, owners: Mapping[Identifier, str]) -> set[Identifier]:
        """See the contract."""
        rows = self._rows(
            "INSERT INTO identifiers (tenant, type, value, customer_id)"
            " SELECT ?, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true"
            " ON CONFLICT DO UPDATE SET customer_id = excluded.customer_id WHERE customer_id IS NULL"
            " RETURNING type, value, number",
            (tenant, array((*identifier, owner) for identifier, owner in owners.items())),
        )
        return set(self._numbers.keep(tenant, rows))

    async def apply(self, tenant: str, changes: Changes) -> None:
        """See the contract."""
        facts, owners = changes.facts, changes.owners
        states, dropped = divided(changes.states)
        documents, removed = divided(changes.documents)
        known = self._numbers.identifiers(tenant, {*owners, *(identifier for identifier, _ in dropped)})
        owned = [identifier for identifier, owner in owners.items() if owner is not None]
        stored = [*owned, *(fact.identifier for fact in facts), *(identifier for identifier, _ in states)]
        numbers = self._numbers.given(tenant, stored, owners)
        names = self._numbers.given_names(
            [
                *(section for _, section in changes.states),
                *(fact.section for fact in facts),
                *(fact.source for fact in facts if fact.source is not None),
            ]
        )
        fact_rows = [
            (
                numbers[fact.identifier], names[fact.section], fact.effective_at, fact.id, fact.key,
                fact.op is Op.DELETE, fact.recorded_at, None if fact.source is None else names[fact.source],
                fact.version, fact.body,
            )
            for fact in facts
        ]  # fmt: skip
        for sql, rows in (
            (DELETE_STATES, [(known[key[0]], names[key[1]]) for key in dropped if key[0] in known]),
            (DELETE_DOCUMENTS, [(tenant, *key) for key in removed]),
            (
                SET_OWNERS,
                [(owners[identifier], number) for identifier, number in known.items() if identifier in owners],
            ),
            (INSERT_FACTS, fact_rows),
            (PUT_STATES, [(numbers[key[0]], names[key[1]], *state) for key, state in states.items()]),
            (PUT_DOCUMENTS, [(tenant, owner, *document) for (owner, _), document in documents.items()]),
        ):
            if rows:
                self._put(sql, rows)

    async def put_tenant(self, tenant: TenantRow) -> bool:
        """See the contract."""
        sql = "INSERT INTO tenants (id, name, created_at, key_secret, identity_rules) VALUES (?, ?, ?, ?, ?)"
        return bool(self._rows(f"{sql} ON CONFLICT DO NOTHING RETURNING 1", tenant))

    async def hold_rules(self, tenant: str, *, alone: bool = False) -> TenantRow | None:
        """See the contract: nobody else writes while this transaction runs."""
        del alone
        return await self.tenant(tenant)

    async def set_rules(self, tenant: str, rules: bytes | None) -> None:
        """See the contract."""
        self._put("UPDATE tenants SET identity_rules = ? WHERE id = ?", [(rules, tenant)])

    async def put_credential(self, credential: Credential) -> None:
        """See the contract."""
        self._put(
            "INSERT INTO credentials (id, tenant, role, name, secret_hash, last_four, created_at, expires_at,"
            " revoked_at, minted_by, last_used_at, write_grant) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [credential],
        )

    async def hold_credential(self, credential_id: str) -> Credential | None:
        """See the contract: nobody else writes while this transaction runs."""
        return await self.credential(credential_id)

    async def note_use(self, credential_id: str, at: int) -> None:
        """See the contract."""
        sql = "UPDATE credentials SET last_used_at = max(coalesce(last_used_at, ?), ?) WHERE id = ?"
        self._put(sql, [(at, at, credential_id)])

    async def revoke_credentials(self, tenant: str | None, credential_ids: Collection[str], at: int) -> set[str]:
        """See the contract."""
        sql = (
            "UPDATE credentials SET revoked_at = ? WHERE tenant IS ? AND id IN (SELECT value FROM json_each(?))"
            " AND revoked_at IS NULL RETURNING id"
        )
        return {row[0] for row in self._rows(sql, (at, tenant, array(credential_ids)))}
