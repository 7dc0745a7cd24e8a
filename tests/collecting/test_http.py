"""What clients of other makers take for an answer decides over loss: statuses, headers, keys, sizes and encodings."""

import base64
import gzip
import json
import zlib

import httpx
import pytest

from collecting.conftest import sender
from harness import TENANT, Service, service
from portrait.api import collect
from portrait.api.collect import METRICS, SOURCE_CONFIG, TARGETS
from portrait.app import application
from portrait.collecting.families import SEGMENT
from portrait.model.errors import StorageBusy, StorageFailed, StorageFull
from portrait.serving.admission import Places
from portrait.storage.sqlite.store import SqliteStore

EVENT = {"type": "track", "messageId": "m1", "userId": "u1", "event": "Seen", "timestamp": "2026-06-01T11:00:00Z"}
PATHS = (*TARGETS, METRICS)
OF_SEGMENT = [path for path, target in TARGETS.items() if target.family is SEGMENT]


def readable(answer):
    """Assert that a page may read an answer."""
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-expose-headers"] == "Retry-After"
    return answer


def refused(answer, status, code):
    """Assert that an answer is a problem that every client takes for final, or for a reason to wait."""
    problem = readable(answer).json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["message"] == problem["detail"] != ""
    return answer


@pytest.mark.parametrize("path", [*PATHS, SOURCE_CONFIG, "/v1/projects/k/settings"])
async def test_a_preflight_needs_no_key_and_allows_what_clients_send(served, path):
    answer = await served.client.options(path, headers={"origin": "https://shop.example"})
    assert answer.headers["access-control-allow-origin"] in {"*", "https://shop.example"}
    assert (answer.status_code, answer.content) == (204, b"")
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {
        "authorization", "content-type", "x-retry-count", "anonymousid", "sentat", "rsa-retry-attempt", "x-write-key",
    } <= set(allowed)  # fmt: skip
    assert "POST" in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize("path", OF_SEGMENT)
async def test_every_path_takes_events_with_or_without_a_slash(web, path):
    body = {"batch": [EVENT]} if path.endswith(("batch", "/b", "import")) else EVENT
    for form in (path, f"{path}/", f"http://localhost/{path}"):
        answer = readable(await web.post(form, body))
        assert (answer.status_code, answer.json()) == (200, {"success": True, "received": 1, "refused": 0})


@pytest.mark.parametrize("path", ["/v1/t", "/v1/track", "/v1/track/"])
async def test_a_path_says_the_type_of_an_event_that_says_none(web, path):
    event = {name: value for name, value in EVENT.items() if name != "type"}
    await web.post(path, event)
    assert len(await web.served.section("interactions", "u1")) == 1


@pytest.mark.parametrize("path", [*TARGETS, METRICS, SOURCE_CONFIG])
async def test_another_method_is_refused_and_never_led_elsewhere(web, path):
    refused(await web.served.client.put(path), 405, "method_not_allowed")


async def test_every_form_of_the_key_is_taken(web):
    plain = f"Basic {base64.b64encode(web.key.encode()).decode()}"
    for headers, query, body in (
        (web.headers, "", {}), ({"authorization": plain}, "", {}), ({"x-write-key": web.key}, "", {}),
        ({"x-api-key": web.key}, "", {}),
        ({"x-write-key": f"{web.key}:secret"}, "", {"writeKey": "k:***"}), ({}, f"?writeKey={web.key}", {}),
        ({}, "", {"writeKey": web.key}), ({"authorization": f"Bearer {web.key}"}, "", {}),
    ):  # fmt: skip
        answer = await web.post(f"/v1/batch{query}", {"batch": [EVENT], **body}, headers=headers)
        assert answer.status_code == 200, (headers, query, body)
    answer = await web.post("/v1/t", {**EVENT, "writeKey": web.key}, headers={})
    assert answer.status_code == 200
    assert len(await web.served.section("interactions", "u1")) == 1


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Basic ***"}, {"authorization": "Basic "}, {"x-write-key": "k"}, {"authorization": "Basic"}],
)
async def test_no_key_or_a_wrong_one_is_refused_for_good(web, headers):
    refused(
        await web.post("/v1/batch", {"batch": [EVENT], "writeKey": "k1:***"}, headers=headers), 401, "unauthenticated"
    )
    assert await web.rejects() == []


