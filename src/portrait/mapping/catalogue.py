"""Ready mappings: for the exports of other systems, in the package."""

from importlib import resources

from portrait.mapping.toml import nearest
from portrait.model.errors import InvalidMapping

READY = ("hubspot", "klaviyo", "mailchimp", "salesforce", "shopify", "stripe")
"""The names of the ready mappings."""


def ready(name: str) -> str:
    """Return the TOML text of a ready mapping.

    Args:
        name: one of `READY`.

    Raises:
        InvalidMapping: there is none of this name.
    """
    if name not in READY:
        raise InvalidMapping(f"There is no ready mapping `{name}`. {nearest(name, READY, 'ready mappings')}")
    return (resources.files(__package__) / "ready" / f"{name}.toml").read_text(encoding="utf-8")
