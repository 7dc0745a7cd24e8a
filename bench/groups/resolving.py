"""Whether an event of a device costs more among a million identifiers than among 10,000; one connection."""

import itertools
import json
import random
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from bench.databases import execute
from bench.measure import Probe, Taken
from bench.ours import Portrait, written
from bench.population import appended, customer_id, device, known_lines, owner
from bench.process import Failure, ask
from bench.serving import Serving
from bench.workshop import ENGINES, SEED, Workshop

SMALLER = 100
"""How many times as many identifiers the large database has."""
DEVICES = 20
"""One in so many identifiers of the small database is a device's; the large one has as many."""


class Known(Portrait):
    """Portrait over customers with one interaction each, of whom some have a device."""

    owners: list[int]
    """By a device's number, the index of its customer."""

    def request(self, index: int) -> bytes:
        """Return the request for the full profile of a device's customer."""
        return self.get(self.owners[index % len(self.owners)])

    def check(self, index: int, body: bytes) -> None:
        """Make sure that the profile is the customer's, and shows the device."""
        number = index % len(self.owners)
        if not all(text.encode() in body for text in (customer_id(self.owners[number]), device(number)["value"])):
            raise ValueError("the profile does not show the device")

    def tell(self, number: int, event: int) -> bytes:
        """Return the request that records an interaction of a device; a higher event is a later one."""
        row = {"identifier": device(number), "section": "interactions", "record": appended(number, event)}
        return self.post("/api/v1/records", json.dumps([row], separators=(",", ":")).encode())


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of both sizes."""
    large = workshop.options.identifiers
    small = large // SMALLER
    devices = max(small // DEVICES, 1)
    probes = []
    for engine in ("sqlite", "postgres"):
        for size, identifiers in (("few", small), ("many", large)):
            serving = Serving(workshop, stack, partial(_filled, workshop, engine, size, identifiers, devices))
            title = f"Portrait on {ENGINES[engine]}, an event of a device among {identifiers:,} identifiers"
            take = _telling(serving)
            # Once around before it counts: what is compared are two sizes in memory, not a disk with memory.
            probes.append(Probe(f"{engine}.told-among-{size}", title, "ms", take, partial(_first, serving, take)))
    return probes


def _telling(serving: Serving[Known]) -> Callable[[], Taken]:
    events = itertools.count()
    chance = random.Random(SEED)  # noqa: S311  # for repeating, not for hiding

    def take() -> Taken:
        known = len(serving.subject.owners)
        asked = [serving.subject.tell(number, next(events)) for number in chance.sample(range(known), known)]
        result = serving.fire(asked, connections=1, once=True, warmup=0, seconds=60)
        return Taken(result.p50, result.p50, result.p99)

    return take


def _first(serving: Serving[Known], take: Callable[[], Taken]) -> None:
    """Make sure that an event is recorded, which the answer's status does not say, and begin.

    Raises:
        Failure: it is not.
    """
    body = ask(serving.server.port, serving.subject.tell(0, 0))[2]
    if json.loads(body)["recorded"] != 1:
        raise Failure("an event of a device is not recorded")
    take()


def _filled(workshop: Workshop, engine: str, size: str, identifiers: int, devices: int) -> Known:
    made = workshop.empty(engine, size)
    seconds = made.load(written(workshop.directory / f"{size}.jsonl", known_lines(identifiers, devices)))
    workshop.tell(f"{identifiers:,} identifiers loaded on {ENGINES[engine]} in {seconds:,.0f} s")
    if engine != "sqlite":
        execute(made.url, "VACUUM (ANALYZE)", "CHECKPOINT")
    known = Known.over(made)
    known.owners = [owner(identifiers, devices, number) for number in range(devices)]
    return known
