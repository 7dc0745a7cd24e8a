"""Records: the typed, classified shape of one thing said in a section, and how JSON becomes one."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, partial
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, UnsetType

from portrait.model import strict_json, time
from portrait.model.errors import InvalidRecord, PluginRefused
from portrait.sections.ranks import FIELD, without_rank

CLASSIFICATIONS = ("impersonal", "personal", "sensitive")


def classified(classification: str) -> msgspec.Meta:
    """Return the annotation that says how personal a field is: `impersonal`, `personal` or `sensitive`."""
    return msgspec.Meta(extra={"classification": classification})


impersonal = classified("impersonal")
"""The field says nothing about a person beyond that a record exists."""
personal = classified("personal")
"""The field identifies or describes a person."""
sensitive = classified("sensitive")
"""The field is of a special category (health, belief, …) or as grave."""

Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]
"""A moment: RFC 3339 with an offset or Z, kept and shown in UTC, in whole microseconds: what is beyond is cut off."""
Text = Annotated[str, msgspec.Meta(min_length=1)]
"""A text that is not empty."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """Base of every section's record: immutable, camelCase outside, unknown fields refused."""


_FINE = re.compile(rb"\.\d{7}")
"""Seconds with more digits than microseconds have, or a number like them."""


class Field(NamedTuple):
    """One field of a record's schema."""

    name: str
    """As in JSON."""
    attribute: str
    """As in Python."""
    classification: str
    required: bool
    is_timestamp: bool


def fields_of(schema: type[Record], where: str) -> tuple[Field, ...]:
    """Return the fields of a record type.

    Raises:
        PluginRefused: a field is not classified.
    """
    fields = []
    for field in msgspec.structs.fields(schema):
        extras: dict[str, Any] = {}
        _collect_extra(field.type, extras)
        classification = extras.get("classification")
        if classification not in CLASSIFICATIONS:
            raise PluginRefused(
                f"{where}: field {schema.__name__}.{field.name} is not classified. Annotate it, for example "
                f"Annotated[..., personal], with one of: {', '.join(CLASSIFICATIONS)}."
            )
        fields.append(Field(field.encode_name, field.name, classification, field.required, _holds_datetime(field.type)))
    return tuple(fields)


def _collect_extra(annotation: Any, extras: dict[str, Any]) -> None:
    for part in getattr(annotation, "__metadata__", ()):
        if isinstance(part, msgspec.Meta) and part.extra:
            extras.update(part.extra)
    for inner in get_args(annotation):
        if hasattr(inner, "__metadata__"):
            _collect_extra(inner, extras)


def _example(annotation: Any) -> Any:
    for part in getattr(annotation, "__metadata__", ()):
        if isinstance(part, msgspec.Meta) and part.examples:
            return part.examples[0]
    return None


def _placeholder(annotation: Any) -> Any:
    if _holds_datetime(annotation):
        return "2026-01-01T00:00:00Z"
    inner = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    if choices := literals(inner):
        return choices[0]
    return {int: 1, float: 1.0, bool: True, dict: {}, list: []}.get(get_origin(inner) or inner, "text")


def plain_type(annotation: Any) -> Any:
    """Return a type without its annotations and without None."""
    if hasattr(annotation, "__metadata__"):
        return plain_type(get_args(annotation)[0])
    others = [argument for argument in get_args(annotation) if argument not in {type(None), UnsetType}]
    return plain_type(others[0]) if len(others) == 1 and isinstance(annotation, UnionType) else annotation


def _holds_datetime(annotation: Any) -> bool:
    if annotation is datetime:
        return True
    return any(_holds_datetime(inner) for inner in get_args(annotation) if not isinstance(inner, msgspec.Meta))


