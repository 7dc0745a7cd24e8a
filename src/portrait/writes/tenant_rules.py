"""A tenant's identity rules: what they are, and setting them."""

from portrait.identity import rules
from portrait.identity.rules import Rules
from portrait.model.errors import InvalidRules
from portrait.model.identifier import Identifier
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
            InvalidRules: they break their schema or contradict each other, or what is stored under a form would have
                another from now on.
        """
        new = rules.DEFAULT if raw is None else rules.parse(raw)

        async def work(tx: Transaction) -> None:
            row = await tx.hold_rules(tenant, alone=True)
            old = rules.read(row.rules if row else None)
            if old.region not in {None, new.region} and await tx.fact_identifiers(tenant, None, 1):
                raise InvalidRules(
                    "`region` decides in what form phone numbers are matched: once there are records it can be set "
                    "where there was none, and not changed. Numbers that were read as one region's are stored so."
                )
            for type_, form in old.forms.own.items():
                if new.forms.own.get(type_) != form and await _has_records(tx, tenant, type_):
                    raise InvalidRules(
                        f"`types.{type_}.form` can be set where there was none, and not changed while there are "
                        "identifiers of the type."
                    )
            await tx.set_rules(tenant, raw)

        await self._store.write(tenant, work)
        return new


async def _has_records(tx: Transaction, tenant: str, type_: str) -> bool:
    """Tell whether a tenant has identifiers of a type."""
    first = await tx.fact_identifiers(tenant, Identifier(type_, ""), 1)
    return any(identifier.type == type_ for identifier in first)
