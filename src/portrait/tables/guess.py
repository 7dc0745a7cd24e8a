"""A guess at how a table lies in a file. It is shown to a person, with what speaks against it, and decides nothing."""

import codecs
import csv
import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

import msgspec

from portrait.model import strict_json
from portrait.model.errors import InputRefused, MalformedJson
from portrait.tables import kinds, naming, sources
from portrait.tables.csv_rows import SPACES
from portrait.tables.extras import needed
from portrait.tables.lines import encoding_by_mark
from portrait.tables.sources import CannotReadOn, Source
from portrait.tables.table import Format, Layout

SAMPLE_SIZE = 2**20
SAMPLE_ROWS = 100
_DELIMITERS = (",", ";", "\t", "|", "^", SPACES)
_LIKELY = "cp1252"


class Guess(msgspec.Struct, frozen=True):
    """A layout that a file seems to have."""

    layout: Layout
    doubts: tuple[str, ...] = ()
    """What a person should look at before the layout is used, each as a sentence."""


def guess(path: Path) -> Guess:
    """Guess how a table lies in a file, by the beginning of it.

    Raises:
        InputRefused: the file cannot be opened, or is of a kind that is not read.
    """
    with ExitStack() as stack:
        return _guess(sources.of_path(path, stack), stack)


def _guess(source: Source, stack: ExitStack) -> Guess:
    try:
        source = source.unpacked()
        kind = kinds.kind_of(source.head())
        if kind == "zip":
            with zipfile.ZipFile(source.spooled(stack)) as archive:
                kind = kinds.kind_of_archive(archive)
                if kind == "zip":
                    return _of_archive(archive, source, stack)
        kinds.check_known(source.name, kind)
        if kind == "text":
            return _of_text(source.name, _sample(source))
        stated: Format = "xlsx" if kind == "xlsx" else "parquet" if kind == "parquet" else "arrow"
        layout = Layout(format=_format_beside(source.name, stated))
        return _of_workbook(source, layout, stack) if kind == "xlsx" else Guess(layout)
    except (CannotReadOn, zipfile.BadZipFile) as error:
        raise InputRefused(f"{source.name} cannot be read: it is damaged or cut off. Fetch it again.") from error


def _sample(source: Source) -> bytes:
    sample = b""
    while len(sample) < SAMPLE_SIZE and (part := source.read(SAMPLE_SIZE - len(sample))):
        sample += part
    return sample


def _format_beside(name: str, format_found: Format) -> Format | None:
    """Return a format where the file's name does not say the same."""
    try:
        says = kinds.completed(Layout(), name).format
    except InputRefused:
        says = None
    return None if says == format_found else format_found


def _of_archive(archive: zipfile.ZipFile, source: Source, stack: ExitStack) -> Guess:
    members = kinds.members(archive, None, source)
    endings = Counter(kinds.ending_of(name) for name, _ in members)
    ending = next((ending for ending, _ in endings.most_common() if kinds.is_known(ending)), next(iter(endings)))
    name, info = next((name, info) for name, info in members if kinds.ending_of(name) == ending)
    inner = _guess(sources.of_member(archive, info, name, source, stack), stack)
    doubts = [f"The archive holds {len(members)} files; this is a guess at the first of {endings[ending]}: {name}."]
    if len(endings) > 1:
        doubts.append(f"Only files ending in {ending} are read: see whether the others matter.")
    members_pattern = f"*{PurePath(name).suffix}" if len(endings) > 1 else None
    return Guess(msgspec.structs.replace(inner.layout, members=members_pattern), (*doubts, *inner.doubts))


def _of_workbook(source: Source, layout: Layout, stack: ExitStack) -> Guess:
    openpyxl = needed("openpyxl", "excel", "A workbook")
    file = source.spooled(stack)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        shown = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        sheet: Any = shown[0] if shown else None
        rows = [] if sheet is None else [list(row) for row in sheet.iter_rows(max_row=SAMPLE_ROWS, values_only=True)]
        book.close()
    except Exception as error:  # it raises whatever its parts raise
        raise InputRefused(f"{source.name} cannot be read as a workbook.") from error
    doubts = []
    if len(shown) != 1:
        names = ", ".join(f"`{each.title}`" for each in shown) or "none"
        doubts.append(f"The visible sheets are {names}: the first is proposed.")
        layout = msgspec.structs.replace(layout, sheet=sheet.title if sheet is not None else None)
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    return _with_header(layout, [_trimmed(row) for row in texts], doubts)


def _trimmed(row: list[str]) -> list[str]:
    while row and not row[-1].strip():
        row.pop()
    return row


def _of_text(name: str, sample: bytes) -> Guess:
    doubts: list[str] = []
    encoding = encoding_by_mark(sample)
    if encoding is None:
        try:
            codecs.getincrementaldecoder("utf-8")().decode(sample, final=len(sample) < SAMPLE_SIZE)
            encoding = "utf-8"
        except UnicodeDecodeError:
            encoding = _LIKELY
            doubts.append(f"The text is not in UTF-8; {_LIKELY}, of Windows in Western Europe, is only likely.")
    text = sample.decode(encoding, "replace").removeprefix("\ufeff")
    layout = Layout(encoding=encoding)
    if text.lstrip()[:1] in {"{", "["} and text.lstrip()[:1]:
        return _of_json(name, text, layout, doubts, is_whole=len(sample) < SAMPLE_SIZE)
    return _of_delimited(name, text, layout, doubts, is_whole=len(sample) < SAMPLE_SIZE)


