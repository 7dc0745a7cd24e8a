"""What a client sends: one route, two statements in one transaction."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, HTTPException, Request
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from service.keys import KEY_HASH
from service.tables import CollectedEvent, Trait
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

TENANT, SOURCE = "bench", "app"
"""Whose events the key's holder sends, and as which source."""
Rows = list[dict[str, Any]]


class SentEvent(BaseModel):
    """One event, as far as it is read."""

    model_config = ConfigDict(alias_generator=to_camel)

    type: Literal["track", "identify"]
    message_id: str
    user_id: str
    timestamp: datetime
    event: str | None = None
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}


class Batch(BaseModel):
    """What a client sends at once."""

    batch: list[SentEvent]


INSERT = insert(CollectedEvent).on_conflict_do_nothing()
_trait = insert(Trait)
UPSERT = _trait.on_conflict_do_update(
    constraint=Trait.__table__.primary_key,
    set_={"value": _trait.excluded.value, "updated_at": _trait.excluded.updated_at},
    where=_trait.excluded.updated_at >= Trait.updated_at,
)

router = APIRouter()


@router.post("/v1/batch")
async def collect(request: Request, authorization: Annotated[str, Header()]) -> dict[str, bool]:
    """Take a batch in, each event once."""
    key = base64.b64decode(authorization.removeprefix("Basic ")).removesuffix(b":")
    if not hmac.compare_digest(hashlib.sha256(key).digest(), KEY_HASH):
        raise HTTPException(401)
    sent = Batch.model_validate_json(await request.body()).batch
    engine: AsyncEngine = request.app.state.engine
    async with engine.begin() as connection:
        if events := _events(sent):
            await connection.execute(INSERT, events)
        if traits := _traits(sent):
            await connection.execute(UPSERT, traits)
    return {"success": True}


def _events(sent: Iterable[SentEvent]) -> Rows:
    return [
        {
            "tenant_id": TENANT,
            "source": SOURCE,
            "message_id": event.message_id,
            "customer_id": event.user_id,
            "name": event.event,
            "timestamp": event.timestamp,
            "properties": event.properties,
        }
        for event in sent
        if event.type == "track"
    ]


def _traits(sent: Iterable[SentEvent]) -> Rows:
    """Return the newest of each trait, in one order for all requests, so that no two wait for each other."""
    newest: dict[tuple[str, str], tuple[datetime, Any]] = {}
    for event in sent:
        for name, value in event.traits.items() if event.type == "identify" else ():
            known = newest.get((event.user_id, name))
            if known is None or known[0] <= event.timestamp:
                newest[event.user_id, name] = event.timestamp, value
    return [
        {"tenant_id": TENANT, "customer_id": user, "name": name, "value": value, "updated_at": timestamp}
        for (user, name), (timestamp, value) in sorted(newest.items(), key=lambda item: item[0])
    ]
