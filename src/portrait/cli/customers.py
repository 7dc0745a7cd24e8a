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


async def found_customer(services: Services, tenant: TenantRow, given: str) -> str:
    """Return the id of the customer that a word names: a customer id, or else an identifier of any type.

    Raises:
        CommandRefused: it names none, or identifiers of several customers; the words say which.
    """
    if name_fault(given) is None and await known_head_of(services.store, tenant.id, given) is not None:
        return given
    owners = await services.identities.owners(tenant.id, _identifiers(tenant, given))
    named = ", ".join(f"{one.type} of {owner}" for one, owner in sorted(owners.items()))
    if not owners:
        raise CommandRefused(
            f"Tenant {tenant.id} knows no customer with this id, and none with an identifier of this value."
        )
    if len(set(owners.values())) > 1:
        raise CommandRefused(f"This names several customers: {named}. Name one by its customer id.")
    say(f"{given} is the {named}.", err=True)
    return next(iter(owners.values()))


def _identifiers(tenant: TenantRow, given: str) -> list[Identifier]:
    """Return the identifiers that a value may be, one of each type that lets it be one."""
    naming, found = Naming(tenant), []
    for type_ in rules.read(tenant.rules).all_types:
        try:
            found.append(naming.named(type_, given).identifier)
        except (InvalidRecord, BlockedIdentifier):
            continue
    return found
