"""Fixtures: a service with declared sources, and one customer."""

from contextlib import asynccontextmanager
from itertools import count
from urllib.parse import quote

import pytest

from harness import service

SEGMENT = {"segmentId": "s1", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}
HTTP = """
[sections.parcels]
description = "Parcels on their way."
timeout = {timeout}
{more}
[sections.parcels.http]
url = "{url}"
allow_http = true
allow_private = ["127.0.0.0/8"]
{http}
"""


@pytest.fixture
def declared(tmp_path):
    """Return a function that opens a service with a file of declared sources, and one customer with a segment."""

    numbers = count()

    @asynccontextmanager
    async def opened(text, **options):
        directory = tmp_path / f"service{next(numbers)}"
        directory.mkdir()
        file = directory / "sources.toml"
        file.write_text(text)
        async with service(directory, declared=(str(file),), **{"secrets": True, **options}) as running:
            await running.recorded("segments", SEGMENT)
            yield running

    return opened


@pytest.fixture
def over_http(declared):
    """Return a function that opens such a service with one source over HTTP, on this machine."""

    def opened(url, *, timeout=2, more="", http="", **options):
        template = f"{url}/{{customer_id}}/parcels?tenant={{tenant_id}}" if "{" not in url else url
        return declared(HTTP.format(url=template, timeout=timeout, more=more, http=http), **options)

    return opened


def path_of(customer_id):
    """Return where the API has a customer."""
    return f"/api/v1/customers/{quote(customer_id, safe='')}"


async def data_of(running, name, customer_id):
    """Return what a section shows of a customer whose id may hold anything; the customer is made."""
    made = await running.client.post(f"{path_of(customer_id)}/segments", json=SEGMENT)
    assert made.status_code == 201, made.text
    response = await running.client.get(f"{path_of(customer_id)}/unified-profile?sections={name}")
    assert "error" not in response.json()["sections"][0], response.text
    return response.json()["sections"][0]["data"]


async def section_of(running, name="parcels", customer_id="c1"):
    """Return a section of the full profile; assert that all others are whole."""
    response = await running.profile(customer_id)
    assert response.status_code == 200, response.text
    by_name = {section["name"]: section for section in response.json()["sections"]}
    assert [part["name"] for part in by_name.values() if "error" in part] in ([], [name])
    assert by_name["segments"]["data"] == [SEGMENT]
    return by_name[name]


async def code_of(running, **options):
    """Return the code and detail with which the section failed; assert that it shows nothing."""
    part = await section_of(running, **options)
    assert part["data"] == []
    return part["error"]["code"], part["error"]["detail"]
