"""Refusals and log lines say what was wrong, what would be right, and which tenant and request it concerns."""

import json
import logging
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.test_access import ROLES, call, declared
from harness import TENANT, ndjson, service
from portrait.access import cache
from portrait.access.keys import mint
from portrait.api.paths import Paths
from portrait.model import time
from portrait.model.errors import StorageFull

SEGMENT = {"segmentId": "s1", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}
PLUGIN = '''
from typing import Annotated

from portrait import Record, Text, none, register_profile_section


def effective(record):
    if record.id == "bad":
        raise RuntimeError("words of the exception")


@register_profile_section("stored", key=("id",), effective=effective)
class Stored(Record, frozen=True):
    """Fails at a record."""

    id: Annotated[Text, none]


@register_profile_section("computed")
def computed(context):
    """Fails at each read."""
    raise RuntimeError("words of the exception")
'''


@pytest.fixture
async def failing(tmp_path, each_url):
    path = tmp_path / "failing.py"
    path.write_text(PLUGIN)
    async with service(tmp_path, database=each_url, plugins=(str(path),)) as running:
        yield running


async def refused(running, status, code, path="/api/v1/customers", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await running.client.get(path, headers=named)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    return problem["detail"]


async def test_a_401_says_what_is_wrong_with_the_credential(guarded):
    live, ended = await guarded.key("viewer"), guarded.clock.now + 1_000_000
    expired = await guarded.key("viewer", expires_at=ended)
    revoked = await guarded.key("viewer")
    await guarded.services.access.revoke_key(TENANT, revoked.split("_")[1])
    guarded.clock.advance(2)
    other = f"{live[:-6]}{'0' * 6}"
    for headers, words in (
        ({}, "No API key. Send"),
        ({"Authorization": live}, "the word Bearer"),
        ({"Authorization": f"Token {live}"}, "the word Bearer"),
        ({"Authorization": "Bearer "}, "the word Bearer"),
        ({"X-API-Key": ""}, "the word Bearer"),
        ({"X-API-Key": f"Bearer {live}"}, "not a whole API key"),
        ({"Authorization": f"Bearer {live[:-1]}"}, "not a whole API key"),
        ({"X-API-Key": other}, "not a whole API key"),
        ({"X-API-Key": expired}, "has expired"),
        ({"X-API-Key": revoked}, "was revoked"),
        ({"X-API-Key": revoked}, "was revoked"),
    ):
        for path in ("/api/v1/customers", "/api/v1/customers/c1/unified-profile"):
            detail = await refused(guarded, 401, "unauthenticated", path, **headers)
            assert words in detail, (headers, detail)
            assert live not in detail
    assert "is wrong" in await refused(guarded, 401, "unauthenticated", X_API_Key=str(mint()))


async def test_a_refusal_for_the_role_names_the_callers_and_those_that_may(guarded, operations):
    headers = {
        role: {"X-API-Key": await guarded.key(role, None if role == "platform" else TENANT), "X-Tenant-Id": TENANT}
        for role in ROLES
    }
    named = set()
    for operation in operations(guarded):
        allowed = declared(operation)
        for role in () if allowed is None else set(ROLES) - allowed:
            detail = (await call(guarded, operation, headers[role])).json()["detail"]
            may = operation.roles if role not in operation.roles else {"admin"}
            assert detail.startswith(f"This credential's role is {role}; ")
            assert set(re.findall("|".join(ROLES), detail.partition("; ")[2])) == may, (operation.id, role, detail)
            named.add(operation.id.endswith("_guarded"))
    assert named == {True, False}
    path = "/api/v1/customers/c1/unified-profile?sections=guarded"
    detail = await refused(guarded, 403, "section_forbidden", path, **headers["viewer"])
    assert detail == "This credential's role is viewer; section `guarded` is for admin."


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/v1/customers/c1/interaction", ("after /api/v1/customers/{customerId} ", "interactions", "consent")),
        ("/api/v1/customers/c1/interaction/x/history", ("interactions", "unified-profile")),
        ("/api/v1/customers/c1/segments/k/hist", ("after /api/v1/customers/{customerId}/segments/{key} ", "history")),
        ("/api/v1/customers/c1", ("after /api/v1/customers/{customerId} ", "unified-profile")),
        ("/api/v1/customer", ("after /api/v1 ", "customers", "unified-profile")),
        ("/api/v1/records/more", ("nothing follows /api/v1/records",)),
        ("/api/v2/customers", ("after /api ", "v1")),
        ("/customers/c1/unified-profile", ("must begin with /api/v1",)),
        ("/nothing", ("begins with one of", "api", "health", "docs")),
        ("/api/v1/customers/", ("leave out the slash at its end",)),
        ("/api/v1/customers/c1/unified-profile/", ("leave out the slash at its end",)),
        ("/docs/", ("leave out the slash at its end",)),
        ("/api/v1//customers", ("write each slash once",)),
        ("/api/v1/customers//unified-profile", ("after /api/v1/customers comes", "a {customerId}")),
    ],
)
async def test_a_404_for_an_unknown_path_names_the_known_paths(running, path, words):
    detail = await refused(running, 404, "route_not_found", path)
    assert all(word in detail for word in words), detail
    assert "c1" not in detail


