"""JSON as Portrait takes it: RFC 8259, less what some store or client cannot keep.

Refused on every engine alike, with the position: NUL, lone surrogates, NaN and infinities, integers beyond 64 bit,
depth beyond 64, text that is not UTF-8, a key that an object has twice. The common case costs some passes of compiled
code over the bytes.
"""

import json
import re
from itertools import accumulate
from typing import Any

import msgspec

from portrait.model.errors import MalformedJson

MAX_DEPTH = 64

_zeros = bytes.maketrans(b"123456789", b"000000000")
_long_integer = b"0" * 19
_brackets = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
# A text that is never closed goes to the end, once: nothing here looks at a byte twice.
_strings = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_names = re.compile(rb'"[^"]*+(?="\s*+:)')
"""What stands between two quotes, of which a colon follows the second: each key, and perhaps parts of other texts."""
_plain_name = re.compile(r"[A-Za-z_][\w-]{0,63}", re.ASCII)
_one_kind = bytes.maketrans(b"{}", b"[]")
_steps = bytes.maketrans(b"[]", b"\x01\xff")
"""Brackets as what they do to the depth, as signed bytes."""
_no_brackets = bytes(set(range(256)) - set(b"[]{}"))
# Backslashes are entered where they begin only, and by twos: after an odd number of them nothing is escaped.
_escaped_nul = re.compile(rb"(?<!\\)(?:\\\\)*+(\\u0000)")
_byte = re.compile(r"\(byte (\d+)\)")
_decode: Any = msgspec.json.Decoder().decode
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder(msgspec.Raw)


def check(raw: bytes, *, any_integer: bool = False) -> None:
    """Check one JSON text.

    Args:
        any_integer: take integers of any length: they go on as texts.

    Raises:
        MalformedJson: it is not JSON, or holds what no store can keep; the detail says where.
    """
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and not _is_shallow(raw):
        _check_depth(raw)
    if not raw.isascii():
        _check_utf8(raw)
    if b"\\u0000" in raw:
        _check_nul(raw)
    if not any_integer and _long_integer in raw.translate(_zeros):
        _check_integers(raw)
    if _may_repeat(raw):
        _check_names(raw)


def decode(raw: bytes) -> Any:
    """Return the value of a JSON text whose depth was checked.

    Raises:
        MalformedJson: it is not JSON; the detail says where.
    """
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise malformed(raw, error) from error


def elements(raw: bytes, most: int) -> list[bytes] | None:
    """Return the texts of a JSON array's elements, each still to be checked; None where there are more than `most`.

    Raises:
        MalformedJson: it is not a JSON array; the detail says where.
    """
    try:
        texts = _elements.decode(raw)
        return [bytes(element) for element in texts] if len(texts) <= most else None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise malformed(raw, error) from error


def value_end(raw: memoryview) -> int | None:
    """Return where the JSON value that a text begins with ends; None where the text may hold only a part of it.

    The decoder goes over the value and builds nothing; it reports where the text behind the value begins.

    Raises:
        MalformedJson: the text begins with no JSON value; the detail says where.
    """
    try:
        _any.decode(raw)
    except RecursionError as error:
        raise malformed(bytes(raw), error) from None
    except msgspec.DecodeError as error:
        message = str(error)
        match = _byte.search(message)
        if match is None:
            return None
        if "trailing" in message:
            return int(match[1]) - 1  # it counts what follows too
        raise malformed(bytes(raw), error) from None
    return None


