"""Access: who may do what, by which key."""

import dataclasses
import re
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from contract.given import RECORDS
from harness import TENANT, portrait, service
from portrait.access import cache, keys
from portrait.api.application import Application
from portrait.api.operation import Answer, Operation
from portrait.model import time
from portrait.model.errors import InvalidParameter

ROLES = ("viewer", "editor", "admin", "platform")
READ, WRITE = {"viewer", "editor", "admin"}, {"editor", "admin"}
MATRIX = {
    "get_unified_profile": READ, "list_customers": READ, "record_bulk": WRITE, "list_rejects": WRITE,
    "get_collecting_rules": READ, "set_collecting_rules": {"admin"},
    "count_rejects": WRITE, "act_on_rejects": WRITE, "create_tenant": {"platform"},
    "list_tenants": {"platform"}, "create_key": {"admin", "platform"}, "list_keys": {"admin", "platform"},
    "revoke_key": {"admin", "platform"}, "live": None, "ready": None,
    "get_identity": READ, "act_on_identity": WRITE, "explain_identity": READ, "get_identity_rules": READ,
    "set_identity_rules": {"admin"}, "find_unified_profile": READ, "get_profile": READ,
}  # fmt: skip
"""Who may call an operation; None: everybody, without a key."""
SECTION_MATRIX = {"record": WRITE, "list": READ, "history": READ, "delete": WRITE}


def declared(operation):
    """Return the roles that may call an operation; an operation that this test does not know fails it."""
    if operation.id in MATRIX:
        return MATRIX[operation.id]
    verb, _, section = operation.id.partition("_")
    assert verb in SECTION_MATRIX, f"the test does not know {operation.id}: say who may call it"
    assert f"/{section}" in operation.path
    return {"admin"} & SECTION_MATRIX[verb] if section == "guarded" else SECTION_MATRIX[verb]


async def call(running, operation, headers):
    """Call an operation with the example values of its declaration."""
    path = operation.path
    for parameter in operation.parameters:
        if parameter.where == "path":
            path = path.replace(f"{{{parameter.name}}}", str(parameter.example))
    options = {}
    if operation.body is not None:
        options["json"] = operation.body.examples["application/json"]
    return await running.client.request(operation.method, path, headers=headers, **options)


async def test_every_operation_is_declared_for_every_role(guarded, operations):
    headers = {
        role: {"X-API-Key": await guarded.key(role, None if role == "platform" else TENANT), "X-Tenant-Id": TENANT}
        for role in ROLES
    }
    names = [operation.id for operation in operations(guarded)]
    assert len(names) == len(set(names)) >= len(MATRIX) + 4 * 8
    for operation in operations(guarded):
        allowed = declared(operation)
        assert operation.public == (allowed is None)
        nobody = await call(guarded, operation, {"X-Tenant-Id": TENANT})
        assert (nobody.status_code == 401) == (allowed is not None), operation.id
        for role in ROLES:
            answer = await call(guarded, operation, headers[role])
            if allowed is None or role in allowed:
                assert answer.status_code not in {401, 403}, (operation.id, role, answer.text)
            else:
                assert answer.status_code == 403, (operation.id, role, answer.text)
                of_section = (
                    operation.id.endswith("_guarded") and role in SECTION_MATRIX[operation.id.partition("_")[0]]
                )
                assert answer.json()["code"] == ("section_forbidden" if of_section else "role_forbidden")
                if operation.method == "GET":
                    head = await call(guarded, dataclasses.replace(operation, method="HEAD"), headers[role])
                    assert head.status_code == 403, (operation.id, role)


async def test_a_bulk_takes_no_line_of_a_section_that_is_not_for_the_role(guarded):
    lines = [
        {"customerId": "c1", "section": "guarded", "record": {"id": "g1"}},
        {"customerId": "c1", "section": "segments", "record": RECORDS["segments"]},
    ]
    for role, taken in (("editor", 1), ("admin", 1)):  # the admin's call finds the editor's record stored
        headers = {"X-API-Key": await guarded.key(role)}
        answer = (await guarded.client.post("/api/v1/records", json=lines, headers=headers)).json()
        assert answer["recorded"] == taken
        refused = [(refusal["index"], refusal["code"]) for refusal in answer["refused"]]
        assert refused == ([(0, "section_forbidden")] if role == "editor" else [])


