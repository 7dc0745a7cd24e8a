"""Cases of tenants: nothing of one is read, written or locked for another."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from portrait.model.document import HEAD, Head, document, head_document
from portrait.model.fact import Fact, Op
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer
from portrait.storage.conformance.support import (
    MAX,
    MIN,
    OTHER,
    SECTION,
    TENANT,
    append,
    ask,
    by_key,
    clear,
    credential,
    everything,
    fact,
    filled,
    head,
)
from portrait.storage.contract import Changes, Cursor, FactsAsked, Reads, Store, StoredState, Transaction

C = customer("c")
E = Identifier("email", "e")

AROUND = (OTHER, TENANT.upper(), TENANT + " ", TENANT[:-1], "")
"""Tenants on both sides of `TENANT` in every order, and tenants that look like it."""

READS: dict[str, Callable[[Reads, str], Awaitable[Any]]] = {
    "documents": lambda reads, tenant: reads.documents(tenant, "c", None),
    "documents of sections": lambda reads, tenant: reads.documents(tenant, "c", [SECTION]),
    "hashes": lambda reads, tenant: reads.hashes(tenant, "c", None),
    "hashes of sections": lambda reads, tenant: reads.hashes(tenant, "c", [SECTION]),
    "all_documents": lambda reads, tenant: reads.all_documents(tenant, ["c"]),
    "resolve": lambda reads, tenant: reads.resolve(tenant, [C, E]),
    "members": lambda reads, tenant: reads.members(tenant, ["c"]),
    "states": lambda reads, tenant: reads.states(tenant, [(C, SECTION), (E, "segments")]),
    "customers": lambda reads, tenant: reads.customers(tenant, None, 10),
    "events": lambda reads, tenant: reads.events(tenant, [C, E], SECTION, None, 10),
    "events below a cursor": lambda reads, tenant: reads.events(tenant, [C], SECTION, Cursor(MAX, b"\xff" * 16), 10),
    "history": lambda reads, tenant: reads.history(tenant, [C], SECTION, "ended", None, 9),
    "known": lambda reads, tenant: reads.known(
        tenant, [FactsAsked(C, SECTION, "ended", moment) for moment in (None, 0)]
    ),
    "facts": lambda reads, tenant: reads.facts(tenant, [C]),
    "credentials": lambda reads, tenant: reads.credentials(tenant, None, 10),
    "descendants": lambda reads, tenant: reads.descendants(tenant, "one minter", None, 10),
    "fact_identifiers": lambda reads, tenant: reads.fact_identifiers(tenant, None, 10),
    "with_facts": lambda reads, tenant: reads.with_facts(tenant, [C, E]),
    "derived_customers": lambda reads, tenant: reads.derived_customers(tenant, None, 10),
    "derived_identifiers": lambda reads, tenant: reads.derived_identifiers(tenant, None, 10),
    "states_of": lambda reads, tenant: reads.states_of(tenant, [C, E]),
}
"""Every read that takes a tenant, of what `fill` stores."""


async def _answer(store: Store, read: Callable[[Reads, str], Awaitable[Any]], tenant: str) -> Any:
    return await ask(store, lambda reads: read(reads, tenant))


async def test_a_tenant_without_rows_reads_none_of_anothers(store: Store) -> None:
    """No read returns another tenant's rows, whatever their names: not beside it, above it or below it in order."""
    for owner in AROUND:
        await filled(store, owner, b"theirs")
    for name, read in READS.items():
        assert not await _answer(store, read, TENANT), f"{name} gives another tenant's rows"
        assert await read(store, OTHER), f"{name} gives not even its own"
    assert await store.tenant(TENANT) is None


async def _of_others(store: Store) -> dict[str, Any]:
    return {owner: await ask(store, partial(everything, tenant_id=owner)) for owner in AROUND}


async def test_the_same_names_in_two_tenants_are_two_things(store: Store) -> None:
    """No write changes another tenant's rows, though everything is called the same."""
    for owner in AROUND:
        await filled(store, owner, b"theirs")
    theirs = await _of_others(store)
    await filled(store, TENANT, b"ours")
    ours = await ask(store, lambda reads: everything(reads, TENANT))
    assert await _of_others(store) == theirs
    assert all("theirs" in repr(rows) and "ours" not in repr(rows) for rows in theirs.values())
    assert "theirs" not in repr(ours)
    assert "ours" in repr(ours)


async def test_what_a_tenant_removes_is_removed_for_it_alone(store: Store) -> None:
    """No drop and no revocation touches another tenant's rows of the same names."""
    for owner in (*AROUND, TENANT):
        await filled(store, owner, b"a row")
    theirs = await _of_others(store)
    await store.write(TENANT, lambda tx: clear(tx, TENANT))
    assert await _of_others(store) == theirs
    ours = await ask(store, lambda reads: everything(reads, TENANT))
    left = ("customers", "documents", "owners", "members", "states", "due")
    assert {name: ours[name] for name in left} == {name: type(ours[name])() for name in left}
    assert [row.revoked_at for row in ours["credentials"]] == [9]


