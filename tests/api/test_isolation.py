"""Tenants: every operation, called with another tenant's ids, answers as for unknown ids and changes nothing."""

import json
import re
from contextlib import closing

import apsw
import asyncpg
import pytest

from contract.given import RECORDS, shape
from harness import ndjson
from portrait.storage.contract import RefusedEvent

TICKET = {"ticketId": "t1", "subject": "Where is it?", "openedAt": "2026-02-01T00:00:00Z"}
ATTRIBUTE = {"name": "family_name", "value": "Doe"}
BODIES = {**RECORDS, "attributes": ATTRIBUTE, "tickets": TICKET, "guarded": {"id": "g1"}}
THEIRS, NOBODY = "theirs", "nobody"
TABLES = ("facts", "states", "documents", "identifiers")


@pytest.fixture
def guarded(guarded_anywhere):
    return guarded_anywhere


async def stored_rows(running, tenant):
    """Return all rows that the database has of a tenant, read without the service."""
    columns = {**dict.fromkeys((*TABLES, "credentials", "rejects"), "tenant"), "tenants": "id"}
    queries = {table: f"SELECT * FROM {table} WHERE {column} = '{tenant}'" for table, column in columns.items()}
    path = running.database.removeprefix("sqlite:///")
    if path != running.database:
        of_tenant = f"SELECT number FROM identifiers WHERE tenant = '{tenant}'"
        queries |= {table: f"SELECT * FROM {table} WHERE identifier IN ({of_tenant})" for table in ("facts", "states")}
    if path == running.database:
        connection = await asyncpg.connect(running.database)
        rows = {table: [tuple(row) for row in await connection.fetch(query)] for table, query in queries.items()}
        await connection.close()
    else:
        with closing(apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            rows = {table: connection.execute(query).fetchall() for table, query in queries.items()}
    return {table: sorted(table_rows, key=repr) for table, table_rows in rows.items()}


class Foreign:
    """What another tenant has: ids, keys and cursors."""

    def __init__(self):
        self.keys = {}
        self.cursors = {}
        self.key_id = ""


async def filled(guarded):
    """Fill the first tenant and return what a stranger could have learnt of it."""
    owner = {"X-API-Key": await guarded.key("admin")}
    foreign = Foreign()
    for name, record in BODIES.items():
        await guarded.recorded(name, record, THEIRS, headers=owner)
        guarded.clock.advance(1)
        page = (await guarded.client.get(f"/api/v1/customers/{THEIRS}/{name}", headers=owner)).json()
        foreign.keys[name] = page["data"][0]["key"]
    await guarded.recorded("segments", {**RECORDS["segments"], "segmentId": "s2"}, THEIRS, headers=owner)
    await guarded.recorded("segments", RECORDS["segments"], "theirs-2", headers=owner)
    for name in ("theirs-2", "theirs-3"):  # two links that wait for review
        await guarded.recorded("identities", RECORDS["identities"], name, headers=owner)
    guarded.clock.advance(1)
    lists = ("/api/v1/customers", "/api/v1/keys", "/api/v1/identity/candidates")
    for path in (f"/api/v1/customers/{THEIRS}/segments", *lists):
        await guarded.key("viewer")
        page = (await guarded.client.get(f"{path}?limit=1", headers=owner)).json()
        foreign.cursors[path.rpartition("/")[2]] = page["pagination"]["cursor"]
        assert page["pagination"]["hasMore"]
    assert (await guarded.client.post("/api/v1/keys", json={"role": "viewer"}, headers=owner)).status_code == 201
    refused = RefusedEvent(b"i" * 16, "theirs", "segment", "invalid_record", "No.", 1, (), b"{}")
    await guarded.services.store.write("my-tenant", lambda tx: tx.put_rejects("my-tenant", [refused]))
    foreign.key_id = owner["X-API-Key"].split("_")[1]
    return foreign


def pair(path, **more):
    """Return a request with their customer's id, and the same request with an unknown id."""
    return [{"path": path.format(customerId=name), **more} for name in (THEIRS, NOBODY)]


def bulk(customer_id):
    lines = [{"customerId": customer_id, "section": name, "record": own(name, customer_id)} for name in BODIES]
    return {"content": ndjson(lines), "headers": {"content-type": "application/x-ndjson"}}


def own(section, customer_id):
    return {**BODIES[section], "value": f"{customer_id}@example.com"} if section == "identities" else BODIES[section]


def acts():
    """Return the actions on identity that a stranger would try, each with the same for an identifier of nobody."""
    email = {"type": "email", "value": RECORDS["identities"]["value"]}
    nobodys = {"type": "email", "value": "absent@example.com"}
    return [
        [{"action": "resolve", "identifier": identifier} for identifier in (email, nobodys)],
        [{"action": "merge", "targetId": customer_id, "sourceId": "theirs-2"} for customer_id in (THEIRS, NOBODY)],
        [{"action": "unmerge", "targetId": customer_id, "sourceId": "theirs-2"} for customer_id in (THEIRS, NOBODY)],
        [
            {
                "action": "unlink",
                "canonicalId": customer_id,
                "identifier": {**email, "value": f"{customer_id}@example.com"},
            }
            for customer_id in (THEIRS, NOBODY)
        ],
        [{"action": "accept", "identifier": identifier, "other": email} for identifier in (email, nobodys)],
        [{"action": "reject", "identifier": identifier, "other": email} for identifier in (email, nobodys)],
        [
            {"action": "cannot-link", "identifier": identifier, "other": {"type": "customer_id", "value": "theirs-2"}}
            for identifier in (email, nobodys)
        ],
    ]


def after_a_cursor(path, section, cursor):
    requests = pair(path, params={"cursor": cursor})
    return [[request] for request in requests] if section == "identities" else [requests]


def attempts(operation, foreign):
    """Return groups of requests that a stranger would try: for their ids, and where possible the same for nobody's."""
    path, cursors = operation.path, foreign.cursors
    known = {
        "get_unified_profile": lambda: [pair(path)],
        "record_bulk": lambda: [[{"path": path, **bulk(name)} for name in (THEIRS, NOBODY)]],
        "list_rejects": lambda: [[{"path": path}], [{"path": path, "params": {"source": "theirs"}}]],
        "get_collecting_rules": lambda: [[{"path": path}]],
        "set_collecting_rules": lambda: [[{"path": path, "json": {"keep": ["ip"]}}]],
        "count_rejects": lambda: [[{"path": path}]],
        "act_on_rejects": lambda: [
            [{"path": path, "json": {"action": action, "source": source}} for source in ("theirs", "nobodys")]
            for action in ("find", "replay", "drop")
        ],
        "list_customers": lambda: [[{"path": path}], [{"path": path, "params": {"cursor": cursors["customers"]}}]],
        "get_identity": lambda: [
            [{"path": path, "params": {"customerId": customer_id}} for customer_id in (THEIRS, NOBODY)]
        ],
        "explain_identity": lambda: [
            [{"path": path, "params": {"customerId": customer_id}} for customer_id in (THEIRS, NOBODY)]
        ],
        "list_candidates": lambda: [[{"path": path}], [{"path": path, "params": {"cursor": cursors["candidates"]}}]],
        "act_on_identity": lambda: [[{"path": path, "json": action} for action in pair_] for pair_ in acts()],
        "get_identity_rules": lambda: [[{"path": path}]],
        "set_identity_rules": lambda: [[{"path": path, "json": {"minConfidence": 0.6}}]],
        "find_unified_profile": lambda: [
            [{"path": path, "json": {"customerId": customer_id}} for customer_id in (THEIRS, NOBODY)],
            [
                {"path": path, "json": {"identifier": {"type": "email", "value": address}}}
                for address in (RECORDS["identities"]["value"], "absent@example.com")
            ],
        ],
        "get_profile": lambda: [pair(path)],
        "list_keys": lambda: [
            [{"path": path}],
            [{"path": path, "params": {"cursor": cursors["keys"]}}],
            [{"path": path, "params": {"mintedBy": key_id}} for key_id in (foreign.key_id, "0" * 12)],
        ],
        "create_key": lambda: [[{"path": path, "json": {"role": "viewer"}}]],
        "revoke_key": lambda: [
            [{"path": path.format(keyId=key_id), "params": more} for key_id in (foreign.key_id, "0" * 12)]
            for more in ({}, {"descendants": "true"})
        ],
        "create_tenant": lambda: [[{"path": path, "json": {"id": "my-tenant", "name": "Mine now"}}]],
        "list_tenants": lambda: [[{"path": path}]],
        "live": lambda: [[{"path": path}]],
        "ready": lambda: [[{"path": path}]],
    }
    if operation.id in known:
        return known[operation.id]()
    verb, _, section = operation.id.partition("_")
    assert section in BODIES, f"the test does not know {operation.id}: say how a stranger would try it"
    keyed = path.replace("{key}", foreign.keys[section])
    of_a_section = {
        # An identifier belongs to one person, so the record of nobody has an identifier of its own.
        "record": lambda: [
            [{"path": path.format(customerId=name), "json": own(section, name)} for name in (THEIRS, NOBODY)]
        ],
        # The identifiers differ, and so do their keys in the list: a key may sort below the cursor.
        "list": lambda: [pair(path), *after_a_cursor(path, section, cursors["segments"])],
        "history": lambda: [pair(keyed)],
        "delete": lambda: [pair(keyed)],
    }
    assert verb in of_a_section, f"the test does not know {operation.id}: say how a stranger would try it"
    return of_a_section[verb]()


def observable(answer):
    """Return the parts of an answer by which a stranger could see a difference."""
    text = re.sub(THEIRS, NOBODY, answer.text)
    if answer.headers.get("content-type") == "application/problem+json":
        text = json.dumps(shape(json.loads(text)), sort_keys=True)
    text = re.sub(r'"(createdAt|computedAt|updatedAt|effectiveAt|recordedAt|since|key)":"[^"]+"', "", text)
    names = sorted(set(answer.headers) - {"date"})
    return answer.status_code, names, text


async def test_every_operation_answers_as_for_what_does_not_exist_and_changes_nothing(guarded, operations):
    foreign = await filled(guarded)
    before = await stored_rows(guarded, "my-tenant")
    assert before["facts"]
    assert before["credentials"]
    assert before["rejects"]
    operations = sorted(operations(guarded), key=lambda operation: operation.method == "POST")
    for role in ("viewer", "editor", "admin"):
        stranger = {"X-API-Key": await guarded.key(role, "other")}
        for operation in operations:
            for requests in attempts(operation, foreign):
                answers = []
                for request in requests:
                    path = request.pop("path")
                    headers = {**stranger, **request.pop("headers", {})}
                    answers.append(await guarded.client.request(operation.method, path, headers=headers, **request))
                assert answers[0].status_code < 500
                assert "theirs-2" not in answers[0].text
                assert foreign.key_id not in answers[0].text
                assert observable(answers[0]) == observable(answers[-1]), (role, operation.id)
                assert await stored_rows(guarded, "my-tenant") == before, (role, operation.id)


async def test_every_customer_route_is_404_for_a_stranger_without_records(guarded, operations):
    foreign = await filled(guarded)
    stranger = {"X-API-Key": await guarded.key("admin", "other")}
    seen = 0
    for operation in operations(guarded):
        if "{customerId}" in operation.path and operation.method != "POST":
            seen += 1
            section = operation.id.partition("_")[2]
            path = operation.path.format(customerId=THEIRS, key=foreign.keys.get(section, ""))
            answer = await guarded.client.request(operation.method, path, headers=stranger)
            assert (answer.status_code, answer.json()["code"]) == (404, "customer_not_found")
    assert seen == 2 + 3 * len(BODIES)


async def test_every_operation_refuses_another_tenants_name_as_an_unknown_one(guarded, operations):
    await filled(guarded)
    before = await stored_rows(guarded, "my-tenant")
    key = await guarded.key("admin", "other")
    for operation in operations(guarded):
        if operation.public:
            continue
        path = re.sub(r"\{\w+\}", THEIRS, operation.path)
        answers = [
            await guarded.client.request(operation.method, path, headers={"X-API-Key": key, "X-Tenant-Id": tenant})
            for tenant in ("my-tenant", "nowhere")
        ]
        assert answers[0].status_code == 403, operation.id
        assert answers[0].json()["code"] == "tenant_forbidden"
        assert observable(answers[0]) == observable(answers[1])
    assert await stored_rows(guarded, "my-tenant") == before
