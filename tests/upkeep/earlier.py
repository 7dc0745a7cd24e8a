"""A program for any revision's code: it makes a database, or prints what one answers. It uses the web API alone.

`python earlier.py write URL` makes tenants with the records and actions of `TENANTS`; `python earlier.py read URL`
prints, as JSON, what every customer id of every tenant answers.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from portrait.app import Services, application, build
from portrait.model import time

BEGIN = time.parse("2026-06-01T12:00:00Z")
READ_AT = time.parse("2026-06-20T00:00:00Z")
"""All of it lies before this moment, but for what is planned."""
Step = tuple[str, str, Any]


class Clock:
    """A clock that goes forward by a microsecond at each reading, and else by `now`."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        self.now += 1
        return self.now


def named(tag: str) -> dict[str, str]:
    """Return an identifier by its tag; a tag without a colon is a customer id."""
    type_, _, value = tag.rpartition(":")
    return {"type": type_ or "customer_id", "value": value}


def record(tag: str, section: str, body: Any, **more: Any) -> Step:
    """Record one line."""
    return ("POST", "/api/v1/records", [{"identifier": named(tag), "section": section, "record": body, **more}])


def tie(tag: str, other: str, confidence: float = 1.0, source: str = "crm", **more: Any) -> Step:
    """Record at one identifier that another is the same person's."""
    return record(tag, "identities", {**named(other), "confidence": confidence}, source=source, **more)


def act(action: str, **fields: Any) -> Step:
    """Act on the identity graph."""
    return ("POST", "/api/v1/identity", {"action": action, **fields})


def end(customer_id: str, section: str, number: int = 0) -> Step:
    """End the record that a customer's list names at a position."""
    return ("DELETE", f"/api/v1/customers/{customer_id}/{section}", number)


def click(key: str, at: str = "2026-05-01T00:00:00Z", kind: str = "click") -> dict[str, Any]:
    return {"id": key, "interactionType": kind, "timestamp": at}


def segment(key: str, since: str = "2026-01-15T00:00:00Z", name: str = "High Value") -> dict[str, Any]:
    return {"segmentId": key, "segmentName": name, "memberSince": since}


def enrollment(key: str, at: str = "2026-02-01T09:00:00Z", status: str = "active") -> dict[str, Any]:
    return {"journeyId": key, "journeyName": "Onboarding", "status": status, "enrolledAt": at}


def assignment(key: str, variant: str, at: str = "2026-02-10T12:00:00Z") -> dict[str, Any]:
    return {"experimentId": key, "experimentName": "Checkout", "variant": variant, "assignedAt": at}


def consent(status: str, granted: str | None = None, revoked: str | None = None, channel: str = "email") -> Any:
    return {
        "kind": "consent", "purpose": "marketing", "channel": channel, "status": status, "grantedAt": granted,
        "revokedAt": revoked,
    }  # fmt: skip


def preference(value: str, at: str) -> dict[str, Any]:
    return {"kind": "preference", "key": "newsletter", "value": value, "updatedAt": at}


def whole(tag: str, mark: str) -> list[Step]:
    """Record something in each section but identities."""
    return [
        record(tag, "interactions", click(f"{mark}1")),
        record(tag, "interactions", click(f"{mark}2", "2026-05-02T00:00:00Z")),
        record(tag, "segments", segment(f"{mark}s")),
        record(tag, "journeys", enrollment(f"{mark}j")),
        record(tag, "experiments", assignment(f"{mark}e", "control")),
        record(tag, "consent", consent("granted", "2026-01-20T08:00:00Z", channel=mark)),
        record(tag, "consent", preference("weekly", "2026-01-20T08:00:00Z")),
    ]


