"""Bad input: refused as a whole, fast, in little memory, with the place of the fault named."""

import json
import re
import socket
import statistics
import threading
import time as clock
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from contract.given import RECORDS
from harness import TENANT, portrait, server

MIB = 2**20
JSON, NDJSON = "application/json", "application/x-ndjson"
SEGMENT = json.dumps(RECORDS["segments"]).encode()
HEAD, TAIL = b'{"kind":"preference","key":"k","value":', b"}"

VALUES = {
    "raw NUL": b'"a\x00b"',
    "escaped NUL": b'"a\\u0000b"',
    "NUL in a name": b'{"a\\u0000":1}',
    "lone high surrogate": b'"\\ud800"',
    "lone low surrogate": b'"a\\udc00b"',
    "surrogates in the wrong order": b'"\\udc00\\ud800"',
    "integer of 2^63": b"9223372036854775808",
    "integer of 2^64": b"18446744073709551616",
    "integer below -2^63": b"-9223372036854775809",
    "integer of 5,000 digits": b"1" * 5000,
    "deep integer": b'{"a":[1,{"b":99999999999999999999}]}',
    "a key twice": b'{"a":1,"a":2}',
    "a key twice, spelled otherwise": b'{"a":1,"\\u0061":2}',
    "a key twice, further in": b'[{"a":[{"b":1},{"c":{"d":1,"e":2,"d":1}}]}]',
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"[-Infinity]",
    "number out of range": b"1e999",
    "depth of 65": b"[" * 64 + b"1" + b"]" * 64,
    "depth of 10,000": b"[" * 10_000 + b"]" * 10_000,
    "depth of 10,000 of objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "open depth": b"[" * 10_000,
    "not UTF-8": b'"a\xffb"',
    "overlong UTF-8": b'"\xc0\x80"',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "control character": b'"a\x01b"',
    "line feed in a text": b'"a\nb"',
    "single quotes": b"'a'",
    "comma at the end": b"[1,]",
    "bad escape": b'"\\x41"',
    "leading zero": b"01",
    "comment": b"1 /* one */",
    "two values": b"1 2",
    "nothing": b"",
}
"""What no value of a record may be."""
BODIES = {
    "empty": b"",
    "white space": b" \n ",
    "UTF-16": SEGMENT.decode().encode("utf-16"),
    "cut off": SEGMENT[:-1],
    "followed by more": SEGMENT + b"x",
    "two records": SEGMENT + b"\n" + SEGMENT,
    "unclosed array": b"[" + SEGMENT,
    "array with a hole": b"[" + SEGMENT + b",," + SEGMENT + b"]",
    "form": b"segmentId=a&segmentName=b",
    "XML": b"<segment/>",
}
WRONG_THINGS = [b"[1]", b"[null]", b'["text"]', b"[[]]", b"[true]", b"[{}]", b"[1.5]", b"[[[]]]"]
PLACE = re.compile(
    r"\(?(near )?(byte|character) \d+|at \$|[Rr]ecord \d+|line \d+|element \d+|Field `|The record|out of range"
)


async def send(running, path, body, kind=JSON, **options):
    headers = {"content-type": kind, **options.pop("headers", {})}
    return await running.client.post(path, content=body, headers=headers, **options)


async def nothing_written(running):
    assert running.services.store._rows("SELECT count(*) FROM facts") == [(0,)]
    assert (await running.client.get("/api/v1/customers")).json()["data"] == []


def is_problem(answer, *codes):
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] in codes
    return 400 <= answer.status_code < 500


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("wrapped", [b"%b", b"[%b]"], ids=["record", "array"])
async def test_a_bad_value_is_a_4xx_that_says_where(running, name, wrapped):
    body = wrapped.replace(b"%b", HEAD + VALUES[name] + TAIL)
    answer = await send(running, "/api/v1/customers/c1/consent", body)
    assert is_problem(answer, "malformed_json", "invalid_record")
    assert PLACE.search(answer.json()["detail"])
    await nothing_written(running)


@pytest.mark.parametrize("name", VALUES)
async def test_a_bad_value_in_a_line_of_ndjson_is_refused_with_its_place(running, name):
    line = b'{"customerId":"c1","section":"consent","record":' + HEAD + VALUES[name] + TAIL + b"}"
    answer = await send(running, "/api/v1/records", b"\n" + line + b"\n", NDJSON)
    assert answer.status_code == 200
    refused = answer.json()["refused"]
    assert answer.json()["recorded"] == 0
    assert refused[0]["index"] == 1
    assert {refusal["code"] for refusal in refused} <= {"malformed_json", "invalid_record"}
    assert PLACE.search(refused[0]["detail"])
    await nothing_written(running)


