"""Sheets of workbooks, by openpyxl: what a cell shows that is a text, and its own value where it is not."""

import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, time
from typing import IO, Any

from portrait.model.errors import InputRefused
from portrait.tables import naming
from portrait.tables.batching import FileTable
from portrait.tables.extras import needed
from portrait.tables.sources import Source
from portrait.tables.table import Cell, Layout, Row, Unreadable
from portrait.tables.values import of_float, text_of

DIGITS = 10**15
"""From here on numbers have more digits than Excel keeps: it puts zeros for the others."""
MAX_TEXTS_BYTES = 2**29
"""All texts of a workbook stand in one part, which is held in memory; so long it may be, unpacked."""
_TEXTS = "xl/sharedStrings.xml"
_formula = re.compile(rb"<(?:[\w.-]+:)?f[\s/>]")
_zeros = re.compile(r"0{2,}")
_error = re.compile(r"#[A-Z0-9/_]+[!?]?")
_escape = re.compile(r"_x([0-9A-Fa-f]{4})_")
_literal = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')
_SAVE = "open the workbook in a spreadsheet program and save it"


class XlsxTable(FileTable):
    """A sheet of a workbook."""

    batch = 100
    failures = (Exception,)  # openpyxl raises whatever the XML in a damaged file makes it run into

    def __init__(self, source: Source, layout: Layout, stack: ExitStack) -> None:
        openpyxl = needed("openpyxl", "excel", "A workbook")
        file = source.spooled(stack)
        # It warns of what it leaves out when it writes: it writes nothing here.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"openpyxl\.")
        has_formulas = _look_through(file, source.name)
        self._sheet = _sheet(openpyxl, file, source.name, layout.sheet, stack)
        self._size = self._sheet.max_row
        self._number = layout.skip
        self._named = layout.columns
        self._formulas: Iterator[tuple[int, Sequence[Any]]] = iter(())
        self._formula_row: tuple[int, Sequence[Any]] = (0, ())
        # The size that a sheet says it has is often wrong: rows behind it would be lost.
        self._sheet.reset_dimensions()
        self._cells = self._numbered(layout.skip + 1)
        if has_formulas:
            other = _sheet(openpyxl, file, source.name, self._sheet.title, stack, data_only=False)
            other.reset_dimensions()
            self._formulas = enumerate(other.iter_rows(min_row=layout.skip + 1), layout.skip + 1)
        super().__init__(source, layout.columns or naming.unique(self._header(source.name)))

    @property
    def progress(self) -> float | None:
        """See the contract."""
        return min(self._number / self._size, 1.0) if self._size else None

    def _numbered(self, first: int) -> Iterator[Sequence[Any]]:
        """Yield the rows, and note the number of each."""
        for self._number, cells in enumerate(self._sheet.iter_rows(min_row=first), first):  # noqa: B020 # an attribute
            yield cells

    def _header(self, name: str) -> list[str]:
        for cells in self._cells:
            texts = [self._text(cell) for cell in cells]
            while texts and not texts[-1]:
                texts.pop()
            if texts:
                for text in texts:
                    if isinstance(text, Unreadable):
                        raise InputRefused(f"{name} has a header with a cell that {text.why}.")
                self._names = [str(text) for text in texts]
                return self._names
        raise InputRefused(f"{name} holds no row: its first row must name the columns.")

    def _lack(self, name: str) -> str:
        if self._named:
            return super()._lack(name)
        columns = self._columns or ()
        if len([text for text in self._names if text.strip()]) == 1 and len(columns) == 1:
            return (
                f"has one cell in its first row, which is perhaps a title: set skip to how many rows stand before the"
                f" header, or write a header that names `{name}`."
            )
        return naming.lack_of_text(name, self._names, columns, "")

    def _rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        columns = self._columns or ()
        width = len(columns)
        indexes = [columns.index(name) for name in wanted]
        for cells in self._cells:
            number = self._number
            beyond = next((cell for cell in cells[width:] if cell.value is not None), None)
            if beyond is not None:
                yield Row(number, (), f"It has a cell at {beyond.coordinate}, beyond the header: name its column.")
                continue
            chosen = [self._text(cells[index]) if index < len(cells) else "" for index in indexes]
            if any(chosen) or any(cell.value is not None for cell in cells):
                yield Row(number, chosen)

    def _text(self, cell: Any) -> Cell:
        value = cell.value
        if type(value) is str:
            if cell.data_type == "e":
                value = f"the error {value}" if _error.fullmatch(value) else "an error"
                return Unreadable(f"holds {value} at {cell.coordinate}")
            return _escape.sub(_character, value) if "_x" in value else value
        if value is None:
            # A formula whose value is the empty text is stored with the type of a text.
            if cell.data_type == "n" and cell.number_format is not None and self._is_formula(cell):
                return Unreadable(f"holds a formula without its value at {cell.coordinate}: {_SAVE}")
            return ""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _number(value, cell)
        is_date = isinstance(value, datetime) and value.time() == time() and not _shows_time(cell.number_format)
        return text_of(value.date() if is_date else value)

    def _is_formula(self, cell: Any) -> bool:
        """Tell whether the workbook, read for its formulas, has one in a cell: read in step, and only when needed."""
        while self._formula_row[0] < cell.row:
            row = next(self._formulas, None)
            if row is None:
                return False
            self._formula_row = row
        cells = self._formula_row[1]
        return len(cells) >= cell.column and bool(cells[cell.column - 1].data_type == "f")


