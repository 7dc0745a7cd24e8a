"""One run: the rows that are wanted, the probes that they need, the results."""

from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import msgspec

from bench import machine
from bench.groups import GROUPS
from bench.measure import Probe, Series, measure
from bench.rows import Outcome, Row, outcome, probe_of
from bench.workshop import Options, Workshop


class Run(msgspec.Struct):
    """The results of one run, whole or in part."""

    at: str
    machine: dict[str, str]
    options: Options
    rows: list[Outcome]
    series: dict[str, Series]


class Results(msgspec.Struct, omit_defaults=True):
    """What the page shows: `bench/results.json`."""

    usual: Run | None = None
    overload: Run | None = None
    large: Run | None = None


def run(rows: Iterable[Row], options: Options, directory: Path, tell: Callable[[str], None]) -> Run:
    """Measure whatever the rows compare, in one run on this machine."""
    rows = list(rows)
    wanted = {probe_of(name)[0] for row in rows for name in row.measures}
    at = moment()
    with closing(Workshop(directory, options, tell)) as workshop:
        series = measured([workshop], wanted, tell)
        described = describe(workshop)
    return Run(at, described, options, [outcome(row, series) for row in rows], series)


def moment() -> str:
    """Return the present one, as results show when a run began."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(workshop: Workshop) -> dict[str, str]:
    """Return on what a workshop measured; PostgreSQL's version where it was wanted."""
    server = workshop.postgres
    return machine.describe() | ({"PostgreSQL": server.show("server_version")} if server.wanted else {})


def measured(workshops: Sequence[Workshop], wanted: Container[str], tell: Callable[[str], None]) -> dict[str, Series]:
    """Measure the wanted probes in every workshop, side by side.

    Return:
        their series, by the probe's id, with the workshop's subject and a stroke before it where it has one.
    """
    series: dict[str, Series] = {}
    rounds = workshops[0].options.rounds
    for group in GROUPS:
        with ExitStack() as stack:
            every = [_probes(group(workshop, stack), workshop.subject, wanted) for workshop in workshops]
            probes = chain.from_iterable(zip(*every, strict=True))
            series |= measure(probes, rounds, tell, len(workshops))
    return series


def _probes(probes: Iterable[Probe], subject: str, wanted: Container[str]) -> list[Probe]:
    return [probe._replace(id=series_of(subject, probe.id)) for probe in probes if probe.id in wanted]


def series_of(subject: str, probe: str) -> str:
    """Return the name that the series of a subject's probe has."""
    return f"{subject}/{probe}" if subject else probe


def read(path: Path) -> Results:
    """Return the results of a file; empty ones where there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def write(path: Path, results: msgspec.Struct) -> None:
    """Write results for people and programs to read."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(_rounded(results)), indent=1) + b"\n")


def _rounded(value: object) -> object:
    """Return a value with its numbers to five digits: more are noise."""
    match msgspec.to_builtins(value):
        case float(number):
            return float(f"{number:.5g}")
        case dict(container):
            return {name: _rounded(member) for name, member in container.items()}
        case list(container):
            return [_rounded(member) for member in container]
        case other:
            return other
