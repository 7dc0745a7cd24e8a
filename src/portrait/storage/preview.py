"""What a transaction would do, without a transaction: one moment is read, nobody is locked, nothing is written."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

from portrait.model.document import HEAD, Head, known_head
from portrait.model.identifier import Identifier
from portrait.storage.contract import Changes, Reads, TenantRow, Transaction


class _Preview:
    def __init__(self, reads: Reads, note: Callable[[Changes], None]) -> None:
        self._reads = reads
        self._note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)

    async def resolve_for_update(self, tenant: str, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        return await self._reads.resolve(tenant, identifiers)

    async def lock(self, tenant: str, customer_ids: Sequence[str]) -> dict[str, Head | None]:
        heads: dict[str, Head | None] = dict.fromkeys(customer_ids)
        for customer_id in customer_ids:
            for section, body, *_ in await self._reads.hashes(tenant, customer_id, ()):
                if section == HEAD:
                    heads[customer_id] = known_head(body)
        return heads

    async def claim(self, tenant: str, owners: Mapping[Identifier, str]) -> set[Identifier]:
        return owners.keys() - (await self._reads.resolve(tenant, owners.keys())).keys()

    async def apply(self, tenant: str, changes: Changes) -> None:  # noqa: ARG002  # as the contract has it
        """Keep nothing, but note what would be applied."""
        self._note(changes)

    async def hold_rules(self, tenant: str, *, alone: bool = False) -> TenantRow | None:  # noqa: ARG002  # nobody is kept from them
        return await self._reads.tenant(tenant)


def preview(reads: Reads, note: Callable[[Changes], None] = lambda _: None) -> Transaction:
    """Return what looks like a transaction and changes nothing; what it applies is not seen by its reads.

    Args:
        reads: the moment that is read.
        note: is given what would be applied, each time.
    """
    return cast("Transaction", _Preview(reads, note))
