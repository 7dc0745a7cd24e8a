"""The smallest service that answers profiles from Portrait's own SQLite file: its connection, its query, its answer."""

from pathlib import Path
from typing import Any

from bench.floors.asgi import Receive, Scope, Send, answer, customer_of, lifespan, setting, spliced
from bench.population import TENANT
from portrait.storage.sqlite.connection import connect

_connection = connect(Path(setting("FILE")), patience=10.0, mapped=True)
_QUERY = "SELECT section, body, hash, valid_until, version FROM documents WHERE tenant = ? AND customer_id = ?"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a customer's profile; the query runs on the event loop, as Portrait's does."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    customer = customer_of(scope)
    rows: list[Any] = _connection.execute(_QUERY, (TENANT, customer)).fetchall()
    await answer(send, spliced(customer, {row[0]: row[1] for row in rows}))
