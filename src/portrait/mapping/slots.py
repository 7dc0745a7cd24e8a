"""Slots: the fields that a section's records have, with what the schema says of their values."""

from collections.abc import Callable, Iterator
from datetime import datetime
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import Meta, UnsetType

from portrait.model.identifier import length_fault, name_fault
from portrait.sections.base import StoredSection
from portrait.sections.identities import Identity
from portrait.sections.record import Record

SlotKind = Literal["text", "number", "integer", "boolean", "time", "list", "object", "any", "other"]

_BASIC: dict[Any, SlotKind] = {
    str: "text", float: "number", int: "integer", bool: "boolean", datetime: "time", list: "list", dict: "object",
    Any: "any",
}  # fmt: skip
_NATURAL = {"object": "json", "other": "json", "any": "text"}
_TAKES: dict[str, frozenset[str]] = {
    "text": frozenset({"text", "number", "integer", "boolean", "time", "date", "salesforce_id"}),
    "number": frozenset({"number", "integer"}),
    "integer": frozenset({"integer"}),
    "boolean": frozenset({"boolean"}),
    "time": frozenset({"time"}),
    "list": frozenset({"list", "json"}),
    "object": frozenset({"json"}),
}
"""By a field's kind how its texts may be read; any way where it is not here."""
_WORDS = {
    "text": "a text", "number": "a number", "integer": "a whole number", "boolean": "true or false",
    "time": "a moment with an offset", "list": "an array", "object": "an object",
}  # fmt: skip


class Slot(NamedTuple):
    """What may be said in a field."""

    kind: SlotKind
    check: Any
    """Returns nothing and raises `msgspec.ValidationError` where the field does not take a JSON value."""
    choices: tuple[str, ...]
    """The texts that the field takes; none: any."""
    is_narrow: bool
    """Whether a value of the right type may break the schema still, so that each value is checked."""
    takes_null: bool
    """Whether JSON's null is a value of the field's, and another one than no value."""
    fault: Callable[[str], str | None] | None = None
    """Returns the rule that a text breaks, where what it names has one, or None."""

    @property
    def natural(self) -> str:
        """How a text is read where the mapping does not say it."""
        return _NATURAL.get(self.kind, self.kind)

    def takes(self, reading: str) -> bool:
        """Tell whether a text may be read so for this field."""
        return reading in _TAKES.get(self.kind, (reading,))

    @property
    def expected(self) -> str:
        """What the field takes, in words."""
        if self.choices:
            return f"one of: {', '.join(self.choices)}"
        return _WORDS.get(self.kind, "what the schema of the field says")

    def refuses(self, value: Any) -> bool:
        """Tell whether a value, as JSON has it, is none for this field."""
        try:
            self.check(msgspec.json.encode(value))
        except msgspec.ValidationError:
            return True
        return False


def slots_of(section: StoredSection, member: type[Record]) -> dict[str, Slot]:
    """Return the slots of a type of a section's records by their names in JSON."""
    slots = {}
    for field in msgspec.structs.fields(member):
        slot = slot_of(field.type)
        slots[field.encode_name] = slot._replace(
            takes_null=slot.takes_null and field.default is not None,
            fault=_fault(section, member, field.name) if slot.kind == "text" else None,
        )
    return slots


def _fault(section: StoredSection, member: type[Record], attribute: str) -> Callable[[str], str | None] | None:
    """Return what finds the rule that a text breaks: keys that stand in URLs, and identifiers, have some."""
    if member is Identity:
        return _value_fault if attribute == "value" else None
    is_key = not section.opaque_keys and attribute == section.key_fields[member][0]
    return name_fault if is_key else None


def _value_fault(text: str) -> str | None:
    return length_fault(text)


def slot_of(annotation: Any) -> Slot:
    """Return the slot of a field with this annotation."""
    plain = _plain(annotation)
    choices = tuple(get_args(plain)) if get_origin(plain) is Literal else ()
    if choices and all(isinstance(choice, str) for choice in choices):
        kind: SlotKind = "text"
    else:
        choices = ()
        kind = _BASIC.get(get_origin(plain) or plain, "other")
    has_parts = any(part is not Any for part in get_args(plain)) and plain != dict[str, Any]
    is_narrow = kind == "other" or has_parts or any(_narrows(meta) for meta in _metas(annotation))
    slot = Slot(kind, _check(annotation), choices, is_narrow, takes_null=False)
    return slot._replace(takes_null=not slot.refuses(None))


def _check(annotation: Any) -> Any:
    decode = msgspec.json.Decoder(msgspec.defstruct("_Checked", [("value", annotation)])).decode
    return lambda value: decode(b'{"value":%b}' % value)


def _plain(annotation: Any) -> Any:
    """Return a type without its annotations and without None."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        others = [each for each in get_args(annotation) if each not in {type(None), UnsetType}]
        return _plain(others[0]) if len(others) == 1 else annotation
    return annotation


def _metas(annotation: Any) -> Iterator[Meta]:
    for part in get_args(annotation):
        if isinstance(part, Meta):
            yield part
        else:
            yield from _metas(part)


def _narrows(meta: Meta) -> bool:
    """Tell whether a rule leaves out some values that are not empty and have the right type."""
    bounds = (meta.gt, meta.ge, meta.lt, meta.le, meta.multiple_of, meta.max_length)
    return any(bound is not None for bound in bounds) or (meta.min_length or 0) > 1 or meta.pattern not in {None, r"\S"}


NAME = slot_of(str)._replace(fault=name_fault)
"""What takes a customer id."""
IDENTIFIER = slot_of(str)._replace(fault=_value_fault)
"""What takes the value of an identifier."""
MOMENT = slot_of(Annotated[datetime, Meta(tz=True)])
"""What takes a moment."""
ANYTHING = slot_of(Any)
"""What takes any value."""
