"""An error in recording one line refuses that line alone, and leaves no trace of it."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import START, TENANT, ndjson, service
from portrait.model import time
from portrait.model.errors import SectionFailed
from portrait.model.identifier import customer
from portrait.sections import base, fold
from portrait.writes import record_writer

PLUGIN = '''
from typing import Annotated

from portrait import Record, Text, Timestamp, impersonal, register_profile_section


def effective(record):
    if record.id == "bad moment":
        raise RuntimeError("words of the exception")
    return None


def normalise(record):
    if record.id == "bad key":
        raise RuntimeError("words of the exception")
    return (record.id,)


def shown(record):
    if record.id == "bad show":
        raise RuntimeError("words of the exception")
    return True


@register_profile_section("ranked", key=("id",), order="rank", effective=effective, normalise=normalise, shown=shown)
class Ranked(Record, frozen=True):
    """Records in the order of a field that may be left out."""

    id: Annotated[Text, impersonal]
    rank: Annotated[int | None, impersonal] = None
    note: Annotated[str, impersonal] = ""
'''
UPGRADED = """
def upgrade(version, record):
    if record["id"] == "old":
        raise RuntimeError("words of the exception")
    return record

"""
BLOB = '''
from typing import Annotated

from portrait import Record, Text, impersonal, register_profile_section


@register_profile_section("blob", key=("id",), shown=lambda record: not record.hidden)
class Blob(Record, frozen=True):
    """Texts of any length."""

    id: Annotated[Text, impersonal]
    text: Annotated[str, impersonal]
    hidden: Annotated[bool, impersonal] = False
'''

PICKY = '''
from typing import Annotated

from portrait import Events, Record, Text, Timestamp, impersonal, register_profile_section


class Picky(Events):
    """Events, but for one that it fails at."""

    def apply(self, state, fact):
        if b"bad" in fact.body:
            raise RuntimeError("words of the exception")
        return super().apply(state, fact)


@register_profile_section("picky", key=("id",), kind="events", fold=Picky(), effective="at")
class Event(Record, frozen=True):
    """An event."""

    id: Annotated[Text, impersonal]
    at: Annotated[Timestamp, impersonal]
'''


def written(tmp_path, text, name="ranked.py"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


@asynccontextmanager
async def opened(tmp_path, url, text=PLUGIN, **options):
    plugins = () if text is None else (written(tmp_path, text),)
    async with service(tmp_path, database=url, plugins=plugins, **options) as running:
        yield running


@pytest.fixture
async def ranked(tmp_path, each_url):
    async with opened(tmp_path, each_url) as running:
        yield running


def line(customer, section, record):
    return {"customerId": customer, "section": section, "record": record}


def segment(name):
    return {"segmentId": name, "segmentName": name, "memberSince": "2026-01-01T00:00:00Z"}


def email(value):
    return {"type": "email", "value": value}


async def bulk(running, *lines):
    response = await running.client.post(
        "/api/v1/records", content=ndjson(lines), headers={"Content-Type": "application/x-ndjson"}
    )
    assert response.status_code == 200, response.text
    return response.json()


def refusals(answer):
    return [(refusal["index"], refusal["code"]) for refusal in answer["refused"]]


async def everything(running, *customers):
    """Return the sections of customers' profiles, without the moment."""
    profiles = {}
    for name in customers:
        answer = await running.profile(name)
        profiles[name] = answer.json()["sections"] if answer.status_code == 200 else None
    return profiles


BAD = {
    "moment": (line("B", "ranked", {"id": "bad moment"}),),
    "key": (line("B", "ranked", {"id": "bad key"}),),
    "show": (line("B", "ranked", {"id": "bad show"}),),
    "order": (line("B", "ranked", {"id": "b", "rank": 1}), line("B", "ranked", {"id": "c"})),
}


