"""A real server: behaviour that is visible only on the wire."""

import http.client
import json
import signal
import socket
import sys
from urllib.parse import quote, urlsplit

import httpx
import pytest

import harness
from contract.given import RECORDS
from harness import TENANT, command, portrait, server

SEGMENT = RECORDS["segments"]
HEADERS = {"X-Tenant-Id": TENANT}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    database = tmp_path_factory.mktemp("server") / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=database).returncode == 0
    with server(database, "--auth", "open") as (address, _):
        yield address


def ask(url, method, target, body=None, headers=None):
    """Send a request with its target exactly as given; return status, headers, body."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, target, body, {**HEADERS, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def post_record(url, customer_id, section="segments", record=SEGMENT):
    target = f"/api/v1/customers/{customer_id}/{section}"
    return ask(url, "POST", target, json.dumps(record), {"Content-Type": "application/json"})


@pytest.mark.parametrize(
    "name", ["plain", "a/b", "a b", "ü/é😀", "a%2Fb", "?q=1&x#y", "..a", "...", "a/../b", "a;b,c", "+",
             "unified-profile", "é" * 128]
)  # fmt: skip
def test_a_percent_encoded_id_is_that_id(url, name):
    for encoded in (quote(name, safe=""), "".join(f"%{byte:02x}" for byte in name.encode())):
        status, _, body = post_record(url, encoded)
        assert status == 201, body
        status, _, body = ask(url, "GET", f"/api/v1/customers/{encoded}/unified-profile?sections=segments")
        assert status == 200
        assert json.loads(body)["customerId"] == name
        status, _, body = ask(url, "GET", f"/api/v1/customers/{encoded}/segments")
        assert (status, len(json.loads(body)["data"])) == (200, 1)


@pytest.mark.parametrize("name", [".", "..", "%2e", "%2E%2e", "%00", "%0a", "%c2%80", "%ff", "%c3", "a" * 257])
def test_an_id_that_breaks_the_rule_is_refused(url, name):
    for method, target in (("GET", f"{name}/unified-profile"), ("GET", f"{name}/segments")):
        status, headers, body = ask(url, method, f"/api/v1/customers/{target}")
        assert status == 400
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["code"] == "invalid_parameter"


@pytest.mark.parametrize("name", ["", "a/b", "/"])
def test_what_is_no_single_segment_is_no_such_path(url, name):
    status, _, body = ask(url, "GET", f"/api/v1/customers/{name}/unified-profile")
    assert (status, json.loads(body)["code"]) == (404, "route_not_found")


def test_a_key_is_percent_encoded_too(url):
    record = {**SEGMENT, "segmentId": "a/b ü"}
    assert post_record(url, "keyed", record=record)[0] == 201
    target = f"/api/v1/customers/keyed/segments/{quote('a/b ü', safe='')}"
    status, _, body = ask(url, "GET", f"{target}/history")
    assert (status, len(json.loads(body)["data"])) == (200, 1)
    assert ask(url, "DELETE", target)[0] == 204
    assert ask(url, "DELETE", target)[0] == 404


@pytest.mark.parametrize(
    "path", ["/api/v1/customers/headed/unified-profile", "/api/v1/customers/headed/segments", "/api/v1/customers",
             "/docs", "/openapi.json", "/health/live", "/health/ready"]
)  # fmt: skip
def test_head_answers_as_get_without_the_body(url, path):
    post_record(url, "headed")
    got, got_headers, got_body = ask(url, "GET", path)
    headed, headed_headers, headed_body = ask(url, "HEAD", path)
    assert (headed, headed_body) == (got, b"") == (200, b"")
    for name in ("content-type", "content-length", "etag", "cache-control", "vary"):
        assert headed_headers[name] == got_headers[name]
    assert int(got_headers["content-length"]) == len(got_body)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/v1/customers/c1/unified-profile", {"GET", "HEAD"}),
        ("POST", "/api/v1/customers/c1/unified-profile", {"GET", "HEAD"}),
        ("PATCH", "/api/v1/customers/c1/segments", {"GET", "HEAD", "POST"}),
        ("OPTIONS", "/api/v1/customers/c1/segments", {"GET", "HEAD", "POST"}),
        ("GET", "/api/v1/customers/c1/segments/k", {"DELETE"}),
        ("DELETE", "/api/v1/customers/c1/segments/k/history", {"GET", "HEAD"}),
        ("GET", "/api/v1/records", {"POST"}),
        ("TRACE", "/api/v1/records", {"POST"}),
        ("POST", "/docs", {"GET", "HEAD"}),
        ("DELETE", "/openapi.json", {"GET", "HEAD"}),
        ("POST", "/health/live", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_405_with_allow(url, method, path, allowed):
    status, headers, body = ask(url, method, path)
    assert status == 405
    assert {verb.strip() for verb in headers["allow"].split(",")} == allowed
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path", ["/api", "/api/v1/", "/api/v1/customers/", "/api/v1/customers/c1", "/api/v1/customers/c1/nothing",
             "/api/v1/customers/c1/unified-profile/", "/docs/", "//docs", "/DOCS", "/api/v2/customers", "/%2e%2e/docs"]
)  # fmt: skip
def test_another_path_is_a_404_problem(url, path):
    status, headers, body = ask(url, "GET", path)
    assert status == 404
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["code"] == "route_not_found"


def test_requests_in_flight_are_finished_when_the_server_stops(tmp_path):
    database = tmp_path / "portrait.db"
    portrait("tenant", "create", TENANT, database=database)
    body = json.dumps([{**SEGMENT, "segmentId": f"s{number}"} for number in range(50)]).encode()
    head = (
        f"POST /api/v1/customers/c1/segments HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Tenant-Id: {TENANT}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with server(database, "--auth", "open") as (address, process):
        endpoint = urlsplit(address)
        streams = [socket.create_connection((endpoint.hostname, endpoint.port), timeout=20) for _ in range(8)]
        for stream in streams:
            stream.sendall(head + body[:100])
        # An answer on another connection shows that the server has read the bytes sent before.
        assert httpx.get(f"{address}/health/ready").status_code == 200
        process.send_signal(signal.SIGTERM)
        while True:
            try:
                socket.create_connection((endpoint.hostname, endpoint.port), timeout=1).close()
            except OSError:
                break
        for stream in streams:
            stream.sendall(body[100:])
        for stream in streams:
            answer = http.client.HTTPResponse(stream)
            answer.begin()
            assert answer.status == 201
            outcome = json.loads(answer.read())
            assert outcome["recorded"] + outcome["duplicates"] == 50
            answer.close()
            stream.close()
        assert process.wait(20) in {0, -signal.SIGTERM}
    completed = portrait("show", "c1", "--tenant", TENANT, "--sections", "segments", "--json", database=database)
    assert len(json.loads(completed.stdout)["sections"][0]["data"]) == 50


STOPS_SOON = "from portrait.cli import main, serve; serve.STOP_SECONDS = 1; main()"


def test_an_endless_request_does_not_keep_a_stopping_server(tmp_path, monkeypatch):
    database = tmp_path / "portrait.db"
    portrait("tenant", "create", TENANT, database=database)
    monkeypatch.setattr(
        harness, "command", lambda *words, **where: [sys.executable, "-c", STOPS_SOON, *command(*words, **where)[3:]]
    )
    head = (
        f"POST /api/v1/customers/c1/segments HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Tenant-Id: {TENANT}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    ).encode()
    with server(database, "--auth", "open") as (address, process):
        endpoint = urlsplit(address)
        with socket.create_connection((endpoint.hostname, endpoint.port), timeout=20) as stream:
            stream.sendall(head + b"{")
            assert httpx.get(f"{address}/health/ready").status_code == 200
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(20) in {0, -signal.SIGTERM}
            finally:
                process.kill()
