"""The paths that clients of other makers send to, with nothing but their host changed.

What these clients take for an answer, and do on each, decides over loss: see `docs/reference/collecting.md`. So here
every answer lets web pages read it, every refusal has a `message`, and whatever is authentic and durable is a 200.
"""

import asyncio
import base64
import binascii
import logging
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec
from starlette.types import Receive, Scope

from portrait.access.grants import WriteKey
from portrait.access.service import Access
from portrait.api import errors as api_errors
from portrait.api.operation import Answer, Call, encode, json_answer, query_of
from portrait.collecting.collector import Collected, Collector
from portrait.collecting.families import CLOUDEVENTS, POSTHOG, SEGMENT, SNOWPLOW, Family
from portrait.collecting.limits import KeyLimits
from portrait.collecting.request import SentRequest
from portrait.collecting.segment import SHORT
from portrait.model import errors
from portrait.serving.admission import Admission

MAX_BODY = 10 * 2**20
"""The largest body, in bytes, as it is sent and once it is inflated."""
INLINE = 2**15
"""The longest body that is read on the event loop, in bytes."""
MAX_EVENTS = 20_000
"""The most events of a request."""
SMALL = 2**20
"""Of larger bodies only so many are read at once."""
BODY_SECONDS = 30
"""How long a body may take to arrive, in seconds."""
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "Retry-After",
}
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, x-retry-count, anonymousid, sentat,"
    " rsa-retry-attempt, rsa-retry-reason, rsa-since-first-attempt, rsa-since-last-attempt, x-write-key,"
    " x-enable-debug, x-ip-policy, sp-anonymous",
    "access-control-max-age": "600",
}
_log = logging.getLogger("portrait.api")
_KINDS = tuple(SHORT.values())
T = TypeVar("T")
_ORIGIN = re.compile("[!-~]{1,300}")
_GZIP = b"\x1f\x8b"
"""Begins gzip, and no JSON."""


class Target(NamedTuple):
    """What is sent to a path."""

    family: Family
    kind: str | None
    """The type of its events; None: each says its own."""
    methods: tuple[str, ...] = ("POST",)


TARGETS: Mapping[str, Target] = {
    **{
        path: Target(SEGMENT, None) for path in ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch", "/api/s/batch")
    },
    **{f"/v1/{short}": Target(SEGMENT, kind) for short, kind in SHORT.items()},
    **{f"{begin}/{kind}": Target(SEGMENT, kind) for kind in _KINDS for begin in ("/v1", "/api/s")},
    **{path: Target(POSTHOG, None) for path in ("/batch", "/capture", "/e", "/i/v0/e")},
    "/com.snowplowanalytics.snowplow/tp2": Target(SNOWPLOW, None),
    "/i": Target(SNOWPLOW, None, ("GET", "POST")),
    "/v1/cloudevents": Target(CLOUDEVENTS, None),
}
"""What is sent to which path."""
METRICS = "/v1/m"
"""Where clients of Segment's report on themselves: taken, and thrown away."""
SOURCE_CONFIG = "/sourceConfig"
"""Where RudderStack's clients for browsers fetch their settings."""
_SETTINGS = re.compile(r"/v1/projects/([^/]+)/settings")
"""Where Segment's clients for browsers fetch theirs."""


