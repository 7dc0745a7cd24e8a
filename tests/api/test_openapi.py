"""The OpenAPI document and the page made from it: whole, valid, and true."""

import re
from html import unescape

import jsonschema_rs
import pytest

from contract.given import NAMES, PREFERENCE, RECORDS
from harness import service

METHODS = {"get", "post", "put", "patch", "delete", "head", "options", "trace"}


@pytest.fixture
async def document(extended):
    answer = await extended.client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def described(document):
    """Yield every operation with its path and method."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def parts(value):
    """Yield every object inside a JSON value."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(part)


def validator(document, schema):
    whole = {**schema, "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def resolved(document, reference):
    assert reference.startswith("#/")
    part = document
    for name in reference[2:].split("/"):
        part = part[name.replace("~1", "/").replace("~0", "~")]
    return part


async def test_the_document_has_the_structure_of_openapi_3_1(document):
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"]
    assert document["info"]["version"]
    tags = {tag["name"] for tag in document["tags"]}
    for path, method, operation in described(document):
        assert path.startswith("/")
        assert method in METHODS
        assert operation["summary"]
        assert set(operation["tags"]) <= tags
        named = [(parameter["name"], parameter["in"]) for parameter in operation["parameters"]]
        assert len(named) == len(set(named))
        assert {name for name, where in named if where == "path"} == set(re.findall(r"\{(\w+)\}", path))
        for parameter in operation["parameters"]:
            assert parameter["in"] in {"path", "query", "header", "cookie"}
            assert parameter["required"] is True or parameter["in"] != "path"
            assert parameter["schema"]
        assert any(status.startswith("2") for status in operation["responses"])
        for status, answer in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d", status)
            assert answer["description"]
        for requirement in operation.get("security", []):
            assert requirement.keys() <= document["components"]["securitySchemes"].keys()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in document["components"]["schemas"])


async def test_every_reference_resolves_and_every_schema_is_valid(document):
    references = [part["$ref"] for part in parts(document) if isinstance(part.get("$ref"), str)]
    assert references
    for reference in references:
        assert resolved(document, reference)
    for schema in [part["schema"] for part in parts(document) if isinstance(part.get("schema"), dict)]:
        assert validator(document, schema)


async def test_operation_ids_are_unique_and_every_operation_is_described(document, extended, operations):
    ids = [operation["operationId"] for _, _, operation in described(document)]
    assert len(ids) == len(set(ids))
    assert {(path, method.upper()) for path, method, _ in described(document)} == {
        (operation.path, operation.method) for operation in operations(extended)
    }


async def test_every_example_keeps_its_schema(document):
    checked = 0
    for part in parts(document):
        if isinstance(part.get("schema"), dict):
            examples = [part[name] for name in ("example",) if name in part]
            examples += [named["value"] for named in part.get("examples", {}).values()]
            for example in examples:
                errors = [error.message for error in validator(document, part["schema"]).iter_errors(example)]
                assert errors == [], example
                checked += 1
    for schema in document["components"]["schemas"].values():
        for part in parts(schema):
            for example in part.get("examples", ()) if isinstance(part.get("examples"), list) else ():
                assert validator(document, part).is_valid(example), (part, example)
                checked += 1
    assert checked > 50


def sections_of(document):
    """Return the schemas of the sections in a unified profile, by the section's name."""
    items = document["components"]["schemas"]["UnifiedProfile"]["properties"]["sections"]["items"]
    sections = [resolved(document, variant["$ref"]) for variant in items["oneOf"]]
    return {schema["properties"]["name"]["const"]: schema for schema in sections}


async def test_one_profile_and_several_speak_of_one_schema(document):
    profile = {"$ref": "#/components/schemas/UnifiedProfile"}
    read = document["paths"]["/api/v1/customers/{customerId}/unified-profile"]["get"]
    lookup = document["paths"]["/api/v1/unified-profile"]["post"]
    assert answered(read) == profile
    assert profile in answered(lookup)["anyOf"]
    assert document["components"]["schemas"]["Found"]["properties"]["profile"] == profile


def answered(operation, status="200"):
    return operation["responses"][status]["content"]["application/json"]["schema"]


