"""Records: their keys, required fields, kinds and times, and the documents of two joined histories."""

import itertools

import pytest

from contract.given import NAMES, PREFERENCE, RECORDS, merge, row
from harness import START
from portrait.model import time

REQUIRED = {
    "identities": ("type", "value"),
    "interactions": ("id", "interactionType", "timestamp"),
    "segments": ("segmentId", "segmentName", "memberSince"),
    "journeys": ("journeyId", "journeyName", "status", "enrolledAt"),
    "experiments": ("experimentId", "experimentName", "variant", "assignedAt"),
    "consent": ("kind", "purpose", "status"),
}
FIELDS = [(section, RECORDS[section], name) for section, names in REQUIRED.items() for name in names]
FIELDS += [("consent", PREFERENCE, name) for name in ("kind", "key", "value")]


@row("record: identities", "record: interactions", "record: segments")
@row("record: journeys", "record: experiments", "record: consent")
@pytest.mark.parametrize(("section", "record", "name"), FIELDS)
async def test_a_record_without_a_required_field_is_refused_by_its_name(running, section, record, name):
    answer = await running.record(section, {field: value for field, value in record.items() if field != name})
    assert answer.status_code == 422
    assert f"`{name}`" in answer.json()["detail"]


@pytest.mark.parametrize("section", NAMES)
async def test_the_required_fields_suffice(running, section):
    names = REQUIRED[section]
    await running.recorded(section, {name: RECORDS[section][name] for name in names})
    assert len(await running.section(section)) == 1


@row("record: identities")
async def test_confidence_is_1_if_absent(running):
    await running.recorded("identities", {"type": "email", "value": "a@x.org"})
    assert await running.section("identities") == [{"type": "email", "value": "a@x.org", "confidence": 1.0}]


SAME_KEY = [
    ("identities", RECORDS["identities"], {"confidence": 0.5}),
    ("segments", RECORDS["segments"], {"segmentName": "Other", "memberSince": "2026-02-01T00:00:00Z"}),
    ("journeys", RECORDS["journeys"], {"journeyName": "Other", "status": "completed", "currentStep": None}),
    ("consent", RECORDS["consent"], {"status": "revoked", "revokedAt": "2026-03-01T00:00:00Z"}),
    ("consent", PREFERENCE, {"value": "daily", "updatedAt": "2026-03-01T00:00:00Z"}),
]


@row("bullet: State", "record: segments", "record: journeys")
@pytest.mark.parametrize(("section", "record", "change"), SAME_KEY)
async def test_the_newest_record_of_a_key_counts(running, section, record, change):
    await running.recorded(section, record)
    await running.recorded(section, record | change)
    assert await running.section(section) == [record | change]
    assert [listed_record["record"] for listed_record in (await running.listed(section))["data"]] == [record | change]


OTHER_KEY = [
    ("identities", RECORDS["identities"], {"type": "phone"}),
    ("identities", RECORDS["identities"], {"value": "b@x.org"}),
    ("interactions", RECORDS["interactions"], {"id": "other"}),
    ("segments", RECORDS["segments"], {"segmentId": "other"}),
    ("journeys", RECORDS["journeys"], {"journeyId": "other"}),
    ("journeys", RECORDS["journeys"], {"enrolledAt": "2026-03-01T00:00:00Z"}),
    ("experiments", RECORDS["experiments"], {"experimentId": "other"}),
    ("consent", RECORDS["consent"], {"purpose": "other"}),
    ("consent", RECORDS["consent"], {"channel": "sms"}),
    ("consent", RECORDS["consent"], {"channel": None}),
    ("consent", PREFERENCE, {"key": "other"}),
]


@row("record: identities", "record: interactions", "record: journeys", "record: consent")
@pytest.mark.parametrize(("section", "record", "change"), OTHER_KEY)
async def test_another_key_is_another_record(running, section, record, change):
    await running.recorded(section, [record, record | change])
    assert len(await running.section(section)) == 2


@row("record: identities")
async def test_identities_are_matched_normalised_and_shown_as_given(running):
    for value in ("Ann@Example.com", " ann@example.COM ", "ann@example.com"):
        await running.recorded("identities", {"type": "email", "value": value})
        assert [identity["value"] for identity in await running.section("identities")] == [value]


@row("record: consent")
async def test_a_consent_and_a_preference_never_meet_under_one_key(running):
    await running.recorded(
        "consent", [{**RECORDS["consent"], "purpose": "k", "channel": None}, {**PREFERENCE, "key": "k"}]
    )
    assert {consent["kind"] for consent in await running.section("consent")} == {"consent", "preference"}


