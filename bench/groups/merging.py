"""What merging and parting two customers cost: by their documents, not by their history; one connection."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from bench.measure import Probe, Taken
from bench.ours import Portrait
from bench.serving import Serving
from bench.workshop import ENGINES, LONG_CUSTOMERS, Workshop

TIMES = 5
"""How often each pair is merged and parted in a round."""
ACTIONS = ("merge", "unmerge")


class Pairs(NamedTuple):
    """Customers of one kind, two and two."""

    id: str
    title: str
    indexes: Sequence[int]


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of both actions on three kinds of pairs, over copies: they are written to."""
    kinds = (
        Pairs("long", "10,000 interactions each", workshop.long),
        Pairs("short", "30 interactions each", workshop.indexes()[:LONG_CUSTOMERS]),
        Pairs("wide", "documents four times as large", workshop.wide),
    )
    probes = []
    for engine in ("sqlite", "postgres"):
        serving = Serving(workshop, stack, partial(workshop.copy, engine, "merging"))
        for action in ACTIONS:
            for pairs in kinds:
                title = f"Portrait on {ENGINES[engine]}, {action} with {pairs.title}"
                take = partial(_acted, serving, action, pairs.indexes)
                probes.append(Probe(f"{engine}.{pairs.id}-{action}", title, "ms", take, serving.start))
    return probes


def _acted(serving: Serving[Portrait], action: str, indexes: Sequence[int]) -> Taken:
    """Merge and part each pair in turns, and time one of the two."""
    pairs = [*zip(indexes[::2], indexes[1::2], strict=True)] * TIMES
    asked = [serving.subject.act(each, *pair) for pair in pairs for each in ACTIONS]
    result = serving.fire(
        asked, connections=1, once=True, warmup=0, seconds=60, every=len(ACTIONS), timed=ACTIONS.index(action)
    )
    return Taken(result.p50, result.p50, result.p99)