def malformed(raw: bytes, error: Exception) -> MalformedJson:
    """Return what is wrong with a text that the decoder refused, in words that repeat nothing of it."""
    if isinstance(error, UnicodeDecodeError):
        return MalformedJson(f"The text is not valid UTF-8 (byte {_first_not_utf8(raw, error)}).")
    if isinstance(error, RecursionError):
        return MalformedJson(f"The JSON is nested deeper than {MAX_DEPTH} levels{_where_too_deep(raw)}.")
    message = str(error)
    if not raw.strip():
        return MalformedJson("The text is empty (byte 0).")
    if isinstance(error, msgspec.ValidationError):
        return MalformedJson("The JSON holds a number that is out of range.")
    match = _byte.search(message)
    if match:
        what = "invalid surrogate pair" if "surrogate" in message else "unexpected character"
        return MalformedJson(f"The JSON is malformed: {what} (byte {match[1]}).")
    # The decoder looks behind a high surrogate for its other half: at the end it only says that there is none.
    return MalformedJson(f"The JSON is malformed: it is cut off, or ends in a lone surrogate (byte {len(raw)}).")


def _is_shallow(raw: bytes) -> bool:
    """Tell whether a text is nested no deeper than it may be; False also where it is no JSON.

    Innermost pairs are taken away, one level a round, as long as that leaves no more than half; the rest is counted.
    """
    brackets = _strings.sub(b"", raw).translate(_one_kind, delete=_no_brackets)
    rounds = 0
    while brackets and len(outer := brackets.replace(b"[]", b"")) <= len(brackets) // 2:
        brackets = outer
        rounds += 1
    steps = memoryview(brackets.translate(_steps)).cast("b")
    return rounds + max(accumulate(steps), default=0) <= MAX_DEPTH


def _check_depth(raw: bytes) -> None:
    offset = _too_deep(raw)
    if offset is not None:
        raise MalformedJson(f"The JSON is nested deeper than {MAX_DEPTH} levels (byte {offset}).")


def _too_deep(raw: bytes) -> int | None:
    """Return where a text goes deeper than it may."""
    depth = 0
    for token in _brackets.finditer(raw):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return token.start()
        elif first in b"]}":
            depth -= 1
    return None


def _where_too_deep(raw: bytes) -> str:
    offset = _too_deep(raw)
    return "" if offset is None else f" (byte {offset})"


def _check_utf8(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise malformed(raw, error) from None


def _check_nul(raw: bytes) -> None:
    """Check that no escape is of NUL: an escape counts only after an even number of backslashes."""
    match = _escaped_nul.search(raw)
    if match is not None:
        raise MalformedJson(f"The JSON holds a NUL character, which no store can keep (byte {match.start(1)}).")


def _check_integers(raw: bytes) -> None:
    """Check every number: in one loop over all values, without building paths, for the text may be long."""
    ahead = [decode(raw)]
    while ahead:
        value = ahead.pop()
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                offset = raw.find(str(value).encode())
                raise MalformedJson(f"An integer is beyond 64 bit; send it as a string (byte {offset}).")
        elif isinstance(value, list):
            ahead.extend(value)
        elif isinstance(value, dict):
            ahead.extend(value.values())


def _may_repeat(raw: bytes) -> bool:
    """Tell whether some object of a text may have a key twice: two keys are spelled alike, or a key has an escape.

    Of a key with a quote in it only the end is compared, and parts of other texts may be among the names: some texts
    are read twice for that.
    """
    names = _names.findall(raw)
    return len(set(names)) < len(names) or (b"\\" in raw and b"\\" in b"".join(names))


def _check_names(raw: bytes) -> None:
    """Check the keys of every object: readers do not agree which of two equal keys counts."""
    try:
        json.loads(raw, object_pairs_hook=_hold_once, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return  # no JSON: the decoder has the better message


def _hold_once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            field = f"Field `{name}`" if _plain_name.fullmatch(name) else "A field"
            raise MalformedJson(f"{field} stands twice in one object of the JSON: send it once.")
        seen.add(name)


def _first_not_utf8(raw: bytes, error: UnicodeDecodeError) -> int:
    """Return the position in the whole text: the decoder counts within one string."""
    try:
        raw.decode()
    except UnicodeDecodeError as whole:
        return whole.start
    return error.start
