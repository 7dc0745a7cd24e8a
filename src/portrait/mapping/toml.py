"""What a TOML document says, brought into structures: every fault is said, not only the first."""

import datetime
import difflib
import re
from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UnsetType

_KINDS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "an array"}
"""What the types of values are called."""


def shaped(value: Any, type_: Any, where: str, faults: list[str]) -> Any:
    """Return a value of TOML as one of a type; None where it is wrong.

    A value stands for an array of that value alone, and a structure may know what a value is short for.

    Args:
        value: the value.
        type_: the type: a structure, or what can stand in one.
        where: the way to the value, for faults.
        faults: what is wrong, which this adds to.
    """
    origin, arguments = get_origin(type_), get_args(type_)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return _structure(value, type_, where, faults)
    if origin in {Union, UnionType}:
        member = next(each for each in arguments if each not in {type(None), UnsetType})
        return shaped(value, member, where, faults)
    if origin is tuple:
        values = value if isinstance(value, list) else [value]
        numbers = [f"{where} {number}" if len(values) > 1 else where for number in range(1, len(values) + 1)]
        return tuple([shaped(each, arguments[0], number, faults) for each, number in zip(values, numbers, strict=True)])
    if origin is dict and isinstance(value, dict):
        return {name: shaped(each, arguments[1], _below(where, name), faults) for name, each in value.items()}
    return constant(value) if type_ is Any else _leaf(value, type_, where, faults)


def _leaf(value: Any, type_: Any, where: str, faults: list[str]) -> Any:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError:
        faults.append(f"`{where}` must be {_expected(type_)}.")
        return None


def constant(value: Any) -> Any:
    """Return a value of TOML as JSON has it: moments, dates and times are texts."""
    if isinstance(value, list):
        return [constant(each) for each in value]
    if isinstance(value, dict):
        return {name: constant(each) for name, each in value.items()}
    return value.isoformat() if isinstance(value, datetime.datetime | datetime.date | datetime.time) else value


def nearest(name: str, known: Iterable[str], what: str) -> str:
    """Return the end of a sentence that says which names there are, or which is meant.

    Args:
        name: the name that there is not.
        known: those that there are.
        what: what they are called, in the plural.
    """
    names = list(known)
    lowered = {each.lower(): each for each in names}
    if close := difflib.get_close_matches(name.lower(), lowered, n=1):
        return f"Did you mean `{lowered[close[0]]}`?"
    return f"The {what} are: {', '.join(names)}." if names else f"There are no {what}."


def _structure(value: Any, type_: type[msgspec.Struct], where: str, faults: list[str]) -> Any:
    short = getattr(type_, "of_shorthand", None)
    value = short(value) if short else value
    if not isinstance(value, dict):
        faults.append(f"`{where}` must be {'the name of a column, or ' if short else ''}a table.")
        return None
    fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    before = len(faults)
    faults += [
        f"`{_below(where, name)}` is no key of a mapping. {nearest(name, fields, 'keys here')}"
        for name in value
        if name not in fields
    ]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in value:
            values[field.name] = shaped(value[name], field.type, _below(where, name), faults)
        elif field.default is NODEFAULT and field.default_factory is NODEFAULT:
            faults.append(f"`{_below(where, name)}` is missing.")
    return type_(**values) if len(faults) == before else None


def _below(where: str, name: str) -> str:
    quoted = name if re.fullmatch(r"[\w-]+", name) else f'"{name}"'
    return f"{where}.{quoted}" if where else quoted


def _expected(type_: Any) -> str:
    if get_origin(type_) is dict:
        return "a table"
    if get_origin(type_) is Literal:
        return f"one of: {', '.join(get_args(type_))}"
    if get_origin(type_) is Annotated:
        bounds = get_args(type_)[1]
        return "a single character" if bounds.max_length == 1 else "a text that is not empty"
    return _KINDS.get(getattr(type_, "__name__", ""), "another value")
