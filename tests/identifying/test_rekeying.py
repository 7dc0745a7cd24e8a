"""Identifiers that are stored under an older form: put under their form of now, and parted again."""

import json

import pytest

from harness import TENANT
from identifying.acting import SEGMENT, act, apart, bulk, explained, line, named, owner, stored_state, tie
from portrait.identity import normalise as module
from portrait.identity.rules import Reason
from portrait.ingest.records import Parser
from portrait.model.identifier import Identifier
from portrait.writes import rekeying

HOME = "020 7946 0018"
FORM = "+442079460018"
SPELT = "John Doe <john@example.com>"
BARE = "3f2504e04f8911d39a0c0305e82c3301"
UUID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"


async def rekeyed(running, **options):
    """Re-key the tenant, and return what changed or waits: the identifier as stored, its form and the reason."""
    outcomes = [each async for each in running.services.rekeying.run(TENANT, **options)]
    return [
        (each.identifier.value, each.form.value, each.reason) for each in outcomes if each.is_changed or each.reason
    ]


async def rules(running, made):
    """Set the tenant's rules."""
    answer = await running.client.put("/api/v1/identity/rules", json=made)
    assert answer.status_code == 200, answer.text


async def looked_up(running, type_, value):
    """Return the customer of an identifier as a caller spells it, or None."""
    body = {"action": "resolve", "identifier": {"type": type_, "value": value}}
    answer = await running.client.post("/api/v1/identity", json=body)
    return answer.json().get("canonicalId")


@pytest.fixture
def of_before(monkeypatch):
    """Match as an earlier version did, which took nothing apart; return what ends that."""
    monkeypatch.setattr(module, "addresses_in", lambda text: iter(()))
    monkeypatch.setattr(module, "uuid", lambda text: text)
    return monkeypatch.undo


def test_what_was_told_before_the_region_was_set_is_found_by_the_number(opened):
    async def test(running):
        await bulk(running, tie("A", f"phone:{HOME}"), tie("A", "email:a@example.org"))
        assert await looked_up(running, "phone", HOME) == "A"
        await rules(running, {"region": "GB"})
        assert await looked_up(running, "phone", HOME) is None
        await bulk(running, tie("cookie_id:k", f"phone:{FORM}"), line("cookie_id:k", "segments", SEGMENT))
        visitor = await looked_up(running, "phone", FORM)
        assert visitor.startswith("anon_")
        before = await stored_state(running)
        assert [row[:2] for row in await rekeyed(running, dry=True)] == [(HOME, FORM)]
        assert await stored_state(running) == before
        assert await rekeyed(running) == [(HOME, FORM, None)]
        assert {await looked_up(running, "phone", value) for value in (HOME, FORM, "+44 20 7946 0018")} == {"A"}
        assert await looked_up(running, "cookie_id", "k") == "A"
        await running.checked()
        after = await stored_state(running)
        assert await rekeyed(running) == []
        assert await stored_state(running) == after
        await act(running, "unlink", canonicalId="A", identifier=f"phone:{FORM}")
        assert await looked_up(running, "cookie_id", "k") == visitor
        assert await looked_up(running, "phone", HOME) == visitor
        assert await looked_up(running, "email", "a@example.org") == "A"
        assert await rekeyed(running) == []
        await running.checked()

    opened(test)


def test_records_of_an_older_form_are_those_of_the_newer(opened, of_before):
    """Facts keep their identifiers: the two forms become one person, and an unlink parts them as they were."""

    async def test(running):
        await bulk(running, line(f"device_id:{BARE}", "segments", SEGMENT), tie("A", f"device_id:{BARE}"))
        of_before()
        await bulk(running, line(f"device_id:{UUID}", "segments", {**SEGMENT, "segmentId": "t"}))
        assert await looked_up(running, "device_id", BARE) != "A"
        await rekeyed(running)
        assert await looked_up(running, "device_id", BARE) == "A"
        assert {each["segmentId"] for each in await running.section("segments", "A")} == {"s", "t"}
        await running.checked()
        await act(running, "unlink", canonicalId="A", identifier=f"device_id:{UUID}")
        assert await running.section("segments", "A") == []
        await running.checked()

    opened(test)


def test_a_forgotten_rekey_is_as_though_it_had_never_been(opened, of_before):
    async def test(running):
        await bulk(running, line(f"device_id:{BARE}", "segments", SEGMENT))
        of_before()
        await bulk(running, line(f"device_id:{UUID}", "segments", {**SEGMENT, "segmentId": "t"}))
        before = await owner(running, f"device_id:{UUID}")
        assert await rekeyed(running) == [(BARE, UUID, None)]
        old = Identifier("device_id", BARE)
        assert await running.services.owners.of(TENANT, old) == await owner(running, f"device_id:{UUID}")
        await running.services.matches.forget(TENANT, "rekey")
        assert await owner(running, f"device_id:{UUID}") == before != await running.services.owners.of(TENANT, old)
        await running.checked()

    opened(test)


async def test_a_number_that_somebody_linked_before_it_could_be_read_is_the_customers(running):
    """The text alone is uncertain; that it is this number is not."""
    await bulk(running, tie("A", f"phone:{HOME}"))
    await act(running, "link", canonicalId="A", identifiers=[f"phone:{HOME}"])
    await bulk(running, line("A", "identities", {"type": "phone", "value": HOME}, op="delete"))
    await rules(running, {"region": "GB"})
    await bulk(running, tie("cookie_id:k", f"phone:{FORM}"))
    assert await looked_up(running, "phone", HOME) != "A"
    assert await rekeyed(running) == [(HOME, FORM, None)]
    assert {await looked_up(running, "phone", HOME), await looked_up(running, "cookie_id", "k")} == {"A"}
    await running.checked()