class Collecting:
    """Answers these paths.

    Args:
        access: who presents a write key.
        collector: takes events in.
        admission: which requests begin, and when.
        limits: how much comes with each key.
        url: the address at which clients reach the service, for settings that browsers fetch; None: that in the page.
    """

    def __init__(
        self, access: Access, collector: Collector, admission: Admission, limits: KeyLimits, url: str | None
    ) -> None:
        self._access = access
        self._collector = collector
        self._admission = admission
        self._limits = limits
        self._url = url

    @staticmethod
    def takes(path: str) -> bool:
        """Tell whether a path is one of these."""
        path = _once(path)
        return path in TARGETS or path in {METRICS, SOURCE_CONFIG} or _SETTINGS.fullmatch(path) is not None

    async def answer(self, call: Call, method: str, path: str) -> Answer:
        """Answer a request, whatever becomes of it."""
        try:
            answer = await self._answered(call, method, _once(path))
        except errors.PortraitError as error:
            answer = refusal(error, call.request_id)
        except Exception:  # noqa: BLE001  # what it was is logged; a page must be able to read the answer to it, too
            _log.exception("request %s failed", call.request_id)
            answer = refusal(api_errors.INTERNAL, call.request_id)
        return answer._replace(headers={**answer.headers, **_CORS, **_for_cookies(call, _once(path))})

    async def _answered(self, call: Call, method: str, path: str) -> Answer:
        if method == "OPTIONS":
            return Answer(204, b"", _PREFLIGHT)
        target = TARGETS.get(path)
        asked = _methods(path)
        if method not in asked:
            raise errors.MethodNotAllowed(f"This path takes {' and '.join(asked)}.", allowed=(*asked, "OPTIONS"))
        if path == METRICS:
            return json_answer(Collected())
        if target is not None:
            collected = await self._collected(call, target)
            return json_answer({**msgspec.structs.asdict(collected), **target.family.looked_for})
        if (match := _SETTINGS.fullmatch(path)) is not None:
            return await self._settings(match[1])
        await self._access.writer(presented(call))
        return json_answer({"source": {"id": "portrait", "config": {}, "destinations": []}})

    async def _settings(self, key: str) -> Answer:
        """Return what tells Segment's client for browsers where to send."""
        try:
            await self._access.writer(key)
        except errors.Unauthenticated as error:
            raise errors.KeyNotFound(error.detail) from None
        own: dict[str, Any] = {"apiKey": key}
        if self._url is not None:
            scheme, _, host = self._url.partition("://")
            own |= {"apiHost": f"{host}/v1", "protocol": scheme}
        # Without a rate of 0 pages report on themselves to their maker.
        return json_answer({"integrations": {"Segment.io": own}, "metrics": {"sampleRate": 0}})

    async def _collected(self, call: Call, target: Target) -> Collected:
        """Take a request's events in."""
        key = presented(call)
        writer = None if key is None else await self._writer(call, key)
        tenant = None if writer is None else writer.tenant.id
        admitted = self._admission.write(tenant)
        with ExitStack() as places:
            try:
                body = await self._body(call, tenant, places)
                request = SentRequest(body, call.headers, call.query_string)
                if writer is None:
                    writer = await self._writer(call, await _beside(len(body), target.family.key_in, request))
                texts = await _beside(len(body), _texts, target.family, request)
                self._limits.count(writer.key_id, writer.grant.events_per_second, texts)
                await admitted.begin()
                collected = await self._collector.take(writer, target.family, texts, target.kind)
            except BaseException:
                admitted.end(answered=False)
                raise
            admitted.end(answered=True)
            return collected

    async def _writer(self, call: Call, key: str | None) -> WriteKey:
        """Return who sends a request, if it may be sent now.

        Raises:
            Unauthenticated, OriginForbidden, TooManyEvents: it may not; the detail says why.
        """
        writer = await self._access.writer(key)
        grant, origin = writer.grant, call.headers.get("origin")
        if grant.origins and origin is not None and origin not in grant.origins:
            raise errors.OriginForbidden("The write key is not for pages of this origin.")
        if wait := self._limits.wait(writer.key_id, grant.events_per_second):
            raise errors.TooManyEvents(
                f"The write key takes {grant.events_per_second} events a second.", retry_after=wait
            )
        return writer

    async def _body(self, call: Call, tenant: str | None, places: ExitStack) -> bytes:
        """Return a request's body, inflated. A large one holds a place, one of few, until it is answered."""
        received = bytearray()
        hold = cache(lambda: places.enter_context(self._admission.long.hold(tenant)))
        try:
            async for chunk in call.stream(MAX_BODY, BODY_SECONDS):
                received += chunk
                if len(received) > SMALL:
                    hold()
        except errors.BodyTooSlow as error:
            raise errors.StorageBusy(error.detail) from None  # to 408 browsers answer by sending twice
        encoding = call.headers.get("content-encoding")
        size = MAX_BODY if received.startswith(_GZIP) else len(received)
        body = await _beside(size, inflated, bytes(received), encoding)
        if len(body) > SMALL:
            hold()
        return body


