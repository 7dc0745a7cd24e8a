"""A tenant's identity rules: what they are, and setting them."""

from portrait.identity import rules
from portrait.identity.rules import Rules
from portrait.model.errors import InvalidRules
from portrait.storage.contract import Store, Transaction


class TenantRules:
    """Reads and sets tenants' identity rules."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, tenant: str) -> Rules:
        """Return a tenant's rules."""
        row = await self._store.tenant(tenant)
        return rules.read(row.rules if row else None)

    async def set(self, tenant: str, raw: bytes | None) -> Rules:
        """Set a tenant's rules; None: as by default. What was decided under the old ones stays as it was decided.

        Raises:
            InvalidRules: they break their schema or contradict each other, or would match identifiers that are known
                otherwise from now on.
        """
        new = rules.DEFAULT if raw is None else rules.parse(raw)

        async def work(tx: Transaction) -> None:
            row = await tx.hold_rules(tenant, alone=True)
            old = rules.read(row.rules if row else None)
            if new.region != old.region and await tx.fact_identifiers(tenant, None, 1):
                raise InvalidRules(
                    "`region` decides in what form phone numbers are matched: it can be set only while the tenant has "
                    "no records."
                )
            await tx.set_rules(tenant, raw)

        await self._store.write(tenant, work)
        return new