@row("bullet: Events", "record: interactions")
async def test_a_repeated_event_is_a_duplicate_and_another_body_is_409(running):
    record = RECORDS["interactions"]
    assert await running.recorded("interactions", [record, record]) == {"recorded": 1, "duplicates": 1}
    assert await running.recorded("interactions", record) == {"recorded": 0, "duplicates": 1}
    for change in ({"channelId": None}, {"timestamp": "2026-03-28T10:30:01Z"}, {"extra": 1}):
        answer = await running.record("interactions", record | change)
        assert (answer.status_code, answer.json()["code"]) == (409, "event_conflict")
    answer = await running.record("interactions", [{**record, "id": "new"}, {**record, "channelId": None}])
    assert answer.status_code == 409
    assert await running.section("interactions") == [record]


@row("bullet: State")
@pytest.mark.parametrize("section", [name for name in NAMES if name != "interactions"])
async def test_a_record_equal_to_the_newest_is_a_duplicate(running, section):
    record = RECORDS[section]
    assert await running.recorded(section, record) == {"recorded": 1, "duplicates": 0}
    assert await running.recorded(section, record) == {"recorded": 0, "duplicates": 1}
    (listed_record,) = (await running.listed(section))["data"]
    history = await running.client.get(f"/api/v1/customers/c1/{section}/{listed_record['key']}/history")
    assert len(history.json()["data"]) == 1


@row("bullet: State")
async def test_a_delete_is_a_fact_effective_when_recorded(running):
    record = RECORDS["segments"]
    await running.recorded("segments", record)
    path = "/api/v1/customers/c1/segments/seg_001"
    before = running.clock.now
    assert (await running.client.delete(path)).status_code == 204
    assert await running.section("segments") == []
    newest, oldest = (await running.client.get(f"{path}/history")).json()["data"]
    assert (newest["op"], newest["record"], oldest["op"], oldest["record"]) == ("delete", None, "put", record)
    assert newest["effectiveAt"] == newest["recordedAt"]
    assert time.parse(newest["effectiveAt"]) >= before
    # The delete overrules a record that is recorded later with an earlier effectiveAt, but not one effective now.
    await running.recorded("segments", {"record": record | {"segmentName": "x"}, "effectiveAt": "2026-01-01T00:00:00Z"})
    assert await running.section("segments") == []
    assert await running.recorded("segments", record) == {"recorded": 1, "duplicates": 0}
    assert await running.section("segments") == [record]


@row("bullet: State")
async def test_a_section_holds_1000_live_keys_and_no_more(running):
    records = [{**RECORDS["segments"], "segmentId": f"s{number:04}"} for number in range(1001)]
    await running.recorded("segments", records[:1000])
    answer = await running.record("segments", records[1000])
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_keys")
    await running.recorded("segments", {**records[0], "segmentName": "known keys may change"})
    await running.client.delete("/api/v1/customers/c1/segments/s0001")
    await running.recorded("segments", records[1000])
    assert len(await running.section("segments")) == 1000
    for section, kept in (("consent", RECORDS["consent"]), ("segments", RECORDS["segments"])):
        await running.recorded(section, kept, "c1" if section == "consent" else "c2")
    many = await running.record("segments", records, "c3")
    assert many.status_code == 422
    assert (await running.profile("c3")).status_code == 404


GIVEN = "2026-04-01T00:00:00Z"
TIMES = [
    ("interactions", RECORDS["interactions"], "2026-03-28T10:30:00Z"),
    ("consent", RECORDS["consent"], "2026-01-20T08:00:00Z"),
    ("consent", {**RECORDS["consent"], "status": "pending"}, "2026-01-20T08:00:00Z"),
    ("consent", {**RECORDS["consent"], "revokedAt": "2026-01-19T08:00:00Z"}, "2026-01-20T08:00:00Z"),
    (
        "consent",
        {**RECORDS["consent"], "status": "revoked", "revokedAt": "2026-01-21T08:00:00Z"},
        "2026-01-21T08:00:00Z",
    ),
    ("consent", {**RECORDS["consent"], "status": "revoked"}, None),
    ("consent", {**RECORDS["consent"], "grantedAt": None, "revokedAt": "2026-01-21T08:00:00Z"}, None),
    ("consent", {**RECORDS["consent"], "grantedAt": None}, None),
    ("consent", PREFERENCE, "2026-01-20T08:00:00Z"),
    ("consent", {**PREFERENCE, "updatedAt": None}, None),
    ("identities", RECORDS["identities"], None),
    ("segments", RECORDS["segments"], None),
    ("journeys", RECORDS["journeys"], None),
    ("experiments", RECORDS["experiments"], None),
]


