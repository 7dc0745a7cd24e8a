"""Fields: where a value of a record comes from in a row, worked out before the first row."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from portrait.mapping.faults import BadCell, Unmade
from portrait.mapping.language import FieldRule, Texts
from portrait.mapping.moments import moments, zone_of
from portrait.mapping.slots import Slot
from portrait.mapping.toml import nearest
from portrait.mapping.values import Read, reader, words
from portrait.tables.table import Cell, Unreadable

NULL = b"null"
ROW_NUMBER = "row number"
"""What a template calls the number of the row."""
_BRACES = re.compile(r"\{([^{}]*)\}")
_encode = msgspec.json.Encoder().encode
_SOURCES = ("column", "value", "template", "file")
_MOST_COLUMNS = 30
"""So many columns are listed where one is missing."""

Get = Callable[[Sequence[Cell], int], bytes | None]
"""Returns the JSON of a field from a row's cells and number, or None where they say nothing; raises `Unmade`."""


class Filled(NamedTuple):
    """What fills a field: either of the two, or nothing."""

    constant: bytes | None = None
    get: Get | None = None


NOTHING = Filled()


class Columns:
    """The columns of a table, those of them that a mapping wants, and what is wrong with the mapping.

    Args:
        names: the columns' names; None: rows have names of their own.
        file: the name of the file.
        texts: how texts are read where a field says nothing else.
        faults: what is wrong, which this adds to.
    """

    def __init__(self, names: Sequence[str] | None, file: str, texts: Texts, faults: list[str]) -> None:
        self._names = names
        self._file = file
        self._texts = texts
        self._faults = faults
        self.wanted: list[str] = []

    def index(self, name: str, where: str, *, optional: bool) -> int | None:
        """Return where in a row a column stands; None where there is none."""
        if self._names is not None and name not in self._names:
            if not optional:
                self._faults.append(f"{where}: the table has no column `{name}`. {self._others(name)}")
            return None
        if self._names is not None and self._names.count(name) > 1:
            self._faults.append(f"{where}: the table has several columns `{name}`. Rename all but one of them.")
            return None
        if name not in self.wanted:
            self.wanted.append(name)
        return self.wanted.index(name)

    def filled(self, rule: FieldRule, slot: Slot, where: str) -> Filled:
        """Return what fills a field.

        Args:
            rule: the field.
            slot: what its schema says.
            where: where in the mapping it stands.
        """
        before = len(self._faults)
        self._check(rule, slot, where)
        if len(self._faults) > before:
            return NOTHING
        if rule.value is not UNSET:
            return self._constant(rule.value, slot, where)
        if rule.file:
            return self._of_file(rule, slot, where)
        reads = self._read(rule, slot)
        if rule.template is not None:
            filled = self._templated(rule, rule.template, reads, where)
        else:
            indexes = [self.index(name, where, optional=rule.optional) for name in rule.column]
            gets = [
                _of_column(index, name, rule.strip, reads, takes_null=slot.takes_null)
                for index, name in zip(indexes, rule.column, strict=True)
                if index is not None
            ]
            filled = Filled(None, _first(gets)) if gets else NOTHING
        if rule.required and len(self._faults) == before:
            if filled.get is None:
                self._faults.append(f"{where}: it is `required`, and the table has none of its columns.")
            else:
                filled = Filled(None, _required(filled.get, self._said(rule)))
        return filled

    def _check(self, rule: FieldRule, slot: Slot, where: str) -> None:
        sources = _sources(rule)
        add = self._faults.append
        if len(sources) != 1:
            add(f"{where}: a field has one of {', '.join(f'`{name}`' for name in _SOURCES)}.")
            return
        if sources[0] in {"value", "file"}:
            bare = FieldRule(value=rule.value, file=rule.file, required=rule.required)
            if bare != rule:
                add(f"{where}: beside `{sources[0]}` nothing is said of how a text is read.")
        if rule.type is not None and rule.words:
            add(f"{where}: a field has either `type` or `words`.")
        if rule.type is not None and not slot.takes(rule.type):
            add(f"{where}: a field of {slot.expected} cannot be read as {rule.type}.")
        for text, value in rule.words.items():
            if not text.strip():
                add(f"{where}: `words` cannot give an empty text a meaning: it says nothing.")
            if value != "" and slot.refuses(value):
                add(f"{where}: `words` has a value that the field does not take; it must be {slot.expected}.")
        check_texts(rule, self._texts, where, self._faults)

    def _constant(self, value: Any, slot: Slot, where: str) -> Filled:
        if slot.refuses(value):
            self._faults.append(f"{where}: the value must be {slot.expected}.")
            return NOTHING
        return Filled(_encode(value))

    def _of_file(self, rule: FieldRule, slot: Slot, where: str) -> Filled:
        name = self._file.casefold()
        fits = [value for pattern, value in rule.file.items() if fnmatchcase(name, pattern.casefold())]
        if not fits:
            self._faults.append(f"{where}: the file's name fits none of: {', '.join(rule.file)}.")
            return NOTHING
        return NOTHING if fits[0] == "" else self._constant(fits[0], slot, where)

    def _read(self, rule: FieldRule, slot: Slot) -> Read:
        none = self._none(rule)
        if rule.words:
            return words(rule, _Nones(none, _no_word).read)
        kind = rule.type or slot.natural
        read = reader(kind, rule, self._texts, quoted=slot.kind == "text")
        if kind == "json" or slot.is_narrow:
            read = _checked(read, slot)
        if slot.fault is not None:
            read = _faultless(read, slot.fault)
        return _Nones(none, read).read

    def _none(self, rule: FieldRule) -> frozenset[str]:
        return frozenset(text.strip().casefold() for text in (self._texts.none if rule.none is None else rule.none))

    def _templated(self, rule: FieldRule, template: str, reads: Read, where: str) -> Filled:
        pieces = _BRACES.split(template)
        parts: list[tuple[str, int | None, str]] = []
        for literal, name in zip(pieces[::2], [*pieces[1::2], None], strict=True):
            if name is None or name == ROW_NUMBER:
                parts.append((literal, None, "" if name is None else name))
            elif (index := self.index(name, where, optional=rule.optional)) is None:
                return NOTHING
            else:
                parts.append((literal, index, name))
        if len(pieces) == 1:
            self._faults.append(f"{where}: a template names columns in braces; a constant is a `value`.")
        return Filled(None, _of_template(parts, rule.strip, self._none(rule), reads))

    def present(self, rule: FieldRule) -> tuple[str, ...]:
        """Return the columns of a field that the table has."""
        names = rule.column or _BRACES.findall(rule.template or "")
        return tuple(name for name in names if name in self.wanted)

    def _said(self, rule: FieldRule) -> str:
        """Return what a field's columns are called at the beginning of a sentence."""
        names = self.present(rule)
        quoted = ", ".join(f"`{name}`" for name in names)
        return f"Column {quoted} says" if len(names) == 1 else f"Columns {quoted} say"

    def _others(self, name: str) -> str:
        names = self._names or ()
        return nearest(name, names[:_MOST_COLUMNS], "columns" if len(names) <= _MOST_COLUMNS else "first columns")


