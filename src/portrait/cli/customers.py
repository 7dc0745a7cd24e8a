"""Customers as commands name them: by their ids, or by any identifier of theirs."""

from portrait.app import Services
from portrait.cli.options import CommandRefused
from portrait.cli.printing import say
from portrait.identity import rules
from portrait.model.errors import BlockedIdentifier, InvalidRecord
from portrait.model.identifier import Identifier, name_fault
from portrait.reads.identity import known_head_of
from portrait.storage.contract import TenantRow
from portrait.writes.naming import Naming


async def resolve_customer(services: Services, tenant: TenantRow, name: str) -> str:
    """Return the id of the customer that a name means: a customer id, or else an identifier of any type.

    Raises:
        CommandRefused: the name means no customer, or several; the message says which.
    """
    if name_fault(name) is None and await known_head_of(services.store, tenant.id, name) is not None:
        return name
    owners = await services.owners.of_each(tenant.id, _identifiers(tenant, name))
    named = ", ".join(f"{identifier.type} of {owner}" for identifier, owner in sorted(owners.items()))
    if not owners:
        raise CommandRefused(
            f"Tenant {tenant.id} knows no customer with this id, and none with an identifier of this value."
        )
    if len(set(owners.values())) > 1:
        raise CommandRefused(f"This names several customers: {named}. Name one by its customer id.")
    say(f"{name} is the {named}.", err=True)
    return next(iter(owners.values()))


def _identifiers(tenant: TenantRow, value: str) -> list[Identifier]:
    """Return the identifiers that a value may be: one for each type that accepts the value."""
    naming, identifiers = Naming(tenant), []
    for type_ in rules.read(tenant.rules).all_types:
        try:
            identifiers.append(naming.named(type_, value).identifier)
        except (InvalidRecord, BlockedIdentifier):
            continue
    return identifiers
