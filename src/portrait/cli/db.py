"""`portrait db …`: upkeep of the database."""

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from portrait import app
from portrait.app import Services
from portrait.cli.options import DATA, run, takes
from portrait.cli.outlook_view import say_outlook
from portrait.cli.printing import say
from portrait.cli.rekey import counted, rekey_all
from portrait.maintenance.report import Outlook, Report

T = TypeVar("T")
EXAMPLES = 5
"""How many customers are named of each tenant and occasion, by default."""
MEGABYTE = 1e6
LISTED = 20
"""The most differences that are printed one by one."""


@click.group()
def db() -> None:
    """Upgrade, distribute, back up, restore, check or rebuild the database."""


@db.command()
@click.option("--what-changes", is_flag=True, help="Only tell what would be otherwise; change nothing.")
@click.option(
    "--examples",
    type=click.IntRange(0, 1_000_000),
    help="With --what-changes: how many customers are named of each tenant and occasion. [default: 5]",
)
@takes(*DATA)
def upgrade(*, what_changes: bool, examples: int | None, **options: Any) -> None:
    """Bring the database's schema to this version. There is no way back: make a backup first, and stop the services.

    It is done whole or not at all: what was killed on its way begins anew. Then identifiers that this version matches
    in another form are put under it, as portrait identity rekey does; what was killed there goes on when it is begun
    again.

    With --what-changes nothing is changed. It prints the pending revisions of the schema and, of each tenant, which
    customers this version makes otherwise: from the first read on, after `portrait db rebuild`, and once an identity
    record or an action concerns them; and how many identifiers it puts under another form. It exits with 1 where there
    are any, or where `portrait db check` would.
    """
    if what_changes:
        _foresee(options, EXAMPLES if examples is None else examples)
        return
    if examples is not None:
        raise click.UsageError("--examples goes with --what-changes.")

    async def work(services: Services) -> Counter[str]:
        await services.store.ready()
        return await rekey_all(services, preview=False)

    if (rewrite := app.rewrite(options["database"])) is not None:
        say(
            f"The upgrade writes {rewrite.size / MEGABYTE:,.1f} MB anew; for a while it takes"
            f" {rewrite.needed / MEGABYTE:,.1f} MB more of the disk."
            " There is no way back but to a backup, which portrait db backup FILE makes.",
            err=True,
        )
    with _share_done("Upgrading") as progress:
        outcomes = run(options, work, create=True, upgrade=True, progress=progress)
    say("The database has this version's schema.", err=True)
    if outcomes:
        say(f"Identifiers: {counted(outcomes, preview=False)}", err=True)


@db.command()
@takes("database")
@click.option(
    "--shards",
    type=click.IntRange(1, 10_000),
    default=32,
    show_default=True,
    help="The number of shards: at least as many as the workers will ever have cores.",
)
def distribute(database: str, shards: int) -> None:
    """Distribute the tables, and the rows in them, over a Citus cluster. Stop the services first."""
    tables = asyncio.run(app.distribute(database, shards))
    message = f"Distributed: {', '.join(tables)}." if tables else "All tables were distributed already."
    say(message, err=True)


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@takes("database", "busy_seconds")
def backup(database: str, file: Path, busy_seconds: float) -> None:
    """Write a copy of an SQLite database to a new file. A service may go on writing."""
    app.backup(database, file, busy_seconds)
    say(f"Written: {file}.", err=True)


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@takes("database")
def restore(database: str, file: Path) -> None:
    """Put a copy in the place of an SQLite database. Stop the services first.

    The copy is checked before. What was in its place is kept beside it, under a name that ends in the time.
    """
    before = app.restore(database, file)
    message = f"The previous database is kept as {before}." if before else "There was no previous database."
    say(f"Restored. {message}", err=True)


@db.command()
@takes(*DATA)
def check(**options: Any) -> None:
    """Derive everything from the facts, beside what is held, and compare.

    Exits with 1 on a difference, and where a section's own code raises an error. Sections that are not registered are
    named, with what is stored of them, and change no exit code.
    """
    report = _with_progress("Checking", options, lambda services, progress: services.upkeep.check(progress))
    _print(report)
    if report.differences or report.faults:
        say("Run `portrait db rebuild` to repair derived data. Restore a damaged file from its backup.", err=True)
    if report.differences or report.faults or report.failed:
        sys.exit(1)


@db.command()
@takes(*DATA)
def rebuild(**options: Any) -> None:
    """Derive everything from the facts, report the differences, and replace the stored rows."""
    _print(_with_progress("Rebuilding", options, lambda services, progress: services.upkeep.rebuild(progress)))


def _foresee(options: dict[str, Any], examples: int) -> None:
    """Print what an upgrade changes; exit with 1 where it is anything."""

    async def work(services: Services, progress: Any) -> tuple[Outlook, Report, Counter[str]]:
        return *await services.upkeep.foresee(progress), await rekey_all(services, preview=True)

    outlook, report, rekeyed = _with_progress("Looking ahead", options, work, upgrade=False, reading=True)
    say_outlook(outlook, report.differences, examples)
    _say_totals(report)
    if rekeyed:
        say(f"Identifiers: {counted(rekeyed, preview=True)}")
    say("Nothing was changed.", err=True)
    if rekeyed or outlook.changes or report.differences or report.faults or report.failed:
        sys.exit(1)


@contextlib.contextmanager
def _share_done(title: str) -> Iterator[Callable[[float], None] | None]:
    """Give what shows how much of something is done, and the time left; None where nobody looks."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda done: bar.update(task, completed=done)


def _with_progress(
    title: str, options: dict[str, Any], work: Callable[[Services, Any], Awaitable[T]], **more: Any
) -> T:
    console = Console(stderr=True)

    async def whole(services: Services) -> T:
        if not console.is_terminal:
            return await work(services, None)
        with console.status(title) as status:
            return await work(services, lambda done: status.update(f"{title}: {done:,} customers"))

    return run(options, whole, **more)


def _print(report: Report) -> None:
    for difference in report.differences[:LISTED]:
        say(f"{difference.tenant}: {difference.kind} {difference.section or '-'}: {difference.reason}")
    if len(report.differences) > LISTED:
        say(f"… and {len(report.differences) - LISTED:,} more")
    _say_totals(report)


def _say_totals(report: Report) -> None:
    for fault in report.faults:
        say(f"file: {fault}")
    for section, stored in sorted(report.unregistered.items()):
        counted = f"{stored.facts:,} facts and {stored.documents:,} documents"
        say(f"{counted} of section {section} could not be checked: it is not registered (see --plugin)")
    for section, count in sorted(report.failed.items()):
        say(f"section {section} of {count:,} customers could not be checked: its own code raises an error")
    say(f"{report.customers:,} customers, {report.facts:,} facts, {len(report.differences):,} differences")
