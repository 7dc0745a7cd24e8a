"""What a file is, by its first bytes, and which format its name says."""

import codecs
import csv
import fnmatch
import re
import zipfile
from pathlib import PurePath
from typing import get_args

import msgspec

from portrait.model.errors import InputRefused
from portrait.tables.csv_rows import SPACES
from portrait.tables.sources import Source
from portrait.tables.table import Format, Layout

_BY_ENDING: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
}
_TABBED = (".tsv", ".tab")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OLE = "an old or an encrypted workbook: save it as .xlsx, without a password"
_UNPACK = "unpack it first"
_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "parquet"),
    (b"ARROW1\0\0", "arrow"),
    (b"\xff\xff\xff\xff", "arrow"),
    (b"FEA1", "a Feather file of version 1: write it as version 2, or as Parquet"),
    (b"PARE", "an encrypted Parquet file: write it without encryption"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE),
    (b"SQLite format 3\0", "a SQLite database: name it as sqlite:///file, with a query"),
    (b"\x1f\x8b", f"packed twice: {_UNPACK}"),
    (b"BZh", f"packed by bzip2: {_UNPACK}"),
    (b"\xfd7zXZ\0", f"packed by xz: {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"packed by Zstandard: {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"an archive of 7-Zip: {_UNPACK}"),
    (b"Rar!", f"an archive of RAR: {_UNPACK}"),
    (b"%PDF", "a PDF: export the table from where it came"),
    (b"Obj\x01", "an Avro file: write it as Parquet or CSV"),
    (b"ORC", "an ORC file: write it as Parquet or CSV"),
)
_control = re.compile(rb"[\0-\x08\x0e-\x1f]")
_MARKUP = (b"<!doctype", b"<html", b"<table", b"<?xml")
_WORDS: dict[str, str] = {
    "parquet": "a Parquet file",
    "arrow": "an Arrow file",
    "xlsx": "an Excel workbook",
    "zip": "an archive",
    "text": "a text",
}
MOST_LISTED = 10


def kind_of(head: bytes) -> str:
    """Return what the first bytes show: `zip`, `parquet`, `arrow`, `text`, or what else and what would be right."""
    if head.startswith(_ZIP):
        return "zip"
    for mark, kind in _MARKS:
        # A text may begin with the letters of a mark, but holds no control characters.
        if head.startswith(mark) and (not mark.isascii() or _control.search(head)):
            return kind
    if head.removeprefix(codecs.BOM_UTF8).lstrip()[:9].lower().startswith(_MARKUP):
        return "a page or XML, not a table: export it as CSV or .xlsx"
    return "text"


def kind_of_archive(archive: zipfile.ZipFile) -> str:
    """Return what an archive is: `xlsx`, `zip`, or what is not read, and what would be right."""
    names = set(archive.namelist())
    if "xl/workbook.xml" in names:
        return "xlsx"
    if "xl/workbook.bin" in names:
        return "a binary workbook: save it as .xlsx"
    if "[Content_Types].xml" in names:
        return "a document of Office, but no workbook that can be read: save it as .xlsx"
    if "mimetype" in names and "content.xml" in names:
        return "an OpenDocument file: save it as .xlsx"
    return "zip"


def ending_of(name: str) -> str:
    """Return the ending of a file's name that tells its format, in lower case."""
    return PurePath(name.lower().removesuffix(".gz")).suffix


def is_known(ending: str) -> bool:
    """Tell whether files with an ending are read without their format being said."""
    return ending in _BY_ENDING


