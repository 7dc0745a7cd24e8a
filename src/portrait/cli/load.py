"""`portrait load`."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from portrait.app import Services
from portrait.cli.options import DATA, known_tenant, run, takes, tenant_option
from portrait.cli.printing import say
from portrait.cli.side_files import SideFiles
from portrait.ingest import blocks, loading
from portrait.ingest.formats import EXAMPLE, foreign
from portrait.ingest.loading import LoadOutcome
from portrait.ingest.readers import Readers, Recipe
from portrait.model.errors import InputRefused
from portrait.storage.contract import TenantRow

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
COLLECT = 100_000
"""So many more objects are made than freed before the collector looks for cycles among them."""
SOME_REFUSED = 3
"""The exit code when some lines were refused."""


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
    sides = SideFiles.beside(file, refused, warned)
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
    refusals, warnings = outcome.refused.total(), outcome.warned.total()
    say(f"{outcome.recorded:,} recorded, {outcome.duplicates:,} duplicates, {refusals:,} refused", err=True)
    if warnings:
        by_code = ", ".join(f"{count:,} {code}" for code, count in sorted(outcome.warned.items()))
        say(f"{warnings:,} warnings: {by_code}", err=True)
        say(f"The lines with warnings are in {sides.warnings.path}.", err=True)
    if refusals:
        say(f"The refused lines are in {sides.refusals.path}.", err=True)
        sys.exit(SOME_REFUSED)


async def load_stream(
    services: Services,
    tenant: TenantRow,
    stream: BinaryIO,
    beside: SideFiles | None = None,
    progress: "_Bar | None" = None,
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


class _Bar:
    """A progress bar that also tells records a second."""

    def __init__(self, progress: Progress, size: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("Loading", total=size, records=0, rate=0.0)
        self._records = 0

    def advance(self, records: int, size: int) -> None:
        """See `loading.Bar`."""
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