@pytest.mark.parametrize("kind", BAD)
async def test_an_exception_of_a_plugin_refuses_its_own_line_alone(ranked, kind, caplog):
    caplog.set_level(logging.WARNING)
    good = [line("A", "ranked", {"id": "a", "rank": 2}), line("B", "segments", segment("s"))]
    answer = await bulk(ranked, *good, *BAD[kind], line("C", "ranked", {"id": "d"}))
    at = len(good) + len(BAD[kind]) - 1
    assert refusals(answer) == [(at, "section_failed")]
    assert "`ranked`" in answer["refused"][0]["detail"]
    assert "words" not in answer["refused"][0]["detail"]
    assert answer["recorded"] == at + 1
    assert [record["id"] for record in await ranked.section("ranked", "C")] == ["d"]
    assert await ranked.section("segments", "B") == [segment("s")]
    await ranked.checked()
    failures = [log_record for log_record in caplog.records if "section ranked failed" in log_record.getMessage()]
    assert len(failures) == 1, "logged once a chunk"


@pytest.mark.parametrize("kind", BAD)
async def test_a_sections_own_array_is_refused_whole_and_names_the_record(ranked, kind):
    records = [{"id": "a", "rank": 2}, *(bad_line["record"] for bad_line in BAD[kind])]
    answer = await ranked.record("ranked", records, "B")
    assert (answer.status_code, answer.json()["code"]) == (500, "section_failed")
    assert f"Record {len(records) - 1}, " in answer.json()["detail"]
    assert (await ranked.profile("B")).status_code == 404


async def test_a_single_record_that_fails_harms_none_that_share_its_transaction(ranked):
    await ranked.recorded("ranked", {"id": "a", "rank": 1}, "B")
    incoming = [ranked.record("ranked", {"id": f"n{number}"}, "B") for number in range(3)]
    incoming += [ranked.record("segments", segment("s"), "B"), ranked.record("ranked", {"id": "x"}, "C")]
    statuses = [answer.status_code for answer in await asyncio.gather(*incoming)]
    assert statuses == [500, 500, 500, 201, 201]


async def test_a_merge_goes_through_though_a_sections_code_fails_and_the_section_says_so(ranked):
    await bulk(ranked, line("A", "ranked", {"id": "a", "rank": 1}), line("B", "ranked", {"id": "b"}))
    await ranked.recorded("segments", segment("s"), "B")
    await ranked.services.identities.merge(TENANT, "A", "B", None)
    profile = (await ranked.profile("A")).json()
    sections = {section["name"]: section for section in profile["sections"]}
    assert sections["ranked"]["data"] == []
    assert sections["ranked"]["error"]["code"] == "section_failed"
    assert sections["segments"]["data"] == [segment("s")]
    await ranked.services.identities.unmerge(TENANT, "A", "B", None)
    assert [record["id"] for record in await ranked.section("ranked", "A")] == ["a"]
    assert [record["id"] for record in await ranked.section("ranked", "B")] == ["b"]
    await ranked.checked()


async def test_a_state_that_cannot_be_folded_anew_refuses_the_lines_about_it_alone(tmp_path, each_url):
    async with opened(tmp_path, each_url) as running:
        await bulk(running, line("A", "ranked", {"id": "old", "rank": 1}), line("B", "ranked", {"id": "b", "rank": 1}))
    newer = UPGRADED + PLUGIN.replace('key=("id",)', 'key=("id",), version=2, upgrade=upgrade')
    async with opened(tmp_path, each_url, newer, tenants=()) as running:
        running.client.headers["X-Tenant-Id"] = TENANT
        answer = await bulk(
            running, line("A", "ranked", {"id": "n", "rank": 2}), line("B", "ranked", {"id": "n", "rank": 2}),
            line("A", "segments", segment("s")),
        )  # fmt: skip
        assert refusals(answer) == [(0, "section_failed")]
        assert [record["id"] for record in await running.section("ranked", "B")] == ["n", "b"]
        await running.services.identities.merge(TENANT, "B", "A", None)
        assert await running.section("segments", "B") == [segment("s")]


async def test_a_customer_kept_apart_from_many_is_still_linked(tmp_path, each_url, monkeypatch):
    async with opened(tmp_path, each_url, None) as running:
        others = [customer(f"other{number}") for number in range(12)]
        await bulk(
            running,
            *(line(name, "segments", segment("s")) for name in ("A", *(identifier.value for identifier in others))),
        )
        for other in others:
            await running.services.identities.keep_apart(TENANT, customer("A"), other, None)
        monkeypatch.setattr("portrait.writes.working_set.MAX_KEYS", 12)
        lines = [line("A", "identities", email(f"more{number}@example.org")) for number in range(5)]
        answer = await bulk(running, *lines)
        assert (answer["recorded"], answer["refused"]) == (5, [])
        assert len(await running.section("identities", "A")) == 5
        monkeypatch.undo()
        await running.checked()


