"""What the tests of collecting share: a service, and clients that send with write keys."""

import base64
from dataclasses import dataclass
from typing import Any

import pytest

from harness import TENANT, Service, service
from portrait.access.grants import grant_of
from portrait.model.identifier import Identifier


@dataclass
class Sender:
    """Sends to a service with a write key, as clients do."""

    served: Service
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """Basic authentication, as most clients have it."""
        return {"authorization": f"Basic {base64.b64encode(f'{self.key}:'.encode()).decode()}"}

    async def post(self, path: str, body: Any = None, **options: Any) -> Any:
        options.setdefault("headers", self.headers)
        kind = "content" if isinstance(body, bytes) else "json"
        return await self.served.client.post(path, **{kind: body}, **options)

    async def batch(self, *events: Any) -> Any:
        """Send events, and assert that they were received."""
        answer = await self.post("/v1/batch", {"batch": list(events), "sentAt": "2026-06-01T12:00:00Z"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def owner(self, type_: str, value: str) -> str | None:
        """Return the customer whose identifier this is."""
        identifier = Identifier(type_, value)
        return (await self.served.services.store.resolve(TENANT, [identifier])).get(identifier)

    async def rejects(self) -> list[Any]:
        return await self.served.services.store.rejects(TENANT, None, 1000)


async def sender(served: Service, source: str = "web", **options: Any) -> Sender:
    """Return a sender with a write key of its own."""
    grant = grant_of(source, **options)
    minted = await served.services.access.create_key(TENANT, "collector", grant=grant)
    return Sender(served, str(minted.key))


@pytest.fixture
async def served(tmp_path):
    async with service(tmp_path) as opened:
        yield opened


@pytest.fixture
async def web(served):
    """Return a sender whose key stands in pages."""
    return await sender(served)


@pytest.fixture
async def server(served):
    """Return a sender whose key stays on servers."""
    return await sender(served, "shop", private=True)