@pytest.mark.parametrize("name", VALUES)
async def test_a_bad_value_in_an_element_of_a_bulk_array_is_refused_or_refuses_the_body(running, name):
    line = b'{"customerId":"c1","section":"consent","record":' + HEAD + VALUES[name] + TAIL + b"}"
    answer = await send(running, "/api/v1/records", b"[" + line + b"]")
    if answer.status_code == 200:
        ((index, code, detail),) = (refusal.values() for refusal in answer.json()["refused"])
        assert index == 0
        assert code in {"malformed_json", "invalid_record"}
    else:
        assert is_problem(answer, "malformed_json")
        detail = answer.json()["detail"]
    assert PLACE.search(detail)
    await nothing_written(running)


@pytest.mark.parametrize(
    "value",
    [
        b"9223372036854775807",
        b"-9223372036854775808",
        b"[" * 62 + b"]" * 62,
        b'"\\ud83d\\ude00"',
        b'[{"a":1},{"a":2}]',
        b'{"a":{"a":1},"b":"\\"a\\":1"}',
        b'{"a\\"":"a","a":",\\"a\\":"}',
    ],
)
async def test_a_value_within_the_bounds_is_taken_and_comes_back_unchanged(running, value):
    answer = await send(running, "/api/v1/customers/c1/consent", HEAD + value + TAIL)
    assert answer.status_code == 201
    assert (await running.section("consent"))[0]["value"] == json.loads(value)


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/api/v1/customers/c1/segments", JSON, SEGMENT),
        ("/api/v1/customers/c1/segments", JSON, b"[" + SEGMENT + b"]"),
        ("/api/v1/records", JSON, b'[{"customerId":"c1","section":"segments","record":' + SEGMENT + b"}]"),
        ("/api/v1/records", NDJSON, b'{"customerId":"c1","section":"segments","record":' + SEGMENT + b"}"),
    ],
)
async def test_a_byte_order_mark_before_a_body_is_passed_over(running, path, kind, body):
    answer = await send(running, path, b"\xef\xbb\xbf" + body, kind)
    assert answer.json()["recorded"] == 1
    assert (await send(running, path, b"\xef\xbb" + body, kind)).json().get("recorded") in {0, None}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_is_no_json_is_refused(running, name):
    answer = await send(running, "/api/v1/customers/c1/segments", BODIES[name])
    assert is_problem(answer, "malformed_json")
    assert PLACE.search(answer.json()["detail"])
    answer = await send(running, "/api/v1/records", BODIES[name])
    assert is_problem(answer, "malformed_json")
    assert PLACE.search(answer.json()["detail"])
    await nothing_written(running)


@pytest.mark.parametrize("body", WRONG_THINGS)
async def test_an_array_of_wrong_things_is_refused(running, body):
    answer = await send(running, "/api/v1/customers/c1/segments", body)
    assert (answer.status_code, is_problem(answer, "invalid_record")) == (422, True)
    assert "Record 0" in answer.json()["detail"]
    answer = await send(running, "/api/v1/records", body)
    assert [(refusal["index"], refusal["code"]) for refusal in answer.json()["refused"]] == [(0, "invalid_record")]
    await nothing_written(running)


@pytest.mark.parametrize("at", [0, 1, 100, 10_000, 300_000])
@pytest.mark.parametrize("kind", [JSON, NDJSON])
async def test_the_place_of_a_byte_that_is_not_utf_8_is_its_place_in_the_text(running, at, kind):
    text = b'{"segmentId":"' + b"a" * at
    single = await send(running, "/api/v1/customers/c1/segments", text + b'\xff"}')
    assert is_problem(single, "malformed_json")
    assert f"byte {len(text)})" in single.json()["detail"]
    if kind == NDJSON:
        answer = await send(running, "/api/v1/records", text + b'\xff"}', NDJSON)
        detail = answer.json()["refused"][0]["detail"]
    else:
        text = b"[" + text
        answer = await send(running, "/api/v1/records", text + b'\xff"}]')
        detail = answer.json()["detail"]
    assert abs(int(re.search(r"byte (\d+)", detail)[1]) - len(text)) < 10
    await nothing_written(running)


WRONG_TYPES = """
text/plain
application/x-www-form-urlencoded
application/json; charset=latin-1
application/json; charset=utf-16
multipart/form-data
application/jsonx
application/json, text/plain
application/*
"""


@pytest.mark.parametrize("kind", WRONG_TYPES.split("\n")[1:])
async def test_a_wrong_content_type_is_415(running, kind):
    for path in ("/api/v1/customers/c1/segments", "/api/v1/records", "/api/v1/keys", "/api/v1/tenants"):
        answer = await send(running, path, SEGMENT, kind)
        assert (answer.status_code, is_problem(answer, "unsupported_media_type")) == (415, True)
    ndjson = await send(running, "/api/v1/customers/c1/segments", SEGMENT, NDJSON)
    assert ndjson.status_code == 415
    await nothing_written(running)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "zstd"])
