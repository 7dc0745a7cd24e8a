"""The ASGI application: routing by Starlette, access and errors in one place, the profile read by the short way."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portrait.access.service import READ, Access
from portrait.api import docs, openapi
from portrait.api import errors as api_errors
from portrait.api.collect import Collecting, call_of
from portrait.api.html import HtmlPage
from portrait.api.operation import WIRE, Answer, Call, Operation, Wire, check_query, encode, lines
from portrait.api.paths import BASE, Paths
from portrait.api.profile import PREFIX, SUFFIX, Profiles, presented_key
from portrait.model import errors
from portrait.serving import leaving, request
from portrait.serving.admission import Admission, Gate, overloaded

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]
_log = logging.getLogger("portrait.api")
_DECIDING = {
    name.encode(): name
    for name in ("authorization", "x-api-key", "x-tenant-id", "host", "if-none-match", "x-request-id")
}
_LISTED = frozenset({"if-none-match", "x-request-id"})
"""Headers that may come in several lines: a list, and the request id, which is kept only where it is a single id."""
_NO_STORE = lines({"cache-control": "no-store"})
_UUID = re.compile("[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_ANY_ID = b"00000000-0000-4000-8000-000000000000"
_WITHOUT_BODY = frozenset({204, 304})
_LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)


class Application:
    """The service as an ASGI application."""

    def __init__(
        self,
        operations: Sequence[Operation],
        profiles: Profiles,
        access: Access,
        admission: Admission,
        collecting: Collecting,
        *,
        version: str,
        lifespan: Lifespan,
    ) -> None:
        self.operations = tuple(operations)
        self.document = openapi.build(operations, version)
        self._profiles = profiles
        self._access = access
        self._admission = admission
        self._collecting = collecting
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            by_path.setdefault(operation.path, {})[operation.method] = operation
        fixed = {
            "/": docs.start(self.document),
            "/docs": docs.reference(self.document),
            "/openapi.json": HtmlPage({"content-type": "application/json"}, encode(self.document)),
        }
        self._gates: dict[tuple[str, str], Gate | None] = {
            (operation.method, operation.path): None if operation.public or operation.is_long else self._gate(operation)
            for operation in operations
        }
        self._gates |= {("GET", path): None for path in fixed}
        routes = [Route(path, self._dispatch(methods)) for path, methods in by_path.items()]
        routes += [Route(path, self._fixed(*content)) for path, content in fixed.items()]
        self._router = Starlette(routes=routes, lifespan=lifespan)
        self._router.router.redirect_slashes = False
        self._paths = Paths((*by_path, *fixed))
        self._router.router.default = self._nowhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: C901  # a further coroutine would cost each read
        """Answer one request, or run the service's beginning and end."""
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        request_id = api_errors.new_request_id()
        # Parameters may hold any character, so paths are matched as sent and decoded piece by piece.
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        sending: _Sending | None = None
        headers: dict[str, str] = {}
        try:
            if not path.startswith(BASE) and self._collecting.takes(path):
                request.answering(request_id)
                _watch(scope)
                call = call_of(scope, receive, request_id)
                await _send(await self._collecting.answer(call, scope["method"], path), request_id, scope, send)
                return
            headers = _deciding(scope["headers"])
            request_id = _kept(headers) or request_id
            request.answering(request_id)
            if self._access.is_open:
                _check_host(headers)
            if scope["method"] == "GET" and path.startswith(PREFIX) and path.endswith(SUFFIX):
                segment = path[len(PREFIX) : -len(SUFFIX)]
                if segment and "/" not in segment:
                    reads = self._admission.reads
                    if not reads.enter():
                        _watch(scope)
                        await reads.wait(self._access.known(presented_key(headers), headers.get("x-tenant-id")))
                    reads.leave()  # it keeps no other read from beginning in the next turn of the loop
                    try:
                        answer = await self._profiles.answer(segment, scope["query_string"], headers)
                    finally:
                        reads.nudge()
                    await _send(answer, request_id, scope, send)
                    return
            self._refuse_if_full(scope["method"], path, headers)
            scope = {**scope, "path": path, "portrait.request_id": request_id}
            sending = _Sending(send)
            await self._router.router(scope, receive, sending)
        except leaving.Left:
            return
        except errors.PortraitError as error:
            self._note(error, request_id, headers)
            await _send(Answer(*_problem(error, request_id)), request_id, scope, send)
        except Exception:
            _log.exception("request %s failed", request_id)
            if sending is not None and sending.begun:
                raise
            await _send(Answer(*_problem(api_errors.INTERNAL, request_id)), request_id, scope, send)

    def sheds(self) -> bool:
        """Tell whether reads are refused now, of some tenant."""
        return self._admission.reads.is_shedding

    def refusal(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        """Return what answers a read that is refused whatever else it says, behind the status; None: it is not refused.

        So it is where too many requests of its tenant wait; see `Gate.refuses`.
        """
        reads = self._admission.reads
        if method != b"GET" or self._access.is_open:
            return None
        path = target.partition(b"?")[0].decode("latin-1")
        if not path.startswith(BASE) and self._collecting.takes(path):
            return None  # whoever sends there needs another answer
        if self._gates.get(("GET", path), reads) is not reads:
            return None
        try:
            deciding = _deciding(headers)
        except errors.InvalidParameter:
            return None
        if not reads.refuses(self._access.known(presented_key(deciding), deciding.get("x-tenant-id"))):
            return None
        return _overloaded().replace(_ANY_ID, (_kept(deciding) or api_errors.new_request_id()).encode())

    def _note(self, error: errors.PortraitError, request_id: str, headers: Mapping[str, str]) -> None:
        """Log what the operator is to know. Where too much is asked for at once, the gates log how much."""
        if isinstance(error, errors.Unavailable | errors.SectionFailed) and not isinstance(error, errors.Overloaded):
            tenant = self._access.known(presented_key(headers), headers.get("x-tenant-id")) or "not known"
            _log.error("request %s (tenant %s): %s: %s", request_id, tenant, error.code, error.detail)

    def _refuse_if_full(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Refuse early a request that would be refused anyway, before it costs more; the exact check comes later."""
        asked = "GET" if method == "HEAD" else method
        gate = self._gates.get((asked, path), self._admission.reads if asked == "GET" else self._admission.writes)
        if gate is not None and gate.is_shedding:
            gate.refuse_if_full(self._access.known(presented_key(headers), headers.get("x-tenant-id")))

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
                    check_query(call.query_string, operation.query_parameters)
                _watch(scope)
                answer = await self._admitted(call, operation)
                answer = answer._replace(always=answer.always or _NO_STORE)
                await _send(answer, scope["portrait.request_id"], scope, send)

        return Endpoint()

    async def _admitted(self, call: Call, operation: Operation) -> Answer:
        """Answer a call once it may begin: a call with a body may begin when the body is here."""
        if operation.public:
            return await operation.handler(call)
        tenant = call.caller.tenant.id if call.caller.tenant else None
        if operation.is_long:
            with self._admission.long.hold(tenant):
                return await operation.handler(call)
        admitted = self._admission.read(tenant) if _reads(operation) else self._admission.write(tenant)
        if operation.body is None:
            await admitted.begin()
        else:
            call.admitted = admitted.begin
        try:
            answer = await operation.handler(call)
        except BaseException:
            admitted.end(answered=False)
            raise
        admitted.end(answered=True)
        return answer

    def _gate(self, operation: Operation) -> Gate:
        return self._admission.reads if _reads(operation) else self._admission.writes

    async def _nowhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        raise self._paths.unknown(scope["path"])

    @staticmethod
    def _fixed(headers: Mapping[str, str], content: bytes) -> ASGIApp:
        class FixedEndpoint:
            """Answers with the content that was made at start."""

            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                del receive
                if scope["method"] not in {"GET", "HEAD"}:
                    raise errors.MethodNotAllowed("This path takes GET.", allowed=("GET", "HEAD"))
                await _send(Answer(200, content, headers), scope["portrait.request_id"], scope, send)

        return FixedEndpoint()


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


@cache
def _overloaded() -> bytes:
    """Return what answers a read that is refused, behind the status, for a request of any id."""
    _, body, fields = _problem(overloaded(), _ANY_ID.decode())
    head = f"{lines(fields)}x-request-id: {_ANY_ID.decode()}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


def _deciding(sent: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers that decide who is asking and what for.

    Raises:
        InvalidParameter: a header is given twice: two readers of the request could each take another value.
    """
    headers: dict[str, str] = {}
    for name, value in sent:
        known = _DECIDING.get(name)
        if known is not None:
            if known not in headers:
                headers[known] = value.decode("latin-1")
            elif known in _LISTED:
                headers[known] += "," + value.decode("latin-1")
            else:
                raise errors.InvalidParameter("Send Authorization, X-API-Key, X-Tenant-Id and Host once each.")
    return headers


def _kept(headers: Mapping[str, str]) -> str | None:
    """Return the request id that the client gave; None where it is no UUID."""
    request_id = headers.get("x-request-id")
    return request_id if request_id is not None and _UUID.fullmatch(request_id) else None


def _reads(operation: Operation) -> bool:
    """Tell whether an operation only reads: whoever may read may call it."""
    return operation.roles == READ


def _watch(scope: Scope) -> None:
    """Let a request that waits for its turn be given up once its client has left."""
    wire: Wire | None = scope.get(WIRE)
    if wire is not None and (task := asyncio.current_task()) is not None:
        wire.watch(task)


def _check_host(headers: Mapping[str, str]) -> None:
    """Refuse names that are not this machine's.

    A page elsewhere can have its own name lead to 127.0.0.1 (DNS rebinding); the browser then lets it read the answer,
    but still says its name in Host.
    """
    if not _LOCAL.fullmatch(headers.get("host", "")):
        raise errors.HostForbidden("With --auth open this service answers to localhost, 127.0.0.1 and [::1] only.")


async def _send(answer: Answer, request_id: str, scope: Scope, send: Send) -> None:
    head = f"{answer.always}{lines(answer.headers)}x-request-id: {request_id}\r\n"
    if answer.status not in _WITHOUT_BODY:
        head += f"content-length: {len(answer.body)}\r\n"
    sent = head.encode("latin-1")
    wire: Wire | None = scope.get(WIRE)
    if wire is not None and wire.whole(scope, answer.status, sent, answer.body):
        return
    headers = [line.split(b": ", 1) for line in sent.split(b"\r\n")[:-1]]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
