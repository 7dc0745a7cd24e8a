"""A phone is stored in the form of the current region, whichever process set it, however recently."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from harness import TENANT, service
from portrait.model.errors import InvalidRules
from portrait.model.identifier import Identifier

FORM = Identifier("phone", "+442079460018")
SEGMENT = {"segmentId": "s", "segmentName": "S", "memberSince": "2026-01-01T00:00:00Z"}


def linking(value):
    return {"customerId": "A", "section": "identities", "record": {"type": "phone", "value": value}}


def segment_line(value):
    return {"identifier": {"type": "phone", "value": value}, "section": "segments", "record": SEGMENT}


@pytest.fixture
async def services(any_engine):
    """Two processes' services over one database; the second has seen the tenant before any region was set."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(service(None, database=any_engine))
        second = await stack.enter_async_context(service(None, database=any_engine, tenants=()))
        second.client.headers["X-Tenant-Id"] = TENANT
        yield first, second


async def record(running, *lines):
    return (await running.client.post("/api/v1/records", json=lines)).json()


async def phones(running):
    known = await running.services.store.derived_identifiers(TENANT, None, 100)
    return {identifier for identifier in known if identifier.type == "phone"}


@pytest.mark.parametrize("line", [linking, segment_line])
async def test_a_region_that_another_process_set_counts_at_once(services, line):
    setting, second = services
    assert (await second.client.get("/api/v1/customers")).json()["data"] == []  # so it remembers the tenant
    assert (await setting.client.put("/api/v1/identity/rules", json={"region": "GB"})).status_code == 200
    taken = await record(second, line("020 7946 0018"), line("555-0123"))
    assert taken["recorded"] == (1 if line is segment_line else 2)
    assert FORM in await phones(setting)
    if line is segment_line:
        assert [(refusal["index"], refusal["code"]) for refusal in taken["refused"]] == [(1, "blocked_identifier")]
    else:
        assert taken["warnings"] == [{"index": 1, "code": "invalid_phone"}], "not what it was under the old rules"
        listed = (await setting.listed("identities", "A"))["data"]
        (key,) = (
            stored_record["key"] for stored_record in listed if stored_record["record"]["value"].startswith("020")
        )
        assert (await second.client.delete(f"/api/v1/customers/A/identities/{key}")).status_code == 204
        assert await setting.services.store.resolve(TENANT, [FORM]) == {}, (
            "the record stands under the key that its form gives it"
        )
    await setting.checked()


async def test_a_region_set_while_a_phone_is_recorded_comes_first_or_is_refused(services):
    """Either the region was first and the phone has its form, or the phone was, and the region is refused."""
    setting, second = services
    for number in range(10):  # once connections are there, the two begin together
        tenant = f"t{number}"
        await setting.services.access.create_tenant(tenant)
        second.client.headers["X-Tenant-Id"] = tenant
        await second.client.get("/api/v1/customers")

        async def late(tenant=tenant):
            try:
                await setting.services.rules.set(tenant, b'{"region":"GB"}')
            except InvalidRules:
                return True
            return False

        was_late, _ = await asyncio.gather(late(), record(second, linking("020 7946 0018")))
        known = await setting.services.store.derived_identifiers(tenant, None, 100)
        assert (FORM in known) == (not was_late)
