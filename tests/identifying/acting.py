"""What the tests of identity share: short words for what is told, asked and done, over the API."""

import json
from typing import Any

from harness import TENANT, Service, ndjson

AT = "2026-01-01T00:00:00Z"
SEGMENT = {"segmentId": "s", "segmentName": "S", "memberSince": AT}
FREE = {"types": {"customer_id": {"unique": False}, "loyalty": {}}, "weakGuard": False}
"""Rules that let two customers be joined by what they share, and know a type of the tenant's own."""


def named(tag: str) -> dict[str, str]:
    """Return an identifier by its tag; a tag without a colon is a customer id."""
    type_, _, value = tag.rpartition(":")
    return {"type": type_ or "customer_id", "value": value}


def evidence(tag: str, confidence: float = 1.0) -> dict[str, Any]:
    return {**named(tag), "confidence": confidence}


def line(told_of: str, section: str, record: Any, **more: Any) -> dict[str, Any]:
    return {"identifier": named(told_of), "section": section, "record": record, **more}


def tie(told_of: str, tag: str, confidence: float = 1.0, **more: Any) -> dict[str, Any]:
    """Return the line that tells of one identifier that another is the same person's."""
    return line(told_of, "identities", evidence(tag, confidence), **more)


async def bulk(running: Service, *lines: Any) -> Any:
    """Take lines in, in one transaction, and hold that each was new and none refused."""
    headers = {"content-type": "application/x-ndjson"}
    answer = await running.client.post("/api/v1/records", content=ndjson(lines), headers=headers)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["recorded"], found["duplicates"], found["refused"]) == (len(lines), 0, [])
    return found


def apart(explanation: Any) -> list[tuple[list[Any], str, str | None]]:
    """Return who is kept apart, by what and whom; the moment must be there too."""
    return [(one["identifiers"], one["rule"], one["source"]) for one in explanation["apart"] if one["recordedAt"]]


async def each(running: Service, *lines: Any) -> None:
    """Take lines in, each in a transaction of its own."""
    for one in lines:
        await bulk(running, one)


async def act(running: Service, action: str, **fields: Any) -> Any:
    """Do something to the graph, and hold that it was done."""
    answer = await tried(running, action, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def tried(running: Service, action: str, **fields: Any) -> Any:
    for name in ("identifier", "other"):
        if isinstance(fields.get(name), str):
            fields[name] = named(fields[name])
    if "identifiers" in fields:
        fields["identifiers"] = [named(one) for one in fields["identifiers"]]
    return await running.client.post("/api/v1/identity", json={"action": action, **fields})


async def refused(running: Service, action: str, **fields: Any) -> tuple[int, str, str | None]:
    """Try what is to be refused; hold that nothing changed, and return status, code and reason."""
    before = await held(running)
    answer = await tried(running, action, **fields)
    found = answer.json()
    assert await held(running) == before
    return answer.status_code, found.get("code", "done"), found.get("reason")


async def explained(running: Service, customer_id: str) -> Any:
    answer = await running.client.get("/api/v1/identity/explain", params={"customerId": customer_id})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def owner(running: Service, tag: str) -> str | None:
    """Return the customer id of an identifier's profile; None where it has none."""
    answer = await tried(running, "resolve", identifier=tag)
    return answer.json().get("canonicalId")


async def held(running: Service, tenant: str = TENANT) -> Any:
    """Return everything that is stored of a tenant: documents and heads, owners, and the number of facts."""
    store = running.services.store
    names = await store.derived_customers(tenant, None, 10_000)
    identifiers = await store.derived_identifiers(tenant, None, 10_000)
    return (
        await store.all_documents(tenant, names),
        await store.resolve(tenant, identifiers),
        len(await store.facts(tenant, await store.fact_identifiers(tenant, None, 10_000))),
    )


async def shown(running: Service, tenant: str = TENANT) -> dict[str, dict[str, bytes]]:
    """Return what every customer shows, as bytes; one without records shows what none shows."""
    documents, _, _ = await held(running, tenant)
    found = {
        name: {one.section: one.body for one in some if one.section and one.body != b"[]"}
        for name, some in documents.items()
    }
    return {name: some for name, some in found.items() if some}


async def rules(running: Service, made: Any, tenant: str = TENANT) -> None:
    """Set a tenant's rules before it is first heard of: what is looked up of a tenant is remembered."""
    await running.services.rules.set(tenant, json.dumps(made).encode())
