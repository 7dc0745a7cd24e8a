"""The service: a route of six queries, and one that collects events."""

import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from service import collecting
from service.answers import Profile
from service.keys import KEY_HASH
from service.tables import Base, Consent, Experiment, Identity, Interaction, Journey, Segment
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

SECTIONS: dict[str, type[Base]] = {
    "identities": Identity,
    "interactions": Interaction,
    "segments": Segment,
    "journeys": Journey,
    "experiments": Experiment,
    "consent": Consent,
}
QUERIES = {
    name: select(table).where(table.tenant_id == bindparam("tenant_id"), table.customer_id == bindparam("customer_id"))
    for name, table in SECTIONS.items()
}
QUERIES["interactions"] = (
    QUERIES["interactions"].order_by(Interaction.timestamp.desc(), Interaction.id.desc()).limit(20)
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hold the pool while the service runs."""
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=0, isolation_level="AUTOCOMMIT")
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    app.state.engine = engine.execution_options(isolation_level="READ COMMITTED")
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.include_router(collecting.router)


async def session(request: Request) -> AsyncIterator[AsyncSession]:
    """Lend a session to one request."""
    async with request.app.state.sessions() as database:
        yield database


async def check_key(x_api_key: Annotated[str, Header()]) -> None:
    """Let in who has the key."""
    if not hmac.compare_digest(hashlib.sha256(x_api_key.encode()).digest(), KEY_HASH):
        raise HTTPException(401)


@app.get("/api/v1/customers/{customer_id}/unified-profile", dependencies=[Depends(check_key)])
async def unified_profile(
    customer_id: str, x_tenant_id: Annotated[str, Header()], database: Annotated[AsyncSession, Depends(session)]
) -> Profile:
    """Return everything known about one customer."""
    whose = {"tenant_id": x_tenant_id, "customer_id": customer_id}
    records = {name: (await database.scalars(query, whose)).all() for name, query in QUERIES.items()}
    if not any(records.values()):
        raise HTTPException(404)
    return Profile.model_validate(
        {
            **whose,
            "sections": [{"name": name, "data": rows} for name, rows in records.items()],
            "computed_at": datetime.now(UTC),
        }
    )
