"""Every example plugin at work: in the profile, in the OpenAPI document, in `portrait sections`."""

import json

import jsonschema_rs
import pytest

from harness import portrait, service
from sections.facts import PLUGINS

EXAMPLES = sorted(PLUGINS.glob("*.py"))
REVIEW = {"reviewId": "r1", "productId": "p1", "rating": 5, "text": "It fits.", "writtenAt": "2026-03-28T10:30:00Z"}
NAMES = {
    "loyalty.py": "loyalty",
    "support_tickets.py": "support-tickets",
    "reviews.py": "reviews",
    "lifetime_value.py": "lifetime-value",
}


def purchase(number, cents, currency="EUR"):
    return {
        "purchaseId": f"p{number}",
        "currency": currency,
        "cents": cents,
        "boughtAt": f"2026-03-{number:02}T00:00:00Z",
    }


@pytest.fixture
async def running(tmp_path):
    async with service(tmp_path, plugins=tuple(map(str, EXAMPLES))) as opened:
        segment = {"segmentId": "s1", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}
        await opened.recorded("segments", segment, "CUST001")
        yield opened


def test_every_example_is_tried_here():
    assert {path.name for path in EXAMPLES} == NAMES.keys()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_how_to_run_it_and_shows_in_the_list_of_sections(path):
    assert f"portrait serve --plugin examples/plugins/{path.name}" in path.read_text()
    listed = portrait("sections", "--plugin", str(path))
    assert listed.returncode == 0, listed.stderr
    last = listed.stdout.splitlines()[-1].split("\t")
    assert last[0] == NAMES[path.name]
    assert last[-2].endswith(path.name)
    assert last[-1]


@pytest.mark.parametrize("name", NAMES.values())
async def test_an_example_is_in_the_full_profile_and_in_the_openapi_document(running, name):
    profile = (await running.profile("CUST001")).json()
    assert name in [section["name"] for section in profile["sections"]]
    assert all("error" not in section for section in profile["sections"])
    document = (await running.client.get("/openapi.json")).json()
    sections = json.dumps(document["components"]["schemas"]["UnifiedProfile"])
    assert f"/{''.join(word.capitalize() for word in name.split('-'))}Section" in sections


async def test_loyalty_comes_from_its_source(running):
    assert await running.section("loyalty", "CUST001") == [{"tier": "gold", "points": 1200}]


async def test_open_support_tickets_come_newest_first(running):
    assert [ticket["ticketId"] for ticket in await running.section("support-tickets", "CUST001")] == [
        "T-1003",
        "T-1002",
    ]


async def test_a_customer_missing_from_a_source_has_an_empty_section(running):
    await running.recorded("reviews", REVIEW, "c9")
    assert await running.section("loyalty", "c9") == []
    assert await running.section("support-tickets", "c9") == []


async def test_a_stored_plugin_section_has_all_routes_and_its_history(running):
    assert await running.recorded("reviews", REVIEW) == {"recorded": 1, "duplicates": 0}
    assert await running.recorded("reviews", REVIEW) == {"recorded": 0, "duplicates": 1}
    conflict = await running.record("reviews", REVIEW | {"rating": 1})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "event_conflict")
    refused = await running.record("reviews", REVIEW | {"reviewId": "r2", "rating": 6})
    assert refused.status_code == 422
    assert "`rating`" in refused.json()["detail"]
    assert await running.section("reviews") == [REVIEW]
    [listed] = (await running.listed("reviews"))["data"]
    assert (listed["key"], listed["record"], listed["effectiveAt"]) == ("r1", REVIEW, REVIEW["writtenAt"])
    base = "/api/v1/customers/c1/reviews/r1"
    history = await running.client.get(f"{base}/history")
    assert [fact["op"] for fact in history.json()["data"]] == ["put"]
    assert (await running.client.delete(base)).status_code == 204
    assert (await running.client.delete(base)).status_code == 404
    assert await running.section("reviews") == []
    history = await running.client.get(f"{base}/history")
    assert [fact["op"] for fact in history.json()["data"]] == ["delete", "put"]
    running.clock.advance(1)
    await running.checked()


async def test_a_stored_plugin_section_takes_bulk_lines(running):
    line = {"customerId": "c1", "section": "reviews", "record": REVIEW, "source": "shop"}
    answer = await running.client.post("/api/v1/records", json=[line])
    assert answer.json() == {"recorded": 1, "duplicates": 0, "refused": []}
    assert (await running.listed("reviews"))["data"][0]["source"] == "shop"


async def test_lifetime_value_is_the_sum_of_what_was_not_deleted(running):
    await running.recorded("lifetime-value", [purchase(1, 100), purchase(2, 250), purchase(3, 7, "JPY")])
    eur, jpy = {"currency": "EUR", "cents": 350}, {"currency": "JPY", "cents": 7}
    assert await running.section("lifetime-value") == [eur, jpy]
    await running.recorded("lifetime-value", purchase(2, 250))
    assert await running.section("lifetime-value") == [eur, jpy]
    assert (await running.client.delete("/api/v1/customers/c1/lifetime-value/p2")).status_code == 204
    assert await running.section("lifetime-value") == [eur | {"cents": 100}, jpy]
    assert len((await running.listed("lifetime-value"))["data"]) == 2
    running.clock.advance(1)
    await running.checked()


@pytest.mark.parametrize("name", NAMES.values())
async def test_an_example_section_keeps_its_openapi_schema(running, name):
    await running.recorded("reviews", REVIEW, "CUST001")
    await running.recorded("lifetime-value", purchase(1, 100), "CUST001")
    document = (await running.client.get("/openapi.json")).json()
    path = document["paths"]["/api/v1/customers/{customerId}/unified-profile"]["get"]
    schema = path["responses"]["200"]["content"]["application/json"]["schema"]
    checked = jsonschema_rs.validator_for({**document, **schema})
    answer = (await running.profile("CUST001", name)).json()
    assert answer["sections"][0]["data"]
    assert [error.message for error in checked.iter_errors(answer)] == []
