"""Requests that the OpenAPI document allows or forbids: no 5xx, and the document describes every answer."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from contract.given import RECORDS
from harness import TENANT, ndjson, portrait, server

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip
HEADERS = {"X-Tenant-Id": TENANT}
MODES = {schemathesis.GenerationMode.POSITIVE: 20, schemathesis.GenerationMode.NEGATIVE: 10}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    database = tmp_path_factory.mktemp("schemathesis") / "portrait.db"
    lines = database.with_name("lines.jsonl")
    lines.write_bytes(ndjson({"customerId": "CUST001", "section": name, "record": RECORDS[name]} for name in RECORDS))
    assert portrait("tenant", "create", TENANT, database=database).returncode == 0
    assert portrait("load", str(lines), "--tenant", TENANT, database=database).returncode == 0
    with server(database, "--auth", "open") as (address, _):
        yield address


def tried(operation, mode, examples):
    """Try examples of an operation; raise the failures, shrunk."""

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case):
        nonlocal count
        count += 1
        # With a made-up tenant, every call would be refused.
        response = case.call(headers=HEADERS)
        case.validate_response(response, checks=CHECKS)

    count = 0
    run()
    return count


@pytest.mark.timeout(200)
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_every_operation_answers_as_described(url, mode):
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    failures, counts = {}, {}
    for result in schema.get_all_operations():
        operation = result.ok()
        try:
            counts[operation.label] = tried(operation, mode, MODES[mode])
        except BaseExceptionGroup as group:
            failures[operation.label] = [str(error) for error in group.exceptions]
        except Unsatisfiable:
            counts[operation.label] = 0  # no wrong request can be made of it
        except Exception as error:  # noqa: BLE001  # each is reported, with its operation
            failures[operation.label] = [f"{type(error).__name__}: {error}"]
    assert "\n".join(f"{label}: {failure}" for label, several in failures.items() for failure in several) == ""
    assert len(counts) >= 34
    assert sum(counts.values()) > 5 * len(counts)