TENANTS: dict[str, list[Step]] = {
    "as-before": [
        *whole("c1", "a"),
        *(record("c1", "interactions", click(f"n{n:02}", f"2026-04-{n:02}T00:00:00Z")) for n in range(1, 26)),
        tie("c1", "email:ann@shop.example.org", 0.9), tie("c1", "email:ann@shop.example.org", 0.8, "web"),
        tie("c1", "phone:+49 30 901820"), tie("email:ann@shop.example.org", "device_id:d-1", 0.7, "web"),
        tie("cookie_id:k-1", "c1", 0.6, "web"), record("cookie_id:k-1", "interactions", click("k1")),
        record("anonymous_id:n-1", "segments", segment("anonymous")),
        *whole("c2", "b"), tie("c2", "email:bob@shop.example.org"),
        tie("c2", "email:ann@shop.example.org", source="web"),  # refused: it is another customer's
        tie("c2", "email:none@none"), tie("c2", "phone:+49 30 901822"),
        *whole("c3", "c"), tie("c3", "email:eve@shop.example.org"),
        act("merge", targetId="c2", sourceId="c3"),
        record("c3", "segments", segment("since", "2026-05-05T00:00:00Z")),
        *whole("c4", "d"), *whole("c5", "e"),
        act("merge", targetId="c4", sourceId="c5"), act("unmerge", targetId="c4", sourceId="c5"),
        record("c5", "segments", segment("apart")),
        record("c6", "segments", segment("old")), record("c6", "segments", segment("old", name="Renamed")),
        record("c6", "segments", segment("gone")), record("c6", "journeys", enrollment("j", status="completed")),
        end("c6", "segments"), record("c6", "interactions", click("gone")), end("c6", "interactions"),
        record("c6", "consent", consent("revoked", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")),
        record("c6", "segments", segment("planned"), effectiveAt="2026-07-01T00:00:00Z"),
        act("cannot-link", identifier=named("c6"), other=named("c1")),
    ],
    "earliest-exposure": [
        record("c1", "experiments", assignment("e", "treatment")),
        record("c1", "experiments", assignment("e", "control", "2026-03-10T12:00:00Z")),
    ],
    "grant-that-ends": [record("c1", "consent", consent("granted", "2026-01-01T00:00:00Z", "2026-05-01T00:00:00Z"))],
    "strictest-of-a-moment": [
        record("c1", "consent", consent("pending"), effectiveAt="2026-05-01T00:00:00Z"),
        record("c1", "consent", consent("granted"), effectiveAt="2026-05-01T00:00:00Z"),
    ],
    "end-reaches-ahead": [
        record("c1", "segments", segment("ahead"), effectiveAt="2026-06-15T00:00:00Z"),
        record("c1", "segments", segment("ahead"), effectiveAt="2026-05-01T00:00:00Z"),
        end("c1", "segments"),
    ],
    "clashing-events": [
        record("c1", "interactions", click("i", kind="view")), tie("c1", "email:ann@shop.example.org"),
        record("email:ann@shop.example.org", "interactions", click("i")),
    ],
    "ended-evidence": [
        tie("c1", "email:ann@shop.example.org"), tie("c2", "email:ann@shop.example.org", source="web"),
        end("c1", "identities"),
    ],
    "withdrawn": [
        tie("email:ann@shop.example.org", "c1"), tie("c2", "email:ann@shop.example.org", source="web"),
        end("c2", "identities"),
    ],
    "ended-of-two": [
        tie("email:ann@shop.example.org", "c1"), tie("c1", "email:ann@shop.example.org", source="web"),
        end("c1", "identities"),
    ],
    "competing-claims": [
        tie("cookie_id:k-1", "c1"), tie("cookie_id:k-1", "email:bob@shop.example.org", source="web"),
        tie("c2", "email:bob@shop.example.org"),
    ],
    "placeholders": [tie("c1", "phone:0000000000"), tie("anonymous_id:n-1", "c1")],
    "own-rules": [
        ("PUT", "/api/v1/identity/rules", {"types": {"email": {"unique": True}}}),
        tie("cookie_id:k-1", "c1"), tie("cookie_id:k-1", "email:bob@shop.example.org", source="web"),
        tie("c2", "email:bob@shop.example.org"),
    ],
}  # fmt: skip
"""What is done for each tenant: each of them but the first shows one thing that a later version decides otherwise."""


CONCERNED: dict[str, Step] = {
    tenant: act("cannot-link", identifier=named("c1"), other=named(other))
    for tenant, other in [
        ("as-before", "c4"),
        ("ended-evidence", "c2"),
        ("competing-claims", "c2"),
        ("own-rules", "c2"),
    ]
}
"""An action that concerns customers of some tenants, and by itself changes nothing that is read."""


async def do(client: httpx.AsyncClient, tenant: str, step: Step) -> None:
    method, path, body = step
    headers = {"X-Tenant-Id": tenant}
    if method == "DELETE":
        listed = await client.get(path, headers=headers)
        path = f"{path}/{listed.json()['data'][body]['key']}"
        answer = await client.delete(path, headers=headers)
    elif isinstance(body, list):
        content = b"".join(json.dumps(line).encode() + b"\n" for line in body)
        headers["content-type"] = "application/x-ndjson"
        answer = await client.post(path, content=content, headers=headers)
        assert answer.json()["refused"] == [], (tenant, step, answer.text)
    else:
        answer = await client.request(method, path, json=body, headers=headers)
    assert answer.is_success, (tenant, step, answer.text)


@asynccontextmanager
async def serving(url: str, clock: Clock) -> AsyncIterator[tuple[Services, httpx.AsyncClient]]:
    """Give the services over a database, whose schema is brought forward, and a client of their web application."""
    services = build(url, clock=clock, auth="open", installed=False, upgrade=True)
    try:
        transport = httpx.ASGITransport(application(services))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield services, client
    finally:
        await services.close()


async def write(url: str) -> None:
    """Make the database."""
    clock = Clock(BEGIN)
    async with serving(url, clock) as (services, client):
        for tenant, steps in TENANTS.items():
            await services.access.create_tenant(tenant)
            for step in steps:
                clock.now += 60_000_000
                await do(client, tenant, step)


async def answers(url: str) -> dict[str, dict[str, str]]:
    """Return, by tenant and customer id, the answer to a request for the whole profile, but for the moment in it."""
    profiles: dict[str, dict[str, str]] = {}
    async with serving(url, Clock(READ_AT)) as (services, client):
        for tenant in await services.store.tenants(None, 1000):
            profiles[tenant.id] = {}
            for customer_id in await services.store.derived_customers(tenant.id, None, 1000):
                path = f"/api/v1/customers/{customer_id}/unified-profile"
                answer = await client.get(path, headers={"X-Tenant-Id": tenant.id})
                assert answer.status_code == 200, answer.text
                profiles[tenant.id][customer_id] = re.sub(r',"computedAt":"[^"]*"', "", answer.text)
    return profiles


async def _main(command: str, url: str) -> None:
    if command == "write":
        await write(url)
    else:
        sys.stdout.write(json.dumps(await answers(url)))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
