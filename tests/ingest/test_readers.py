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
from portrait.cli import data
from portrait.ingest import readers
from portrait.ingest.readers import Readers, Recipe, Sent, parser_of
from portrait.sections import registry
from portrait.storage.contract import TenantRow
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


def test_a_block_ends_at_so_many_lines_or_bytes(monkeypatch):
    sent = [b"x" * size for size in (10, 10, 10, 300, 10, 10)]
    monkeypatch.setattr(readers, "BLOCK_LINES", 3)
    monkeypatch.setattr(readers, "BLOCK_BYTES", 300)
    blocks = [[len(text) for _, text in block] for block in readers._blocks(io.BytesIO(b"\n".join(sent)))]
    assert blocks == [[10, 10, 10], [300], [10, 10]]


@pytest.mark.parametrize(("size", "cores", "count"), [(2**20 - 1, 8, 0), (2**20, 8, 3), (None, 2, 1), (2**30, 1, 0)])
def test_a_file_worth_it_is_parsed_by_as_many_processes_as_there_are_cores_to_spare(monkeypatch, size, cores, count):
    monkeypatch.setattr(data.os, "sched_getaffinity", lambda _: set(range(cores)))
    assert data._processes(size) == count


@given(texts)
def test_a_line_is_the_same_after_it_was_sent(text):
    read = parser_of(Recipe(ROW, "load"), REGISTRY)((5, text))
    sent = Sent.of(read)
    if sent is None:
        assert b'"delete"' in text
        return
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Sent)
    assert decoded.read(SECTIONS) == read
    assert isinstance(read, Incoming) == (sent.code is None)


async def ready(reading, count):
    await asyncio.gather(*reading._starting)
    assert len(reading._living()) == count


async def collected(reading, stream):
    async with aclosing(reading.blocks(stream)) as blocks:
        return [pair async for block in blocks for pair in zip(block.lines, block.results, strict=True)]


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_lines_come_in_order_with_what_became_of_them(tmp_path, count):
    plugin = tmp_path / "badges.py"
    plugin.write_text(PLUGIN)
    recipe = Recipe(ROW, "load", (str(plugin),), installed=False)
    sections = registry.load(recipe.plugins, installed=False)
    sent = [line(number, "badges" if number % 3 else "interactions") for number in range(2000)]
    sent[500:500] = [b"", b"no json", b'{"customerId":"c","section":"badges","op":"delete","key":"b1"}']
    parse = parser_of(recipe, sections)
    expected = [((at, text), parse((at, text))) for at, text in enumerate(sent) if text]
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
        async with aclosing(reading.blocks(io.BytesIO(b"\n".join(sent)))) as blocks:
            async for block in blocks:
                taken += [at for at, _ in block.lines]
                assert all(isinstance(read, Incoming) for read in block.results)
                if len(taken) == 2 * readers.BLOCK_LINES:
                    reader._process.kill()
        assert reading._living() == []
    assert taken == list(range(3000))
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

    async def loaded(count):
        async with service(tmp_path / str(count)) as running:
            tenant = await running.services.access.tenant(TENANT)
            async with Readers(
                Recipe(tenant, data.SOURCE, installed=False), running.services.registry, count
            ) as reading:
                await ready(reading, count)
                stream = io.BytesIO(b"\n".join(rows))
                outcome = await data.load_stream(running.services, tenant, stream, readers=reading)
            await running.checked()
            shown = [(await running.profile(f"c{number}")).json()["sections"] for number in range(9)]
            return outcome.recorded, outcome.duplicates, shown

    for count in (0, 1):
        (tmp_path / str(count)).mkdir()
    assert await loaded(1) == await loaded(0)
