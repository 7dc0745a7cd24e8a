"""SQLite keeps the storage contract, and its suite leaves no method out."""

import asyncio
import inspect
from contextlib import asynccontextmanager

import pytest

from portrait.model.errors import StorageFailed
from portrait.model.identifier import customer
from portrait.storage import conformance, contract
from portrait.storage.conformance.support import NAMES, TENANT, append, fact
from portrait.storage.contract import Changes
from portrait.storage.sqlite import open_store

CASES = conformance.cases()


@pytest.mark.parametrize("case", CASES, ids=[case.__name__.removeprefix("test_") for case in CASES])
async def test_sqlite_keeps_the_contract(case, store):
    await case(store)


def methods(*protocols):
    return {
        name for protocol in protocols for name, _ in inspect.getmembers(protocol, callable) if not name.startswith("_")
    }


class Noting:
    """Passes everything on, and notes which methods were called."""

    def __init__(self, target, called):
        self._target = target
        self._called = called

    def __getattr__(self, name):
        member = getattr(self._target, name)
        self._called.add(name)
        return member


class NotingStore(Noting):
    """Notes the calls on the store, in its snapshots and in its transactions separately."""

    def __init__(self, target):
        super().__init__(target, set())
        self.in_snapshot = set()
        self.in_transaction = set()
        self.on_store = self._called

    async def write(self, tenant, work):
        self._called.add("write")
        return await self._target.write(tenant, lambda tx: work(Noting(tx, self.in_transaction)))

    @asynccontextmanager
    async def snapshot(self):
        self._called.add("snapshot")
        async with self._target.snapshot() as reads:
            yield Noting(reads, self.in_snapshot)


async def test_the_suite_calls_every_method_of_the_contract_wherever_it_can_be_called(tmp_path):
    on_store, in_snapshot, in_transaction = set(), set(), set()
    for number, case in enumerate(CASES):
        store = NotingStore(open_store(tmp_path / f"{number}.db"))
        await case(store)
        await store._target.close()
        on_store |= store.on_store
        in_snapshot |= store.in_snapshot
        in_transaction |= store.in_transaction
    assert methods(contract.Store) - on_store == set()
    assert methods(contract.Reads) - in_snapshot == set()
    assert methods(contract.Transaction) - in_transaction == set()


def test_every_case_says_which_promise_it_holds():
    assert [case.__name__ for case in CASES if not inspect.getdoc(case)] == []
    assert len({case.__name__ for case in CASES}) == len(CASES), "two cases of one name"


def test_the_names_of_the_suite_are_in_byte_order():
    assert list(NAMES) == sorted(NAMES, key=str.encode)
    assert len(set(NAMES)) == len(NAMES)


async def test_work_finished_by_close_is_in_the_file(path, store):
    writes = [asyncio.ensure_future(append(store, fact(customer("c"), number))) for number in range(300)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    again = open_store(path)
    assert len(await again.facts(TENANT, [customer("c")])) == 300
    await again.close()


async def test_work_that_awaits_something_else_is_refused_and_nothing_is_kept(store):
    async def work(tx):
        await tx.apply(TENANT, Changes(facts=[fact(customer("c"), 1)]))
        await asyncio.sleep(0)

    with pytest.raises(StorageFailed, match="awaited something other"):
        await store.write(TENANT, work)
    assert await store.facts(TENANT, [customer("c")]) == []
    await append(store, fact(customer("c"), 2))


async def test_a_caller_that_stops_waiting_harms_nobody(store):
    given_up = [asyncio.ensure_future(append(store, fact(customer("c"), number))) for number in range(20)]
    await asyncio.sleep(0)
    for task in given_up[::2]:
        task.cancel()
    results = await asyncio.gather(*given_up, return_exceptions=True)
    assert results[1::2] == [None] * 10
    await append(store, fact(customer("c"), 99))
    kept = {fact.recorded_at for fact in await store.facts(TENANT, [customer("c")])}
    assert kept >= {99, *range(1, 20, 2)}
