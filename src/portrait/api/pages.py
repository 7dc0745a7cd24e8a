"""Pages of lists: cursors, and the one shape that lists have."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from portrait.api.operation import DEFAULT_LIMIT, MAX_LIMIT, Call, Parameter
from portrait.model.errors import InvalidParameter
from portrait.reads.lists import Some

T = TypeVar("T")

PARAMETERS = (
    Parameter(
        "limit", "query", f"The number of items to return: {DEFAULT_LIMIT} by default, at most {MAX_LIMIT}.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}, example=20,
    ),
    Parameter(
        "cursor", "query", "The `pagination.cursor` of the page before.",
        {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    ),
)  # fmt: skip


MAX_CURSOR = 1024
"""The longest cursor, in characters: no page gives a longer cursor."""
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A moment in a cursor: whatever a client writes there, a store can compare it."""


Offset = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
"""How many elements the pages before have shown."""


class Pagination(msgspec.Struct, rename="camel"):
    """Where the next page begins."""

    cursor: str | None
    """Give it as `cursor` to get the next page; null on the last."""
    has_more: bool


class Page(msgspec.Struct, Generic[T]):
    """One page of a list."""

    data: list[T]
    pagination: Pagination


def position(call: Call, type_: type[T]) -> T | None:
    """Return where a page begins; None: at the start.

    Raises:
        InvalidParameter: no page gave this cursor.
    """
    cursor = call.query("cursor")
    if cursor is None:
        return None
    decoded = _decoded(cursor, type_) if len(cursor) <= MAX_CURSOR else None
    # No store keeps NUL, so no page gave a cursor that holds it.
    texts = [field for field in (decoded if isinstance(decoded, tuple) else (decoded,)) if isinstance(field, str)]
    if decoded is None or any("\0" in text for text in texts):
        raise InvalidParameter("Query parameter `cursor` must be the `pagination.cursor` of a page before.")
    return decoded


def _decoded(cursor: str, type_: type[T]) -> T | None:
    try:
        return msgspec.msgpack.decode(urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)), type=type_)
    except (ValueError, msgspec.MsgspecError):
        return None


def page(items: Sequence[T], limit: int, to_answer: Any, cursor_of: Any) -> Page[Any]:
    """Return a page of up to `limit` items, from a list that has one item more where others follow.

    Args:
        items: the items, one more than `limit` where there are more.
        limit: how many are shown.
        to_answer: turns an item into what the page shows of it.
        cursor_of: gives the cursor of an item, from which the next page goes on.
    """
    return part(Some(items[:limit], len(items) > limit), to_answer, cursor_of)


def part(some: Some[T], to_answer: Any, cursor_of: Any) -> Page[Any]:
    """Return a page of items that says whether others follow; see `page`."""
    return up_to(cursor_of(some.items[-1]) if some.more else None, [to_answer(item) for item in some.items])


def up_to(end: Any, data: list[Any]) -> Page[Any]:
    """Return a page that ends at a position, from which the next page goes on; None: it is the last page."""
    return Page(data, ended(end))


def ended(end: Any) -> Pagination:
    """Return the pagination of a page that ends at a position; None: it is the last page."""
    cursor = None if end is None else urlsafe_b64encode(msgspec.msgpack.encode(end)).rstrip(b"=").decode()
    return Pagination(cursor, end is not None)
