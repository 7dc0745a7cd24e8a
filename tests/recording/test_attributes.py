"""Attributes on their way in and out: a source's rank when it tells a record, and the sources that nobody may use."""

import json
from dataclasses import replace

import pytest

from harness import START, TENANT, ndjson, portrait
from portrait.ingest.records import Parser
from portrait.model import time
from portrait.model.errors import InvalidRecord
from portrait.model.identifier import customer
from portrait.sections.ranks import rank_of
from sections.facts import MINUTE

NAME = {"name": "family_name", "value": "Doe"}
WEB = "public:web"


def told(source, value, **more):
    return {"record": {**NAME, "value": value, **more}, "source": source}


async def ranked(running, **ranks):
    answer = await running.client.put("/api/v1/identity/rules", json={"sourceRanks": ranks})
    assert answer.status_code == 200, answer.text


async def bulk(running, *lines):
    headers = {"content-type": "application/x-ndjson"}
    answer = await running.client.post("/api/v1/records", content=ndjson(lines), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def line(record, **more):
    return {"customerId": "c1", "section": "attributes", "record": record, **more}


async def said_in_public(running, section, record, customer_id="c1", source=WEB):
    """Record what a trusted part of the service takes from a page."""
    row = await running.services.store.tenant(TENANT)
    stored = running.services.registry.stored(section)
    incoming = Parser(row, source).records(json.dumps(record).encode(), customer_id, stored)
    await running.services.recorder.record_all(TENANT, incoming)
    running.clock.advance(1)


async def values(running):
    return [(attribute["value"], attribute["source"]) for attribute in await running.section("attributes")]


async def bodies(running):
    facts = await running.services.store.facts(TENANT, [customer("c1")])
    return [json.loads(fact.body) for fact in sorted(facts, key=lambda fact: fact.id) if fact.section == "attributes"]


async def test_attributes_are_shown_where_they_are_asked_for_by_name(running):
    await running.recorded("attributes", NAME)
    assert await running.section("attributes") == [{**NAME, "updatedAt": None, "source": "api"}]
    assert "attributes" not in [section["name"] for section in (await running.profile()).json()["sections"]]


async def test_the_source_of_the_lowest_rank_counts_then_the_newest(running):
    await ranked(running, crm=1, shop=1)
    for source, value in [("crm", "Doe"), ("till", "Roe"), ("shop", "Poe"), ("till", "Loe")]:
        await running.recorded("attributes", told(source, value))
        running.clock.advance(1)
    assert await values(running) == [("Poe", "shop")]
    await running.checked()


async def test_the_moment_of_a_record_is_its_own(running):
    late = time.rfc3339(START - MINUTE)
    await running.recorded("attributes", [told("crm", "Doe"), told("shop", "Roe", updatedAt=late)])
    assert await values(running) == [("Doe", "crm")]


WAYS = {
    "a record": lambda running: running.recorded("attributes", told("crm", "Doe")),
    "an array": lambda running: running.recorded("attributes", [told("crm", "Doe")]),
    "a bulk": lambda running: bulk(running, line(NAME, source="crm")),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_the_rank_of_the_time_stands_in_the_fact_and_is_shown_nowhere(running, way):
    await ranked(running, crm=7)
    await way(running)
    await ranked(running, crm=900)
    assert [body["rank"] for body in await bodies(running)] == [7]
    (listed_record,) = (await running.listed("attributes"))["data"]
    history = await running.client.get(f"/api/v1/customers/c1/attributes/{listed_record['key']}/history")
    shown = [listed_record["record"], history.json()["data"][0]["record"], (await running.section("attributes"))[0]]
    assert [set(record) for record in shown] == [{"name", "value", "updatedAt", "source"}] * 3
    await running.recorded("attributes", told("till", "Roe"))
    assert await values(running) == [("Doe", "crm")], "a rule of later changes nothing that was told before it"
    await running.checked()


def test_a_file_that_is_loaded_has_the_rank_of_the_time(tmp_path):
    database = tmp_path / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=database).returncode == 0
    (tmp_path / "rules.json").write_text('{"sourceRanks":{"crm":7}}')
    done = portrait("identity", "rules", "--tenant", TENANT, "--file", str(tmp_path / "rules.json"), database=database)
    assert done.returncode == 0, done.stderr
    (tmp_path / "lines.jsonl").write_bytes(ndjson([line(NAME, source="crm"), line({**NAME, "value": "Roe"})]))
    assert portrait("load", str(tmp_path / "lines.jsonl"), "--tenant", TENANT, database=database).returncode == 0
    assert "Doe" in portrait("show", "c1", "--tenant", TENANT, "--sections", "attributes", database=database).stdout


async def test_a_rank_that_no_rule_gives_stands_in_no_fact(running):
    await running.recorded("attributes", NAME)
    assert [set(body) for body in await bodies(running)] == [{"name", "value", "updatedAt", "source"}]


@pytest.mark.parametrize("rank", [1, 100, None])
async def test_no_sender_gives_a_rank(running, rank):
    answer = await running.record("attributes", {**NAME, "rank": rank})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_record")
    assert answer.json()["detail"].startswith("Field `rank` is unknown")
    assert (await bulk(running, line({**NAME, "rank": rank})))["refused"][0]["code"] == "invalid_record"


async def test_what_its_source_says_again_is_no_news_and_what_another_says_is(running):
    for source, recorded in [("crm", 1), ("crm", 0), ("shop", 1), ("crm", 0), ("shop", 0)]:
        answer = await running.recorded("attributes", told(source, "Doe"))
        assert answer["recorded"] == recorded, source
        running.clock.advance(1)


async def test_what_was_ended_may_be_said_again(running):
    await running.recorded("attributes", told("crm", "Doe"))
    running.clock.advance(1)
    assert (await running.client.delete("/api/v1/customers/c1/attributes/family_name")).status_code == 204
    assert await values(running) == []
    running.clock.advance(1)
    assert (await running.recorded("attributes", told("crm", "Doe")))["recorded"] == 1
    assert await values(running) == [("Doe", "crm")]


async def test_a_record_with_a_moment_repeats_its_own_source_alone(running):
    at = {"updatedAt": time.rfc3339(START - MINUTE)}
    for source, recorded in [("crm", 1), ("shop", 1), ("crm", 0)]:
        assert (await running.recorded("attributes", told(source, "Doe", **at)))["recorded"] == recorded


# --- losers ---


async def test_losers_are_what_other_sources_say_last_the_most_preferred_first(running):
    await ranked(running, crm=1)
    for source, value in [("crm", "Doe"), ("till", "Roe"), ("shop", "Old"), ("shop", "Poe")]:
        await running.recorded("attributes", told(source, value))
        running.clock.advance(1)
    asked = {"sections": "attributes", "losers": "true"}
    answer = await running.client.get("/api/v1/customers/c1/unified-profile", params=asked)
    (attribute,) = answer.json()["sections"][0]["data"]
    assert (attribute["value"], attribute["source"]) == ("Doe", "crm")
    assert attribute["losers"] == [
        {"value": "Poe", "updatedAt": None, "source": "shop"},
        {"value": "Roe", "updatedAt": None, "source": "till"},
    ]
    assert all("losers" not in attribute for attribute in await running.section("attributes"))


async def test_a_profile_with_losers_is_never_unchanged(running):
    """A loser that says otherwise changes no document: an ETag of documents would say that nothing changed."""
    await running.recorded("attributes", NAME)
    plain = await running.profile(sections="attributes")
    for known in (plain.headers["etag"], "*"):
        answer = await running.client.get(
            "/api/v1/customers/c1/unified-profile",
            params={"sections": "attributes", "losers": "true"},
            headers={"if-none-match": known},
        )
        assert (answer.status_code, "etag" in answer.headers) == (200, False)


async def test_a_profile_without_attributes_has_no_losers_and_is_what_it_is_without_asking(running):
    await running.recorded("attributes", NAME)
    for sections in ("segments", "segments,consent"):
        plain = await running.profile(sections=sections)
        asked = {"sections": sections, "losers": "true"}
        answer = await running.client.get("/api/v1/customers/c1/unified-profile", params=asked)
        assert (answer.content, answer.headers["etag"]) == (plain.content, plain.headers["etag"])


async def test_whether_losers_are_shown_is_true_or_false(running):
    await running.recorded("attributes", NAME)
    answer = await running.client.get("/api/v1/customers/c1/unified-profile", params={"losers": "yes"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


# --- sources that only the service itself gives ---


@pytest.mark.parametrize(
    ("section", "record"),
    [
        ("attributes", {"record": NAME, "source": WEB}),
        ("attributes", {**NAME, "source": WEB}),
        ("consent", {"kind": "consent", "purpose": "ads", "status": "granted", "source": WEB}),
        ("consent", {"kind": "preference", "key": "k", "value": 1, "source": WEB}),
        ("identities", {"record": {"type": "email", "value": "a@example.org"}, "source": "public:"}),
    ],
)
async def test_no_caller_speaks_as_a_public_source(running, section, record):
    for body in (record, [record]):
        answer = await running.record(section, body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_record")
        assert "must not begin with `public:`" in answer.json()["detail"]
        assert "web" not in answer.json()["detail"]
    enveloped = record if "record" in record else {"record": record}
    outcome = await bulk(running, {"customerId": "c1", "section": section, **enveloped})
    assert [refusal["code"] for refusal in outcome["refused"]] == ["invalid_record"]


async def test_no_caller_ends_or_links_as_a_public_source(running):
    await running.recorded("attributes", NAME)
    end = {"customerId": "c1", "section": "attributes", "op": "delete", "key": "family_name", "source": WEB}
    assert [refusal["code"] for refusal in (await bulk(running, end))["refused"]] == ["invalid_record"]
    email = {"type": "email", "value": "a@example.org"}
    action = {"action": "link", "canonicalId": "c1", "identifiers": [email], "source": WEB}
    answer = await running.client.post("/api/v1/identity", json=action)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_record")


async def test_trusted_code_speaks_as_a_public_source_and_as_no_other(running):
    await said_in_public(running, "attributes", NAME)
    assert [body["rank"] for body in await bodies(running)] == [1001]
    assert await values(running) == [("Doe", WEB)]
    await running.recorded("attributes", told("till", "Roe"))
    await said_in_public(running, "attributes", {**NAME, "value": "Loe"})
    assert await values(running) == [("Roe", "till")]
    with pytest.raises(InvalidRecord, match="must be left out"):
        await said_in_public(running, "attributes", {"record": NAME, "source": "crm"})
    await running.checked()


async def test_a_public_source_grants_nothing_over_a_withdrawal(running):
    decision = {"kind": "consent", "purpose": "ads", "status": "revoked"}
    await running.recorded("consent", decision)
    running.clock.advance(1)
    await said_in_public(running, "consent", decision | {"status": "granted"})
    assert [record["status"] for record in await running.section("consent")] == ["revoked"]
    running.clock.advance(1)
    await running.recorded("consent", decision | {"status": "granted"})
    assert [record["status"] for record in await running.section("consent")] == ["granted"]
    await running.checked()


async def test_what_is_known_of_an_anonymous_id_that_public_sources_give_to_two_shows_with_neither(running):
    anonymous = {"type": "anonymous_id", "value": "a1"}
    segment = {"segmentId": "s1", "segmentName": "Looked around", "memberSince": time.rfc3339(START)}
    await bulk(running, {"identifier": anonymous, "section": "segments", "record": segment})
    for customer_id, expected in [("c1", ["s1"]), ("c2", [])]:
        await said_in_public(running, "identities", anonymous, customer_id)
        shown = [member["segmentId"] for member in await running.section("segments", customer_id)]
        assert shown == expected, customer_id
    assert await running.section("segments", "c1") == []
    await running.recorded("identities", {"record": anonymous, "source": "crm"}, "c2")
    assert [member["segmentId"] for member in await running.section("segments", "c2")] == ["s1"]
    await running.checked()


async def test_what_a_public_source_granted_is_news_from_another_at_the_same_moment(running):
    at = {"grantedAt": time.rfc3339(START)}
    decision = {"kind": "consent", "purpose": "ads", "status": "revoked", "revokedAt": time.rfc3339(START - MINUTE)}
    grant = {"kind": "consent", "purpose": "ads", "status": "granted", **at}
    await running.recorded("consent", decision)
    await said_in_public(running, "consent", grant)
    assert [record["status"] for record in await running.section("consent")] == ["revoked"]
    assert (await running.recorded("consent", grant))["recorded"] == 1
    assert [record["status"] for record in await running.section("consent")] == ["granted"]


async def test_a_record_of_an_older_version_is_brought_forward_with_its_rank(running):
    await ranked(running, crm=7)
    await running.recorded("attributes", told("crm", "Doe"))
    (fact,) = await running.services.store.facts(TENANT, [customer("c1")])

    def upgrade(version, body):
        return {**body, "value": [version, sorted(body)]}

    newer = replace(running.services.registry.stored("attributes"), version=2, upgrade=upgrade).bring_forward(fact)
    assert json.loads(newer.body)["value"] == [1, ["name", "source", "updatedAt", "value"]]
    assert rank_of(newer.body) == 7