async def test_another_tenants_delete_hides_no_event(store: Store) -> None:
    """`events`: a key deleted in one tenant stands in another."""
    await append(store, fact(C, 1))
    await append(store, fact(C, 1), fact(C, 2, op=Op.DELETE, body=b""), tenant=OTHER)
    assert await ask(store, lambda reads: reads.events(TENANT, [C], SECTION, None, 10)) == [fact(C, 1)]
    assert await ask(store, lambda reads: reads.events(OTHER, [C], SECTION, None, 10)) == []


async def test_lock_gives_no_head_of_another_tenants_customer(store: Store) -> None:
    """`lock`: another tenant's customer of the same id is unknown here, and stays as it was."""
    await filled(store, OTHER, b"theirs")
    theirs = await ask(store, lambda reads: everything(reads, OTHER))
    assert await store.write(TENANT, lambda tx: tx.lock(TENANT, ["c"])) == {"c": None}
    assert await ask(store, lambda reads: everything(reads, OTHER)) == theirs


async def test_one_work_may_write_for_two_tenants(store: Store) -> None:
    """The tenant is an argument, never ambient: each call of one transaction has its own."""

    async def work(tx: Transaction) -> None:
        for number, owner in ((MIN, TENANT), (MAX, OTHER)):
            await tx.lock(owner, ["c"])
            await tx.apply(owner, Changes(facts=[fact(C, 1, at=number)]))

    await store.write(TENANT, work)
    for number, owner in ((MIN, TENANT), (MAX, OTHER)):
        assert await _answer(store, READS["facts"], owner) == [fact(C, 1, at=number)]


SIZES = (1, 2, 33)
"""How many are asked for or written at once. Engines have statements of their own for one row, for few and for many."""


def _wanted(type_: str, size: int) -> tuple[list[Identifier], list[str]]:
    """Return identifiers, and the ids of the customers that they belong to."""
    ids = [f"c{number:02}" for number in range(size)]
    return [Identifier(type_, customer_id) for customer_id in ids], ids


async def _store(tx: Transaction, tenant: str, type_: str, size: int, mark: bytes) -> None:
    """Store a row of each kind for each identifier and customer; the mark tells whose they are."""
    identifiers, ids = _wanted(type_, size)
    first = int.from_bytes(mark, "big") * 100
    await tx.apply(
        tenant,
        Changes(facts=[fact(identifier, first + index, body=mark) for index, identifier in enumerate(identifiers)]),
    )
    await tx.apply(tenant, Changes(owners=dict(zip(identifiers, ids, strict=True))))
    await tx.apply(tenant, Changes(states={(identifier, SECTION): StoredState(mark, 1) for identifier in identifiers}))
    await tx.apply(
        tenant,
        Changes(
            documents=by_key(
                {customer_id: [head_document(head(first)), document(SECTION, mark, None, 1)] for customer_id in ids}
            )
        ),
    )