class _Nones:
    """Reads texts, of which some say nothing."""

    def __init__(self, none: frozenset[str], read: Read) -> None:
        self._none = none
        self._longest = max(map(len, none), default=0)
        self._read = read

    def read(self, text: str) -> bytes | None:
        """Return the JSON of a text, or None where it says nothing."""
        if len(text) <= self._longest and text.casefold() in self._none:
            return None
        return self._read(text)


def check_texts(rule: FieldRule | Texts, texts: Texts, where: str, faults: list[str]) -> None:
    """Add what is wrong with what a field, or the whole mapping, says of how texts are read."""
    if rule.zone is not None and zone_of(rule.zone) is None:
        faults.append(f"{where}: there is no time zone `{rule.zone}`. Give a name such as `Europe/Berlin` or `UTC`.")
    if (rule.decimal or rule.thousands) and (rule.decimal or texts.decimal) == (rule.thousands or texts.thousands):
        faults.append(f"{where}: `decimal` and `thousands` must differ.")
    yes, no = (
        {text.strip().casefold() for text in each or ()} for each in (rule.yes or texts.yes, rule.no or texts.no)
    )
    if (rule.yes or rule.no) and yes & no:
        faults.append(f"{where}: `yes` and `no` must have no text in common.")


def constant_moment(rule: FieldRule, texts: Texts) -> datetime:
    """Return the moment that a constant of a mapping says, in the forms in which columns may but as a number.

    Raises:
        BadCell: it says none.
    """
    order = None if texts.date in {"seconds", "milliseconds"} else texts.date
    moment = moments(order, texts.zone, ())(str(rule.value).strip())
    assert moment is not None
    return datetime.fromisoformat(moment)


