"""Processes that parse what a file holds beside the process that records it: a load then takes two cores."""

import asyncio
import contextlib
import logging
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping
from itertools import count
from typing import NamedTuple, Self

import msgspec

from portrait.ingest.blocks import Block, LineBlock, RowBlock
from portrait.ingest.mapped import MappedTable
from portrait.ingest.records import Parser
from portrait.mapping.faults import NotMapped
from portrait.model.errors import InputRefused
from portrait.model.fact import Op
from portrait.model.identifier import Identifier
from portrait.model.warning import RecordWarning
from portrait.sections.base import MAX_SECTION_BYTES, Parsed, StoredSection
from portrait.sections.registry import Registry, load
from portrait.storage.contract import TenantRow
from portrait.writes.incoming import Incoming, Linked
from portrait.writes.recording import Refusal

AHEAD = 4
"""So many blocks are on their way to a process or back."""
LENGTH_SIZE = 4
"""Each message begins with its length, in so many bytes."""

_log = logging.getLogger("portrait.load")
_encode = msgspec.msgpack.Encoder().encode
Read = Incoming | Refusal
_NOTHING = Parsed(None, "", b"", None)


class Recipe(msgspec.Struct, frozen=True):
    """What a process needs in order to parse as this one does."""

    tenant: TenantRow
    source: str
    plugins: tuple[str, ...] = ()
    installed: bool = True
    max_section_bytes: int = MAX_SECTION_BYTES
    moment: int | None = None
    """From when records are true, in microseconds, where neither line nor record says; None: from when we are told."""
    mapped: MappedTable | None = None
    """How rows become lines; None: there are no rows."""

    def parsing(self) -> "Parsing":
        """Return what parses, with sections that are loaded anew."""
        return Parsing(self, load(self.plugins, installed=self.installed, max_section_bytes=self.max_section_bytes))


class Parsing:
    """Parses what a block holds.

    Args:
        recipe: how.
        registry: the sections.
    """

    def __init__(self, recipe: Recipe, registry: Registry) -> None:
        self._parser = Parser(recipe.tenant, recipe.source, is_export=True)
        self._registry = registry
        self._moment = recipe.moment
        self._plan = None if recipe.mapped is None else recipe.mapped.plan(registry)

    def line(self, index: int, text: bytes, moment: int | None = None) -> Read:
        """Return what becomes of the line that is the record with an index.

        Args:
            index: the index.
            text: the line.
            moment: from when its record is true, in microseconds, where neither line nor record says.
        """
        return self._parser.line(index, text, self._registry, moment)

    def block(self, block: LineBlock | RowBlock) -> Iterator[tuple[bytes, Read]]:
        """Yield the lines that a block holds or makes, with what becomes of each."""
        if isinstance(block, LineBlock):
            for index, text in block:
                yield text, self.line(index, text, self._moment)
            return
        assert self._plan is not None
        for first, row in zip(count(block.first, block.width), block.rows, strict=False):
            for index, line in enumerate(self._plan.lines(row), first):
                if isinstance(line, NotMapped):
                    yield b"", Refusal(index, line.code, line.detail)
                else:
                    yield line, self.line(index, line)


class Topic(NamedTuple):
    """Of whom and what a record is, and who says it: what many lines have in common."""

    identifier: Identifier
    value: str | None
    section: str
    source: str | None


class Sent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of a line, between two processes: a record, or why it was refused, or the line of an end."""

    at: int
    line: bytes | None = None
    """The line itself, where whoever records it is to parse it."""
    code: str | None = None
    """Why it was refused; None: it was not."""
    detail: str = ""
    topic: int = 0
    """Which of the block's topics it has."""
    parsed: Parsed = _NOTHING
    effective_at: int | None = None
    linked: Linked | None = None
    warnings: tuple[RecordWarning, ...] = ()


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """What became of the lines of a block, between two processes."""

    topics: list[Topic]
    sent: list[Sent]

    @classmethod
    def of(cls, block: LineBlock, parsing: Parsing) -> Self:
        """Return what is sent of a block."""
        topics: dict[Topic, int] = {}
        sent = []
        for text, read in parsing.block(block):
            if isinstance(read, Refusal):
                sent.append(Sent(read.at, None, read.code, read.detail))
            elif read.op is Op.DELETE:
                sent.append(Sent(read.at, text))
            else:
                topic = Topic(read.identifier, read.value, read.section.name, read.source)
                number = topics.setdefault(topic, len(topics))
                sent.append(
                    Sent(read.at, None, None, "", number, read.parsed, read.effective_at, read.linked, read.warnings)
                )
        return cls(list(topics), sent)

    def read(self, sections: Mapping[str, StoredSection], parsing: Parsing) -> list[Read]:
        """Return what was sent."""
        topics = [(identifier, value, sections[name], source) for identifier, value, name, source in self.topics]
        reads: list[Read] = []
        for sent in self.sent:
            if sent.line is not None:
                reads.append(parsing.line(sent.at, sent.line))
            elif sent.code is not None:
                reads.append(Refusal(sent.at, sent.code, sent.detail))
            else:
                identifier, value, section, source = topics[sent.topic]
                reads.append(
                    Incoming(
                        sent.at, identifier, section, sent.parsed, sent.effective_at, source, value, sent.linked,
                        sent.warnings, is_line=True,
                    )
                )  # fmt: skip
        return reads


