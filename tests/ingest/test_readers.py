"""Lines that other processes parse are what they are where this process parses them, in the same order."""

import asyncio
import io
import json
import logging
from contextlib import aclosing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.given import RECORDS
from harness import TENANT, interaction, service
from portrait.cli import load as command
from portrait.ingest import blocks, readers
from portrait.ingest.blocks import LineBlock
from portrait.ingest.readers import Parsing, Readers, Reading, Recipe
from portrait.sections import registry
from portrait.storage.contract import TenantRow
from portrait.tables.table import Row
from portrait.writes.incoming import Incoming

ROW = TenantRow(TENANT, "", 0, b"k" * 32)
REGISTRY = registry.load(installed=False)
SECTIONS = {section.name: section for section in REGISTRY.all_stored()}
PLUGIN = '''
from typing import Annotated

from portrait import Record, Text, impersonal, register_profile_section


@register_profile_section("badges", kind="state", key=("badge_id",))
class Badge(Record, frozen=True):
    """A badge."""

    badge_id: Annotated[Text, impersonal]
'''

records = st.sampled_from(sorted(RECORDS)).flatmap(
    lambda name: st.fixed_dictionaries(
        {"section": st.just(name), "record": st.just(RECORDS[name])},
        optional={"effectiveAt": st.sampled_from(["2026-05-01T10:00:00Z", "never"]), "source": st.just("crm")},
    )
)
names = st.sampled_from(
    [{"customerId": "c1"}, {"identifier": {"type": "email", "value": "A@Example.org"}}, {"customerId": "NULL"},
     {"identifier": {"type": "phone", "value": "030 901820"}}, {}]
)  # fmt: skip
texts = st.builds(lambda name, record: json.dumps(name | record).encode(), names, records) | st.sampled_from(
    [b"{}", b"[]", b'{"customerId":"c","section":"segments","op":"delete","key":"k"}', b'{"customerId":"c"', b"\xff"]
)


def line(number, section="interactions"):
    record = interaction(number) if section == "interactions" else {"badgeId": f"b{number}"}
    return json.dumps({"customerId": f"c{number % 7}", "section": section, "record": record}).encode()


@pytest.mark.parametrize(("size", "cores", "count"), [(2**20 - 1, 8, 0), (2**20, 8, 3), (None, 2, 1), (2**30, 1, 0)])
def test_a_file_worth_it_is_parsed_by_as_many_processes_as_there_are_cores_to_spare(monkeypatch, size, cores, count):
    monkeypatch.setattr(command.os, "sched_getaffinity", lambda _: set(range(cores)))
    assert command._processes(size) == count


@given(st.lists(texts, max_size=8), st.integers(0, 2**40))
def test_lines_are_the_same_after_they_were_sent(sent, first):
    parsing, block = Parsing(Recipe(ROW, "load"), REGISTRY), LineBlock(first, b"\n".join(sent))
    reading = msgspec.msgpack.decode(msgspec.msgpack.encode(Reading.of(block, parsing)), type=Reading)
    reads = reading.read(SECTIONS, parsing)
    assert reads == [parsing.line(first + at, text) for at, text in enumerate(sent)]
    assert len(reading.topics) == len(set(reading.topics))


async def ready(reading, count):
    await asyncio.gather(*reading._starting)
    assert len(reading._living()) == count


async def collected(reading, stream):
    async with aclosing(reading.read(blocks.of_lines(stream.read))) as read:
        return [pair async for block, reads in read for pair in zip(block, reads, strict=True)]


async def test_a_block_is_of_so_many_bytes_at_once(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 300)
    sent = [line(number) for number in range(20)]
    reading = Readers(Recipe(ROW, "load", installed=False), REGISTRY, 0)
    texts_read = [block.content async for block, _ in reading.read(blocks.of_lines(io.BytesIO(b"\n".join(sent)).read))]
    assert max(map(len, texts_read)) < 300 + max(map(len, sent))
    assert b"".join(texts_read) == b"\n".join(sent)


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_lines_come_in_order_with_what_became_of_them(tmp_path, count):
    plugin = tmp_path / "badges.py"
    plugin.write_text(PLUGIN)
    recipe = Recipe(ROW, "load", (str(plugin),), installed=False)
    sections = registry.load(recipe.plugins, installed=False)
    sent = [line(number, "badges" if number % 3 else "interactions") for number in range(2000)]
    sent[500:500] = [b"", b"no json", b'{"customerId":"c","section":"badges","op":"delete","key":"b1"}']
    parsing = Parsing(recipe, sections)
    expected = [((at, text), parsing.line(at, text)) for at, text in enumerate(sent) if text]
    async with Readers(recipe, sections, count) as reading:
        await ready(reading, count)
        assert await collected(reading, io.BytesIO(b"\n".join(sent))) == expected


