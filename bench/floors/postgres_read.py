"""The smallest service that answers profiles from Portrait's own PostgreSQL tables: its query, its answer."""

from typing import Any

import asyncpg

from bench.floors.asgi import Receive, Scope, Send, answer, customer_of, lifespan, setting, spliced
from bench.population import TENANT

POOL = 10
"""As many connections as Portrait's pool has at most."""
_QUERY = "SELECT section, body, hash, valid_until, version FROM documents WHERE tenant = $1 AND customer_id = $2"


class _Connection(asyncpg.Connection):
    def get_reset_query(self) -> str:
        """Return nothing, as Portrait's does: no statement here leaves anything behind."""
        return ""


class _App:
    def __init__(self) -> None:
        self._pool: Any = None

    async def _open(self) -> None:
        self._pool = await asyncpg.create_pool(
            setting("DATABASE"), min_size=POOL, max_size=POOL, connection_class=_Connection
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a customer's profile."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send, self._open)
            return
        customer = customer_of(scope)
        rows = await self._pool.fetch(_QUERY, TENANT, customer)
        await answer(send, spliced(customer, {row[0]: row[1] for row in rows}))


app = _App()
