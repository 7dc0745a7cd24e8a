"""Inputs of a load: files, streams, archives and queries, as blocks of lines or rows with what parses these."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import IO, NamedTuple

from portrait.ingest import blocks
from portrait.ingest.blocks import LineBlock, RowBlock
from portrait.ingest.formats import foreign
from portrait.ingest.mapped import MappedTable
from portrait.mapping.language import Mapping
from portrait.model import streams
from portrait.model.errors import InputRefused, MalformedJson, TableBroken
from portrait.sections.registry import Registry
from portrait.tables import opening
from portrait.tables.databases import open_query
from portrait.tables.sources import CannotReadOn, Source
from portrait.tables.table import Table


class Input(NamedTuple):
    """What is loaded from the front: a file, a member of an archive, or a query."""

    name: str
    """The name of the file, without folders."""
    blocks: AsyncGenerator[LineBlock | RowBlock]
    progress: Callable[[], float | None]
    """Returns how much of it has been read, from 0 to 1; None where that cannot be told."""
    mapped: MappedTable | None = None
    """How its rows become lines; None: it has lines."""


@asynccontextmanager
async def of_lines(file: Path | IO[bytes], name: str) -> AsyncIterator[list[Input]]:
    """Open a file of records: JSON lines, or one JSON array; several in an archive.

    Args:
        file: the file's path, or a stream.
        name: what a stream is called.

    Raises:
        InputRefused: it is of another format, or cannot be read.
    """
    with opening.open_sources(file, name=name) as sources:
        yield [_of_records(source) for source in sources]


@asynccontextmanager
async def of_rows(
    file: Path | IO[bytes], name: str, mapping: Mapping, mapped: Callable[[Table], MappedTable], registry: Registry
) -> AsyncIterator[list[Input]]:
    """Open a file of rows, or several in an archive.

    Args:
        file: the file's path, or a stream.
        name: what a stream is called.
        mapping: what the rows mean.
        mapped: returns how the rows of a table become lines.
        registry: the sections.

    Raises:
        InputRefused: it cannot be read as the mapping says.
        InvalidMapping: the mapping does not fit.
    """
    with opening.open_tables(file, mapping.file, name=name) as tables:
        yield [_of_table(table, mapped(table), registry) for table in tables]


@asynccontextmanager
async def of_query(
    url: str, sql: str, mapped: Callable[[Table], MappedTable], registry: Registry
) -> AsyncIterator[list[Input]]:
    """Open the rows of a query; see `of_rows`."""
    async with AsyncExitStack() as stack:
        table = await stack.enter_async_context(open_query(url, sql))
        yield [_of_table(table, mapped(table), registry)]


def _of_table(table: Table, mapped: MappedTable, registry: Registry) -> Input:
    plan = mapped.plan(registry)
    table.check(plan.wanted)
    return Input(table.name, blocks.of_rows(table, plan.wanted, plan.width), lambda: table.progress, mapped)


def _of_records(source: Source) -> Input:
    if fault := foreign(source.head()):
        raise InputRefused(f"{source.name} {fault}.")
    parts = _elements(source) if _is_array(source.head()) else _lines(source)
    return Input(source.name, blocks.of_parts(parts, in_thread=source.may_wait), source.progress)


def _is_array(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _lines(source: Source) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines, with the number of the first from 0."""
    number = 0
    try:
        for first, content in streams.whole_lines(source.read, blocks.BLOCK_BYTES):
            number = first + content.count(b"\n")
            yield first, content
    except CannotReadOn as error:
        raise TableBroken(f"{source.name} cannot be read behind line {number:,}: {error}") from error


def _elements(source: Source) -> Iterator[tuple[int, bytes]]:
    """Yield the elements of an array as lines, with the number of the first from 0."""
    first, lines, size = 0, list[bytes](), 0
    broken: str | None = None
    try:
        for element in streams.elements_at(source, ()):
            # Only white space between values is a line's end: in a text of JSON it would be written otherwise.
            lines.append(element.replace(b"\n", b" "))
            size += len(element)
            if size >= blocks.BLOCK_BYTES:
                yield first, b"\n".join(lines)
                first, lines, size = first + len(lines), [], 0
    except (CannotReadOn, MalformedJson) as error:
        broken = str(error)
    if lines:
        yield first, b"\n".join(lines)
    if broken is not None:
        raise TableBroken(f"{source.name} cannot be read behind element {first + len(lines):,}: {broken}")
