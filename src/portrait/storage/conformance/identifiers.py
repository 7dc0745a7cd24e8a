"""Cases of identifiers and whom they belong to."""

from portrait.model.identifier import Identifier, customer
from portrait.storage.conformance.support import NAMES, TENANT, ask
from portrait.storage.contract import Changes, Store, Transaction

EMAIL = Identifier("email", "e")
PHONE = Identifier("phone", "p")


async def test_identifiers_resolve_to_their_customers(store: Store) -> None:
    """`resolve`: the customer id of each identifier that has one; the unknown are absent."""
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={customer("c"): "c", EMAIL: "c", PHONE: "d"})))
    asked = [EMAIL, PHONE, Identifier("email", "p"), Identifier("phone", "e"), customer("x")]
    assert await ask(store, lambda reads: reads.resolve(TENANT, asked)) == {EMAIL: "c", PHONE: "d"}


async def test_identifiers_resolve_alike_where_their_customers_are_locked_next(store: Store) -> None:
    """`resolve_for_update`: what `resolve` returns, of one identifier or many, customer ids or not."""
    owners: dict[Identifier, str | None] = {customer("c"): "c", customer("d"): "d", EMAIL: "c"}
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners=owners)))
    ids = [customer(name) for name in "cdx"]
    for asked in (ids[:1], ids, [EMAIL], [EMAIL, customer("d"), PHONE], []):

        async def work(tx: Transaction, asked: list[Identifier] = asked) -> None:
            resolved = await tx.resolve_for_update(TENANT, asked)
            assert resolved == await tx.resolve(TENANT, asked)
            assert resolved == {identifier: owners[identifier] for identifier in asked if identifier in owners}

        await store.write(TENANT, work)


async def test_nothing_asked_resolves_to_nothing(store: Store) -> None:
    """`resolve`, `members`: an empty collection has an empty answer."""
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={EMAIL: "c"})))
    assert await ask(store, lambda reads: reads.resolve(TENANT, [])) == {}
    assert await ask(store, lambda reads: reads.members(TENANT, [])) == {}


async def test_an_identifier_that_moves_belongs_to_its_new_customer_alone(store: Store) -> None:
    """`apply`: sets the customer id, also where there was one."""
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={EMAIL: "c", PHONE: "c"})))
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={EMAIL: "d"})))
    assert await ask(store, lambda reads: reads.resolve(TENANT, [EMAIL, PHONE])) == {EMAIL: "d", PHONE: "c"}
    assert await ask(store, lambda reads: reads.members(TENANT, ["c", "d"])) == {"c": [PHONE], "d": [EMAIL]}


async def test_an_identifier_is_claimed_once(store: Store) -> None:
    """`claim`: sets the customer id of the identifiers that have none, and returns these."""
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={EMAIL: "c"})))
    assert await store.write(TENANT, lambda tx: tx.claim(TENANT, {EMAIL: "d", PHONE: "d"})) == {PHONE}
    assert await store.write(TENANT, lambda tx: tx.claim(TENANT, {EMAIL: "e", PHONE: "e"})) == set()
    assert await store.write(TENANT, lambda tx: tx.claim(TENANT, {})) == set()
    assert await ask(store, lambda reads: reads.resolve(TENANT, [EMAIL, PHONE])) == {EMAIL: "c", PHONE: "d"}
    many = {Identifier("email", f"e{number}"): "c" for number in range(100)}
    assert await store.write(TENANT, lambda tx: tx.claim(TENANT, {**many, EMAIL: "c"})) == many.keys()
    assert await store.write(TENANT, lambda tx: tx.claim("another", {EMAIL: "c"})) == {EMAIL}


async def test_identifiers_that_look_alike_are_different(store: Store) -> None:
    """Text compares by its bytes, in types and in values."""
    values = {Identifier("email", name): name for name in NAMES}
    types = {Identifier(name, "v"): name for name in NAMES}
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners=values | types)))
    assert await ask(store, lambda reads: reads.resolve(TENANT, list(values | types))) == values | types


async def test_members_are_ordered_by_bytes(store: Store) -> None:
    """`members`: ordered by type, then value; a customer without any is absent."""
    ordered = [Identifier(type_, value) for type_ in ("Z", "a", "\u00e9") for value in NAMES]
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners=dict.fromkeys(reversed(ordered), "c"))))
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={EMAIL: "C"})))
    members = await ask(store, lambda reads: reads.members(TENANT, ["c", "C", "nobody"]))
    assert members == {"c": ordered, "C": [EMAIL]}


async def test_dropped_identifiers_belong_to_nobody(store: Store) -> None:
    """`apply`: removes just those named; what is not there is no error."""
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={EMAIL: "c", PHONE: "c"})))
    await store.write(
        TENANT,
        lambda tx: tx.apply(TENANT, Changes(owners=dict.fromkeys([EMAIL, Identifier("email", "E"), customer("c")]))),
    )
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners=dict.fromkeys([]))))
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={})))
    assert await ask(store, lambda reads: reads.resolve(TENANT, [EMAIL, PHONE])) == {PHONE: "c"}
    assert await ask(store, lambda reads: reads.members(TENANT, ["c"])) == {"c": [PHONE]}
