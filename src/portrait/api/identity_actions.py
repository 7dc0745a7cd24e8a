"""What `POST /api/v1/identity` takes: an action on who is who, by the name in `action`."""

from typing import Annotated, Any

import msgspec

from portrait.api.operation import Example, Step
from portrait.api.records import Source

MAX_LINKED = 100
"""The most identifiers that one `link` names."""

Confidence = Annotated[float, msgspec.Meta(ge=0, le=1)]
CustomerId = Annotated[str, msgspec.Meta(min_length=1, max_length=256, examples=["CUST001"])]


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """An identifier: its type, and its value as it is known."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=64, examples=["email"])]
    value: Annotated[str, msgspec.Meta(examples=["john@example.com"])]


class _Action(msgspec.Struct, rename="camel", forbid_unknown_fields=True, tag_field="action", kw_only=True):
    """What all actions may say."""

    source: Source | None = None
    """Who decided it; `api` where left out."""


class Resolve(_Action, tag="resolve"):
    """Ask whom an identifier belongs to."""

    identifier: Named


class LinkIdentifiers(_Action, tag="link", kw_only=True):
    """Link identifiers to a customer, by somebody's own word."""

    canonical_id: CustomerId
    identifiers: Annotated[list[Named], msgspec.Meta(min_length=1, max_length=MAX_LINKED)]
    confidence: Confidence = 1.0


class Unlink(_Action, tag="unlink", kw_only=True):
    """Unlink an identifier from a customer, and keep the two apart."""

    canonical_id: CustomerId
    identifier: Named


class MergeCustomers(_Action, tag="merge", kw_only=True):
    """Merge two customers: the target's id stays."""

    target_id: CustomerId
    source_id: CustomerId


class Unmerge(_Action, tag="unmerge", kw_only=True):
    """Unmerge two customers: each gets its identifiers and records back."""

    target_id: CustomerId
    source_id: CustomerId


class Accept(_Action, tag="accept", kw_only=True):
    """Make a link hold that a rule refused, and that waits for review."""

    identifier: Named
    other: Named


class Reject(_Action, tag="reject", kw_only=True):
    """Reject a link that waits for review, and keep the two apart."""

    identifier: Named
    other: Named


class CannotLink(_Action, tag="cannot-link", kw_only=True):
    """Keep two identifiers from being one person, until somebody merges, accepts, links or allows just these two."""

    identifier: Named
    other: Named


class AllowLink(_Action, tag="allow-link", kw_only=True):
    """Lift a ban: let two identifiers be linked again."""

    identifier: Named
    other: Named


class Move(_Action, tag="move", kw_only=True):
    """Take an identifier from one customer, the source, and give it to another, the target."""

    target_id: CustomerId
    source_id: CustomerId
    identifier: Named
    confidence: Confidence = 1.0


class Preview(msgspec.Struct, forbid_unknown_fields=True, tag_field="action", tag="preview"):
    """Tell what an action would do, and change nothing."""

    of: dict[str, Any]


PREVIEWED: dict[str, type[Any]] = {
    "link": LinkIdentifiers, "unlink": Unlink, "merge": MergeCustomers, "unmerge": Unmerge, "accept": Accept,
    "reject": Reject, "cannot-link": CannotLink, "allow-link": AllowLink, "move": Move,
}  # fmt: skip
ACTIONS: dict[str, type[Any]] = {"resolve": Resolve, **PREVIEWED, "preview": Preview}

_PATH = "/api/v1/identity"


def _identities(customer_id: str, type_: str, value: str) -> Step:
    return Step(f"/api/v1/customers/{customer_id}/identities", {"type": type_, "value": value})


def _identifier(type_: str, value: str) -> dict[str, str]:
    return {"type": type_, "value": value}


_LINK = {"action": "link", "canonicalId": "CUST001", "identifiers": [_identifier("device_id", "android-7d31")]}
_MERGE = {"action": "merge", "targetId": "CUST001", "sourceId": "CUST004"}

_APART = {
    "action": "cannot-link",
    "identifier": _identifier("email", "john@example.com"),
    "other": _identifier("email", "amir@example.net"),
}

EXAMPLES: dict[str, Example] = {
    "resolve": Example({"action": "resolve", "identifier": _identifier("email", "john@example.com")}),
    "link": Example(_LINK),
    "unlink": Example(
        {"action": "unlink", "canonicalId": "CUST001", "identifier": _identifier("device_id", "android-7d31")},
        (Step(_PATH, _LINK),),
    ),
    "merge": Example(_MERGE),
    "unmerge": Example({**_MERGE, "action": "unmerge"}, (Step(_PATH, _MERGE),)),
    # The record names an identifier of another customer's: it is taken, joins nobody, and waits for review.
    "accept": Example(
        {
            "action": "accept",
            "identifier": _identifier("customer_id", "CUST004"),
            "other": _identifier("device_id", "ios-7f21"),
        },
        (_identities("CUST004", "device_id", "ios-7f21"),),
    ),
    "reject": Example(
        {
            "action": "reject",
            "identifier": _identifier("customer_id", "CUST003"),
            "other": _identifier("email", "maria@example.org"),
        },
        (_identities("CUST003", "email", "maria@example.org"),),
    ),
    "cannot-link": Example(_APART),
    "allow-link": Example(
        {**_APART, "action": "allow-link"},
        (Step(_PATH, _APART),),
    ),
    "move": Example(
        {
            "action": "move",
            "sourceId": "CUST001",
            "targetId": "CUST004",
            "identifier": _identifier("device_id", "android-7d31"),
        },
        (Step(_PATH, _LINK),),
    ),
    "preview": Example({"action": "preview", "of": {**_MERGE, "sourceId": "CUST003"}}),
}
"""An example of each action, on the sample that `portrait demo` loads."""
