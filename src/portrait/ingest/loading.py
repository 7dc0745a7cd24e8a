"""Loading: chunks of records are written while the next are read; of what concerns one customer the order stays."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from portrait.ingest.blocks import Block, block_of
from portrait.ingest.gathering import Gathering, identifiers_of
from portrait.ingest.readers import Read
from portrait.ingest.records import Chunk
from portrait.model.errors import InputRefused, StorageBusy, Unavailable
from portrait.model.identifier import Identifier, customer
from portrait.storage.contract import Store
from portrait.writes.incoming import Incoming
from portrait.writes.recording import MAX_CHUNK, Outcome, Recorder, RecordWarned, Refusal

AT_ONCE = 2
"""So many chunks are written at once: while one chunk waits for the database, another is folded and rendered."""
BUSY_TRIES = 5
"""So often a chunk is tried while the database is busy with other writes."""


class LoadOutcome(msgspec.Struct):
    """What became of the records of a file, in numbers: a file may have any number of records."""

    recorded: int = 0
    duplicates: int = 0
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    """How many records were refused, by code."""
    warned: Counter[str] = msgspec.field(default_factory=Counter)
    """How many records were taken with a warning, by its code."""

    def add(self, other: "LoadOutcome") -> None:
        """Add what became of others."""
        self.recorded += other.recorded
        self.duplicates += other.duplicates
        self.refused += other.refused
        self.warned += other.warned


class Beside(Protocol):
    """Takes what is to be looked at."""

    def refused(self, notice: Refusal, block: Block) -> None:
        """Take a record that was refused, and the block that it came from."""
        ...

    def warned(self, notice: RecordWarned, block: Block) -> None:
        """Take a record that was taken with a warning, and the block that it came from."""
        ...


class Bar(Protocol):
    """Shows how far a load is."""

    def advance(self, records: int) -> None:
        """Count records that were written or refused."""
        ...


async def load(
    recorder: Recorder,
    store: Store,
    tenant: str,
    read: AsyncGenerator[tuple[Block, list[Read]]],
    *,
    beside: Beside | None = None,
    progress: Bar | None = None,
    gathered: int = 0,
) -> LoadOutcome:
    """Write what is read, chunk after chunk; while some chunks are written the next is read.

    Where no more can be read, what was read before is written.

    Args:
        recorder: what records.
        store: where owners of identifiers are looked up.
        tenant: the tenant's id.
        read: blocks in order, with what became of what they hold.
        beside: takes what was refused, or taken with a warning; None: nothing does.
        progress: shows how far it is; None: nothing does.
        gathered: so many bytes are read on while a record waits for others of its customer.

    Raises:
        Unavailable: the database could not record a chunk; the detail says which records it holds.
        InputRefused: no more could be read.
    """
    writing = _Writing(recorder, store, tenant, beside, progress, gathered)
    try:
        async with contextlib.aclosing(read) as blocks:
            try:
                async for block, reads in blocks:
                    await writing.add(block, reads)
                    await asyncio.sleep(0)  # the tasks that write go on if the database has answered
            except InputRefused:
                await writing.end()
                raise
        return await writing.end()
    finally:
        await writing.give_up()


async def check(
    read: AsyncGenerator[tuple[Block, list[Read]]], *, beside: Beside | None = None, progress: Bar | None = None
) -> LoadOutcome:
    """Return what would become of what is read, as far as each record shows by itself; nothing is written.

    See `load`; what it would record may turn out to be a duplicate, or be refused by what the database holds.

    Raises:
        InputRefused: no more could be read.
    """
    total = LoadOutcome()
    async with contextlib.aclosing(read) as blocks:
        async for block, reads in blocks:
            for record in reads:
                if isinstance(record, Refusal):
                    total.refused[record.code] += 1
                    if beside is not None:
                        beside.refused(record, block)
                else:
                    total.recorded += 1
                    total.warned.update(warning.code for warning in record.warnings)
            if progress is not None:
                progress.advance(len(reads))
    return total


class _UnderWay(NamedTuple):
    """Lines on their way into the database."""

    task: asyncio.Task[Outcome]
    identifiers: set[Identifier]
    regrouped: Mapping[Identifier, frozenset[Identifier]]
    """See `Gathered`."""
    chunk: Chunk
    blocks: list[Block]
    """The blocks that hold them, in order, perhaps among others."""


class _Writing:
    """Writes chunks, up to `AT_ONCE` at once.

    Of two lines that concern one customer, the later line must be recorded later. So a chunk waits for the chunks that
    name or link one of its identifiers; and lines that wait for others of their customer wait together, whichever of
    the customer's identifiers they name.

    Args:
        recorder: what records them.
        store: where owners of identifiers are looked up.
        tenant: the tenant's id.
        beside: where lines that are refused or taken with a warning go; None: nowhere.
        progress: shows how far it is; None: nothing does.
        gathered: so many bytes are read on while a line waits for others of its customer.
    """

    def __init__(
        self,
        recorder: Recorder,
        store: Store,
        tenant: str,
        beside: Beside | None,
        progress: Bar | None,
        gathered: int,
    ) -> None:
        self._recorder = recorder
        self._store = store
        self._tenant = tenant
        self._beside = beside
        self._progress = progress
        self._gathered = gathered
        self._gathering = Gathering()
        self._blocks: deque[Block] = deque()
        """From the block that holds the first line that waits."""
        self._size = 0
        """How many bytes they have."""
        self._weight = 0
        self._chunks: deque[_UnderWay] = deque()
        self._regrouped: list[Mapping[Identifier, frozenset[Identifier]]] = []
        """What chunks may have joined or parted that were written since owners were looked up."""
        self._total = LoadOutcome()

    async def add(self, block: Block, reads: Sequence[Incoming | Refusal]) -> None:
        """Take in what became of the lines of a block, and begin to write those that wait no longer."""
        if not reads:
            return
        self._blocks.append(block)
        self._size += block.size
        self._regrouped = []
        owners = await self._owners(reads) if self._gathered else {}
        for read in reads:
            self._weight += 1 if isinstance(read, Refusal) else read.weight
            self._gathering.add(read, lambda identifier: self._kin(identifier, owners))
            while self._weight >= MAX_CHUNK and self._size >= self._gathered:
                await self._send()

    async def _owners(self, reads: Sequence[Incoming | Refusal]) -> dict[Identifier, str]:
        """Return whose the identifiers are that records name, of which nothing waits yet."""
        named = {
            identifier
            for read in reads
            if isinstance(read, Incoming)
            for identifier in identifiers_of(read)
            if identifier not in self._gathering
        }
        return await self._store.resolve(self._tenant, named) if named else {}

    def _kin(self, identifier: Identifier, owners: Mapping[Identifier, str]) -> set[Identifier]:
        """Return the identifiers that are, or may be by now, one customer's with another."""
        kin = {customer(owners[identifier])} if identifier in owners else set()
        for regrouped in (*self._regrouped, *(chunk.regrouped for chunk in self._chunks)):
            kin |= regrouped.get(identifier, frozenset())
        return kin

    async def _send(self) -> None:
        """Begin to write a chunk, once it may."""
        chunk, regrouped = self._gathering.take(MAX_CHUNK if self._gathered else self._weight)
        self._weight -= chunk.weight
        blocks = list(self._blocks)
        first = self._gathering.first
        while len(self._blocks) > 1 and (first is None or first >= self._blocks[1].first):
            self._size -= self._blocks.popleft().size
        identifiers = {identifier for record in chunk.incoming for identifier in identifiers_of(record)}
        while len(self._chunks) >= AT_ONCE or any(identifiers & other.identifiers for other in self._chunks):
            await self._take()
        task = asyncio.create_task(self._recorded(chunk.incoming))
        self._chunks.append(_UnderWay(task, identifiers, regrouped, chunk, blocks))

    async def _recorded(self, incoming: list[Incoming]) -> Outcome:
        """Record a chunk; a database that is busy with others is asked again."""
        if not incoming:
            return Outcome()
        for _ in range(BUSY_TRIES - 1):
            try:
                return await self._recorder.record_each(self._tenant, incoming)
            except StorageBusy as error:
                await asyncio.sleep(error.retry_after)
        return await self._recorder.record_each(self._tenant, incoming)

    async def end(self) -> LoadOutcome:
        """Write what waits, and return what became of all chunks, when all are written."""
        while not self._gathering.is_empty:
            await self._send()
        while self._chunks:
            await self._take()
        return self._total

    async def give_up(self) -> None:
        """Write no more: a chunk under way is undone or done, depending on how far it came."""
        for chunk in self._chunks:
            chunk.task.cancel()
        await asyncio.gather(*(chunk.task for chunk in self._chunks), return_exceptions=True)

    async def _take(self) -> None:
        """Wait for the first chunk under way, and count what became of it.

        Raises:
            Unavailable: the database could not record the chunk; the detail says which lines it holds.
        """
        task, _, regrouped, chunk, blocks = self._chunks[0]
        try:
            outcome = await task
        except Unavailable as error:
            first = chunk.incoming[0].at  # whoever comes first leaves first, so that none before it waits
            number = block_of(blocks, first).number(first)
            raise type(error)(
                f"Lines from {number:,} on were not recorded, or not all of them: {error.detail} Those before were."
                " Load the file again: recorded lines count as duplicates."
            ) from error
        self._chunks.popleft()
        self._regrouped.append(regrouped)
        self._total.recorded += outcome.recorded
        self._total.duplicates += outcome.duplicates
        refusals = sorted([*chunk.refused, *outcome.refused])
        self._total.refused.update(refusal.code for refusal in refusals)
        self._total.warned.update(warned.code for warned in outcome.warnings)
        if self._beside is not None:
            for refusal in refusals:
                self._beside.refused(refusal, block_of(blocks, refusal.at))
            for warned in outcome.warnings:
                self._beside.warned(warned, block_of(blocks, warned.at))
        if self._progress is not None:
            self._progress.advance(len(chunk.incoming) + len(chunk.refused))
