"""The working tree beside another revision, and that revision beside itself, which shows how much is noise."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from bench.measure import Series, Spread, ratios, spread
from bench.ours import WORKING_TREE
from bench.revision import Revision
from bench.rows import Row, lookup, probe_of
from bench.run import describe, measured, moment, series_of
from bench.workshop import Options, Workshop

THIS, BASE, AGAIN = "this", "base_a", "base_b"
"""The working tree, the revision, and the revision once more. Each has databases that it made itself."""
OURS = ("sqlite.", "postgres.")
"""How the probes begin that measure Portrait on a server of the run's own: neither floors, nor peers, nor a cluster."""
LATENCIES = ("p50", "p99")
FEWEST = 5
"""So many rounds it takes to tell of noise: of five each, one run in a hundred has them apart by chance, of three one
in ten."""


class Ratio(msgspec.Struct):
    """What one subject came to, measured by another."""

    rounds: list[float]
    spread: Spread


class Compared(msgspec.Struct, omit_defaults=True):
    """What a measure came to."""

    id: str
    """The probe's, with `:p50` or `:p99` for its latencies."""
    title: str = ""
    unit: str = ""
    this: Spread | None = None
    base: Spread | None = None
    ratio: Ratio | None = None
    """The working tree by the revision."""
    noise: Ratio | None = None
    """The revision by itself."""
    beyond: str = ""
    """The noise: "higher" or "lower", where every round of `ratio` is, of at least five, than every one of `noise`."""
    failed: str = ""
    skipped: str = ""


class Comparison(msgspec.Struct):
    """The results of one run."""

    at: str
    machine: dict[str, str]
    options: Options
    against: str
    """The revision's commit."""
    rows: list[Compared]
    series: dict[str, Series]


def measures(rows: Iterable[Row], only: Sequence[str] = ()) -> list[str]:
    """Return what rows compare of Portrait itself, each once.

    Args:
        rows: the rows.
        only: beginnings of rows' or measures' ids; all of them unless given.
    """
    begins = tuple(only) or ""
    wanted = (name for row in rows for name in row.measures if row.id.startswith(begins) or name.startswith(begins))
    return list(dict.fromkeys(name for name in wanted if name.startswith(OURS)))


def compare(
    names: Sequence[str], options: Options, directory: Path, tell: Callable[[str], None], base: Revision
) -> Comparison:
    """Measure the working tree beside a revision, in one run on this machine."""
    at = moment()
    programs = {THIS: WORKING_TREE, BASE: base.program, AGAIN: base.program}
    with closing(Workshop(directory, options, tell)) as workshop:
        workshops = [workshop.beside(subject, program) for subject, program in programs.items()]
        series = measured(workshops, {probe_of(name)[0] for name in names}, tell)
        described = describe(workshop)
    return Comparison(at, described, options, base.commit, [compared(name, series) for name in names], series)


def compared(name: str, series: Mapping[str, Series]) -> Compared:
    """Return what a measure came to. A revision that cannot is skipped, a working tree has failed."""
    probe, measure = probe_of(name)
    subjects = [lookup(series, series_of(subject, probe)) for subject in (THIS, BASE, AGAIN)]
    mine = subjects[0]
    values = [subject.of(measure) for subject in subjects]
    made = Compared(name, mine.title, "ms" if measure in LATENCIES else mine.unit)
    made.failed = mine.failed
    made.skipped = mine.skipped or _lacking(subjects[1:])
    if not (made.failed or made.skipped or _comparable(values)):
        made.skipped = "a round has no figure, or 0"
    if made.failed or made.skipped:
        return made
    this, base, again = values
    made.this, made.base = spread(this), spread(base + again)
    made.ratio, made.noise = _ratio(this, base), _ratio(again, base)
    if len(this) >= FEWEST:
        made.beyond = _beyond(made.ratio.spread, made.noise.spread)
    return made


def _lacking(bases: Iterable[Series]) -> str:
    """Return what the revision could not do; nothing where it could do all."""
    reasons = (series.failed or series.skipped for series in bases)
    return next((f"the revision: {reason}" for reason in reasons if reason), "")


def _comparable(values: Sequence[Sequence[float]]) -> bool:
    """Tell whether there are figures of as many rounds of each, none of them zero."""
    return all(map(all, values)) and len({len(rounds) for rounds in values}) == 1 and all(values)


def _ratio(over: Sequence[float], under: Sequence[float]) -> Ratio:
    rounds = ratios(over, under)
    return Ratio(rounds, spread(rounds))


def _beyond(ratio: Spread, noise: Spread) -> str:
    return "higher" if ratio.least > noise.most else "lower" if ratio.most < noise.least else ""
