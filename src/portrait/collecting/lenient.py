"""JSON as clients write it: what `strict_json` refuses is mended, so that one value costs no whole batch.

Python's encoder writes `NaN` and `Infinity`, integers of any length, NUL characters and lone surrogates. No store keeps
these. `NaN` and infinities become null, as the clients for browsers write them; longer integers become texts of their
digits, so that none is lost; characters that cannot be kept become U+FFFD.
"""

import json
import re
from typing import Any

import msgspec

from portrait.model import strict_json
from portrait.model.errors import InvalidRecord, MalformedJson
from portrait.model.strict_json import MAX_DEPTH

_LONGEST = 20
"""An integer of more characters is beyond 64 bit. To read it takes time that grows with the square of its length."""
_UNFIT = re.compile("[\0\ud800-\udfff]")
_INFINITE = {float("inf"), float("-inf")}


def decode(raw: bytes) -> Any:
    """Return the value of a JSON text, mended.

    Raises:
        MalformedJson: it is no JSON even so, or nested too deep; the detail says where.
    """
    try:
        strict_json.check(raw)
        return strict_json.decode(raw)
    except MalformedJson as error:
        try:
            return _mended(_loaded(raw), MAX_DEPTH)
        except (ValueError, RecursionError):
            raise error from None


def elements(raw: bytes) -> list[bytes] | None:
    """Return the texts of the elements of a JSON array, each to be decoded by itself; None where it is no array.

    Raises:
        MalformedJson: it is no JSON even when mended; the detail says where.
    """
    try:
        return [bytes(element) for element in msgspec.json.decode(raw, type=list[msgspec.Raw])]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        value = _parts(raw)
        return [json.dumps(element).encode() for element in value] if isinstance(value, list) else None


def members(raw: bytes) -> dict[str, bytes] | None:
    """Return the texts of the members of a JSON object, each to be decoded by itself; None where it is no object.

    Raises:
        MalformedJson: it is no JSON even when mended; the detail says where.
    """
    try:
        return {name: bytes(text) for name, text in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items()}
    except (msgspec.MsgspecError, ValueError, RecursionError):
        value = _parts(raw)
        return (
            {name: json.dumps(member).encode() for name, member in value.items()} if isinstance(value, dict) else None
        )


def listed(raw: bytes, field: str) -> list[bytes]:
    """Return the texts of the events in a body: of a list, of the list that a field holds, or the body itself.

    Raises:
        MalformedJson: it is no JSON even when mended; the detail says where.
        InvalidRecord: it holds no events.
    """
    if raw.lstrip()[:1] == b"[":
        return elements(raw) or []
    held = members(raw)
    if held is None:
        raise InvalidRecord(f"The body must be an event, or an object whose `{field}` lists events.")
    if field not in held:
        return [raw]
    events = elements(held[field]) if held[field].lstrip()[:1] == b"[" else None
    if events is None:
        raise InvalidRecord(f"Field `{field}` must be a list of events.")
    return events


def _parts(raw: bytes) -> Any:
    """Return the value of a text whose parts are decoded by themselves later, each at its own risk.

    Raises:
        MalformedJson: it is no JSON even so.
    """
    try:
        return _loaded(raw)
    except (ValueError, RecursionError):
        return decode(raw)  # which says what is wrong


def _loaded(raw: bytes) -> Any:
    return json.loads(
        raw.decode("utf-8", "replace"), parse_constant=lambda _: None, parse_int=_integer, strict=False
    )  # fmt: skip


def _integer(digits: str) -> int | str:
    if len(digits) > _LONGEST:
        return digits
    value = int(digits)
    return value if -(2**63) <= value < 2**63 else digits


def _mended(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _UNFIT.sub("\ufffd", value)
    if isinstance(value, float):
        return None if value in _INFINITE else value
    if isinstance(value, list | dict):
        if depth == 0:
            raise ValueError("too deep")
        if isinstance(value, list):
            return [_mended(element, depth - 1) for element in value]
        return {_UNFIT.sub("\ufffd", name): _mended(member, depth - 1) for name, member in value.items()}
    return value