async def test_an_operation_without_roles_is_for_nobody(guarded):
    called = []

    async def handler(call):
        called.append(call)
        return Answer(200, b"{}")

    @asynccontextmanager
    async def lifespan(_):
        yield

    app = guarded.client._transport.app
    bare = Operation("bare", "GET", "/api/v1/bare", "Bare", "bare", handler, 200, None)
    guarded.client._transport.app = Application(
        (*app.operations, bare), app._profiles, guarded.services.access, app._admission, app._collecting,
        version="0", lifespan=lifespan,
    )  # fmt: skip
    for role in ROLES:
        key = await guarded.key(role, None if role == "platform" else TENANT)
        answer = await guarded.client.get("/api/v1/bare", headers={"X-API-Key": key, "X-Tenant-Id": TENANT})
        assert (answer.status_code, answer.json()["code"]) == (403, "role_forbidden")
    assert called == []


async def test_both_headers_carry_a_key(guarded):
    key = await guarded.key("viewer")
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer {key}"}):
        assert (await guarded.client.get("/api/v1/customers", headers=headers)).status_code == 200


def altered(key, index):
    """Return a key with one character changed."""
    return key[:index] + ("0" if key[index] != "0" else "1") + key[index + 1 :]


async def test_no_wrong_expired_or_revoked_key_is_let_in(guarded):
    expired = await guarded.key("admin", expires_at=guarded.clock() + time.SECOND)
    minted = await guarded.services.access.create_key(TENANT, "admin")
    key = str(minted.key)
    assert (await guarded.client.get("/api/v1/customers", headers={"X-API-Key": expired})).status_code == 200
    assert (await guarded.client.get("/api/v1/customers", headers={"X-API-Key": key})).status_code == 200
    guarded.clock.advance(1)
    await guarded.services.access.revoke_key(TENANT, minted.credential.id)
    live = str((await guarded.services.access.create_key(TENANT, "admin")).key)
    id_, secret, _ = live.split("_")[1:]
    stranger = keys.ApiKey(id_, secret[::-1])
    wrong = [
        "", " ", "x", "portrait_", expired, key, altered(live, 10), altered(live, 40), altered(live, -1), live[:-1],
        live + "0", live.upper(), str(stranger), str(keys.mint()), f"{live} {live}", "é" * 10,
    ]  # fmt: skip
    refused = [{}, {"Authorization": f"Basic {live}"}, {"Authorization": live}, {"Authorization": "Bearer"}]
    refused += [{"X-API-Key": key.encode()} for key in wrong]
    refused += [{"Authorization": b"Bearer " + key.encode()} for key in wrong]
    for path in ("/api/v1/customers", "/api/v1/customers/c1/unified-profile", "/api/v1/customers/c1/segments"):
        for headers in refused:
            answer = await guarded.client.get(path, headers=headers)
            assert answer.status_code == 401, headers
            assert answer.headers["www-authenticate"] == 'Bearer realm="portrait"'
            assert answer.json()["code"] == "unauthenticated"
    assert (await guarded.client.get("/api/v1/customers", headers={"X-API-Key": live})).status_code == 200


async def test_a_wrong_checksum_is_refused_without_a_query(guarded, monkeypatch):
    store, asked = guarded.services.store, []
    credential = store.credential

    async def counted(credential_id):
        asked.append(credential_id)
        return await credential(credential_id)

    monkeypatch.setattr(store, "credential", counted)
    key = await guarded.key("viewer")
    for index in range(len(key)):
        answer = await guarded.client.get("/api/v1/customers", headers={"X-API-Key": altered(key, index)})
        assert answer.status_code == 401
    assert asked == []
    assert (await guarded.client.get("/api/v1/customers", headers={"X-API-Key": key})).status_code == 200
    assert asked == [key.split("_")[1]]


async def test_a_revocation_reaches_other_processes_within_a_second(guarded, tmp_path, monkeypatch):
    minted = await guarded.services.access.create_key(TENANT, "viewer")
    headers = {"X-API-Key": str(minted.key)}
    async with service(tmp_path, auth="keys", tenants=()) as other:
        assert (await other.client.get("/api/v1/customers", headers=headers)).status_code == 200
        await guarded.services.access.revoke_key(TENANT, minted.credential.id)
        monotonic = cache.time.monotonic
        monkeypatch.setattr(cache, "time", SimpleNamespace(monotonic=lambda: monotonic() + 1))
        assert (await other.client.get("/api/v1/customers", headers=headers)).status_code == 401


