"""Moments: whole microseconds since 1970-01-01T00:00:00Z, and their RFC 3339 form.

An `int` compares, sorts and stores alike on every engine; the text form is made only where people or clients read it.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from portrait.model.errors import InvalidParameter

SECOND = 1_000_000
"""One second, in microseconds."""
HOUR = 3600 * SECOND
"""One hour, in microseconds."""
DAY = 24 * HOUR
"""One day, in microseconds."""

Clock = Callable[[], int]
"""Gives the present moment. Services take one, so that tests can say what time it is."""

_BEYOND = re.compile(r"(?<=:\d\d\.\d{6})\d+")
"""The digits of a second beyond microseconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def system_clock() -> int:
    """Return the present moment in microseconds."""
    return time.time_ns() // 1000


def to_utc(value: datetime) -> datetime:
    """Return the same moment in UTC.

    Raises:
        ValueError: the value is naive, or its UTC form lies outside the years 1 to 9999.
    """
    if value.tzinfo is UTC:
        return value
    if value.tzinfo is None:
        raise ValueError("a timestamp needs an offset or Z")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a timestamp must lie within the years 1 to 9999 in UTC") from error


def moment(value: datetime) -> int:
    """Return an aware datetime as microseconds since 1970."""
    return (value - _EPOCH) // _MICROSECOND


def to_datetime(value: int) -> datetime:
    """Return a moment in microseconds as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=value)


def truncated(value: Any) -> Any:
    """Return a JSON value with the moments in its texts cut off at microseconds; they would be rounded otherwise.

    Other systems cut off: an event that comes through such a system and also directly must be one event. And rounded
    up, the last moment of a year would be in the next year, and that of 9999 would be no moment.
    """
    if isinstance(value, str):
        return _BEYOND.sub("", value)
    if isinstance(value, list):
        return [truncated(element) for element in value]
    return {name: truncated(member) for name, member in value.items()} if isinstance(value, dict) else value


def parse(text: str) -> int:
    """Return the moment that an RFC 3339 text names, in whole microseconds: what is beyond is cut off.

    Raises:
        InvalidParameter: the text is not RFC 3339, or has no offset.
    """
    try:
        return moment(to_utc(msgspec.convert(truncated(text), datetime)))
    except (ValueError, msgspec.ValidationError) as error:
        raise InvalidParameter("must be an RFC 3339 timestamp with an offset or Z") from error


def rfc3339(value: int) -> str:
    """Return the RFC 3339 form in UTC with `Z`; a fraction only when the second is not whole."""
    text = to_datetime(value).replace(tzinfo=None).isoformat()
    return text + "Z"


def rfc3339_millis(value: int) -> str:
    """Return the RFC 3339 form in UTC with `Z` and always three digits of a second."""
    second, micros = divmod(value, SECOND)
    return f"{_whole(second)}.{micros // 1000:03}Z"


@lru_cache(maxsize=2)  # every answer says its moment, and thousands share a second
def _whole(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat()