async def test_lines_of_a_process_that_dies_are_parsed_here(caplog):
    caplog.set_level(logging.WARNING, "portrait.load")
    sent = [line(number) for number in range(3000)]
    async with Readers(Recipe(ROW, "load", installed=False), REGISTRY, 1) as reading:
        await ready(reading, 1)
        (reader,) = reading._living()
        taken = []
        async with aclosing(reading.read(blocks.of_lines(io.BytesIO(b"\n".join(sent)).read))) as read:
            async for block, reads in read:
                assert all(isinstance(read, Incoming) for read in reads)
                taken.append([at for at, _ in block])
                if len(taken) == 2:
                    reader._process.kill()
        assert reading._living() == []
    assert len(taken) > 2 + readers.AHEAD
    assert [at for numbers in taken for at in numbers] == list(range(3000))
    assert [record.message for record in caplog.records] == [
        "a process that parses lines has ended; the load goes on without it"
    ]


async def test_a_process_that_cannot_start_is_done_without_and_said(monkeypatch, caplog):
    monkeypatch.setattr(readers.sys, "executable", "/nowhere/python")
    async with Readers(Recipe(ROW, "load", installed=False), REGISTRY, 1) as reading:
        await asyncio.gather(*reading._starting)
        assert len(await collected(reading, io.BytesIO(line(1)))) == 1
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        "a process that parses lines cannot start"
    ]


async def test_what_is_loaded_with_other_processes_is_what_is_loaded_without(tmp_path):
    rows = [
        json.dumps({"customerId": f"c{number % 9}", "section": name, "record": RECORDS[name]}).encode()
        for number in range(600)
        for name in RECORDS
    ]
    consents = [RECORDS["consent"] | {"status": status, "grantedAt": None} for status in ("granted", "revoked")]
    asking = [
        ("interactions", interaction(1, "2999-01-01T00:00:00Z"), {}),
        ("identities", {"type": "phone", "value": "+49 30 901820"}, {}),
        *[("consent", record, {}) for record in (*consents, *consents)],
        ("segments", {"segmentId": "seg_001"}, {"op": "delete"}),
        ("segments", {}, {}),
    ]
    rows += [
        json.dumps({"customerId": f"c{number}", "section": name, "record": record, **more}).encode()
        for number in range(9)
        for name, record, more in asking
    ]

    async def loaded(count):
        async with service(tmp_path / str(count)) as running:
            tenant = await running.services.access.tenant(TENANT)
            async with Readers(
                Recipe(tenant, command.SOURCE, installed=False), running.services.registry, count
            ) as reading:
                await ready(reading, count)
                stream = io.BytesIO(b"\n".join(rows))
                outcome = await command.load_stream(running.services, tenant, stream, readers=reading)
            await running.checked()
            shown = [(await running.profile(f"c{number}")).json()["sections"] for number in range(9)]
            return msgspec.to_builtins(outcome), shown

    for count in (0, 1):
        (tmp_path / str(count)).mkdir()
    outcome, shown = await loaded(1)
    assert (outcome, shown) == await loaded(0)
    assert outcome["warned"]["no_moment"] == 9 * 4
    assert outcome["refused"] == {"invalid_record": 9 * 2}


async def test_a_block_of_rows_is_as_large_as_the_records_that_they_make(monkeypatch):
    """What waits for others of its customer is bounded by this size: rows of few texts may make many records."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 10 * blocks.RECORD_BYTES)
    rows = [Row(number, ["a", "bc"]) for number in range(1, 8)]

    class Few:
        async def batches(self, wanted):
            yield rows

    made = [block async for block in blocks.of_rows(Few(), ("x", "y"), 4)]
    assert [len(block.rows) for block in made] == [3, 3, 1]
    assert [block.size for block in made] == [3 * (4 * blocks.RECORD_BYTES + 3)] * 2 + [4 * blocks.RECORD_BYTES + 3]
    assert [block.first for block in made] == [0, 12, 24]
    assert [block.number(block.first + 5) for block in made[:2]] == [2, 5]