class Shape:
    """One record type, or a tagged union of them, with everything that parsing needs worked out once."""

    def __init__(self, schema: Any, *, extras: str | None = None, ranked: bool = False, where: str = "Shape") -> None:
        """Take a schema.

        Args:
            schema: the record type, or a union of them.
            extras: the field that gathers fields which the schema does not name; they are refused where left out.
            ranked: whether records are kept with their sources' ranks: see `ranks`.
            where: what an error says of where the schema stands.
        """
        self.schema = schema
        members: tuple[Any, ...] = get_args(schema) if isinstance(schema, UnionType) else (schema,)
        if not all(isinstance(member, type) and issubclass(member, Record) for member in members):
            raise PluginRefused(f"{where}: a schema is a class derived from portrait.Record, or a union of such.")
        self.members: tuple[type[Record], ...] = members
        self.fields = {member: fields_of(member, where) for member in self.members}
        if extras is not None and not all(self._gathers(member, extras) for member in self.members):
            raise PluginRefused(
                f"{where}: `extras` names a field that gathers what the schema does not name: the class needs that "
                "field, an object, and forbid_unknown_fields=False."
            )
        if ranked and (
            extras is not None or any(field.name == FIELD for fields in self.fields.values() for field in fields)
        ):
            raise PluginRefused(f"{where}: with `ranked` a schema has neither `extras` nor a field called `{FIELD}`.")
        self.extras = extras
        self._is_ranked = ranked
        self._names = frozenset(field.name for field in self.fields[self.members[0]])
        self._decoder = msgspec.json.Decoder(schema)
        self._convert = partial(msgspec.convert, type=schema, str_keys=True)
        # "deterministic" sorts the members of free-form objects: equal records are equal bytes.
        self._encode = msgspec.json.Encoder(order="deterministic").encode
        self._moments = frozenset(
            field.name for fields in self.fields.values() for field in fields if field.is_timestamp
        )
        self._times = {
            member: tuple(field for field in fields if field.is_timestamp) for member, fields in self.fields.items()
        }

    def _gathers(self, member: type[Record], extras: str) -> bool:
        named = any(field.name == extras for field in self.fields[member])
        return named and not member.__struct_config__.forbid_unknown_fields

    def parse(self, raw: bytes) -> Record:
        """Return the record that a JSON text holds, which `strict_json.check` let through; its timestamps in UTC.

        Raises:
            MalformedJson: the text is not JSON.
            InvalidRecord: the record breaks the schema; the detail names the field.
        """
        try:
            record = self._read(raw)
        except msgspec.ValidationError as error:
            raise InvalidRecord(self._explain(str(error))) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise strict_json.malformed(raw, error) from None
        return self._in_utc(record)

    def parse_key(self, raw: bytes, keys: Mapping[type[Record], tuple[str, ...]]) -> Record:
        """Return the record of which a JSON text holds at least the fields of its key; the others are None.

        Args:
            raw: the text, which `strict_json.check` let through.
            keys: per record type, the attributes that form its key.

        Raises:
            MalformedJson: the text is not JSON.
            InvalidRecord: a field breaks the schema, or one of the key is missing; the detail names it.
        """
        named = {_key_schema(member, keys[member]): member for member in self.members}
        try:
            of_any: Any = Union[tuple(named)]  # noqa: UP007  # made at run time
            if self._is_fine(raw):
                key_record = msgspec.convert(self._cut_off(strict_json.decode(raw)), of_any, str_keys=True)
            else:
                key_record = msgspec.json.decode(raw, type=of_any)
        except msgspec.ValidationError as error:
            raise InvalidRecord(self._explain(str(error))) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise strict_json.malformed(raw, error) from None
        member = named[type(key_record)]
        of_key = keys[member]
        return self._in_utc(
            member(
                **{
                    field.attribute: getattr(key_record, field.attribute) if field.attribute in of_key else None
                    for field in self.fields[member]
                }
            )
        )

    def _read(self, raw: bytes) -> Record:
        is_fine = self._is_fine(raw)
        if self.extras is None and not is_fine:
            read: Record = self._decoder.decode(raw)
            return read
        value = strict_json.decode(raw) if self.extras is None else self._gather(raw)
        record: Record = self._convert(self._cut_off(value) if is_fine else value)
        return record

    def _is_fine(self, raw: bytes) -> bool:
        """Tell whether a text may contain a moment finer than microseconds."""
        return bool(self._moments) and _FINE.search(raw) is not None

    def _cut_off(self, value: Any) -> Any:
        """Return a record as JSON with its moments cut off at microseconds."""
        if not isinstance(value, dict):
            return value
        return value | {name: time.truncated(value[name]) for name in self._moments & value.keys()}

    def encode(self, record: Record) -> bytes:
        """Return a record as canonical JSON: equal records give equal bytes."""
        return self._encode(record)

    def decode(self, body: bytes) -> Record:
        """Return the record that `encode` wrote, kept with its source's rank or not."""
        record: Record = self._decoder.decode(without_rank(body) if self._is_ranked else body)
        return record

    def example(self) -> dict[str, Any]:
        """Return an example of a record as JSON shows it, from the fields' own examples."""
        member = self.members[0]
        tag = member.__struct_config__
        record: dict[str, Any] = {tag.tag_field: tag.tag} if tag.tag_field else {}
        for field in msgspec.structs.fields(member):
            example = _example(field.type)
            if field.required or example is not None:
                record[field.encode_name] = example if example is not None else _placeholder(field.type)
        return record

    def _in_utc(self, record: Record) -> Record:
        changes = {}
        for field in self._times[type(record)]:
            value = getattr(record, field.attribute)
            if value is not None and value.tzinfo is not UTC:
                try:
                    changes[field.attribute] = time.to_utc(value)
                except ValueError as error:
                    raise InvalidRecord(f"Field `{field.name}`: {error}.") from None
        return msgspec.structs.replace(record, **changes) if changes else record

    def _gather(self, raw: bytes) -> Any:
        """Move the fields that the schema does not name into the field that gathers them."""
        value = strict_json.decode(raw)
        if not isinstance(value, dict):
            return value
        gathered = value.pop(self.extras, None)
        if gathered is None:
            gathered = {}
        elif not isinstance(gathered, dict):
            return {**value, self.extras: gathered}
        others = [name for name in value if name not in self._names]
        if not gathered.keys().isdisjoint(others):
            twice = min(gathered.keys() & others)
            raise InvalidRecord(f"{_named(twice)} is given both beside `{self.extras}` and inside it: give it once.")
        for name in others:
            gathered[name] = value.pop(name)
        if gathered:
            value[self.extras] = gathered
        return value

    def _explain(self, message: str) -> str:
        """Return the decoder's complaint with the field named and no value repeated."""
        rule, _, path = message.partition(" - at `")
        path = path.rstrip("`")
        name = path.removeprefix("$").removeprefix(".")
        subject = f"Field `{name}`" if re.fullmatch(r"[\w.\[\]]{1,128}", name, re.ASCII) else "The record"
        if match := re.match(r"Object contains unknown field `(.*)`$", rule, re.DOTALL):
            known = sorted({field.name for fields in self.fields.values() for field in fields})
            return f"{_named(match[1])} is unknown; known fields are: {', '.join(known)}."
        if match := re.match(r"Object missing required field `(\w+)`$", rule):
            prefix = f"{name}." if name else ""
            return f"Field `{prefix}{match[1]}` is required."
        return f"{subject}: {self._rule(rule, name)}."

    def _rule(self, rule: str, name: str) -> str:
        if rule.startswith("Invalid"):
            is_moment = "RFC3339" in rule
            return (
                "must be an RFC 3339 timestamp with an offset or Z" if is_moment else f"must be {self._choices(name)}"
            )
        if "timezone component" in rule:
            return "a timestamp needs an offset or Z"
        if rule.startswith("Expected"):
            return re.sub(r"`(\w+)`", lambda match: _WORDS.get(match[1], match[1]), f"e{rule[1:]}")
        return "breaks the schema of this section"

    def _choices(self, name: str) -> str:
        tags = [member.__struct_config__.tag for member in self.members]
        if name == self.members[0].__struct_config__.tag_field:
            return f"one of: {', '.join(str(tag) for tag in tags)}"
        for member in self.members:
            for field in msgspec.structs.fields(member):
                if field.encode_name == name:
                    choices = literals(field.type)
                    if choices:
                        return f"one of: {', '.join(choices)}"
        return "one of the values that the schema lists"


