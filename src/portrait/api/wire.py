"""Answers on the wire: a whole answer in one write, where the server would check every header and write twice."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from portrait.api.connections import Guard, Limits
from portrait.api.guarded import FULL, Guarded, announces_body
from portrait.api.operation import WIRE
from portrait.serving import leaving


class OneWrite(Guarded):
    """uvicorn's protocol, with more in the scope of every request.

    It is the `Wire` in that scope: it sends a whole answer, and gives a request up when its client leaves.
    """

    _defaults: list[tuple[bytes, bytes]] | None = None
    _default_lines = b""
    _sheds: Callable[[], bool] | None = None
    """Tells whether the application refuses reads now; it has a method `refusal` then."""
    _answering: "asyncio.Task[None] | None" = None

    def connection_made(  # type: ignore[override]  # as uvicorn has it
        self, transport: asyncio.Transport
    ) -> None:
        """Begin, if there is room."""
        self._sheds = getattr(self.app, "sheds", None)
        super().connection_made(transport)

    def refuse_at_once(self) -> bool:
        """Refuse a read where too many wait, before anything is made for it: what is refused costs others their turn.

        It is left to the application where earlier answers are owed, a body follows, or the connection is to end.
        """
        if self._sheds is None or not self._sheds():
            return False
        cycle: Any = self.cycle
        if (
            self.pipeline
            or (cycle is not None and not cycle.response_complete)
            or self.flow.write_paused
            or not self.parser.should_keep_alive()
            or announces_body(self.headers)
            or self.access_log
        ):
            return False
        application: Any = self.app
        refusal = application.refusal(self.parser.get_method(), self.url, self.headers)
        if refusal is None:
            return False
        self.transport.write(b"".join((STATUS_LINE[503], self._date_lines(), refusal)))
        self.server_state.total_requests += 1
        return True

    def _date_lines(self) -> bytes:
        """Return the lines that begin every answer."""
        if self._defaults is not self.server_state.default_headers:  # made anew each second, for the date
            self._defaults = self.server_state.default_headers
            self._default_lines = b"".join(b"%b: %b\r\n" % header for header in self._defaults)
        return self._default_lines

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope[WIRE] = self  # type: ignore[literal-required]  # ours beside uvicorn's

    def watch(self, task: "asyncio.Task[None]") -> None:
        """See `Wire`."""
        self._answering = task

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the request of a client that has left."""
        super().connection_lost(exc)
        if self._answering is not None:
            leaving.leave(self._answering)

    def whole(self, scope: Scope, status: int, lines: bytes, body: bytes) -> bool:
        """Do at once what uvicorn does on ASGI's two messages, or leave the answer to these messages.

        It is left to them where there is more to do: where the client's next request is here already, where the client
        reads too slowly or went away, for HEAD, and for an access log. After an answer ahead of the body's end the
        connection ends.
        """
        cycle = self.cycle
        if scope["state"] is not cycle.scope["state"]:  # the one part of a scope that nobody replaces on the way
            return False
        if cycle.more_body:
            cycle.keep_alive = False
        if (
            cycle.response_started
            or cycle.disconnected
            or cycle.access_log
            or self.flow.write_paused
            or scope["method"] == "HEAD"
        ):
            return False
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.write(b"".join((STATUS_LINE[status], self._date_lines(), lines, end, body)))
        cycle.message_event.set()
        if not cycle.keep_alive:
            if cycle.more_body or self._state == FULL:
                self.leave()
            else:
                self.transport.close()
        self.on_response_complete()
        return True


def protocol(limits: Limits) -> Any:
    """Return the factory of connections' protocols; uvicorn takes it as `http`, although the type does not say so."""
    return partial(OneWrite, guard=Guard(limits))
