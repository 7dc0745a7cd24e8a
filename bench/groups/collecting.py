"""What clients of other makers send: beside the same records in a bulk, a collector written by hand, and bare COPY."""

import itertools
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import msgspec

from bench.databases import fetch
from bench.events import IDENTIFY, SOURCE, TRAITS, USERS, Event, Events, batch, ndjson
from bench.floors.copying import BATCH
from bench.groups.profile import filled_peer
from bench.measure import Probe, Taken, requests
from bench.ours import Portrait
from bench.peers.handwritten import Handwritten
from bench.process import Failure, ask, cores, on_cores, output
from bench.serving import S, Serving
from bench.workshop import ENGINES, LONG_CUSTOMERS, SEED, Workshop

UNIT = "events/s"
CONNECTIONS = 4
MOST = 300
"""So many requests are prepared for each second: more than any server here answers."""
SINGLE = 20
"""How many events each customer gets in a round, where each is a request."""
SAID = BATCH // IDENTIFY
"""How many events of a batch say traits."""
RECORDS = BATCH + SAID * (TRAITS - 1)
"""How many records a batch's events make."""


class Collecting(Portrait):
    """Portrait with a write key: it takes the same in as events and as a bulk."""

    write_key: str

    def collect(self, events: Sequence[Event]) -> bytes:
        """Return the request in which a client sends events."""
        return self.send(self.write_key, batch(events))

    def bulk(self, events: Sequence[Event]) -> bytes:
        """Return the request that records what the events say."""
        return self.post("/api/v1/records", ndjson(events), "application/x-ndjson")


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of collecting, each over a copy of its own."""
    events = Events(min(USERS, workshop.options.customers), SEED)
    probes: list[Probe] = []
    for engine in ("sqlite", "postgres"):
        title = f"Portrait on {ENGINES[engine]}"
        collecting = Serving(workshop, stack, partial(_collecting, workshop, engine, "collect"))
        bulk = Serving(workshop, stack, partial(_collecting, workshop, engine, "collect_bulk"))
        taken_in = {"success": True, "received": BATCH, "refused": 0}
        recorded = {"recorded": RECORDS, "duplicates": 0, "refused": []}
        probes += [
            _sent(f"{engine}.collect", f"{title}, events", workshop, events, collecting, Collecting.collect, taken_in),
            _sent(f"{engine}.collect-bulk", f"{title}, events as a bulk", workshop, events, bulk, Collecting.bulk,
                  recorded),
            *_histories(engine, title, workshop, stack, events),
        ]  # fmt: skip
    peer = Serving(workshop, stack, partial(filled_peer, workshop, Handwritten))
    return [
        *probes,
        Probe("floor.postgres-copy", "Bare COPY on PostgreSQL, rows of events", UNIT, partial(_copied, workshop)),
        _sent(
            "peer.handwritten.collect", f"{Handwritten.name}, events", workshop, events, peer,
            lambda subject, sent: subject.collect(batch(sent)), {"success": True}, partial(_check_peer, peer),
        ),
    ]  # fmt: skip


def _sent(
    id_: str,
    title: str,
    workshop: Workshop,
    events: Events,
    serving: Serving[S],
    request: Callable[[S, list[Event]], bytes],
    answer: object,
    check: Callable[[], None] = lambda: None,
) -> Probe:
    """Return the probe of requests of many events each; before the first round one is sent and looked at."""
    options = workshop.options

    def prepare() -> None:
        serving.start()
        _, _, body = ask(serving.server.port, request(serving.subject, events.some(BATCH)))
        if msgspec.json.decode(body) != answer:
            raise Failure(f"events are not taken in: {body.decode()[:200]}")
        check()

    def take() -> Taken:
        long = 2 * options.seconds  # a request takes long
        count = int(MOST * (long + options.warmup))
        asked = [request(serving.subject, events.some(BATCH)) for _ in range(count)]
        return requests(serving.fire(asked, once=True, connections=CONNECTIONS, seconds=long), BATCH)

    return Probe(id_, title, UNIT, take, prepare)


def _histories(engine: str, title: str, workshop: Workshop, stack: ExitStack, events: Events) -> list[Probe]:
    """Return the probes of single events of customers with long histories, and with short ones."""
    serving = Serving(workshop, stack, partial(_collecting, workshop, engine, "collect_history"))
    # Customers of 30 are fresh in every round, or theirs would be long histories soon.
    fresh = itertools.cycle(workshop.indexes())

    def append(indexes: Sequence[int]) -> Taken:
        asked = [serving.subject.collect([events.tracked(index)]) for _ in range(SINGLE) for index in indexes]
        result = serving.fire(asked, connections=1, once=True, warmup=0, seconds=60)
        return Taken(result.p50, result.p50, result.p99)

    return [
        Probe(
            f"{engine}.collect-long", f"{title}, an event after 10,000", "ms",
            lambda: append(workshop.long), serving.start,
        ),
        Probe(
            f"{engine}.collect-short", f"{title}, an event after 30", "ms",
            lambda: append(list(itertools.islice(fresh, LONG_CUSTOMERS))), serving.start,
        ),
    ]  # fmt: skip


def _collecting(workshop: Workshop, engine: str, name: str) -> Collecting:
    made = Collecting.over(workshop.copy(engine, name))
    made.write_key = made.make_write_key(SOURCE)
    return made


def _copied(workshop: Workshop) -> Taken:
    target = workshop.postgres.database("bench_copy")
    command = [sys.executable, "-m", "bench.floors.copying", target, str(CONNECTIONS), str(workshop.options.seconds)]
    with on_cores({cores().server}):
        return Taken(float(output("the bare COPY", command)) * BATCH)


def _check_peer(serving: Serving[Handwritten]) -> None:
    """Make sure that the peer holds the first batch.

    Raises:
        Failure: it does not.
    """
    held = fetch(serving.subject.url, "SELECT (SELECT count(*) FROM events) || '/' || (SELECT count(*) FROM traits)")
    if held != (wanted := f"{BATCH - SAID}/{SAID * TRAITS}"):
        raise Failure(f"{Handwritten.name} holds {held} events and traits instead of {wanted}")
