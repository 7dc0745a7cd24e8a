"""Streams of JSON texts: the lines of NDJSON, the elements of an array, one at a time."""

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Protocol

from portrait.model import strict_json
from portrait.model.errors import BodyTooLarge, MalformedJson

MAX_LINE = 2**20
"""The longest record, in bytes."""
MAX_ELEMENTS = 2**22
"""The most elements of one array."""
_ENDS = {b"[": b"]", b"{": b"}"}
_blanks = re.compile(rb"[ \t\r\n]*")


class Readable(Protocol):
    """What gives bytes."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most so many; none at the end."""
        ...


def bare(line: bytes) -> bytes:
    """Return a line without white space around it or a byte-order mark before it."""
    return line.strip().removeprefix(codecs.BOM_UTF8).lstrip()


def bare_lines(content: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a text with their numbers, bare; empty lines are counted and left out.

    Args:
        content: the text.
        first: the number of its first line.
    """
    for index, line in enumerate(content.split(b"\n"), first):
        if text := bare(line):
            yield index, text


def whole_lines(read: Callable[[int], bytes], size: int) -> Iterator[tuple[int, bytes]]:
    """Yield NDJSON in parts of whole lines, each with the number of its first line, from 0.

    Of a line longer than a record may be, only so much is kept as shows that it is too long.

    Args:
        read: returns the next bytes of a stream, at most so many; none at its end.
        size: about the most bytes of a part, if no line is longer.
    """
    first = 0
    rest = bytearray()
    while part := read(size):
        head, end = part.find(b"\n"), part.rfind(b"\n") + 1
        rest += part[: head if end else None][: MAX_LINE + 1 - len(rest)]
        if end:
            yield first, bytes(rest) + part[head:end]
            first += part.count(b"\n")
            rest = bytearray(part[end:])
    if rest:
        yield first, bytes(rest)


def lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of NDJSON with their numbers, bare: what a pipe has given so far, without waiting."""
    for first, content in whole_lines(getattr(stream, "read1", stream.read), MAX_LINE):
        yield from bare_lines(content, first)


def elements(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the elements of a JSON array with their numbers from 0, holding one element and a block at a time.

    Raises:
        MalformedJson: the text is not one JSON array in UTF-8; the detail says where.
        BodyTooLarge: an element is longer than a record may be, or there are too many.
    """
    window = _Window(stream)
    window.skip_mark()
    for index, text in enumerate(window.elements()):
        yield index, text
        if index + 1 > MAX_ELEMENTS:
            raise BodyTooLarge(f"An array has at most {MAX_ELEMENTS} elements. Send less at a time.")
    window.end("the array")


def elements_at(stream: Readable, path: Sequence[str]) -> Iterator[bytes]:
    """Yield the elements of the array that stands at a path in a JSON document, as `elements` does, but any number.

    The text is taken as it is where it is not UTF-8: each element is still to be checked.

    Raises:
        MalformedJson: the text is no JSON document, or has no array there; the detail says where.
        BodyTooLarge: an element, or a name, is longer than a record may be.
    """
    window = _Window(stream, is_checked=False)
    window.skip_mark()
    for depth, name in enumerate(path):
        window.take(b"{")
        if window.next() == b"}" or not any(key == name for key in window.passed_names(name)):
            raise MalformedJson(f"The JSON document has nothing at `{'.'.join(path[: depth + 1])}`.")
    yield from window.elements()
    for name in reversed(path):
        if window.next() == b",":
            window.take(b",")
            if any(key == name for key in window.passed_names(name)):
                raise MalformedJson(f"The JSON document has `{name}` twice in one object: write it once.")
        window.take(b"}")
    window.end("the document")


class _Window:
    """A moving window on a stream of JSON."""

    def __init__(self, stream: Readable, *, is_checked: bool = True) -> None:
        self._stream = stream
        self._is_checked = is_checked
        self._data = b""
        self._start = 0
        self._passed = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def next(self) -> bytes:
        """Return the next byte that is not white space, without taking it; empty at the end."""
        while True:
            blanks = _blanks.match(self._data, self._start)
            self._start = blanks.end() if blanks else self._start
            if self._start < len(self._data) or not self._more():
                return self._data[self._start : self._start + 1]

    def skip_mark(self) -> None:
        """Go past a byte-order mark, if the stream begins with one."""
        while len(self._data) < len(codecs.BOM_UTF8) and self._more():
            pass
        self._start = len(codecs.BOM_UTF8) if self._data.startswith(codecs.BOM_UTF8) else 0

    def take(self, wanted: bytes) -> None:
        """Go past the next byte.

        Raises:
            MalformedJson: it is not the wanted byte.
        """
        if self.next() != wanted:
            raise self.malformed(f"expected {wanted.decode()}")
        self._start += 1

    def element(self) -> bytes:
        """Return the next JSON value's text.

        Raises:
            MalformedJson: no JSON value stands there.
            BodyTooLarge: it is longer than a record may be.
        """
        self.next()
        while True:
            try:
                length = strict_json.value_end(memoryview(self._data)[self._start :])
            except MalformedJson as error:
                raise self.malformed("the element is no JSON") from error
            if length is not None:
                end = self._start + length
                text = self._data[self._start : end].rstrip()
                self._start = end
                return text
            if len(self._data) - self._start > 2 * MAX_LINE:
                raise BodyTooLarge(f"A record has at most {MAX_LINE} bytes.")
            if not self._more():
                self._start = len(self._data)
                raise self.malformed("it is cut off, or an element ends in a lone surrogate")

    def elements(self) -> Iterator[bytes]:
        """Yield the elements of an array, and go past it.

        Raises:
            MalformedJson: no array stands there.
            BodyTooLarge: an element is longer than a record may be.
        """
        self.take(b"[")
        if self.next() != b"]":
            while True:
                yield self.element()
                if self.next() != b",":
                    break
                self.take(b",")
        self.take(b"]")

    def passed_names(self, wanted: str) -> Iterator[str]:
        """Yield the names of an object's members, past the values; behind the wanted name its value stands next.

        Raises:
            MalformedJson: no member stands there.
            BodyTooLarge: a name or a text is longer than a record may be.
        """
        while True:
            if self.next() != b'"':
                raise self.malformed("expected a name")
            name = str(strict_json.decode(self.element()))
            self.take(b":")
            yield name
            if name == wanted:
                return
            self.skip()
            if self.next() != b",":
                return
            self.take(b",")

    def skip(self) -> None:
        """Go past a value of any size.

        Raises:
            MalformedJson: no JSON value stands there.
            BodyTooLarge: a text in it is longer than a record may be.
        """
        ends: list[bytes] = []
        while True:
            first = self.next()
            if first in _ENDS and not self._skip_short():
                self.take(first)
                ends.append(_ENDS[first])
                if self.next() != ends[-1]:
                    self._skip_name(ends)
                    continue
            elif first not in _ENDS:
                self.element()
            while ends and self.next() == ends[-1]:
                self.take(ends.pop())
            if not ends:
                return
            self.take(b",")
            self._skip_name(ends)

    def _skip_short(self) -> bool:
        """Go past a value that is in the window as a whole; tell whether it is."""
        try:
            length = strict_json.value_end(memoryview(self._data)[self._start :])
        except MalformedJson as error:
            raise self.malformed("a value is no JSON") from error
        self._start += length or 0
        return length is not None

    def _skip_name(self, ends: list[bytes]) -> None:
        if ends[-1] == b"}":
            if self.next() != b'"':
                raise self.malformed("expected a name")
            self.element()
            self.take(b":")

    def end(self, what: str) -> None:
        """Check that nothing but white space follows.

        Raises:
            MalformedJson: something does.
        """
        if self.next():
            raise self.malformed(f"nothing may follow {what}")

    def malformed(self, what: str) -> MalformedJson:
        """Return the error that names the current byte."""
        return MalformedJson(f"The JSON array is malformed: {what} (byte {self._passed + self._start}).")

    def _more(self) -> bool:
        self._passed += self._start
        self._data = self._data[self._start :]
        self._start = 0
        block = self._stream.read(MAX_LINE)
        try:
            if self._is_checked:
                self._utf8.decode(block, final=not block)
        except UnicodeDecodeError as error:
            offset = self._passed + len(self._data) + error.start
            raise MalformedJson(f"The text is not valid UTF-8 (byte {offset}).") from None
        self._data += block
        return bool(block)
