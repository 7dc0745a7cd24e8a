"""Interleaved rounds: every probe once a round, so that what the machine does meanwhile falls on all of them alike."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from bench.load import Result
from bench.process import Failure


class Skipped(Exception):
    """Something to be measured is not there; the text says what is missing."""


class Taken(NamedTuple):
    """What one round of a probe gave."""

    value: float
    p50: float = 0.0
    p99: float = 0.0


class Probe(NamedTuple):
    """One thing that is measured, once a round."""

    id: str
    title: str
    unit: str
    take: Callable[[], Taken]
    prepare: Callable[[], object] = lambda: None
    """Called before the first round."""


class Series(msgspec.Struct, omit_defaults=True):
    """What all rounds of a probe gave."""

    title: str
    unit: str
    value: list[float] = []
    p50: list[float] = []
    """Milliseconds, where single requests were timed."""
    p99: list[float] = []
    failed: str = ""
    skipped: str = ""

    def of(self, measure: str) -> list[float]:
        """Return one of its measures, round by round: value, p50 or p99."""
        return {"value": self.value, "p50": self.p50, "p99": self.p99}[measure]


class Spread(msgspec.Struct):
    """The middle of some numbers, and how far they reach."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median, the least and the most of some numbers."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Return the ratio of each round's two numbers: they were taken moments apart."""
    return [dividend / divisor for dividend, divisor in zip(over, under, strict=True)]


def requests(result: Result, each: int = 1) -> Taken:
    """Return what a load gave, where every request counts for `each`."""
    return Taken(result.rate * each, result.p50, result.p99)


def measure(probes: Iterable[Probe], rounds: int, tell: Callable[[str], None], beside: int = 1) -> dict[str, Series]:
    """Take every probe once a round; one that fails is not taken again, and the others go on.

    Args:
        probes: the probes, in this order.
        rounds: how often.
        tell: hears what is going on.
        beside: so many probes in a row are compared with each other, and take turns at being the first.
    """
    all_series = {probe: Series(probe.title, probe.unit) for probe in probes}
    for probe, series in all_series.items():
        tell(f"prepare {probe.id}")
        _try(probe.prepare, series, tell)
    for number in range(rounds):
        for probe in _turns(list(all_series), beside, number):
            series = all_series[probe]
            if series.failed or series.skipped:
                continue
            taken = _try(probe.take, series, tell)
            if isinstance(taken, Taken):
                series.value.append(taken.value)
                if taken.p50:
                    series.p50.append(taken.p50)
                    series.p99.append(taken.p99)
                tell(f"{number + 1}/{rounds} {probe.id}: {taken.value:,.2f} {probe.unit}")
    return {probe.id: series for probe, series in all_series.items()}


def _turns(probes: Sequence[Probe], beside: int, number: int) -> Iterator[Probe]:
    turn = number % beside
    for first in range(0, len(probes), beside):
        yield from probes[first + turn : first + beside]
        yield from probes[first : first + turn]


def _try(act: Callable[[], object], series: Series, tell: Callable[[str], None]) -> object:
    try:
        return act()
    except Skipped as reason:
        series.skipped = str(reason)
        tell(f"skipped: {reason}")
    except (Failure, LookupError, ValueError, OSError) as error:  # an answer may lack an expected member
        series.failed = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        tell(f"FAILED: {error}")
    return None