@row("bullet: When it was true")
@pytest.mark.parametrize(("section", "record", "effective_at"), TIMES)
async def test_effective_at_comes_from_the_record_else_from_recorded_at(running, section, record, effective_at):
    await running.recorded(section, record)
    (listed_record,) = (await running.listed(section))["data"]
    assert listed_record["effectiveAt"] == (effective_at or listed_record["recordedAt"])
    assert START < time.parse(listed_record["recordedAt"]) < START + time.SECOND


@row("bullet: When it was true")
@pytest.mark.parametrize(("section", "record", "effective_at"), TIMES)
async def test_an_explicit_effective_at_goes_first(running, section, record, effective_at):
    await running.recorded(section, {"record": record, "effectiveAt": GIVEN})
    (listed_record,) = (await running.listed(section))["data"]
    assert listed_record["effectiveAt"] == GIVEN


@row("bullet: When it was true")
async def test_records_count_by_effective_at_not_by_recorded_at(running):
    days = [f"2026-04-0{day}T00:00:00Z" for day in (1, 2, 3)]
    for number, order in enumerate(itertools.permutations(days)):
        for at in order:
            record = {**RECORDS["segments"], "segmentName": at}
            await running.recorded("segments", {"record": record, "effectiveAt": at}, f"c{number}")
        assert [segment["segmentName"] for segment in await running.section("segments", f"c{number}")] == [days[-1]]
    for name in ("first", "second"):
        body = {"record": {**RECORDS["segments"], "segmentName": name}, "effectiveAt": GIVEN}
        await running.recorded("segments", body, "tie")
    assert (await running.section("segments", "tie"))[0]["segmentName"] == "second"


@row("bullet: When it was true", "record: consent")
async def test_a_denial_wins_an_equal_time(running):
    consent = {"kind": "consent", "purpose": "marketing", "channel": "email"}
    for number, order in enumerate(itertools.permutations(["granted", "revoked", "pending", "granted"])):
        for status in order:
            body = {"record": {**consent, "status": status}, "effectiveAt": GIVEN}
            await running.recorded("consent", body, f"c{number}")
        assert [consent_shown["status"] for consent_shown in await running.section("consent", f"c{number}")] == [
            "revoked"
        ]
    await running.recorded("consent", {**consent, "status": "granted", "grantedAt": "2026-04-01T00:00:01Z"}, "c0")
    assert [consent_shown["status"] for consent_shown in await running.section("consent", "c0")] == ["granted"]


@row("bullet: When it was true")
@pytest.mark.parametrize("section", NAMES)
async def test_a_record_effective_in_the_future_shows_from_then_on(running, section):
    record = RECORDS[section]
    at = time.rfc3339(START + 3600 * time.SECOND)
    await running.recorded(section, {"record": record, "effectiveAt": at})
    assert await running.section(section) == []
    before = (await running.profile()).headers["etag"]
    running.clock.advance(3590)
    assert await running.section(section) == []
    running.clock.advance(10)
    assert await running.section(section) == [record]
    assert (await running.profile()).headers["etag"] != before
    await running.services.upkeep.refresh()
    assert await running.section(section) == [record]
    await running.checked()


@row("bullet: When it was true")
async def test_the_earlier_record_is_shown_until_a_future_record_takes_effect(running):
    now, soon = RECORDS["segments"], {**RECORDS["segments"], "segmentName": "Soon"}
    await running.recorded("segments", now)
    await running.recorded("segments", {"record": soon, "effectiveAt": time.rfc3339(START + 3600 * time.SECOND)})
    assert await running.section("segments") == [now]
    running.clock.advance(3600)
    assert await running.section("segments") == [soon]


@row("bullet: When it was true", "record: interactions")
async def test_an_interaction_more_than_24_hours_ahead_is_refused(running):
    def ahead(hours):
        return time.rfc3339(START + int(hours * time.HOUR))

    for body in (
        {**RECORDS["interactions"], "timestamp": ahead(24.01)},
        {"record": RECORDS["interactions"], "effectiveAt": ahead(24.01)},
    ):
        answer = await running.record("interactions", body)
        assert answer.status_code == 422
    record = {**RECORDS["interactions"], "timestamp": ahead(24)}
    await running.recorded("interactions", record)
    assert await running.section("interactions") == []
    running.clock.advance(24 * 3600)
    assert await running.section("interactions") == [record]