async def test_a_section_holds_no_more_keys_of_one_identifier_than_may(tmp_path, each_url, monkeypatch):
    async with opened(tmp_path, each_url, None) as running:
        monkeypatch.setattr("portrait.writes.working_set.MAX_KEYS", 3)
        lines = [line("A", "segments", segment(f"s{number}")) for number in range(5)]
        assert refusals(await bulk(running, *lines)) == [(3, "too_many_keys"), (4, "too_many_keys")]
        again = await bulk(running, lines[0] | {"record": segment("s0") | {"segmentName": "other"}})
        assert (again["recorded"], again["refused"]) == (1, []), "what is known already may change"
        assert len(await running.section("segments", "A")) == 3
        await running.checked()


def event(key, hours, body="o"):
    timestamp = time.rfc3339(START + hours * time.HOUR)
    return {"id": key, "offerId": body, "channelId": "web", "interactionType": "click", "timestamp": timestamp}


async def test_events_ahead_are_bounded_among_events_that_have_happened(tmp_path, each_url, monkeypatch):
    async with opened(tmp_path, each_url, None) as running:
        monkeypatch.setattr("portrait.writes.working_set.MAX_KEYS", 2)
        lines = [
            line("A", "interactions", event(*each)) for each in zip("abcdefg", (-1, 1, -2, 2, 3, -3, 3), strict=True)
        ]
        assert refusals(await bulk(running, *lines)) == [(4, "too_many_keys"), (6, "too_many_keys")]
        assert [record["id"] for record in await running.section("interactions", "A")] == ["a", "c", "f"]
        running.clock.advance(3600 * 4)
        assert [record["id"] for record in await running.section("interactions", "A")] == ["d", "b", "a", "c", "f"]
        await running.checked()


@settings(max_examples=30, deadline=None)
@given(
    events=st.lists(
        st.builds(event, st.sampled_from("abcdefgh"), st.integers(-3, 3), st.sampled_from("oo2")), max_size=12
    )
)
async def test_of_events_together_those_are_refused_that_are_refused_one_by_one(tmp_path_factory, events):
    lines = [line("A", "interactions", record) for record in events]

    async def recorded(*chunks):
        async with opened(tmp_path_factory.mktemp("events"), None, None) as running:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("portrait.writes.working_set.MAX_KEYS", 2)
                answers = [await bulk(running, *chunk) for chunk in chunks]
            await running.checked()
            codes = [code for answer in answers for _, code in refusals(answer)]
            counts = [sum(answer[name] for answer in answers) for name in ("recorded", "duplicates")]
            return codes, counts, await everything(running, "A")

    assert await recorded(*([lines] if lines else [])) == await recorded(*([each] for each in lines))


async def test_a_fold_that_is_made_from_that_of_events_is_given_each_event(tmp_path, each_url):
    async with opened(tmp_path, each_url, PICKY) as running:
        lines = [line("A", "picky", {"id": key, "at": "2026-01-01T00:00:00Z"}) for key in ("a", "bad", "c")]
        answer = await bulk(running, *lines)
        assert refusals(answer) == [(1, "section_failed")]
        assert sorted(record["id"] for record in await running.section("picky", "A")) == ["a", "c"]


async def test_a_customers_section_holds_so_many_keys_over_all_its_identifiers(tmp_path, each_url, monkeypatch):
    async with opened(tmp_path, each_url, None) as running:
        monkeypatch.setattr("portrait.writes.working_set.MAX_KEYS", 6)
        monkeypatch.setattr("portrait.writes.derivation.MAX_KEYS", 6)
        cookies = [{"type": "cookie_id", "value": name} for name in "kl"]
        await bulk(running, *(line("A", "identities", cookie) for cookie in cookies))
        subjects = ["A", *cookies]
        lines = [
            {**line("A", "segments", segment(f"s{number}")), **({} if of == "A" else {"identifier": of})}
            for number, of in enumerate(subjects * 3)
        ]
        for bulk_line in lines:
            if "identifier" in bulk_line:
                del bulk_line["customerId"]
        answer = await bulk(running, *lines)
        assert refusals(answer) == [(number, "too_many_keys") for number in (6, 7, 8)]
        again = await bulk(running, lines[0] | {"record": segment("s0") | {"segmentName": "other"}})
        assert (again["recorded"], again["refused"]) == (1, []), "what is known already may change"
        assert len(await running.section("segments", "A")) == 6
        monkeypatch.undo()
        await running.checked()


