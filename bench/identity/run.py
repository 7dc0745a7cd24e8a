"""Takes the stream in under some rules, and looks at the profiles that come of it."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.identity.metrics import Fit, fit
from bench.identity.stream import Event
from bench.identity.truth import Truth
from bench.identity.variants import Variant
from portrait.app import Services, build
from portrait.identity.rules import Reason
from portrait.ingest.records import Parser
from portrait.model.identifier import Identifier
from portrait.model.time import SECOND, rfc3339
from portrait.sections.links import is_own
from portrait.writes.recording import Refusal

TENANT = "bench"
_PAGE = 10_000


class Result(msgspec.Struct, frozen=True):
    """What came of the stream under some rules."""

    name: str
    fit: Fit
    attainable: float
    """The recall of an all-knowing judge."""
    most: int
    """The most identifiers that one person used."""
    largest: int
    """The most identifiers of one profile, but for customer ids of Portrait's making."""
    profiles: int
    refused: dict[str, int]
    """How many links were refused, by reason."""
    seconds: float
    """Of this process's CPU."""


class _Clock:
    """Returns the moment of the newest event, and a microsecond more at each call."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1
        return self.now

    def reach(self, seconds: int) -> None:
        self.now = max(self.now, seconds * SECOND)


def measure(variant: Variant, events: Sequence[Event], truth: Truth, directory: Path, chunk: int) -> Result:
    """Return what comes of a stream under some rules, on SQLite.

    Args:
        variant: the rules.
        events: the stream.
        truth: who is who in it.
        directory: where the database goes.
        chunk: how many events share a transaction.
    """
    return asyncio.run(_measure(variant, events, truth, directory / "portrait.db", chunk))


def people(
    variant: Variant, events: Sequence[Event], directory: Path, chunk: int, seed: int
) -> frozenset[frozenset[Identifier]]:
    """Return who is one person where every event says when it happened, and the events come in another order.

    Args:
        variant: the rules.
        events: the stream.
        directory: where the database goes.
        chunk: how many events share a transaction.
        seed: of the order; 0: as they happened.
    """
    mixed = list(events)
    if seed:
        random.Random(seed).shuffle(mixed)  # noqa: S311  # for repeating, not for hiding
    owners, _ = asyncio.run(_taken_in(variant, mixed, directory / "portrait.db", chunk, timed=True))
    profiles: dict[str, set[Identifier]] = {}
    for identifier, owner in owners.items():
        if not is_own(identifier):
            profiles.setdefault(owner, set()).add(identifier)
    return frozenset(map(frozenset, profiles.values()))


async def _measure(variant: Variant, events: Sequence[Event], truth: Truth, database: Path, chunk: int) -> Result:
    begun = time.process_time()
    owners, refused = await _taken_in(variant, events, database, chunk)
    sizes = Counter(owner for identifier, owner in owners.items() if not is_own(identifier))
    return Result(
        variant.name, fit(owners, truth.owner), fit(truth.attainable, truth.owner).recall, truth.most,
        max(sizes.values(), default=0), len(sizes), dict(refused.most_common()), time.process_time() - begun,
    )  # fmt: skip


async def _taken_in(
    variant: Variant, events: Sequence[Event], database: Path, chunk: int, *, timed: bool = False
) -> tuple[dict[Identifier, str], Counter[str]]:
    """Take the events in; return every identifier's customer id, and how many links were refused, by reason."""
    clock = _Clock()
    services = build(f"sqlite:///{database}", auth="open", clock=clock, installed=False)
    try:
        refused: Counter[str] = Counter()
        tenant = await services.access.create_tenant(TENANT)
        raw = json.dumps(variant.rules).encode()
        await services.rules.set(TENANT, raw)
        parser = Parser(tenant._replace(rules=raw), None)
        for some in _chunks(events, chunk):
            clock.reach(some[-1].at)
            texts = [json.dumps(_line(event, record, timed)).encode() for event in some for record in event.records]
            parsed = [parser.line(at, text, services.registry) for at, text in enumerate(texts)]
            taken = [record for record in parsed if not isinstance(record, Refusal)]
            refused.update(refusal.code for refusal in parsed if isinstance(refusal, Refusal))
            outcome = await services.recorder.record_each(TENANT, taken)
            refused.update(
                [warning.code for warning in outcome.warnings] + [refusal.code for refusal in outcome.refused]
            )
        return await _profiles(services), refused
    finally:
        await services.close()


def _line(event: Event, record: Any, timed: bool) -> Any:  # noqa: FBT001  # in a comprehension
    return {**record, "effectiveAt": rfc3339(event.at * SECOND)} if timed else record


def _chunks(events: Sequence[Event], size: int) -> Iterator[Sequence[Event]]:
    return (events[at : at + size] for at in range(0, len(events), size))


async def _profiles(services: Services) -> dict[Identifier, str]:
    """Return every identifier's customer id."""
    owners: dict[Identifier, str] = {}
    after: Identifier | None = None
    while page := await services.store.derived_identifiers(TENANT, after, _PAGE):
        owners |= await services.store.resolve(TENANT, page)
        after = page[-1]
    return owners


def refusals(results: Iterable[Result]) -> list[str]:
    """Return the reasons for which any run refused a link, in the order in which rules are asked."""
    seen = {reason for result in results for reason in result.refused}
    return [reason for reason in Reason if reason in seen]