async def test_generators_find_names_of_no_module_and_no_default_and_no_object_without_fields(document):
    components = document["components"]["schemas"]
    assert {name: schema["title"] for name, schema in components.items()} == {name: name for name in components}
    assert all(re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) for name in components)
    for schema in components.values():
        for part in parts(schema):
            assert "default" not in part
            assert part.get("type") != "object" or {"properties", "additionalProperties"} & part.keys()
    for _, _, operation in described(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for part in parts([content["schema"] for body in bodies for content in body.get("content", {}).values()]):
            assert part.get("type") != "object" or {"properties", "additionalProperties"} & part.keys()


async def test_answers_have_every_field_that_bodies_may_leave_out(document):
    """Except fields without a default, which are there only if they have a value."""
    components = document["components"]["schemas"]
    assert components["NewConsent"]["required"] == ["kind", "purpose", "status"]
    assert set(components["Consent"]["required"]) == set(components["Consent"]["properties"])
    optional = set(components["Interaction"]["properties"]) - set(components["Interaction"]["required"])
    assert optional == {"properties"}
    taken = document["paths"]["/api/v1/customers/{customerId}/consent"]["post"]["requestBody"]
    assert {"$ref": "#/components/schemas/NewConsent"} in parts_of(taken)
    assert {"$ref": "#/components/schemas/Consent"} not in parts_of(taken)
    assert not any(f"New{name}" in components for name in ("Segment", "Assignment")), "they are the same in both"


def parts_of(value):
    return [*parts(value)]


SAME_NAMES = """
from typing import Annotated
from portrait import Record, Text, impersonal, register_profile_section


@register_profile_section("a-b", key=("key",))
class Problem(Record, frozen=True):
    key: Annotated[Text, impersonal]


@register_profile_section("a_b", key=("key",))
class UnifiedProfile(Record, frozen=True):
    key: Annotated[Text, impersonal]
    more: Annotated[str | None, impersonal] = None


@register_profile_section("c", key=("key",))
class NewIdentity(Record, frozen=True):
    key: Annotated[Text, impersonal]


@register_profile_section("d", key=("key",))
class Consent(Record, frozen=True):
    key: Annotated[Text, impersonal]
"""


async def test_a_plugins_names_that_are_taken_get_a_number(tmp_path):
    (tmp_path / "same.py").write_text(SAME_NAMES)
    async with service(tmp_path, plugins=(str(tmp_path / "same.py"),)) as running:
        document = (await running.client.get("/openapi.json")).json()
        record = {"key": "k", "more": None}
        await running.recorded("a_b", record)
        answer = (await running.profile(sections="a_b")).json()
    sections = sections_of(document)
    names = [
        sections[name]["properties"]["data"]["items"]["$ref"].rpartition("/")[2] for name in ("a-b", "a_b", "c", "d")
    ]
    assert names == ["Problem2", "UnifiedProfile2", "NewIdentity2", "Consent2"]
    profile = document["paths"]["/api/v1/customers/{customerId}/unified-profile"]["get"]
    assert [error.message for error in validator(document, answered(profile)).iter_errors(answer)] == []
    assert answer["sections"] == [{"name": "a_b", "data": [record]}]


def test_the_validation_of_examples_finds_a_bad_example():
    bad = {"type": "string", "format": "date-time"}
    assert not validator({"components": {}}, bad).is_valid("yesterday")


async def test_a_plugins_sections_appear(document):
    paths = {path for path in document["paths"] if "/tickets" in path}
    base = "/api/v1/customers/{customerId}/tickets"
    assert paths == {base, f"{base}/{{key}}", f"{base}/{{key}}/history"}
    assert not any("/loyalty" in path for path in document["paths"])
    profile = document["paths"]["/api/v1/customers/{customerId}/unified-profile"]["get"]
    sections = sections_of(document)
    for name in (*NAMES, "tickets", "loyalty", "broken"):
        assert name in sections
        assert name in next(
            parameter["description"] for parameter in profile["parameters"] if parameter["name"] == "sections"
        )
    lines = document["paths"]["/api/v1/records"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = validator(document, lines)
    for name in (*NAMES, "tickets", "guarded"):
        assert schema.is_valid([{"customerId": "c1", "section": name, "record": {}}])
    assert not schema.is_valid([{"customerId": "c1", "record": {}}])


async def test_real_answers_keep_their_schemas(document, extended):
    for name, record in RECORDS.items():
        await extended.recorded(name, record)
    await extended.recorded("interactions", {**RECORDS["interactions"], "id": "more", "price": 1})
    await extended.recorded("consent", PREFERENCE)
    extended.clock.advance(1)
    profile = document["paths"]["/api/v1/customers/{customerId}/unified-profile"]["get"]
    schema = validator(document, profile["responses"]["200"]["content"]["application/json"]["schema"])
    for sections in (None, "segments,broken,slow,loyalty"):
        answer = (await extended.profile(sections=sections)).json()
        assert [error.message for error in schema.iter_errors(answer)] == []
    assert not schema.is_valid({**answer, "surprise": 1})
    for name in RECORDS:
        operation = document["paths"][f"/api/v1/customers/{{customerId}}/{name}"]["get"]
        schema = validator(document, operation["responses"]["200"]["content"]["application/json"]["schema"])
        page = await extended.listed(name)
        assert page["data"]
        assert [error.message for error in schema.iter_errors(page)] == []


TAKEN = [
    *RECORDS.items(),
    ("consent", PREFERENCE),
    ("interactions", {**RECORDS["interactions"], "price": 9.5}),
    ("interactions", {**RECORDS["interactions"], "properties": {"price": 9.5}}),
]


@pytest.mark.parametrize("form", ["record", "array", "envelope", "unset"])
@pytest.mark.parametrize(("section", "record"), TAKEN)
async def test_a_body_that_the_service_takes_keeps_its_schema(document, extended, section, record, form):
    forms = {
        "record": record,
        "array": [record],
        "envelope": {"record": record, "effectiveAt": "2026-05-01T00:00:00Z", "source": "crm"},
        "unset": {"record": record, "effectiveAt": None, "source": None},
    }
    operation = document["paths"][f"/api/v1/customers/{{customerId}}/{section}"]["post"]
    schema = validator(document, operation["requestBody"]["content"]["application/json"]["schema"])
    answer = await extended.record(section, forms[form])
    assert (answer.status_code, schema.is_valid(forms[form])) == (201, True)


async def test_the_page_holds_every_operation_and_no_address_outside_the_server(document, extended):
    answer = await extended.client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    page = page.replace("http://127.0.0.1:8080", "")
    assert re.findall(r"https?://|(?:src|href|action)\s*=\s*[\"']?//|@import|url\(", page) == []
    assert "<script" not in page
    for path, method, operation in described(document):
        assert f'<section id="{operation["operationId"]}">' in page
        assert f'href="#{operation["operationId"]}"' in page
        assert f'<span class="verb">{method.upper()}</span> <code>{path}</code>' in page
        assert operation["summary"] in unescape(page)
    for target in set(re.findall(r'href="#([^"]+)"', page)):
        assert f'id="{target}"' in page
