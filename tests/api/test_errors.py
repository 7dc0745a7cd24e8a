"""Errors: one table, one shape, and never a word of the request in them."""

import inspect
import json
import re
import uuid

import pytest

from portrait.api import errors as api_errors
from portrait.model import errors

CANARY = "canary4711"
NDJSON = "application/x-ndjson"


def made(kind):
    """Return an error of a kind."""
    if kind is errors.MethodNotAllowed:
        return kind("No.", allowed=("GET", "HEAD"))
    if kind is errors.TooManyEvents:
        return kind("No.", retry_after=7)
    takes_words = "detail" in inspect.signature(kind).parameters
    return kind("No.") if takes_words else kind()


def test_every_error_of_the_tree_has_a_status_and_nothing_else_has():
    assert set(api_errors.STATUSES) == set(api_errors.tree())
    assert all(400 <= status < 600 and title for status, title in api_errors.STATUSES.values())


def test_codes_are_unique_and_plain():
    codes = [kind.code for kind in api_errors.tree()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("kind", api_errors.tree(), ids=lambda kind: kind.__name__)
def test_every_error_is_a_problem_of_the_same_shape(kind):
    request_id = api_errors.new_request_id()
    status, headers, body = api_errors.problem(made(kind), request_id)
    problem = json.loads(body)
    assert list(problem) == ["type", "title", "status", "detail", "instance", "code"]
    assert problem["status"] == status == api_errors.STATUSES[kind][0]
    assert problem["title"] == api_errors.STATUSES[kind][1]
    assert problem["code"] == kind.code
    assert problem["instance"] == f"urn:uuid:{request_id}"
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert ("www-authenticate" in headers) == (status == 401)
    assert ("retry-after" in headers) == (status in {429, 503})
    assert ("allow" in headers) == (status == 405)


async def test_the_type_of_every_problem_leads_to_its_description(running):
    page = (await running.client.get("/docs")).text
    for kind in api_errors.tree():
        problem = json.loads(api_errors.problem(made(kind), "")[2])
        path, _, anchor = problem["type"].partition("#")
        assert path == "/docs"
        assert f'id="{anchor}"' in page


async def test_every_answer_names_the_request_and_a_problem_names_the_same(running):
    seen = set()
    for method, path in (
        ("GET", "/health/live"), ("GET", "/nowhere"), ("GET", "/api/v1/customers/nobody/unified-profile"),
        ("PATCH", "/docs"), ("POST", "/api/v1/customers/c1/segments"), ("GET", "/openapi.json"),
    ):  # fmt: skip
        answer = await running.client.request(method, path)
        request_id = answer.headers["x-request-id"]
        assert str(uuid.UUID(request_id)) == request_id
        seen.add(request_id)
        if answer.status_code >= 400:
            assert answer.json()["instance"] == f"urn:uuid:{request_id}"
    assert len(seen) == 6


async def test_what_nobody_foresaw_is_a_problem_without_its_words(running, monkeypatch):
    async def fail(*_):
        raise ZeroDivisionError(CANARY)

    for read in ("documents", "hashes"):
        monkeypatch.setattr(running.services.store, read, fail)
    for answer in (await running.profile(), await running.client.get("/api/v1/customers/c1/segments")):
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == api_errors.INTERNAL.code
        assert CANARY not in answer.text


def bodies(operation):
    """Yield media types and bodies: the canary at every place of a value, and in bodies that are no JSON."""
    for kind, example in operation.body.examples.items():
        yield kind, CANARY.encode()
        yield kind, f'"{CANARY}'.encode()
        yield kind, f'["{CANARY}", "{CANARY}\\u0000"]'.encode()
        yield f"{kind}; charset={CANARY}", b"{}"
        yield f"application/{CANARY}", b"{}"
        value = json.loads(example) if isinstance(example, str) else example
        for changed in canaries(value):
            text = json.dumps(changed).encode()
            yield kind, text
            yield kind, text + b"," + text
            yield kind, text.replace(CANARY.encode(), CANARY.encode() + b"\\ud800")
            yield kind, text.replace(CANARY.encode(), CANARY.encode() + b"\xff")


def canaries(value):
    """Yield copies of a value: in each, the canary replaces one part, or stands in a name that is no word."""
    yield CANARY
    if isinstance(value, dict):
        yield {**value, f"{CANARY} {CANARY}": 1}
        for name, part in value.items():
            for changed in canaries(part):
                yield {**value, name: changed}
            yield {**value, name: [CANARY]}
            yield {**value, name: {f"{CANARY} of": CANARY}}
    elif isinstance(value, list):
        for index, part in enumerate(value):
            for changed in canaries(part):
                yield [*value[:index], changed, *value[index + 1 :]]


def requests(operation):
    """Yield requests to an operation, with the canary at every place of a request."""
    path = re.sub(r"\{\w+\}", CANARY, operation.path)
    yield path, {}
    yield re.sub(r"\{\w+\}", f"{CANARY}%0A", operation.path), {}
    yield re.sub(r"\{\w+\}", f"{CANARY}%FF", operation.path), {}
    yield re.sub(r"\{\w+\}", CANARY * 30, operation.path), {}
    yield f"{path}/{CANARY}", {}
    for name in ("sections", "limit", "cursor", CANARY):
        yield path, {"params": {name: CANARY}}
        yield f"{path}?{name}={CANARY}%FF", {}
    for name in ("X-Tenant-Id", "Authorization", "X-API-Key", "If-None-Match", "Content-Encoding", "Content-Length"):
        yield path, {"headers": {name: CANARY}}
    if operation.body is not None:
        for kind, body in bodies(operation):
            yield path, {"content": body, "headers": {"Content-Type": kind}}


@pytest.mark.parametrize("mode", ["open", "keys"])
async def test_no_error_and_no_log_echoes_a_value_of_the_request(mode, running, operations, caplog):
    running.services.access._mode = mode
    caplog.set_level("DEBUG")
    refused = 0
    for operation in operations(running):
        for path, options in requests(operation):
            answer = await running.client.request(operation.method, path, **options)
            assert answer.status_code < 500, (operation.id, options)
            if answer.status_code >= 400:
                refused += 1
                assert CANARY not in answer.text, (operation.id, options)
                assert not any(CANARY in value for value in answer.headers.values())
            elif operation.id == "record_bulk":
                assert CANARY not in answer.text, options
    assert refused > 500
    assert not [
        record for record in caplog.records if record.name.startswith("portrait") and CANARY in record.getMessage()
    ]
