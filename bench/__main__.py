"""`python -m bench`: measure everything, side by side, in one run; `--against`, `report` and `profile` beside it."""

import signal
import sys
import time
from pathlib import Path

import click
import msgspec

from bench import profiling, report
from bench.against import Comparison, compare, measures
from bench.process import ROOT, Failure
from bench.revision import build
from bench.rows import LARGE, ROWS, RUNS
from bench.run import Run, read, run, write
from bench.workshop import Options

RESULTS = ROOT / "bench" / "results.json"
DIRECTORY = ROOT / "var" / "bench"
"""Where databases and files of a run go; they stay for a look, and the next run makes them anew."""
REVISIONS = Path("kept", "revisions")
"""Where in it other revisions are kept, built."""
_begun = time.monotonic()


def tell(text: str) -> None:
    """Say what is going on."""
    click.echo(f"{time.monotonic() - _begun:7.1f} s  {text}", err=True)


@click.group(invoke_without_command=True)
@click.option("--customers", default=20_000, show_default=True, help="How many customers are in the databases.")
@click.option("--rounds", default=5, show_default=True, help="How often each probe is taken.")
@click.option("--seconds", default=3.0, show_default=True, help="How long each is taken.")
@click.option("--history", default=10_000, show_default=True, help="How many interactions make a long history.")
@click.option("--bulk", default=70_000, show_default=True, help="How many records are loaded in bulk.")
@click.option("--identifiers", default=1_000_000, show_default=True, help="How many identifiers are many.")
@click.option(
    "--run", "kind", type=click.Choice(list(RUNS)), default="usual", show_default=True,
    help="What to measure: what is usual, more than can be answered, or a million customers.",
)  # fmt: skip
@click.option("--large-customers", default=1_000_000, show_default=True, help="How many these are.")
@click.option("--against", metavar="REV", help="Measure the working tree beside another revision; writes no results.")
@click.option("--only", multiple=True, metavar="ROW", help="Measure rows whose id begins so; writes no results.")
@click.option("--results", type=click.Path(path_type=Path), help="Where results go. [default: bench/results.json]")
@click.option("--directory", type=click.Path(path_type=Path), default=DIRECTORY, help="Where databases go.")
@click.pass_context
def main(
    context: click.Context, *, customers: int, rounds: int, seconds: float, history: int, bulk: int,
    identifiers: int, kind: str, large_customers: int, against: str | None, only: tuple[str, ...],
    results: Path | None, directory: Path,
) -> None:  # fmt: skip
    """Measure Portrait beside what it could at best cost, and beside what would be used instead."""
    if context.invoked_subcommand is not None:
        return
    known = ROWS if kind == "usual" and (only or against is not None) else RUNS[kind]
    rows = [row for row in known if not only or row.id.startswith(only)]
    compared = measures(known, only) if against is not None else []
    if not (rows or compared):
        raise click.BadParameter(f"rows are {', '.join(row.id for row in (*ROWS, *LARGE))}", param_hint="--only")
    options = Options(
        customers=customers, rounds=rounds, seconds=seconds, history=history, bulk_records=bulk,
        bulk_customers=max(bulk * 100 // 297, 1), large_customers=large_customers, identifiers=identifiers,
        warmup=min(0.5, seconds),
    )  # fmt: skip
    directory = directory.absolute()
    if against is not None:
        comparison = _compare(against, compared, options, directory)
        report.comparison(comparison)
        if results is not None:
            write(results, comparison)
        sys.exit(any(row.failed for row in comparison.rows))
    done = run(rows, options, directory, tell)
    report.summary(done)
    if results is not None or not only:
        _keep(done, results or RESULTS, kind)
    sys.exit(any(row.failed for row in done.rows))


def _compare(against: str, names: list[str], options: Options, directory: Path) -> Comparison:
    """Measure the working tree beside a revision, which is built first."""
    try:
        base = build(against, directory / REVISIONS, tell)
    except (Failure, OSError) as error:
        raise click.ClickException(str(error)) from error
    return compare(names, options, directory, tell, base)


def _keep(done: Run, path: Path, kind: str) -> None:
    """Write a run beside what the other kinds of run found, and the page from all of them."""
    write(path, msgspec.structs.replace(read(path), **{kind: done}))
    if path == RESULTS:
        report.write(read(path))


@main.command("report")
def write_report() -> None:
    """Write docs/benchmarks.md and its pictures anew, from bench/results.json."""
    report.write(read(RESULTS))


@main.command("profile")
@click.option("--customers", default=2000, show_default=True)
@click.option("--seconds", default=15.0, show_default=True)
def write_profile(customers: int, seconds: float) -> None:
    """Draw where the time of a profile read goes, on SQLite: docs/images/hot-path.svg."""
    profiling.record(DIRECTORY / "profile", customers, seconds, tell)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped first
    main()