IDENTIFIERS = [email(f"e{number}@example.org") for number in range(4)] + [{"type": "device_id", "value": "d"}]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
async def test_a_refused_line_changes_nothing_recorded_beside_it(tmp_path_factory, data):
    names = "ABC"
    ties = st.tuples(st.sampled_from(names), st.sampled_from(IDENTIFIERS))
    lines = [
        line(name, "identities", identity) for name, identity in data.draw(st.lists(ties, min_size=1, max_size=12))
    ]
    apart = data.draw(st.lists(st.sampled_from("BCXYZ"), max_size=4, unique=True))

    async def recorded(chunk):
        async with opened(tmp_path_factory.mktemp("alone"), None, None) as running:
            await bulk(running, *(line(name, "segments", segment("s")) for name in "ABCXYZ"))
            for other in apart:
                await running.services.identities.keep_apart(TENANT, customer("A"), customer(other), None)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("portrait.writes.working_set.MAX_KEYS", 4)
                answer = await bulk(running, *chunk) if chunk else {"refused": []}
            await running.checked()
            explanations = [
                (await running.client.get("/api/v1/identity/explain", params={"customerId": name})).json()
                for name in names
            ]
            for explanation in explanations:  # the moment of recording is not compared
                for reasoned in explanation["identifiers"]:
                    for link in reasoned["path"]:
                        del link["since"], link["evidence"]
            kept = ("customerId", "identifiers", "crossovers")
            return answer, [{name: explanation[name] for name in kept} for explanation in explanations]

    answer, explanations = await recorded(lines)
    refused = {index for index, _ in refusals(answer)}
    rest, without = await recorded([line for at, line in enumerate(lines) if at not in refused])
    assert rest["refused"] == []
    assert explanations == without


async def test_an_unforeseen_error_refuses_its_own_line_alone(tmp_path, each_url, monkeypatch, caplog):
    """Not a section's code: a defect of the service's own, wherever it may be."""
    usual = record_writer.novelty

    def failing(batch, incoming, fact, known):
        if b"boom" in incoming.parsed.body:
            raise ZeroDivisionError
        return usual(batch, incoming, fact, known)

    async with opened(tmp_path, each_url, None) as running:
        monkeypatch.setattr(record_writer, "novelty", failing)
        names = ["a", "b", "boom", "c", "d", "boom2", "e"]
        answer = await bulk(running, *(line("A", "segments", segment(name)) for name in names))
        assert refusals(answer) == [(2, "internal_error"), (5, "internal_error")]
        assert answer["recorded"] == 5
        assert {record["segmentId"] for record in await running.section("segments", "A")} == set("abcde")


# --- how much a section holds ---

SMALL = 2048


@pytest.fixture
async def small(tmp_path, each_url):
    async with opened(tmp_path, each_url, BLOB, max_section_bytes=SMALL) as running:
        yield running


def blob(name, size, **more):
    return {"id": name, "text": "x" * size, **more}


async def shown_bytes(running, customer="A"):
    section = (await running.profile(customer, "blob")).json()["sections"][0]
    assert "error" not in section
    return len(json.dumps(section["data"], separators=(",", ":")))


