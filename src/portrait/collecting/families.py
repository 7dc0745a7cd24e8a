"""Families of clients: how each finds events in a body and reads one."""

from collections.abc import Callable
from typing import NamedTuple

from portrait.collecting import segment
from portrait.collecting.event import ClientEvent


class Family(NamedTuple):
    """Clients that write events alike."""

    name: str
    texts: Callable[[bytes], list[bytes]]
    """Returns the texts of a body's events."""
    read: Callable[[bytes, str | None], ClientEvent]
    """Returns the event of a text, whose type the path may say."""
    key_in: Callable[[bytes], str | None]
    """Returns the key that a body holds."""


SEGMENT = Family(segment.NAME, segment.texts, segment.read, segment.key_in)
FAMILIES = {family.name: family for family in (SEGMENT,)}
"""By the name that is kept with a refused event."""


def form_of(family: Family, kind: str | None) -> str:
    """Return the name of how events are written: the family's, and the type where the path says it."""
    return family.name if kind is None else f"{family.name}/{kind}"


def of_form(form: str) -> tuple[Family, str | None]:
    """Return the family, and the type that the path said, by the name of a form."""
    name, _, kind = form.partition("/")
    return FAMILIES[name], kind or None
