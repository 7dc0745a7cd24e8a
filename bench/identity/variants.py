"""The rules under which the stream is taken in: those by default, each guard off, and what was weighed."""

from typing import Any, NamedTuple

import msgspec

from bench.identity.truth import REGION
from portrait.identity.rules import DEFAULT_TYPES

FURTHER = {
    "relatives' numbers": "relative_phone",
    "guesses": "guess",
    "addresses of the staff": "desk_email",
    "tablets in shops": "kiosk",
}
"""What misleads besides errors, junk and what a household shares, by the share that says how often."""

_NONE = dict.fromkeys(FURTHER.values(), 0.0)
STREAMS: dict[str, dict[str, float]] = {
    "errors, junk, households": _NONE,
    **{
        f"and {name}": {other: none for other, none in _NONE.items() if other != share}
        for name, share in FURTHER.items()
    },
    "and all further hazards": {},
}
"""By name, what is otherwise than in `Shares`: the stream of the goal, each further hazard added to it, and the hardest
with all of them, on which every set of rules is measured."""


class Variant(NamedTuple):
    """A tenant's rules, by what is otherwise than by default."""

    name: str
    rules: dict[str, Any]


def _types(*names: str, **changes: Any) -> dict[str, Any]:
    """Return the named built-in types, or all, with fields changed; each type is given with all its fields."""
    return {
        name: msgspec.to_builtins(msgspec.structs.replace(rule, **changes))
        for name, rule in DEFAULT_TYPES.items()
        if name in names or not names
    }


_NO_WEAK = {"weakGuard": False}
_WARN = {"shared": "warn"}
_JUNK = {"blockJunk": False}
_UNSURE = {"minConfidence": 0}

VARIANTS = tuple(
    Variant(name, {"region": REGION, **rules})
    for name, rules in (
        ("by default", {}),
        ("`weakGuard` off", _NO_WEAK),
        ("`blockJunk` off", _JUNK),
        ("`unique` off for customer ids", {"types": _types("customer_id", unique=False)}),
        ("no `limit`s", {"types": _types(limit=None)}),
        ("`minConfidence` 0", _UNSURE),
        ("`shared` warns only", _WARN),
        ("`shared` warns only, `blockJunk` off", _WARN | _JUNK),
        ("`shared` warns only, no `limit`s", _WARN | {"types": _types(limit=None)}),
        ("`shared` demotes", {"shared": "demote"}),
        (
            "`sharedFrom` 2 for what a browser or device holds",
            {"types": _types("device_id", "cookie_id", "anonymous_id", shared_from=2)},
        ),
        ("no `sharedFrom` for e-mail and phone", {"types": _types("email", "phone", shared_from=None)}),
        (
            "all off but the cap",
            _NO_WEAK | _WARN | _JUNK | _UNSURE | {"types": _types(limit=None, unique=False, shared_from=None)},
        ),
    )
)
"""What is measured: the usual rules, each guard off, two off where one hides what the other is worth, what was weighed,
and none but the cap of identifiers, which can be set no higher than it is."""
