"""What a second worker brings, where the load generator and PostgreSQL run on the same cores."""

import os
from contextlib import ExitStack
from functools import partial

from bench.measure import Probe, Taken, requests
from bench.ours import Portrait
from bench.serving import Serving
from bench.workshop import Workshop


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of one worker and of two, on all cores."""
    probes = []
    for workers, name in ((1, "one-worker"), (2, "two-workers")):
        serving = Serving(
            workshop, stack, partial(workshop.filled, "postgres"),
            command=partial(_command, workers),
            pinned=os.sched_getaffinity(0),
        )  # fmt: skip

        def take(serving: Serving[Portrait] = serving) -> Taken:
            return requests(serving.fire([serving.subject.request(index) for index in workshop.indexes()]))

        title = f"Portrait on PostgreSQL, {name.replace('-', ' ')}"
        probes.append(Probe(f"postgres.{name}", title, "requests/s", take, serving.start))
    return probes


def _command(workers: int, portrait: Portrait, port: int) -> tuple[list[str], dict[str, str]]:
    return portrait.command(port, workers)
