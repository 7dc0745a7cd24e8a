"""Values of libraries as texts, in one way whatever the format: the same records are then the same bytes."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isinf, isnan
from typing import Any

import msgspec

from portrait.tables.table import Cell, Unreadable

EXACT = 2**53
"""Beyond this, floating numbers of 64 bit are not next to each other: a whole number may have lost digits."""
INFINITE = Unreadable("holds infinity, which is no value")
LOST = Unreadable("holds a floating number of so many digits that some may be lost: give it as text, or as an integer")
NO_TEXT = Unreadable("holds bytes that are no text in UTF-8")
NO_DATE = Unreadable("holds a date that is not between the years 1 and 9999")
_json = msgspec.json.Encoder(decimal_format="number")


def text_of(value: Any) -> Cell:
    """Return a value as a text; what says nothing, None and NaN, is empty."""
    convert = _BY_TYPE.get(type(value))
    if convert is not None:
        return convert(value)
    for kind, convert in _BY_TYPE.items():
        if isinstance(value, kind):
            return convert(value)
    return str(value)


def of_float(value: float, exact: int = EXACT) -> Cell:
    """Return a floating number as a text, a whole one without a point.

    Args:
        value: the number.
        exact: from where on whole numbers may have lost digits.
    """
    if isnan(value):
        return ""
    if isinf(value):
        return INFINITE
    if value.is_integer():
        return str(int(value)) if abs(value) < exact else LOST
    return repr(value)


def of_datetime(value: datetime) -> str:
    """Return a moment in ISO 8601: with a zone in UTC, without a zone as it stands."""
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def of_seconds(seconds: int, fraction: str, *, is_negative: bool = False) -> str:
    """Return a duration in ISO 8601: `P1DT12H`.

    Args:
        seconds: whole seconds, not below 0.
        fraction: the digits behind the point, empty for none.
        is_negative: whether the duration is below 0.
    """
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    last = f"{rest}.{fraction}" if fraction else str(rest or "")
    parts = [f"{part}{unit}" for part, unit in ((hours, "H"), (minutes, "M"), (last, "S")) if part]
    clock = f"T{''.join(parts)}" if parts else ""
    whole = f"{days}D" if days else ""
    return f"{'-' if is_negative else ''}P{whole}{clock}" if whole or clock else "PT0S"


def of_bytes(value: bytes) -> Cell:
    """Return bytes as the text that they are in UTF-8."""
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return NO_TEXT


def of_nested(value: Any) -> str:
    """Return a list or an object as JSON."""
    return _json.encode(plain(value)).decode()


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: numbers, texts, truth values, null, and lists and objects of these."""
    if isinstance(value, Mapping):
        return {str(name): plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(element) for element in value]
    if value is None or isinstance(value, bool | int | float | Decimal):
        return value
    text = text_of(value)
    return text if isinstance(text, str) else None


def _of_timedelta(value: timedelta) -> str:
    size = abs(value)
    fraction = f"{size.microseconds:06}" if size.microseconds else ""
    return of_seconds(size.days * 86400 + size.seconds, fraction, is_negative=value < timedelta())


def _of_decimal(value: Decimal) -> Cell:
    if value.is_nan():
        return ""
    return INFINITE if value.is_infinite() else format(value, "f")


_BY_TYPE: dict[type, Callable[[Any], Cell]] = {
    str: str,
    type(None): lambda _value: "",
    bool: lambda value: "true" if value else "false",
    int: str,
    float: of_float,
    datetime: of_datetime,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: _of_timedelta,
    Decimal: _of_decimal,
    bytes: of_bytes,
    bytearray: of_bytes,
    memoryview: of_bytes,
    Mapping: of_nested,
    list: of_nested,
    tuple: of_nested,
    set: of_nested,
    frozenset: of_nested,
    Unreadable: lambda value: value,
}
"""In this order: a truth value is an integer too, and a moment a date."""
