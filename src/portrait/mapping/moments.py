"""Moments and dates as files have them, in the order and zone that the mapping says."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from portrait.mapping.faults import BadCell
from portrait.model import time

_KEPT = 4096
"""How many texts are kept with what they mean: dates come again."""
_READERS = 64
"""How many readers are kept."""
_PIVOT = 69
"""Of years of two digits those from here on are of the last century, as POSIX has it."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # as all moments here in UTC, whose zone is said by the Z behind
_UNITS = {"seconds": 6, "milliseconds": 3}
"""By the unit how many digits stand between it and microseconds."""
_ORDERS = {"dmy": "day, month, year", "mdy": "month, day, year", "ymd": "year, month, day"}

_ISO = r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
_SHORT = r"(?P<{0}>\d\d?)(?P<sign>[-/.])(?P<{1}>\d\d?)(?P=sign)(?P<short>\d{{4}}|\d\d)"
_YEAR_FIRST = r"(?P<early>\d{4}|\d\d)(?P<sign>[-/.])(?P<m>\d\d?)(?P=sign)(?P<d>\d\d?)|(?P<compact>\d{8})"
_TIME = r"""
    (?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,32}))?)?
    (?:[\s\u00a0\u202f]?(?P<half>[AaPp])\.?[Mm]\.?)?
    (?:\s?(?:(?P<utc>[Zz]|UTC|GMT|utc|gmt)|(?P<ahead>[-+])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?))?
"""
_REST = rf"(?:(?:[Tt]|,?\s+){_TIME})?"


def _form(dates: str) -> re.Pattern[str]:
    return re.compile(rf"(?P<date>{dates}){_REST}", re.VERBOSE | re.ASCII)


_FORMS = {
    None: (_form(_ISO),),
    "ymd": (_form(_ISO), _form(_YEAR_FIRST)),
    "dmy": (_form(_ISO), _form(_SHORT.format("d", "m"))),
    "mdy": (_form(_ISO), _form(_SHORT.format("m", "d"))),
}
_SOME_ORDER = re.compile(r"\d{1,2}[-/.]\d{1,2}[-/.]\d|\d{4}[/.]\d|\d{8}\b", re.ASCII)
"""What some other order of day, month and year begins with."""
_STANDARD = re.compile(
    r"\d{4}-\d\d-\d\d[ Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[-+](?:[01]\d|2[0-3]):?[0-5]\d)?",
    re.ASCII,
)
"""The forms in which most moments are written: the standard library reads them in a fraction of the time."""
_NUMBER = re.compile(r"(-?)(\d{1,17})(?:\.(\d{1,32}))?", re.ASCII)

Moments = Callable[[str], str | None]
"""Returns the RFC 3339 form of a text, or None where it says nothing; raises `BadCell` where it is no such text."""


