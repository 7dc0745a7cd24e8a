"""The published cases of normalisation on every engine: recorded in one spelling, read by each, stored in one form."""

import asyncio
import random

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat

from harness import ndjson, service
from identifying.acting import SEGMENT
from identity.test_normalise import ADDRESSES, IANA_TEST_DOMAINS, NUMBERS, REGIONS
from portrait.api.lookup import MAX_PROFILES
from portrait.identity.normalise import is_readable
from portrait.identity.rules import DEFAULT
from portrait.model.identifier import MAX_VALUE_BYTES, Identifier, is_generated
from portrait.writes.match_links import Suggested

FORMATS = (PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966, PhoneNumberFormat.E164)


def cases():
    """Return, by region, the published forms of each type and the spellings of each."""
    by_region = {None: {("email", form): [*spellings, form] for form, spellings in ADDRESSES.items()}}
    by_region[None] |= {
        ("email", f"ann@{ascii_}"): [f"Ann@{domain}", f"ann@{ascii_.upper()}"]
        for domain, ascii_ in IANA_TEST_DOMAINS.items()
    }
    for region in REGIONS:
        number = phonenumbers.example_number(region)
        form = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        by_region[None]["phone", form] = [
            phonenumbers.format_number(number, number_format) for number_format in FORMATS
        ]
    for (form, region), spellings in NUMBERS.items():
        by_region.setdefault(region, {})["phone", form] = [*spellings, form]
    for by_form in by_region.values():
        for form in [form for form in by_form if DEFAULT.is_uncertain(Identifier(*form))]:
            del by_form[form]  # no fact can be recorded of it: text without an @, one digit over and over
    return by_region


CASES = cases()


@pytest.mark.parametrize("engine", ["sqlite", "postgres_url", "citus_url"])
@pytest.mark.parametrize("region", CASES)
async def test_facts_recorded_in_one_spelling_are_read_by_every_other(region, engine, request, tmp_path):
    database = None if engine == "sqlite" else await asyncio.to_thread(request.getfixturevalue, engine)
    forms = CASES[region]
    async with service(tmp_path, database=database) as running:
        if region is not None:
            answer = await running.client.put("/api/v1/identity/rules", json={"region": region})
            assert answer.status_code == 200
        lines = [
            {"identifier": {"type": type_, "value": spellings[0]}, "section": "segments",
             "record": {**SEGMENT, "segmentName": form}}
            for (type_, form), spellings in forms.items()
        ]  # fmt: skip
        headers = {"content-type": "application/x-ndjson"}
        answer = await running.client.post("/api/v1/records", content=ndjson(lines), headers=headers)
        unread = [index for index, form in enumerate(forms) if not is_readable(*form)]
        taken = answer.json()
        assert [warning["index"] for warning in taken.pop("warnings", [])] == unread
        assert taken == {"recorded": len(forms), "duplicates": 0, "refused": []}
        asked = [
            (form, {"type": type_, "value": spelling}) for (type_, form), every in forms.items() for spelling in every
        ]
        for start in range(0, len(asked), MAX_PROFILES):
            batch = asked[start : start + MAX_PROFILES]
            body = [{"identifier": identifier, "sections": ["segments"]} for _, identifier in batch]
            answer = await running.client.post("/api/v1/unified-profile", json=body)
            for (form, identifier), lookup in zip(batch, answer.json()["data"], strict=True):
                assert lookup["status"] == 200, identifier
                assert lookup["profile"]["sections"][0]["data"][0]["segmentName"] == form, identifier
        # The very bytes, not values that the engine takes for equal.
        store = running.services.store
        for kept in (
            await store.derived_identifiers(running.client.headers["X-Tenant-Id"], None, 10_000),
            await store.fact_identifiers(running.client.headers["X-Tenant-Id"], None, 10_000),
        ):
            own = [identifier for identifier in kept if not is_generated(identifier.value)]
            assert {(identifier.type, identifier.value.encode()) for identifier in own} == {
                (type_, form.encode()) for type_, form in forms
            }
            assert len(own) == len(forms)


@pytest.mark.parametrize("engine", ["sqlite", "postgres_url", "citus_url"])
async def test_an_id_that_no_store_can_hold_is_an_unknown_customers(engine, request, tmp_path):
    database = None if engine == "sqlite" else await asyncio.to_thread(request.getfixturevalue, engine)
    async with service(tmp_path, database=database) as running:
        tenant = running.client.headers["X-Tenant-Id"]
        pairs = [Suggested(customer_id, "b", 0.99, links=True) for customer_id in ("a\0", "", "x" * 5000, "\ud800")]
        assert await running.services.matches.suggest(tenant, pairs, "match") == {"unknown": 4}


def as_long(size):
    """Return a value of so many bytes that no index can compress."""
    return random.Random(size).randbytes(size).hex()[:size]


@pytest.mark.parametrize("engine", ["sqlite", "postgres_url", "citus_url"])
async def test_the_longest_value_is_taken_and_a_longer_one_refused_alone(engine, request, tmp_path):
    database = None if engine == "sqlite" else await asyncio.to_thread(request.getfixturevalue, engine)
    async with service(tmp_path, database=database) as running:
        long, longer = as_long(MAX_VALUE_BYTES), as_long(MAX_VALUE_BYTES + 1)
        marks = "\u0344" * (MAX_VALUE_BYTES // 2)  # their composition has twice as many bytes
        lines = [
            {"customerId": "c", "section": "identities", "record": {"type": "cookie_id", "value": value}}
            for value in (longer, long, marks)
        ] + [
            {"identifier": {"type": "cookie_id", "value": value}, "section": "segments", "record": SEGMENT}
            for value in (longer, long, marks)
        ]
        headers = {"content-type": "application/x-ndjson"}
        answer = (await running.client.post("/api/v1/records", content=ndjson(lines), headers=headers)).json()
        assert answer["recorded"] == 2
        assert [(refusal["index"], refusal["code"]) for refusal in answer["refused"]] == [
            (index, "invalid_record") for index in (0, 2, 3, 5)
        ]
        asked = [{"identifier": {"type": "cookie_id", "value": value}} for value in (long, longer)]
        answers = (await running.client.post("/api/v1/unified-profile", json=asked)).json()["data"]
        assert [answer["status"] for answer in answers] == [200, 422]
        assert answers[0]["profile"]["customerId"] == "c"
