"""What is promised: every row of the page, what it compares, and its goal."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from bench.measure import Series, Spread, ratios, spread


class Row(NamedTuple):
    """One comparison. Probes are named by id, with `:p50` or `:p99` for their latencies."""

    id: str
    title: str
    over: str
    under: str = ""
    """Empty: the first is taken as it is."""
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "times"

    @property
    def measures(self) -> tuple[str, ...]:
        """What it compares: one or two."""
        return tuple(filter(None, (self.over, self.under)))


class Outcome(msgspec.Struct, omit_defaults=True):
    """What a row came to."""

    id: str
    title: str
    unit: str
    over: str
    under: str
    goal: str = ""
    rounds: list[float] = []
    measured: Spread | None = None
    met: bool | None = None
    """None: there is no goal, or nothing was measured."""
    failed: str = ""
    skipped: str = ""


USUAL = (
    Row("floor-sqlite", "SQLite: full profile, against the smallest app with the same query",
        "sqlite.full", "floor.sqlite", at_least=0.80),
    Row("floor-postgres", "PostgreSQL: full profile, against the smallest app with the same query",
        "postgres.full", "floor.postgres", at_least=0.85),
    Row("static-sqlite", "SQLite: full profile, against static bytes", "sqlite.full", "floor.static"),
    Row("static-postgres", "PostgreSQL: full profile, against static bytes", "postgres.full", "floor.static"),
    Row("hand-written", "PostgreSQL: full profile, against the hand-written service",
        "postgres.full", "peer.handwritten", at_least=15),
    Row("feast-sqlite", "SQLite: full profile, against Feast", "sqlite.full", "peer.feastsqlite", at_least=10),
    Row("feast-postgres", "PostgreSQL: full profile, against Feast",
        "postgres.full", "peer.feastpostgres", at_least=10),
    Row("postgraphile", "PostgreSQL: full profile, against PostGraphile",
        "postgres.full", "peer.postgraphile", at_least=6),
    Row("two-sections-sqlite", "SQLite: two small sections beside 256 kB, against all sections",
        "sqlite.two-sections", "sqlite.all-sections", at_least=2),
    Row("two-sections-postgres", "PostgreSQL: two small sections beside 256 kB, against all sections",
        "postgres.two-sections", "postgres.all-sections", at_least=2),
    Row("not-modified-sqlite", "SQLite: 304, against the full profile",
        "sqlite.not-modified", "sqlite.full", at_least=1.3),
    Row("not-modified-postgres", "PostgreSQL: 304, against the full profile",
        "postgres.not-modified", "postgres.full", at_least=1.3),
    Row("tail-sqlite", "SQLite: p99 against p50, at half of the most requests a second",
        "sqlite.half-load:p99", "sqlite.half-load:p50", at_most=5),
    Row("tail-postgres", "PostgreSQL: p99 against p50, at half of the most requests a second",
        "postgres.half-load:p99", "postgres.half-load:p50", at_most=5),
    Row("tail-static", "Static bytes: p99 against p50, at half of the most requests a second",
        "floor.static.half-load:p99", "floor.static.half-load:p50"),
    Row("long-read-sqlite", "SQLite: reading a customer with 10,000 interactions, against 30",
        "sqlite.long-read:p50", "sqlite.short-read:p50", at_most=1.05),
    Row("long-read-postgres", "PostgreSQL: reading a customer with 10,000 interactions, against 30",
        "postgres.long-read:p50", "postgres.short-read:p50", at_most=1.05),
    Row("long-append-sqlite", "SQLite: one more interaction after 10,000, against after 30",
        "sqlite.long-append:p50", "sqlite.short-append:p50", at_most=1.25),
    Row("long-append-postgres", "PostgreSQL: one more interaction after 10,000, against after 30",
        "postgres.long-append:p50", "postgres.short-append:p50", at_most=1.25),
    Row("merge-history-sqlite", "SQLite: merging two with 10,000 interactions each, against 30",
        "sqlite.long-merge:p50", "sqlite.short-merge:p50", at_most=1.25),
    Row("merge-history-postgres", "PostgreSQL: merging two with 10,000 interactions each, against 30",
        "postgres.long-merge:p50", "postgres.short-merge:p50", at_most=1.25),
    Row("unmerge-history-sqlite", "SQLite: parting them again",
        "sqlite.long-unmerge:p50", "sqlite.short-unmerge:p50", at_most=1.25),
    Row("unmerge-history-postgres", "PostgreSQL: parting them again",
        "postgres.long-unmerge:p50", "postgres.short-unmerge:p50", at_most=1.25),
    Row("merge-documents-sqlite", "SQLite: merging two with documents four times as large",
        "sqlite.wide-merge:p50", "sqlite.short-merge:p50", at_most=4),
    Row("merge-documents-postgres", "PostgreSQL: merging two with documents four times as large",
        "postgres.wide-merge:p50", "postgres.short-merge:p50", at_most=4),
    Row("unmerge-documents-sqlite", "SQLite: parting two with documents four times as large",
        "sqlite.wide-unmerge:p50", "sqlite.short-unmerge:p50", at_most=4),
    Row("unmerge-documents-postgres", "PostgreSQL: parting two with documents four times as large",
        "postgres.wide-unmerge:p50", "postgres.short-unmerge:p50", at_most=4),
    Row("identifiers-sqlite", "SQLite: an event told of a device among 1,000,000 identifiers, against 10,000",
        "sqlite.told-among-many:p50", "sqlite.told-among-few:p50", at_most=1.25),
    Row("identifiers-postgres", "PostgreSQL: an event told of a device among 1,000,000 identifiers, against 10,000",
        "postgres.told-among-many:p50", "postgres.told-among-few:p50", at_most=1.25),
    Row("full-citus", "Citus: full profile, against PostgreSQL", "citus.full", "postgres.full"),
    Row("workers-postgres", "PostgreSQL: two workers against one, on all cores",
        "postgres.two-workers", "postgres.one-worker"),
    Row("append-sqlite", "SQLite: single records posted, against the smallest app that inserts a fact",
        "sqlite.append", "floor.sqlite-append", at_least=0.5),
    Row("append-postgres", "PostgreSQL: single records posted, against the smallest app that inserts a fact",
        "postgres.append", "floor.postgres-append", at_least=0.5),
    Row("load-sqlite", "SQLite: `portrait load`, against the bare insert of the same facts",
        "sqlite.load", "floor.sqlite-insert", at_least=0.4),
    Row("load-postgres", "PostgreSQL: `portrait load`, against the bare insert of the same facts",
        "postgres.load", "floor.postgres-insert", at_least=0.2),
    Row("load-table-sqlite", "SQLite: `portrait load` of CSV through a mapping, against JSON lines of the same records",
        "sqlite.load-table", "sqlite.load-lines", at_least=0.6),
    Row("load-table-postgres", "PostgreSQL: `portrait load` of CSV through a mapping, against JSON lines of the same",
        "postgres.load-table", "postgres.load-lines", at_least=0.6),
    Row("collect-sqlite", "SQLite: events that a client sends, against the same records in a bulk",
        "sqlite.collect", "sqlite.collect-bulk", at_least=0.8),
    Row("collect-postgres", "PostgreSQL: events that a client sends, against the same records in a bulk",
        "postgres.collect", "postgres.collect-bulk", at_least=0.8),
    Row("collect-handwritten", "PostgreSQL: events that a client sends, against the hand-written collector",
        "postgres.collect", "peer.handwritten.collect", at_least=0.5),
    Row("collect-copy-postgres", "PostgreSQL: events that a client sends, against bare COPY of as many rows",
        "postgres.collect", "floor.postgres-copy"),
    Row("collect-long-sqlite", "SQLite: an event that a client sends after 10,000 interactions, against after 30",
        "sqlite.collect-long:p50", "sqlite.collect-short:p50", at_most=1.25),
    Row("collect-long-postgres", "PostgreSQL: an event that a client sends after 10,000 interactions, against after 30",
        "postgres.collect-long:p50", "postgres.collect-short:p50", at_most=1.25),
    Row("batches-citus", "Citus: batches of 500 records, against PostgreSQL",
        "citus.batches", "postgres.batches", at_least=0.3),
    Row("start-sqlite", "SQLite: from start to first answer", "sqlite.start", at_most=1.5, unit="s"),
    Row("start-postgres", "PostgreSQL: from start to first answer", "postgres.start", at_most=1.5, unit="s"),
    Row("memory-sqlite", "SQLite: memory of an idle worker", "sqlite.memory", at_most=120, unit="MB"),
    Row("memory-postgres", "PostgreSQL: memory of an idle worker", "postgres.memory", at_most=120, unit="MB"),
)  # fmt: skip

OVERLOAD = tuple(
    row
    for engine, name in (("sqlite", "SQLite"), ("postgres", "PostgreSQL"))
    for kind, title, times in (("reads", "profiles", "1.5"), ("appends", "single records", "3"))
    for row in (
        Row(f"overload-{kind}-{engine}", f"{name}: p99 of {title} accepted at {times} times the most, over half load",
            f"{engine}.{kind}.too-much:p99", f"{engine}.{kind}.half:p99", at_most=3),
        Row(f"overload-refused-{kind}-{engine}", f"{name}: until {title} are refused at {times} times the most, p99",
            f"{engine}.{kind}.too-much", at_most=100, unit="ms"),
        Row(f"overload-turns-{kind}-{engine}", f"{name}: p95 of {title} beside a tenant with 20 times as many",
            f"{engine}.{kind}.flooded", f"{engine}.{kind}.alone",
            at_most=1.5 if (engine, kind) == ("sqlite", "appends") else 1.25),
    )
)  # fmt: skip

LARGE = tuple(
    Row(f"large-{measure}-{engine}", f"{name}: {measure} of a read among 1,000,000 customers, against 20,000",
        f"{engine}.large:{measure}", f"{engine}.small:{measure}", at_most=1.25)
    for engine, name in (("sqlite", "SQLite"), ("postgres", "PostgreSQL"))
    for measure in ("p50", "p99")
)  # fmt: skip

ROWS = (*USUAL, *OVERLOAD)
"""What can be measured among a usual number of customers."""
RUNS = {"usual": USUAL, "overload": OVERLOAD, "large": LARGE}
"""What is measured in one run, by the kind of the run: results of each kind stay until it is run anew."""


def probe_of(name: str) -> tuple[str, str]:
    """Return the probe and the measure that a row names."""
    probe, _, measure = name.partition(":")
    return probe, measure or "value"


def lookup(series: Mapping[str, Series], probe: str) -> Series:
    """Return the series of a probe; a skipped series where there is none."""
    return series.get(probe) or Series("", "", skipped=f"nothing measures {probe}")


def outcome(row: Row, series: Mapping[str, Series]) -> Outcome:
    """Return what a row came to; one whose probes failed has failed."""
    goal = (
        f"≥ {row.at_least:g}" if row.at_least is not None else f"≤ {row.at_most:g}" if row.at_most is not None else ""
    )
    made = Outcome(row.id, row.title, row.unit, row.over, row.under, goal)
    values = []
    for name in row.measures:
        probe, measure = probe_of(name)
        probe_series = lookup(series, probe)
        made.failed = made.failed or (f"{probe}: {probe_series.failed}" if probe_series.failed else "")
        made.skipped = made.skipped or probe_series.skipped
        values.append(probe_series.of(measure))
    if made.failed or made.skipped:
        return made
    made.rounds = ratios(*values) if row.under else values[0]
    made.measured = spread(made.rounds)
    if row.at_least is not None:
        made.met = made.measured.median >= row.at_least
    elif row.at_most is not None:
        made.met = made.measured.median <= row.at_most
    return made
