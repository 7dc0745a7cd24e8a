"""What the tests of identity share: short helpers to record, read and act, over the API."""

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


def line(tag: str, section: str, record: Any, **more: Any) -> dict[str, Any]:
    return {"identifier": named(tag), "section": section, "record": record, **more}


def tie(tag: str, other: str, confidence: float = 1.0, **more: Any) -> dict[str, Any]:
    """Return the line of evidence at one identifier that another is the same person's."""
    return line(tag, "identities", evidence(other, confidence), **more)


async def bulk(running: Service, *lines: Any) -> Any:
    """Record lines in one transaction; assert that each was new and none refused."""
    headers = {"content-type": "application/x-ndjson"}
    answer = await running.client.post("/api/v1/records", content=ndjson(lines), headers=headers)
    assert answer.status_code == 200, answer.text
    outcome = answer.json()
    assert (outcome["recorded"], outcome["duplicates"], outcome["refused"]) == (len(lines), 0, [])
    return outcome


def apart(explanation: Any) -> list[tuple[list[Any], str, str | None]]:
    """Return the bans of an explanation: identifiers, rule and source; each must have its moment."""
    return [(ban["identifiers"], ban["rule"], ban["source"]) for ban in explanation["apart"] if ban["recordedAt"]]


async def each(running: Service, *lines: Any) -> None:
    """Record lines, each in a transaction of its own."""
    for record_line in lines:
        await bulk(running, record_line)


async def act(running: Service, action: str, **fields: Any) -> Any:
    """Do an action on the graph, and assert that it was done."""
    answer = await tried(running, action, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def tried(running: Service, action: str, **fields: Any) -> Any:
    for name in ("identifier", "other"):
        if isinstance(fields.get(name), str):
            fields[name] = named(fields[name])
    if "identifiers" in fields:
        fields["identifiers"] = [named(tag) for tag in fields["identifiers"]]
    return await running.client.post("/api/v1/identity", json={"action": action, **fields})


async def refused(running: Service, action: str, **fields: Any) -> tuple[int, str, str | None]:
    """Try an action that has to be refused; assert that nothing changed, and return status, code and reason."""
    before = await stored_state(running)
    answer = await tried(running, action, **fields)
    body = answer.json()
    assert await stored_state(running) == before
    return answer.status_code, body.get("code", "done"), body.get("reason")


async def explained(running: Service, customer_id: str) -> Any:
    answer = await running.client.get("/api/v1/identity/explain", params={"customerId": customer_id})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def owner(running: Service, tag: str) -> str | None:
    """Return the customer id of an identifier's profile; None where it has none."""
    answer = await tried(running, "resolve", identifier=tag)
    return answer.json().get("canonicalId")


async def stored_state(running: Service, tenant: str = TENANT) -> Any:
    """Return everything that is stored of a tenant: documents and heads, owners, and the number of facts."""
    store = running.services.store
    names = await store.derived_customers(tenant, None, 10_000)
    identifiers = await store.derived_identifiers(tenant, None, 10_000)
    return (
        await store.all_documents(tenant, names),
        await store.resolve(tenant, identifiers),
        len(await store.facts(tenant, await store.fact_identifiers(tenant, None, 10_000))),
    )


async def visible_documents(running: Service, tenant: str = TENANT) -> dict[str, dict[str, bytes]]:
    """Return the bytes of every document by customer and section; documents without records are left out."""
    stored, _, _ = await stored_state(running, tenant)
    bodies = {
        name: {document.section: document.body for document in documents if document.section and document.body != b"[]"}
        for name, documents in stored.items()
    }
    return {name: sections for name, sections in bodies.items() if sections}


async def rules(running: Service, made: Any, tenant: str = TENANT) -> None:
    """Set a tenant's rules before its first request: a tenant's row is cached once it is read."""
    await running.services.rules.set(tenant, json.dumps(made).encode())
