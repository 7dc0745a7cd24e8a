"""Decisions on what the seed leaves open about access, names and errors."""

import re
import unicodedata
import uuid
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contract.given import RECORDS, row, shape
from harness import TENANT
from portrait.model.errors import PluginRefused, TenantForbidden
from portrait.sections.registry import BUILT_IN, load

SEGMENT = RECORDS["segments"]
MEMBERS = {"type", "title", "status", "detail", "instance", "code"}


@row("no credential, or a wrong or expired one")
async def test_no_wrong_or_expired_credential_is_401_with_www_authenticate(guarded):
    expired = await guarded.key("admin", expires_at=guarded.clock() + 10)
    guarded.clock.advance(60)
    live = await guarded.key("admin")
    wrong = live[:-1] + ("0" if live[-1] != "0" else "1")
    for headers in (
        {},
        {"X-API-Key": ""},
        {"Authorization": f"Bearer {wrong}"},
        {"Authorization": f"Bearer {expired}"},
    ):
        answer = await guarded.profile(headers={"X-Tenant-Id": TENANT, **headers})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["code"] == "unauthenticated"
    assert (await guarded.profile(headers={"Authorization": f"Bearer {live}"})).status_code == 404


@row("tenant missing")
async def test_a_missing_tenant_is_taken_from_the_credential(guarded):
    headers = {"Authorization": f"Bearer {await guarded.key('editor')}"}
    await guarded.recorded("segments", SEGMENT, headers=headers)
    assert (await guarded.profile(headers=headers)).json()["tenantId"] == TENANT


@row("tenant missing")
async def test_without_tenant_or_bound_credential_it_is_400(running):
    del running.client.headers["X-Tenant-Id"]
    answer = await running.profile()
    assert (answer.status_code, answer.json()["code"]) == (400, "tenant_required")


@row("tenant missing")
async def test_a_credential_bound_to_no_tenant_names_one_or_is_400(guarded):
    answer = await guarded.client.get("/api/v1/keys", headers={"X-API-Key": await guarded.key("platform", None)})
    assert (answer.status_code, answer.json()["code"]) == (400, "tenant_required")


