"""Defects that readers of the code found: each was wrong once."""

import json

import pytest

from harness import interaction, ndjson, portrait, service
from portrait.model import time


@pytest.fixture
async def running(tmp_path):
    async with service(tmp_path) as opened:
        yield opened


async def test_after_a_delete_events_of_one_moment_are_chosen_as_before(running):
    """More events at one moment than are shown, recorded in another order than that of their ids."""
    numbers = [(7 * n) % 60 for n in range(60)]
    await running.recorded("interactions", [interaction(n) for n in numbers])
    path = "/api/v1/customers/c1/interactions/ih_059"
    assert (await running.client.delete(path)).status_code == 204
    assert [event["id"] for event in await running.section("interactions")] == [f"ih_{n:03}" for n in range(58, 38, -1)]
    await running.checked()


async def test_a_delete_among_past_events_leaves_those_ahead_and_fills_up(running):
    ahead = [interaction(n, f"2026-06-02T{n % 12:02}:{n:02}:00Z") for n in range(30, 55)]
    past = [interaction(n, f"2026-05-{n + 1:02}T00:00:00Z") for n in range(25)]
    running.clock.now = time.parse("2026-06-01T23:00:00Z")
    await running.recorded("interactions", past + ahead)
    await running.client.delete("/api/v1/customers/c1/interactions/ih_024")
    assert [event["id"] for event in await running.section("interactions")] == [f"ih_{n:03}" for n in range(23, 3, -1)]
    await running.checked()


async def test_facts_of_one_customer_from_a_clock_ahead_date_no_other_customer(running):
    at = running.clock.now
    running.clock.now = time.parse("2099-01-01T00:00:00Z")
    await running.recorded(
        "segments", {"segmentId": "s", "segmentName": "S", "memberSince": "2026-01-01T00:00:00Z"}, "late"
    )
    running.clock.now = at
    lines = [
        {"customerId": name, "section": "interactions", "record": interaction(number)}
        for number, name in enumerate(("late", "c1"))
    ]
    answer = await running.client.post(
        "/api/v1/records", content=ndjson(lines), headers={"content-type": "application/x-ndjson"}
    )
    assert answer.json()["recorded"] == 2
    assert (await running.listed("interactions", "late"))["data"][0]["recordedAt"] > "2099"
    assert (await running.listed("interactions", "c1"))["data"][0]["recordedAt"] < "2027"


async def test_an_absent_section_and_an_emptied_one_have_one_etag(running):
    segment = {"segmentId": "s", "segmentName": "S", "memberSince": "2026-01-01T00:00:00Z"}
    await running.recorded("interactions", interaction(1))
    before = (await running.profile()).headers["etag"]
    await running.recorded("segments", segment)
    assert (await running.profile()).headers["etag"] != before
    await running.client.delete("/api/v1/customers/c1/segments/s")
    assert (await running.profile()).headers["etag"] == before


async def test_an_interaction_may_have_a_field_called_record(running):
    await running.recorded("interactions", interaction(1, record="gold", source="web"))
    assert (await running.section("interactions"))[0]["properties"] == {"record": "gold", "source": "web"}
    await running.recorded("interactions", {"record": interaction(2), "source": "web"})
    assert (await running.listed("interactions"))["data"][0]["source"] == "web"


async def test_an_empty_channel_is_refused_and_no_channel_is_its_own_key(running):
    consent = {"kind": "consent", "purpose": "p", "status": "granted"}
    assert (await running.record("consent", {**consent, "channel": ""})).status_code == 422
    await running.recorded("consent", [consent, {**consent, "channel": "email"}])
    assert len(await running.section("consent")) == 2


async def test_changes_ahead_of_one_key_are_bounded(running):
    base = {"kind": "preference", "key": "k"}
    records = [
        {"record": {**base, "value": n, "updatedAt": f"2030-01-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z"}}
        for n in range(1001)
    ]
    answer = await running.record("consent", records)
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_keys")
    await running.recorded("consent", records[:1000])
    await running.recorded("consent", {**base, "value": "now"})


async def test_an_array_for_one_section_has_at_most_2000_records(running):
    answer = await running.record("interactions", [interaction(n) for n in range(2001)])
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_cursor_with_what_no_store_holds_is_refused(running):
    import base64

    import msgspec

    cursor = base64.urlsafe_b64encode(msgspec.msgpack.encode("a\0b")).rstrip(b"=").decode()
    answer = await running.client.get("/api/v1/customers", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize("name", ["X-Tenant-Id", "X-API-Key", "Authorization"])
async def test_headers_that_decide_the_caller_come_once(running, name):
    for path in ("unified-profile", "segments"):
        answer = await running.client.get(
            f"/api/v1/customers/c1/{path}", headers=[(name, "my-tenant"), (name, "other")]
        )
        assert answer.status_code == 400


async def test_the_later_of_two_lines_in_different_chunks_is_recorded_later(tmp_path):
    """On every engine alike; PostgreSQL runs transactions beside each other."""
    segment = {"segmentId": "s", "memberSince": "2026-01-01T00:00:00Z"}
    lines = [{"customerId": f"c{n}", "section": "interactions", "record": interaction(n)} for n in range(999)] + [
        {"customerId": "x", "section": "segments", "record": {**segment, "segmentName": name}}
        for name in ("one", "two")
    ]
    file = tmp_path / "lines.jsonl"
    file.write_bytes(ndjson(lines))
    database = tmp_path / "portrait.db"
    assert portrait("tenant", "create", "t", database=database).returncode == 0
    assert portrait("load", str(file), "--tenant", "t", database=database).returncode == 0
    completed = portrait("show", "x", "--tenant", "t", "--json", database=database)
    assert json.loads(completed.stdout)["sections"][2]["data"][0]["segmentName"] == "two"


async def test_a_database_that_was_removed_takes_no_more_writes_and_is_not_ready(running, tmp_path):
    await running.recorded("interactions", interaction(1))
    for path in tmp_path.glob("portrait.db*"):
        path.unlink()
    answer = await running.record("interactions", interaction(2))
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_failed")
    assert (await running.client.get("/health/ready")).status_code == 503
    assert (await running.profile()).status_code == 503