def _for_cookies(call: Call, path: str) -> Mapping[str, str]:
    """Return what lets a page read an answer to a request with cookies: an answer for any origin is not enough then."""
    target, origin = TARGETS.get(path), call.headers.get("origin")
    if target is None or not target.family.has_cookies or origin is None or not _ORIGIN.fullmatch(origin):
        return {}
    return {"access-control-allow-origin": origin, "access-control-allow-credentials": "true", "vary": "Origin"}


def _methods(path: str) -> tuple[str, ...]:
    """Return the methods that a path takes."""
    if path in TARGETS:
        return TARGETS[path].methods
    return ("POST",) if path == METRICS else ("GET",)


def _texts(family: Family, request: SentRequest) -> list[bytes]:
    """Return the texts of a request's events.

    Raises:
        InvalidRequest: it holds none, or too many; the detail says why.
    """
    texts = family.texts(request)
    if len(texts) > MAX_EVENTS:
        raise errors.BodyTooLarge(f"A request has at most {MAX_EVENTS} events. Send less at a time.")
    return texts


async def _beside(size: int, make: Callable[..., T], *given: Any) -> T:
    """Return what is made of so many bytes; of many in a thread, so that no other request waits for it."""
    return make(*given) if size <= INLINE else await asyncio.to_thread(make, *given)


def refusal(error: errors.PortraitError, request_id: str) -> Answer:
    """Return the answer to a request that is refused: a problem with a `message`, without which clients try again."""
    status, headers, body = api_errors.problem(error, request_id)
    if isinstance(error, errors.Overloaded):
        status = 429
    members = msgspec.json.decode(body)
    return Answer(status, encode({**members, "status": status, "message": error.detail}), headers)


def presented(call: Call) -> str | None:
    """Return the write key that a request presents outside its body; None where there is none."""
    authorization = call.headers.get("authorization")
    if authorization is not None:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "basic":
            return _of_basic(value)
        return value.strip() if scheme.lower() == "bearer" else ""
    for header in ("x-write-key", "x-api-key"):
        if (key := call.headers.get(header)) is not None:
            return key.partition(":")[0]
    return next((value for name, value in query_of(call.query_string) if name == "writeKey"), None)


def _of_basic(value: str) -> str:
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return ""


def inflated(body: bytes, encoding: str | None) -> bytes:
    """Return a body without its encoding; some pages send gzip and do not say so.

    Raises:
        BodyTooLarge: it is too large then.
        MalformedRequest: it is not what its header says.
        UnsupportedMediaType: it has an encoding other than gzip.
    """
    encoding = (encoding or "identity").strip().lower()
    if encoding == "identity" and not body.startswith(_GZIP):
        return body
    if encoding not in {"identity", "gzip", "x-gzip"}:
        raise errors.UnsupportedMediaType("Send the body as it is, or in gzip.")
    parts: list[bytes] = []
    room = MAX_BODY + 1
    try:
        while body and room:
            member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            parts.append(member.decompress(body, room))
            room -= len(parts[-1])
            if not member.eof and room:
                raise errors.MalformedRequest("The body is gzip that is cut off.")
            body = member.unused_data
    except zlib.error:
        raise errors.MalformedRequest("The body is not gzip, as its Content-Encoding says.") from None
    if not room:
        raise errors.BodyTooLarge(f"The body has more than {MAX_BODY} bytes once inflated. Send less at a time.")
    return b"".join(parts)


def _once(path: str) -> str:
    """Return a path with each slash once and none at its end: clients put both together from parts."""
    return re.sub("/{2,}", "/", path).rstrip("/")


def call_of(scope: Scope, receive: Receive, request_id: str) -> Call:
    """Return a request to one of these paths."""
    return Call({**scope, "portrait.request_id": request_id}, receive, {})
