"""Portrait: everything known about one customer, in one call.

This is the public face: all that a plugin imports.
"""

from portrait.computed import Context
from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier
from portrait.sections.declaration import register_profile_section
from portrait.sections.fold import Events, Fold, Held, Latest, StateFold, newest, per_key
from portrait.sections.record import Record, Text, Timestamp, none, personal, sensitive

__all__ = [
    "Context",
    "Events",
    "Fact",
    "Fold",
    "Held",
    "Identifier",
    "Latest",
    "Op",
    "Record",
    "StateFold",
    "Text",
    "Timestamp",
    "newest",
    "none",
    "per_key",
    "personal",
    "register_profile_section",
    "sensitive",
]