_block = msgspec.msgpack.Decoder(LineBlock | RowBlock)
_recipe = msgspec.msgpack.Decoder(Recipe)
_reading = msgspec.msgpack.Decoder(Reading)


class Readers:
    """Parses what a file holds, in other processes as soon as these are ready; without them, or until then, here.

    A process that dies is done without: what it had is parsed here.

    Args:
        recipe: what the processes need.
        registry: the sections.
        count: how many processes there are.
    """

    def __init__(self, recipe: Recipe, registry: Registry, count: int) -> None:
        self._recipe = recipe
        self._parsing = Parsing(recipe, registry)
        self._sections = {section.name: section for section in registry.all_stored()}
        self._count = count
        self._starting: list[asyncio.Task[_Reader | None]] = []

    async def __aenter__(self) -> Self:
        """Start the processes, and wait for none."""
        self._starting = [asyncio.create_task(self._start()) for _ in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the processes."""
        for task in self._starting:
            task.cancel()
        started = await asyncio.gather(*self._starting, return_exceptions=True)
        for reader in started:
            if isinstance(reader, _Reader):
                await reader.end()

    async def read(self, blocks: AsyncGenerator[LineBlock | RowBlock]) -> AsyncGenerator[tuple[Block, list[Read]]]:
        """Yield blocks in order, with what became of what each holds.

        Raises:
            InputRefused: there is no further block; all before it have been yielded.
        """
        under_way: deque[tuple[LineBlock | RowBlock, asyncio.Task[list[Read]]]] = deque()
        number = 0
        broken = None
        try:
            async with contextlib.aclosing(_until_broken(blocks)) as unbroken:
                async for block in unbroken:
                    if isinstance(block, InputRefused):
                        broken = block
                        break
                    readers = self._living()
                    if readers:
                        reading = asyncio.create_task(self._read(readers[number % len(readers)], block))
                        under_way.append((block, reading))
                        number += 1
                    while under_way and (not readers or len(under_way) > AHEAD):
                        first, reading = under_way.popleft()
                        yield first, await reading
                    if not readers:
                        yield block, self._parsed(block)
            while under_way:
                first, reading = under_way.popleft()
                yield first, await reading
            if broken is not None:
                raise broken
        finally:
            for _, reading in under_way:
                reading.cancel()

    def _living(self) -> "list[_Reader]":
        """Return the processes that can parse now."""
        ready = (task.result() for task in self._starting if task.done())
        return [reader for reader in ready if reader is not None and reader.is_alive]

    async def _start(self) -> "_Reader | None":
        """Start a process; None where that fails."""
        try:
            return await _Reader.start(self._recipe)
        except (OSError, EOFError) as error:
            _log.warning("a process that parses lines cannot start (%s); the load goes on without it", error)
            return None

    async def _read(self, reader: "_Reader", block: LineBlock | RowBlock) -> list[Read]:
        try:
            reading = _reading.decode(await reader.ask(_encode(block)))
        except (OSError, EOFError, msgspec.MsgspecError):
            if reader.is_alive:
                reader.is_alive = False
                _log.warning("a process that parses lines has ended; the load goes on without it")
            return self._parsed(block)
        return reading.read(self._sections, self._parsing)

    def _parsed(self, block: LineBlock | RowBlock) -> list[Read]:
        """Return what becomes of what a block holds where this process parses it."""
        return [read for _, read in self._parsing.block(block)]


async def _until_broken(
    blocks: AsyncGenerator[LineBlock | RowBlock],
) -> AsyncGenerator[LineBlock | RowBlock | InputRefused]:
    """Yield blocks, and at last why there is no further block, if that is no usual end."""
    async with contextlib.aclosing(blocks):
        try:
            async for block in blocks:
                yield block
        except InputRefused as error:
            yield error


class _Reader:
    """One process that parses."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self.is_alive = True

    @classmethod
    async def start(cls, recipe: Recipe) -> Self:
        """Start a process, and return once it can parse."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,  # Ctrl-C is for the process that started this one, which ends it
        )  # fmt: skip
        reader = cls(process)
        try:
            await reader.ask(_encode(recipe))
        except BaseException:
            await reader.end()
            raise
        return reader

    async def ask(self, message: bytes) -> bytes:
        """Return the answer to a message.

        Raises:
            OSError, EOFError: the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(len(message).to_bytes(LENGTH_SIZE, "big") + message)
            await self._process.stdin.drain()
            length = int.from_bytes(await self._process.stdout.readexactly(LENGTH_SIZE), "big")
            return await self._process.stdout.readexactly(length)

    async def end(self) -> None:
        """End the process."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def main() -> None:
    """Parse what comes on stdin until it ends: first the recipe, then lines."""
    received, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout = sys.stderr  # what a plugin prints is no answer
    parsing: Parsing | None = None
    while head := received.read(LENGTH_SIZE):
        message = received.read(int.from_bytes(head, "big"))
        if parsing is None:
            parsing = _recipe.decode(message).parsing()
            answer = b""
        else:
            answer = _encode(Reading.of(_block.decode(message), parsing))
        answers.write(len(answer).to_bytes(LENGTH_SIZE, "big") + answer)
        answers.flush()


if __name__ == "__main__":
    main()
