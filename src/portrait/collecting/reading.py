"""Values as clients give them: ids of any type, moments in several forms."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec

from portrait.model import time
from portrait.model.errors import InvalidParameter, InvalidRecord

MILLISECOND = 1000
"""In microseconds."""
_NAIVE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?")
_MILLIS = re.compile(r"-?[0-9]{1,15}")


def text_id(value: Any) -> str | None:
    """Return an id as a text; None where there is none: null, an empty text, or what no client takes for an id.

    Clients send numbers as numbers or as texts, by their language.
    """
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None


def moment(value: Any) -> int | None:
    """Return a moment in microseconds; None where there is none.

    Taken are RFC 3339, the same without an offset (then it is UTC), with a blank for T, a date alone, and milliseconds
    since 1970 as a number or a text.

    Raises:
        InvalidRecord: it is none of these.
    """
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return _millis(value)
    if isinstance(value, str):
        if _MILLIS.fullmatch(value):
            return _millis(int(value))
        try:
            return time.parse(value)
        except InvalidParameter:
            if (match := _NAIVE.fullmatch(value)) is not None:
                return _naive(match[1], match[2] or "00:00:00")
    raise InvalidRecord("The event's timestamp must be RFC 3339, or milliseconds since 1970.")


def _millis(value: float) -> int:
    micros = round(value * MILLISECOND)
    try:
        time.to_datetime(micros)
    except OverflowError:
        raise InvalidRecord("The event's timestamp lies outside the years 1 to 9999.") from None
    return micros


def _naive(date: str, clock: str) -> int:
    try:
        return time.moment(datetime.fromisoformat(f"{date}T{clock}").replace(tzinfo=UTC))
    except ValueError:
        raise InvalidRecord("The event's timestamp names no day or no time of day.") from None


def sent_at(value: Any) -> int | None:
    """Return when an event was sent; a moment that cannot be read is no reason to refuse the event."""
    try:
        return moment(value)
    except InvalidRecord:
        return None


def name(value: Any) -> str | None:
    """Return what something is called; None where that is no text, or an empty one."""
    return value if isinstance(value, str) and value else None


def elements(value: Any) -> list[Any]:
    """Return a list; an empty one where there is none."""
    return value if isinstance(value, list) else []


def members(value: Any) -> dict[str, Any]:
    """Return an object; an empty one where there is none."""
    return value if isinstance(value, dict) else {}


def first_of(value: Any, field: str) -> list[dict[str, Any]]:
    """Return the objects in which a body's key may stand: the body itself and the first event that a field lists.

    Of a body that is a list, its first events.
    """
    events = value if isinstance(value, list) else [value, *elements(members(value).get(field))]
    return [members(event) for event in events[:2]]


def identifiers(value: Any, ids: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Yield the types and values of the identifiers that stand in an event.

    Args:
        value: the event, or a part of it.
        ids: by the name of a field the types of which its value may be.
    """
    for field, inner in value.items() if isinstance(value, dict) else ():
        if (id_ := text_id(inner)) is not None:
            yield from ((type_, id_) for type_ in ids.get(field, ()))
        yield from identifiers(inner, ids)
    for inner in elements(value):
        yield from identifiers(inner, ids)


def digest(value: Any, without: frozenset[str] = frozenset()) -> str:
    """Return a name for a value that has none fit for records: the same for the same, but for some members of it."""
    rest = {name: member for name, member in value.items() if name not in without} if without else value
    return blake2b(msgspec.json.encode(rest, order="sorted"), digest_size=16).hexdigest()
