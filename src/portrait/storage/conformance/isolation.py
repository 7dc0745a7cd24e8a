"""Cases of tenants: nothing of one is read, written or locked for another."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from portrait.model.fact import Op
from portrait.model.identifier import Identifier, customer
from portrait.storage.conformance.support import (
    MAX,
    MIN,
    OTHER,
    SECTION,
    TENANT,
    append,
    ask,
    clear,
    everything,
    fact,
    filled,
)
from portrait.storage.contract import Asked, Place, Reads, Store, Transaction

C = customer("c")
E = Identifier("email", "e")

AROUND = (OTHER, TENANT.upper(), TENANT + " ", TENANT[:-1], "")
"""Tenants on both sides of `TENANT` in every order, and such as look like it."""

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
    "events below a place": lambda reads, tenant: reads.events(tenant, [C], SECTION, Place(MAX, b"\xff" * 16), 10),
    "history": lambda reads, tenant: reads.history(tenant, [C], SECTION, "ended", None, 9),
    "known": lambda reads, tenant: reads.known(tenant, [Asked(C, SECTION, "ended", one) for one in (None, 0)]),
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
    assert all("theirs" in repr(one) and "ours" not in repr(one) for one in theirs.values())
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
    assert [one.revoked_at for one in ours["credentials"]] == [9]


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
            await tx.append(owner, [fact(C, 1, at=number)])

    await store.write(TENANT, work)
    for number, owner in ((MIN, TENANT), (MAX, OTHER)):
        assert await _answer(store, READS["facts"], owner) == [fact(C, 1, at=number)]
