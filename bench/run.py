"""One run: the rows that are wanted, the probes that they need, the results."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import machine
from bench.groups import GROUPS
from bench.measure import Series, measure
from bench.rows import Outcome, Row, outcome, probe_of
from bench.workshop import Options, Workshop


class Run(msgspec.Struct):
    """What one run found, whole or in part."""

    at: str
    machine: dict[str, str]
    options: Options
    rows: list[Outcome]
    series: dict[str, Series]


class Results(msgspec.Struct, omit_defaults=True):
    """What the page shows: `bench/results.json`."""

    usual: Run | None = None
    large: Run | None = None


def run(rows: Iterable[Row], options: Options, directory: Path, tell: Callable[[str], None]) -> Run:
    """Measure whatever the rows compare, in one run on this machine."""
    rows = list(rows)
    wanted = {probe_of(name)[0] for row in rows for name in (row.over, row.under) if name}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    described = machine.describe()
    series: dict[str, Series] = {}
    workshop = Workshop(directory, options, tell)
    try:
        for group in GROUPS:
            with ExitStack() as stack:
                probes = [probe for probe in group(workshop, stack) if probe.id in wanted]
                series |= measure(probes, options.rounds, tell)
        if workshop.has_postgres:
            described["PostgreSQL"] = workshop.postgres.show("server_version")
    finally:
        workshop.close()
    return Run(at, described, options, [outcome(row, series) for row in rows], series)


def read(path: Path) -> Results:
    """Return what a file of results holds; nothing where there is none."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def write(path: Path, results: Results) -> None:
    """Write results for people and programs to read."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(_rounded(results)), indent=1) + b"\n")


def _rounded(value: object) -> object:
    """Return a value with its numbers to five digits: more are noise."""
    match msgspec.to_builtins(value):
        case float(number):
            return float(f"{number:.5g}")
        case dict(held):
            return {name: _rounded(one) for name, one in held.items()}
        case list(held):
            return [_rounded(one) for one in held]
        case other:
            return other
