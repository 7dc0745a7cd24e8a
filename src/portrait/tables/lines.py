"""The lines of a text, however they end, decoded a block at a time."""

import codecs
import io
from collections.abc import Iterator
from itertools import chain

from portrait.model.errors import InputRefused
from portrait.tables.sources import CannotReadOn, Source

MAX_ROW = 2**20
"""The longest row, in bytes; a quote that is never closed makes of all that follows a row."""
BLOCK_SIZE = 2**18
_BYTEWISE = b"\r\n,;\t\"'aZ09 "
_STATEFUL = ("utf-7", "utf_7", "iso2022", "hz")
_ESCAPE = "portrait.tables"
_MARK = "\udc80"
_ESCAPES = frozenset(map(chr, range(0xDC80, 0xDD00)))


class TextLines:
    """The lines of a source, with their ends.

    A block with bytes that are no text is decoded with escapes for these; which lines that may concern is noted.
    """

    def __init__(self, source: Source, encoding: str) -> None:
        self.finished = 0
        """The number of the last line of the last row that was made of lines; whoever makes rows sets it."""
        self.suspect_through = 0
        """The number of the last line of the last block with bytes that are no text, or with NUL."""
        self.encoding = encoding
        self._source = source
        self._count = 0
        self._unfinished = 0
        self._last_finished = 0
        _check_marks(source, encoding)
        self._lines = chain.from_iterable(self._blocks())

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def _blocks(self) -> Iterator[io.StringIO]:
        texts = self._bytewise() if is_bytewise(self.encoding) else self._decoded()
        for number, text in enumerate(texts):
            self._guard(len(text))
            self._count += _line_ends(text)
            if not text.endswith(("\n", "\r")):
                self._count += 1
            if "\0" in text:
                self.suspect_through = self._count
            # Without translation: a line break within a cell stays what it is.
            yield io.StringIO(text if number else text.removeprefix("\ufeff"), newline="")

    def _bytewise(self) -> Iterator[str]:
        rest = b""
        while True:
            block = self._source.read(BLOCK_SIZE)
            data = rest + block
            # A carriage return at the very end may be one half of a line's end.
            end = len(data) if not block else max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
            if end:
                yield self._text(data[:end])
            if not block:
                return
            rest = data[end:]
            self._guard_line(len(rest))

    def _text(self, data: bytes) -> str:
        try:
            return data.decode(self.encoding)
        except UnicodeDecodeError:
            text = data.decode(self.encoding, "surrogateescape")
            self.suspect_through = self._count + _line_ends(text) + 1
            return text

    def _decoded(self) -> Iterator[str]:
        codecs.register_error(_ESCAPE, lambda error: (_MARK, error.end if isinstance(error, UnicodeDecodeError) else 0))
        decoder = codecs.getincrementaldecoder(self.encoding)(_ESCAPE)
        rest = ""
        while True:
            block = self._source.read(BLOCK_SIZE)
            text = rest + decoder.decode(block, final=not block)
            end = len(text) if not block else max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
            if end:
                if _MARK in text:
                    self.suspect_through = self._count + _line_ends(text) + 1
                yield text[:end]
            if not block:
                return
            rest = text[end:]
            self._guard_line(len(rest))

    def _guard(self, length: int) -> None:
        """Keep a row from growing without end: since the last blocks no row was finished."""
        if self.finished > self._last_finished:
            self._unfinished = 0
        self._last_finished = self.finished
        if self._unfinished > MAX_ROW:
            raise CannotReadOn(too_long(self.finished + 1))
        self._unfinished += length

    def _guard_line(self, length: int) -> None:
        if length > MAX_ROW:
            raise CannotReadOn(too_long(self.finished + 1))


def _line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def too_long(line: int) -> str:
    """Say that a row is too long, and why that may be."""
    return (
        f"the row that begins in line {line} has more than {MAX_ROW} bytes. Probably a quote is not closed there: close"
        ' it, or set quote = "" where quotes are part of the text.'
    )


def is_bytewise(encoding: str) -> bool:
    """Tell whether an encoding leaves ASCII as it is, so that lines can be found before they are decoded."""
    name = codecs.lookup(encoding).name
    if name.startswith(_STATEFUL):
        return False
    try:
        return _BYTEWISE.decode(encoding) == _BYTEWISE.decode("ascii")
    except UnicodeError:
        return False


def escaped(cell: str) -> int | None:
    """Return which character of a text, from 1, stands for bytes that were none; None where it is all text."""
    return next((position for position, character in enumerate(cell, 1) if character in _ESCAPES), None)


def _check_marks(source: Source, encoding: str) -> None:
    """Check that a text does not begin as texts in another encoding do.

    Raises:
        InputRefused: it does; the detail says what to set.
    """
    try:
        head = source.head()
    except CannotReadOn as error:
        raise InputRefused(f"{source.name} cannot be read: {error}") from error
    name = codecs.lookup(encoding).name
    marked = encoding_by_mark(head)
    if marked is not None and not name.startswith(marked):
        right = "leave encoding out" if marked == "utf-8" else f'set encoding = "{marked}"'
        raise InputRefused(f"{source.name} is in {marked.upper()}, as its first bytes say, not in {encoding}: {right}.")


def encoding_by_mark(head: bytes) -> str | None:
    """Return the encoding that the first bytes of a text tell: by a byte-order mark, or by where NULs stand."""
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8"
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        half, other = head[offset::2], head[1 - offset :: 2]
        if len(half) > 1 and half.count(0) * 2 > len(half) and not other.count(0):
            return name
    return None
