"""`portrait load`."""

import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from portrait.app import Services
from portrait.cli import mappings
from portrait.cli.options import DATA, known_tenant, run, takes, tenant_option
from portrait.cli.printing import say
from portrait.cli.side_files import SideFiles
from portrait.ingest import blocks, inputs, loading
from portrait.ingest.inputs import Input
from portrait.ingest.loading import LoadOutcome
from portrait.ingest.mapped import MappedTable
from portrait.ingest.readers import Readers, Recipe
from portrait.mapping.language import Mapping
from portrait.model import time
from portrait.model.errors import InputRefused, InvalidParameter
from portrait.sections.registry import Registry
from portrait.storage.contract import TenantRow
from portrait.tables.table import Table

SOURCE = "load"
"""The source of records that name no source."""
STDIN = "stdin"
PROCESSES = 3
"""The most processes that parse lines beside the one that records them: more would wait for it."""
WORTH_A_PROCESS = 2**20
"""From so many bytes on a file is worth the start of other processes."""
GATHERED = 2**24
"""At most so many bytes of a file are read on while a line waits for others of its customer."""
GATHERED_SHARE = 4
"""At most one in so many of a file's bytes is read on: until then nothing is written, and the database is idle."""
COLLECT = 100_000
"""So many more objects are made than freed before the collector looks for cycles among them."""
SOME_REFUSED = 3
"""The exit code when some records were refused."""


