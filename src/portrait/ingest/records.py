"""Portrait's own formats: the records of one section, and the lines of a bulk."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import msgspec

from portrait.model import strict_json, time
from portrait.model.errors import (
    BodyTooLarge,
    InvalidParameter,
    InvalidRecord,
    InvalidRequest,
    MalformedJson,
    NotSupported,
)
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer, name_fault
from portrait.recording import Incoming, Refusal
from portrait.sections.base import StoredSection
from portrait.sections.registry import Registry

MAX_LINE = 2**20
"""The longest record, in bytes."""
MAX_SOURCE = 256
"""The longest name of a source, in characters."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_envelope = frozenset({"record", "effectiveAt", "source"})
_line = _envelope | {"customerId", "identifier", "section"}


class _Identifier(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    value: str


_identifier = msgspec.json.Decoder(_Identifier)


class Parser:
    """Turns JSON texts into records on their way in, for one tenant."""

    def __init__(self, registry: Registry, key_secret: bytes, source: str | None) -> None:
        self._registry = registry
        self._key_secret = key_secret
        self._source = source

    def records(self, body: bytes, customer_id: str, section: StoredSection) -> list[Incoming]:
        """Return the record or records that a request's body holds, each as it is or as `{"record", …}`.

        Raises:
            MalformedJson: the body is not JSON that a store can keep.
            InvalidRecord: a record breaks the schema; the detail says which, and which field.
        """
        single = body.lstrip()[:1] != b"["
        texts = [body] if single else strict_json.elements(body)
        if not texts:
            raise InvalidRecord("The array holds no record. Send at least one.")
        identifier = customer(customer_id)
        found = []
        for index, text in enumerate(texts):
            try:
                found.append(self._record(index, text, identifier, section))
            except InvalidRequest as error:
                if not single:
                    error = type(error)(f"Record {index}: {error.detail}")
                if isinstance(error, InvalidRecord):
                    error.index = index
                raise error from None
        return found

    def line(self, index: int, text: bytes) -> Incoming | Refusal:
        """Return the record that a line of a bulk holds, or why it cannot be taken."""
        try:
            return self._line(index, text)
        except InvalidRequest as error:
            return Refusal(index, error.code, error.detail)

    def _record(self, index: int, text: bytes, identifier: Identifier, section: StoredSection) -> Incoming:
        # Only a text that says "record" somewhere can be an envelope: the others are not looked at twice.
        members = self._object(text) if b'"record"' in text else {}
        if "record" not in members:
            parsed = section.parse(text, self._key_secret)
            return Incoming(index, identifier, section, parsed, None, self._source)
        self._only(members, _envelope)
        return self._enveloped(index, members, identifier, section)

    def _line(self, index: int, text: bytes) -> Incoming:
        if len(text) > MAX_LINE:
            raise BodyTooLarge(f"A record has at most {MAX_LINE} bytes.")
        members = self._object(text)
        self._only(members, _line)
        identifier = self._named(members)
        section = self._registry.stored(self._string(members, "section"))
        if "record" not in members:
            raise InvalidRecord("Field `record` is required.")
        return self._enveloped(index, members, identifier, section)

    def _enveloped(
        self, index: int, members: dict[str, msgspec.Raw], identifier: Identifier, section: StoredSection
    ) -> Incoming:
        source = self._optional(members, "source")
        if source is not None and not 0 < len(source) <= MAX_SOURCE:
            raise InvalidRecord(f"Field `source` must have 1 to {MAX_SOURCE} characters.")
        at = self._optional(members, "effectiveAt")
        try:
            effective_at = None if at is None else time.parse(at)
        except InvalidParameter as error:
            raise InvalidRecord(f"Field `effectiveAt` {error.detail}.") from None
        parsed = section.parse(bytes(members["record"]), self._key_secret)
        return Incoming(index, identifier, section, parsed, effective_at, source or self._source)

    def _named(self, members: dict[str, msgspec.Raw]) -> Identifier:
        if ("customerId" in members) == ("identifier" in members):
            raise InvalidRecord("A line names its customer by either `customerId` or `identifier`.")
        if "customerId" in members:
            customer_id = self._string(members, "customerId")
        else:
            try:
                named = _identifier.decode(bytes(members["identifier"]))
            except (msgspec.MsgspecError, ValueError):
                raise InvalidRecord("Field `identifier` must be an object of `type` and `value`, both texts.") from None
            if named.type != CUSTOMER_ID:
                raise NotSupported(f"Records can be told of an identifier of type `{CUSTOMER_ID}` only.")
            customer_id = named.value
        fault = name_fault(customer_id)
        if fault:
            raise InvalidRecord(f"The customer id {fault}.")
        return customer(customer_id)

    def _optional(self, members: dict[str, msgspec.Raw], name: str) -> str | None:
        return None if members.get(name, b"null") == b"null" else self._string(members, name)

    @staticmethod
    def _string(members: dict[str, msgspec.Raw], name: str) -> str:
        if name not in members:
            raise InvalidRecord(f"Field `{name}` is required.")
        try:
            return _text.decode(bytes(members[name]))
        except (msgspec.MsgspecError, ValueError):
            raise InvalidRecord(f"Field `{name}` must be a text.") from None

    @staticmethod
    def _only(members: dict[str, msgspec.Raw], known: frozenset[str]) -> None:
        for name in members.keys() - known:
            shown = f"`{name}` " if re.fullmatch(r"[A-Za-z_][\w-]{0,63}", name, re.ASCII) else ""
            raise InvalidRecord(f"Field {shown}is not known here; known are: {', '.join(sorted(known))}.")

    @staticmethod
    def _object(text: bytes) -> dict[str, msgspec.Raw]:
        strict_json.check(text)
        try:
            return _members.decode(text)
        except msgspec.ValidationError:
            raise InvalidRecord("A record must be a JSON object.") from None
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise strict_json.malformed(text, error) from None


def lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
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


def chunks(parsed: Iterable[Incoming | Refusal], size: int) -> Iterator[tuple[list[Incoming], list[Refusal]]]:
    """Yield what was parsed in groups of at most `size`, those to record apart from those refused."""
    incoming: list[Incoming] = []
    refused: list[Refusal] = []
    for one in parsed:
        if isinstance(one, Refusal):
            refused.append(one)
        else:
            incoming.append(one)
        if len(incoming) + len(refused) >= size:
            yield incoming, refused
            incoming, refused = [], []
    if incoming or refused:
        yield incoming, refused