def zone_of(name: str) -> ZoneInfo | None:
    """Return the time zone of a name, or None."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@lru_cache(_READERS)
def moments(order: str | None, zone: str | None, no_dates: tuple[str, ...]) -> Moments:
    """Return what reads moments: for the same arguments the same, so that no text is read twice.

    Args:
        order: that of day, month and year, or the unit of numbers from 1970; None: dates are ISO 8601's.
        zone: that of moments without an offset; None: these are refused.
        no_dates: dates that say nothing.
    """
    if order in _UNITS:
        return lru_cache(_KEPT)(partial(_since_1970, _UNITS[order]))
    info = None if zone is None else zone_of(zone)
    return lru_cache(_KEPT)(partial(_moment, order, info, frozenset(no_dates)))


@lru_cache(_READERS)
def dates(order: str | None, no_dates: tuple[str, ...]) -> Moments:
    """Return what reads dates of the calendar, for their ISO 8601 form; for the same arguments the same.

    A time beside a date must be midnight, as systems write that know no date alone.
    """
    if order in _UNITS:
        return lru_cache(_KEPT)(partial(_midnight_since_1970, _UNITS[order]))
    return lru_cache(_KEPT)(partial(_date, order, frozenset(no_dates)))


def _moment(order: str | None, zone: ZoneInfo | None, no_dates: frozenset[str], text: str) -> str | None:
    if _STANDARD.fullmatch(text) and text[:10] not in no_dates and (quick := _quick(zone, text)):
        return quick
    match, day = _read(order, no_dates, text)
    if day is None:
        return None
    wall, is_date = _on_the_wall(match, day), match["hour"] is None
    try:
        if match["utc"] is not None:
            moment = wall
        elif match["ahead"] is not None:
            moment = wall - _offset(match)
        elif zone is not None:
            moment = _in_zone(wall, zone, is_date=is_date)
        else:
            what = "a date alone, which is no moment" if is_date else "a time without an offset"
            raise BadCell(f"holds {what}: say its time zone in `zone`")
    except OverflowError:
        raise BadCell("holds a moment outside the years 1 to 9999") from None
    return f"{moment.isoformat()}Z"


def _quick(zone: ZoneInfo | None, text: str) -> str | None:
    """Return a moment in a form of `_STANDARD`; None where something is wrong with it, which the long way says."""
    try:
        wall = datetime.fromisoformat(text)
        if wall.tzinfo is not None:
            moment = wall.astimezone(UTC).replace(tzinfo=None)
        elif zone is not None:
            moment = _in_zone(wall, zone, is_date=False)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return f"{moment.isoformat()}Z"


def _date(order: str | None, no_dates: frozenset[str], text: str) -> str | None:
    match, day = _read(order, no_dates, text)
    if day is None:
        return None
    if match["hour"] is not None and _on_the_wall(match, day).time() != datetime.min.time():
        raise BadCell('holds a time beside the date: say `type = "time"` where it is a moment')
    return day.isoformat()


def _read(order: str | None, no_dates: frozenset[str], text: str) -> tuple[re.Match[str], date | None]:
    """Return the parts of a text, and its date; None where that is one that says nothing."""
    for form in _FORMS[order]:
        if match := form.fullmatch(text):
            break
    else:
        raise BadCell(_no_moment(order, text))
    if match["date"] in no_dates:
        return match, None
    year, month, day = _parts(match)
    try:
        read = date(year, month, day)
    except ValueError:
        raise BadCell(f"holds a date that no calendar has, read as {_ORDERS[order or 'ymd']}") from None
    return match, None if read.isoformat() in no_dates else read


def _parts(match: re.Match[str]) -> tuple[int, int, int]:
    parts = match.groupdict()
    if parts.get("year"):
        return int(parts["year"]), int(parts["month"]), int(parts["day"])
    if compact := parts.get("compact"):
        return int(compact[:4]), int(compact[4:6]), int(compact[6:])
    year = parts.get("short") or parts.get("early") or ""
    number = int(year)
    if len(year) == 2:
        number += 1900 if number >= _PIVOT else 2000
    return number, int(parts["m"]), int(parts["d"])


def _on_the_wall(match: re.Match[str], day: date) -> datetime:
    """Return what clocks showed."""
    if match["hour"] is None:
        return datetime(day.year, day.month, day.day)  # noqa: DTZ001  # its zone is found out next
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if match["half"] is not None:
        if not 1 <= hour <= 12:
            raise BadCell("holds an hour that no clock of twelve hours shows")
        hour = hour % 12 + (12 if match["half"] in "Pp" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise BadCell("holds a time outside 00:00:00 to 23:59:59: 24:00 is 00:00 of the next day")
    micros = int((match["fraction"] or "")[:6].ljust(6, "0"))
    return datetime(day.year, day.month, day.day, hour, minute, second, micros)  # noqa: DTZ001  # as above


def _offset(match: re.Match[str]) -> timedelta:
    hours, minutes = int(match["hours"]), int(match["minutes"] or 0)
    if hours > 23 or minutes > 59:
        raise BadCell("holds an offset of 24 hours or more")
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if match["ahead"] == "-" else offset


def _in_zone(wall: datetime, zone: ZoneInfo, *, is_date: bool) -> datetime:
    """Return the moment in UTC at which clocks of a zone showed this; of two the first, of a day its first.

    Where clocks go forward they show some times never: the offset before is then smaller than the one behind.
    """
    before, behind = zone.utcoffset(wall), zone.utcoffset(wall.replace(fold=1))
    assert before is not None
    assert behind is not None
    if behind > before and not is_date:
        raise BadCell("holds a time that clocks in its zone never showed, since they were put forward")
    return wall - before


def _no_moment(order: str | None, text: str) -> str:
    if order is None and _SOME_ORDER.match(text):
        return "holds a date whose order is not said: is the day or the month first? Say `date`: dmy, mdy or ymd"
    wanted = "an ISO 8601 date" if order is None else f"{_ORDERS[order]} or an ISO 8601 date"
    return f"holds no date or moment: it must be {wanted}, with or without a time"


def _since_1970(digits: int, text: str) -> str:
    match = _NUMBER.fullmatch(text)
    if match is None:
        unit = "seconds" if digits == _UNITS["seconds"] else "milliseconds"
        raise BadCell(f"holds no number of {unit} since 1970")
    micros = int(match[2] + (match[3] or "")[:digits].ljust(digits, "0"))
    try:
        moment = _EPOCH + timedelta(microseconds=-micros if match[1] else micros)
    except OverflowError:
        raise BadCell("holds a moment outside the years 1 to 9999: is it another unit?") from None
    return f"{moment.isoformat()}Z"


def _midnight_since_1970(digits: int, text: str) -> str:
    day, _, rest = _since_1970(digits, text).partition("T")
    if rest != "00:00:00Z":
        raise BadCell('holds a time beside the date: say `type = "time"` where it is a moment')
    return day


def rfc3339(moment: datetime) -> str:
    """Return the RFC 3339 form of a moment with an offset."""
    return time.rfc3339(time.moment(moment.astimezone(UTC)))
