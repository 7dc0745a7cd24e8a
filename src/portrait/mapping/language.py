"""The language of mappings: what a mapping in TOML can say, as structures.

Where TOML has a column's name alone, the structures have a field with that column: what was read is in one form.
"""

import tomllib
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import UNSET, Meta, UnsetType

from portrait.mapping.faults import invalid
from portrait.mapping.toml import shaped
from portrait.tables.table import Layout

DateOrder = Literal["dmy", "mdy", "ymd", "seconds", "milliseconds"]
"""The order of day, month and year; or the unit of a number that counts from 1970."""
ValueType = Literal["text", "number", "integer", "boolean", "time", "date", "list", "json", "salesforce_id"]
"""How a text is read."""
Sign = Annotated[str, Meta(min_length=1, max_length=1)]

ATTRIBUTES = "attributes"
"""The section of which `[attributes]` makes records."""
IDENTITIES = "identities"
"""The section of which `[identifiers]` makes records."""


class Texts(msgspec.Struct, frozen=True, kw_only=True):
    """How texts are read, in all columns that do not say otherwise."""

    none: tuple[str, ...] = ("NULL", "N/A", "#N/A", "NaN", "NaT", "<NA>", "(null)", "\\N")
    """Texts that say nothing, whatever their case; as an empty one does."""
    no_dates: tuple[str, ...] = ("0000-00-00", "0001-01-01", "1900-01-00")
    """Dates that say nothing."""
    date: DateOrder | None = None
    """None: dates are ISO 8601's."""
    zone: str | None = None
    """The time zone of moments without an offset, by its name in the IANA's list; None: these are refused."""
    yes: tuple[str, ...] = ("yes", "y", "true", "t", "1")
    no: tuple[str, ...] = ("no", "n", "false", "f", "0")
    decimal: Sign = "."
    thousands: Sign | None = None
    """None: none stands between the digits."""


class FieldRule(msgspec.Struct, frozen=True, kw_only=True):
    """Where a value comes from, and how it is read. One of the first four says where from."""

    column: tuple[str, ...] = ()
    """The columns; the first that has a value counts."""
    value: Any = UNSET
    """The value itself."""
    template: str | None = None
    """A text with names of columns in braces; `{row number}` is the number of the row."""
    file: dict[str, Any] = {}
    """By a pattern of the file's name the value; the first that fits counts."""
    type: ValueType | None = None
    """None: as the field's schema says."""
    words: dict[str, Any] = {}
    """By a text, whatever its case, the value that it means; an empty text as value says nothing."""
    none: tuple[str, ...] | None = None
    date: DateOrder | None = None
    zone: str | None = None
    yes: tuple[str, ...] | None = None
    no: tuple[str, ...] | None = None
    decimal: Sign | None = None
    thousands: Sign | None = None
    separator: Annotated[str, Meta(min_length=1)] = ","
    """What stands between the elements of a list."""
    strip: str = ""
    """Signs that are left out at both ends of a text."""
    required: bool = False
    """Whether a row without it is refused; otherwise its record is left out or is without the field."""
    optional: bool = False
    """Whether the table may lack the column, or some of the columns where the field is required."""

    @classmethod
    def of_shorthand(cls, value: Any) -> Any:
        """Return what TOML's value is short for: names of columns stand for a field with these columns."""
        return {"column": value} if isinstance(value, str | list) else value


class SubjectRule(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a row is about: either of the two."""

    id: FieldRule | None = None
    """The customer id."""
    identifier: dict[str, FieldRule] = {}
    """By the type of an identifier its value; the first that a row has counts."""


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename={"among": "is", "except_for": "not"}):
    """Which rows make a record: compared are texts without the white space around them, whatever their case."""

    column: str
    among: tuple[str, ...] | UnsetType = UNSET
    """Only those with one of these texts."""
    except_for: tuple[str, ...] | UnsetType = UNSET
    """Only those with none of these texts."""
    optional: bool = False
    """Whether the table may lack the column: then it counts as empty."""


class RecordRule(msgspec.Struct, frozen=True, kw_only=True):
    """A record that each row makes, or each that keeps to the conditions."""

    section: str
    fields: dict[str, FieldRule]
    when: tuple[Condition, ...] = ()
    """Rows that keep to all of these."""
    at: FieldRule | None = None
    """From when it is true."""


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """What the columns of a table mean."""

    source: str
    """Who says what the rows say."""
    exported: FieldRule | None = None
    """The moment of the whole export, as a constant."""
    file: Layout = Layout()
    """How the table lies in its file."""
    values: Texts = Texts()
    customer: SubjectRule
    at: FieldRule | None = None
    """From when a row's records are true; where it says nothing, that is the moment of the export."""
    identifiers: dict[str, FieldRule] = {}
    """By the type of an identifier its value: short for records of `identities`."""
    attributes: dict[str, FieldRule] = {}
    """By the name of an attribute its value: short for records of `attributes`."""
    records: tuple[RecordRule, ...] = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the mapping that a TOML text holds.

        Args:
            text: the text.

        Raises:
            InvalidMapping: it is no TOML, or has keys or values that no mapping has; the detail says all of them.
        """
        try:
            document = tomllib.loads(text.removeprefix("\ufeff"))
        except tomllib.TOMLDecodeError as error:
            raise invalid([f"It is not TOML: {str(error)[:1].lower()}{str(error)[1:]}."]) from None
        faults: list[str] = []
        if isinstance(exported := document.get("exported"), dict):
            faults.append('`exported` must be a moment, such as "2026-04-03T10:00:00Z".')
        elif exported is not None:
            document["exported"] = {"value": exported}
        mapping: Self | None = shaped(document, cls, "", faults)
        if faults or mapping is None:
            raise invalid(faults)
        return mapping

    @property
    def rules(self) -> list[tuple[RecordRule, str, bool]]:
        """The records that a row makes, each with where the mapping says so, and whether that is a short form.

        A short form has one field of the record, and says the others itself.
        """
        rules = []
        for type_, rule in self.identifiers.items():
            fields = {"type": FieldRule(value=type_), "value": rule}
            rules.append((RecordRule(section=IDENTITIES, fields=fields), f"`identifiers.{type_}`", True))
        for name, rule in self.attributes.items():
            fields = {"name": FieldRule(value=name), "value": rule}
            rules.append((RecordRule(section=ATTRIBUTES, fields=fields), f"`attributes.{name}`", True))
        for number, record in enumerate(self.records, 1):
            rules.append((record, f"`records` {number} ({record.section})", False))
        return rules