async def test_a_key_that_reads_takes_nothing_in_and_a_write_key_reads_nothing(tmp_path):
    async with service(tmp_path, auth="keys") as served:
        web = await sender(served)
        for role in ("viewer", "editor", "admin"):
            headers = {"x-write-key": await served.key(role)}
            refused(await web.post("/v1/batch", {"batch": [EVENT]}, headers=headers), 401, "unauthenticated")
        await web.batch(EVENT)
        called = 0
        for operation in served.client._transport.app.operations:
            if operation.public:
                continue
            path = operation.path.replace("{customerId}", "u1").replace("{key}", "k").replace("{", "").replace("}", "")
            answer = await served.client.request(
                operation.method, path, headers={"authorization": f"Bearer {web.key}"}, json={}
            )
            assert answer.status_code == 403, (operation.id, answer.text)
            assert answer.json()["code"] == "role_forbidden"
            called += 1
        assert called > 20


async def test_a_revoked_key_takes_nothing_in(web):
    access = web.served.services.access
    [credential] = await access.keys(TENANT, None, 10)
    await access.revoke_key(TENANT, credential.id)
    refused(await web.post("/v1/batch", {"batch": [EVENT]}), 401, "unauthenticated")


async def test_pages_of_other_origins_are_refused_and_programs_are_not(served):
    web = await sender(served, origins=("https://shop.example", "http://localhost:3000"))
    for origin, status in (("https://shop.example", 200), ("http://localhost:3000", 200), ("https://evil.example", 403),
                           ("https://shop.example.evil.example", 403), ("null", 403), (None, 200)):  # fmt: skip
        headers = web.headers | ({} if origin is None else {"origin": origin})
        answer = readable(await web.post("/v1/batch", {"batch": [EVENT]}, headers=headers))
        assert answer.status_code == status, origin
    refused(
        await web.post("/v1/batch", {"batch": [EVENT]}, headers=web.headers | {"origin": "null"}),
        403,
        "origin_forbidden",
    )


async def test_more_events_than_a_key_takes_are_to_be_sent_later_and_no_other_keys_are(served):
    web, other = await sender(served, events_per_second=1), await sender(served, "app")
    events = [EVENT | {"messageId": f"m{number}"} for number in range(30)]
    await web.batch(*events)
    answer = refused(await web.post("/v1/batch", {"batch": [EVENT]}), 429, "too_many_events")
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    await other.batch(EVENT)


@pytest.mark.parametrize("size", [collect.SMALL - 100, collect.SMALL + 100])
async def test_bodies_up_to_the_limit_are_taken_and_larger_ones_refused_by_what_they_inflate_to(web, monkeypatch, size):
    monkeypatch.setattr(collect, "MAX_BODY", size)
    room = size - len(json.dumps({"batch": []}))
    events, number = [], 0
    while room > 1000:
        event = EVENT | {"messageId": f"m{number}", "properties": {"text": "x" * min(30_000, room - 300)}}
        events.append(event)
        room -= len(json.dumps(event)) + 2
        number += 1
    body = json.dumps({"batch": events}).encode()
    packed = {"content-encoding": "gzip"} | web.headers
    assert (await web.post("/v1/batch", body)).json()["received"] == number
    assert (await web.post("/v1/batch", gzip.compress(body), headers=packed)).json()["received"] == number
    more = body[:-2] + b"," + json.dumps(EVENT | {"properties": {"text": "y" * 2000}}).encode() + b"]}"
    refused(await web.post("/v1/batch", more), 413, "body_too_large")
    refused(await web.post("/v1/batch", gzip.compress(more), headers=packed), 413, "body_too_large")


async def test_a_request_of_more_events_than_it_may_have_is_refused_whole(web, monkeypatch):
    monkeypatch.setattr(collect, "MAX_EVENTS", 3)
    events = [EVENT | {"messageId": f"m{number}"} for number in range(4)]
    await web.batch(*events[:3])
    refused(await web.post("/v1/batch", {"batch": [*events, {}]}), 413, "body_too_large")
    assert len(await web.served.section("interactions", "u1")) == 3
    assert await web.rejects() == []


async def test_large_bodies_use_a_keys_limit_up(served):
    web = await sender(served, events_per_second=1)
    large = [EVENT | {"type": "no", "messageId": f"m{number}", "text": "x" * 30_000} for number in range(5)]
    await web.batch(*large)
    refused(await web.post("/v1/batch", {"batch": [EVENT]}), 429, "too_many_events")
    assert len(await web.rejects()) == 5


