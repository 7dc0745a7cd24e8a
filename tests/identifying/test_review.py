"""Candidates that wait for review: the list of a whole tenant, and accepted candidates."""

import asyncio
import base64
import json

import msgspec
import pytest

from identifying.acting import FREE, SEGMENT, act, bulk, each, evidence, explained, line, named, owner, rules, tie
from portrait.api import identity
from portrait.identity.graph import LINKED
from portrait.reads import identity as explaining

LIST = "/api/v1/identity/candidates"
E, C = "email:e@example.org", "cookie_id:c"
PEOPLE = [f"P{number}" for number in range(7)]


@pytest.fixture
async def disputed(running):
    """Seven customers who all claim the first one's e-mail address; one also claims a cookie without an owner."""
    await rules(running, {"types": {"cookie_id": {"limit": 1}, "email": {"sharedFrom": None}}})
    await each(
        running, *(tie(customer_id, E, 0.5 + number / 20, source="crm") for number, customer_id in enumerate(PEOPLE))
    )
    await each(running, tie("P3", "cookie_id:other"), tie("P3", C, source="web"))
    return running


async def listed(running, **params):
    answer = await running.client.get(LIST, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def paged(running, limit):
    """Return the candidates of all pages, and the number of pages."""
    candidates, params, count = [], {"limit": limit}, 0
    while params:
        answer = await listed(running, **params)
        candidates += answer["data"]
        count += 1
        assert count < 50, "the pages come to an end"
        assert len(answer["data"]) <= limit
        assert answer["pagination"]["hasMore"] == (answer["pagination"]["cursor"] is not None)
        params = answer["pagination"]["hasMore"] and {"limit": limit, "cursor": answer["pagination"]["cursor"]}
    return candidates, count


def pair(candidate):
    return {(candidate[name]["type"], candidate[name]["value"]) for name in ("identifier", "other")}


async def test_each_candidate_of_a_tenant_is_listed_once_with_whose_it_is(disputed):
    candidates = (await listed(disputed))["data"]
    assert [(candidate["customerId"], candidate["otherCustomerId"]) for candidate in candidates] == [
        *(("P0", name) for name in PEOPLE[1:]), ("P3", None)]  # fmt: skip
    assert candidates[-1] | {"recordedAt": None} == {
        "identifier": named("P3"), "other": named(C), "reason": "limit", "source": "web", "confidence": 1.0,
        "detail": candidates[-1]["detail"], "recordedAt": None, "customerId": "P3", "otherCustomerId": None,
    }  # fmt: skip
    of_each = [candidate for name in PEOPLE for candidate in (await explained(disputed, name))["candidates"]]
    assert {frozenset(pair(candidate)) for candidate in of_each} == {
        frozenset(pair(candidate)) for candidate in candidates
    }
    for candidate in candidates[:2]:
        await act(disputed, "accept", identifier=candidate["identifier"], other=candidate["other"])
        assert candidate not in (await listed(disputed))["data"]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 100])
