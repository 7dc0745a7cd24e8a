"""Decisions on what the seed leaves open about the answer's content."""

import itertools
import random
import re

import pytest

from contract.given import NAMES, PREFERENCE, RECORDS, merge, row
from harness import START, TENANT
from portrait.model import time


@row("sections omitted")
async def test_without_sections_all_six_come_in_the_seeds_order_then_registered_ones(extended):
    await extended.recorded("segments", RECORDS["segments"])
    answer = (await extended.profile()).json()
    assert [section["name"] for section in answer["sections"]] == [*NAMES, "loyalty", "tickets", "guarded"]


@row("sections=a,b")
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("segments,identities", ["segments", "identities"]),
        ("identities,segments", ["identities", "segments"]),
        ("segments,identities,segments,segments", ["segments", "identities"]),
        (" segments , identities ", ["segments", "identities"]),
        ("consent", ["consent"]),
        ("tickets,loyalty,consent", ["tickets", "loyalty", "consent"]),
    ],
)
async def test_the_sections_asked_for_come_in_the_order_asked_each_once(extended, asked, expected):
    await extended.recorded("segments", RECORDS["segments"])
    answer = (await extended.profile(sections=asked)).json()
    assert [section["name"] for section in answer["sections"]] == expected


@row("sections=a,b")
async def test_only_the_sections_asked_for_are_loaded(extended, monkeypatch):
    for name, record in RECORDS.items():
        await extended.recorded(name, record)
    store = extended.services.store
    fetched = []
    documents = store.documents

    async def watched(*words):
        rows = await documents(*words)
        fetched.extend(document[0] for document in rows)
        return rows

    monkeypatch.setattr(store, "documents", watched)
    calls = extended.services.registry.get("loyalty").function.__globals__["calls"]
    calls.clear()
    await extended.profile(sections="segments,consent")
    assert sorted(fetched) == ["", "consent", "segments"]
    assert calls == []
    await extended.profile()
    assert calls == ["c1"]


@row("sections= (empty), or an unknown name")
@pytest.mark.parametrize("asked", ["", ",", "segments,", "nothing", "segments,nothing", "Segments", "unified-profile"])
async def test_an_empty_or_unknown_section_is_refused_with_the_valid_names(extended, asked):
    await extended.recorded("segments", RECORDS["segments"])
    answer = await extended.profile(sections=asked)
    assert answer.status_code == 400
    assert answer.json()["code"] == "unknown_section"
    for name in (*NAMES, "loyalty", "tickets"):
        assert name in answer.json()["detail"]


@row("an unknown query parameter")
async def test_an_unknown_query_parameter_is_refused_with_the_known_ones(running):
    await running.recorded("segments", RECORDS["segments"])
    base = "/api/v1/customers/c1"
    for path, known in (
        ("/unified-profile?section=segments", "sections, losers"),
        ("/unified-profile?sections=segments&format=xml", "sections, losers"),
        ("/segments?limits=3", "upcoming, limit, cursor"),
    ):
        answer = await running.client.get(base + path)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter"), path
        assert answer.json()["detail"].endswith(f"Known parameters: {known}.")


@row("unknown customer")
async def test_an_unknown_customer_is_404_and_a_section_without_records_is_empty(running):
    assert (await running.profile("nobody")).status_code == 404
    assert (await running.profile("nobody")).json()["code"] == "customer_not_found"
    await running.recorded("segments", RECORDS["segments"])
    answer = await running.profile()
    assert answer.status_code == 200
    assert {section["name"]: section["data"] for section in answer.json()["sections"]} == {
        **{name: [] for name in NAMES},
        "segments": [RECORDS["segments"]],
    }


@row("a custom section fails or exceeds its deadline")
@pytest.mark.parametrize(("name", "code"), [("broken", "section_failed"), ("slow", "deadline_exceeded")])
async def test_a_failing_section_says_so_and_the_others_are_complete(extended, name, code):
    await extended.recorded("segments", RECORDS["segments"])
    answer = await extended.profile(sections=f"segments,{name},loyalty")
    assert answer.status_code == 200
    whole, failed, computed = answer.json()["sections"]
    assert whole == {"name": "segments", "data": [RECORDS["segments"]]}
    assert computed == {"name": "loyalty", "data": [{"tier": "gold"}]}
    assert failed.keys() == {"name", "data", "error"}
    assert failed["data"] == []
    assert failed["error"].keys() == {"code", "detail"}
    assert failed["error"]["code"] == code
    assert "words of the exception" not in answer.text


