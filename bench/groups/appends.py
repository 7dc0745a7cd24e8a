"""Writing over HTTP: single records beside the bare insert, and batches on Citus beside PostgreSQL."""

import itertools
import json
import random
from contextlib import ExitStack
from functools import partial

from bench.floors.subjects import AppendFloor
from bench.measure import Probe, Taken, requests
from bench.ours import Portrait
from bench.population import appended, customer_id
from bench.serving import Serving
from bench.workshop import ENGINES, SEED, Workshop

MOST = 12_000
"""So many requests are prepared for each second: more than any server here answers."""
BATCH = 500
MOST_BATCHES = 60
BATCH_CONNECTIONS = 4
BATCH_WARMUP = 5.0
"""In seconds: on Citus a connection's first batch takes more than one, for what it learns of the cluster."""
_NDJSON = "application/x-ndjson"


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of writing, each over a copy of its own."""
    numbers = itertools.count()
    chance = random.Random(SEED)  # noqa: S311  # for repeating, not for hiding

    def records(count: int) -> list[tuple[int, dict[str, object]]]:
        return [
            (index, appended(index, next(numbers)))
            for index in chance.choices(range(workshop.options.customers), k=count)
        ]

    def append(serving: Serving[Portrait] | Serving[AppendFloor]) -> Taken:
        count = int(MOST * (workshop.options.seconds + workshop.options.warmup))
        asked = [serving.subject.append(index, record) for index, record in records(count)]
        return requests(serving.fire(asked, once=True, expected=201))

    def batches(serving: Serving[Portrait]) -> Taken:
        long = 2 * workshop.options.seconds  # a batch takes long
        count = int(MOST_BATCHES * (long + BATCH_WARMUP))
        asked = [serving.subject.post("/api/v1/records", _batch(records(BATCH)), _NDJSON) for _ in range(count)]
        return requests(
            serving.fire(asked, once=True, connections=BATCH_CONNECTIONS, seconds=long, warmup=BATCH_WARMUP), BATCH
        )

    probes = []
    for engine in ("sqlite", "postgres"):
        ours = Serving(workshop, stack, partial(workshop.copy, engine, "append"))
        floor = Serving(workshop, stack, partial(_floor, workshop, engine))
        probes += [
            Probe(
                f"{engine}.append", f"Portrait on {ENGINES[engine]}, single records", "records/s",
                partial(append, ours), ours.start,
            ),
            Probe(
                f"floor.{engine}-append", f"Smallest app on {ENGINES[engine]}, single facts", "records/s",
                partial(append, floor), floor.start,
            ),
        ]  # fmt: skip
    for engine in ("postgres", "citus"):
        ours = Serving(workshop, stack, partial(workshop.copy, engine, "batches"))
        title = f"Portrait on {ENGINES[engine]}, batches of {BATCH}"
        probes.append(Probe(f"{engine}.batches", title, "records/s", partial(batches, ours), ours.start))
    return probes


def _floor(workshop: Workshop, engine: str) -> AppendFloor:
    portrait = workshop.copy(engine, "append_floor")
    if engine == "sqlite":
        return AppendFloor("smallest app", "sqlite_append", portrait, file=portrait.url.removeprefix("sqlite:///"))
    return AppendFloor("smallest app", "postgres_append", portrait, database=portrait.url)


def _batch(batch: list[tuple[int, dict[str, object]]]) -> bytes:
    rows = ({"customerId": customer_id(index), "section": "interactions", "record": record} for index, record in batch)
    return b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