@row("bullet: When it was true")
@pytest.mark.parametrize("section", NAMES)
async def test_a_record_is_shown_and_listed_at_once_even_after_the_clock_was_set_back(running, section):
    await running.recorded("identities", {"type": "email", "value": "x@example.org"})
    running.clock.advance(-3600)
    await running.recorded(section, RECORDS[section])
    assert RECORDS[section] in await running.section(section)
    assert RECORDS[section] in [listed_record["record"] for listed_record in (await running.listed(section))["data"]]


async def joined(running, section, ours, theirs):
    """Return the section of two customers after their merge; assert that it is the same whichever survives."""
    answers = []
    for names in (("a1", "a2"), ("b1", "b2")):
        for name, records in zip(names, (ours, theirs), strict=True):
            for record in records:
                # An identifier belongs to one person.
                own = {"value": names[0][0] + record["value"]} if section == "identities" else {}
                await running.recorded(section, {**record, **own}, name)
        loser, survivor = names if names[0] == "a1" else names[::-1]
        await merge(running, loser, survivor)
        answers.append(await running.section(section, loser))
    # The survivor has the loser's customer id among its identifiers.
    if section == "identities":
        answers = [
            [{**identity, "value": identity["value"][1:]} for identity in records if identity["type"] != "customer_id"]
            for records in answers
        ]
    assert answers[0] == answers[1]
    return answers[0]


@row("record: identities")
async def test_joined_identities_are_the_union_with_the_higher_confidence(running):
    low, high = [{"type": "email", "value": "a@x.org", "confidence": confidence} for confidence in (0.4, 0.8)]
    other = {"type": "phone", "value": "+1", "confidence": 0.6}
    assert await joined(running, "identities", [high], [low, other]) == [high, other]


@row("record: interactions")
async def test_joined_interactions_are_all_by_time(running):
    events = [
        {**RECORDS["interactions"], "id": f"e{n:02}", "timestamp": f"2026-03-{n + 1:02}T00:00:00Z"} for n in range(30)
    ]
    assert await joined(running, "interactions", events[::2], events[1::2]) == events[:9:-1]


@row("record: segments")
async def test_joined_segments_are_the_union_with_the_earlier_member_since(running):
    early, late = [{**RECORDS["segments"], "memberSince": f"2026-01-0{day}T00:00:00Z"} for day in (1, 2)]
    other = {**RECORDS["segments"], "segmentId": "other", "memberSince": "2025-01-01T00:00:00Z"}
    assert await joined(running, "segments", [late], [early, other]) == [early, other]


@row("record: journeys")
async def test_joined_journeys_keep_one_active_and_end_the_other_as_merged(running):
    first, second = [{**RECORDS["journeys"], "enrolledAt": f"2026-01-0{day}T00:00:00Z"} for day in (1, 2)]
    completed = {**RECORDS["journeys"], "status": "completed", "enrolledAt": "2025-01-01T00:00:00Z"}
    assert await joined(running, "journeys", [second, completed], [first]) == [first, completed]
    listed = [listed_record["record"]["status"] for listed_record in (await running.listed("journeys", "a1"))["data"]]
    assert sorted(listed) == ["active", "completed", "merged"]


@row("record: experiments")
async def test_the_first_exposure_of_joined_experiments_counts(running):
    first, second = [
        {**RECORDS["experiments"], "variant": variant, "assignedAt": f"2026-01-0{day}T00:00:00Z"}
        for variant, day in (("control", 1), ("treatment", 2))
    ]
    assert await joined(running, "experiments", [second], [first]) == [first]


@row("record: consent")
@pytest.mark.parametrize(
    ("ours", "theirs", "stricter"),
    [("granted", "revoked", "revoked"), ("granted", "pending", "pending"), ("pending", "revoked", "revoked")],
)
async def test_the_stricter_of_joined_consents_counts_whichever_is_newer(running, ours, theirs, stricter):
    for name, days in (("old", (1, 2)), ("new", (2, 1))):
        first, other = [
            {**RECORDS["consent"], "purpose": name, "status": status, "grantedAt": f"2026-01-0{day}T00:00:00Z"}
            for status, day in zip((ours, theirs), days, strict=True)
        ]
        await running.recorded("consent", first, "c1")
        await running.recorded("consent", other, "c2")
    await merge(running, "c2", "c1")
    assert {consent["purpose"]: consent["status"] for consent in await running.section("consent")} == {
        "old": stricter,
        "new": stricter,
    }