@row("an id that was merged away")
async def test_a_merged_id_answers_as_its_survivor_and_names_its_path(running):
    await running.recorded("segments", RECORDS["segments"], "c%2F%C3%B6")
    await running.recorded("consent", PREFERENCE, "c2")
    await merge(running, "c2", "c/ö")
    answer = await running.profile("c2")
    assert answer.status_code == 200
    assert answer.json()["customerId"] == "c/ö"
    assert answer.headers["content-location"] == "/api/v1/customers/c%2F%C3%B6/unified-profile"
    survivor = await running.client.get(answer.headers["content-location"])
    assert survivor.json()["sections"] == answer.json()["sections"]
    assert "content-location" not in survivor.headers
    data_by_name = {section["name"]: section["data"] for section in answer.json()["sections"]}
    assert data_by_name["segments"] == [RECORDS["segments"]]
    assert data_by_name["consent"] == [PREFERENCE]


@row("timestamps")
@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2026-01-15T00:00:00Z", "2026-01-15T00:00:00Z"),
        ("2026-01-15T02:00:00+02:00", "2026-01-15T00:00:00Z"),
        ("2026-01-14T18:30:00-05:30", "2026-01-15T00:00:00Z"),
        ("2026-01-15T00:00:00.000Z", "2026-01-15T00:00:00Z"),
        ("2026-01-15T00:00:00.000000+00:00", "2026-01-15T00:00:00Z"),
    ],
)
async def test_a_timestamp_is_shown_in_utc_with_z_and_without_an_empty_fraction(running, timestamp, expected):
    await running.recorded("segments", {**RECORDS["segments"], "memberSince": timestamp})
    assert (await running.section("segments"))[0]["memberSince"] == expected
    await running.recorded("consent", {"record": {**PREFERENCE, "updatedAt": None}, "effectiveAt": timestamp})
    assert (await running.listed("consent"))["data"][0]["effectiveAt"] == expected


@row("timestamps")
async def test_a_fraction_of_a_second_is_kept(running):
    await running.recorded("segments", {**RECORDS["segments"], "memberSince": "2026-01-15T01:00:00.25+01:00"})
    member_since = (await running.section("segments"))[0]["memberSince"]
    assert re.fullmatch(r"2026-01-15T00:00:00\.250*Z", member_since)


@row("timestamps")
@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-01-15T00:00:00", "2026-01-15", "2026-01-15T00Z", "20260115T000000Z", "2026-W03-4T00:00:00Z", "yesterday",
        "", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-15T24:30:00Z", "2026-01-15T00:00:00+01:00:30",
        "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", 1768435200, True, {},
    ],
)  # fmt: skip
async def test_a_timestamp_without_an_offset_or_not_in_rfc_3339_is_refused(running, timestamp):
    for section, body, name in (
        ("segments", {**RECORDS["segments"], "memberSince": timestamp}, "memberSince"),
        ("segments", {"record": RECORDS["segments"], "effectiveAt": timestamp}, "effectiveAt"),
    ):
        answer = await running.record(section, body)
        assert answer.status_code == 422
        assert f"`{name}`" in answer.json()["detail"]
    assert (await running.profile()).status_code == 404


