"""Time: clocks that go back, moments that come, windows that slide."""

from datetime import UTC, datetime, timedelta

import pytest

from harness import START, interaction, service

NOW = datetime.fromtimestamp(START / 10**6, UTC)
SEGMENT = {"segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}


def at(**away):
    return (NOW + timedelta(**away)).isoformat()


@pytest.fixture
async def running(tmp_path):
    async with service(tmp_path) as opened:
        yield opened


async def test_records_told_together_are_listed_at_once(running):
    await running.recorded("segments", [SEGMENT | {"segmentId": f"s{number}"} for number in range(5)])
    assert len((await running.listed("segments"))["data"]) == 5


async def test_records_told_together_are_sound_at_once(running):
    await running.recorded("segments", [SEGMENT | {"segmentId": f"s{number}"} for number in range(5)])
    await running.checked()


async def test_a_clock_that_goes_back_hides_no_recorded_fact(running):
    await running.recorded("segments", SEGMENT | {"segmentId": "s1"})
    running.clock.advance(-60)
    assert len(await running.section("segments")) == 1
    assert len((await running.listed("segments"))["data"]) == 1


async def test_a_clock_that_goes_back_makes_no_difference_to_the_check(running):
    await running.recorded("segments", SEGMENT | {"segmentId": "s1"})
    running.clock.advance(-60)
    await running.checked()


async def test_a_rebuild_on_a_clock_that_went_back_leaves_the_profile_as_it_was(running):
    await running.recorded("segments", SEGMENT | {"segmentId": "s1"})
    running.clock.advance(-60)
    await running.services.upkeep.rebuild()
    assert len(await running.section("segments")) == 1


async def test_the_fact_recorded_later_counts_whatever_the_clock_says(running):
    await running.recorded("segments", SEGMENT | {"segmentId": "s1"})
    running.clock.advance(-3600)
    await running.recorded("segments", SEGMENT | {"segmentId": "s1", "segmentName": "Renamed"})
    assert [segment["segmentName"] for segment in await running.section("segments")] == ["Renamed"]


async def test_a_fact_effective_later_shows_from_then_on_with_and_without_a_refresh(running):
    for customer_id in ("c1", "c2"):
        await running.recorded(
            "segments", {"record": SEGMENT | {"segmentId": "s1"}, "effectiveAt": at(hours=1)}, customer_id
        )
    assert await running.section("segments", "c1") == []
    running.clock.advance(3601)
    assert len(await running.section("segments", "c1")) == 1
    assert await running.services.upkeep.refresh() == 2
    assert len(await running.section("segments", "c2")) == 1
    assert await running.services.upkeep.refresh() == 0
    await running.checked()


async def test_an_event_within_24_hours_shows_from_its_moment_and_a_later_one_is_refused(running):
    await running.recorded("interactions", interaction(1, at(hours=23, minutes=59)))
    refused = await running.record("interactions", interaction(2, at(hours=24, minutes=1)))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_record")
    assert await running.section("interactions") == []
    running.clock.advance(24 * 3600)
    assert [event["id"] for event in await running.section("interactions")] == ["ih_001"]


async def test_a_delete_makes_room_for_an_older_event(running):
    await running.recorded("interactions", [interaction(number, at(hours=-number)) for number in range(1, 26)])
    running.clock.advance(1)
    assert (await running.client.delete("/api/v1/customers/c1/interactions/ih_003")).status_code == 204
    running.clock.advance(1)
    expected = [f"ih_{number:03}" for number in range(1, 22) if number != 3]
    assert [event["id"] for event in await running.section("interactions")] == expected
    await running.checked()


async def test_a_delete_makes_room_for_an_older_event_with_many_events_ahead(running):
    await running.recorded("interactions", [interaction(number, at(hours=-number)) for number in range(1, 26)])
    await running.recorded("interactions", [interaction(100 + number, at(minutes=number + 60)) for number in range(25)])
    running.clock.advance(1)
    assert (await running.client.delete("/api/v1/customers/c1/interactions/ih_003")).status_code == 204
    running.clock.advance(1)
    expected = [f"ih_{number:03}" for number in range(1, 22) if number != 3]
    assert [event["id"] for event in await running.section("interactions")] == expected
    await running.checked()


@pytest.mark.parametrize("order", [("granted", "revoked"), ("revoked", "granted")])
async def test_a_denial_wins_an_equal_moment_in_either_order(running, order):
    for status in order:
        consent = {"kind": "consent", "purpose": "marketing", "status": status}
        await running.recorded("consent", {"record": consent, "effectiveAt": at(hours=-1)})
    assert [consent["status"] for consent in await running.section("consent")] == ["revoked"]


async def test_a_moment_and_a_source_that_are_null_are_as_good_as_absent(running):
    record = SEGMENT | {"segmentId": "s1"}
    await running.recorded("segments", {"record": record, "effectiveAt": None, "source": None})
    assert await running.section("segments") == [record]
