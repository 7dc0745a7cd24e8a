"""Profiles by any identifier, and short profiles: the answers to one request and to several at once."""

import json

import pytest

from harness import interaction
from identifying.acting import SEGMENT, act, each, evidence, line, named, tie
from portrait.api.lookup import MAX_PROFILES

PATH = "/api/v1/unified-profile"
E, D = "email:e@example.org", "device_id:d"


@pytest.fixture
async def filled(running):
    await each(
        running,
        tie("A", E, 0.9),
        tie("A", "email:second@example.org", 0.8),
        tie(E, D, 0.7),
        line(D, "interactions", interaction(1)),
        line("A", "segments", SEGMENT),
        line("B", "segments", {**SEGMENT, "segmentName": "other"}),
    )
    return running


def timeless(profile):
    return {name: value for name, value in profile.items() if name != "computedAt"}


@pytest.mark.parametrize("tag", [E, "email: E@Example.ORG", D, "A"])
async def test_any_identifier_leads_to_the_same_profile(filled, tag):
    answer = await filled.client.post(PATH, json={"identifier": named(tag)})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert timeless(answer.json()) == timeless((await filled.profile("A")).json())
    assert timeless((await filled.client.post(PATH, json={"customerId": "A"})).json()) == timeless(answer.json())


async def test_only_the_sections_asked_for_are_answered(filled):
    answer = await filled.client.post(PATH, json={"identifier": named(D), "sections": ["segments", "identities"]})
    assert [section["name"] for section in answer.json()["sections"]] == ["segments", "identities"]


WRONG = {
    "nobody's": ({"identifier": named("email:nobody@example.org")}, 404, "identifier_not_found"),
    "an unknown customer": ({"customerId": "nobody"}, 404, "customer_not_found"),
    "an unknown type": ({"identifier": named("shoe_size:44")}, 422, "unknown_identifier_type"),
    "a blocked value": ({"identifier": named("email:null")}, 422, "blocked_identifier"),
    "no value": ({"identifier": named("email: ")}, 422, "blocked_identifier"),
    "a customer of no name": ({"customerId": ".."}, 422, "invalid_record"),
    "an identifier of no name": ({"identifier": named("..")}, 422, "invalid_record"),
    "neither": ({}, 422, "invalid_record"),
    "both": ({"identifier": named(E), "customerId": "A"}, 422, "invalid_record"),
    "nothing": (None, 422, "invalid_record"),
    "half": ({"identifier": {"type": "email"}}, 422, "invalid_record"),
    "more": ({"customerId": "A", "secret": 1}, 422, "invalid_record"),
    "an unknown section": ({"customerId": "A", "sections": ["secret"]}, 400, "unknown_section"),
    "no section": ({"customerId": "A", "sections": []}, 400, "unknown_section"),
}


@pytest.mark.parametrize(("asked", "status", "code"), WRONG.values(), ids=WRONG)
async def test_a_wrong_request_for_one_profile_is_refused(filled, asked, status, code):
    answer = await filled.client.post(PATH, content=json.dumps(asked), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "secret" not in answer.text
    assert "nobody" not in answer.text


async def test_several_are_answered_in_order_each_with_its_own_status(filled):
    asked = [{"customerId": "B"}, *(request for request, _, _ in WRONG.values()), {"identifier": named(E)}]
    answer = await filled.client.post(PATH, json=asked)
    assert answer.status_code == 200
    first, *wrong, last = answer.json()["data"]
    assert (first["status"], first["profile"]["customerId"]) == (200, "B")
    assert (last["status"], timeless(last["profile"])) == (200, timeless((await filled.profile("A")).json()))
    assert [(result["status"], result["problem"]["code"]) for result in wrong] == [(s, c) for _, s, c in WRONG.values()]
    assert all(result.keys() == {"status", "problem"} for result in wrong)
    assert {result["problem"]["status"] == result["status"] for result in wrong} == {True}


@pytest.mark.parametrize("size", [0, MAX_PROFILES + 1])
async def test_an_array_of_none_or_too_many_is_refused(filled, size):
    answer = await filled.client.post(PATH, json=[{"customerId": "A"}] * size)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_record")
    assert str(MAX_PROFILES) in answer.json()["detail"]


async def test_as_many_as_may_be_are_answered(filled):
    answer = await filled.client.post(PATH, json=[{"customerId": "A", "sections": ["segments"]}] * MAX_PROFILES)
    assert [result["status"] for result in answer.json()["data"]] == [200] * MAX_PROFILES


async def test_a_section_that_the_role_may_not_read_is_refused(guarded):
    headers = {"X-API-Key": await guarded.key("admin")}
    await guarded.client.post("/api/v1/customers/A/guarded", json={"id": "1"}, headers=headers)
    wanted = {"customerId": "A", "sections": ["guarded"]}
    assert (await guarded.client.post(PATH, json=wanted, headers=headers)).status_code == 200
    viewer = {"X-API-Key": await guarded.key("viewer")}
    answer = await guarded.client.post(PATH, json=wanted, headers=viewer)
    assert (answer.status_code, answer.json()["code"]) == (403, "section_forbidden")
    answer = (await guarded.client.post(PATH, json=[wanted], headers=viewer)).json()["data"]
    assert [(result["status"], result["problem"]["code"]) for result in answer] == [(403, "section_forbidden")]
    whole = (await guarded.client.get("/api/v1/profiles/A", headers=viewer)).json()
    assert "guarded" not in whole["schemas"]
    assert "guarded" in (await guarded.client.get("/api/v1/profiles/A", headers=headers)).json()["schemas"]


# --- in short ---


async def test_a_profile_in_short_has_the_surest_of_each_type(filled):
    answer = await filled.client.get("/api/v1/profiles/A")
    assert answer.status_code == 200
    assert answer.json() == {
        "customerId": "A",
        "schemas": {},
        "segments": ["S"],
        "recentInteractions": [
            {"offerId": None, "interactionType": "click", "timestamp": "2026-05-01T00:00:00Z"},
        ],
        "identities": {"email": "e@example.org", "device_id": "d"},
    }
    assert "content-location" not in answer.headers


async def test_a_plugins_section_shows_its_first_record(extended):
    ticket = {"ticketId": "t1", "subject": "s", "openedAt": "2026-05-01T00:00:00Z"}
    await extended.recorded("tickets", [ticket, {**ticket, "ticketId": "t0", "openedAt": "2026-04-01T00:00:00Z"}], "A")
    answer = (await extended.client.get("/api/v1/profiles/A")).json()
    assert answer["schemas"] == {"loyalty": {"tier": "gold"}, "tickets": ticket}


async def test_a_merged_customers_old_id_answers_with_the_survivor(filled):
    await each(filled, line("Ä/C", "segments", SEGMENT))
    await act(filled, "merge", targetId="Ä/C", sourceId="A")
    answer = await filled.client.get("/api/v1/profiles/A")
    assert answer.json()["customerId"] == "Ä/C"
    assert answer.headers["content-location"] == "/api/v1/profiles/%C3%84%2FC"
    answer = await filled.client.post(PATH, json=[{"customerId": "A"}, {"identifier": named(E)}])
    assert [result["profile"]["customerId"] for result in answer.json()["data"]] == ["Ä/C", "Ä/C"]
    assert evidence("A") in await filled.section("identities", "A")


@pytest.mark.parametrize(("customer_id", "status"), [("nobody", 404), ("%00", 400), ("x" * 257, 400)])
async def test_a_profile_in_short_of_nobody(running, customer_id, status):
    assert (await running.client.get(f"/api/v1/profiles/{customer_id}")).status_code == status
