"""More than can be answered: what is accepted is answered soon, the rest is refused soon, others are left alone."""

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from bench.load import Result
from bench.measure import Probe, Taken
from bench.ours import Portrait, written
from bench.population import appended, lines
from bench.process import Failure
from bench.serving import Serving
from bench.workshop import ENGINES, SEED, Workshop

CONNECTIONS = 800
"""An open loop needs as many as requests are under way or wait."""
FLOOD = 20
"""One tenant sends so many times the rate of another."""
IN_TIME = 1.02
"""In so many times the time in which they are sent all requests are answered that a server can answer."""
SHARE = 40
"""The other sends one of so many requests that could be answered: both together about half of them."""
WARMUP = 1.5
"""In seconds: overload begins as a burst does, which is waited out. What follows is measured."""
MOST = 12_000
"""So many records are prepared for each second: more than any server here is sent."""
ANOTHER = "another"
"""The other tenant."""
OTHERS = 200
"""How many customers it has."""


class Kind(NamedTuple):
    """One kind of request."""

    name: str
    title: str
    times: float
    """So many times what can be answered is sent."""
    status: int


KINDS = (Kind("reads", "full profiles", 1.5, 200), Kind("appends", "single records", 3.0, 201))


class Site:
    """One engine's server with two tenants, and loads of each kind by each of them."""

    def __init__(self, workshop: Workshop, stack: ExitStack, engine: str) -> None:
        self._workshop = workshop
        self.serving = Serving(workshop, stack, partial(self._made, engine))
        self._most: dict[str, float] = {}
        self._numbers = itertools.count()
        self._chance = random.Random(SEED)  # noqa: S311  # for repeating, not for hiding
        self._other: Portrait | None = None

    def _made(self, engine: str) -> Portrait:
        made = self._workshop.copy(engine, "overload")
        other = Portrait(made.name, made.url, program=made.program, tenant=ANOTHER)
        other.run("tenant", "create", ANOTHER)
        other.key = other.run("key", "create", "--tenant", ANOTHER, "--role", "admin").strip()
        other.load(written(self._workshop.directory / "another.jsonl", lines(OTHERS)))
        self._other = other
        return made

    def most(self, kind: Kind, *, anew: bool = False) -> float:
        """Return how many requests a second can be answered; each round they are counted once."""
        if anew or kind.name not in self._most:
            self._most[kind.name] = self.fire(kind).rate
        return self._most[kind.name]

    def fire(self, kind: Kind, *, other: bool = False, **plan: Any) -> Result:
        """Send requests of a kind, of the other tenant or of the first."""
        self.serving.start()
        subject = self._other if other else self.serving.subject
        assert subject is not None
        customers = OTHERS if other else self._workshop.options.customers
        options = self._workshop.options
        usual = {"seconds": options.seconds, "warmup": WARMUP, "expected": kind.status, "refused": 503}
        if kind.name == "reads":
            asked = [subject.request(index) for index in self._chance.choices(range(customers), k=2000)]
            return self.serving.fire(asked, **{**usual, **plan})
        rate = float(plan.get("rate", MOST))
        count = int(1.1 * rate * (options.seconds + WARMUP)) + 100
        indexes = self._chance.choices(range(customers), k=count)
        asked = [subject.append(index, appended(index, next(self._numbers))) for index in indexes]
        return self.serving.fire(asked, **{**usual, "once": "rate" not in plan, **plan})

    def half(self, kind: Kind) -> Taken:
        """Send half of what can be answered."""
        result = self.fire(kind, rate=self.most(kind, anew=True) / 2, connections=CONNECTIONS)
        return Taken(result.rate, result.p50, result.p99)

    def too_much(self, kind: Kind) -> Taken:
        """Send more than can be answered; the value is how long a refusal takes, in milliseconds.

        Where nothing is refused though answers come late, it is how long the last answers take.
        """
        result = self.fire(kind, rate=self.most(kind) * kind.times, connections=CONNECTIONS)
        if not result.refused and result.seconds < IN_TIME * self._workshop.options.seconds:
            raise Failure("all was answered in time: less was sent than can be answered")
        return Taken(result.refused_p99 if result.refused else result.p99, result.p50, result.p99)

    def alone(self, kind: Kind) -> Taken:
        """Send the other tenant's requests; the value is their p95, in milliseconds."""
        result = self.fire(kind, other=True, rate=self.most(kind, anew=True) / SHARE)
        return Taken(result.p95, result.p50, result.p99)

    def beside_flood(self, kind: Kind) -> Taken:
        """Send the other tenant's requests while the first sends many times as many."""
        rate = self.most(kind) / SHARE
        with ThreadPoolExecutor(1) as aside:
            flood = aside.submit(self.fire, kind, rate=rate * FLOOD, connections=CONNECTIONS)
            result = self.fire(kind, other=True, rate=rate)
            flood.result()
        return Taken(result.p95, result.p50, result.p99)


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of overload, each engine over a copy of its own."""
    probes = []
    for engine in ("sqlite", "postgres"):
        site = Site(workshop, stack, engine)
        for kind in KINDS:
            title = f"Portrait on {ENGINES[engine]}, {kind.title}"
            each: tuple[tuple[str, str, str, Callable[[Kind], Taken]], ...] = (
                ("half", "half of what can be answered", "requests/s", site.half),
                ("too-much", f"{kind.times:g} times what can be answered: until refused", "ms", site.too_much),
                ("alone", "another tenant alone, p95", "ms", site.alone),
                ("flooded", f"another tenant beside {FLOOD} times as many, p95", "ms", site.beside_flood),
            )
            probes += [
                Probe(f"{engine}.{kind.name}.{name}", f"{title}, {what}", unit, partial(take, kind), site.serving.start)
                for name, what, unit, take in each
            ]
    return probes
