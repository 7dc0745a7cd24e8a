"""What the smallest services that write share: one fact from a request, and one task that commits in groups."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from bench.floors.asgi import Receive, Scope, Send, answer, customer_of, lifespan
from bench.population import TENANT
from portrait.model.fact import fact_id
from portrait.model.time import system_clock

COLUMNS = (
    "tenant", "type", "value", "section", "effective_at", "id", "key", "op", "body", "recorded_at", "source", "version",
)  # fmt: skip
Row = tuple[Any, ...]


class _Interaction(msgspec.Struct):
    id: str
    timestamp: datetime


_decode = msgspec.json.Decoder(_Interaction).decode


class Appender:
    """The application: answers a request once the group that its fact is in was committed."""

    def __init__(
        self, opening: Callable[[], Awaitable[None]], commit: Callable[[Sequence[Row]], Awaitable[None]]
    ) -> None:
        self._opening = opening
        self._commit = commit
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._some = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store the request's record as a fact."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send, self._open)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        committed = asyncio.get_running_loop().create_future()
        self._waiting.append((_fact(customer_of(scope), body), committed))
        self._some.set()
        await committed
        await answer(send, b'{"recorded":1,"duplicates":0}', 201)

    async def _open(self) -> None:
        await self._opening()
        self._tasks.append(asyncio.create_task(self._work()))

    async def _work(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            group, self._waiting = self._waiting, []
            await self._commit([row for row, _ in group])
            for _, committed in group:
                committed.set_result(None)


def _fact(customer: str, body: bytes) -> Row:
    record, now = _decode(body), system_clock()
    moment = int(record.timestamp.timestamp() * 1_000_000)
    return (
        TENANT, "customer_id", customer, "interactions", moment, fact_id(now), record.id, "put", body, now, "api", 1,
    )  # fmt: skip