def _file(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Check that a file is there; a database's URL is checked when it is opened."""
    is_there = click.Path(exists=True, dir_okay=False, allow_dash=True)
    return value if "://" in value and ctx.params.get("sql") else str(is_there.convert(value, param, ctx))


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else time.parse(value)
    except InvalidParameter as error:
        raise click.BadParameter(f"It {error.detail}, such as 2026-04-03T10:00:00Z.") from None


@click.command()
@click.argument("file", callback=_file)
@click.option("--sql", is_eager=True, help="A query; FILE is then the URL of its database, as in --database.")
@tenant_option("The tenant of the records.", required=False)
@click.option(
    "--mapping", "named", help="What the rows of a table mean: a TOML file, or the name of a mapping that comes along."
)
@click.option(
    "--exported",
    callback=_moment,
    help="The moment of the export: from then on is true what has no moment of its own.",
)
@click.option("--look", "looks", is_flag=True, help="Load nothing: propose a mapping, or show what one would do.")
@click.option("--dry-run", "dry", is_flag=True, help="Load nothing: check all of the file.")
@click.option(
    "--refused", type=click.Path(dir_okay=False), help="The file for refused records. [default: FILE.refused.jsonl]"
)
@click.option(
    "--warned",
    type=click.Path(dir_okay=False),
    help="The file for records that were taken with a warning. [default: FILE.warned.jsonl]",
)
@takes(*DATA)
def load(
    *,
    file: str,
    sql: str | None,
    tenant_id: str | None,
    named: str | None,
    exported: int | None,
    looks: bool,
    dry: bool,
    refused: str | None,
    warned: str | None,
    **options: Any,
) -> None:
    """Load records from a file, from stdin (-) or, with --sql, from a database.

    Without --mapping these are the records of POST /api/v1/records: JSON lines, or an array. With --mapping they are
    made of the rows of a table: CSV, JSON, an Excel workbook, Parquet, Arrow or a query. Files may be packed by gzip or
    zip.

    Exits with 0 when all records were taken, with 3 when some were refused; those are in a side file with their line
    and the reason. Records that were taken with a warning are counted by its code, and are in a side file of their own.
    Loading the same file again changes nothing.
    """
    mapping = None if named is None else mappings.chosen(named)
    if looks:
        mappings.Look(file, sql, mapping, exported, options["plugin"]).show()
        return
    if tenant_id is None:
        raise click.UsageError("Missing option '--tenant'.")
    sides = SideFiles.beside(STDIN if file == "-" or sql is not None else file, refused, warned)
    work = _Wanted(file, sql, mapping, exported, tenant_id, options)
    with _progress() as bar, sides as beside:
        outcome = run(options, lambda services: work.done(services, beside, bar, dry=dry))
    _say(outcome, sides, dry=dry)


class _Wanted(NamedTuple):
    """What a command is to load."""

    file: str
    sql: str | None
    mapping: Mapping | None
    exported: int | None
    tenant_id: str
    options: dict[str, Any]

    async def done(self, services: Services, beside: SideFiles, bar: "_Bar | None", *, dry: bool) -> LoadOutcome:
        """Load all, or check all where nothing is to be written.

        Where a part cannot be read to its end, what was read of it is recorded.
        """
        total = LoadOutcome()
        async with self._opened(services) as (tenant, parts):
            for part in parts:
                if bar is not None:
                    bar.begin(part.progress)
                async with self._readers(services, tenant, part) as readers:
                    read = readers.read(part.blocks)
                    if dry:
                        outcome = await loading.check(read, beside=beside, progress=bar)
                    else:
                        outcome = await loading.load(
                            services.recorder, services.store, tenant.id, read,
                            beside=beside, progress=bar, gathered=self._gathered,
                        )  # fmt: skip
                    total.add(outcome)
        return total

    @contextlib.asynccontextmanager
    async def _opened(self, services: Services) -> AsyncIterator[tuple[TenantRow, list[Input]]]:
        tenant = await known_tenant(services, self.tenant_id)
        # The objects of a chunk live until its commit and hold no cycles: the collector would find nothing.
        gc.freeze()
        gc.set_threshold(COLLECT)
        types = tuple((await services.rules.get(tenant.id)).all_types)
        async with opened(self.file, self.sql, self.mapping, self.exported, types, services.registry) as parts:
            yield tenant, parts

    def _readers(self, services: Services, tenant: TenantRow, part: Input) -> Readers:
        recipe = Recipe(
            tenant, SOURCE, self.options["plugin"], max_section_bytes=self.options["max_section_bytes"],
            moment=self.exported, mapped=part.mapped,
        )  # fmt: skip
        return Readers(recipe, services.registry, _processes(self._size))

    @property
    def _size(self) -> int | None:
        return None if self.file == "-" or self.sql is not None else Path(self.file).stat().st_size

    @property
    def _gathered(self) -> int:
        """How many bytes are read on while a record waits for others of its customer."""
        return _gathered(self._size) if self.sql is None else GATHERED


def opened(
    file: str,
    sql: str | None,
    mapping: Mapping | None,
    exported: int | None,
    types: tuple[str, ...],
    registry: Registry,
) -> contextlib.AbstractAsyncContextManager[list[Input]]:
    """Open what a command names.

    Args:
        file: the file, `-`, or a database's URL.
        sql: a query of the database; None: it is a file.
        mapping: what rows mean; None: there are records.
        exported: the moment of the export, in microseconds.
        types: the types of identifiers that the tenant has.
        registry: the sections.

    Raises:
        InputRefused: there is a query, and no mapping.
    """

    def mapped(table: Table) -> MappedTable:
        assert mapping is not None
        return MappedTable(mapping, table.columns, table.name, exported, types)

    source = sys.stdin.buffer if file == "-" else Path(file)
    if mapping is None and sql is not None:
        raise InputRefused("A query gives rows: say what they mean with --mapping. --look proposes a mapping.")
    if mapping is None:
        return inputs.of_lines(source, STDIN)
    if sql is not None:
        return inputs.of_query(file, sql, mapped, registry)
    return inputs.of_rows(source, STDIN, mapping, mapped, registry)


def _say(outcome: LoadOutcome, sides: SideFiles, *, dry: bool) -> None:
    """Say what became of all, and end with the exit code that says whether some were refused."""
    refusals, warnings = outcome.refused.total(), outcome.warned.total()
    if dry:
        say(f"{outcome.recorded:,} to record, {refusals:,} refused; nothing was written", err=True)
    else:
        say(f"{outcome.recorded:,} recorded, {outcome.duplicates:,} duplicates, {refusals:,} refused", err=True)
    if warnings:
        by_code = ", ".join(f"{count:,} {code}" for code, count in sorted(outcome.warned.items()))
        say(f"{warnings:,} warnings: {by_code}", err=True)
        if not dry:
            say(f"The lines with warnings are in {sides.warnings.path}.", err=True)
    if refusals:
        say(f"The refused lines are in {sides.refusals.path}.", err=True)
        sys.exit(SOME_REFUSED)


async def load_stream(
    services: Services,
    tenant: TenantRow,
    stream: BinaryIO,
    beside: SideFiles | None = None,
    progress: loading.Bar | None = None,
    readers: Readers | None = None,
    *,
    gathered: int = 0,
) -> LoadOutcome:
    """Load the JSON lines of a stream.

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
    read = readers.read(blocks.of_lines(stream.read))
    return await loading.load(
        services.recorder, services.store, tenant.id, read, beside=beside, progress=progress, gathered=gathered
    )


def _processes(size: int | None) -> int:
    """Return how many processes are to parse a file of so many bytes; None: its size is not known."""
    if size is not None and size < WORTH_A_PROCESS:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(PROCESSES, cores - 1)


def _gathered(size: int | None) -> int:
    """Return how many bytes of a file of this size are read on while a line waits; None: it is no file.

    What comes on stdin may come slowly, and does not wait for more.
    """
    return 0 if size is None else min(GATHERED, size // GATHERED_SHARE)


class _Bar:
    """A progress bar that also tells records a second."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("Loading", total=None, records=0, rate=0.0)
        self._records = 0
        self._share: Callable[[], float | None] = lambda: None

    def begin(self, share: Callable[[], float | None]) -> None:
        """Begin with a part of the input, of which this tells how much was read."""
        self._share = share

    def advance(self, records: int) -> None:
        """See `loading.Bar`."""
        self._records += records
        elapsed, share = self._progress.tasks[0].elapsed or 1e-9, self._share()
        self._progress.update(
            self._task, total=None if share is None else 1.0, completed=share or 0.0, records=self._records,
            rate=self._records / elapsed,
        )  # fmt: skip


@contextlib.contextmanager
def _progress() -> Iterator[_Bar | None]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[records]:,} records"),
        TextColumn("{task.fields[rate]:,.0f}/s"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress)
