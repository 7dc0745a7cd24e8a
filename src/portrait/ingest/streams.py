"""Streams of JSON texts: the lines of NDJSON, the elements of an array, one at a time."""

import json
from collections.abc import Iterator
from typing import IO, Any

from portrait.model import strict_json
from portrait.model.errors import BodyTooLarge, MalformedJson

MAX_LINE = 2**20
"""The longest record, in bytes."""


def lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of NDJSON with their numbers from 0; empty ones are counted and left out.

    Of a line longer than a record may be, only so much is held as shows that it is.
    """
    index = 0
    while line := stream.readline(MAX_LINE + 2):
        text = line.strip()
        if len(line) == MAX_LINE + 2 and not line.endswith(b"\n"):
            while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
        if text:
            yield index, text
        index += 1


def array(stream: Any, chunk: int = 2**16) -> Iterator[tuple[int, bytes]]:
    """Yield the elements of a JSON array with their numbers from 0, holding one element and a chunk at a time.

    Args:
        stream: a text stream of the array.
        chunk: how many characters are read at once.

    Raises:
        MalformedJson: the text is not one JSON array.
        BodyTooLarge: an element is longer than a record may be.
    """
    scan = json.JSONDecoder()
    window = _Window(stream, chunk)
    if window.token() != "[":
        raise MalformedJson(f"The body must be a JSON array (character {window.place()}).")
    index = 0
    if window.token(peek=True) != "]":
        while True:
            yield index, window.value(scan)
            index += 1
            token = window.token()
            if token == "]":  # noqa: S105  # of JSON
                break
            if token != ",":  # noqa: S105  # the same
                raise MalformedJson(f"Expected , or ] after element {index - 1} (character {window.place()}).")
    else:
        window.token()
    if window.token():
        raise MalformedJson(f"Nothing may follow the array (character {window.place()}).")


class _Window:
    """A moving window on a text stream."""

    def __init__(self, stream: Any, chunk: int) -> None:
        self._stream = stream
        self._chunk = chunk
        self._text = ""
        self._start = 0
        self._passed = 0

    def place(self) -> int:
        """Return how many characters came before the last token."""
        return self._passed + self._start - 1

    def token(self, *, peek: bool = False) -> str:
        """Return the next character that is not white space; empty at the end."""
        while True:
            while self._start < len(self._text):
                character = self._text[self._start]
                if character not in " \t\r\n":
                    self._start += not peek
                    return character
                self._start += 1
            if not self._more():
                return ""

    def value(self, scan: json.JSONDecoder) -> bytes:
        """Return the next JSON value's text."""
        self.token(peek=True)
        while True:
            try:
                _, end = scan.raw_decode(self._text, self._start)
            except RecursionError:
                raise MalformedJson(f"An element is nested deeper than {strict_json.MAX_DEPTH} levels.") from None
            except ValueError:
                end = None
            # A number may go on in the next chunk.
            if end is not None and (end < len(self._text) or not self._more()):
                text = self._text[self._start : end]
                self._start = end
                return text.encode()
            if end is None and not self._more():
                raise MalformedJson(f"The JSON is malformed (character {self._passed + self._start}).")
            if len(self._text) - self._start > MAX_LINE + 2 * self._chunk:
                raise BodyTooLarge(f"A record has at most {MAX_LINE} bytes, or the JSON is malformed.")

    def _more(self) -> bool:
        read = self._stream.read(self._chunk)
        self._passed += self._start
        self._text = self._text[self._start :] + read
        self._start = 0
        return bool(read)
