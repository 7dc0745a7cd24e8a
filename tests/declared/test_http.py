"""Sources over HTTP: whatever the other side does, the section says so and the rest of the profile is whole."""

import asyncio
import gzip
import json
import time
from urllib.parse import quote

import pytest

from declared.conftest import code_of, data_of, section_of
from declared.servers import answer, raw_server
from harness import TENANT

PARCELS = {"parcels": [{"id": "p1", "state": "on its way", "extra": 1}, {"id": "p2", "state": None}]}
RECORDS = 'records = "$.parcels[*]"\nfields = { id = "$.id", status = "$.state" }'
SMALL = "max_bytes = 10000"
BOMB = gzip.compress(b"[" + b" " * 200_000 + b"]")
"""Some hundred bytes that inflate to 200 KB."""


async def hangs(reader, writer):
    await asyncio.sleep(30)


async def half_a_head(reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    await asyncio.sleep(30)


async def half_a_body(reader, writer):
    writer.write(answer(b"[" + b" " * 100)[:-50])
    await writer.drain()
    await asyncio.sleep(30)


async def trickles(reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(300):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


async def closes(reader, writer):
    writer.close()


async def closes_in_the_body(reader, writer):
    writer.write(answer(b"[" + b" " * 100)[:-50])
    await writer.drain()
    writer.close()


BROKEN = {
    "fails": (answer(b"no", "500 Internal Server Error"), "source_failed", "status 500"),
    "is busy": (answer(b"", "503 Service Unavailable"), "source_failed", "status 503"),
    "asks for a login": (answer(b"", "401 Unauthorized"), "source_failed", "status 401"),
    "has nothing": (answer(b"", "204 No Content"), "source_failed", "status 204"),
    "speaks something else": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "source_failed", "does not speak HTTP"),
    "closes": (closes, "source_failed", "ended the connection"),
    "closes in the body": (closes_in_the_body, "source_failed", "ended the connection"),
    "answers a page": (answer(b"<html></html>"), "source_failed", "cannot be shown"),
    "answers nothing": (answer(b""), "source_failed", "cannot be shown"),
    "answers half": (answer(b'{"parcels": ['), "source_failed", "cannot be shown"),
    "answers NaN": (answer(b"[NaN]"), "source_failed", "cannot be shown"),
    "answers no UTF-8": (answer(b'["\xff"]'), "source_failed", "cannot be shown"),
    "answers deeply": (answer(b"[" * 4_000 + b"]" * 4_000), "source_failed", "cannot be shown"),
    "answers numbers beyond 64 bit": (answer(b"[123456789012345678901234567890]"), "source_failed", "cannot be"),
    "is too large": (answer(b"[" + b" " * 20_000 + b"]"), "source_failed", "too large"),
    "inflates": (answer(BOMB, headers=["Content-Encoding: gzip"]), "source_failed", "too large"),
    "says gzip and is none": (answer(b"[]", headers=["Content-Encoding: gzip"]), "source_failed", "cannot be shown"),
    "is half a gzip": (
        answer(gzip.compress(b"[]")[:-4], headers=["Content-Encoding: gzip"]),
        "source_failed",
        "cannot",
    ),
    "is encoded otherwise": (answer(b"[]", headers=["Content-Encoding: br"]), "source_failed", "cannot be shown"),
    "has a long head": (answer(b"[]", headers=["X-Long: " + "x" * 200_000]), "source_failed", "does not speak HTTP"),
    "hangs": (hangs, "deadline_exceeded", "0.3 seconds"),
    "hangs in the head": (half_a_head, "deadline_exceeded", "0.3 seconds"),
    "hangs in the body": (half_a_body, "deadline_exceeded", "0.3 seconds"),
    "trickles": (trickles, "deadline_exceeded", "0.3 seconds"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_source_that_does_not_answer_well_says_so_and_the_rest_is_whole(over_http, caplog, kind):
    answers, code, words = BROKEN[kind]
    hanging = code == "deadline_exceeded"
    timeout = 0.3 if hanging else 3
    async with raw_server(answers) as server, over_http(server.url, timeout=timeout, http=SMALL) as running:
        started = time.perf_counter()
        failed = await code_of(running)
        took = time.perf_counter() - started
    assert failed[0] == code
    assert words in failed[1]
    assert took < (1.5 if hanging else 3)
    assert "section parcels " in caplog.text
    assert "Traceback" not in caplog.text, "what a source does is no defect of the service"


async def test_a_source_that_nobody_serves_says_so(over_http):
    async with raw_server(b"") as server:
        pass
    async with over_http(server.url) as running:
        assert await code_of(running) == ("source_failed", "The source cannot be reached.")


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 x", "308 x", "304 x"])
async def test_a_redirect_is_a_failure_and_is_not_followed(over_http, status):
    async with raw_server(answer([{"stolen": True}])) as target:
        redirect = answer(b"", status, [f"Location: {target.url}/elsewhere", "Set-Cookie: a=b"])
        async with raw_server(redirect) as server, over_http(server.url) as running:
            for _ in range(2):
                code, detail = await code_of(running)
                assert (code, detail) == ("source_failed", "The source redirects, and redirects are not followed.")
            assert len(server.requests) == 2
            assert "ookie" not in server.requests[1], "no cookie is kept"
        assert target.requests == []


async def test_records_and_their_fields_are_shown(over_http):
    async with raw_server(answer(PARCELS)) as server, over_http(server.url, http=RECORDS) as running:
        part = await section_of(running)
        assert part == {
            "name": "parcels",
            "data": [{"id": "p1", "status": "on its way"}, {"id": "p2", "status": None}],
        }
        assert server.targets == [f"/c1/parcels?tenant={TENANT}"]
        head = server.requests[0].lower()
        assert f"host: 127.0.0.1:{server.port}\r\n" in head
        assert "accept: application/json\r\n" in head


async def test_an_answer_may_be_inflated_within_its_limit(over_http):
    body = gzip.compress(json.dumps([1] * 100).encode())
    zipped = answer(body, headers=["Content-Encoding: gzip"])
    async with raw_server(zipped) as server, over_http(server.url) as running:
        assert (await section_of(running))["data"] == [1] * 100


@pytest.mark.parametrize(("body", "data"), [([1, 2], [1, 2]), ({"a": 1}, [{"a": 1}]), ([], []), ("x", ["x"])])
async def test_without_a_path_the_answer_is_the_list_or_the_record(over_http, body, data):
    async with raw_server(answer(body)) as server, over_http(server.url) as running:
        assert (await section_of(running))["data"] == data


@pytest.mark.parametrize(
    ("http", "body", "words"),
    [
        (RECORDS, {"error": "nobody knows"}, "no 'parcels'"),
        (RECORDS, {"parcels": "none"}, "no list"),
        (RECORDS, {"parcels": ["p1"]}, "no object"),
        (RECORDS, [1], "no 'parcels'"),
        ('records = "$[3]"', [1], "no 3"),
    ],
)
async def test_an_answer_of_another_form_is_a_failure(over_http, caplog, http, body, words):
    async with raw_server(answer(body)) as server, over_http(server.url, http=http) as running:
        assert (await code_of(running))[0] == "source_failed"
    assert words in caplog.text
    assert "nobody knows" not in caplog.text


async def test_an_unknown_customer_is_an_empty_section_unless_that_is_a_failure(over_http):
    missing = answer({"message": "no such customer"}, "404 Not Found")
    async with raw_server(missing) as server, over_http(server.url) as running:
        for _ in range(3):
            assert await section_of(running) == {"name": "parcels", "data": []}
        assert server.connections == 1, "the connection is used again"


async def test_an_unknown_customer_may_be_a_failure(over_http):
    missing, http = answer(b"", "404 Not Found"), 'not_found = "failure"'
    async with raw_server(missing) as server, over_http(server.url, http=http) as running:
        assert await code_of(running) == ("source_failed", "The source answered with status 404.")


async def test_connections_are_kept_and_closed_with_the_section(over_http):
    async with raw_server(answer([1])) as server:
        async with over_http(server.url) as running:
            for _ in range(5):
                assert (await section_of(running))["data"] == [1]
            assert (server.connections, len(server.requests)) == (1, 5)
            source = running.services.registry.get("parcels").function.__self__
            assert len(source._pools) == 1
        for _ in range(100):
            if not source._pools:
                break
            await asyncio.sleep(0.02)
        assert source._pools == {}


async def test_customers_ids_arrive_as_one_value_whatever_they_hold(over_http):
    hostile = [
        "a/b",
        "a?b=c",
        "a#b",
        "a%2Fb",
        "..;",
        "%2e%2e",
        "a b",
        "Ω/é",
        "a&tenant=other",
        "a\\b",
        "{tenant_id}",
        "'",
        '"',
    ]
    async with raw_server(answer([])) as server, over_http(server.url) as running:
        for customer in hostile:
            assert await data_of(running, "parcels", customer) == []
        assert server.targets == [f"/{quote(customer, safe='')}/parcels?tenant={TENANT}" for customer in hostile]
        assert all(target.count("/") == 2 and target.count("?") == 1 for target in server.targets)


async def test_proxies_of_the_environment_are_not_used(over_http, monkeypatch):
    async with raw_server(answer([{"from": "proxy"}])) as proxy, raw_server(answer([1])) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with over_http(server.url) as running:
            assert (await section_of(running))["data"] == [1]
        assert proxy.requests == []


async def test_roles_default_and_cache_are_as_of_any_computed_section(over_http):
    more = 'roles = ["admin"]\ndefault = false\ncache_seconds = 60'
    async with raw_server(answer([1])) as server, over_http(server.url, more=more) as running:
        shown = [section["name"] for section in (await running.profile()).json()["sections"]]
        assert "parcels" not in shown
        assert [await running.section("parcels") for _ in range(3)] == [[1]] * 3
        assert len(server.requests) == 1
        listed = (await running.client.get("/openapi.json")).text
        assert '"const":"parcels"' in listed.replace(" ", "")
        assert "127.0.0.1" not in listed


async def test_a_breaker_leaves_a_failing_source_alone(over_http):
    more = "[sections.parcels.breaker]\nfailures = 2\nseconds = 0.4"
    async with raw_server(answer(b"", "500 x")) as server, over_http(server.url, more=more) as running:
        codes = [(await code_of(running))[0] for _ in range(4)]
        assert codes == ["source_failed"] * 2 + ["circuit_open"] * 2
        assert len(server.requests) == 2
        server.answers = answer([1])
        await asyncio.sleep(0.45)
        assert (await section_of(running))["data"] == [1]


async def test_a_source_is_for_its_tenants_alone(over_http):
    more = 'tenants = ["somebody"]'
    async with raw_server(answer([1])) as server, over_http(server.url, more=more) as running:
        assert await section_of(running) == {"name": "parcels", "data": []}
        assert server.requests == []


async def test_an_identifier_is_sent_and_without_one_nothing_is_asked(over_http):
    async with raw_server(answer([1])) as server:
        url = f"{server.url}/by?mail={{email}}&tenant={{tenant_id}}"
        async with over_http(url) as running:
            assert await section_of(running) == {"name": "parcels", "data": []}
            assert server.requests == []
            await running.recorded("identities", {"type": "email", "value": "a+b@example.com"})
            running.clock.advance(1)
            await running.recorded("identities", {"type": "email", "value": "z@example.com"})
            running.clock.advance(1)
            assert (await section_of(running))["data"] == [1]
            assert server.targets == [f"/by?mail=a%2Bb%40example.com&tenant={TENANT}"]
