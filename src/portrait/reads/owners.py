"""Whom identifiers belong to."""

from collections.abc import Collection

from portrait.model.errors import IdentifierNotFound
from portrait.model.identifier import Identifier
from portrait.storage.contract import Store


class Owners:
    """Says whom identifiers belong to."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, tenant: str, identifier: Identifier) -> str:
        """Return the customer id of the profile that an identifier belongs to.

        Raises:
            IdentifierNotFound: it belongs to none.
        """
        owners = await self._store.resolve(tenant, [identifier])
        try:
            return owners[identifier]
        except KeyError:
            raise IdentifierNotFound from None

    async def of_each(self, tenant: str, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        """Return the customer id of each of some identifiers that belongs to a profile."""
        return await self._store.resolve(tenant, identifiers) if identifiers else {}
