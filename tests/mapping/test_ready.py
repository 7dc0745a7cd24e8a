"""The ready mappings: which profiles come of exports in the forms of other systems."""

import csv
import io
import json
from pathlib import Path

import pytest

from harness import service
from mapping.plans import planned
from portrait.mapping import catalogue
from portrait.mapping.catalogue import READY, ready
from portrait.mapping.faults import NotMapped
from portrait.tables.table import Row

EXPORTS = Path(__file__).parent / "exports"
SAMPLES = sorted(path.stem for path in EXPORTS.glob("*.csv"))
FAMILIES = {path.stem for path in (Path(catalogue.__file__).parent / "ready").glob("*.toml")}


def mapped(sample):
    """Return what the ready mapping makes of a sample: its lines, and by line why others are not made."""
    expected = json.loads((EXPORTS / f"{sample}.json").read_text())
    reader = csv.reader(io.StringIO((EXPORTS / f"{sample}.csv").read_text("utf-8-sig"), newline=""))
    columns = tuple(next(reader))
    text = f'exported = "{expected["exported"]}"\n{ready(sample.partition("-")[0])}'
    plan = planned(text, columns, file=expected["file"], exported=None)
    indexes = [columns.index(name) for name in plan.wanted]
    made, refused = [], []
    for number, cells in enumerate(reader, 2):
        for each in plan.lines(Row(number, [cells[index] for index in indexes])):
            if isinstance(each, NotMapped):
                refused.append((number, each.detail))
            else:
                made.append(each)
    return expected, made, refused


def test_each_ready_mapping_has_its_name_and_a_sample():
    assert set(READY) == FAMILIES == {sample.partition("-")[0] for sample in SAMPLES}


@pytest.mark.parametrize("sample", SAMPLES)
async def test_the_profiles_that_come_of_a_sample(sample, tmp_path):
    expected, made, refused = mapped(sample)
    assert [number for number, _ in refused] == [number for number, _ in expected["refused"]]
    assert all(part in reason for (_, reason), (_, part) in zip(refused, expected["refused"], strict=True))
    async with service(tmp_path) as running:
        options = {"content": b"\n".join(made), "headers": {"Content-Type": "application/x-ndjson"}}
        answer = (await running.client.post("/api/v1/records", **options)).json()
        assert answer["refused"] == []
        profiles = {name: await shown(running, name) for name in expected["profiles"]}
        again = (await running.client.post("/api/v1/records", **options)).json()
        assert again["recorded"] == 0, "the same file twice changes nothing"
    assert profiles == expected["profiles"]


async def shown(running, name):
    """Return what a profile shows: identifiers by type, attributes by name, and consent by channel."""
    type_, _, value = name.rpartition(":")
    named = {"identifier": {"type": type_, "value": value}} if type_ else {"customerId": value}
    asked = {**named, "sections": ["identities", "attributes", "consent"]}
    answer = await running.client.post("/api/v1/unified-profile", json=asked)
    assert answer.status_code == 200, answer.text
    identities, attributes, _ = (section["data"] for section in answer.json()["sections"])
    by_type = {}
    for record in identities:
        by_type.setdefault(record["type"], []).append(record["value"])
    decisions = (await running.listed("consent", answer.json()["customerId"], limit=100))["data"]
    assert all(decision["record"]["purpose"] == "marketing" for decision in decisions)
    return {
        "identities": by_type,
        "attributes": {record["name"]: record["value"] for record in attributes},
        "consent": {each["record"]["channel"]: [each["record"]["status"], each["effectiveAt"]] for each in decisions},
    }