@row("timestamps")
async def test_computed_at_is_the_moment_of_the_answer_with_three_digits(running):
    await running.recorded("segments", RECORDS["segments"])
    for seconds in (0, 0.25, 3600, 86_400.125):
        running.clock.now = START
        running.clock.advance(seconds)
        computed_at = (await running.profile()).json()["computedAt"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", computed_at)
        assert abs(time.parse(computed_at) - START - int(seconds * time.SECOND)) < 2000


@row("numbers")
@pytest.mark.parametrize(
    ("confidence", "expected"), [("1", "1.0"), ("0", "0.0"), ("1.0", "1.0"), ("0.95", "0.95"), ("1e-1", "0.1")]
)
async def test_confidence_is_always_a_json_float(running, confidence, expected):
    body = f'{{"type":"email","value":"a@example.com","confidence":{confidence}}}'
    path = "/api/v1/customers/c1/identities"
    answer = await running.client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 201
    assert f'"confidence":{expected}}}' in (await running.profile()).text
    assert f'"confidence":{expected}}}' in (await running.client.get(path)).text


@row("numbers")
@pytest.mark.parametrize("confidence", [1.001, -0.001, 2, -1, "1.0", True, None])
async def test_a_confidence_outside_0_to_1_is_refused(running, confidence):
    answer = await running.record("identities", {**RECORDS["identities"], "confidence": confidence})
    assert answer.status_code == 422
    assert "`confidence`" in answer.json()["detail"]


OPTIONAL = [
    ("interactions", RECORDS["interactions"], ("offerId", "channelId")),
    ("journeys", RECORDS["journeys"], ("currentStep", "completedAt")),
    ("consent", RECORDS["consent"], ("channel", "grantedAt", "revokedAt", "source")),
    ("consent", PREFERENCE, ("updatedAt", "source")),
]


@row("unset optional field")
@pytest.mark.parametrize(("section", "record", "names"), OPTIONAL)
async def test_an_unset_optional_field_is_null_never_absent(running, section, record, names):
    bare = {name: value for name, value in record.items() if name not in names}
    unset = bare | dict.fromkeys(names)
    await running.recorded(section, bare)
    assert await running.section(section) == [unset]
    assert (await running.listed(section))["data"][0]["record"] == unset
    assert await running.recorded(section, unset) == {"recorded": 0, "duplicates": 1}


@row("unset optional field")
async def test_other_fields_of_an_interaction_go_into_properties(running):
    record = RECORDS["interactions"]
    await running.recorded("interactions", {**record, "price": 9.5, "tags": ["a"], "properties": {"page": "/x"}})
    assert await running.section("interactions") == [
        {**record, "properties": {"page": "/x", "price": 9.5, "tags": ["a"]}}
    ]


@row("unset optional field")
@pytest.mark.parametrize("empty", [{}, {"properties": {}}])
async def test_properties_are_present_only_if_there_are_any(running, empty):
    await running.recorded("interactions", {**RECORDS["interactions"], **empty})
    assert await running.section("interactions") == [RECORDS["interactions"]]


@row("unset optional field")
@pytest.mark.parametrize("section", [name for name in NAMES if name != "interactions"])
async def test_in_every_other_section_an_unknown_field_is_refused_by_name(running, section):
    answer = await running.record(section, {**RECORDS[section], "surprise": 1})
    assert answer.status_code == 422
    assert "`surprise`" in answer.json()["detail"]
    assert (await running.profile()).status_code == 404


def _interactions():
    late, early = "2026-05-02T00:00:00Z", "2026-05-01T00:00:00Z"
    ordered = [("b", late), ("a", late), ("é", early), ("z", early), ("B", early)]
    return [{**RECORDS["interactions"], "id": name, "timestamp": at} for name, at in ordered]


ORDERED = {
    "interactions": _interactions(),
    "identities": [
        {"type": kind, "value": value, "confidence": confidence}
        for kind, value, confidence in (
            ("phone", "+1", 1.0), ("email", "a@x.org", 0.9), ("email", "b@x.org", 0.9), ("phone", "+2", 0.9),
            ("device_id", "d", 0.1),
        )
    ],
    "segments": [
        {"segmentId": name, "segmentName": "s", "memberSince": f"2026-01-{day:02}T00:00:00Z"}
        for name, day in (("c", 9), ("B", 8), ("a", 8), ("b", 8), ("0", 7))
    ],
    "journeys": [
        {**RECORDS["journeys"], "journeyId": name, "enrolledAt": f"2026-01-{day:02}T00:00:00Z"}
        for name, day in (("c", 9), ("B", 8), ("a", 8), ("b", 8), ("c", 7))
    ],
    "experiments": [
        {**RECORDS["experiments"], "experimentId": name, "assignedAt": f"2026-01-{day:02}T00:00:00Z"}
        for name, day in (("c", 9), ("B", 8), ("a", 8), ("b", 8), ("0", 7))
    ],
    "consent": [
        {**PREFERENCE, "key": "z", "updatedAt": "2026-01-09T00:00:00Z"},
        {**RECORDS["consent"], "purpose": "a", "grantedAt": "2026-01-08T00:00:00Z"},
        {**RECORDS["consent"], "purpose": "b", "channel": None, "grantedAt": "2026-01-08T00:00:00Z"},
        {**RECORDS["consent"], "purpose": "b", "channel": "sms", "grantedAt": "2026-01-08T00:00:00Z"},
        {**PREFERENCE, "key": "a", "updatedAt": "2026-01-08T00:00:00Z"},
        {**PREFERENCE, "key": "b", "updatedAt": "2026-01-07T00:00:00Z"},
    ],
}  # fmt: skip


@row("order inside a section")
@pytest.mark.parametrize("section", NAMES)
async def test_records_are_shown_in_one_order_whatever_the_order_of_recording(running, section):
    shuffle = random.Random(7)
    for number in range(4):
        customer_id = f"c{number}"
        # An identifier belongs to one person: each customer has its own, in the same order.
        own = {"identities": lambda record, number=number: {**record, "value": f"{record['value']}{number}"}}
        records = [own[section](record) if section in own else record for record in ORDERED[section]]
        expected = list(records)
        for _ in range(number):
            shuffle.shuffle(records)
        await running.recorded(section, records[0], customer_id)
        for record in records[1:]:
            await running.recorded(section, record, customer_id)
        assert await running.section(section, customer_id) == expected


@row("order inside a section")
async def test_the_same_request_gives_the_same_bytes(running):
    for name in NAMES:
        await running.recorded(name, ORDERED[name])
    answers = [re.sub(rb'"computedAt":"[^"]+"', b"", (await running.profile()).content) for _ in range(5)]
    assert len(set(answers)) == 1
    assert b"computedAt" not in answers[0]
    alone, other = [(await running.profile(sections=names)).json() for names in ("segments", "segments,consent")]
    assert alone["sections"][0] == other["sections"][0]


@row("caching")
async def test_an_answer_carries_a_weak_etag_and_says_what_it_varies_by(extended):
    await extended.recorded("segments", RECORDS["segments"])
    answer = await extended.profile(sections="segments,consent")
    assert re.fullmatch(r'W/"[!#-~]+"', answer.headers["etag"])
    assert answer.headers["vary"] == "X-Tenant-Id, Authorization, X-API-Key"
    assert answer.headers["cache-control"] == "private, no-cache"
    not_modified = await extended.profile(
        sections="segments,consent", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert (not_modified.status_code, not_modified.content) == (304, b"")
    assert not_modified.headers["etag"] == answer.headers["etag"]
    assert not_modified.headers["vary"] == answer.headers["vary"]
    assert not_modified.headers["cache-control"] == answer.headers["cache-control"]
    computed = await extended.profile(sections="segments,loyalty")
    assert "etag" not in computed.headers
    assert computed.headers["vary"] == answer.headers["vary"]


@row("caching")
async def test_the_etag_is_the_same_again_after_an_unmerge(running):
    for name, customer_id in itertools.product(NAMES, ("c1", "c2")):
        own = {"value": f"{customer_id}@example.org"} if name == "identities" else {}
        await running.recorded(name, {**RECORDS[name], **own}, customer_id)
    before = (await running.profile("c2")).headers["etag"]
    await merge(running, "c2", "c1")
    merged = (await running.profile("c2")).headers["etag"]
    assert merged == (await running.profile("c1")).headers["etag"] != before
    await running.services.identities.unmerge(TENANT, "c1", "c2", None)
    assert (await running.profile("c2")).headers["etag"] == before


@row("customer ids")
async def test_the_answer_names_customer_and_tenant(running):
    await running.recorded("segments", RECORDS["segments"], "C1")
    answer = (await running.profile("C1")).json()
    assert list(answer) == ["customerId", "tenantId", "sections", "computedAt"]
    assert (answer["customerId"], answer["tenantId"]) == ("C1", TENANT)
