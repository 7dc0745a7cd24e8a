"""Operations: what the API can do, declared once for routing, access and the OpenAPI document."""

import asyncio
import codecs
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from portrait.access.service import Caller
from portrait.model import errors, time
from portrait.model.identifier import name_fault
from portrait.storage.contract import TenantRow

MAX_BODY = 2**20
"""The largest body of a single request, in bytes."""
BODY_SECONDS = 30
"""How long a single request's body may take to arrive, in seconds."""
DEFAULT_LIMIT = 20
MAX_LIMIT = 100

Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""A moment as answers show it: RFC 3339 in UTC."""

WIRE = "portrait.wire"
"""Where a request's scope holds a `Wire`, if its server has one."""


class Wire(Protocol):
    """The connection that a request came by."""

    def whole(self, scope: Scope, status: int, lines: bytes, body: bytes) -> bool:
        """Send a whole answer at once; False: it was not sent, and is to be sent as ASGI's messages.

        Args:
            scope: the request's scope.
            status: the answer's status.
            lines: its headers, as `lines` makes them.
            body: its body.
        """

    def watch(self, task: "asyncio.Task[None]") -> None:
        """Take the task that answers the request, to give it up when the client leaves."""


encode = msgspec.json.Encoder(order="deterministic").encode


class Answer(NamedTuple):
    """What an operation answers."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    always: str = ""
    """Headers that every answer of an operation has, as `lines`; without any, the answer must not be stored."""


def lines(headers: Mapping[str, str]) -> str:
    """Return headers as they go out, a line each.

    Raises:
        ValueError: a value would end its line.
    """
    if not headers:
        return ""
    if not "".join(headers.values()).isprintable():
        raise ValueError("a header's value holds a control character")
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def json_answer(value: Any, status: int = 200) -> Answer:
    """Return the answer that shows a value as JSON."""
    return Answer(status, encode(value), {"content-type": "application/json"})


class Step(NamedTuple):
    """A request that must be sent before the example of another request works."""

    path: str
    body: Any = None
    """What is posted; None: the request is a GET."""


class AnswerField(NamedTuple):
    """A field of a request's answer, from which an example takes a value that no documentation can know."""

    step: Step
    field: str
    """The field's name; the first field of this name in the answer has the value."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of an operation, for its documentation."""

    name: str
    where: str
    description: str
    schema: Mapping[str, Any]
    required: bool = False
    example: Any = None
    answer_field: AnswerField | None = None
    """Where a working example takes the value from, if that cannot be `example`."""


class Example(NamedTuple):
    """One of several examples of a body."""

    value: Any
    first: tuple[Step, ...] = ()
    """The requests that must be sent before it, for the example to work."""


@dataclass(frozen=True)
class Body:
    """The body that an operation takes, for its documentation."""

    content: Mapping[str, Any]
    """Schema by media type."""
    examples: Mapping[str, Any]
    """Example by media type."""
    named: Mapping[str, Example] = field(default_factory=dict)
    """Where a body of JSON can be of several kinds: an example of each, by its name."""


