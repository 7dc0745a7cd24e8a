"""Whether a customer's history has a price: 10,000 interactions beside 30, one connection."""

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from bench.load import Result
from bench.measure import Probe, Taken
from bench.ours import Portrait
from bench.population import appended
from bench.serving import Serving
from bench.workshop import ENGINES, LONG_CUSTOMERS, Workshop

APPENDS = 20
"""How many interactions each customer gets in a round."""


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of both histories, over copies: they are written to."""
    probes = []
    for engine in ("sqlite", "postgres"):
        serving = Serving(workshop, stack, partial(workshop.copy, engine, "history"))
        probes += _of(engine, ENGINES[engine], workshop, serving)
    return probes


def _of(engine: str, name: str, workshop: Workshop, serving: Serving[Portrait]) -> list[Probe]:
    # Customers of 30 are fresh in every round, or theirs would be long histories soon.
    fresh = itertools.cycle(workshop.indexes())
    numbers = itertools.count()
    thirty = workshop.indexes()[-LONG_CUSTOMERS:]

    def read(indexes: Sequence[int]) -> Taken:
        asked = [serving.subject.request(index) for index in indexes]
        return _latency(serving.fire(asked, connections=1))

    def append(indexes: Sequence[int]) -> Taken:
        asked = [
            serving.subject.append(index, appended(index, next(numbers))) for _ in range(APPENDS) for index in indexes
        ]
        return _latency(serving.fire(asked, connections=1, once=True, warmup=0, seconds=60, expected=201))

    def prepare() -> object:
        return serving.server

    title = f"Portrait on {name}"
    return [
        Probe(f"{engine}.long-read", f"{title}, reading one of 10,000", "ms", lambda: read(workshop.long), prepare),
        Probe(f"{engine}.short-read", f"{title}, reading one of 30", "ms", lambda: read(thirty), prepare),
        Probe(f"{engine}.long-append", f"{title}, adding to 10,000", "ms", lambda: append(workshop.long), prepare),
        Probe(
            f"{engine}.short-append", f"{title}, adding to 30", "ms",
            lambda: append(list(itertools.islice(fresh, LONG_CUSTOMERS))), prepare,
        ),
    ]  # fmt: skip


def _latency(result: Result) -> Taken:
    return Taken(result.p50, result.p50, result.p99)
