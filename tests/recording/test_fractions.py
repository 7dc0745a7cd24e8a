"""Moments finer than microseconds are truncated, as other systems do, wherever a moment is given."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness import interaction, service
from portrait.model import time
from portrait.sections import registry

MOMENT = "2026-05-01T10:00:00.123456"
LAST = "9999-12-31T23:59:59.9999999Z"
"""The moment that some systems write for no end."""


@given(st.text("0123456789", min_size=1, max_size=12), st.sampled_from(["Z", "+02:00", "-11:30"]))
@example("9999999", "Z")
def test_a_moment_is_that_of_its_first_six_digits(fraction, offset):
    whole = f"2026-12-31T23:59:59.{fraction}{offset}"
    assert time.parse(whole) == time.parse(f"2026-12-31T23:59:59.{fraction[:6].ljust(6, '0')}{offset}")


def test_a_record_with_a_truncated_moment_is_the_same_record():
    section = registry.load(installed=False).stored("interactions")

    def parsed(moment):
        record = b'{"id":"i","interactionType":"view","timestamp":"%b","note":"at %b"}' % (moment, moment)
        return section.parse(record, b"k")

    (fine, of_fine), (cut, of_cut) = parsed(f"{MOMENT}789Z".encode()), parsed(f"{MOMENT}Z".encode())
    assert of_fine.effective_at == of_cut.effective_at
    assert fine.timestamp == cut.timestamp
    assert fine.properties == {"note": f"at {MOMENT}789Z"}, "what is a text stays one"


def test_the_last_moment_there_is_stays_within_the_years_there_are():
    assert time.rfc3339(time.parse(LAST)) == "9999-12-31T23:59:59.999999Z"
    section = registry.load(installed=False).stored("journeys")
    record = {"journeyId": "j", "journeyName": "J", "status": "completed", "enrolledAt": "2026-01-01T00:00:00Z"}
    parsed_record = section.shape.parse(str(record | {"completedAt": LAST}).replace("'", '"').encode())
    assert parsed_record.completed_at.isoformat() == "9999-12-31T23:59:59.999999+00:00"


async def test_events_and_moments_repeated_in_nanoseconds_are_duplicates(any_engine):
    async with service(None, database=any_engine) as running:
        segment = {"record": {"segmentId": "s", "segmentName": "S", "memberSince": "2026-01-01T00:00:00Z"}}
        for digits, expected in (("789", (1, 0)), ("", (0, 1))):
            for section, body in (
                ("interactions", interaction(1, f"{MOMENT}{digits}Z")),
                ("segments", segment | {"effectiveAt": f"{MOMENT}{digits}Z"}),
            ):
                answer = await running.recorded(section, body)
                assert (answer["recorded"], answer["duplicates"]) == expected


@pytest.mark.parametrize("moment", ["2026-05-01 10:00:00.1234567", "2026-05-01T10:00:60.1234567Z", "1.12345678"])
async def test_an_invalid_moment_in_nanoseconds_is_refused(running, moment):
    answer = await running.record("interactions", interaction(1, moment))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_record")
    assert "timestamp" in answer.json()["detail"]