@pytest.mark.parametrize(
    ("body", "encoding", "status", "code"),
    [
        (b"no json", None, 400, "malformed_json"), (b"", None, 400, "malformed_json"),
        (b"7", None, 422, "invalid_record"),
        (b'{"batch":7}', None, 422, "invalid_record"), (b'{"batch":[{}', None, 400, "malformed_json"),
        (b"\xff\xfe", None, 400, "malformed_json"), (b"{}", "gzip", 400, "malformed_request"),
        (gzip.compress(b"{}" * 100)[:-12], "gzip", 400, "malformed_request"),
        (zlib.compress(b"{}"), "deflate", 415, "unsupported_media_type"),
    ],
)  # fmt: skip
async def test_a_body_that_cannot_be_read_is_refused_for_good(web, body, encoding, status, code):
    headers = web.headers | ({"content-encoding": encoding} if encoding else {})
    refused(await web.post("/v1/batch", body, headers=headers), status, code)
    assert await web.rejects() == []


@pytest.mark.parametrize("batch", [[], [{}], [EVENT, None, 7]])
async def test_batches_without_events_are_taken(web, batch):
    assert (await web.post("/v1/batch", {"batch": batch})).status_code == 200


async def test_of_large_bodies_few_are_read_at_once_by_what_they_inflate_to(web, monkeypatch):
    monkeypatch.setattr(collect, "SMALL", 1000)
    monkeypatch.setattr(web.served.client._transport.app._admission, "long", Places(0))
    large = json.dumps({"batch": [EVENT | {"properties": {"text": "x" * 2000}}]}).encode()
    packed = {"content-encoding": "gzip"} | web.headers
    assert len(gzip.compress(large)) < 1000
    for body, headers in ((large, web.headers), (gzip.compress(large), packed)):
        answer = refused(await web.post("/v1/batch", body, headers=headers), 429, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
    await web.batch(EVENT)


async def test_gzip_of_several_members_is_one_body(web):
    body = json.dumps({"batch": [EVENT]}).encode()
    packed = gzip.compress(body[:20]) + gzip.compress(body[20:])
    answer = await web.post("/v1/batch", packed, headers=web.headers | {"content-encoding": "gzip"})
    assert answer.json()["received"] == 1


@pytest.mark.parametrize("error", [StorageBusy, StorageFailed, StorageFull])
async def test_an_outage_is_to_be_tried_again_and_what_is_acknowledged_is_kept(web, monkeypatch, error):
    async def fails(self, tenant, work):
        raise error("The database is away.")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "write", fails)
        answer = refused(await web.post("/v1/batch", {"batch": [EVENT]}), 503, error.code)
        assert int(answer.headers["retry-after"]) >= 1
        refused(await web.post("/v1/batch", {"batch": [{"type": "no"}]}), 503, error.code)
    await web.batch(EVENT, {"type": "no"})
    assert len(await web.served.section("interactions", "u1")) == 1
    assert len(await web.rejects()) == 1


async def test_settings_say_where_to_send_by_the_setting_and_never_by_the_host_header(tmp_path):
    async with service(tmp_path) as served:
        web = await sender(served)
        answer = readable(await served.client.get(f"/v1/projects/{web.key}/settings"))
        assert answer.json() == {"integrations": {"Segment.io": {"apiKey": web.key}}, "metrics": {"sampleRate": 0}}
        transport = httpx.ASGITransport(application(served.services, collect_url="https://collect.shop.example"))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            told = Service(served.services, client, served.clock)
            answer = await told.client.get(f"/v1/projects/{web.key}/settings", headers={"host": "localhost"})
        assert answer.json()["integrations"]["Segment.io"] == {
            "apiKey": web.key, "apiHost": "collect.shop.example/v1", "protocol": "https",
        }  # fmt: skip
        refused(await served.client.get("/v1/projects/nobody/settings"), 404, "key_not_found")


async def test_rudderstacks_browser_client_gets_its_settings(web):
    answer = readable(await web.served.client.get("/sourceConfig/?p=npm&v=3.34.1", headers=web.headers))
    assert answer.json() == {"source": {"id": "portrait", "config": {}, "destinations": []}}
    assert (await web.served.client.get(f"/sourceConfig?writeKey={web.key}")).status_code == 200
    refused(await web.served.client.get("/sourceConfig/"), 401, "unauthenticated")


async def test_what_clients_report_of_themselves_is_thrown_away(web):
    assert (await web.post("/v1/m", b"whatever", headers={})).json()["success"] is True
