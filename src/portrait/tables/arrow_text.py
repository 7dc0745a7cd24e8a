"""Columns of Arrow as texts. Nothing goes by way of pandas, which is not needed, nor of floating seconds."""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

from portrait.tables.table import Cell
from portrait.tables.values import NO_DATE, of_bytes, of_float, of_nested, of_seconds, text_of

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 # the zone is said by the column
_DAY_MS = 86_400_000
_EXACT = {16: 2**11, 32: 2**24, 64: 2**53}
"""By the width of floating numbers: from where on whole numbers may have lost digits."""


def texts(pa: Any, array: Any) -> list[Cell]:
    """Return the values of an array as texts; null is empty.

    Args:
        pa: the library, which is imported where it is needed.
        array: an array of any type.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _each(array.to_pylist(), text_of) if kind == pa.uuid() else texts(pa, array.storage)
    for is_kind, convert in _converters(pa.types):
        if any(check(kind) for check in is_kind):
            return convert(pa, array)
    return _each(array.to_pylist(), text_of)


def _converters(types: Any) -> tuple[tuple[tuple[Callable[[Any], bool], ...], Callable[[Any, Any], list[Cell]]], ...]:
    return (
        ((types.is_dictionary,), lambda pa, array: texts(pa, array.dictionary_decode())),
        ((types.is_run_end_encoded,), lambda pa, array: texts(pa, _run_ends(array))),
        ((types.is_string, types.is_large_string, types.is_string_view), _strings),
        ((types.is_integer, types.is_boolean), lambda pa, array: _each(array.cast(pa.string()).to_pylist(), str)),
        ((types.is_floating,), _floats),
        ((types.is_temporal,), _temporal),
        ((types.is_nested,), lambda pa, array: _each(_plain(pa, array), of_nested)),
    )


def _run_ends(array: Any) -> Any:
    from pyarrow import compute  # noqa: PLC0415 # the extra may be missing

    return compute.run_end_decode(array)


def _each(values: Iterable[Any], convert: Callable[[Any], Cell]) -> list[Cell]:
    return ["" if value is None else convert(value) for value in values]


def _strings(pa: Any, array: Any) -> list[Cell]:
    try:
        values = array.to_pylist()
    except UnicodeDecodeError:
        wide = array.cast(pa.large_string()) if pa.types.is_string_view(array.type) else array
        return _each(wide.cast(pa.large_binary()).to_pylist(), of_bytes)
    return _each(values, str) if array.null_count else values


def _floats(pa: Any, array: Any) -> list[Cell]:
    width = array.type.bit_width
    if width != 64:
        # The shortest text that means the same number of this width, not that of the number of 64 bit.
        wide = array if width == 32 else array.cast(pa.float32())
        values = [None if text is None else float(text) for text in wide.cast(pa.string()).to_pylist()]
    else:
        values = array.to_pylist()
    return _each(values, lambda value: of_float(value, _EXACT[width]))


def _temporal(pa: Any, array: Any) -> list[Cell]:
    kind, types = array.type, pa.types
    if types.is_interval(kind):
        return _each(array.to_pylist(), lambda value: f"P{value.months}M{value.days}DT{value.nanoseconds / 10**9:g}S")
    narrow = kind.bit_width == 32
    numbers = array.cast(pa.int32() if narrow else pa.int64()).to_pylist()
    if types.is_date(kind):
        return _each(numbers, lambda number: _date(number if narrow else number // _DAY_MS))
    per_second = _PER_SECOND[kind.unit]
    if types.is_timestamp(kind):
        zone = "Z" if kind.tz else ""
        return _each(numbers, lambda number: _moment(number, per_second, zone))
    if types.is_time(kind):
        return _each(numbers, lambda number: str(_moment(number, per_second, ""))[11:])
    return _each(numbers, lambda number: _duration(number, per_second))


def _date(days: int) -> Cell:
    try:
        return date.fromordinal(_EPOCH_DAY + days).isoformat()
    except (ValueError, OverflowError):
        return NO_DATE


def _moment(number: int, per_second: int, zone: str) -> Cell:
    seconds, rest = divmod(number, per_second)
    try:
        whole = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return NO_DATE
    fraction = _fraction(rest, per_second)
    return f"{whole}{'.' if fraction else ''}{fraction}{zone}"


def _duration(number: int, per_second: int) -> str:
    seconds, rest = divmod(abs(number), per_second)
    return of_seconds(seconds, _fraction(rest, per_second), is_negative=number < 0)


def _fraction(rest: int, per_second: int) -> str:
    """Return the digits of a fraction of a second: six, as everywhere, or nine where there are so many."""
    if not rest:
        return ""
    nanoseconds = f"{rest * (10**9 // per_second):09}"
    return nanoseconds.removesuffix("000") if nanoseconds.endswith("000") else nanoseconds


def _plain(pa: Any, array: Any) -> list[Any]:
    """Return the values of an array as JSON knows them."""
    kind, types = array.type, pa.types
    if types.is_struct(kind):
        return _objects(pa, array)
    if types.is_map(kind):
        pairs = list(zip(texts(pa, array.keys), _plain(pa, array.items), strict=True))
        return [None if part is None else dict(part) for part in _parts(array, pairs)]
    if types.is_list(kind) or types.is_large_list(kind):
        return _parts(array, _plain(pa, array.values))
    if types.is_fixed_size_list(kind):
        return _plain(pa, array.cast(pa.large_list(kind.value_type)))
    if any(
        check(kind)
        for check in (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_nested)
    ):
        return list(array.to_pylist())
    valid = array.is_valid().to_pylist()
    pairs = list(zip(texts(pa, array), valid, strict=True))
    return [text if is_valid and isinstance(text, str) else None for text, is_valid in pairs]


def _objects(pa: Any, array: Any) -> list[Any]:
    names = [array.type.field(index).name for index in range(array.type.num_fields)]
    members = [_plain(pa, member) for member in array.flatten()]
    rows: Any = zip(*members, strict=True) if members else ((),) * len(array)
    valid = array.is_valid().to_pylist()
    return [dict(zip(names, row, strict=True)) if is_valid else None for row, is_valid in zip(rows, valid, strict=True)]


def _parts(array: Any, values: list[Any]) -> list[Any]:
    offsets = array.offsets.to_pylist()
    bounds = zip(pairwise(offsets), array.is_valid().to_pylist(), strict=True)
    return [values[start:end] if valid else None for (start, end), valid in bounds]
