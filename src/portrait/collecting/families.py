"""Families of clients: how each finds events in a body and reads one."""

from collections.abc import Callable
from typing import NamedTuple

from portrait.collecting import segment
from portrait.collecting.event import Event


class Family(NamedTuple):
    """Clients that write events alike."""

    name: str
    texts: Callable[[bytes], list[bytes]]
    """Returns the texts of a body's events."""
    read: Callable[[bytes, str | None], Event]
    """Returns the event of a text, whose type the path may say."""
    key_in: Callable[[bytes], str | None]
    """Returns the key that a body holds."""


SEGMENT = Family(segment.NAME, segment.texts, segment.read, segment.key_in)
FAMILIES = {family.name: family for family in (SEGMENT,)}
"""By the name that is kept with a refused event."""
