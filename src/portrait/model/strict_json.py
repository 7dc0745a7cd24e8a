"""JSON as Portrait takes it: RFC 8259, less what some store or client cannot keep.

Refused with the place named, on every engine alike: NUL, lone surrogates, NaN and infinities, integers beyond 64 bit,
depth beyond 64, text that is not UTF-8. The common case costs one pass of compiled code over the bytes.
"""

import re
from typing import Any

import msgspec

from portrait.model.errors import MalformedJson

MAX_DEPTH = 64

_suspicious = re.compile(rb"\\u0000|[0-9]{19}").search
_brackets = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_byte = re.compile(r"\(byte (\d+)\)")
_decode: Any = msgspec.json.Decoder().decode
_elements = msgspec.json.Decoder(list[msgspec.Raw])


def check(raw: bytes) -> None:
    """Check one JSON text.

    Raises:
        MalformedJson: it is not JSON, or holds what no store can keep; the detail says where.
    """
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        _check_depth(raw)
    if _suspicious(raw):
        _walk(decode(raw), "$")


def decode(raw: bytes) -> Any:
    """Return the value of a JSON text whose depth was checked.

    Raises:
        MalformedJson: it is not JSON; the detail says where.
    """
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise malformed(raw, error) from error


def elements(raw: bytes) -> list[bytes]:
    """Return the texts of a JSON array's elements, each still to be checked.

    Raises:
        MalformedJson: it is not a JSON array; the detail says where.
    """
    try:
        return [bytes(element) for element in _elements.decode(raw)]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise malformed(raw, error) from error


def malformed(raw: bytes, error: Exception) -> MalformedJson:
    """Return what is wrong with a text that the decoder refused, in words that repeat nothing of it."""
    if isinstance(error, UnicodeDecodeError):
        return MalformedJson(f"The text is not valid UTF-8 (byte {error.start}).")
    if isinstance(error, RecursionError):
        return MalformedJson(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    message = str(error)
    if isinstance(error, msgspec.ValidationError):
        return MalformedJson("The JSON holds a number that is out of range.")
    place = _byte.search(message)
    if place:
        what = "invalid surrogate pair" if "surrogate" in message else "unexpected character"
        return MalformedJson(f"The JSON is malformed: {what} (byte {place[1]}).")
    if "surrogate" in message or re.search(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\"?\s*$", raw[-16:]):
        return MalformedJson(f"The JSON is malformed: it ends in a lone surrogate or is cut off (byte {len(raw)}).")
    return MalformedJson(f"The JSON is malformed: it ends too early (byte {len(raw)}).")


def _check_depth(raw: bytes) -> None:
    depth = 0
    for token in _brackets.finditer(raw):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedJson(f"The JSON is nested deeper than {MAX_DEPTH} levels (byte {token.start()}).")
        elif first in b"]}":
            depth -= 1


def _walk(value: Any, path: str) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise MalformedJson(f"The text at {path} holds a NUL character, which no store can keep.")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise MalformedJson(f"The integer at {path} is beyond 64 bit; send it as a string.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _walk(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for index, (key, item) in enumerate(value.items()):
            if "\0" in key:
                raise MalformedJson(f"The name of member {index} at {path} holds a NUL character.")
            _walk(item, f"{path}.{key}" if re.fullmatch(r"\w{1,64}", key, re.ASCII) else f"{path}.*")
