"""`portrait load` beside the bare insert of the facts that it makes."""

import sys
from contextlib import ExitStack
from functools import partial

from bench.measure import Probe, Taken
from bench.ours import Portrait, written
from bench.population import few_lines
from bench.process import output
from bench.workshop import ENGINES, Workshop

UNIT = "facts/s"


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of loading; every round has empty databases."""
    del stack
    filled: dict[str, Portrait] = {}
    options = workshop.options

    def load(engine: str) -> Taken:
        file = written(workshop.directory / "bulk.jsonl", few_lines(options.bulk_customers, options.bulk_records))
        portrait = workshop.empty(engine, "bulk")
        seconds = portrait.load(file)
        filled[engine] = portrait
        return Taken(options.bulk_records / seconds)

    def insert(engine: str) -> Taken:
        if engine not in filled:
            load(engine)
        target = workshop.empty(engine, "bulk_floor")
        seconds = _inserted(filled[engine].url, target.url)
        return Taken(options.bulk_records / seconds)

    probes = []
    for engine in ("sqlite", "postgres"):
        name = ENGINES[engine]
        probes += [
            Probe(f"{engine}.load", f"portrait load on {name}", UNIT, partial(load, engine)),
            Probe(f"floor.{engine}-insert", f"Bare insert on {name}", UNIT, partial(insert, engine)),
        ]
    return probes


def _inserted(source: str, target: str) -> float:
    return float(output("the bare insert", [sys.executable, "-m", "bench.floors.bulk", source, target]))