async def test_a_record_that_a_section_has_no_room_for_is_refused_and_a_smaller_one_is_taken(small):
    answer = await bulk(
        small, line("A", "blob", blob("a", 900)), line("A", "blob", blob("b", 900)), line("A", "blob", blob("c", 900)),
        line("A", "blob", blob("d", 50)), line("B", "blob", blob("e", 900)),
    )  # fmt: skip
    assert refusals(answer) == [(2, "section_too_large")]
    assert f"at most {SMALL} bytes" in answer["refused"][0]["detail"]
    assert {record["id"] for record in await small.section("blob", "A")} == {"a", "b", "d"}
    alone = await small.record("blob", blob("f", 900), "A")
    assert (alone.status_code, alone.json()["code"]) == (422, "section_too_large")
    assert (await small.record("blob", blob("b", 100), "A")).status_code == 201, "what takes less room is taken"
    array = await small.record("blob", [blob("g", 10), blob("h", 1500)], "A")
    assert (array.status_code, array.json()["code"]) == (422, "section_too_large")
    await small.checked()


async def test_an_event_that_a_section_has_no_room_for_leaves_those_before_it_and_after_it(small):
    lines = [line("A", "interactions", event(key, -1, "o" * size)) for key, size in (("a", 1), ("b", 1), ("c", 2500))]
    lines += [line("A", "interactions", event(key, -2)) for key in "de"]
    assert refusals(await bulk(small, *lines)) == [(2, "section_too_large")]
    assert [record["id"] for record in await small.section("interactions", "A")] == ["b", "a", "e", "d"]
    await small.checked()


async def test_hidden_records_count_towards_the_size_of_a_section(small):
    size = SMALL // 2
    answer = await bulk(small, *(line("A", "blob", blob(f"h{number}", size, hidden=True)) for number in range(20)))
    assert 0 < answer["recorded"] <= base.STATE_TIMES * SMALL // size
    assert {code for _, code in refusals(answer)} == {"section_too_large"}


@settings(max_examples=25, deadline=None)
@given(data=st.data())
async def test_no_section_exceeds_its_size_and_every_accepted_record_is_shown(tmp_path_factory, data):
    sizes = st.integers(0, SMALL + 100)
    lines = data.draw(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("abcdef"), sizes), max_size=12))
    directory = tmp_path_factory.mktemp("small")
    async with opened(directory, None, BLOB, max_section_bytes=SMALL) as running:
        expected = {"A": {}, "B": {}}
        chunks = [lines[:5], lines[5:]]
        for chunk in filter(None, chunks):
            answer = await bulk(running, *(line(customer, "blob", blob(name, size)) for customer, name, size in chunk))
            refused = {index for index, _ in refusals(answer)}
            for index, (customer, name, size) in enumerate(chunk):
                if index not in refused:
                    expected[customer][name] = size
        for customer, records in expected.items():
            if records:
                assert await shown_bytes(running, customer) <= SMALL
                assert {
                    record["id"]: len(record["text"]) for record in await running.section("blob", customer)
                } == records
        await running.checked()


async def test_a_merge_by_hand_that_a_section_has_no_room_for_is_refused_and_a_link_is_not(small):
    for name in "AB":
        await small.recorded("blob", blob(name, 1500), name)
    body = {"action": "merge", "targetId": "A", "sourceId": "B"}
    answer = await small.client.post("/api/v1/identity", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "section_too_large")
    assert [record["id"] for record in await small.section("blob", "B")] == ["B"]
    await small.recorded("identities", email("a@example.org"), "A")
    blob_line = {"identifier": email("e@example.org"), "section": "blob", "record": blob("E", 1500)}
    assert (await bulk(small, blob_line))["recorded"] == 1
    await small.recorded("identities", email("e@example.org"), "A")
    section = (await small.profile("A", "blob")).json()["sections"][0]
    assert section["data"] == []
    assert section["error"] == {
        "code": "too_large",
        "detail": f"The section has more than {SMALL} bytes. Delete some of its records.",
    }
    listed = (await small.client.get("/api/v1/customers/A/blob")).json()["data"]
    assert {stored_record["record"]["id"] for stored_record in listed} == {"A", "E"}
    key = next(stored_record["key"] for stored_record in listed if stored_record["record"]["id"] == "E")
    assert (await small.client.delete(f"/api/v1/customers/A/blob/{key}")).status_code == 204
    assert [record["id"] for record in await small.section("blob", "A")] == ["A"]
    await small.checked()