async def test_pages_of_the_list_hold_every_candidate_once(disputed, limit, monkeypatch):
    whole = (await listed(disputed))["data"]
    for size in (1, 3, 200):
        monkeypatch.setattr(explaining, "CUSTOMERS_AT_ONCE", size)
        monkeypatch.setattr(explaining, "IDENTIFIERS_AT_ONCE", size)
        assert await paged(disputed, limit) == (whole, -(-len(whole) // limit))


async def test_a_page_goes_through_so_many_identifiers_and_no_more(disputed, monkeypatch):
    whole = (await listed(disputed))["data"]
    monkeypatch.setattr(explaining, "IDENTIFIERS_AT_ONCE", 1)
    monkeypatch.setattr(identity, "MAX_GONE_THROUGH", 3)
    first = await listed(disputed, limit=100)
    assert first == {"data": whole[:-1], "pagination": first["pagination"]}
    assert first["pagination"]["hasMore"]
    candidates, pages = await paged(disputed, 100)
    assert candidates == whole
    assert pages > 2


async def test_a_page_goes_on_at_its_cursor_though_the_last_customer_was_merged_away(disputed):
    first = await listed(disputed, limit=2)
    await act(disputed, "merge", targetId="P6", sourceId="P0")
    rest = await listed(disputed, cursor=first["pagination"]["cursor"])
    assert [candidate["customerId"] for candidate in rest["data"]] == ["P1", "P2", "P3", "P3", "P4", "P5"]


async def test_candidates_of_a_customer_merged_away_are_listed_under_its_target_alone(disputed):
    await each(disputed, tie("P3", "cookie_id:more"))
    first = await listed(disputed, limit=7)
    await act(disputed, "merge", targetId="P6", sourceId="P3")
    rest = await listed(disputed, cursor=first["pagination"]["cursor"])
    assert [(candidate["customerId"], candidate["other"]["value"]) for candidate in rest["data"]] == [
        ("P6", "c"),
        ("P6", "more"),
    ]


@pytest.mark.parametrize(
    "position", ["P0", ["P0", 0], ["a\0", 0, b""], ["P0", 2**63, b""], ["P0", "0", b""], [1, 0, b""]]
)
async def test_a_cursor_that_no_page_gave_is_refused(running, position):
    cursor = base64.urlsafe_b64encode(msgspec.msgpack.encode(position)).rstrip(b"=").decode()
    answer = await running.client.get(LIST, params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


async def test_no_address_of_the_list_holds_an_identifier(disputed):
    cursor = (await listed(disputed, limit=1))["pagination"]["cursor"]
    assert b"example.org" not in base64.urlsafe_b64decode(cursor + "==")


async def test_a_link_that_is_accepted_is_certain(running):
    await rules(running, FREE)
    await each(running, tie("B", E), tie("A", E, 0.3, source="crm"))
    await act(running, "accept", identifier="A", other=E, source="ann")
    assert evidence("A", 1.0) in await running.section("identities", "B")
    (identifier,) = [
        identifier for identifier in (await explained(running, "B"))["identifiers"] if identifier["value"] == "A"
    ]
    statements = [
        (statement["source"], statement["rule"], statement["confidence"])
        for statement in identifier["path"][-1]["evidence"]
    ]
    assert statements == [("ann", "accepted", 1.0), ("crm", "record", 0.3)], "what the source said stays as it said it"
    await running.checked()


async def test_a_candidate_with_an_unowned_identifier_is_listed_under_the_owned_one(disputed):
    await each(
        disputed, line(C, "segments", {"segmentId": "s", "segmentName": "S", "memberSince": "2026-01-01T00:00:00Z"})
    )
    made = await owner(disputed, C)
    (candidate,) = [candidate for candidate in (await listed(disputed))["data"] if candidate["reason"] == "limit"]
    assert {candidate["customerId"], candidate["otherCustomerId"]} == {"P3", made}
    assert LINKED not in {candidate["reason"] for candidate in (await listed(disputed))["data"]}


# --- cost ---


@pytest.fixture
async def many(running):
    """Three hundred customers with three identifiers each, few of them with a candidate."""
    lines = [
        tie(f"M{number:03}", f"{type_}:{number}@example.org")
        for number in range(300)
        for type_ in ("email", "device_id")
    ]
    for begin in range(0, len(lines), 100):
        await bulk(running, *lines[begin : begin + 100])
    await each(running, tie("M290", "email:1@example.org"), tie("M010", "email:280@example.org"))
    return running


class Loads:
    """Counts the identifiers whose links are loaded, at once and in all, and the turns of other tasks."""

    def __init__(self, running, monkeypatch):
        store = running.services.store
        states = store.states
        self.loaded, self.turns, self.busy = [], 0, []

        async def noted(tenant, wanted):
            self.loaded.append(len(wanted))
            self.busy.append(self.turns)
            return await states(tenant, wanted)

        monkeypatch.setattr(store, "states", noted)

    async def __aenter__(self):
        async def others():
            while True:
                self.turns += 1
                await asyncio.sleep(0)

        self._others = asyncio.create_task(others())
        return self

    async def __aexit__(self, *_):
        self._others.cancel()


async def test_others_have_their_turn_between_two_loads_of_few_identifiers(many, monkeypatch):
    async with Loads(many, monkeypatch) as loads:
        assert [candidate["customerId"] for candidate in (await listed(many))["data"]] == ["M001", "M010"]
    assert sum(loads.loaded) >= 900
    assert max(loads.loaded) <= explaining.IDENTIFIERS_AT_ONCE
    assert len(set(loads.busy)) == len(loads.busy), "no two loads without a turn between them"


async def test_a_page_costs_what_it_goes_through_and_not_what_the_tenant_holds(many, monkeypatch):
    monkeypatch.setattr(identity, "MAX_GONE_THROUGH", 90)
    async with Loads(many, monkeypatch) as loads:
        page = await listed(many)
    assert page["pagination"]["hasMore"]
    assert 90 <= sum(loads.loaded) < 90 + 2 * explaining.IDENTIFIERS_AT_ONCE


async def test_one_customer_of_many_identifiers_is_gone_through_piece_by_piece(running, monkeypatch):
    await rules(running, {"types": {"cookie_id": {"limit": None}}})
    await bulk(running, *(tie("A", f"cookie_id:c{number}") for number in range(180)))
    async with Loads(running, monkeypatch) as loads:
        assert (await listed(running))["data"] == []
    assert sum(loads.loaded) == 181
    assert max(loads.loaded) <= explaining.IDENTIFIERS_AT_ONCE
    assert len(set(loads.busy)) == len(loads.busy)


# --- an explanation in pages ---

EXPLAIN = "/api/v1/identity/explain"
LISTS = ("identifiers", "merges", "apart", "candidates", "crossovers")


@pytest.fixture
async def long(running):
    """A customer with more of everything than a small page holds."""
    await rules(running, {"types": {"email": {"limit": 7}, "cookie_id": {}}})
    await bulk(running, *(tie("A", f"email:{number}@example.org") for number in range(9)))
    await bulk(running, *(tie("A", f"cookie_id:c{number}") for number in range(6)))
    for number in range(4):
        await each(running, line(f"B{number}", "segments", SEGMENT), line(f"C{number}", "segments", SEGMENT))
        await act(running, "merge", targetId="A", sourceId=f"B{number}")
        await act(running, "cannot-link", identifier="A", other=f"C{number}")
    return running


async def explained_in_pages(running, limit):
    contents, params, pages = {name: [] for name in LISTS}, {"customerId": "A", "limit": limit}, 0
    while params:
        answer = await running.client.get(EXPLAIN, params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert page.keys() == {"customerId", *LISTS, "pagination"}
        pages += 1
        for name in LISTS:
            assert len(page[name]) <= limit
            contents[name] += page[name]
        more = page["pagination"]["hasMore"]
        assert more is (page["pagination"]["cursor"] is not None)
        params = more and {"customerId": "A", "limit": limit, "cursor": page["pagination"]["cursor"]}
    return contents, pages


async def test_an_explanation_comes_in_pages_that_hold_all_of_it_once(long):
    whole, pages = await explained_in_pages(long, 100)
    assert {name: len(whole[name]) for name in LISTS} == {
        "identifiers": 17, "merges": 4, "apart": 4, "candidates": 2, "crossovers": 0}  # fmt: skip
    assert pages == 1
    for limit in (1, 3, 16, 17):
        assert await explained_in_pages(long, limit) == (whole, -(-17 // limit))


async def test_a_page_of_an_explanation_is_bounded_in_bytes(long, monkeypatch):
    whole, _ = await explained_in_pages(long, 100)
    for most, pages in ((1, 17), (len(json.dumps(whole)) // 2, None)):
        monkeypatch.setattr(identity, "MAX_EXPLAINED_BYTES", most)
        contents, count = await explained_in_pages(long, 100)
        assert contents == whole
        assert count == pages or (pages is None and 1 < count < 17)


@pytest.mark.parametrize("position", [0, -1, 2**40, "x", [1]])
async def test_a_cursor_that_no_page_of_an_explanation_gave_is_refused(long, position):
    cursor = base64.urlsafe_b64encode(msgspec.msgpack.encode(position)).rstrip(b"=").decode()
    answer = await long.client.get(EXPLAIN, params={"customerId": "A", "cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
