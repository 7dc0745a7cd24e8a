"""Texts with a delimiter, by Python's csv: every cell is the text that stands there."""

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from portrait.model.errors import InputRefused
from portrait.tables import naming
from portrait.tables.batching import FileTable
from portrait.tables.lines import MAX_ROW, TextLines, escaped, too_long
from portrait.tables.sources import CannotReadOn, Source
from portrait.tables.table import Cell, Layout, Row, Unreadable

SPACES = "spaces"
_NUL = Unreadable("holds a NUL character, which no store can keep")
_QUOTES = "a quote within a cell that stands in quotes must be doubled, and a delimiter must follow the last quote"
_HELD = f'quotes hold no cell together where delimiter is "{SPACES}"; set quote = "" where they are part of the text'


class CsvTable(FileTable):
    """A text with a delimiter."""

    def __init__(self, source: Source, layout: Layout) -> None:
        self._lines = TextLines(source, layout.encoding)
        self._delimiter = layout.delimiter
        self._skip = layout.skip
        self._named = layout.columns
        # The one limit is of the whole process; the shortest row that is refused is longer anyway.
        csv.field_size_limit(MAX_ROW)
        try:
            for _ in islice(self._lines, layout.skip):
                self._lines.finished += 1
            self._reader = _reader(iter(self._lines), layout)
            self._header = () if layout.columns else self._first(source.name)
        except CannotReadOn as error:
            raise InputRefused(f"{source.name} cannot be read: {error}") from error
        super().__init__(source, layout.columns or naming.unique(self._header))

    def _first(self, name: str) -> tuple[str, ...]:
        """Return the first row that is not blank."""
        try:
            for cells in self._reader:
                self._lines.finished = self._skip + self._reader.line_num
                if any(cell.strip() for cell in cells):
                    break
            else:
                raise InputRefused(f"{name} holds no row: its first line must name the columns.")
        except csv.Error as error:
            why = self._why_fault(error, self._lines.finished + 1)
            raise InputRefused(f"{name} has no header that can be read: {why}.") from error
        if self._lines.suspect_through >= self._lines.finished and any(escaped(cell) for cell in cells):
            raise InputRefused(f"{name} has a header that is no {self._lines.encoding}: {self._right_encoding()}")
        return tuple(cells)

    def _lack(self, name: str) -> str:
        if self._named:
            return super()._lack(name)
        return naming.lack_of_text(name, self._header, self._columns or (), self._delimiter)

    def _rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        lines, reader, skip = self._lines, self._reader, self._skip
        columns = self._columns or ()
        width = len(columns)
        pick = naming.picker(wanted, columns)
        last = lines.finished
        if self._named:
            lines.suspect_through = max(lines.suspect_through, last + 1)
        while True:
            try:
                for cells in reader:
                    number = last + 1
                    lines.finished = last = reader.line_num + skip
                    if len(cells) == width and number > lines.suspect_through and (cells[0] or any(cells)):
                        yield Row(number, pick(cells))
                    elif (row := self._odd(number, cells, wanted)) is not None:
                        yield row
            except csv.Error as error:
                number = last + 1
                lines.finished = last = reader.line_num + skip
                yield Row(number, (), f"It cannot be told where its cells end: {self._why_fault(error, number)}.")
            else:
                return

    def _odd(self, number: int, cells: list[str], wanted: Sequence[str]) -> Row | None:
        """Return the row of cells that need a closer look; None where they hold nothing."""
        columns = self._columns or ()
        if not any(cells) or (len(cells) == 1 and not cells[0].strip()):
            return None
        if len(cells) != len(columns):
            return Row(number, (), _other_length(len(cells), len(columns), named=bool(self._named)))
        if self._named and number == self._skip + 1 and naming.unique(cells) == columns:
            raise InputRefused(f"{self.name} names its columns in its first line already: leave columns out.")
        chosen: list[Cell] = []
        for name, cell in zip(wanted, naming.picker(wanted, columns)(cells), strict=True):
            if (position := escaped(cell)) is not None:
                where = f"Column `{name}` holds bytes that are no {self._lines.encoding}, at character {position}"
                return Row(number, (), f"{where}: {self._right_encoding()}")
            chosen.append(_NUL if "\0" in cell else cell)
        return Row(number, chosen)

    def _right_encoding(self) -> str:
        example = ', such as "cp1252"' if self._lines.encoding.casefold().startswith("utf") else ""
        return f"set encoding to what the file has{example}."

    def _why_fault(self, error: csv.Error, line: int) -> str:
        """Say what is wrong with a row.

        Raises:
            CannotReadOn: where the row ends cannot be told either, and so nothing behind it can be read.
        """
        message = str(error)
        if "end of data" in message:
            raise CannotReadOn(
                f'a quote in the row that begins in line {line} is never closed. Close it, or set quote = "" where'
                " quotes are part of the text."
            ) from error
        if "field larger" in message:
            raise CannotReadOn(too_long(line)) from error
        return _HELD if self._delimiter == SPACES else _QUOTES


class _Spaced:
    """What csv.reader is for delimiters, for white space."""

    def __init__(self, lines: Iterator[str], quote: str) -> None:
        self.line_num = 0
        self._lines = lines
        self._quote = quote

    def __iter__(self) -> "_Spaced":
        return self

    def __next__(self) -> list[str]:
        line = next(self._lines)
        self.line_num += 1
        if self._quote and self._quote in line:
            raise csv.Error("a quote")
        return line.split()


def _reader(lines: Iterator[str], layout: Layout) -> Any:
    if layout.delimiter == SPACES:
        return _Spaced(lines, layout.quote)
    if not layout.quote:
        return csv.reader(lines, delimiter=layout.delimiter, quoting=csv.QUOTE_NONE, quotechar=None, strict=True)
    return csv.reader(lines, delimiter=layout.delimiter, quotechar=layout.quote, strict=True)


def _other_length(cells: int, columns: int, *, named: bool) -> str:
    count = "1 cell" if cells == 1 else f"{cells} cells"
    where = f"{columns} columns are named" if named else f"the header has {columns}"
    return (
        f"It has {count} where {where}: write as many, and put quotes around a cell that holds a delimiter or line end."
    )
