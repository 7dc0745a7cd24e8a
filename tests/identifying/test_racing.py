"""Merges that race, against each other, their undoing and facts, over two services and from two processes."""

import asyncio
import json
import os
import random
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from databases import asked
from harness import TENANT
from identifying import racing
from identifying.acting import FREE, line, named, tie
from identifying.racing import TRIPLES, Race, all_at_once, click, record
from portrait.app import build
from portrait.identity.rules import Rule
from portrait.model import time
from portrait.model.document import HEAD, read_head
from portrait.model.errors import NotMerged
from portrait.model.fact import Op
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer
from portrait.reads.identity import head_of
from portrait.writes.linking import opened
from portrait.writes.neighbourhood import Stated
from racers import begin, together

MERGES = int(os.environ.get("PORTRAIT_TEST_MERGES", "1000"))
"""How many merges race on each engine; on Citus a fifth, where a merge takes five times as long."""
TESTS = Path(racing.__file__).parents[1]
WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture(params=["sqlite", "postgres", "citus"])
def engine(request):
    return request.param


@pytest.fixture
def url(engine, request, tmp_path):
    if engine == "sqlite":
        return f"sqlite:///{tmp_path / 'portrait.db'}"
    return request.getfixturevalue(f"{engine}_url")


@pytest.fixture
def merges(engine):
    return MERGES // 5 if engine == "citus" else MERGES


@pytest.fixture
async def pair(url):
    """Two services over one database, each with its own connections, and the tenant."""
    first, other = (build(url, auth="open", installed=False, busy_seconds=racing.PATIENCE) for _ in range(2))
    try:
        await first.access.create_tenant(TENANT)
        await first.rules.set(TENANT, json.dumps(FREE).encode())
        yield (first, other), await first.store.tenant(TENANT)
    finally:
        await first.close()
        await other.close()


async def sound(services, expected):
    """Assert: every fact is there once, each identifier has one owner, each id leads to an end, the check agrees."""
    store = services.store
    identifiers = await store.fact_identifiers(TENANT, None, 100_000)
    facts = await store.facts(TENANT, identifiers)
    assert len({fact.id for fact in facts}) == len(facts)
    clicks = [(fact.identifier, fact.key) for fact in facts if (fact.section, fact.op) == ("interactions", Op.PUT)]
    assert sorted(clicks) == sorted(expected)
    names = [identifier.value for identifier in identifiers if identifier.type == CUSTOMER_ID]
    documents = await store.all_documents(TENANT, names)
    heads = {
        name: read_head(document.body) for name in names for document in documents[name] if document.section == HEAD
    }
    owners = await store.resolve(TENANT, identifiers)
    for name, head in heads.items():
        assert owners[customer(name)] == (head.merged_into or name)
        assert head.merged_into is None or heads[head.merged_into].merged_into is None, "each id leads to an end"
    members = {name: head.identifiers(name) for name, head in heads.items() if head.merged_into is None}
    assert sorted(identifier for group in members.values() for identifier in group) == sorted(owners), (
        "nobody is two people"
    )
    assert all(owners[identifier] == name for name, group in members.items() for identifier in group)
    assert await store.members(TENANT, names) == {name: list(group) for name, group in members.items()}
    report = await services.upkeep.check()
    assert report.differences == []
    assert report.faults == []


async def test_the_same_two_are_merged_twice_at_once(pair):
    (first, other), tenant = pair
    for number in range(30):
        a, b = f"a{number}", f"b{number}"
        await record(first, tenant, line(a, "interactions", click(a)), line(b, "interactions", click(b)))
        await asyncio.gather(*(services.identities.merge(TENANT, a, b, None) for services in pair[0]))
        _, head = await head_of(other.store, TENANT, b)
        assert head.members == (customer(a), customer(b))
    assert (await first.upkeep.check()).differences == []


