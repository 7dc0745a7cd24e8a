"""Blocks: what is read of a source at once, parsed by one process, and kept until all that it holds is written."""

from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from operator import attrgetter
from typing import Protocol

import msgspec

from portrait.model import streams
from portrait.tables import batching
from portrait.tables.table import Row, Table, Unreadable

BLOCK_BYTES = 2**16
"""About the most bytes of a block, which one process parses at once."""
RECORD_BYTES = 200
"""What a record that a row makes counts for, besides its texts: about as much as a line of JSON that says it."""


class Block(Protocol):
    """Part of a source; each record that may come of it has an index, in the source's order."""

    @property
    def first(self) -> int:
        """The index of its first record."""
        ...

    @property
    def size(self) -> int:
        """How many bytes it takes, about."""
        ...

    def number(self, index: int) -> int:
        """Return where a person finds in the source what a record came of, from 1: a line, or a row."""
        ...

    def text(self, index: int) -> bytes:
        """Return what the record with an index came of."""
        ...


class LineBlock(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Whole lines of NDJSON, each of which is one record."""

    first: int
    """The number of the first line, from 0, which is the index of its record."""
    content: bytes

    @property
    def size(self) -> int:
        """See `Block`."""
        return len(self.content)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines with their indexes, as `streams.lines` does."""
        return streams.bare_lines(self.content, self.first)

    def number(self, index: int) -> int:
        """See `Block`."""
        return index + 1

    def text(self, index: int) -> bytes:
        """See `Block`."""
        return streams.bare(self.content.split(b"\n", index - self.first + 1)[index - self.first])


class RowBlock(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Rows of a table, each of which may make several records."""

    first: int
    """The index of the first record."""
    size: int
    """How many bytes its texts have and its records take, about."""
    width: int
    """The most records that a row makes: so far are the indexes of two rows apart."""
    columns: tuple[str, ...]
    rows: list[Row]

    def number(self, index: int) -> int:
        """See `Block`."""
        return self._row(index).number

    def text(self, index: int) -> bytes:
        """Return the row's cells as a JSON object; what says nothing is left out, and so is what cannot be read."""
        cells = zip(self.columns, self._row(index).cells, strict=False)  # a row that is at fault may have fewer
        return msgspec.json.encode(
            {column: cell for column, cell in cells if cell != "" and not isinstance(cell, Unreadable)}
        )

    def _row(self, index: int) -> Row:
        return self.rows[(index - self.first) // self.width]


def block_of(blocks: Sequence[Block], index: int) -> Block:
    """Return the block that the record with an index came of, from the blocks of a source that hold it, in order."""
    return blocks[bisect_right(blocks, index, key=attrgetter("first")) - 1]


async def of_parts(parts: Iterator[tuple[int, bytes]], *, in_thread: bool = False) -> AsyncGenerator[LineBlock]:
    """Yield parts of whole lines.

    Args:
        parts: the parts, each with the number of its first line from 0.
        in_thread: whether the next part may be waited for, as of a pipe: the event loop then goes on meanwhile.
    """
    while (part := await batching.in_thread(lambda: next(parts, None)) if in_thread else next(parts, None)) is not None:
        yield LineBlock(*part)


def of_lines(read: Callable[[int], bytes]) -> AsyncGenerator[LineBlock]:
    """Yield the lines of a stream.

    Args:
        read: returns the next bytes of it, at most so many; none at its end.
    """
    return of_parts(streams.whole_lines(read, BLOCK_BYTES))


async def of_rows(table: Table, wanted: Sequence[str], width: int) -> AsyncGenerator[RowBlock]:
    """Yield the rows of a table.

    Args:
        table: the table.
        wanted: the columns that are read.
        width: the most records that a row makes.

    Raises:
        TableBroken: no further row can be read.
    """
    columns, first = tuple(wanted), 0
    batches: AsyncIterator[list[Row]] = table.batches(columns)
    async for batch in batches:
        rows: list[Row] = []
        size = 0
        for row in batch:
            rows.append(row)
            size += width * RECORD_BYTES + sum(len(cell) for cell in row.cells if isinstance(cell, str))
            if size >= BLOCK_BYTES:
                yield RowBlock(first, size, width, columns, rows)
                first, size, rows = first + len(rows) * width, 0, []
        if rows:
            yield RowBlock(first, size, width, columns, rows)
            first += len(rows) * width