async def test_a_content_encoding_is_415(running, encoding):
    for path in ("/api/v1/customers/c1/segments", "/api/v1/records"):
        answer = await send(running, path, SEGMENT, headers={"content-encoding": encoding})
        assert (answer.status_code, is_problem(answer, "unsupported_media_type")) == (415, True)
    await nothing_written(running)


@pytest.mark.parametrize(
    "kind",
    ["application/json", "APPLICATION/JSON", 'application/json; charset="UTF-8"', "application/json;charset=utf8"],
)
async def test_the_right_content_type_is_taken_however_it_is_written(running, kind):
    assert (await send(running, "/api/v1/customers/c1/segments", SEGMENT, kind)).status_code == 201


async def chunked(body, size=2**16):
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_single_body_has_at_most_1_mib(running, announced):
    for size, status in ((MIB, 201), (MIB + 1, 413), (3 * MIB, 413)):
        body = SEGMENT + b" " * (size - len(SEGMENT))
        content = body if announced else chunked(body)
        answer = await send(running, f"/api/v1/customers/c{size}/segments", content)
        assert answer.status_code == status
        assert ("content-length" in answer.request.headers) == announced
        if status == 413:
            assert is_problem(answer, "body_too_large")
            assert (await running.profile(f"c{size}")).status_code == 404


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("kind", [JSON, NDJSON])
async def test_a_bulk_has_at_most_64_mib_and_is_refused_whole(running, announced, kind):
    line = b'{"customerId":"c1","section":"segments","record":' + SEGMENT + b"}"
    filler = (b" " * (MIB - 1) + b"\n") * 65
    body = (b"[" + line + filler + b"]") if kind == JSON else line + b"\n" + filler
    answer = await send(running, "/api/v1/records", body if announced else chunked(body, MIB), kind)
    assert (answer.status_code, is_problem(answer, "body_too_large")) == (413, True)
    await nothing_written(running)


async def test_a_record_of_a_bulk_has_at_most_1_mib(running):
    def line(size):
        text = b'{"customerId":"c1","section":"consent","record":' + HEAD + b'"%b"' + TAIL + b"}"
        return text.replace(b"%b", b"a" * (size - len(text) + 2))

    lines = [line(MIB), line(MIB + 1), line(3 * MIB)]
    answer = await send(running, "/api/v1/records", b"\n".join(lines), NDJSON)
    assert answer.json()["recorded"] == 1
    assert [(refusal["index"], refusal["code"]) for refusal in answer.json()["refused"]] == [
        (1, "body_too_large"),
        (2, "body_too_large"),
    ]


