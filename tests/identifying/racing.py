"""Merges that race, each with its undoing and with facts: what is done to some triples of customers, all at once."""

import asyncio
import json
import random
import sys
from contextlib import suppress

from harness import TENANT
from identifying.acting import line, named, tie
from portrait.app import build
from portrait.ingest.records import Parser
from portrait.model import time
from portrait.model.errors import LinkRefused, NotMerged
from portrait.model.identifier import Identifier

TRIPLES = [tuple(f"{letter}{number}" for letter in "abc") for number in range(20)]
AT_ONCE = 24
"""So many requests are under way at once over each service."""
PATIENCE = 60.0
"""How long each may wait, in seconds: tests assert that its turn comes, and not how soon on a busy machine."""


def incoming(services, tenant, *lines):
    parser = Parser(tenant, "test")
    return [parser.line(at, json.dumps(line).encode(), services.registry) for at, line in enumerate(lines)]


async def record(services, tenant, *lines):
    """Record lines: several in a transaction of their own, a single one with others that come just then."""
    outcome = await services.recorder.record_all(TENANT, incoming(services, tenant, *lines))
    assert (outcome.recorded, outcome.refused) == (len(lines), [])


def click(key):
    return {"id": key, "interactionType": "click", "timestamp": time.rfc3339(time.parse("2026-05-01T00:00:00Z"))}


def email(name):
    return f"email:{name}@example.org"


class Race:
    """The works of a race, in an order of its own.

    Args:
        mark: begins the keys of its facts, and seeds the order.
        merges: how many.
        tenant: the tenant.
    """

    def __init__(self, mark, merges, tenant):
        self._tenant = tenant
        self._mark = mark
        self.recorded = []
        """Of each fact the identifier and the key."""
        self.works = []
        dice = random.Random(mark)
        for index in range(merges // 3 + 1):
            a, b, c = triple = TRIPLES[index % len(TRIPLES)]
            works = [self._merge(a, b), self._merge(b, a), self._merge(b, c), self._merge(c, a)]
            works += [self._part(*dice.sample(triple, 2)) for _ in range(2)]
            works += [self._tell(dice.choice((*triple, email(a)))) for _ in range(2)]
            works.append(self._tell(*dice.sample([*triple, *dice.choice(TRIPLES)], 3)))
            # Those of one triple at once, some triples at a time.
            dice.shuffle(works)
            self.works += works

    def _tell(self, *names):
        lines = []
        for name in names:
            key = f"{self._mark}{len(self.recorded)}"
            self.recorded.append((Identifier(**named(name)), key))
            lines.append(line(name, "interactions", click(key)))
        return lambda services: record(services, self._tenant, *lines)

    @staticmethod
    def _merge(into, source):
        async def work(services):
            try:
                await services.identities.merge(TENANT, into, source, None)
            except LinkRefused as refused:
                assert refused.reason == "cannot_link"  # noqa: PT017  # of a triple two others were parted

        return work

    @staticmethod
    def _part(into, source):
        async def work(services):
            with suppress(NotMerged):
                await services.identities.unmerge(TENANT, into, source, None)

        return work


async def begin(services, tenant):
    """Record each customer, and an e-mail address of the first of each triple; return identifier and key of each."""
    names = [name for triple in TRIPLES for name in triple]
    await record(services, tenant, *(line(name, "interactions", click(name)) for name in names))
    await record(services, tenant, *(tie(a, email(a)) for a, _, _ in TRIPLES))
    return [(Identifier(**named(name)), name) for name in names]


async def all_at_once(services, works):
    """Do everything, shared out over some services, `AT_ONCE` at a time; nobody hears of a lock or a deadlock."""
    waiting = iter(works)

    async def worker(service):
        for work in waiting:
            await work(service)

    await asyncio.gather(*(worker(service) for service in services for _ in range(AT_ONCE)))


async def main(url, mark, merges):
    """Run a race of one's own in this process, once a line comes in."""
    services = build(url, auth="open", installed=False, busy_seconds=PATIENCE)
    try:
        race = Race(mark, int(merges), await services.store.tenant(TENANT))
        print("ready", flush=True)
        sys.stdin.readline()
        await all_at_once([services], race.works)
    finally:
        await services.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