@cache
def _key_schema(member: type[Record], attributes: tuple[str, ...]) -> type[msgspec.Struct]:
    """Return the shape of a record of which all but the key may be missing."""
    of, names = member.__struct_config__, {}
    fields: list[Any] = []
    for field in msgspec.structs.fields(member):
        names[field.name] = field.encode_name
        if field.name not in attributes:
            fields.append((field.name, Any, UNSET))
        elif field.required:
            fields.append((field.name, field.type))
        else:
            fields.append((field.name, field.type, field.default))
    return msgspec.defstruct(
        member.__name__, fields, rename=names, kw_only=True, tag_field=of.tag_field, tag=of.tag,
        forbid_unknown_fields=of.forbid_unknown_fields,
    )  # fmt: skip


_WORDS = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "datetime": "a timestamp",
    "array": "an array", "object": "an object", "null": "null",
}  # fmt: skip
"""What the decoder's types are called in JSON."""


def literals(annotation: Any) -> list[str]:
    """Return the texts that a type allows; none where it allows any text, or no texts."""
    texts = []
    for inner in get_args(annotation):
        if isinstance(inner, str):
            texts.append(inner)
        elif get_args(inner):
            texts.extend(literals(inner))
    return texts


def _named(name: str) -> str:
    if re.fullmatch(r"[A-Za-z_][\w-]{0,63}", name, re.ASCII):
        return f"Field `{name}`"
    return "A field whose name is not a plain word"
