"""The engines are alike to a reader: the same records give the same bytes."""

import asyncio
import json

import pytest

from harness import Clock
from portrait.app import build
from portrait.ingest.records import Parser
from portrait.storage.contract import TenantRow


def line(section, record, **more):
    return json.dumps({"customerId": "c", "section": section, "record": record, **more}).encode()


LINES = [
    line("identities", {"type": "email", "value": "Zoë@example.com"}, effectiveAt="2026-01-01T00:00:00Z"),
    line("identities", {"type": "phone", "value": "+49 30 1", "confidence": 0.5}),
    line("segments", {"segmentId": "s", "segmentName": "Ω", "memberSince": "2026-01-15T01:00:00+01:00"}),
    line("segments", {"segmentId": "z", "segmentName": "zeta", "memberSince": "2026-01-15T00:00:00Z"}),
    line("consent", {"kind": "preference", "key": "a", "value": {"b": [1, 2.5, None]}}, source="form"),
    line("consent", {"kind": "consent", "purpose": "p", "status": "revoked", "revokedAt": "2026-03-01T00:00:00Z"}),
    *(
        line("interactions", {"id": f"i{n}", "interactionType": "x", "timestamp": f"2026-03-{n:02}T00:00:00Z", "n": n})
        for n in range(1, 28)
    ),
]


async def recorded_profile(database):
    """Record the lines, end two, and return the profile's bytes."""
    services = build(database, clock=Clock(), auth="open", installed=False)
    secret = b"the same on all"
    try:
        tenant = TenantRow("t", "t", 0, secret)
        await services.store.write(None, lambda tx: tx.put_tenant(tenant))
        parser = Parser(tenant, "test")
        await services.recorder.record_all(
            "t", [parser.line(number, text, services.registry) for number, text in enumerate(LINES)]
        )
        for section, key in (("interactions", "i27"), ("segments", "s")):
            await services.recorder.delete("t", "c", services.registry.stored(section), key, None)
        assert (await services.upkeep.check()).differences == []
        profile = await services.reader.profile("t", "c", services.reader.plan("admin", None))
        return b"".join(profile.parts), profile.contents
    finally:
        await services.close()


@pytest.mark.parametrize("engine", ["postgres_url", "citus_url"])
async def test_the_same_records_give_the_same_bytes_on_every_engine(engine, request, path):
    database = await asyncio.to_thread(request.getfixturevalue, engine)
    assert await recorded_profile(database) == await recorded_profile(f"sqlite:///{path}")