async def test_a_ban_on_an_older_form_holds_for_the_newer(running, of_before):
    await bulk(running, tie("A", f"email:{SPELT}"))
    await act(running, "unlink", canonicalId="A", identifier=f"email:{SPELT}")
    of_before()
    await bulk(running, tie("A", "email:john@example.com"))
    await rekeyed(running)
    explanation = await explained(running, "A")
    assert await looked_up(running, "email", SPELT) != "A"
    assert [named("A"), named("email:john@example.com")] in [identifiers for identifiers, *_ in apart(explanation)]
    await act(running, "allow-link", identifier="A", other="email:john@example.com")
    assert await looked_up(running, "email", SPELT) == "A"
    await rekeyed(running)
    assert await looked_up(running, "email", SPELT) == "A", "a ban that was lifted does not come back"
    await running.checked()


async def test_two_customers_are_not_joined_by_a_rekey_and_what_was_told_first_holds(running, of_before):
    """As though the address had been told in its form of now: it is the customer's who gave it first."""
    await bulk(running, tie("A", f"email:{SPELT}"))
    of_before()
    await bulk(running, tie("B", "email:john@example.com"))
    await rekeyed(running)
    assert await looked_up(running, "email", SPELT) == "A"
    candidates = (await running.client.get("/api/v1/identity/candidates")).json()["data"]
    assert {candidate["reason"] for candidate in candidates} == {"unique_type"}
    assert {await looked_up(running, "customer_id", name) for name in "AB"} == {"A", "B"}
    await running.checked()


async def test_a_rekey_that_a_rule_refuses_waits(running, of_before):
    for customer_id, number in (("A", BARE), ("B", UUID)):
        await bulk(running, tie(f"device_id:{number}", customer_id))
        of_before()
    before = {await running.services.owners.of(TENANT, Identifier("device_id", number)) for number in (BARE, UUID)}
    assert await rekeyed(running, dry=True) == await rekeyed(running) == [(BARE, UUID, Reason.UNIQUE_TYPE)]
    after = {await running.services.owners.of(TENANT, Identifier("device_id", number)) for number in (BARE, UUID)}
    assert before == after == {"A", "B"}
    candidates = (await running.client.get("/api/v1/identity/candidates")).json()["data"]
    assert {(candidate["source"], candidate["reason"]) for candidate in candidates} == {("rekey", "unique_type")}
    await running.checked()


async def test_a_rekey_that_is_cut_off_goes_on(running, of_before, monkeypatch):
    spellings = [f"N{number} <n{number}@example.com>" for number in range(5)]
    await bulk(running, *(tie(f"c{number}", f"email:{spelling}") for number, spelling in enumerate(spellings)))
    of_before()
    monkeypatch.setattr(rekeying, "CHUNK", 2)
    async for done, _ in _numbered(running.services.rekeying.run(TENANT)):
        if done == 2:
            break
    assert len(await rekeyed(running)) == 3
    for number, spelling in enumerate(spellings):
        assert await looked_up(running, "email", spelling) == f"c{number}"
    assert await rekeyed(running) == []
    await running.checked()


async def _numbered(outcomes):
    number = 0
    async for outcome in outcomes:
        number += 1
        yield number, outcome


async def test_a_delete_ends_what_was_recorded_under_an_older_form(running, of_before):
    await bulk(running, tie("A", f"email:{SPELT}"))
    of_before()
    for value in ("john@example.com", SPELT):
        await rekeyed(running)
        assert await looked_up(running, "email", SPELT) == "A"
        end = line("A", "identities", {"type": "email", "value": value}, op="delete")
        await bulk(running, end)
        assert await looked_up(running, "email", SPELT) is None
        await running.checked()
        await bulk(running, tie("A", f"email:{SPELT}"))


async def test_a_region_and_a_form_can_be_set_later_and_not_be_changed(running):
    await bulk(running, tie("A", f"phone:{FORM}"))
    await rules(running, {"types": {"card": {}}})
    await bulk(running, tie("A", "card:12-34"))
    await rules(running, {"region": "GB", "types": {"card": {"form": "digits"}, "badge": {"form": "lower"}}})
    await rekeyed(running)
    assert await looked_up(running, "card", "12 34") == "A"
    for changed in (
        {"region": "US", "types": {"card": {"form": "digits"}}},
        {"types": {"card": {"form": "digits"}}},
        {"region": "GB", "types": {"card": {"form": "lower"}}},
        {"region": "GB", "types": {"card": {}}},
        {"region": "GB"},
    ):
        answer = await running.client.put("/api/v1/identity/rules", json=changed)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rules"), changed
    await rules(running, {"region": "GB", "types": {"card": {"form": "digits"}}})


async def test_a_record_that_was_parsed_before_a_form_was_set_is_stored_in_it(running):
    """Another process may not have heard of it yet: what is recorded from then on has the form that holds."""
    await rules(running, {"types": {"card": {}}})
    before = Parser(await running.services.store.tenant(TENANT), "test")
    await rules(running, {"types": {"card": {"form": "digits"}}})
    lines = [tie("A", "card:12-34"), line("card:56-78", "segments", SEGMENT)]
    incoming = [before.line(at, json.dumps(text).encode(), running.services.registry) for at, text in enumerate(lines)]
    assert (await running.services.recorder.record_each(TENANT, incoming)).recorded == 2
    assert {await looked_up(running, "card", "1234"), await looked_up(running, "card", "12 34")} == {"A"}
    stored = await running.services.store.fact_identifiers(TENANT, None, 10)
    assert {identifier.value for identifier in stored if identifier.type == "card"} == {"1234", "5678"}
    await running.checked()
