"""The OpenAPI document and the page made from it: whole, valid, and true."""

import json
import re
from html import unescape

import jsonschema_rs
import pytest

from contract.given import NAMES, PREFERENCE, RECORDS

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
    found = document
    for name in reference[2:].split("/"):
        found = found[name.replace("~1", "/").replace("~0", "~")]
    return found


async def test_the_document_has_the_structure_of_openapi_3_1(document):
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"]
    assert document["info"]["version"]
    tags = {one["name"] for one in document["tags"]}
    for path, method, operation in described(document):
        assert path.startswith("/")
        assert method in METHODS
        assert operation["summary"]
        assert set(operation["tags"]) <= tags
        named = [(one["name"], one["in"]) for one in operation["parameters"]]
        assert len(named) == len(set(named))
        assert {name for name, where in named if where == "path"} == set(re.findall(r"\{(\w+)\}", path))
        for one in operation["parameters"]:
            assert one["in"] in {"path", "query", "header", "cookie"}
            assert one["required"] is True or one["in"] != "path"
            assert one["schema"]
        assert any(status.startswith("2") for status in operation["responses"])
        for status, answer in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d", status)
            assert answer["description"]
        for requirement in operation.get("security", []):
            assert requirement.keys() <= document["components"]["securitySchemes"].keys()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in document["components"]["schemas"])


async def test_every_reference_resolves_and_every_schema_is_one(document):
    references = [one["$ref"] for one in parts(document) if isinstance(one.get("$ref"), str)]
    assert references
    for reference in references:
        assert resolved(document, reference)
    for schema in [one["schema"] for one in parts(document) if isinstance(one.get("schema"), dict)]:
        assert validator(document, schema)


async def test_operation_ids_are_unique_and_every_operation_is_described(document, extended, operations):
    ids = [operation["operationId"] for _, _, operation in described(document)]
    assert len(ids) == len(set(ids))
    assert {(path, method.upper()) for path, method, _ in described(document)} == {
        (one.path, one.method) for one in operations(extended)
    }


async def test_every_example_keeps_its_schema(document):
    checked = 0
    for one in parts(document):
        if "example" in one and isinstance(one.get("schema"), dict):
            errors = [error.message for error in validator(document, one["schema"]).iter_errors(one["example"])]
            assert errors == [], one["example"]
            checked += 1
    for schema in document["components"]["schemas"].values():
        for one in parts(schema):
            for example in one.get("examples", ()) if isinstance(one.get("examples"), list) else ():
                assert validator(document, one).is_valid(example), (one, example)
                checked += 1
    assert checked > 50


def test_the_validation_of_examples_finds_a_bad_one():
    bad = {"type": "string", "format": "date-time"}
    assert not validator({"components": {}}, bad).is_valid("yesterday")


async def test_a_plugins_sections_appear(document):
    paths = {path for path in document["paths"] if "/tickets" in path}
    base = "/api/v1/customers/{customerId}/tickets"
    assert paths == {base, f"{base}/{{key}}", f"{base}/{{key}}/history"}
    assert not any("/loyalty" in path for path in document["paths"])
    profile = document["paths"]["/api/v1/customers/{customerId}/unified-profile"]["get"]
    schema = profile["responses"]["200"]["content"]["application/json"]["schema"]
    text = json.dumps(schema)
    for name in (*NAMES, "tickets", "loyalty", "broken"):
        assert f'"const": "{name}"' in text
        assert name in next(one["description"] for one in profile["parameters"] if one["name"] == "sections")
    lines = document["paths"]["/api/v1/records"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = validator(document, lines)
    for name in (*NAMES, "tickets", "guarded"):
        assert schema.is_valid([{"customerId": "c1", "section": name, "record": {}}])
    assert not schema.is_valid([{"customerId": "c1", "record": {}}])


async def test_real_answers_keep_their_schemas(document, extended):
    for name, record in RECORDS.items():
        await extended.told(name, record)
    await extended.told("interactions", {**RECORDS["interactions"], "id": "more", "price": 1})
    await extended.told("consent", PREFERENCE)
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
async def test_what_the_service_takes_keeps_the_bodys_schema_and_the_other_way(
    document, extended, section, record, form
):
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
    assert re.findall(r"https?://|(?:src|href|action)\s*=\s*[\"']?//|@import|url\(", page) == []
    assert "<script" not in page
    for path, method, operation in described(document):
        assert f'<section id="{operation["operationId"]}">' in page
        assert f'href="#{operation["operationId"]}"' in page
        assert f'<span class="verb">{method.upper()}</span> <code>{path}</code>' in page
        assert operation["summary"] in unescape(page)
    for target in set(re.findall(r'href="#([^"]+)"', page)):
        assert f'id="{target}"' in page
