"""The rules under which the stream is taken in: those by default, each guard off, and what could be better."""

from typing import Any, NamedTuple

import msgspec

from bench.identity.truth import REGION
from portrait.identity.rules import DEFAULT_TYPES

HAZARDS: dict[str, dict[str, float]] = {
    "as it is": {},
    "no relatives' numbers": {"relative_phone": 0.0},
    "nor guesses": {"relative_phone": 0.0, "guess": 0.0},
    "nor junk": {"relative_phone": 0.0, "guess": 0.0, "junk": 0.0},
    "nor addresses of the staff": {"relative_phone": 0.0, "guess": 0.0, "junk": 0.0, "desk_email": 0.0},
}
"""What is left out of the stream, one thing after the other, to see what misleads the usual rules."""


class Variant(NamedTuple):
    """A tenant's rules, by what is otherwise than by default."""

    name: str
    rules: dict[str, Any]


def _types(*names: str, **changes: Any) -> dict[str, Any]:
    """Return some built-in types with fields changed; without names all: a type that is given is given whole."""
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
        ("`shared` warns only", _WARN),
        ("`shared` warns only, `weakGuard` off", _NO_WEAK | _WARN),
        ("`shared` splits", {"shared": "split"}),
        ("`minConfidence` 0", _UNSURE),
        ("`maxIdentifiers` 30", {"maxIdentifiers": 30, "types": _types("anonymous_id", "cookie_id", limit=30)}),
        ("e-mail and phone `sharedFrom` 3", {"types": _types("email", "phone", shared_from=3)}),
        ("the same, and `shared` splits", {"types": _types("email", "phone", shared_from=3), "shared": "split"}),
        ("phone `weak`", {"types": _types("phone", weak=True)}),
        (
            "phone `weak`, e-mail `sharedFrom` 3, `shared` splits",
            {"types": _types("email", shared_from=3) | _types("phone", weak=True, shared_from=3), "shared": "split"},
        ),
        (
            "all off but the cap",
            _NO_WEAK | _WARN | _JUNK | _UNSURE | {"types": _types(limit=None, unique=False, shared_from=None)},
        ),
    )
)  # fmt: skip
"""What is measured: the usual rules, each guard off, what could be better, and none but the cap of identifiers, which
can be set no higher than it is."""