TEMPLATES = ("/a", "/a/{b}", "/a/{b}/c", "/d/e", "/api/v1/x")


@given(st.lists(st.sampled_from(["", "a", "c", "d", "e", "x", "api", "v1", "SECRET", "%2F"]), max_size=5).map("/".join))
def test_the_refusal_of_a_path_repeats_only_templates(rest):
    detail = Paths(TEMPLATES).unknown(f"/{rest}").detail
    assert "SECRET" not in detail
    assert "%2F" not in detail
    assert detail.startswith("No operation has this path: ")


async def test_a_clients_request_id_is_kept_if_it_is_a_uuid(running):
    async def ids(*request_ids, path="/api/v1/nothing"):
        answer = await running.client.get(path, headers=[("X-Request-Id", request_id) for request_id in request_ids])
        if answer.status_code >= 400:
            assert answer.json()["instance"] == f"urn:uuid:{answer.headers['X-Request-Id']}"
        return answer.headers["X-Request-Id"]

    kept = str(uuid.uuid4())
    for path in ("/api/v1/nothing", "/api/v1/customers", "/api/v1/customers/c1/unified-profile", "/health/live"):
        assert await ids(kept, path=path) == kept
    assert await ids(kept.upper()) == kept.upper()
    for other in ("", "1", "x" * 36, kept[:-1], f"{kept} ", kept.replace("-", ""), f"{{{kept}}}"):
        made = await ids(other)
        assert made not in {other, kept}
        assert uuid.UUID(made).version == 4
    assert await ids(kept, str(uuid.uuid4())) != kept
    assert await ids() != await ids()


def logged_failures(caplog, section):
    """Return, for each log line about a section's failure, its text in brackets and whether it has a traceback."""
    lines = [(record.getMessage(), bool(record.exc_info)) for record in caplog.records]
    return [(re.search(r"\((.*?)\)", text)[1], traced) for text, traced in lines if f"section {section} failed" in text]


async def test_a_sections_failure_names_its_tenant_and_its_request_in_the_log(failing, caplog):
    caplog.set_level(logging.WARNING)
    bad, good = {"id": "bad"}, {"id": "good"}
    lines = ndjson({"customerId": "c1", "section": "stored", "record": record} for record in (good, bad, bad))
    for send in (
        lambda: failing.record("stored", bad),
        lambda: failing.record("stored", [good, bad]),
        lambda: failing.client.post("/api/v1/records", content=lines, headers={"Content-Type": "application/x-ndjson"}),
    ):
        caplog.clear()
        answer = await send()
        assert "section_failed" in answer.text
        request_id = answer.headers["X-Request-Id"]
        assert logged_failures(caplog, "stored") == [(f"tenant {TENANT}, request {request_id}", True)]
        if answer.status_code == 500:
            [line] = [record.getMessage() for record in caplog.records if "section_failed" in record.getMessage()]
            assert line.startswith(f"request {request_id} (tenant {TENANT}): section_failed: ")
    caplog.clear()
    answer = await failing.profile("c1", "computed")
    assert json.loads(answer.text)["sections"][0]["error"]["code"] == "section_failed"
    assert logged_failures(caplog, "computed") == [(f"tenant {TENANT}, request {answer.headers['X-Request-Id']}", True)]


