"""Servers of HTTP on this machine that answer as badly as they are told to."""

import asyncio
import json
from contextlib import asynccontextmanager


def answer(body=b"[]", status="200 OK", headers=()):
    """Return the bytes of an answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


class RawServer:
    """Answers each request with the same bytes, or as a coroutine function of its own does."""

    def __init__(self, answers):
        self.answers = answers
        self.requests = []
        """The heads that came, as text."""
        self.connections = 0
        self.port = 0
        self._tasks = set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def targets(self):
        return [head.split(" ", 2)[1] for head in self.requests]

    async def serve(self, reader, writer):
        self.connections += 1
        self._tasks.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head.decode("latin-1"))
                if callable(self.answers):
                    await self.answers(reader, writer)
                else:
                    writer.write(self.answers)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def raw_server(answers, **options):
    """Serve on a free port of this machine."""
    raw = RawServer(answers)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, **options)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
        await raw.stop()
        if options.get("ssl"):
            await asyncio.sleep(0.1)  # a handshake that failed has no task to wait for
