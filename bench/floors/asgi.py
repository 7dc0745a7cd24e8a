"""What the smallest applications share: the server's beginning and end, and an answer."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bench.population import SECTIONS, TENANT
from portrait.model.time import rfc3339_millis, system_clock

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PREFIX = len("/api/v1/customers/")
_OPENINGS = [
    (name, b'%b{"name":"%b","data":' % (b"}," if index else b"", name.encode())) for index, name in enumerate(SECTIONS)
]


def setting(name: str) -> str:
    """Return a setting that the bench gave a floor in its environment."""
    return os.environ[f"BENCH_{name}"]


async def lifespan(receive: Receive, send: Send, opening: Callable[[], Awaitable[None]] | None = None) -> None:
    """Take part in the server's beginning, where `opening` opens what is needed, and in its end."""
    await receive()
    if opening is not None:
        await opening()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    """Send an answer."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def customer_of(scope: Scope) -> str:
    """Return the customer that a path names."""
    path: str = scope["path"]
    return path[_PREFIX : path.index("/", _PREFIX)]


def spliced(customer: str, documents: dict[str, bytes]) -> bytes:
    """Return Portrait's own answer: the documents' bytes, joined."""
    parts = [b'{"customerId":"%b","tenantId":"%b","sections":[' % (customer.encode(), TENANT.encode())]
    for name, opening in _OPENINGS:
        parts += (opening, documents.get(name, b"[]"))
    parts.append(b'}],"computedAt":"%b"}' % rfc3339_millis(system_clock()).encode())
    return b"".join(parts)
