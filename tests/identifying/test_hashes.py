"""Hashed addresses and numbers: matched with the clear ones, whichever came first, where the tenant asks."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import TENANT
from identifying.acting import FREE, SEGMENT, act, each, line, owner, rules, stored_state, tie
from identifying.test_order import ORDERLY, assert_order_is_nothing


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


HASHED = {
    "types": {"email_sha256": {"form": "sha256", "of": "email"}, "phone_sha256": {"form": "sha256", "of": "phone"}}
}
CLEAR = "email:Jane.Doe@gmail.com"
META, GOOGLE = f"email_sha256:{digest('jane.doe@gmail.com')}", f"email_sha256:{digest('janedoe@gmail.com')}"
NUMBER = "phone:+1 650 555 1212"
PLUS, BARE = f"phone_sha256:{digest('+16505551212')}", f"phone_sha256:{digest('16505551212').upper()}"


@pytest.mark.parametrize("hashed", [META, GOOGLE])
@pytest.mark.parametrize("is_first", [True, False], ids=["clear first", "hash first"])
def test_a_hash_is_the_customers_who_gave_the_address(opened, hashed, is_first):
    async def test(running):
        await rules(running, HASHED)
        lines = [tie("A", CLEAR), line(hashed, "segments", SEGMENT)]
        await each(running, *(lines if is_first else lines[::-1]))
        assert await owner(running, hashed) == "A"
        assert [record["segmentId"] for record in await running.section("segments", "A")] == ["s"]
        await running.checked()
        before = await stored_state(running)
        assert (await running.services.upkeep.rebuild()).differences == []
        assert await stored_state(running) == before
        await act(running, "unlink", canonicalId="A", identifier=hashed)
        assert await owner(running, hashed) != "A" == await owner(running, CLEAR)
        await running.checked()

    opened(test)


@pytest.mark.parametrize("hashed", [PLUS, BARE])
async def test_a_hash_of_a_number_with_and_without_its_plus_is_the_numbers(running, hashed):
    await rules(running, HASHED)
    await each(running, line(hashed, "segments", SEGMENT), line(NUMBER, "segments", {**SEGMENT, "segmentId": "t"}))
    assert await owner(running, hashed) == await owner(running, NUMBER) is not None
    await running.checked()


async def test_a_type_of_hashes_of_nothing_is_matched_by_its_value_alone(running):
    await rules(running, {"types": {"email_sha256": {"form": "sha256"}}})
    await each(running, tie("A", CLEAR), line(META, "segments", SEGMENT), tie("cookie_id:k", META.upper().lower()))
    assert await owner(running, META) not in {"A", None}
    assert await owner(running, META) == await owner(running, "cookie_id:k")


async def test_two_customers_are_not_joined_by_an_address_and_its_hash(running):
    await rules(running, HASHED)
    await each(running, tie("A", CLEAR), tie("B", META), tie("B", GOOGLE))
    assert [await owner(running, tag) for tag in (CLEAR, META, GOOGLE)] == ["A", "B", "B"]
    waiting = (await running.client.get("/api/v1/identity/candidates")).json()["data"]
    assert {(candidate["source"], candidate["reason"]) for candidate in waiting} == {("hash", "unique_type")}
    await running.checked()


async def test_an_address_that_three_people_give_is_shared_though_some_give_its_hash(running):
    """None of them gets what is known of another: the hash stays with the one who alone gave it."""
    await rules(running, {**HASHED, "types": {**HASHED["types"], "customer_id": {"unique": False}}})
    await each(running, tie("A", CLEAR), tie("B", CLEAR), tie("C", META))
    assert {await owner(running, tag) for tag in "ABC"} == {"A", "B", "C"}
    assert await owner(running, CLEAR) is None
    await running.checked()


async def test_addresses_that_were_told_before_the_tenant_had_hashes_get_them_by_a_rekey(running):
    await each(running, tie("A", CLEAR), tie("A", "email:none"))
    assert (await running.client.put("/api/v1/identity/rules", json=HASHED)).status_code == 200
    await each(running, line(META, "segments", SEGMENT))
    assert await owner(running, META) != "A"
    outcomes = [outcome async for outcome in running.services.rekeying.run(TENANT)]
    assert [outcome.identifier.type for outcome in outcomes] == ["email"]
    assert await owner(running, META) == await owner(running, GOOGLE) == "A"
    assert [outcome async for outcome in running.services.rekeying.run(TENANT)] == []
    await running.checked()


async def test_what_is_blocked_or_uncertain_has_no_hash(running):
    await rules(running, HASHED)
    for clear in ("email:none@none.com", "phone:020 7946 0018"):
        answer = await running.client.post("/api/v1/records", json=[tie("A", clear)])
        assert answer.json()["recorded"] == 1
    _, owners, _ = await stored_state(running)
    assert {identifier.type for identifier in owners} <= {"customer_id", "phone"}


ENDS = ["A", "B", "email:e@example.org", f"email_sha256:{digest('e@example.org')}", CLEAR, META, GOOGLE, "cookie_id:k",
        NUMBER, PLUS]  # fmt: skip
RULES = [HASHED, {**HASHED, "types": {**HASHED["types"], **FREE["types"]}, "weakGuard": False},
         {**HASHED, "shared": "demote", "types": {**HASHED["types"], "email": {"sharedFrom": 2}}}]  # fmt: skip


@st.composite
def evidence(draw):
    pairs = draw(st.lists(st.lists(st.sampled_from(ENDS), min_size=2, max_size=2, unique=True), min_size=1, max_size=9))
    return [
        tie(end, other, draw(st.sampled_from([0.3, 1.0])), source=draw(st.sampled_from(["crm", "web"])),
            effectiveAt=f"2026-02-0{draw(st.integers(1, 9))}T00:00:{number:02}Z")
        for number, (end, other) in enumerate(pairs)
    ]  # fmt: skip


@ORDERLY
@given(lines=evidence(), made=st.sampled_from(RULES), data=st.data())
def test_clear_and_hashed_evidence_makes_the_same_people_in_any_order(lines, made, data, tmp_path_factory):
    assert_order_is_nothing(lines, made, data.draw, tmp_path_factory.mktemp("order"))