async def test_a_thousand_merges_that_race_with_facts_make_no_cycle_and_lose_nothing(pair, merges):
    services, tenant = pair
    first, other = services
    expected = await racing.begin(first, tenant)
    race = Race("x", merges, tenant)
    expected += race.recorded
    await all_at_once(services, race.works)
    await sound(other, expected)
    # Without further unmerges, the merges make one customer of each three.
    for a, b, c in TRIPLES:
        for ends in ((a, b), (b, c), (a, c)):
            with suppress(NotMerged):
                await first.identities.allow(TENANT, *map(customer, ends), None)
        await first.identities.merge(TENANT, a, b, None)
        await other.identities.merge(TENANT, b, c, None)
        assert len(set((await first.store.resolve(TENANT, [customer(name) for name in (a, b, c)])).values())) == 1
    await sound(first, expected)


async def test_merges_that_race_from_two_processes_make_no_cycle_and_lose_nothing(pair, url, merges):
    (first, _), tenant = pair
    expected = await racing.begin(first, tenant)
    await asyncio.to_thread(in_processes, url, "yz", merges // 2)
    await sound(first, expected + [recorded for mark in "yz" for recorded in Race(mark, merges // 2, tenant).recorded])


def in_processes(url, marks, merges):
    """Run a race in a process for each mark, all at once."""
    together([begin("-m", "identifying.racing", url, mark, merges, cwd=TESTS) for mark in marks])


async def test_an_unmerge_waits_for_no_head_while_it_holds_another(postgres_url):
    """The head of the restored customer changes too: its lock may be held by work that waits for the target."""
    services = build(postgres_url, auth="open", installed=False)
    tenant = await services.access.create_tenant(TENANT)
    await record(services, tenant, line("a", "interactions", click("a")), line("b", "interactions", click("b")))
    await services.identities.merge(TENANT, "b", "a", None)
    sections = {section.name: section for section in services.registry.all_stored()}
    both = asyncio.Event()
    runs = []

    async def part(tx):
        runs.append(1)
        two = [customer("a"), customer("b")]
        async with opened(tx, TENANT, time.system_clock(), sections, two) as (_, linker):
            both.set()
            while len(runs) == 1 and not await asyncio.to_thread(asked, postgres_url, WAITING):
                pass
            await linker.part(*two, Stated(1.0, None, Rule.UNMERGE))

    async def other():
        await both.wait()
        await services.store.write(TENANT, lambda tx: tx.lock(TENANT, ["a", "b"]))

    await asyncio.gather(services.store.write(TENANT, part), other())
    assert len(runs) == 2
    assert await services.store.resolve(TENANT, [customer("a")]) == {customer("a"): "a"}
    await services.close()
    assert await asyncio.to_thread(asked, postgres_url, DEADLOCKS) == [(0,)]


async def test_evidence_that_races_claims_each_identifier_once(pair):
    """Links that meet in new identifiers, recorded at either end at once, join the same people as in sequence."""
    (_, other), tenant = pair
    dice = random.Random(11)
    expected, works = [], []
    for number in range(15):
        chain = [f"c{number}", f"email:e{number}@example.org", f"loyalty:l{number}", f"device_id:d{number}"]
        chain += [f"cookie_id:k{number}", f"anonymous_id:n{number}"]
        for a, b in pairwise(chain):
            source, target = dice.sample((a, b), 2)
            works.append(lambda services, source=source, target=target: record(services, tenant, tie(source, target)))
        for index, name in enumerate(chain):
            key = f"{number}-{index}"
            expected.append((Identifier(**named(name)), key))
            works.append(
                lambda services, name=name, key=key: record(services, tenant, line(name, "interactions", click(key)))
            )
    dice.shuffle(works)
    await all_at_once(pair[0], works)
    owners = await other.store.resolve(TENANT, [identifier for identifier, _ in expected])
    for identifier, key in expected:
        assert owners[identifier] == f"c{key.split('-')[0]}"
    await sound(other, expected)