def _sources(rule: FieldRule) -> list[str]:
    """Return which keys of a field say where its value comes from."""
    default = FieldRule()
    return [name for name in _SOURCES if getattr(rule, name) != getattr(default, name)]


def _no_word(_: str) -> None:
    raise BadCell("holds a text that has no meaning in `words`")


def _checked(read: Read, slot: Slot) -> Read:
    def checked(text: str) -> bytes | None:
        value = read(text)
        if value is None or value == NULL:
            return value if slot.takes_null else None
        try:
            slot.check(value)
        except msgspec.ValidationError:
            raise BadCell(f"must hold {slot.expected}") from None
        return value

    return checked


def _faultless(read: Read, fault: Callable[[str], str | None]) -> Read:
    def faultless(text: str) -> bytes | None:
        if rule := fault(text):
            raise BadCell(rule)
        return read(text)

    return faultless


def _of_column(index: int, name: str, strip: str, read: Read, *, takes_null: bool) -> Get:
    null = NULL if takes_null else None

    def get(cells: Sequence[Cell], _: int) -> bytes | None:
        cell = cells[index]
        if cell.__class__ is not str:
            if isinstance(cell, Unreadable):
                raise Unmade(f"Column `{name}` {cell.why}.")
            return null
        text = cell.strip()
        if strip:
            text = text.strip(strip).strip()
        if not text:
            return None
        try:
            return read(text)
        except BadCell as error:
            raise Unmade(f"Column `{name}` {error}.") from None

    return get


def _of_template(parts: Sequence[tuple[str, int | None, str]], strip: str, none: frozenset[str], read: Read) -> Get:
    names = ", ".join(f"`{name}`" for _, index, name in parts if index is not None)

    def get(cells: Sequence[Cell], number: int) -> bytes | None:
        texts = []
        for literal, index, name in parts:
            texts.append(literal)
            if index is None:
                texts.append(str(number) if name else "")
                continue
            cell = cells[index]
            if isinstance(cell, Unreadable):
                raise Unmade(f"Column `{name}` {cell.why}.")
            text = (cell or "").strip().strip(strip or None).strip()
            if not text or text.casefold() in none:
                return None
            texts.append(text)
        try:
            return read("".join(texts))
        except BadCell as error:
            raise Unmade(f"The template of {names or 'the row number'} {error}.") from None

    return get


def _first(gets: Sequence[Get]) -> Get:
    if len(gets) == 1:
        return gets[0]

    def get(cells: Sequence[Cell], number: int) -> bytes | None:
        null = None
        for each in gets:
            value = each(cells, number)
            if value is not None and value != NULL:
                return value
            null = null or value
        return null

    return get


def _required(get: Get, names: str) -> Get:
    def required(cells: Sequence[Cell], number: int) -> bytes | None:
        value = get(cells, number)
        if value is None:
            raise Unmade(f"{names} nothing, and the mapping requires a value.")
        return value

    return required
