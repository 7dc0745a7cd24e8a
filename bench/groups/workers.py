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
    found = []
    for workers, name in ((1, "one-worker"), (2, "two-workers")):
        serving = Serving(
            workshop, stack, partial(workshop.filled, "postgres"),
            command=partial(_command, workers),
            pinned=os.sched_getaffinity(0),
        )  # fmt: skip

        def take(serving: Serving[Portrait] = serving) -> Taken:
            return requests(serving.fire([serving.subject.request(place) for place in workshop.places()]))

        title = f"Portrait on PostgreSQL, {name.replace('-', ' ')}"
        found.append(Probe(f"postgres.{name}", title, "requests/s", take, serving.start))
    return found


def _command(workers: int, portrait: Portrait, port: int) -> tuple[list[str], dict[str, str]]:
    return portrait.command(port, workers)