@dataclass(frozen=True)
class Operation:
    """One thing that the API can do."""

    id: str
    method: str
    path: str
    summary: str
    tag: str
    handler: "Callable[[Call], Awaitable[Answer]]"
    success: int
    answer: Any
    """The schema of the successful answer's body: a type, or a JSON schema; None where there is none."""
    example: Any = None
    roles: frozenset[str] = frozenset()
    """The roles that may call it: none, where none are declared."""
    public: bool = False
    """Whether it needs no credential."""
    needs_tenant: bool = True
    is_long: bool = False
    """Whether it may take minutes: few such operations run at once, and they keep no other request from beginning."""
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    fails: tuple[type[errors.PortraitError], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the successful answer, described."""
    also: Mapping[int, str] = field(default_factory=dict)
    """Further answers without a body, described."""

    @property
    def answer_schema(self) -> Any:
        """The successful answer's schema, in which `{"$type": type}` stands for a type; None where it has no body."""
        return self.answer if isinstance(self.answer, dict | None) else {"$type": self.answer}

    @property
    def query_parameters(self) -> list[str]:
        """The names of the operation's query parameters."""
        return [parameter.name for parameter in self.parameters if parameter.where == "query"]


class Call:
    """One request on its way to an operation: everything read from it is checked."""

    def __init__(self, scope: Scope, receive: Receive, path: Mapping[str, str]) -> None:
        self.headers = Headers(scope=scope)
        self._receive = receive
        self._path = path
        self.query_string: bytes = scope["query_string"]
        self.caller: Caller = Caller(None, "", None)
        self.request_id: str = scope["portrait.request_id"]
        self.admitted: Callable[[], Awaitable[None]] | None = None
        """Waits until the request may begin, once its body is here."""

    @property
    def tenant(self) -> TenantRow:
        """The tenant that the call is for."""
        assert self.caller.tenant is not None
        return self.caller.tenant

    def path(self, name: str) -> str:
        """Return a path parameter, decoded.

        Raises:
            InvalidParameter: it is not UTF-8, or breaks the rule of names.
        """
        return decoded(self._path[name], name)

    def raw_path(self, name: str) -> str:
        """Return a path parameter as it was sent."""
        return self._path[name]

    def query(self, name: str) -> str | None:
        """Return a query parameter; None where it is not given."""
        return next((value for key, value in query_of(self.query_string) if key == name), None)

    def limit(self) -> int:
        """Return the page size asked for.

        Raises:
            InvalidParameter: it is no whole number from 1 to 100.
        """
        text = self.query("limit")
        if text is None:
            return DEFAULT_LIMIT
        if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_LIMIT:
            raise errors.InvalidParameter(f"Query parameter `limit` must be a whole number from 1 to {MAX_LIMIT}.")
        return int(text)

    def flag(self, name: str) -> bool:
        """Return whether a query parameter is `true`; False where it is not given.

        Raises:
            InvalidParameter: it is neither `true` nor `false`.
        """
        return flag_in(query_of(self.query_string), name)

    def moment(self, name: str) -> int | None:
        """Return the moment that a query parameter names, in microseconds; None where it is not given.

        Raises:
            InvalidParameter: it is not RFC 3339, or has no offset.
        """
        text = self.query(name)
        try:
            return None if text is None else time.parse(text)
        except errors.InvalidParameter as error:
            raise errors.InvalidParameter(f"Query parameter `{name}` {error.detail}.") from None

    def media_type(self, *allowed: str) -> str:
        """Return the body's media type.

        Raises:
            UnsupportedMediaType: it is none of those allowed, or not in UTF-8.
        """
        type_name, _, options = self.headers.get("content-type", "").partition(";")
        charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", options, re.IGNORECASE)
        kind = type_name.strip().lower()
        if kind not in allowed or (charset and charset[1].lower() not in {"utf-8", "utf8"}):
            raise errors.UnsupportedMediaType(f"Send the body as {' or '.join(allowed)}, in UTF-8.")
        if self.headers.get("content-encoding", "identity") != "identity":
            raise errors.UnsupportedMediaType("Send the body without a Content-Encoding.")
        return kind

    async def body(self) -> bytes:
        """Return the whole body, without a byte-order mark.

        Raises:
            BodyTooLarge, BodyTooSlow: it is more than 1 MiB, or stopped arriving.
            Overloaded: the body is here, but its turn would come too late.
        """
        received = b"".join([chunk async for chunk in self.stream(MAX_BODY, BODY_SECONDS)])
        if self.admitted is not None:
            await self.admitted()
        return received.removeprefix(codecs.BOM_UTF8)

    async def stream(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            BodyTooLarge, BodyTooSlow: it is more than `limit` bytes, or takes longer than `seconds`.
        """
        announced = self.headers.get("content-length", "")
        # A length of more digits is not read as a number: the body that announces it is bounded below.
        if re.fullmatch("[0-9]{1,18}", announced) and int(announced) > limit:
            raise _too_large(limit)
        size = 0
        until = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                async with asyncio.timeout_at(until):
                    message = await self._receive()
            except TimeoutError:
                raise errors.BodyTooSlow(f"The body did not arrive whole within {seconds:g} seconds.") from None
            if message["type"] == "http.disconnect":
                raise errors.BodyTooSlow("The client went away before the body's end.")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            yield chunk
            if not message.get("more_body", False):
                return


def _too_large(limit: int) -> errors.BodyTooLarge:
    return errors.BodyTooLarge(f"The body has more than {limit} bytes. Send less at a time.")


def decoded(segment: str, name: str) -> str:
    """Return a path segment, percent-decoded.

    Raises:
        InvalidParameter: it is not UTF-8, or breaks the rule of names.
    """
    text = segment
    if "%" in segment or not segment.isascii():
        try:
            text = unquote_to_bytes(segment).decode()
        except UnicodeDecodeError:
            raise errors.InvalidParameter(f"Path parameter `{name}` must be percent-encoded UTF-8.") from None
    fault = name_fault(text)
    if fault:
        raise errors.InvalidParameter(f"Path parameter `{name}` {fault}.")
    return text


def check_query(query_string: bytes, parameters: Sequence[str]) -> None:
    """Check that a query has only parameters that there are: a mistyped name would change nothing.

    Raises:
        InvalidParameter: the query has another parameter; the detail lists the known ones.
    """
    if query_string and any(name not in parameters for name, _ in query_of(query_string)):
        known = ", ".join(parameters) or "none"
        raise errors.InvalidParameter(f"The query has an unknown parameter. Known parameters: {known}.")


def flag_in(query: Sequence[tuple[str, str]], name: str) -> bool:
    """Return whether a parameter of a query is `true`; False where it is not given.

    Raises:
        InvalidParameter: it is neither `true` nor `false`.
    """
    text = next((value for key, value in query if key == name), None)
    if text not in {None, "true", "false"}:
        raise errors.InvalidParameter(f"Query parameter `{name}` must be `true` or `false`.")
    return text == "true"


def query_of(query_string: bytes) -> list[tuple[str, str]]:
    """Return the parameters of a query string.

    Raises:
        InvalidParameter: it is not UTF-8, or has too many parameters.
    """
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise errors.InvalidParameter("The query must be percent-encoded UTF-8 of at most 100 parameters.") from None
    return pairs
