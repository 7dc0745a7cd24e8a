"""What a right answer holds, and the comparison that every peer's check comes down to."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bench.population import SECTIONS, Records, records

SHOWN = 20
"""So many interactions are shown, the newest first."""

TIMES = {"timestamp", "memberSince", "enrolledAt", "completedAt", "assignedAt", "grantedAt", "revokedAt"}


def profile(index: int) -> Records:
    """Return a customer's records as a profile shows them, by section."""
    customer_records = records(index)
    newest = sorted(
        customer_records["interactions"], key=lambda record: (record["timestamp"], record["id"]), reverse=True
    )
    return {**customer_records, "interactions": newest[:SHOWN]}


def compare(index: int, answered: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Make sure that sections hold what they should: interactions in order, the other records in any.

    Raises:
        ValueError: they do not; the text names the section.
    """
    for section, wanted in profile(index).items():
        if section not in answered:
            raise ValueError(f"customer {index}: no section {section}")
        got, want = [[_plain(record) for record in section_records] for section_records in (answered[section], wanted)]
        if section != "interactions":
            got.sort()
            want.sort()
        if got != want:
            missing = [record for record in want if record not in got]
            raise ValueError(f"customer {index}: {section} has {len(got)} records, missing or out of order: {missing}")


def by_name(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of an answer in Portrait's form, by name.

    Raises:
        ValueError: they are not the six, in their order.
    """
    names = tuple(section["name"] for section in answer["sections"])
    if names != SECTIONS:
        raise ValueError(f"sections are {names}")
    return {section["name"]: section["data"] for section in answer["sections"]}


def _plain(record: Mapping[str, Any]) -> str:
    """Return a record as text that is the same for the same moments and numbers, however they are written."""
    return json.dumps({name: _same(name, value) for name, value in record.items()}, sort_keys=True)


def _same(name: str, value: Any) -> Any:
    if name in TIMES and value:
        return datetime.fromisoformat(value).timestamp()
    return float(value) if isinstance(value, int) else value
