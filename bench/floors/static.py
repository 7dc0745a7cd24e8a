"""The floor of floors: the same bytes for everybody, as many as a full profile has."""

from pathlib import Path

from bench.floors.asgi import Receive, Scope, Send, answer, lifespan, setting

_body = Path(setting("BODY")).read_bytes()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer anything with the bytes."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await answer(send, _body)