@row("tenant missing")
async def test_an_unknown_tenant_and_anothers_are_403_with_the_same_body(guarded):
    key = {"X-API-Key": await guarded.key("admin")}
    answers = [
        await guarded.profile(headers={**key, "X-Tenant-Id": tenant}) for tenant in ("other", "nowhere", "no/such", ".")
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert all(shape(answer.json()) == shape(answers[0].json()) for answer in answers)
    assert answers[0].json()["code"] == "tenant_forbidden"


@row("tenant missing")
async def test_an_unknown_tenant_is_403_without_keys_too(running):
    for path in ("/api/v1/customers", "/api/v1/tenants", "/api/v1/customers/c1/unified-profile"):
        answer = await running.client.get(path, headers={"X-Tenant-Id": "nowhere"})
        assert (answer.status_code, answer.json()["code"]) == (403, "tenant_forbidden")


@row("tenant missing")
async def test_an_unknown_tenant_is_403_for_a_key_bound_to_none(guarded):
    key = {"X-API-Key": await guarded.key("platform", None)}
    assert (await guarded.client.get("/api/v1/tenants", headers=key)).status_code == 200
    for path in ("/api/v1/tenants", "/api/v1/keys"):
        answer = await guarded.client.get(path, headers={**key, "X-Tenant-Id": "nowhere"})
        assert (answer.status_code, answer.json()["code"]) == (403, "tenant_forbidden")
    with pytest.raises(TenantForbidden):
        await guarded.services.access.create_key("nowhere", "viewer")


@row("another tenant's customer")
async def test_another_tenants_customer_answers_as_an_unknown_one(guarded):
    owner = {"X-API-Key": await guarded.key("editor")}
    stranger = {"X-API-Key": await guarded.key("admin", "other")}
    await guarded.recorded("segments", SEGMENT, "theirs", headers=owner)
    anothers, unknown = [await guarded.profile(name, headers=stranger) for name in ("theirs", "nobody")]
    assert anothers.status_code == unknown.status_code == 404
    assert shape(anothers.json()) == shape(unknown.json())
    assert anothers.headers.keys() == unknown.headers.keys()


@row("a section that the role may not read")
async def test_a_section_not_for_the_role_is_left_out_and_403_by_name(guarded):
    admin, viewer = [{"X-API-Key": await guarded.key(role)} for role in ("admin", "viewer")]
    await guarded.recorded("guarded", {"id": "g1"}, headers=admin)
    whole, partial = [(await guarded.profile(headers=headers)).json()["sections"] for headers in (admin, viewer)]
    assert {"name": "guarded", "data": [{"id": "g1"}]} in whole
    assert partial == [section for section in whole if section["name"] != "guarded"]
    asked = await guarded.profile(sections="segments,guarded", headers=viewer)
    assert (asked.status_code, asked.json()["code"]) == (403, "section_forbidden")
    assert (await guarded.profile(sections="segments,guarded", headers=admin)).status_code == 200


@row("errors")
async def test_an_error_is_a_problem_with_exactly_the_members_of_the_contract(running):
    answers = [
        await running.profile("nobody"),
        await running.profile(sections="nothing"),
        await running.record("segments", {"segmentId": "x"}),
        await running.client.get("/nowhere"),
        await running.client.put("/api/v1/customers"),
    ]
    assert [answer.status_code for answer in answers] == [404, 400, 422, 404, 405]
    for answer in answers:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem.keys() == MEMBERS
        assert problem["status"] == answer.status_code
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", problem["code"])
        assert problem["instance"] == f"urn:uuid:{uuid.UUID(answer.headers['x-request-id'])}"
    assert len({answer.json()["instance"] for answer in answers}) == len(answers)


@row("errors")
async def test_an_error_never_echoes_a_value_of_the_request(running):
    canary = "canary4711"
    for status, answer in (
        (400, await running.profile(f"{canary}%0A")),
        (400, await running.profile(canary, canary)),
        (422, await running.record("segments", {**SEGMENT, "memberSince": canary}, canary)),
        (403, await running.profile(canary, headers={"X-Tenant-Id": canary})),
    ):
        assert answer.status_code == status
        assert canary not in answer.text


def allowed(text):
    return (
        bool(text)
        and text not in {".", ".."}
        and not any(unicodedata.category(character) == "Cc" for character in text)
    )


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
searching = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@row("customer ids")
@searching
@given(ids.filter(allowed))
@example("a/b?c#d%2F e")
@example("...")
@example("é" * 128)
@example("😀" * 64)
@example("unified-profile")
@example("\u202e\ufeff\u200b")
async def test_any_name_without_control_characters_is_a_customer_id(running, customer_id):
    path = f"/api/v1/customers/{quote(customer_id, safe='')}"
    assert (await running.client.post(f"{path}/segments", json=SEGMENT)).status_code == 201
    answer = await running.client.get(f"{path}/unified-profile")
    assert answer.status_code == 200
    assert answer.json()["customerId"] == customer_id


@row("customer ids")
@pytest.mark.parametrize(
    "encoded_name",
    [
        "%2E", "%2E%2E", "a%00", "a%0A", "a%1F", "a%7F", "a%C2%85", "a" * 257, quote("é") * 128 + "a", "%FF",
        "%ED%A0%80",
    ],
)  # fmt: skip
async def test_a_name_that_breaks_the_rule_is_refused(running, encoded_name):
    answer = await running.client.get(f"/api/v1/customers/{encoded_name}/unified-profile")
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_parameter"
    recorded = await running.client.post(f"/api/v1/customers/{encoded_name}/segments", json=SEGMENT)
    assert recorded.status_code == 400


@row("customer ids")
async def test_customer_ids_are_case_sensitive_and_never_normalised(running):
    names = ["a", "A", " a", "a ", "é", "e\u0301", "\uff41"]
    for number, name in enumerate(names):
        path = f"/api/v1/customers/{quote(name, safe='')}/segments"
        recorded = await running.client.post(path, json={**SEGMENT, "segmentId": f"s{number}"})
        assert recorded.status_code == 201
    for number, name in enumerate(names):
        answer = await running.client.get(f"/api/v1/customers/{quote(name, safe='')}/unified-profile?sections=segments")
        assert [segment["segmentId"] for segment in answer.json()["sections"][0]["data"]] == [f"s{number}"]


def plugin_named(tmp_path, name):
    path = tmp_path / "named.py"
    path.write_text(
        f"from portrait import register_profile_section\n@register_profile_section({name!r})\ndef found(ctx):\n"
        "    return []\n"
    )
    return str(path)


@row("section names")
@pytest.mark.parametrize("name", ["a", "loyalty", "a1_b-c", "z" * 64])
def test_a_valid_section_name_is_taken(tmp_path, name):
    assert load((plugin_named(tmp_path, name),), installed=False).names() == [*BUILT_IN, name]


@row("section names")
@pytest.mark.parametrize(
    "name", ["", "1a", "_a", "-a", "A", "aB", "a b", "a.b", "é", "z" * 65, "a\n", "unified-profile", "segments"]
)
def test_an_invalid_section_name_is_refused(tmp_path, name):
    with pytest.raises(PluginRefused):
        load((plugin_named(tmp_path, name),), installed=False)
