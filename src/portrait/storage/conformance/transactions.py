"""Cases of transactions: all at once or never, one after another, durable once acknowledged."""

import asyncio
from functools import partial

from portrait.model.document import document, head_document
from portrait.model.errors import EventConflict
from portrait.model.identifier import customer
from portrait.storage.conformance.support import (
    OTHER,
    SECTION,
    TENANT,
    append,
    ask,
    by_key,
    clear,
    documents_of,
    everything,
    fact,
    fill,
    filled,
    head,
    raised,
)
from portrait.storage.contract import Changes, Reads, Store, Transaction

C = customer("c")


class Broken(Exception):
    """Raised by work that fails."""


async def count(tx: Transaction, customer_id: str) -> int:
    """Read a number from a document and write the next: two works at once would lose a number."""
    await tx.lock(TENANT, [customer_id])
    bodies = [body for section, body, *_ in await tx.documents(TENANT, customer_id, ["count"]) if section == "count"]
    number = int(bodies[0]) + 1 if bodies else 1
    await tx.apply(TENANT, Changes(documents=by_key({customer_id: [document("count", b"%d" % number, None, 1)]})))
    return number


async def test_write_returns_what_the_work_returns(store: Store) -> None:
    """`write`: the result is the work's own, None and falsy ones too."""

    async def work(tx: Transaction) -> object:
        await tx.apply(TENANT, Changes(facts=[]))
        return result

    for result in ({"a": [1]}, None, 0, ""):
        assert await store.write(TENANT, work) is result


async def test_work_sees_what_it_has_written(store: Store) -> None:
    """Reads of a transaction see its writes, every kind of them, before anybody else does."""
    seen = await store.write(TENANT, _fill_and_look)
    assert seen == await everything(store, TENANT)
    assert seen["facts"]
    assert seen["customers"]


async def _fill_and_look(tx: Transaction) -> dict[str, object]:
    await fill(tx, TENANT, b"ours")
    return await everything(tx, TENANT)


async def test_failed_work_leaves_nothing_of_a_new_tenant(store: Store) -> None:
    """`write`: nothing is kept of work that raises, whatever it wrote."""
    before = await ask(store, lambda reads: everything(reads, TENANT))

    async def work(tx: Transaction) -> None:
        await fill(tx, TENANT, b"lost")
        raise Broken

    await raised(Broken, store.write(TENANT, work))
    assert await ask(store, lambda reads: everything(reads, TENANT)) == before


async def test_failed_work_changes_and_drops_nothing(store: Store) -> None:
    """`write`: what work that raises replaced, removed or revoked is as it was."""
    await filled(store, TENANT, b"kept")
    before = await ask(store, lambda reads: everything(reads, TENANT))

    async def replace(tx: Transaction) -> None:
        await tx.apply(TENANT, Changes(owners={C: "elsewhere"}))
        await tx.apply(
            TENANT, Changes(documents=by_key({"c": [document(SECTION, b"lost", 1, 1), head_document(head(9))]}))
        )
        raise Broken

    async def drop(tx: Transaction) -> None:
        await clear(tx, TENANT)
        raise Broken

    for work in (replace, drop):
        await raised(Broken, store.write(TENANT, work))
        assert await ask(store, lambda reads: everything(reads, TENANT)) == before


async def test_what_work_raises_reaches_the_caller_unchanged(store: Store) -> None:
    """`write`: raises the very error that the work raised, of the tree or not."""
    for error in (Broken("why"), EventConflict("why"), KeyError("why")):

        async def work(tx: Transaction, error: Exception = error) -> None:
            await tx.apply(TENANT, Changes(facts=[fact(C, 1)]))
            raise error

        assert await raised(type(error), store.write(TENANT, work)) is error
    assert await store.facts(TENANT, [C]) == []


async def test_work_that_fails_before_it_writes_harms_nothing(store: Store) -> None:
    """`write`: work may raise at once, and the next work goes on."""

    async def work(_: Transaction) -> None:
        raise Broken

    for _ in range(3):
        await raised(Broken, store.write(TENANT, work))
    await append(store, fact(C, 1))
    assert await store.facts(TENANT, [C]) == [fact(C, 1)]


async def test_a_write_is_read_once_it_is_acknowledged(store: Store) -> None:
    """Reads see everything that was acknowledged before they began, whoever wrote beside it."""

    async def write_and_read(number: int) -> None:
        new_fact = fact(customer(f"c{number % 7}"), number, key=f"{number}")
        await append(store, new_fact)
        assert new_fact in await store.facts(TENANT, [new_fact.identifier])
        async with store.snapshot() as reads:
            assert new_fact in await reads.facts(TENANT, [new_fact.identifier])

    await asyncio.gather(*map(write_and_read, range(60)))


async def test_concurrent_works_on_one_customer_lose_nothing(store: Store) -> None:
    """`lock`: works that read and write the same customer go one after another."""
    results = await asyncio.gather(*(store.write(TENANT, lambda tx: count(tx, "c")) for _ in range(100)))
    assert sorted(results) == list(range(1, 101))
    assert [document.body for document in await documents_of(store, "c", ["count"])][-1] == b"100"


async def test_concurrent_works_on_many_customers_are_all_kept(store: Store) -> None:
    """`write`: everything acknowledged is there, however many write at once."""
    facts = [fact(customer(f"c{number % 20}"), number, key=f"{number}") for number in range(400)]
    await asyncio.gather(*(append(store, fact) for fact in facts))
    stored = [fact for number in range(20) for fact in await store.facts(TENANT, [customer(f"c{number}")])]
    assert sorted(stored, key=lambda fact: fact.id) == facts