def _of_json(name: str, text: str, layout: Layout, doubts: list[str], *, is_whole: bool) -> Guess:
    kind: Format = "jsonl" if _format_beside(name, "jsonl") is None or _has_a_row_a_line(text) else "json"
    layout = msgspec.structs.replace(layout, format=_format_beside(name, kind))
    if kind == "jsonl" or text.lstrip().startswith("["):
        return Guess(layout, tuple(doubts))
    try:
        paths = list(_arrays(strict_json.decode(text.encode()))) if is_whole else []
    except MalformedJson:
        paths = []
    if len(paths) != 1:
        listed = ", ".join(f"`{path}`" for path in paths)
        doubts.append(f"Set path to where the rows are in the document{f': perhaps {listed}' if listed else ''}.")
    return Guess(msgspec.structs.replace(layout, path=paths[0] if paths else None), tuple(doubts))


def _has_a_row_a_line(text: str) -> bool:
    first, _, rest = text.lstrip().partition("\n")
    try:
        value = strict_json.decode(first.encode())
    except MalformedJson:
        return False
    return isinstance(value, dict) and (rest.lstrip().startswith("{") or not _arrays(value))


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(element, dict) for element in value)


def _arrays(value: Any, path: str = "") -> list[str]:
    """Return the paths of arrays of objects in a document, those within such an array not."""
    if _is_rows(value):
        return [path]
    if not isinstance(value, dict):
        return []
    members = value.items()
    return [inner for name, member in members for inner in _arrays(member, f"{path}.{name}" if path else name)]


def _of_delimited(name: str, text: str, layout: Layout, doubts: list[str], *, is_whole: bool) -> Guess:
    layout = msgspec.structs.replace(layout, format=_format_beside(name, "csv"))
    parsed = {delimiter: _rows(text, delimiter, is_whole=is_whole) for delimiter in _DELIMITERS}
    delimiter, (consistency, width) = max(
        ((mark, _consistency(rows)) for mark, rows in parsed.items()),
        key=lambda scored: (scored[1][1] > 1 and scored[1][0] > 0.5, scored[0] != SPACES, scored[1]),
    )
    rows = parsed[delimiter]
    if width <= 1:
        delimiter, rows = Layout().delimiter, parsed[Layout().delimiter]
        doubts.append("No delimiter parts the lines evenly: one column is proposed.")
    elif consistency < 1:
        doubts.append(
            f"{round(consistency * len(rows))} of the first {len(rows)} rows have {width} cells: see the others."
        )
    return _with_header(msgspec.structs.replace(layout, delimiter=delimiter), rows, doubts)


def _rows(text: str, delimiter: str, *, is_whole: bool) -> list[list[str]]:
    """Return the first rows as a delimiter parts them; a blank line is a row without cells."""
    lines = io.StringIO(text, newline="")
    if delimiter == SPACES:
        return [line.split() for line, _ in zip(lines, range(SAMPLE_ROWS), strict=False)]
    rows: list[list[str]] = []
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            rows.append(cells)
            if len(rows) == SAMPLE_ROWS:
                return rows
    except csv.Error:
        return rows
    return rows if is_whole else rows[:-1]


def _consistency(rows: Sequence[Sequence[str]]) -> tuple[float, int]:
    """Return which share of the rows has the most frequent length, and that length."""
    widths = Counter(len(row) for row in rows if row)
    if not widths:
        return 0.0, 0
    width, count = max(widths.items(), key=lambda counted: (counted[1], counted[0]))
    return count / widths.total(), width


def _with_header(layout: Layout, rows: list[list[str]], doubts: list[str]) -> Guess:
    """Complete a guess with where the header is, and whether it is one."""
    width = _consistency(rows)[1]
    is_note = bool(rows and rows[0] and rows[0][0].casefold().startswith("sep="))
    before = next((index for index, row in enumerate(rows) if len(row) == width and index >= is_note), 0)
    if any(rows[index] for index in range(before)):
        layout = msgspec.structs.replace(layout, skip=before)
        doubts.append(f"Line {before + 1} seems to be the header: what stands before it is skipped.")
    first, *others = rows[before:] or [[]]
    if any(naming.looks_like_datum(cell) for cell in first):
        columns = tuple(f"column {position}" for position in range(1, width + 1))
        layout = msgspec.structs.replace(layout, columns=columns)
        doubts.append("The first line looks like data, not like a header: name the columns.")
    elif not any(
        naming.looks_like_datum(row[position]) for row in others for position in range(width) if len(row) == width
    ):
        doubts.append("Nothing shows whether the first line is a header: see whether it names the columns.")
    return Guess(layout, tuple(doubts))
