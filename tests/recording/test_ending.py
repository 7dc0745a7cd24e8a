"""Deletes of current records and of records to come, with a moment, single and in bulk lines."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.given import NAMES, RECORDS, merge
from harness import START, ndjson, service
from portrait.model import time
from portrait.sections.base import MAX_AHEAD
from sections.facts import MINUTE, SECRET, SECTIONS, parsed, records

STATE = [name for name in NAMES if name not in {"interactions", "identities"}]
SEGMENT = RECORDS["segments"]
KEYS = {
    "identities": ("type", "value"),
    "interactions": ("id",),
    "segments": ("segmentId",),
    "journeys": ("journeyId", "enrolledAt"),
    "experiments": ("experimentId",),
    "consent": ("kind", "purpose", "channel"),
}


@pytest.fixture
async def anywhere(any_engine):
    async with service(None, database=any_engine) as running:
        yield running


def at(minutes):
    return time.rfc3339(START + int(minutes * MINUTE))


def ending(section, record, customer_id="c1", **more):
    fields = {name: record[name] for name in KEYS[section]}
    return {"customerId": customer_id, "section": section, "op": "delete", "record": fields, **more}


def putting(section, record, customer_id="c1", **more):
    return {"customerId": customer_id, "section": section, "record": record, **more}


async def bulk(running, *lines):
    headers = {"content-type": "application/x-ndjson"}
    answer = await running.client.post("/api/v1/records", content=ndjson(lines), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def counted(outcome):
    return outcome["recorded"], outcome["duplicates"], [refusal["code"] for refusal in outcome["refused"]]


async def ended(running, section, key, customer_id="c1", **params):
    return (await running.client.delete(f"/api/v1/customers/{customer_id}/{section}/{key}", params=params)).status_code


# --- one by one ---


@pytest.mark.parametrize("section", STATE)
async def test_a_record_to_come_is_listed_and_can_be_deleted(anywhere, section):
    body = {"record": RECORDS[section], "effectiveAt": at(60 * 23)}
    await anywhere.recorded(section, body)
    assert (await anywhere.listed(section))["data"] == []
    (stored_record,) = (await anywhere.listed(section, upcoming="true"))["data"]
    assert (stored_record["record"], stored_record["effectiveAt"]) == (RECORDS[section], at(60 * 23))
    assert await ended(anywhere, section, stored_record["key"]) == 204
    assert (await anywhere.listed(section, upcoming="true"))["data"] == []
    assert await ended(anywhere, section, stored_record["key"]) == 404
    anywhere.clock.advance(3600 * 24)
    assert await anywhere.section(section) == []
    await anywhere.checked()


async def test_records_to_come_are_listed_in_pages_the_soonest_first(running):
    years = [2062, 2031, 2045, 2028]
    for number, year in enumerate(years):
        record = {**SEGMENT, "segmentId": f"s{number}"}
        await running.recorded("segments", {"record": record, "effectiveAt": f"{year}-01-01T00:00:00Z"})
    await running.recorded("segments", SEGMENT)
    seen, cursor = [], None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        page = await running.listed("segments", upcoming="true", limit=1, **more)
        seen += [stored_record["effectiveAt"][:4] for stored_record in page["data"]]
        cursor = page["pagination"]["cursor"]
        if cursor is None:
            break
    assert seen == [str(year) for year in sorted(years)]
    answer = await running.client.get("/api/v1/customers/c1/segments", params={"upcoming": "yes"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


async def test_events_to_come_are_listed_alone(running):
    event = RECORDS["interactions"]
    await running.recorded("interactions", [event, {**event, "id": "ahead", "timestamp": at(60)}])
    assert [stored_record["key"] for stored_record in (await running.listed("interactions"))["data"]] == [
        "ahead",
        event["id"],
    ]
    assert [
        stored_record["key"] for stored_record in (await running.listed("interactions", upcoming="true"))["data"]
    ] == ["ahead"]
    assert await ended(running, "interactions", "ahead") == 204
    assert (await running.listed("interactions", upcoming="true"))["data"] == []


async def test_a_record_counts_until_the_moment_of_its_delete(anywhere):
    await anywhere.recorded("segments", SEGMENT)
    assert await ended(anywhere, "segments", SEGMENT["segmentId"], effectiveAt=at(60)) == 204
    assert await anywhere.section("segments") == [SEGMENT]
    anywhere.clock.advance(3600)
    assert await anywhere.section("segments") == []
    assert await anywhere.services.upkeep.refresh() == 1
    path = f"/api/v1/customers/c1/segments/{SEGMENT['segmentId']}/history"
    history = (await anywhere.client.get(path)).json()["data"]
    assert (history[0]["op"], history[0]["effectiveAt"]) == ("delete", at(60))
    await anywhere.checked()


async def test_a_delete_of_an_earlier_moment_leaves_newer_records(running):
    for minutes, name in ((-60, "Then"), (-10, "Now")):
        await running.recorded("segments", {"record": {**SEGMENT, "segmentName": name}, "effectiveAt": at(minutes)})
    assert await ended(running, "segments", SEGMENT["segmentId"], effectiveAt=at(-30)) == 204
    assert [segment["segmentName"] for segment in await running.section("segments")] == ["Now"]


async def test_a_delete_at_a_records_own_moment_ends_it_whatever_its_rank(running):
    revoked = {**RECORDS["consent"], "status": "revoked", "revokedAt": at(-10)}
    await running.recorded("consent", revoked)
    (stored_record,) = (await running.listed("consent"))["data"]
    assert await ended(running, "consent", stored_record["key"], effectiveAt=at(-10)) == 204
    assert await running.section("consent") == []


async def test_a_delete_with_an_invalid_moment_is_refused_by_the_parameters_name(running):
    await running.recorded("segments", SEGMENT)
    for moment in ("tomorrow", "2026-06-01T12:00:00", ""):
        path = f"/api/v1/customers/c1/segments/{SEGMENT['segmentId']}"
        answer = await running.client.delete(path, params={"effectiveAt": moment})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
        assert "`effectiveAt`" in answer.json()["detail"]


@pytest.mark.parametrize("section", ["interactions", "identities"])
async def test_a_record_that_ends_at_once_cannot_end_far_ahead(running, section):
    await running.recorded(section, RECORDS[section])
    (stored_record,) = (await running.listed(section))["data"]
    answer = await running.client.delete(
        f"/api/v1/customers/c1/{section}/{stored_record['key']}",
        params={"effectiveAt": time.rfc3339(START + MAX_AHEAD + MINUTE)},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_record")
    assert await running.section(section) == [RECORDS[section]]
    assert await ended(running, section, stored_record["key"], effectiveAt=at(1)) == 204
    assert await running.section(section) == []


# --- in lines ---


@pytest.mark.parametrize("section", NAMES)
async def test_a_line_ends_a_record_by_the_fields_of_its_key_and_by_its_key(anywhere, section):
    record = RECORDS[section]
    for by_key in (False, True):
        who = f"c{by_key}"
        await anywhere.recorded("segments", {**SEGMENT, "segmentId": "other"}, who)
        own = {**record, "value": f"{who}@x.org"} if section == "identities" else record
        await bulk(anywhere, putting(section, own, who))
        line = ending(section, own, who)
        if by_key:
            key = next(
                stored_record["key"]
                for stored_record in (await anywhere.listed(section, who))["data"]
                if stored_record["record"] == own
            )
            line = {name: value for name, value in line.items() if name != "record"} | {"key": key}
        assert counted(await bulk(anywhere, line)) == (1, 0, [])
        assert own not in await anywhere.section(section, who)
        assert counted(await bulk(anywhere, line)) == (0, 1, [])
    await anywhere.checked()


async def test_lines_of_one_chunk_end_records_of_earlier_lines(anywhere):
    lines = [
        *(putting(name, RECORDS[name]) for name in NAMES),
        *(ending(name, RECORDS[name]) for name in NAMES),
    ]
    assert counted(await bulk(anywhere, *lines)) == (12, 0, [])
    profile = (await anywhere.profile()).json()
    assert [section["data"] for section in profile["sections"]] == [[]] * 6
    assert counted(await bulk(anywhere, *lines[6:])) == (0, 6, [])
    await anywhere.checked()


async def test_a_line_that_ends_evidence_withdraws_its_link_unless_the_evidence_is_repeated(anywhere):
    email = {"type": "email", "value": "a@x.org", "confidence": 1.0}
    await bulk(anywhere, putting("identities", email), putting("segments", SEGMENT))
    end, again = ending("identities", email), putting("identities", email)
    assert counted(await bulk(anywhere, end, again)) == (2, 0, [])
    assert await anywhere.section("identities") == [email]
    assert counted(await bulk(anywhere, again | {"source": "b"}, end)) == (2, 0, [])
    assert await anywhere.section("identities") == []
    await anywhere.checked()


async def test_a_line_ends_a_record_for_every_identifier_of_the_customer(anywhere):
    for name in ("c1", "c2"):
        await anywhere.recorded("segments", SEGMENT, name)
    await merge(anywhere, "c2", "c1")
    assert counted(await bulk(anywhere, ending("segments", SEGMENT))) == (1, 0, [])
    assert await anywhere.section("segments") == []
    await anywhere.checked()


WRONG = [
    ({"op": "delete"}, "invalid_record", "`key`"),
    ({"op": "delete", "key": "k", "record": {"segmentId": "s"}}, "invalid_record", "`key`"),
    ({"op": "delete", "record": {}}, "invalid_record", "`segmentId`"),
    ({"op": "delete", "record": {"segmentId": "s", "segmentNmae": "x"}}, "invalid_record", "`segmentNmae`"),
    ({"op": "delete", "record": {"segmentId": 1}}, "invalid_record", "`segmentId`"),
    ({"op": "delete", "record": []}, "invalid_record", "object"),
    ({"op": "delete", "key": "nothing"}, "record_not_found", "current or later"),
    ({"op": "delete", "key": "nothing", "effectiveAt": at(0)}, "record_not_found", "current or later"),
    ({"op": "delete", "key": "k", "effectiveAt": "soon"}, "invalid_record", "`effectiveAt`"),
    ({"op": "delete", "key": "k", "customerId": "nobody"}, "customer_not_found", "customer"),
    ({"op": "upsert", "record": SEGMENT}, "invalid_record", "`op`"),
    ({"op": 1, "record": SEGMENT}, "invalid_record", "`op`"),
    ({"key": "k", "record": SEGMENT}, "invalid_record", "`key`"),
    ({"op": "put"}, "invalid_record", "`record`"),
]


@pytest.mark.parametrize(("members", "code", "named"), WRONG)
async def test_a_line_with_an_invalid_or_pointless_end_is_refused_alone(running, members, code, named):
    good = putting("segments", {**SEGMENT, "segmentId": "good"})
    await bulk(running, good)
    wrong = {"customerId": "c1", "section": "segments", **members}
    outcome = await bulk(running, wrong, putting("segments", SEGMENT))
    assert counted(outcome) == (1, 0, [code])
    assert named in outcome["refused"][0]["detail"]
    assert (await running.profile("nobody")).status_code == 404


async def test_an_end_makes_no_customer_known(anywhere):
    lines = [
        ending("segments", SEGMENT, "nobody", effectiveAt=at(0)),
        {**ending("segments", SEGMENT), "identifier": {"type": "email", "value": "n@x.org"}},
    ]
    del lines[1]["customerId"]
    assert counted(await bulk(anywhere, *lines)) == (0, 0, ["customer_not_found"] * 2)
    assert (await anywhere.client.get("/api/v1/customers")).json()["data"] == []
    assert counted(await bulk(anywhere, {**lines[1], "op": "put", "record": SEGMENT})) == (1, 0, [])
    await anywhere.checked()


async def test_an_end_with_a_moment_counts_though_it_arrives_before_its_record(anywhere):
    await anywhere.recorded("segments", {**SEGMENT, "segmentId": "other"})
    end = ending("segments", SEGMENT, effectiveAt=at(-10))
    assert counted(await bulk(anywhere, end, end)) == (1, 1, [])
    assert counted(await bulk(anywhere, putting("segments", SEGMENT, effectiveAt=at(-20)))) == (1, 0, [])
    assert SEGMENT not in await anywhere.section("segments")
    assert counted(await bulk(anywhere, putting("segments", SEGMENT, effectiveAt=at(-5)))) == (1, 0, [])
    assert SEGMENT in await anywhere.section("segments")
    await anywhere.checked()


@pytest.mark.parametrize("name", SECTIONS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_fields_of_a_key_alone_give_the_key_of_the_whole_record(name, data):
    section = SECTIONS[name]
    record = data.draw(records(section))
    member = type(section.shape.parse(json.dumps(record).encode()))
    fields = {field.name for field in section.shape.fields[member] if field.attribute in section.key_fields[member]}
    part = {field: value for field, value in record.items() if field in {*fields, "kind"}}
    for record_part in (part, record):
        assert section.parse_key(json.dumps(record_part).encode(), SECRET).key == parsed(section, record).key
