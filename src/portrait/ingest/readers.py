"""Processes that parse the lines of a file beside the process that records them: a load then takes two cores."""

import asyncio
import contextlib
import logging
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple, Self

import msgspec

from portrait.ingest.records import Parser
from portrait.ingest.streams import lines
from portrait.model.fact import Op
from portrait.model.identifier import Identifier
from portrait.model.warning import RecordWarning
from portrait.sections.base import MAX_SECTION_BYTES, Parsed, StoredSection
from portrait.sections.registry import Registry, load
from portrait.storage.contract import TenantRow
from portrait.writes.incoming import GivenIdentifier, Incoming, Linked
from portrait.writes.recording import Refusal

BLOCK_LINES = 200
"""The most lines of a block, which one process parses at once."""
BLOCK_BYTES = 2**18
"""About the most bytes of a block."""
AHEAD = 4
"""So many blocks are on their way to a process or back."""
LENGTH_SIZE = 4
"""Each message begins with its length, in so many bytes."""

_log = logging.getLogger("portrait.load")
_encode = msgspec.msgpack.Encoder().encode
Line = tuple[int, bytes]
Read = Incoming | Refusal


class Recipe(msgspec.Struct, frozen=True):
    """What a process needs in order to parse as this one does."""

    tenant: TenantRow
    source: str
    plugins: tuple[str, ...] = ()
    installed: bool = True
    max_section_bytes: int = MAX_SECTION_BYTES

    def parser(self) -> Callable[[Line], Read]:
        """Return what parses a line."""
        registry = load(self.plugins, installed=self.installed, max_section_bytes=self.max_section_bytes)
        return parser_of(self, registry)


def parser_of(recipe: Recipe, registry: Registry) -> Callable[[Line], Read]:
    """Return what parses a line, with sections that are loaded already."""
    parser = Parser(recipe.tenant, recipe.source, is_export=True)
    return lambda line: parser.line(*line, registry)


class Sent(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What became of a line, between two processes: a record, or why it was refused."""

    at: int
    code: str | None = None
    """Why it was refused; None: it was not."""
    detail: str = ""
    identifier: Identifier = Identifier("", "")
    section: str = ""
    key: str = ""
    body: bytes = b""
    own_moment: int | None = None
    effective_at: int | None = None
    source: str | None = None
    value: str | None = None
    linked: tuple[Identifier, str, float] | None = None
    warnings: tuple[RecordWarning, ...] = ()

    @classmethod
    def of(cls, read: Read) -> "Sent | None":
        """Return what is sent; None: the line is to be parsed by whoever records it, as ends are."""
        if isinstance(read, Refusal):
            return cls(read.at, read.code, read.detail)
        if read.op is Op.DELETE:
            return None
        linked = read.linked and (*read.linked.named, read.linked.confidence)
        return cls(
            read.at, None, "", read.identifier, read.section.name, read.parsed.key, read.parsed.body,
            read.parsed.effective_at, read.effective_at, read.source, read.value, linked, read.warnings,
        )  # fmt: skip

    def read(self, sections: Mapping[str, StoredSection]) -> Read:
        """Return what was sent; the record itself is decoded from its body, which recording asks for."""
        if self.code is not None:
            return Refusal(self.at, self.code, self.detail)
        section = sections[self.section]
        linked = self.linked and Linked(GivenIdentifier(*self.linked[:2]), self.linked[2])
        parsed = Parsed(section.shape.parse(self.body), self.key, self.body, self.own_moment)
        return Incoming(
            self.at, self.identifier, section, parsed, self.effective_at, self.source, self.value, linked,
            self.warnings, is_line=True,
        )  # fmt: skip


_lines = msgspec.msgpack.Decoder(list[Line])
_recipe = msgspec.msgpack.Decoder(Recipe)
_sent = msgspec.msgpack.Decoder(list[Sent | None])


class Block(NamedTuple):
    """Lines of a file, and what became of each."""

    lines: Sequence[Line]
    results: Sequence[Read]


class Readers:
    """Parses the lines of a file, in other processes as soon as these are ready; without them, or until then, here.

    A process that dies is done without: its lines are parsed here.

    Args:
        recipe: what the processes need.
        registry: the sections.
        count: how many processes there are.
    """

    def __init__(self, recipe: Recipe, registry: Registry, count: int) -> None:
        self._recipe = recipe
        self._parse = parser_of(recipe, registry)
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

    async def blocks(self, stream: BinaryIO) -> AsyncGenerator[Block]:
        """Yield the lines of a stream with what became of them, in order."""
        under_way: deque[tuple[Sequence[Line], asyncio.Task[list[Read]]]] = deque()
        try:
            for number, block in enumerate(_blocks(stream)):
                readers = self._living()
                if readers:
                    reading = asyncio.create_task(self._read(readers[number % len(readers)], block))
                    under_way.append((block, reading))
                while under_way and (not readers or len(under_way) > AHEAD):
                    lines_read, reading = under_way.popleft()
                    yield Block(lines_read, await reading)
                if not readers:
                    yield Block(block, [self._parse(line) for line in block])
            for lines_read, reading in under_way:
                yield Block(lines_read, await reading)
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

    async def _read(self, reader: "_Reader", block: Sequence[Line]) -> list[Read]:
        try:
            sent = _sent.decode(await reader.ask(_encode(block)))
        except (OSError, EOFError, msgspec.MsgspecError):
            if reader.is_alive:
                reader.is_alive = False
                _log.warning("a process that parses lines has ended; the load goes on without it")
            return [self._parse(line) for line in block]
        return [
            self._parse(line) if result is None else result.read(self._sections)
            for line, result in zip(block, sent, strict=True)
        ]


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


def _blocks(stream: BinaryIO) -> Iterator[list[Line]]:
    """Yield the lines of a stream in blocks."""
    block: list[Line] = []
    size = 0
    for line in lines(stream):
        block.append(line)
        size += len(line[1])
        if len(block) >= BLOCK_LINES or size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def main() -> None:
    """Parse what comes on stdin until it ends: first the recipe, then lines."""
    received, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout = sys.stderr  # what a plugin prints is no answer
    parse: Callable[[Line], Read] | None = None
    while head := received.read(LENGTH_SIZE):
        message = received.read(int.from_bytes(head, "big"))
        if parse is None:
            parse = _recipe.decode(message).parser()
            answer = b""
        else:
            answer = _encode([Sent.of(parse(line)) for line in _lines.decode(message)])
        answers.write(len(answer).to_bytes(LENGTH_SIZE, "big") + answer)
        answers.flush()


if __name__ == "__main__":
    main()