async def test_work_that_fails_harms_none_that_runs_beside_it(store: Store) -> None:
    """`write`: of many at once just those that raise are undone, each with its own error."""
    errors = {number: Broken(number) for number in range(0, 120, 3)}

    async def work(number: int, tx: Transaction) -> int:
        await count(tx, "c")
        await tx.apply(TENANT, Changes(facts=[fact(C, number, key=f"{number}")]))
        if number in errors:
            raise errors[number]
        return number

    results = await asyncio.gather(
        *(store.write(TENANT, partial(work, number)) for number in range(120)),
        return_exceptions=True,
    )
    assert results == [errors.get(number, number) for number in range(120)]
    kept = sorted(fact.recorded_at for fact in await store.facts(TENANT, [C]))
    assert kept == [number for number in range(120) if number not in errors]
    assert [document.body for document in await documents_of(store, "c", ["count"])][-1] == b"80"


async def test_works_that_name_the_same_customers_in_another_order_all_finish(store: Store) -> None:
    """`lock`: takes customers in byte order, whatever the order asked in, so that no two works wait for each other."""
    names = ["z", "\U0001f600", "A", "a", "\uff5e"]

    async def work(turn: int, tx: Transaction) -> None:
        await tx.lock(TENANT, names[turn:] + names[:turn])
        for name in names:
            await count(tx, name)

    await asyncio.gather(*(store.write(TENANT, partial(work, number % 5)) for number in range(40)))
    for name in names:
        assert [document.body for document in await documents_of(store, name, ["count"])][-1] == b"40"


async def test_works_that_lock_one_customer_after_another_all_finish(store: Store) -> None:
    """`lock`: works that find out late whom they need, each in an order of its own, leave nobody without an answer."""
    names = ["a", "b", "c", "d"]

    async def work(turn: int, tx: Transaction) -> None:
        for name in names[turn:] + names[:turn]:
            await count(tx, name)

    await asyncio.gather(*(store.write(TENANT, partial(work, number % 4)) for number in range(16)))
    for name in names:
        assert [document.body for document in await documents_of(store, name, ["count"])][-1] == b"16"


async def test_lock_returns_heads_and_none_for_the_unknown(store: Store) -> None:
    """`lock`: the head of each customer, by its very name; None where there is none."""
    heads = {name: head(number) for number, name in enumerate(("a", "A", "a ", "\u00e9"))}
    await store.write(
        TENANT,
        lambda tx: tx.apply(
            TENANT,
            Changes(documents=by_key({customer_id: [head_document(heads[customer_id])] for customer_id in heads})),
        ),
    )
    asked = ["unknown", *reversed(heads), "e\u0301"]
    assert await store.write(TENANT, lambda tx: tx.lock(TENANT, asked)) == {**heads, "unknown": None, "e\u0301": None}
    assert await store.write(TENANT, lambda tx: tx.lock(TENANT, [])) == {}


async def test_a_customer_that_was_only_locked_stays_unknown(store: Store) -> None:
    """`lock`: an engine may store an empty head for it, but no read returns it."""
    for _ in range(2):
        assert await store.write(TENANT, lambda tx: tx.lock(TENANT, ["c"])) == {"c": None}
    assert await documents_of(store, "c") == []
    assert await store.customers(TENANT, None, 10) == []


async def test_a_document_alone_is_no_head(store: Store) -> None:
    """`lock`: a customer with documents but without a head is returned as None."""
    await store.write(
        TENANT, lambda tx: tx.apply(TENANT, Changes(documents=by_key({"c": [document(SECTION, b"[]", None, 1)]})))
    )
    assert await store.write(TENANT, lambda tx: tx.lock(TENANT, ["c"])) == {"c": None}


async def test_a_snapshot_sees_one_moment(store: Store) -> None:
    """`snapshot`: what is written after its first read is not in it, in no table; afterwards it is."""
    await filled(store, TENANT, b"old")
    async with store.snapshot() as reads:
        before = await everything(reads, TENANT)
        await store.write(TENANT, lambda tx: clear(tx, TENANT))
        await filled(store, OTHER, b"new")
        await append(store, fact(C, 99))
        assert await everything(reads, TENANT) == before
        assert not (await everything(reads, OTHER))["facts"]
        assert await everything(store, TENANT) != before
    assert await ask(store, lambda reads: everything(reads, TENANT)) != before
    assert (await everything(store, OTHER))["facts"]


async def test_a_snapshot_never_sees_half_of_a_work(store: Store) -> None:
    """`snapshot`: while works that change two customers run, both are seen changed alike."""

    async def look() -> None:
        for _ in range(20):
            async with store.snapshot() as reads:
                left = await _number(reads, "left")
                await asyncio.sleep(0)
                assert await _number(reads, "right") == left

    async def both(tx: Transaction) -> None:
        await count(tx, "left")
        await count(tx, "right")

    await asyncio.gather(look(), *(store.write(TENANT, both) for _ in range(60)), look())
    assert await _number(store, "left") == 60


async def _number(reads: Reads, customer_id: str) -> int:
    return next((int(body) for _, body, *_ in await reads.documents(TENANT, customer_id, None)), 0)


async def test_snapshots_stand_beside_each_other(store: Store) -> None:
    """`snapshot`: several may be open, each at its own moment; an error inside one reaches the caller."""
    async with store.snapshot() as early:
        assert await early.facts(TENANT, [C]) == []
        await append(store, fact(C, 1))
        async with store.snapshot() as late:
            assert await late.facts(TENANT, [C]) == [fact(C, 1)]
            assert await early.facts(TENANT, [C]) == []
    await raised(Broken, _fail_inside(store))
    await append(store, fact(C, 2))
    assert len(await store.facts(TENANT, [C])) == 2


async def _fail_inside(store: Store) -> None:
    async with store.snapshot() as reads:
        await reads.facts(TENANT, [C])
        raise Broken
