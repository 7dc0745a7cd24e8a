"""Portrait: everything known about one customer, in one call.

This is the public face: all that a plugin imports. Whatever a built-in section is made of is here.
"""

from portrait.computed import Context
from portrait.identity.normalise import normalise
from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier
from portrait.model.source import is_public
from portrait.sections.declaration import register_profile_section
from portrait.sections.events import Event, Events, EventsState
from portrait.sections.fold import (
    Becomes,
    Combine,
    Entry,
    Fold,
    Held,
    History,
    Lapse,
    Latest,
    LatestState,
    Order,
    PerJoin,
    Prefers,
    StateFold,
    ends,
    newest,
    newest_per_key,
    per_key,
)
from portrait.sections.ranks import rank_of
from portrait.sections.record import Record, Shape, Text, Timestamp, impersonal, personal, sensitive

__all__ = [
    "Becomes",
    "Combine",
    "Context",
    "Entry",
    "Event",
    "Events",
    "EventsState",
    "Fact",
    "Fold",
    "Held",
    "History",
    "Identifier",
    "Lapse",
    "Latest",
    "LatestState",
    "Op",
    "Order",
    "PerJoin",
    "Prefers",
    "Record",
    "Shape",
    "StateFold",
    "Text",
    "Timestamp",
    "ends",
    "impersonal",
    "is_public",
    "newest",
    "newest_per_key",
    "normalise",
    "per_key",
    "personal",
    "rank_of",
    "register_profile_section",
    "sensitive",
]

none = impersonal
"""What `impersonal` was called in 0.1.0, and read as None: plugins of that time go on."""
