"""Values of databases as JSON shows them."""

import datetime
import decimal
import ipaddress
import math
import uuid
from typing import Any

from portrait.model import time

_LARGEST = 2**63
_AS_TEXT = (
    uuid.UUID,
    ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network,
    ipaddress.IPv4Interface, ipaddress.IPv6Interface,
)  # fmt: skip


class Unshowable(Exception):  # it becomes the source's failure
    """A value that JSON cannot show; the text says of what kind it is, and never what it is."""


def shown(value: Any) -> Any:
    """Return a value of a database as JSON has it. A decimal number is a text: JSON's numbers lose its digits.

    Raises:
        Unshowable: there is no way to show it.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float | decimal.Decimal):
        return _number(value)
    if isinstance(value, datetime.date | datetime.time):
        return _moment(value)
    if isinstance(value, list | tuple):
        return [shown(element) for element in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: shown(element) for name, element in value.items()}
    if isinstance(value, _AS_TEXT):
        return str(value)
    raise Unshowable(f"a value of the type {type(value).__name__}")


def _moment(value: datetime.date | datetime.time) -> str:
    if not isinstance(value, datetime.datetime):
        return value.isoformat()
    if value.tzinfo is None:
        raise Unshowable("a moment without a zone: write AT TIME ZONE")
    return time.rfc3339(time.moment(value))


def _number(value: float | decimal.Decimal) -> Any:
    if isinstance(value, int):
        if not -_LARGEST <= value < _LARGEST:
            raise Unshowable("an integer beyond 64 bit")
        return value
    if not (value.is_finite() if isinstance(value, decimal.Decimal) else math.isfinite(value)):
        raise Unshowable("a number that is not finite")
    return str(value) if isinstance(value, decimal.Decimal) else value


def records(columns: list[str], rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return the rows of a result as records.

    Raises:
        Unshowable: two columns have one name, or a value cannot be shown.
    """
    if len(set(columns)) < len(columns):
        raise Unshowable("two columns of one name: give them names with AS")
    made = []
    for row in rows:
        record = {}
        for column, value in zip(columns, row, strict=True):
            try:
                record[column] = shown(value)
            except Unshowable as error:
                raise Unshowable(f"in the column {column}, {error}") from None
        made.append(record)
    return made
