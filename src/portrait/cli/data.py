"""`portrait load` and `portrait show`."""

import asyncio
import contextlib
import gc
import json
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from portrait.app import Services
from portrait.cli import portrait_view
from portrait.cli.customers import resolve_customer
from portrait.cli.options import DATA, known_tenant, run, takes, tenant_option
from portrait.cli.printing import say, say_json
from portrait.ingest.formats import EXAMPLE, foreign
from portrait.ingest.gathering import Gathering, identifiers_of
from portrait.ingest.readers import Readers, Recipe
from portrait.ingest.records import Chunk
from portrait.model.document import HEAD
from portrait.model.errors import InputRefused, InvalidSetting, StorageBusy, Unavailable
from portrait.model.identifier import Identifier, customer
from portrait.model.streams import Block, line_of
from portrait.storage.contract import TenantRow
from portrait.writes.incoming import Incoming
from portrait.writes.recording import MAX_CHUNK, Outcome, RecordWarned, Refusal

SOURCE = "load"
"""The source of records that name no source."""
PROCESSES = 3
"""The most processes that parse lines beside the one that records them: more would wait for it."""
WORTH_A_PROCESS = 2**20
"""From so many bytes on a file is worth the start of other processes."""
GATHERED = 2**24
"""At most so many bytes of a file are read on while a line waits for others of its customer."""
GATHERED_SHARE = 4
"""At most one in so many of a file's bytes is read on: until then nothing is written, and the database is idle."""
AT_ONCE = 2
"""So many chunks are written at once: while one chunk waits for the database, another is folded and rendered."""
BUSY_TRIES = 5
"""So often a chunk is tried while the database is busy with other writes."""
COLLECT = 100_000
"""So many more objects are made than freed before the collector looks for cycles among them."""
SOME_REFUSED = 3
"""The exit code when some lines were refused."""


class LoadOutcome(Outcome):
    """What became of the lines of a file."""

    warned: dict[str, int] = msgspec.field(default_factory=dict)
    """How many lines were taken with a warning, by its code; `warnings`, which would name each line, stays empty."""


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@tenant_option("The tenant of the records.")
@click.option(
    "--refused", type=click.Path(dir_okay=False), help="The file for refused lines. [default: FILE.refused.jsonl]"
)
@click.option(
    "--warned",
    type=click.Path(dir_okay=False),
    help="The file for lines that were taken with a warning. [default: FILE.warned.jsonl]",
)
@takes(*DATA)
def load(file: str, tenant_id: str, refused: str | None, warned: str | None, **options: Any) -> None:
    """Load records from a file of JSON lines, or from stdin (-): the lines of POST /api/v1/records.

    Exits with 0 when all lines were taken, with 3 when some were refused; those are in a side file with their number
    and the reason. Lines that were taken with a warning are counted by its code, and are in a side file of their own.
    Loading the same file again changes nothing.
    """
    sides = _Sides.beside(file, refused, warned)
    size = None if file == "-" else Path(file).stat().st_size

    async def work(services: Services) -> LoadOutcome:
        tenant = await known_tenant(services, tenant_id)
        # The objects of a chunk live until its commit and hold no cycles: the collector would find nothing.
        gc.freeze()
        gc.set_threshold(COLLECT)
        recipe = Recipe(tenant, SOURCE, options["plugin"], max_section_bytes=options["max_section_bytes"])
        with _opened(file) as stream, sides as beside, _progress(size) as progress:
            async with Readers(recipe, services.registry, _processes(size)) as readers:
                return await load_stream(services, tenant, stream, beside, progress, readers, gathered=_gathered(size))

    outcome = run(options, work)
    say(
        f"{outcome.recorded:,} recorded, {outcome.duplicates:,} duplicates, {len(outcome.refused):,} refused",
        err=True,
    )
    if outcome.warned:
        by_code = ", ".join(f"{count:,} {code}" for code, count in sorted(outcome.warned.items()))
        say(f"{sum(outcome.warned.values()):,} warnings: {by_code}", err=True)
        say(f"The lines with warnings are in {sides.warned.path}.", err=True)
    if outcome.refused:
        say(f"The refused lines are in {sides.refused.path}.", err=True)
        sys.exit(SOME_REFUSED)


async def load_stream(
    services: Services,
    tenant: TenantRow,
    stream: BinaryIO,
    beside: "_Sides | None" = None,
    progress: "_Bar | None" = None,
    readers: Readers | None = None,
    *,
    gathered: int = 0,
) -> LoadOutcome:
    """Load the lines of a stream, chunk after chunk; while some chunks are written the next is read.

    Args:
        services: what records them.
        tenant: the tenant.
        stream: the lines.
        beside: where lines that are refused or taken with a warning go; None: nowhere.
        progress: shows how far it is; None: nothing does.
        readers: parse the lines; None: this process does.
        gathered: so many bytes are read on while a line waits for others of its customer.
    """
    readers = readers or Readers(Recipe(tenant, SOURCE), services.registry, 0)
    writing = _Writing(services, tenant.id, beside, progress, gathered)
    try:
        async with contextlib.aclosing(readers.blocks(stream)) as blocks:
            async for block, reads in blocks:
                await writing.add(block, reads)
                await asyncio.sleep(0)  # the tasks that write go on if the database has answered
        return await writing.end()
    finally:
        await writing.give_up()


