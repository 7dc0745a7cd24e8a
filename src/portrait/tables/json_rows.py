"""Objects of JSON: the lines of a text, or the elements of an array. Numbers keep their digits as they are written."""

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from portrait.model import streams, strict_json
from portrait.model.errors import BodyTooLarge, InputRefused, MalformedJson
from portrait.tables.batching import FileTable
from portrait.tables.lines import encoding_by_mark
from portrait.tables.sources import CannotReadOn, Source
from portrait.tables.table import Cell, Layout, Row

_BLOCK_SIZE = 2**18
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_minus_zero = re.compile(rb"[:,\[\s]-0\s*[,}\]]")
_values = msgspec.json.Decoder(dict[str, Any], float_hook=str)
_WRITTEN: dict[type, Callable[[Any], Cell]] = {
    int: str,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _value: None,
}
_text = msgspec.json.Decoder(str)


class JsonTable(FileTable):
    """The objects of a JSON array, or of a text with an object in each line."""

    def __init__(self, source: Source, layout: Layout, *, by_line: bool) -> None:
        super().__init__(source, None)
        self._by_line = by_line
        self._path = tuple(layout.path.split(".")) if layout.path else ()
        try:
            marked = encoding_by_mark(source.head())
        except CannotReadOn as error:
            raise InputRefused(f"{source.name} cannot be read: {error}") from error
        plain = codecs.lookup(layout.encoding).name in {"utf-8", "utf-8-sig", "ascii"}
        if plain and marked not in {None, "utf-8"}:
            raise InputRefused(f'{source.name} is not in {layout.encoding}: set encoding = "{marked}".')
        self._stream: streams.Readable = source if plain else _Recoded(source, layout.encoding)

    def names(self, count: int) -> tuple[str, ...]:
        """Return the names that the first rows have, those within objects by their paths. These rows are read then."""
        names: dict[str, None] = {}
        for _, raw in islice(self._lines() if self._by_line else self._elements(), count):
            try:
                row = _values.decode(raw)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                continue  # its own row says what is wrong with it
            names.update(dict.fromkeys(_paths_in(row)))
        return tuple(names)

    def _rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        paths = [(name, tuple(name.split("."))) for name in wanted]
        for number, raw in self._lines() if self._by_line else self._elements():
            if len(raw) > streams.MAX_LINE:
                yield Row(number, (), f"It has more than {streams.MAX_LINE} bytes: no row may.")
                continue
            try:
                yield Row(number, _cells(raw, paths))
            except MalformedJson as error:
                remedy = " Write it in UTF-8, or set encoding to what the file has." if "UTF-8" in error.detail else ""
                yield Row(number, (), error.detail + remedy)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        for first, content in streams.whole_lines(self._stream.read, _BLOCK_SIZE):
            yield from streams.bare_lines(content, first + 1)

    def _elements(self) -> Iterator[tuple[int, bytes]]:
        if not self._path:
            self._check_array()
        try:
            yield from enumerate(streams.elements_at(self._stream, self._path), 1)
        except (MalformedJson, BodyTooLarge) as error:
            raise CannotReadOn(f"{error.detail} Write it anew, or load it in parts.") from error

    def _check_array(self) -> None:
        """Check that the document may be an array, and say what it may be otherwise."""
        first = self._source.head().removeprefix(codecs.BOM_UTF8).lstrip()[:1]
        if first == b"{":
            raise InputRefused(
                f"{self.name} is no array of rows: set path to where the array is, such as `data.customers`,"
                ' or format = "jsonl" where each line is a row.'
            )


def _paths_in(row: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in row.items():
        if isinstance(value, dict) and value:
            yield from _paths_in(value, f"{prefix}{name}.")
        else:
            yield prefix + name


class _Recoded:
    """A text in another encoding as UTF-8."""

    def __init__(self, source: Source, encoding: str) -> None:
        self._source = source
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def read(self, size: int) -> bytes:
        """Return the next bytes; none at the end."""
        while True:
            block = self._source.read(size)
            try:
                text = self._decoder.decode(block, final=not block)
            except UnicodeError as error:
                raise CannotReadOn(
                    f"its bytes are no {self._encoding}. Set encoding to what the file has; JSON is mostly in UTF-8."
                ) from error
            if text or not block:
                return text.encode()


def _cells(raw: bytes, paths: Sequence[tuple[str, tuple[str, ...]]]) -> list[Cell]:
    """Return the cells of an object.

    Raises:
        MalformedJson: the text is no JSON object, or holds what no store can keep.
    """
    strict_json.check(raw, any_integer=True)
    quick = _quick_cells(raw, paths)
    if quick is not None:
        return quick
    members = _members(raw)
    cells: list[Cell] = []
    for name, steps in paths:
        value = members.get(name)
        if value is None and len(steps) > 1:
            value = _nested(members, steps)
        cells.append("" if value is None else _cell(bytes(value)))
    return cells


def _quick_cells(raw: bytes, paths: Sequence[tuple[str, tuple[str, ...]]]) -> list[Cell] | None:
    """Return the cells of an object of texts and numbers, decoded at once; None where some need a closer look.

    Floating numbers come as they are written, and integers have one way to be written, but for -0.
    """
    if b"-0" in raw and _minus_zero.search(raw):
        return None
    try:
        values = _values.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    cells: list[Cell] = []
    for name, steps in paths:
        value = values.get(name, "")
        kind = type(value)
        if kind is str and (value or len(steps) == 1):
            cells.append(value)
        elif kind in _WRITTEN:
            cells.append(_WRITTEN[kind](value))
        else:
            return None
    return cells


def _members(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _object.decode(raw)
    except msgspec.ValidationError:
        raise MalformedJson("It is no JSON object: write a row as the object of its columns.") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise strict_json.malformed(raw, error) from None


def _nested(members: dict[str, msgspec.Raw], steps: Sequence[str]) -> msgspec.Raw | None:
    for step in steps[:-1]:
        value = bytes(members.get(step, b""))
        if not value.startswith(b"{"):
            return None
        members = _members(value)
    return members.get(steps[-1])


def _cell(raw: bytes) -> Cell:
    first = raw[:1]
    if first == b'"':
        if b"\\" not in raw:
            return raw[1:-1].decode()
        try:
            return _text.decode(raw)
        except (msgspec.DecodeError, ValueError) as error:
            raise strict_json.malformed(raw, error) from None
    return None if raw == b"null" else raw.decode()
