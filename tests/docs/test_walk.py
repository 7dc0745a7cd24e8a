"""The walk of a record is what the architecture page says: which functions, in what order, and where it comes back up.

`pytest tests/docs/test_walk.py -s` prints how long the walk is.
"""

import json
import re

import pytest

from docs.pages import DOCS
from docs.tracing import Tracer, Walk, measured, upward
from harness import service

PAGE = DOCS / "explanation" / "architecture.md"
ROOMS = frozenset({"api", "ingest", "writes", "projection", "storage"})
"""The rooms in which a walk is measured."""
LONGEST = {"one record": Walk(101, 26, 30), "a link": Walk(190, 31, 62), "a line": Walk(103, 25, 30)}
"""No walk grows beyond these: a reader has to follow it."""
EMAIL = {"type": "email", "value": "ben@example.org"}


def block(name):
    """A block of the page between two marks."""
    return PAGE.read_text().partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]


async def send(running, kind, body):
    """Record in one of three ways."""
    if kind == "a line":
        line = json.dumps({"customerId": "c1", "section": "interactions", "record": body})
        headers = {"Content-Type": "application/x-ndjson"}
        answer = await running.client.post("/api/v1/records", content=line, headers=headers)
        assert answer.json() == {"recorded": 1, "duplicates": 0, "refused": []}
    else:
        await running.recorded(*(("identities", EMAIL) if kind == "a link" else ("interactions", body)))


async def walk(directory, kind):
    """Record for a customer who is known; return the functions from the handler to the last row that is put."""
    tracer = Tracer()
    with tracer.watching():
        async with service(directory) as running:
            sections = {section.name: section for section in running.services.registry.all_stored()}
            first = sections["interactions"].example()
            await running.recorded("interactions", first)
            with tracer.on():
                await send(running, kind, {**first, "timestamp": "2026-05-01T12:00:00Z", "id": "second"})
    entries = tracer.entries
    begin = next(index for index, entry in enumerate(entries) if entry.module in {"api.records", "api.bulk"})
    end = max(index for index, entry in enumerate(entries) if entry.function == "SqliteTransaction._put")
    return entries[begin : end + 1]


def without_engine(module):
    """The page names storage, whichever engine it is."""
    return "storage" if module.startswith("storage") else module


async def test_a_record_walks_as_the_page_says(tmp_path):
    drawn = re.findall(r"^ *([a-z]\S+) +(\S+)", block("walk"), re.MULTILINE)
    assert len(drawn) > 15
    entries = iter(await walk(tmp_path, "a link"))
    for module, function in drawn:
        assert any((without_engine(entry.module), entry.function) == (module, function) for entry in entries), (
            f"{module} {function} is not entered, or not after the function above it"
        )


async def test_control_comes_back_up_only_where_the_page_says(tmp_path):
    drawn = dict(re.findall(r"^\| `(.+?)` \| `(.+?)` \|", block("upward"), re.MULTILINE))
    called = {}
    for kind in LONGEST:
        (tmp_path / kind).mkdir()
        called |= upward(await walk(tmp_path / kind, kind))
    assert {function: without_engine(module) for function, module in called.items()} == drawn


@pytest.mark.parametrize("kind", LONGEST)
async def test_no_walk_grows_longer(tmp_path, kind):
    entries = await walk(tmp_path, kind)
    length = measured([entry for entry in entries if entry.module.partition(".")[0] in ROOMS])
    print(f"{kind}: {length.stays} stays in {length.files} files, {length.climbs} climbs")
    assert all(is_now <= most for is_now, most in zip(length, LONGEST[kind], strict=True))
