"""A tenant's rules for what clients send: which properties name offers, what of a request is kept, mapped events."""

import re
from functools import lru_cache
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from portrait.model import strict_json
from portrait.model.errors import InvalidRules
from portrait.sections.registry import Registry

MAX_RULES = 2**16
"""The most bytes of a tenant's rules."""
Kept = Literal["ip", "userAgent", "query"]
_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_Names = Annotated[tuple[_Name, ...], Meta(max_length=100)]


class CollectingRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One tenant's rules. What is left out is as by default."""

    offer_properties: _Names = ("offerId", "offer_id")
    """The properties that name an offer; the first that is there counts."""
    channel_properties: _Names = ("channelId", "channel_id")
    """The properties that name a channel; the same."""
    keep: tuple[Kept, ...] = ()
    """What is kept of a request, and left out otherwise: the client's address and user agent, as far as the client says
    them, and query and fragment of web addresses."""
    event_types: dict[_Name, str] = {}
    """Of CloudEvents: by type the section whose record the data is."""

    @property
    def kept(self) -> frozenset[str]:
        """What is kept of a request."""
        return frozenset(self.keep)


DEFAULT = CollectingRules()


@lru_cache(maxsize=1024)
def read(stored: bytes | None) -> CollectingRules:
    """Return rules from their stored form; None: there are none."""
    return DEFAULT if stored is None else msgspec.json.decode(stored, type=CollectingRules)


def parse(raw: bytes, registry: Registry) -> CollectingRules:
    """Return the rules that a JSON text holds.

    Raises:
        MalformedJson: it is not JSON; the detail says where.
        InvalidRules: it is too long, breaks the schema, or names no section of records; the detail says where.
    """
    if len(raw) > MAX_RULES:
        raise InvalidRules(f"Rules for collecting have at most {MAX_RULES} bytes of JSON.")
    strict_json.check(raw)
    strict_json.decode(raw)
    try:
        rules = msgspec.json.decode(raw, type=CollectingRules)
    except msgspec.MsgspecError as error:
        raise InvalidRules(_broken(str(error))) from None
    sections = [section.name for section in registry.all_stored()]
    if not set(rules.event_types.values()) <= set(sections):
        raise InvalidRules(f"`eventTypes`: a type is mapped to one of the sections {', '.join(sections)}.")
    return rules


def _broken(message: str) -> str:
    """Return where rules break their schema; never a value of theirs."""
    match = re.search(r"\$\.(\w+)", message)
    fields = [field.encode_name for field in msgspec.structs.fields(CollectingRules)]
    if match is None or match[1] not in fields:
        return f"Rules for collecting are an object of these fields: {', '.join(fields)}."
    if match[1] == "keep":
        return f"`keep` lists some of: {', '.join(get_args(Kept))}."
    return f"`{match[1]}` breaks its rule: see docs/reference/collecting.md."
