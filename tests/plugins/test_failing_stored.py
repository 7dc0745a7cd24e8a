"""A stored section whose own code fails when it is read: the section is an error, and the rest is unchanged."""

import pytest

from harness import START, service
from portrait.model import time

SOURCE = """
from typing import Annotated
from portrait import Record, Text, impersonal, register_profile_section

@register_profile_section("tiers", key=("id",), order="rank")
class Tier(Record, frozen=True):
    \"\"\"Tiers, in an order that not all of them have.\"\"\"

    id: Annotated[Text, impersonal]
    rank: Annotated[int | None, impersonal] = None

@register_profile_section("count", default=False)
async def count(ctx):
    return [len(await ctx.read("tiers"))]
"""
SEGMENT = {"segmentId": "s1", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}
LATER = {"record": {"id": "b"}, "effectiveAt": time.rfc3339(START + 60 * time.SECOND)}
FAILED = {"name": "tiers", "data": [], "error": {"code": "section_failed", "detail": "The section failed."}}


@pytest.fixture
async def failing(tmp_path):
    """A customer of whom a section cannot be ordered, since one of its records has come of age."""
    plugin = tmp_path / "plugin.py"
    plugin.write_text(SOURCE)
    async with service(tmp_path, plugins=(str(plugin),)) as running:
        await running.recorded("segments", SEGMENT)
        await running.recorded("tiers", {"id": "a", "rank": 1})
        await running.recorded("tiers", LATER)
        assert (await running.profile(sections="tiers")).json()["sections"][0]["data"] == [{"id": "a", "rank": 1}]
        running.clock.advance(60)
        yield running


async def test_a_failing_stored_section_is_an_error_of_the_profile_and_others_are_whole(failing):
    answer = await failing.profile()
    assert answer.status_code == 200
    sections = {section["name"]: section for section in answer.json()["sections"]}
    assert sections["tiers"] == FAILED
    assert sections["segments"] == {"name": "segments", "data": [SEGMENT]}


async def test_a_profile_with_a_failing_section_has_no_etag_and_is_never_304(failing):
    for sections in (None, "tiers", "segments,tiers"):
        answer = await failing.profile(sections=sections, headers={"If-None-Match": "*"})
        assert (answer.status_code, "etag" in answer.headers) == (200, False)
    assert "etag" in (await failing.profile(sections="segments")).headers


async def test_each_of_several_profiles_names_the_failing_section(failing):
    asked = [{"customerId": "c1", "sections": ["tiers"]}, {"customerId": "c1", "sections": ["segments"]}]
    answer = await failing.client.post("/api/v1/unified-profile", json=asked)
    assert [lookup["status"] for lookup in answer.json()["data"]] == [200, 200]
    assert [lookup["profile"]["sections"] for lookup in answer.json()["data"]] == [
        [FAILED], [{"name": "segments", "data": [SEGMENT]}],
    ]  # fmt: skip


async def test_the_flat_profile_names_the_failing_section(failing):
    answer = (await failing.client.get("/api/v1/profiles/c1")).json()
    assert answer["errors"] == {"tiers": FAILED["error"]}
    assert (answer["schemas"], answer["segments"]) == ({}, ["High Value"])


async def test_a_computed_section_that_reads_it_fails_too(failing):
    (part,) = (await failing.profile(sections="count")).json()["sections"]
    assert (part["data"], part["error"]["code"]) == ([], "section_failed")


async def test_a_list_that_is_no_json_is_the_sections_failure(tmp_path):
    """A record of an older version that `upgrade` makes invalid is no error of the reader."""
    plugin = tmp_path / "plugin.py"
    plugin.write_text(SOURCE)
    async with service(tmp_path, plugins=(str(plugin),)) as running:
        await running.recorded("segments", SEGMENT)
        await running.recorded("tiers", {"id": "a", "rank": 1})
    for upgrade in ('{"id": None}', "1 / 0", "[]"):
        plugin.write_text(
            SOURCE.replace('order="rank"', f'order="rank", version=2, upgrade=lambda version, record: {upgrade}')
        )
        async with service(tmp_path, plugins=(str(plugin),), tenants=()) as running:
            running.client.headers["X-Tenant-Id"] = "my-tenant"
            sections = {section["name"]: section for section in (await running.profile()).json()["sections"]}
            assert (sections["tiers"], sections["segments"]["data"]) == (FAILED, [SEGMENT])
            for path in ("tiers", "tiers/a/history"):
                answer = await running.client.get(f"/api/v1/customers/c1/{path}")
                assert (answer.status_code, answer.json()["code"]) == (500, "section_failed")
                assert "tiers" in answer.json()["detail"]


async def test_it_is_logged_with_its_cause_and_once(failing, caplog):
    for _ in range(5):
        await failing.profile()
    (log_record,) = [log_record for log_record in caplog.records if log_record.name == "portrait.sections"]
    assert "tiers" in log_record.getMessage()
    assert log_record.exc_info is not None


async def test_a_section_that_is_too_large_shows_that_wherever_it_is_shown(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text(SOURCE + "\n@register_profile_section('wide')\ndef wide(ctx):\n    return ['x' * 2000]\n")
    async with service(tmp_path, plugins=(str(plugin),)) as running:
        await running.recorded("tiers", [{"id": f"{number:03}", "rank": number} for number in range(80)])
    async with service(tmp_path, plugins=(str(plugin),), tenants=(), max_section_bytes=1024) as running:
        running.client.headers["X-Tenant-Id"] = "my-tenant"
        running.services.store._connection.execute("UPDATE documents SET version = 0 WHERE section = 'tiers'")
        before = (await running.profile()).json()["sections"]
        sections = {section["name"]: section for section in before}
        for name in ("tiers", "wide"):
            assert (sections[name]["data"], sections[name]["error"]["code"]) == ([], "too_large")
        (part,) = (await running.profile(sections="count")).json()["sections"]
        assert part["error"]["code"] == "section_failed"
        tagged = (await running.profile(sections="tiers")).headers["etag"]
        await running.services.upkeep.rebuild()
        assert (await running.profile(sections="tiers")).headers["etag"] == tagged
        assert (await running.profile()).json()["sections"] == before
        flat = (await running.client.get("/api/v1/profiles/c1")).json()
        assert {name: error["code"] for name, error in flat["errors"].items()} == {
            "tiers": "too_large",
            "wide": "too_large",
        }
        assert len((await running.listed("tiers", limit=100))["data"]) == 80
