"""Answers on the wire: head and body in one write, where the server would make two, each a call to the system."""

import asyncio
from typing import Any

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:  # httptools is not built for every interpreter; uvicorn has another parser then
    PROTOCOL: str | type[asyncio.Protocol] = "auto"
else:

    class OneWrite(HttpToolsProtocol):
        """uvicorn's protocol over a transport that waits for the body."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what it is given
            """Begin a connection."""
            super().connection_made(_Joining(transport))  # type: ignore[arg-type]  # stands in for one

    PROTOCOL = OneWrite


class _Joining:
    """A transport that holds an answer's head for what follows it at once; where nothing does, it goes alone."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._soon = asyncio.get_running_loop().call_soon

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write an answer's next piece."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.endswith(b"\r\n\r\n"):
            self._head = data
            self._soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Write what waits, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            data, self._head = self._head, b""
            self._transport.write(data)