async def test_a_section_is_filled_up_to_its_bound_and_not_beyond(tmp_path):
    bound, size = 16 * 1024, 600
    async with opened(tmp_path, None, BLOB, max_section_bytes=bound) as running:
        answer = await bulk(running, *(line("A", "blob", blob(f"n{number:02}", size)) for number in range(40)))
        bytes_shown = await shown_bytes(running)
        assert bytes_shown <= bound < bytes_shown + size + 100
        assert len(await running.section("blob", "A")) == answer["recorded"] == 40 - len(answer["refused"])


async def test_few_of_many_records_without_room_are_tried(small, monkeypatch):
    """The cost of refusals is bounded: after so many in one customer's section further records are refused untried."""
    renders = []
    usual = fold.Latest.render
    monkeypatch.setattr(fold.Latest, "render", lambda *args: renders.append(1) or usual(*args))
    monkeypatch.setattr("portrait.writes.judging.MAX_REFUSED", 5)
    answer = await bulk(small, *(line("A", "blob", blob(f"n{number}", SMALL + 1)) for number in range(50)))
    assert len(answer["refused"]) == 50
    assert len(renders) < 50


# --- a process that lacks a plugin ---


@pytest.mark.parametrize("others", [True, False], ids=["other process", "same process"])
async def test_a_service_without_a_plugin_parts_the_plugins_section(tmp_path, each_url, others):
    """A merge invalidates the documents of every section; a service that knows the section renders it when read."""
    async with opened(tmp_path, each_url) as running:
        await bulk(
            running,
            line("A", "ranked", {"id": "penicillin", "rank": 2}),
            line("B", "ranked", {"id": "nuts", "rank": 1}),
        )
        await running.services.identities.merge(TENANT, "A", "B", None)
        assert len(await running.section("ranked", "A")) == 2
        if not others:
            await running.services.identities.unmerge(TENANT, "A", "B", None)
    if others:
        async with opened(tmp_path, each_url, None, tenants=()) as lacking:
            await lacking.services.identities.unmerge(TENANT, "A", "B", None)
            assert (await lacking.services.upkeep.check()).differences == []
    async with opened(tmp_path, each_url, tenants=()) as running:
        running.client.headers["X-Tenant-Id"] = TENANT
        assert [record["id"] for record in await running.section("ranked", "A")] == ["penicillin"]
        assert [record["id"] for record in await running.section("ranked", "B")] == ["nuts"]
        await running.checked()


async def test_a_login_at_a_service_without_a_plugin_joins_the_plugins_section(tmp_path, each_url):
    async with opened(tmp_path, each_url) as running:
        await running.recorded("ranked", {"id": "penicillin", "rank": 2}, "A")
        ranked_line = {
            "identifier": {"type": "device_id", "value": "d"},
            "section": "ranked",
            "record": {"id": "nuts", "rank": 1},
        }
        assert (await bulk(running, ranked_line))["recorded"] == 1
    async with opened(tmp_path, each_url, None, tenants=()) as lacking:
        lacking.client.headers["X-Tenant-Id"] = TENANT
        await lacking.recorded("identities", {"type": "device_id", "value": "d"}, "A")
    async with opened(tmp_path, each_url, tenants=()) as running:
        running.client.headers["X-Tenant-Id"] = TENANT
        assert {record["id"] for record in await running.section("ranked", "A")} == {"penicillin", "nuts"}
        await running.checked()


def test_a_failure_names_its_section_and_keeps_the_words_of_the_exception_to_itself():
    with pytest.raises(SectionFailed) as raised, base.OwnCode("ranked"):
        raise RuntimeError("words of the exception")
    assert "`ranked`" in raised.value.detail
    assert "words" not in raised.value.detail
    assert isinstance(raised.value.__cause__, RuntimeError)


async def test_a_section_that_is_too_large_says_nothing_of_a_customer_to_matching(small):
    await small.recorded("blob", blob("A", 1500), "A")
    blob_line = {"identifier": email("e@example.org"), "section": "blob", "record": blob("E", 1500)}
    assert (await bulk(small, blob_line))["recorded"] == 1
    await small.recorded("identities", email("e@example.org"), "A")
    rows = [row async for row in small.services.matches.attributes(TENANT, ["blob"], "batch")]
    assert rows == [{"email": "e@example.org", "id": "A"}]