def _by_id(facts: list[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda fact: fact.id)


async def _read(reads: Reads, tenant: str, type_: str, size: int) -> dict[str, Any]:
    """Return what every read gives that takes several identifiers or customers."""
    identifiers, ids = _wanted(type_, size)
    return {
        "resolve": await reads.resolve(tenant, identifiers),
        "states": await reads.states(tenant, [(identifier, SECTION) for identifier in identifiers]),
        "states_of": await reads.states_of(tenant, identifiers),
        "facts": _by_id(await reads.facts(tenant, identifiers)),
        "with_facts": await reads.with_facts(tenant, identifiers),
        "known": await reads.known(
            tenant, [FactsAsked(identifier, SECTION, "k", at) for identifier in identifiers for at in (None, 0)]
        ),
        "events": _by_id(await reads.events(tenant, identifiers, SECTION, None, 100)),
        "history": _by_id(await reads.history(tenant, identifiers, SECTION, "k", None, 100)),
        "all_documents": {
            customer_id: sorted(rows) for customer_id, rows in (await reads.all_documents(tenant, ids)).items()
        },
        "members": await reads.members(tenant, ids),
    }


def _cases() -> Iterator[tuple[str, str, str, int]]:
    """Yield two tenants of their own for each type and number of identifiers."""
    for type_ in ("email", CUSTOMER_ID):
        for size in SIZES:
            yield f"{type_} {size}", f"{type_} {size} other", type_, size


async def test_one_two_and_many_are_read_of_one_tenant_alone(store: Store) -> None:
    """Every read that takes several gives nothing of another tenant's, whatever their number."""
    for ours, theirs, type_, size in _cases():
        await store.write(theirs, partial(_store, tenant=theirs, type_=type_, size=size, mark=b"t"))
        none = await ask(store, partial(_read, tenant=ours, type_=type_, size=size))
        for name, rows in none.items():
            assert not rows, f"{name} of {size} gives another tenant's rows"
        for name, rows in (await _read(store, theirs, type_, size)).items():
            assert len(rows) >= size, f"{name} of {size} gives not even its own"


async def test_one_two_and_many_are_written_for_one_tenant_alone(store: Store) -> None:
    """Every write that takes several changes nothing of another tenant's, whatever their number."""
    for ours, theirs, type_, size in _cases():
        identifiers, ids = _wanted(type_, size)
        await store.write(theirs, partial(_store, tenant=theirs, type_=type_, size=size, mark=b"t"))
        before = await _read(store, theirs, type_, size)
        for mark in (b"o", b"p"):  # new rows, then known ones
            await store.write(ours, partial(_store, tenant=ours, type_=type_, size=size, mark=mark))
            answers = await _read(store, ours, type_, size)
            assert {state.body for state in answers["states"].values()} == {mark}
            assert await _read(store, theirs, type_, size) == before

        async def drop(
            tx: Transaction, ours: str = ours, identifiers: list[Identifier] = identifiers, ids: list[str] = ids
        ) -> None:
            await tx.lock(ours, ids)
            for customer_id in ids:
                await tx.apply(ours, Changes(documents=dict.fromkeys((customer_id, name) for name in [HEAD, SECTION])))
            await tx.apply(ours, Changes(states=dict.fromkeys([(identifier, SECTION) for identifier in identifiers])))
            await tx.apply(ours, Changes(owners=dict.fromkeys(identifiers)))

        await store.write(ours, drop)
        assert await _read(store, theirs, type_, size) == before
        left = await _read(store, ours, type_, size)
        dropped = ("resolve", "states", "states_of", "all_documents", "members")
        assert {name for name, rows in left.items() if not rows} == {*dropped}


async def test_one_two_and_many_are_claimed_and_locked_for_one_tenant_alone(store: Store) -> None:
    """`claim`, `lock`: what another tenant has of the same names is neither taken nor seen, whatever its number."""
    for ours, theirs, type_, size in _cases():
        identifiers, ids = _wanted(type_, size)
        owners = dict(zip(identifiers, ids, strict=True))
        await store.write(theirs, partial(_store, tenant=theirs, type_=type_, size=size, mark=b"t"))
        before = await _read(store, theirs, type_, size)
        locked = await store.write(ours, partial(_lock, tenant=ours, ids=ids))
        assert locked == dict.fromkeys(ids)
        assert await store.write(ours, partial(_claim, tenant=ours, owners=owners)) == {*identifiers}
        assert await _read(store, theirs, type_, size) == before


async def _lock(tx: Transaction, tenant: str, ids: list[str]) -> dict[str, Head | None]:
    return await tx.lock(tenant, ids)


async def _claim(tx: Transaction, tenant: str, owners: dict[Identifier, str]) -> set[Identifier]:
    return await tx.claim(tenant, owners)


async def test_pages_are_filled_with_one_tenants_rows_alone(store: Store) -> None:
    """Lists with a limit: rows of another tenant, on both sides of its own, take no place on a page."""

    async def fill_page(tx: Transaction) -> None:
        for tenant, ids in ((OTHER, ("a", "b", "c", "e")), (TENANT, ("b", "d"))):
            for number, customer_id in enumerate(ids):
                await tx.apply(tenant, Changes(facts=[fact(customer(customer_id), number + 1)]))
                await tx.apply(tenant, Changes(owners={customer(customer_id): customer_id}))
                await tx.apply(tenant, Changes(states={(customer(customer_id), SECTION): StoredState(b"", 1)}))
                await tx.apply(tenant, Changes(documents=by_key({customer_id: [head_document(head())]})))
                await tx.put_credential(credential(f"{customer_id} {tenant}", tenant, minted_by="minter"))

    await store.write(None, fill_page)
    lists: dict[str, Callable[[Reads, Any, int], Awaitable[list[Any]]]] = {
        "customers": lambda reads, after, limit: reads.customers(TENANT, after, limit),
        "derived_customers": lambda reads, after, limit: reads.derived_customers(TENANT, after, limit),
        "credentials": lambda reads, after, limit: reads.credentials(TENANT, after, limit),
        "descendants": lambda reads, after, limit: reads.descendants(TENANT, "minter", after, limit),
        "fact_identifiers": lambda reads, after, limit: reads.fact_identifiers(TENANT, _cursor(after), limit),
        "derived_identifiers": lambda reads, after, limit: reads.derived_identifiers(TENANT, _cursor(after), limit),
    }
    for name, page in lists.items():
        for after, limit, count in ((None, 2, 2), (None, 1, 1), ("c", 2, 1), ("e", 2, 0)):
            rows = await ask(store, partial(_page, page=page, after=after, limit=limit))
            assert len(rows) == count, f"{name} after {after}"
            assert all("other" not in repr(row) for row in rows)


async def _page(
    reads: Reads, page: Callable[[Reads, Any, int], Awaitable[list[Any]]], after: str | None, limit: int
) -> list[Any]:
    return await page(reads, after, limit)


def _cursor(after: str | None) -> Identifier | None:
    return None if after is None else customer(after)
