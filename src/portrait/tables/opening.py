"""Opening a file as the tables that are in it."""

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from portrait.model.errors import InputRefused
from portrait.tables import kinds, sources
from portrait.tables.columnar import ColumnarTable
from portrait.tables.csv_rows import CsvTable
from portrait.tables.json_rows import JsonTable
from portrait.tables.sources import CannotReadOn, Source
from portrait.tables.table import Layout, Table
from portrait.tables.xlsx import XlsxTable

STANDARD_INPUT = "standard input"


@contextmanager
def open_tables(
    file: Path | IO[bytes], layout: Layout | None = None, *, name: str = STANDARD_INPUT
) -> Iterator[list[Table]]:
    """Open a file or a stream as tables: one, or one for each file of an archive, in the order of their names.

    What is packed by gzip is unpacked on the way. A format that cannot be read from the front is copied to a temporary
    file where it comes from a stream. The tables can be read until the context is left.

    Args:
        file: the file's path, or a stream that is read from the front.
        layout: how the tables lie in it.
        name: what a stream is called.

    Raises:
        InputRefused: it cannot be read so; the detail says why, and what would be right.
    """
    layout = layout or Layout()
    kinds.check_layout(layout)
    with ExitStack() as stack:
        yield [
            _table(source, kind, layout, stack, is_member=is_member)
            for source, kind, is_member in _sources(file, name, layout.members, stack)
        ]


@contextmanager
def open_sources(file: Path | IO[bytes], *, name: str = STANDARD_INPUT) -> Iterator[list[Source]]:
    """Open a file or a stream as the bytes that are in it, unpacked: of an archive those of each file, by their names.

    Args:
        file: the file's path, or a stream that is read from the front.
        name: what a stream is called.

    Raises:
        InputRefused: it cannot be read; the detail says why, and what would be right.
    """
    with ExitStack() as stack:
        found = list(_sources(file, name, None, stack))
        for source, kind, _ in found:
            kinds.check_known(source.name, kind)
        yield [source for source, _, _ in found]


def _sources(
    file: Path | IO[bytes], name: str, members: str | None, stack: ExitStack
) -> Iterator[tuple[Source, str, bool]]:
    """Yield the bytes that are to be read, unpacked, each with what it is and whether an archive holds it."""
    source = sources.of_path(file, stack) if isinstance(file, Path) else sources.of_stream(name, file)
    source, kind = _unpacked(source, stack)
    if kind != "zip":
        yield source, kind, False
        return
    archive = _archive(source, stack)
    for member_name, info in kinds.members(archive, members, source):
        member, kind = _unpacked(sources.of_member(archive, info, member_name, source, stack), stack)
        yield member, kind, True


def _unpacked(source: Source, stack: ExitStack) -> tuple[Source, str]:
    """Return bytes as they are without gzip, and what they are."""
    try:
        source = source.unpacked()
        kind = kinds.kind_of(source.head())
    except CannotReadOn as error:
        raise InputRefused(f"{source.name} cannot be read: {error}") from error
    return source, kinds.kind_of_archive(_archive(source, stack)) if kind == "zip" else kind


def _table(source: Source, kind: str, layout: Layout, stack: ExitStack, *, is_member: bool) -> Table:
    kinds.check_known(source.name, kind)
    if is_member and layout.format is None and not kinds.is_known(kinds.ending_of(source.name)):
        raise InputRefused(
            f"{source.name} does not say its format: set members to what is read, such as `*.csv`, or set format."
        )
    layout = kinds.completed(layout, source.name)
    assert layout.format is not None
    kinds.check_kind(source.name, layout.format, kind)
    match layout.format:
        case "json" | "jsonl":
            return JsonTable(source, layout, by_line=layout.format == "jsonl")
        case "xlsx":
            return XlsxTable(source, layout, stack)
        case "parquet" | "arrow":
            return ColumnarTable(source, layout.format, stack)
        case _:
            return CsvTable(source, layout)


def _archive(source: Source, stack: ExitStack) -> zipfile.ZipFile:
    file = source.spooled(stack)
    try:
        return stack.enter_context(zipfile.ZipFile(file))
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise InputRefused(f"{source.name} is an archive that is damaged or cut off. Fetch it again.") from error