async def test_a_key_is_minted_listed_and_taken_back_by_an_admin(guarded):
    admin = {"X-API-Key": await guarded.key("admin")}
    asked = {"role": "editor", "name": "crm", "expiresAt": "2026-12-31T23:59:59+01:00"}
    answer = await guarded.client.post("/api/v1/keys", json=asked, headers=admin)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["role"], made["name"], made["expiresAt"]) == ("editor", "crm", "2026-12-31T22:59:59Z")
    assert made["mintedBy"] == admin["X-API-Key"].split("_")[1]
    assert made["key"].endswith(made["lastFour"])
    minted = {"X-API-Key": made["key"]}
    await guarded.recorded("segments", RECORDS["segments"], headers=minted)
    listed = await guarded.client.get("/api/v1/keys", headers=admin)
    keys_by_id = {credential["id"]: credential for credential in listed.json()["data"]}
    assert keys_by_id[made["id"]].pop("lastUsedAt") is not None
    assert keys_by_id[made["id"]] == {name: value for name, value in made.items() if name not in {"key", "lastUsedAt"}}
    assert made["key"] not in listed.text
    gone = await guarded.client.delete(f"/api/v1/keys/{made['id']}", headers=admin)
    assert (gone.status_code, gone.json()) == (200, {"data": [], "pagination": {"cursor": None, "hasMore": False}})
    assert (await guarded.client.get("/api/v1/customers", headers=minted)).status_code == 401
    again = await guarded.client.delete(f"/api/v1/keys/{made['id']}", headers=admin)
    assert (again.status_code, again.json()["code"]) == (404, "key_not_found")


