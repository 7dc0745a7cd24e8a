"""The ASGI application: routing by Starlette, access and errors in one place, the profile read by the short way."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portrait.access.service import Access
from portrait.api import docs, openapi
from portrait.api import errors as api_errors
from portrait.api.operation import WHOLE, Answer, Call, Operation, Whole, encode, lines
from portrait.api.profile import PREFIX, SUFFIX, Profiles, presented_key
from portrait.model import errors

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]
_log = logging.getLogger("portrait.api")
_DECIDING = {name.encode(): name for name in ("authorization", "x-api-key", "x-tenant-id", "host", "if-none-match")}
_NO_STORE = lines({"cache-control": "no-store"})
_WITHOUT_BODY = frozenset({204, 304})
_LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)


class Application:
    """The service as an ASGI application."""

    def __init__(
        self,
        operations: Sequence[Operation],
        profiles: Profiles,
        access: Access,
        *,
        version: str,
        lifespan: Lifespan,
    ) -> None:
        self.operations = tuple(operations)
        self.document = openapi.build(operations, version)
        self._profiles = profiles
        self._access = access
        by_path: dict[str, dict[str, Operation]] = {}
        for one in operations:
            by_path.setdefault(one.path, {})[one.method] = one
        fixed = {
            "/openapi.json": ("application/json", encode(self.document)),
            "/docs": ("text/html; charset=utf-8", docs.page(self.document)),
        }
        routes = [Route(path, self._dispatch(methods)) for path, methods in by_path.items()]
        routes += [Route(path, self._fixed(*content)) for path, content in fixed.items()]
        self._router = Starlette(routes=routes, lifespan=lifespan)
        self._router.router.redirect_slashes = False
        self._router.router.default = _nowhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the service's beginning and end."""
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        request_id = api_errors.new_request_id()
        # Parameters may hold any character, so paths are matched as sent and decoded piece by piece.
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        sending = _Sending(send)
        try:
            headers = _deciding(scope)
            if self._access.is_open:
                _check_host(headers)
            if scope["method"] == "GET" and path.startswith(PREFIX) and path.endswith(SUFFIX):
                segment = path[len(PREFIX) : -len(SUFFIX)]
                if segment and "/" not in segment:
                    answer = await self._profiles.answer(segment, scope["query_string"], headers)
                    await _send(answer, request_id, scope, send)
                    return
            scope = {**scope, "path": path, "portrait.request_id": request_id}
            await self._router.router(scope, receive, sending)
        except errors.PortraitError as error:
            if isinstance(error, errors.Unavailable | errors.SectionFailed):
                _log.error("request %s: %s: %s", request_id, error.code, error.detail)
            await _send(Answer(*_problem(error, request_id)), request_id, scope, send)
        except Exception:
            _log.exception("request %s failed", request_id)
            if sending.begun:
                raise
            await _send(Answer(*_problem(api_errors.INTERNAL, request_id)), request_id, scope, send)

    def _dispatch(self, methods: Mapping[str, Operation]) -> ASGIApp:
        allowed = tuple(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))

        class Endpoint:
            """Answers one path."""

            async def __call__(_, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: N805  # the outer self is needed
                asked = scope["method"]
                operation = methods.get("GET" if asked == "HEAD" else asked)
                if operation is None:
                    raise errors.MethodNotAllowed(f"This path takes {', '.join(allowed)}.", allowed=allowed)
                call = Call(scope, receive, scope["path_params"])
                if not operation.public:
                    call.caller = await self._access.caller(
                        presented_key(call.headers),
                        call.headers.get("x-tenant-id"),
                        needs_tenant=operation.needs_tenant,
                    )
                    self._access.require(call.caller, operation.roles)
                answer = await operation.handler(call)
                answer = answer._replace(always=answer.always or _NO_STORE)
                await _send(answer, scope["portrait.request_id"], scope, send)

        return Endpoint()

    @staticmethod
    def _fixed(kind: str, content: bytes) -> ASGIApp:
        class Endpoint:
            """Answers with what was made at start."""

            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                del receive
                if scope["method"] not in {"GET", "HEAD"}:
                    raise errors.MethodNotAllowed("This path takes GET.", allowed=("GET", "HEAD"))
                await _send(Answer(200, content, {"content-type": kind}), scope["portrait.request_id"], scope, send)

        return Endpoint()


class _Sending:
    """Passes an answer on, and knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


def _problem(error: errors.PortraitError, request_id: str) -> tuple[int, bytes, dict[str, str]]:
    status, headers, body = api_errors.problem(error, request_id)
    return status, body, headers


def _deciding(scope: Scope) -> dict[str, str]:
    """Return the headers that decide who is asking and what for.

    Raises:
        InvalidParameter: one is given twice: two readers of the request could each take another.
    """
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        known = _DECIDING.get(name)
        if known is not None:
            if known not in found:
                found[known] = value.decode("latin-1")
            elif known == "if-none-match":  # a list, which may come in several lines
                found[known] += "," + value.decode("latin-1")
            else:
                raise errors.InvalidParameter("Send Authorization, X-API-Key, X-Tenant-Id and Host once each.")
    return found


def _check_host(headers: Mapping[str, str]) -> None:
    """Refuse names that are not this machine's.

    A page elsewhere can have its own name lead to 127.0.0.1 (DNS rebinding); the browser then lets it read the answer,
    but still says its name in Host.
    """
    if not _LOCAL.fullmatch(headers.get("host", "")):
        raise errors.HostForbidden("With --auth open this service answers to localhost, 127.0.0.1 and [::1] only.")


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive, send
    raise errors.RouteNotFound("No operation has this path. See /docs for those there are.")


async def _send(answer: Answer, request_id: str, scope: Scope, send: Send) -> None:
    head = f"{answer.always}{lines(answer.headers)}x-request-id: {request_id}\r\n"
    if answer.status not in _WITHOUT_BODY:
        head += f"content-length: {len(answer.body)}\r\n"
    sent = head.encode("latin-1")
    whole: Whole | None = scope.get(WHOLE)
    if whole is not None and whole(scope, answer.status, sent, answer.body):
        return
    headers = [line.split(b": ", 1) for line in sent.split(b"\r\n")[:-1]]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