def _number(value: Any, cell: Any) -> Cell:
    text = of_float(value, DIGITS) if isinstance(value, float) else str(value)
    if not isinstance(text, str) or abs(value) >= DIGITS:
        return Unreadable(f"holds a number at {cell.coordinate} of which Excel keeps 15 digits alone: give it as text")
    if _zeros.fullmatch(cell.number_format) and text.isdecimal():
        return text.zfill(len(cell.number_format))
    return text


def _shows_time(number_format: str) -> bool:
    return re.search("[hs]", _literal.sub("", number_format), re.IGNORECASE) is not None


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _sheet(openpyxl: Any, file: IO[bytes], name: str, wanted: str | None, stack: ExitStack, **options: bool) -> Any:
    """Open a sheet.

    Raises:
        InputRefused: the workbook cannot be read, or it is not clear which sheet is meant.
    """
    file.seek(0)
    try:
        book = openpyxl.load_workbook(file, **({"read_only": True, "data_only": True, "keep_links": False} | options))
    except Exception as error:  # it raises whatever its parts raise
        raise InputRefused(f"{name} cannot be read as a workbook: {_SAVE} as .xlsx again.") from error
    stack.callback(book.close)
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    shown = [title for title, sheet in sheets.items() if sheet.sheet_state == "visible"]
    titles = ", ".join(f"`{title}`" for title in sheets)
    if wanted is not None:
        if wanted not in sheets:
            raise InputRefused(f"{name} has no sheet `{wanted}`: it has {titles or 'none'}.")
        return sheets[wanted]
    if len(shown) != 1:
        raise InputRefused(f"{name} has {len(shown)} visible sheets: set sheet to one of {titles or 'none'}.")
    return sheets[shown[0]]


def _look_through(file: IO[bytes], name: str) -> bool:
    """Return whether any sheet has a formula: only then is the workbook read twice.

    Raises:
        InputRefused: the workbook is no archive, or would take too much memory.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                if info.filename == _TEXTS and info.file_size > MAX_TEXTS_BYTES:
                    raise InputRefused(
                        f"{name} has more than {MAX_TEXTS_BYTES // 2**20} MB of texts, which are held in memory: save"
                        " the sheet as CSV."
                    )
            return any(
                _has_formula(archive, info)
                for info in archive.infolist()
                if info.filename.startswith("xl/worksheets/") and info.filename.endswith(".xml")
            )
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise InputRefused(f"{name} cannot be read as a workbook: {_SAVE} as .xlsx again.") from error


def _has_formula(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    with archive.open(info) as part:
        rest = b""
        while block := part.read(2**20):
            if _formula.search(rest + block):
                return True
            rest = block[-64:]
    return False