def mib(core, head=HEAD, tail=TAIL):
    """Return a record of 1 MiB, repeating a piece."""
    room = MIB - 200 - len(head) - len(tail)
    return head + core * (room // len(core)) + tail


LARGE = {
    "one long text": mib(b"a", HEAD + b'"', b'\\u0000"}'),
    "NULs": mib(b"\\u0000", HEAD + b'"', b'"}'),
    "escapes": mib(b"\\u0041", HEAD + b'"', b'\\ud800"}'),
    "quotes": mib(b'\\"', HEAD + b'"', b'\\u0000"}'),
    "digits": mib(b"9"),
    "integers": mib(b"1234567890123456789,", HEAD + b"[", b"99999999999999999999]}"),
    "small objects": mib(b"{},", HEAD + b"[", b'"\\u0000"]}'),
    "small arrays": mib(b"[],", HEAD + b"[", b'"\\u0000"]}'),
    "pairs": mib(b'{"a":1},', HEAD + b"[", b'"\\u0000"]}'),
    "names": mib(b'"a":1,', HEAD + b"{", b'"b":"\\u0000"}}'),
    "brackets": mib(b"["),
    "braces": mib(b'{"a":'),
    "an open array": mib(b"1,", HEAD + b"[", b""),
    "an open text": mib(b"a", HEAD + b'"', b""),
    "bad UTF-8": mib(b"\xff", HEAD + b'"', b'"}'),
    "unknown fields": HEAD + b"1," + b",".join(b'"f%d":1' % number for number in range(90_000)) + TAIL,
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("route", ["single", "ndjson", "array"])
async def test_a_bad_body_of_1_mib_is_refused_and_writes_nothing(running, name, route):
    line = b'{"customerId":"c1","section":"consent","record":' + LARGE[name] + b"}"
    path, body, kind = {
        "single": ("/api/v1/customers/c1/consent", LARGE[name], JSON),
        "ndjson": ("/api/v1/records", line, NDJSON),
        "array": ("/api/v1/records", b"[" + line + b"]", JSON),
    }[route]
    assert len(body) <= MIB
    answer = await send(running, path, body, kind)
    refused = [answer.json()] if answer.status_code >= 400 else answer.json()["refused"]
    assert [refusal["code"] in {"malformed_json", "invalid_record", "body_too_large"} for refusal in refused] == [True]
    await nothing_written(running)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    database = tmp_path_factory.mktemp("bad-input") / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=database).returncode == 0
    with server(database, "--auth", "open") as (address, process):
        yield address, process.pid


def resident(pid):
    """Return a process's peak resident memory, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def pieces(kind, total):
    """Yield a bulk of that many bytes with few records: a blank or refused line stands before each record."""
    line = b'{"customerId":"c%d","section":"segments","record":' + SEGMENT + b"}"
    filler = b" " * 65_000 + b"\n" if kind == NDJSON else b'"' + b"x" * 65_000 + b'",'
    yield b"[" if kind == JSON else b""
    for number in range(total // 65_000):
        yield filler + line % number + (b"," if kind == JSON else b"\n")
    yield line % 0 + (b"]" if kind == JSON else b"\n")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's memory")
@pytest.mark.parametrize("kind", [NDJSON, JSON])
def test_a_bulk_is_never_whole_in_memory(served, kind):
    url, pid = served
    headers = {"X-Tenant-Id": TENANT, "Content-Type": kind}
    for total in (MIB, 4 * MIB):
        httpx.post(f"{url}/api/v1/records", content=pieces(kind, total), headers=headers, timeout=20)
    before = resident(pid)
    answer = httpx.post(f"{url}/api/v1/records", content=pieces(kind, 60 * MIB), headers=headers, timeout=20)
    assert answer.status_code == 200
    assert {refusal["code"] for refusal in answer.json()["refused"]} <= {"invalid_record"}
    assert answer.json()["recorded"] + answer.json()["duplicates"] > 900
    assert resident(pid) - before < 40 * MIB


@pytest.mark.parametrize(
    ("kind", "piece", "count"),
    [
        (NDJSON, b"\n" * MIB, 6),
        (NDJSON, b"x\n" * (MIB // 2), 2),
        (JSON, b"1," * (MIB // 2), 2),
        (JSON, b" " * MIB, 6),
    ],
    ids=["blank lines", "junk lines", "junk elements", "blanks in an array"],
)
def test_others_are_answered_while_a_bulk_is_read(served, kind, piece, count):
    url, _ = served
    headers = {"X-Tenant-Id": TENANT, "Content-Type": kind}
    body = (b"[" if kind == JSON else b"") + piece * count + (b"1]" if kind == JSON else b"")
    answers, waits = [], []
    bulk = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{url}/api/v1/records", content=body, headers=headers, timeout=60))
    )
    with httpx.Client() as client:
        bulk.start()
        while bulk.is_alive():
            start = clock.perf_counter()
            assert client.get(f"{url}/health/ready", timeout=60).status_code == 200
            waits.append(clock.perf_counter() - start)
        bulk.join()
    assert answers[0].status_code == 200
    assert len(waits) > 3, "others waited for the bulk"
    assert statistics.median(waits) < 0.5


def test_a_client_that_goes_away_in_mid_body_leaves_nothing(served):
    url, _ = served
    address = urlsplit(url)
    line = b'{"customerId":"gone","section":"segments","record":' + SEGMENT + b"}\n"
    with socket.create_connection((address.hostname, address.port), timeout=10) as stream:
        head = f"POST /api/v1/records HTTP/1.1\r\nHost: {address.netloc}\r\nX-Tenant-Id: {TENANT}\r\n"
        stream.sendall(f"{head}Content-Type: {NDJSON}\r\nContent-Length: 1000000\r\n\r\n".encode() + line * 10)
    answer = httpx.get(f"{url}/api/v1/customers/gone/unified-profile", headers={"X-Tenant-Id": TENANT})
    assert answer.status_code == 404


async def test_every_operation_refuses_an_unknown_query_parameter(guarded, operations):
    keys = {"platform": await guarded.key("platform", None), "admin": await guarded.key("admin")}
    tried = 0
    for operation in operations(guarded):
        if not operation.path.startswith("/api/v1/"):
            continue
        key = keys["platform" if operation.roles == {"platform"} else "admin"]
        path = re.sub(r"\{\w+\}", "c1", operation.path)
        for method in {operation.method, "HEAD" if operation.method == "GET" else operation.method}:
            answer = await guarded.client.request(
                method,
                f"{path}?surprise=1",
                headers={"Authorization": f"Bearer {key}"},
                json={} if operation.body else None,
            )
            assert answer.status_code == 400, (operation.id, method)
            if method != "HEAD":
                known = ", ".join(operation.query_parameters) or "none"
                assert answer.json()["code"] == "invalid_parameter", operation.id
                assert answer.json()["detail"].endswith(f"Known parameters: {known}."), operation.id
            tried += 1
    assert tried > 40