async def act(running, key, action, **more):
    body = {"action": action, **more}
    answer = await running.client.post("/api/v1/identity", json=body, headers={"X-API-Key": key})
    assert answer.status_code == 200, answer.text


async def explained(running, key, customer_id):
    answer = await running.client.get(
        "/api/v1/identity/explain", params={"customerId": customer_id}, headers={"X-API-Key": key}
    )
    return answer.json()


async def test_an_action_names_the_key_that_acted_whatever_source_it_gives(guarded_anywhere):
    running = guarded_anywhere
    keys = {role: await running.key(role) for role in ("editor", "admin")}
    editor, admin = (keys[role].split("_")[1] for role in ("editor", "admin"))
    mine = {"headers": {"X-API-Key": keys["editor"]}}
    phone, email, cookie = (
        {"type": type_, "value": value}
        for type_, value in (("phone", "+4930901820"), ("email", "a@example.org"), ("cookie_id", "c-1"))
    )
    for customer in ("A", "B"):
        await running.recorded("segments", SEGMENT, customer, **mine)
    await running.recorded("identities", [email], "A", **mine)
    await act(running, keys["editor"], "link", canonicalId="A", identifiers=[phone], source="crm")
    await act(running, keys["admin"], "merge", targetId="A", sourceId="B", source="crm")
    for _ in range(2):
        explanation = await explained(running, keys["editor"], "A")
        by_type = {identifier["type"]: identifier["path"][0]["evidence"] for identifier in explanation["identifiers"]}
        assert [(record["rule"], record["source"], record["credential"]) for record in by_type["phone"]] == [
            ("link", "crm", editor)
        ]
        assert [(record["rule"], record["credential"]) for record in by_type["email"]] == [("record", None)]
        assert [(merge["rule"], merge["source"], merge["credential"]) for merge in explanation["merges"]] == [
            ("merge", "crm", admin)
        ]
        await running.services.upkeep.rebuild()
    await act(running, keys["editor"], "unmerge", targetId="A", sourceId="B")
    await act(running, keys["admin"], "unlink", canonicalId="A", identifier=phone)
    await running.recorded("identities", [cookie], "B", **mine)
    await act(running, keys["admin"], "cannot-link", identifier=email, other=cookie, source="desk")
    apart = (await explained(running, keys["editor"], "A"))["apart"]
    assert {(pair["rule"], pair["source"], pair["credential"]) for pair in apart} == {
        ("unmerge", "api", editor), ("unlink", "api", admin), ("cannot_link", "desk", admin),
    }  # fmt: skip
    await running.checked()


async def used(running, admin):
    answer = await running.client.get("/api/v1/keys", headers={"X-API-Key": admin})
    assert answer.status_code == 200, answer.text
    await running.services.access.close()
    return {credential["id"]: credential["lastUsedAt"] for credential in answer.json()["data"]}


async def test_the_last_use_of_a_key_is_noted_within_ten_minutes_and_costs_no_request_anything(
    guarded_anywhere, monkeypatch
):
    running, clock = guarded_anywhere, guarded_anywhere.clock
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0)
    admin, viewer = await running.key("admin"), await running.key("viewer")
    ends = await running.key("viewer", expires_at=clock.now + time.HOUR)
    ids = [key.split("_")[1] for key in (admin, viewer, ends)]

    async def ask(key, status=200):
        answer = await running.client.get("/api/v1/customers", headers={"X-API-Key": key})
        assert answer.status_code == status

    assert set((await used(running, admin)).values()) == {None}
    first = await used(running, admin)
    assert first[ids[0]] is not None
    assert first[ids[1]] is None
    clock.advance(599)
    await ask(viewer)
    assert (await used(running, admin))[ids[0]] == first[ids[0]]
    clock.advance(2)
    write = running.services.store.write

    async def full(*_):
        raise StorageFull("No room.")

    monkeypatch.setattr(running.services.store, "write", full)
    await used(running, admin)
    monkeypatch.setattr(running.services.store, "write", write)
    assert (await used(running, admin))[ids[0]] == first[ids[0]], "it is not tried at every request"
    clock.advance(3600)
    await ask(ends, 401)
    await used(running, admin)
    last = await used(running, admin)
    assert last[ids[0]] > first[ids[0]]
    assert last[ids[1]] is not None
    assert last[ids[2]] is None
