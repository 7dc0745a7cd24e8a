"""Bodies of requests that are one JSON object."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from portrait.api.operation import Call
from portrait.model import errors, strict_json

T = TypeVar("T")
MAX_INLINE = 4096
"""The longest body that is read on the event loop, in bytes."""


async def taken(body: bytes, read: Callable[[bytes], T]) -> T:
    """Return what `read` makes of a body; a long body is read in a thread, so that no other request waits for it."""
    return read(body) if len(body) <= MAX_INLINE else await asyncio.to_thread(read, body)


def value(body: bytes) -> Any:
    """Return the JSON value that a body holds.

    Raises:
        MalformedJson: it is not JSON that a store can keep.
    """
    strict_json.check(body)
    return strict_json.decode(body)


async def decoded(call: Call, type_: type[T]) -> T:
    """Return a request's body as a type.

    Raises:
        MalformedJson: it is not JSON.
        InvalidRecord: it breaks the type's schema; the detail names the field.
    """
    return converted(await _value(call), type_)


async def one_of(call: Call, field: str, types: Mapping[str, type[Any]]) -> Any:
    """Return a request's body as the type that one of its fields names.

    Raises:
        MalformedJson: it is not JSON.
        InvalidRecord: the field names no type, or the body breaks the type's schema; the detail names the field.
    """
    return chosen(await _value(call), field, types)


def chosen(value: Any, field: str, types: Mapping[str, type[Any]]) -> Any:
    """Return a value as the type that one of its fields names; see `one_of`."""
    named = value.get(field) if isinstance(value, dict) else None
    type_ = types.get(named) if isinstance(named, str) else None
    if type_ is None:
        raise errors.InvalidRecord(f"Field `{field}` must be one of: {', '.join(types)}.")
    return converted(value, type_)


def converted(value: Any, type_: type[T]) -> T:
    """Return a JSON value as a type.

    Raises:
        InvalidRecord: it breaks the type's schema; the detail names the field.
    """
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise errors.InvalidRecord(_explained(str(error), type_)) from None


async def _value(call: Call) -> Any:
    call.media_type("application/json")
    return await taken(await call.body(), value)


def _explained(message: str, type_: Any) -> str:
    """Return what is wrong with a body, and repeat no value of it."""
    known = {field.encode_name for field in msgspec.structs.fields(type_)}
    tag = type_.__struct_config__.tag_field
    # The path first: a missing or unknown field further in may have the name of one of the body's own fields.
    named = re.search(r"at `\$\.(\w+)", message) or re.search(r"required field `(\w+)`", message)
    if named is not None and named[1] in known:
        return f"Field `{named[1]}` is missing or breaks its rule: see /docs."
    return f"The body must be an object of these fields: {', '.join(sorted(known | ({tag} if tag else set())))}."
