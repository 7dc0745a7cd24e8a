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
        source = sources.of_path(file, stack) if isinstance(file, Path) else sources.of_stream(name, file)
        yield _tables(source, layout, stack)


def _tables(source: Source, layout: Layout, stack: ExitStack, *, is_member: bool = False) -> list[Table]:
    try:
        source = source.unpacked()
        kind = kinds.kind_of(source.head())
    except CannotReadOn as error:
        raise InputRefused(f"{source.name} cannot be read: {error}") from error
    if kind == "zip":
        archive = _archive(source, stack)
        kind = kinds.kind_of_archive(archive)
        if kind == "zip" and not is_member:
            return [
                table
                for name, info in kinds.members(archive, layout.members, source)
                for table in _tables(
                    sources.of_member(archive, info, name, source, stack), layout, stack, is_member=True
                )
            ]
    kinds.check_known(source.name, kind)
    if is_member and layout.format is None and not kinds.is_known(kinds.ending_of(source.name)):
        raise InputRefused(
            f"{source.name} does not say its format: set members to what is read, such as `*.csv`, or set format."
        )
    layout = kinds.completed(layout, source.name)
    assert layout.format is not None
    kinds.check_kind(source.name, layout.format, kind)
    return [_table(source, layout, stack)]


def _table(source: Source, layout: Layout, stack: ExitStack) -> Table:
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
