"""The golden case: the seed's own records answer the seed's own calls, value for value."""

import json
import re

import pytest

from harness import SHARED, TENANT, service

SEED = SHARED / "contract" / "seed-unified-profile.txt"
RECORDS = {
    "identities": [
        {"type": "email", "value": "john@example.com", "confidence": 1.0},
        {"type": "phone", "value": "+1234567890", "confidence": 0.95},
    ],
    "interactions": [
        {
            "id": "ih_001",
            "offerId": "off_001",
            "channelId": "ch_001",
            "interactionType": "impression",
            "timestamp": "2026-03-28T10:30:00Z",
        }
    ],
    "segments": [{"segmentId": "seg_001", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}],
}


@pytest.fixture
async def golden(tmp_path):
    async with service(tmp_path) as running:
        for section, records in RECORDS.items():
            await running.recorded(section, records, "CUST001")
        yield running


async def test_the_full_profile_is_the_seeds_and_three_empty_sections(golden):
    answer = (await golden.profile("CUST001")).json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer.pop("computedAt"))
    assert answer == {
        "customerId": "CUST001",
        "tenantId": TENANT,
        "sections": [
            *({"name": name, "data": data} for name, data in RECORDS.items()),
            *({"name": name, "data": []} for name in ("journeys", "experiments", "consent")),
        ],
    }


async def test_selected_sections_are_the_seeds(golden):
    answer = (await golden.profile("CUST001", "identities,interactions")).json()
    assert answer["sections"] == [
        {"name": "identities", "data": RECORDS["identities"]},
        {"name": "interactions", "data": RECORDS["interactions"]},
    ]


async def test_confidence_is_written_as_a_float(golden):
    assert '"confidence":1.0}' in (await golden.profile("CUST001")).text


@pytest.mark.skipif(not SEED.exists(), reason=f"{SEED.parent.name}/{SEED.name} is not beside this checkout")
async def test_the_answer_is_what_the_published_page_prints(golden):
    printed = json.loads(re.search(r"Response\s+(\{.*\})\s+Extension Point", SEED.read_text(), re.DOTALL)[1])
    answer = (await golden.profile("CUST001", "identities,interactions,segments")).json()
    del printed["computedAt"], answer["computedAt"]
    assert answer == printed
