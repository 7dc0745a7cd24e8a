"""Which customer an identifier belongs to.

Each `customer_id` is a profile of its own. Identifiers of other types join profiles by links, which are facts too.
"""

from portrait.model.identifier import CUSTOMER_ID, Identifier


def first_owner(identifier: Identifier) -> str | None:
    """Return the customer id that an identifier never seen before belongs to; None where nothing says."""
    return identifier.value if identifier.type == CUSTOMER_ID else None
