"""Lines that wait for others of their customer leave whole, in order, and make what they would make one by one."""

import asyncio
import io
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contract.given import RECORDS
from harness import TENANT, service
from portrait.cli.load import load_stream
from portrait.ingest import blocks, loading
from portrait.ingest.blocks import LineBlock
from portrait.ingest.gathering import Gathering, identifiers_of
from portrait.ingest.readers import Parsing, Recipe
from portrait.model.identifier import Identifier, customer
from portrait.sections import registry
from portrait.storage.contract import TenantRow
from portrait.writes.incoming import LINK_WEIGHT
from portrait.writes.recording import Outcome

PARSING = Parsing(Recipe(TenantRow(TENANT, "", 0, b"k" * 32), "load"), registry.load(installed=False))
C1, C2, E1, E2 = "c1", "c2", "e1@example.org", "e2@example.org"


def name(text):
    return {"identifier": {"type": "email", "value": text}} if "@" in text else {"customerId": text}


def put(who, number):
    """Return a line whose name for a segment counts if it is recorded last."""
    record = {**RECORDS["segments"], "segmentName": f"Segment {number}"}
    return {**name(who), "section": "segments", "record": record}


def link(who, email):
    return {"customerId": who, "section": "identities", "record": {"type": "email", "value": email, "confidence": 1.0}}


def end(who):
    return {**name(who), "section": "segments", "op": "delete", "key": "seg_001"}


whoever = st.sampled_from([C1, C2, E1, E2])
rows = st.lists(
    st.builds(put, whoever, st.integers(1, 9))
    | st.builds(link, st.sampled_from([C1, C2]), st.sampled_from([E1, E2]))
    | st.builds(end, whoever)
    | st.just({"customerId": "c1"}),
    max_size=14,
)


def text_of(row):
    return json.dumps(row).encode()


@given(rows, st.integers(1, 60), st.data())
def test_every_line_leaves_and_those_of_a_customer_in_order(lines, weight, drawn):
    gathering = Gathering()
    kin = {customer(C1), Identifier("email", E1)}
    reads = [PARSING.line(at, text_of(row)) for at, row in enumerate(lines)]
    chunks = []
    for read in reads:
        gathering.add(read, lambda identifier: kin if identifier in kin else ())
        if drawn.draw(st.booleans()):
            chunks.append(gathering.take(weight).chunk)
    while not gathering.is_empty:
        chunks.append(gathering.take(weight).chunk)
    assert sorted(read.at for chunk in chunks for read in (*chunk.incoming, *chunk.refused)) == [*range(len(lines))]
    gone = [record for chunk in chunks for record in chunk.incoming]
    for group in (kin, {customer(C2)}, {Identifier("email", E2)}):
        own = [record.at for record in gone if identifiers_of(record) & group]
        assert own == sorted(own)
    assert all(chunk.weight < weight + LINK_WEIGHT or not chunk.incoming for chunk in chunks)


def test_whoever_came_first_leaves_first_with_all_that_waits_of_the_same_customer():
    gathering = Gathering()
    for at, row in enumerate([put(C1, 1), put(C2, 2), put(E1, 3), put(C1, 4), link(C2, E1)]):
        gathering.add(PARSING.line(at, text_of(row)))
    chunk, regrouped = gathering.take(2)
    assert [record.at for record in chunk.incoming] == [0, 3]
    assert regrouped == {}
    chunk, regrouped = gathering.take(2)
    assert [record.at for record in chunk.incoming] == [1, 2]
    assert set(regrouped) == {customer(C2), Identifier("email", E1)}
    gathering.add(PARSING.line(5, text_of(put(C1, 6))))
    gathering.add(PARSING.line(6, text_of(put(E1, 7))))
    assert [record.at for record in gathering.take(1).chunk.incoming] == [4]
    assert [record.at for record in gathering.take(9).chunk.incoming] == [5, 6]
    assert gathering.is_empty


def test_lines_of_groups_that_become_one_leave_in_their_order():
    gathering = Gathering()
    for at, row in enumerate([put(C1, 1), put(E1, 2), put(E1, 3), link(C1, E1)]):
        gathering.add(PARSING.line(at, text_of(row)))
    leaving = [[record.at for record in gathering.take(1).chunk.incoming] for _ in range(4)]
    assert leaving == [[0], [1], [2], [3]]
    assert gathering.is_empty


@pytest.mark.parametrize("ends_meanwhile", [False, True])
async def test_lines_keep_the_order_of_identifiers_that_a_chunk_under_way_links(monkeypatch, ends_meanwhile):
    """Nobody can know yet whether it does; or nobody knew when owners were looked up."""
    monkeypatch.setattr(loading, "MAX_CHUNK", 2)
    recorded = []

    async def record_each(_, incoming):
        recorded.append([record.at for record in incoming])
        return Outcome(recorded=len(incoming))

    async def resolve(*_):
        if ends_meanwhile and writing._chunks:
            await writing._take()
        return {}

    services = SimpleNamespace(
        recorder=SimpleNamespace(record_each=record_each), store=SimpleNamespace(resolve=resolve)
    )
    writing = loading._Writing(services.recorder, services.store, TENANT, None, None, 10**9)

    async def add(first, *rows):
        block = LineBlock(first, b"\n".join(map(text_of, rows)))
        await writing.add(block, [PARSING.line(*line) for line in block])

    await add(0, link(C1, E1))
    await writing._send()
    await add(1, put(C1, 3), put(E1, 4), put(C1, 5))
    assert (await writing.end()).recorded == 4
    assert recorded == [[0], [1, 2], [3]]


async def shown(lines, directory, gathered, before):
    """Return what customers show after lines were loaded, in chunks of two."""
    async with service(directory) as running:
        tenant = await running.services.access.tenant(TENANT)

        async def load(some, size):
            stream = io.BytesIO(b"\n".join(map(text_of, some)))
            return await load_stream(running.services, tenant, stream, gathered=size)

        await load(before, 0)
        outcome = await load(lines, gathered)
        await running.checked()
        profiles = [await running.profile(who, "segments,identities") for who in (C1, C2)]
        return outcome.recorded, outcome.duplicates, [
            [[record.get("segmentName") or record["value"] for record in section["data"]]
             for section in profile.json().get("sections", [])]
            for profile in profiles
        ]  # fmt: skip


@example([put(C1, 1), put(C2, 2), put(E1, 3), put(C1, 4), put(E1, 5)], [link(C1, E1)], 300)
@example([link(C1, E1), put(C2, 1), put(C2, 2), put(C1, 3), put(E1, 4), put(C1, 5)], [], 2000)
@given(
    rows, st.lists(st.builds(link, st.sampled_from([C1, C2]), st.sampled_from([E1, E2])), max_size=2),
    st.sampled_from([300, 2000]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_lines_that_were_gathered_make_what_they_make_one_by_one(lines, before, block):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(loading, "MAX_CHUNK", 2)
        patch.setattr(blocks, "BLOCK_BYTES", block)
        found = []
        for gathered in (0, 400):
            directory = Path(name, str(gathered))
            directory.mkdir()
            found.append(asyncio.run(shown(lines, directory, gathered, before)))
        assert found[0] == found[1]