async def test_no_key_mints_a_key_above_its_role(guarded):
    for role in ("viewer", "editor"):
        headers = {"X-API-Key": await guarded.key(role)}
        answer = await guarded.client.post("/api/v1/keys", json={"role": "viewer"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "role_forbidden")
    admin = {"X-API-Key": await guarded.key("admin")}
    for code, bodies in {
        "invalid_record": (
            {"role": "platform"}, {"role": "root"}, {"role": None}, {}, {"role": "admin", "tenant": "other"},
            {"role": "viewer", "name": "x" * 201}, {"role": "viewer", "expiresAt": "tomorrow"},
        ),
        "invalid_parameter": (
            {"role": "viewer", "expiresAt": "2020-01-01T00:00:00Z"},
            {"role": "viewer", "name": "a\nb"},
        ),
    }.items():  # fmt: skip
        for body in bodies:
            answer = await guarded.client.post("/api/v1/keys", json=body, headers=admin)
            assert answer.json()["code"] == code, body
    assert len((await guarded.client.get("/api/v1/keys", headers=admin)).json()["data"]) == 3


@pytest.mark.parametrize(
    ("tenant", "role"), [(TENANT, "platform"), (TENANT, "root"), (TENANT, ""), (None, "admin"), (None, "viewer")]
)
async def test_a_role_that_is_not_the_owners_is_refused(guarded, tenant, role):
    with pytest.raises(InvalidParameter):
        await guarded.services.access.create_key(tenant, role)
    assert await guarded.services.access.keys(tenant, None, 10) == []


async def test_the_platforms_key_makes_tenants_and_their_keys_and_reads_no_customer(guarded):
    platform = {"X-API-Key": await guarded.key("platform", None)}
    answer = await guarded.client.post("/api/v1/tenants", json={"id": "third", "name": "Third"}, headers=platform)
    assert answer.status_code == 201
    assert answer.json().keys() == {"id", "name", "createdAt"}
    again = await guarded.client.post("/api/v1/tenants", json={"id": "third"}, headers=platform)
    assert (again.status_code, again.json()["code"]) == (409, "tenant_exists")
    listed = (await guarded.client.get("/api/v1/tenants?limit=2", headers=platform)).json()
    assert [tenant["id"] for tenant in listed["data"]] == [TENANT, "other"]
    rest = {"limit": 2, "cursor": listed["pagination"]["cursor"]}
    listed = (await guarded.client.get("/api/v1/tenants", params=rest, headers=platform)).json()
    assert [tenant["id"] for tenant in listed["data"]] == ["third"]
    named = {**platform, "X-Tenant-Id": "third"}
    key = (await guarded.client.post("/api/v1/keys", json={"role": "editor"}, headers=named)).json()["key"]
    await guarded.recorded("segments", RECORDS["segments"], headers={"X-API-Key": key})
    for path in ("/api/v1/customers", "/api/v1/customers/c1/unified-profile", "/api/v1/customers/c1/segments"):
        assert (await guarded.client.get(path, headers=named)).status_code == 403
    for role in ("viewer", "editor", "admin"):
        headers = {"X-API-Key": await guarded.key(role)}
        for method in ("GET", "POST"):
            answer = await guarded.client.request(method, "/api/v1/tenants", json={"id": "fourth"}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "role_forbidden")


@pytest.mark.parametrize(("region", "status"), [("GB", 201), (None, 201), ("gb", 422), ("XX", 400), (1, 422)])
async def test_a_tenant_is_made_with_a_region(guarded, region, status):
    platform = {"X-API-Key": str((await guarded.services.access.create_key(None, "platform")).key)}
    answer = await guarded.client.post("/api/v1/tenants", json={"id": "third", "region": region}, headers=platform)
    assert answer.status_code == status, answer.text
    if status == 201:
        assert (await guarded.services.rules.get("third")).region == region


@pytest.mark.parametrize("name", ["n" * 201, "a\nb", "a\x00"], ids=["long", "of two lines", "with NUL"])
async def test_a_name_keeps_its_rule_wherever_it_comes_from(guarded, name):
    access = guarded.services.access
    with pytest.raises(InvalidParameter):
        await access.create_key(TENANT, "viewer", name=name)
    with pytest.raises(InvalidParameter):
        await access.create_tenant("third", name)
    assert await access.keys(TENANT, None, 10) == []
    assert (await access.create_key(TENANT, "viewer", name="n" * 200)).credential.name == "n" * 200


@pytest.mark.parametrize("tenant_id", ["", "-a", ".a", "a/b", "a b", "é", "a" * 65, "a\n", None, 1, ["a"]])
async def test_a_tenants_id_keeps_its_rule(guarded, tenant_id):
    platform = {"X-API-Key": await guarded.key("platform", None)}
    answer = await guarded.client.post("/api/v1/tenants", json={"id": tenant_id}, headers=platform)
    assert answer.json()["code"] == ("invalid_parameter" if tenant_id == "a\n" else "invalid_record")
    assert len((await guarded.client.get("/api/v1/tenants", headers=platform)).json()["data"]) == 2


async def test_the_bytes_of_the_database_hold_no_usable_key(guarded, tmp_path):
    minted = [(await guarded.services.access.create_key(TENANT, "admin")).key for _ in range(5)]
    minted.append((await guarded.services.access.create_key(None, "platform")).key)
    for key in minted:
        await guarded.client.get("/api/v1/customers", headers={"X-API-Key": str(key), "X-Tenant-Id": TENANT})
    files = sorted(path for path in tmp_path.iterdir() if path.name.startswith("portrait.db"))
    assert any(path.name.endswith("-wal") for path in files)
    dump = b"".join(path.read_bytes() for path in files)
    for key in minted:
        assert key.id.encode() in dump
        assert key.secret.encode() not in dump
    assert not re.search(rb"portrait_[0-9A-Za-z]{12}_[0-9A-Za-z]{20}", dump)


def test_the_command_line_prints_the_key_alone(tmp_path):
    database = tmp_path / "portrait.db"
    portrait("tenant", "create", TENANT, database=database)
    for words in (["--tenant", TENANT, "--role", "admin"], ["--platform"]):
        made = portrait("key", "create", *words, database=database)
        assert made.returncode == 0
        assert re.fullmatch(r"portrait_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}\n", made.stdout)
        assert made.stdout.strip() not in made.stderr
    refused = portrait("key", "create", "--tenant", "nowhere", database=database)
    assert refused.returncode != 0
    assert refused.stdout == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_everybody_is_let_in_on_this_machine_only(tmp_path, host):
    words = ["serve", "--auth", "open", "--port", "0", "--host", host]
    refused = portrait(*words, database=tmp_path / "portrait.db")
    assert refused.returncode == 1
    assert "--auth keys" in refused.stderr
    assert not (tmp_path / "portrait.db").exists()


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:80", "127.1.2.3", "[::1]:8080"]
)
async def test_open_mode_answers_to_this_machines_names(running, host):
    await running.recorded("segments", RECORDS["segments"])
    assert (await running.profile(headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["example.org", "localhost.example.org", "127.0.0.1.example.org", "0.0.0.0", "", "x:80", "localhost:x", "::1"],
)
async def test_open_mode_answers_to_no_other_name(running, host):
    await running.recorded("segments", RECORDS["segments"])
    for answer in (
        await running.profile(headers={"Host": host}),
        await running.record("segments", {**RECORDS["segments"], "segmentId": "x"}, headers={"Host": host}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "host_forbidden")
    assert len(await running.section("segments")) == 1


async def test_with_keys_the_name_does_not_matter(guarded):
    headers = {"Host": "portrait.example.org", "X-API-Key": await guarded.key("viewer")}
    assert (await guarded.client.get("/api/v1/customers", headers=headers)).status_code == 200