def _processes(size: int | None) -> int:
    """Return how many processes are to parse the lines of a file of so many bytes; None: its size is not known."""
    if size is not None and size < WORTH_A_PROCESS:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(PROCESSES, cores - 1)


def _gathered(size: int | None) -> int:
    """Return how many bytes of a file of this size are read on while a line waits; None: it is no file.

    What comes on stdin may come slowly, and does not wait for more.
    """
    return 0 if size is None else min(GATHERED, size // GATHERED_SHARE)


class _UnderWay(NamedTuple):
    """Lines on their way into the database."""

    task: asyncio.Task[Outcome]
    identifiers: set[Identifier]
    regrouped: Mapping[Identifier, frozenset[Identifier]]
    """See `Gathered`."""
    chunk: Chunk
    blocks: list[Block]
    """The blocks that hold them, in order, perhaps among others."""
    size: int
    """How many bytes of the stream nothing waits of any more."""


class _Writing:
    """Writes chunks, up to `AT_ONCE` at once.

    Of two lines that concern one customer, the later line must be recorded later. So a chunk waits for the chunks that
    name or link one of its identifiers; and lines that wait for others of their customer wait together, whichever of
    the customer's identifiers they name.

    Args:
        services: what records them.
        tenant: the tenant.
        beside: where lines that are refused or taken with a warning go; None: nowhere.
        progress: shows how far it is; None: nothing does.
        gathered: so many bytes are read on while a line waits for others of its customer.
    """

    def __init__(
        self, services: Services, tenant: str, beside: "_Sides | None", progress: "_Bar | None", gathered: int
    ) -> None:
        self._services = services
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
            self._advance(0, len(block.text))
            return
        self._blocks.append(block)
        self._size += len(block.text)
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
        return await self._services.store.resolve(self._tenant, named) if named else {}

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
        blocks, size = list(self._blocks), self._size
        first = self._gathering.first
        while len(self._blocks) > 1 and (first is None or first >= self._blocks[1].first):
            self._size -= len(self._blocks.popleft().text)
        identifiers = {identifier for record in chunk.incoming for identifier in identifiers_of(record)}
        while len(self._chunks) >= AT_ONCE or any(identifiers & other.identifiers for other in self._chunks):
            await self._take()
        task = asyncio.create_task(self._recorded(chunk.incoming))
        self._chunks.append(_UnderWay(task, identifiers, regrouped, chunk, blocks, size - self._size))

    async def _recorded(self, incoming: list[Incoming]) -> Outcome:
        """Record a chunk; a database that is busy with others is asked again."""
        if not incoming:
            return Outcome()
        for _ in range(BUSY_TRIES - 1):
            try:
                return await self._services.recorder.record_each(self._tenant, incoming)
            except StorageBusy as error:
                await asyncio.sleep(error.retry_after)
        return await self._services.recorder.record_each(self._tenant, incoming)

    async def end(self) -> LoadOutcome:
        """Write what waits, and return what became of all chunks, when all are written."""
        while not self._gathering.is_empty:
            await self._send()
        while self._chunks:
            await self._take()
        self._advance(0, self._size)
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
        task, _, regrouped, chunk, blocks, size = self._chunks[0]
        try:
            outcome = await task
        except Unavailable as error:
            first = chunk.incoming[0].at + 1  # whoever comes first leaves first, so that none before it waits
            raise type(error)(
                f"Lines from {first:,} on were not recorded, or not all of them: {error.detail} Those before were."
                " Load the file again: recorded lines count as duplicates."
            ) from error
        self._chunks.popleft()
        self._regrouped.append(regrouped)
        self._total.recorded += outcome.recorded
        self._total.duplicates += outcome.duplicates
        for warned in outcome.warnings:
            self._total.warned[warned.code] = self._total.warned.get(warned.code, 0) + 1
        refusals = sorted([*chunk.refused, *outcome.refused])
        self._total.refused += refusals
        if self._beside is not None:
            for refusal in refusals:
                self._beside.refused.write(refusal, line_of(blocks, refusal.at))
            for warned in outcome.warnings:
                self._beside.warned.write(warned, line_of(blocks, warned.at))
        self._advance(len(chunk.incoming) + len(chunk.refused), size)

    def _advance(self, records: int, size: int) -> None:
        if self._progress is not None:
            self._progress.advance(records, size)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """Open a file of JSON lines.

    Raises:
        InputRefused: the file is of another format.
    """
    with contextlib.ExitStack() as stack:
        stream: Any = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
        if fault := foreign(stream.peek(1)):
            name = "The input on stdin" if file == "-" else file
            raise InputRefused(f"{name} {fault}. portrait load takes JSON lines, each like {EXAMPLE}.")
        yield stream


class _SideFile:
    """A file of some lines, made when the first line comes; that of an earlier load of the input is removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    @classmethod
    def beside(cls, file: str, named: str | None, kind: str) -> "_SideFile":
        """Return a side file of an input: the named file, which must be new, or the default one beside the input.

        Raises:
            InvalidSetting: the named file is there already, or no file can be made in its directory.
        """
        path = Path(named or f"{'stdin' if file == '-' else file}.{kind}.jsonl")
        if named and path.exists():
            raise InvalidSetting(f"{path} exists already. Name a new file for {kind} lines.")
        if not os.access(path.parent, os.W_OK):
            raise InvalidSetting(f"No file can be created in {path.parent}. Name another file with --{kind}.")
        return cls(path)

    def open(self) -> None:
        """Remove the file of an earlier load."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def write(self, notice: Refusal | RecordWarned, text: bytes) -> None:
        """Add a line: its number from 1, the code and the detail of its notice, and the line itself."""
        if self._file is None:
            private = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it holds people's records
            self._file = os.fdopen(private, "w", encoding="utf-8")
        entry = {
            "line": notice.at + 1,
            "code": notice.code,
            "detail": notice.detail,
            "text": text.decode(errors="replace"),
        }
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")


class _Sides(NamedTuple):
    """The two side files of an input."""

    refused: _SideFile
    warned: _SideFile

    @classmethod
    def beside(cls, file: str, refused: str | None, warned: str | None) -> "_Sides":
        """Return the side files of an input: the named files, which must be new, or the default ones beside it.

        Raises:
            InvalidSetting: a named file is there already, or both are the same, or a directory takes no file.
        """
        sides = cls(_SideFile.beside(file, refused, "refused"), _SideFile.beside(file, warned, "warned"))
        if sides.refused.path == sides.warned.path:
            raise InvalidSetting("--refused and --warned name the same file. Name two files.")
        return sides

    def __enter__(self) -> "_Sides":
        for side in self:
            side.open()
        return self

    def __exit__(self, *_: object) -> None:
        for side in self:
            side.close()


class _Bar:
    """A progress bar that also tells records a second."""

    def __init__(self, progress: Progress, size: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("Loading", total=size, records=0, rate=0.0)
        self._records = 0

    def advance(self, records: int, size: int) -> None:
        """Count a chunk."""
        self._records += records
        elapsed = self._progress.tasks[0].elapsed or 1e-9
        self._progress.update(self._task, advance=size, records=self._records, rate=self._records / elapsed)


@contextlib.contextmanager
def _progress(size: int | None) -> Iterator[_Bar | None]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[records]:,} records"),
        TextColumn("{task.fields[rate]:,.0f}/s"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress, size)


@click.command()
@click.argument("customer_id", metavar="CUSTOMER")
@tenant_option("The tenant of the customer.")
@click.option("--sections", "names", help="Comma-separated sections to show. [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON of the API's answer.")
@takes(*DATA)
def show(*, customer_id: str, tenant_id: str, names: str | None, as_json: bool, **options: Any) -> None:
    """Show a customer's portrait, for a person to read.

    CUSTOMER is a customer id, or an identifier of any type that one customer has, such as an e-mail address.
    """

    async def work(services: Services) -> bytes:
        tenant = await known_tenant(services, tenant_id)
        asked = None if names is None else [name.strip() for name in names.split(",")]
        plan = services.reader.plan("admin", asked)
        profile = await services.reader.profile(tenant.id, await resolve_customer(services, tenant, customer_id), plan)
        if asked is None:
            await _say_what_is_left_out(services, tenant.id, profile.customer_id)
        return profile.json(services.clock())

    answer = run(options, work)
    if as_json:
        say_json(answer.decode())
    else:
        portrait_view.show(msgspec.json.decode(answer), Console())


async def _say_what_is_left_out(services: Services, tenant_id: str, customer_id: str) -> None:
    """Name the sections that have stored documents and that the full profile does not show."""
    stored = {section for section, *_ in await services.store.hashes(tenant_id, customer_id, None)} - {HEAD}
    by_name = sorted(section.name for section in services.registry if not section.default and section.name in stored)
    unknown = sorted(stored - set(services.registry.names()))
    if by_name:
        say(f"Shown only with --sections: {', '.join(by_name)}.", err=True)
    if unknown:
        say(f"Not shown, because their plugins are not loaded (see --plugin): {', '.join(unknown)}.", err=True)
