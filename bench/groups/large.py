"""Whether a profile costs more among a million customers than among 20,000: five records each."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from bench.databases import execute
from bench.measure import Probe, Taken, requests
from bench.ours import Portrait, written
from bench.population import customer_id, large_lines
from bench.serving import Serving
from bench.workshop import ENGINES, Workshop

MOST_WARMING = 120.0
"""How long a database may take to come into memory, in seconds."""


class Few(Portrait):
    """Portrait over customers that have five records each."""

    def check(self, index: int, body: bytes) -> None:
        """Make sure that the answer is the customer's, and has all six sections."""
        if body.count(b'"data":') != 6 or customer_id(index).encode() not in body or b"-00002" not in body:
            raise ValueError("the answer is not whole")


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of both sizes."""
    options = workshop.options
    probes = []
    for engine in ("sqlite", "postgres"):
        for size, customers in (("small", options.customers), ("large", options.large_customers)):
            serving = Serving(workshop, stack, partial(_filled, workshop, engine, size, customers))
            title = f"Portrait on {ENGINES[engine]}, {customers:,} customers"
            indexes = workshop.indexes(customers)
            probes.append(Probe(f"{engine}.{size}", title, "requests/s", _reading(serving, indexes), serving.start))
    return probes


def _reading(serving: Serving[Few], indexes: list[int]) -> Callable[[], Taken]:
    asked: list[bytes] = []

    def take() -> Taken:
        if not asked:  # once around: what is compared are two sizes in memory, not a disk with memory
            asked.extend(serving.subject.request(index) for index in indexes)
            serving.fire(asked, once=True, warmup=0.0, seconds=MOST_WARMING)
        return requests(serving.fire(asked))

    return take


def _filled(workshop: Workshop, engine: str, size: str, customers: int) -> Few:
    made = workshop.empty(engine, size)
    file = written(workshop.directory / f"{size}.jsonl", large_lines(customers))
    seconds = made.load(file)
    workshop.tell(f"{customers * 5:,} records loaded on {ENGINES[engine]} in {seconds:,.0f} s")
    if engine != "sqlite":
        execute(made.url, "VACUUM (ANALYZE)", "CHECKPOINT")
    return Few.over(made)