def completed(layout: Layout, name: str) -> Layout:
    """Return a layout with the format that a file's name says, and the delimiter that follows from it.

    Raises:
        InputRefused: the layout says no format, and the name none that is known.
    """
    ending = ending_of(name)
    if layout.format is None:
        if ending == ".xls":
            raise InputRefused(
                f"{name} has the ending of old workbooks: save it as .xlsx, or set format to what it is."
            )
        if ending not in _BY_ENDING:
            raise InputRefused(f"{name} does not say its format: set format to one of {', '.join(get_args(Format))}.")
        layout = msgspec.structs.replace(layout, format=_BY_ENDING[ending])
    if layout.format == "csv" and ending in _TABBED and layout.delimiter == Layout().delimiter:
        layout = msgspec.structs.replace(layout, delimiter="\t")
    return layout


def check_kind(name: str, stated: Format, kind: str) -> None:
    """Check that a file is what it is said to be.

    Raises:
        InputRefused: it is something else; the detail says what.
    """
    check_known(name, kind)
    expected = stated if stated in {"parquet", "arrow", "xlsx"} else "text"
    if kind == expected or (expected == "arrow" and kind == "text"):  # a stream may begin without a mark
        return
    right = f'set format = "{kind}"' if kind in get_args(Format) else "set format to what it is"
    raise InputRefused(f"{name} is {_WORDS[kind]}, but is to be read as {stated}: {right}.")


def check_known(name: str, kind: str) -> None:
    """Check that a file is of a kind that is read.

    Raises:
        InputRefused: it is of another kind; the detail says what would be right.
    """
    if kind not in _WORDS:
        raise InputRefused(f"{name} is {kind}.")


def check_layout(layout: Layout) -> None:
    """Check what a layout says.

    Raises:
        InputRefused: it says what cannot be; the detail says what would be right.
    """
    try:
        "".encode(layout.encoding)
        codecs.getincrementaldecoder(layout.encoding)
    except LookupError:
        raise InputRefused('The encoding is not known: set encoding to a name such as "utf-8" or "cp1252".') from None
    if layout.skip < 0:
        raise InputRefused("skip counts lines: set it to 0 or more.")
    if len(set(layout.columns)) < len(layout.columns) or not all(name.strip() for name in layout.columns):
        raise InputRefused("columns must name each column once.")
    if layout.delimiter != SPACES:
        try:
            csv.reader(
                (),
                delimiter=layout.delimiter,
                quotechar=layout.quote or None,
                quoting=csv.QUOTE_MINIMAL if layout.quote else csv.QUOTE_NONE,
            )
        except (TypeError, ValueError):
            raise InputRefused(
                f'delimiter must be one character or "{SPACES}", and quote one other character or none.'
            ) from None
        if layout.delimiter in {"\r", "\n", layout.quote} or layout.quote in {"\r", "\n", " "}:
            raise InputRefused("delimiter and quote must be two characters, and neither may end a line.")


def members(archive: zipfile.ZipFile, pattern: str | None, source: Source) -> list[tuple[str, zipfile.ZipInfo]]:
    """Return which files of an archive are read, in the order of their names, each with the name of its table.

    Raises:
        InputRefused: there are none.
    """
    files = [info for info in archive.infolist() if not info.is_dir() and not _is_of_the_system(info.filename)]
    chosen = [
        info
        for info in files
        if pattern is None
        or fnmatch.fnmatchcase(info.filename, pattern)
        or fnmatch.fnmatchcase(PurePath(info.filename).name, pattern)
    ]
    if not chosen:
        listed = ", ".join(sorted(info.filename for info in files)[:MOST_LISTED])
        raise InputRefused(
            f"{source.name} holds no file that is to be read: set members to match some of {listed or 'none'}."
        )
    bare = [PurePath(info.filename).name for info in chosen]
    names = bare if len(set(bare)) == len(bare) else [info.filename for info in chosen]
    return sorted(zip(names, chosen, strict=True), key=lambda member: member[1].filename)


def _is_of_the_system(name: str) -> bool:
    """Tell whether a file was put into an archive by macOS or Windows, beside what it was made for."""
    last = PurePath(name).name
    return name.startswith("__MACOSX/") or last.startswith("._") or last in {".DS_Store", "Thumbs.db", "desktop.ini"}
