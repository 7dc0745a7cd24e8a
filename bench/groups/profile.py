"""Reading profiles: Portrait, its floors, and what a user would pick instead."""

import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from bench.floors.subjects import Floor
from bench.measure import Probe, Taken, requests
from bench.ours import Portrait
from bench.population import TENANT, customer_id
from bench.process import Failure, ask
from bench.serving import S, Serving
from bench.subject import Subject
from bench.workshop import ENGINES, Workshop

UNIT = "requests/s"
TWO = "?sections=segments,consent"


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of reading."""
    probes: list[Probe] = []
    indexes = workshop.indexes()
    for engine, name in ENGINES.items():
        serving = Serving(workshop, stack, partial(workshop.filled, engine))
        probes.append(_full(f"{engine}.full", f"Portrait on {name}", serving, indexes))
        if engine != "citus":
            probes += _variants(engine, name, workshop, serving, indexes)
            probes.append(_half_load(f"{engine}.half-load", f"Portrait on {name}, half load", serving, indexes))
    for name, (title, floor) in _floors(workshop).items():
        bare = Serving(workshop, stack, floor)
        probes.append(_full(f"floor.{name}", title, bare, indexes))
        if name == "static":
            probes.append(_half_load(f"floor.{name}.half-load", f"{title}, half load", bare, indexes))
    for peer in _peers():
        id_ = f"peer.{peer.__name__.lower()}"
        probes.append(_full(id_, peer.name, Serving(workshop, stack, partial(filled_peer, workshop, peer)), indexes))
    return probes


def _full(id_: str, title: str, serving: Serving[S], indexes: Sequence[int]) -> Probe:
    def take() -> Taken:
        return requests(serving.fire([serving.subject.request(index) for index in indexes]))

    return Probe(id_, title, UNIT, take, serving.start)


def _variants(
    engine: str, name: str, workshop: Workshop, serving: Serving[Portrait], indexes: Sequence[int]
) -> list[Probe]:
    known: list[bytes] = []

    def learn() -> None:
        """Ask for everybody's ETag."""
        for index in indexes:
            _, headers, _ = ask(serving.server.port, serving.subject.get(index))
            known.append(serving.subject.get(index, headers={"If-None-Match": headers["etag"]}))

    def sections(query: str) -> Taken:
        return requests(serving.fire([serving.subject.get(workshop.heavy, query)]))

    return [
        Probe(
            f"{engine}.not-modified", f"Portrait on {name}, 304", UNIT,
            lambda: requests(serving.fire(known, expected=304)), learn,
        ),
        Probe(
            f"{engine}.two-sections", f"Portrait on {name}, two small sections", UNIT, lambda: sections(TWO),
            serving.start,
        ),
        Probe(
            f"{engine}.all-sections", f"Portrait on {name}, sections of 256 kB", UNIT, lambda: sections(""),
            lambda: _check_heavy(workshop, serving),
        ),
    ]  # fmt: skip


def _check_heavy(workshop: Workshop, serving: Serving[Portrait]) -> None:
    _, _, body = ask(serving.server.port, serving.subject.get(workshop.heavy))
    if len(body) < workshop.options.heavy:
        raise Failure(f"the heavy customer's profile has {len(body)} bytes only")


def _half_load(id_: str, title: str, serving: Serving[S], indexes: Sequence[int]) -> Probe:
    def take() -> Taken:
        asked = [serving.subject.request(index) for index in indexes]
        # The most is measured anew each round: other work of the machine changes it.
        most = serving.fire(asked).rate
        return requests(serving.fire(asked, rate=most / 2))

    return Probe(id_, title, UNIT, take, serving.start)


def _floors(workshop: Workshop) -> dict[str, tuple[str, Callable[[], Floor]]]:
    def static() -> Floor:
        portrait = workshop.filled("sqlite")
        body = workshop.directory / "profile.json"
        body.write_text(portrait.run("show", customer_id(0), "--tenant", TENANT, "--json").strip())
        return Floor("static bytes", "static", portrait, body=str(body))

    def sqlite() -> Floor:
        portrait = workshop.filled("sqlite")
        return Floor("smallest app on SQLite", "sqlite_read", portrait, file=portrait.url.removeprefix("sqlite:///"))

    def postgres() -> Floor:
        portrait = workshop.filled("postgres")
        return Floor("smallest app on PostgreSQL", "postgres_read", portrait, database=portrait.url)

    return {
        "static": ("Static bytes", static),
        "sqlite": ("Smallest app on SQLite", sqlite),
        "postgres": ("Smallest app on PostgreSQL", postgres),
    }


def _peers() -> list[type[Subject]]:
    try:
        peers: list[type[Subject]] = importlib.import_module("bench.peers").PEERS
    except ImportError as error:
        print(f"No peers are measured: {error}", file=sys.stderr)
        return []
    return peers


def filled_peer(workshop: Workshop, kind: Callable[[str], S]) -> S:
    """Return a peer over the population.

    Raises:
        Failure: it could not be set up.
    """
    peer = kind(workshop.postgres.url)
    try:
        peer.fill(workshop.kept, workshop.options.customers)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        raise Failure(f"{peer.name} could not be set up") from error
    return peer
