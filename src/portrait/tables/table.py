"""What every reader gives: a table of rows, each cell a text as it stands."""

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

Format = Literal["csv", "json", "jsonl", "xlsx", "parquet", "arrow"]
BATCH = 1000
"""About the most rows of a batch."""


class Unreadable(msgspec.Struct, frozen=True):
    """A cell whose value cannot be told, such as an error in a workbook, or bytes that are no text."""

    why: str
    """What is wrong with it, as the end of a sentence that begins with the column: `holds the error #N/A at C17`."""


Cell = str | None | Unreadable
"""A text; an empty text says nothing; None says that there is no value, which JSON's null alone does."""


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row of a table."""

    number: int
    """Where a person finds it, from 1: the line on which it begins, the row of a sheet, the element of an array."""
    cells: Sequence[Cell]
    """One for each column that was asked for, in that order; none where the row is at fault."""
    fault: str | None = None
    """Why it cannot be read, and what would be right, as a sentence; None: it can."""


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a table lies in a file. What is left out is what the format's own standard says, never a guess."""

    format: Format | None = None
    """None: what the file's name ends in says it."""
    delimiter: str = ","
    """What stands between the cells of a text: one character, or `spaces` for any white space."""
    quote: str = '"'
    """What stands around a cell; doubled inside it. Empty: nothing does."""
    encoding: str = "utf-8"
    """The name of a codec of Python's; a byte-order mark is passed over."""
    skip: int = 0
    """So many lines, or rows of a sheet, stand before the header."""
    columns: tuple[str, ...] = ()
    """The names of the columns, where the first line is data already. Empty: the first line names them."""
    sheet: str | None = None
    """The sheet of a workbook; None: its only visible sheet."""
    path: str | None = None
    """Where in a JSON document the array of rows is, such as `data.customers`; None: the document is the array."""
    members: str | None = None
    """Which files of an archive are read, as a pattern of their names such as `*.csv`; None: all."""


class Table(Protocol):
    """Rows of one file, sheet or query, read once, from the first to the last."""

    name: str
    """The name of the file, without folders; of a query, that of the database."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns' names in order; None: each row has names of its own, as JSON objects do.

        Where rows have names of their own, a column is asked for by its path: `address.city`. Of a name that several
        columns have, each gets its number: `Create Date (1)`, `Create Date (2)`. A column without a name is called by
        its position: `column 3`.
        """
        ...

    @property
    def progress(self) -> float | None:
        """How much of the table has been read, from 0 to 1; None where that cannot be told."""
        ...

    def check(self, wanted: Sequence[str]) -> None:
        """Check that the table has some columns.

        Raises:
            InputRefused: it lacks a column; the detail says which, and what would be right.
        """
        ...

    def batches(self, wanted: Sequence[str]) -> AsyncIterator[list[Row]]:
        """Yield the rows in order, some at a time, in constant memory. Rows that hold nothing are left out.

        Args:
            wanted: the columns; each is one of `columns`, where there are any.

        Raises:
            InputRefused: the table lacks a column; then no row is yielded.
            TableBroken: no further row can be read, or the file has changed since it was opened.
        """
        ...
