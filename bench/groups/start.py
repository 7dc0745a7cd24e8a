"""How soon a server answers, and what an idle one weighs."""

import time
from contextlib import ExitStack
from functools import partial

from bench.measure import Probe, Taken
from bench.process import Server, cores, free_port
from bench.workshop import ENGINES, Workshop

IDLE = 1.0
"""How long a server is left alone before it is weighed, in seconds."""
_MEGABYTE = 1_000_000


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of a start, over the filled databases."""
    del stack

    def started(engine: str) -> Server:
        portrait, port = workshop.filled(engine), free_port()
        server = Server(*portrait.command(port), port, workshop.directory / "servers.log", {cores().server})
        try:
            portrait.check(0, server.wait(portrait.request(0)))
        except BaseException:
            server.stop()
            raise
        return server

    def seconds(engine: str) -> Taken:
        with started(engine) as server:
            return Taken(server.start_seconds)

    def memory(engine: str) -> Taken:
        with started(engine) as server:
            time.sleep(IDLE)
            return Taken(server.memory() / _MEGABYTE)

    probes = []
    for engine in ("sqlite", "postgres"):
        name, fill = f"Portrait on {ENGINES[engine]}", partial(workshop.filled, engine)
        probes.append(Probe(f"{engine}.start", f"{name}: start to first answer", "s", partial(seconds, engine), fill))
        probes.append(Probe(f"{engine}.memory", f"{name}: an idle worker", "MB", partial(memory, engine), fill))
    return probes
