"""The three item shapes that the seed only names."""

import pytest

from contract.given import PREFERENCE, RECORDS, row


@row("shape: journeys")
async def test_a_journey_has_this_shape_and_shows_while_active_or_completed(running):
    record = RECORDS["journeys"]
    assert list(record) == ["journeyId", "journeyName", "status", "currentStep", "enrolledAt", "completedAt"]
    for status, visible in (
        ("active", True), ("paused", False), ("completed", True), ("exited", False), ("merged", False),
        ("active", True),
    ):  # fmt: skip
        journey = {**record, "status": status, "completedAt": "2026-03-01T00:00:00Z" if status == "completed" else None}
        await running.recorded("journeys", journey)
        data = await running.section("journeys")
        assert data == ([journey] if visible else [])
        assert [list(visible_journey) for visible_journey in data] == [list(record)] * visible
        assert [listed_record["record"] for listed_record in (await running.listed("journeys"))["data"]] == [journey]


@row("shape: experiments")
async def test_an_experiment_has_this_shape(running):
    record = RECORDS["experiments"]
    assert list(record) == ["experimentId", "experimentName", "variant", "assignedAt"]
    await running.recorded("experiments", record)
    (experiment,) = await running.section("experiments")
    assert experiment == record
    assert list(experiment) == list(record)


@row("shape: consent")
@pytest.mark.parametrize("status", ["granted", "revoked", "pending"])
async def test_a_consent_has_this_shape(running, status):
    record = {**RECORDS["consent"], "status": status}
    assert list(record) == ["kind", "purpose", "channel", "status", "grantedAt", "revokedAt", "source"]
    await running.recorded("consent", record)
    (consent,) = await running.section("consent")
    assert consent == record
    assert list(consent) == list(record)


@row("shape: consent")
@pytest.mark.parametrize("value", ["weekly", 3, 1.5, True, None, ["a", {"b": None}], {"c": "ü"}])
async def test_a_preference_has_this_shape_and_any_value(running, value):
    record = {**PREFERENCE, "value": value}
    assert list(record) == ["kind", "key", "value", "updatedAt", "source"]
    await running.recorded("consent", record)
    (preference,) = await running.section("consent")
    assert preference == record
    assert list(preference) == list(record)


@row("shape: consent")
@pytest.mark.parametrize(
    "change", [{"status": "denied"}, {"status": "Granted"}, {"status": None}, {"kind": "other"}, {"kind": None}]
)
async def test_another_status_or_kind_is_refused(running, change):
    answer = await running.record("consent", RECORDS["consent"] | change)
    assert answer.status_code == 422
    assert f"`{next(iter(change))}`" in answer.json()["detail"]
