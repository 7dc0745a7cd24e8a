"""Answers on the wire: a whole answer in one write, where the server would check every header and write twice."""

import asyncio

from starlette.types import Scope

from portrait.api.operation import WHOLE

try:
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
except ImportError:  # httptools is not built for every interpreter; uvicorn has another parser then
    PROTOCOL: str | type[asyncio.Protocol] = "auto"
else:

    class OneWrite(HttpToolsProtocol):
        """uvicorn's protocol, which also takes an answer whole: a `Whole` stands in the scope of every request."""

        _defaults: list[tuple[bytes, bytes]] | None = None
        _default_lines = b""

        def on_message_begin(self) -> None:
            """Begin a request."""
            super().on_message_begin()
            self.scope[WHOLE] = self._whole  # type: ignore[literal-required]  # ours beside uvicorn's

        def _whole(self, scope: Scope, status: int, lines: bytes, body: bytes) -> bool:
            """Do at once what uvicorn does on ASGI's two messages, or leave it to them.

            It is left where there is more to do: where the client's next request is here already, where it reads too
            slowly or went away, for HEAD, and for an access log.
            """
            cycle = self.cycle
            if (
                scope["headers"] is not self.headers
                or cycle.response_started
                or cycle.disconnected
                or cycle.access_log
                or self.flow.write_paused
                or scope["method"] == "HEAD"
            ):
                return False
            if self._defaults is not self.server_state.default_headers:  # made anew each second, for the date
                self._defaults = self.server_state.default_headers
                self._default_lines = b"".join(b"%b: %b\r\n" % header for header in self._defaults)
            end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
            cycle.response_started = cycle.response_complete = True
            cycle.waiting_for_100_continue = False
            self.transport.write(b"".join((STATUS_LINE[status], self._default_lines, lines, end, body)))
            cycle.message_event.set()
            if not cycle.keep_alive:
                self.transport.close()
            self.on_response_complete()
            return True

    PROTOCOL = OneWrite
