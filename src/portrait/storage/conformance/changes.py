"""Cases of what a transaction changes at once."""

from portrait.model.document import HEAD, document, head_document
from portrait.model.identifier import Identifier, customer
from portrait.storage.conformance.support import SECTION, TENANT, ask, documents_of, fact, head
from portrait.storage.contract import Changes, Reads, Store, StoredState, Transaction

C = customer("c")
EMAIL = Identifier("email", "e")
DOCUMENT = document(SECTION, b"[1]", None, 1)
STATE = StoredState(b"state", 1)


async def test_facts_owners_states_and_documents_are_applied_together(store: Store) -> None:
    """`apply`: sets all that has a row and removes all that has none, and leaves the rest."""
    first = Changes(
        [fact(C, 1), fact(EMAIL, 2)],
        {C: "c", EMAIL: "c"},
        {(C, SECTION): STATE, (EMAIL, SECTION): STATE},
        {("c", HEAD): head_document(head(1)), ("c", SECTION): DOCUMENT, ("d", SECTION): DOCUMENT},
    )
    await store.write(TENANT, lambda tx: tx.apply(TENANT, first))
    second = Changes(
        [fact(C, 3)],
        {EMAIL: None, C: "d"},
        {(EMAIL, SECTION): None, (C, "segments"): STATE},
        {("c", SECTION): None, ("d", SECTION): DOCUMENT._replace(body=b"[2]")},
    )
    await store.write(TENANT, lambda tx: tx.apply(TENANT, second))

    async def ids(reads: Reads) -> list[int]:
        return sorted(int.from_bytes(each.id, "big") for each in await reads.facts(TENANT, [C, EMAIL]))

    assert await ask(store, ids) == [1, 2, 3]
    assert await ask(store, lambda reads: reads.resolve(TENANT, [C, EMAIL])) == {C: "d"}
    states = await ask(store, lambda reads: reads.states_of(TENANT, [C, EMAIL]))
    assert states == {(C, SECTION): STATE, (C, "segments"): STATE}
    assert await documents_of(store, "c") == [head_document(head(1))]
    assert await documents_of(store, "d") == [DOCUMENT._replace(body=b"[2]")]


async def test_changes_are_seen_by_what_the_transaction_asks_next(store: Store) -> None:
    """`apply`: the transaction's own reads see it; applied again, the later counts."""

    async def work(tx: Transaction) -> None:
        await tx.apply(TENANT, Changes(facts=[fact(C, 1)], owners={C: "c"}))
        assert [each.id for each in await tx.facts(TENANT, [C])] == [fact(C, 1).id]
        await tx.apply(TENANT, Changes(owners={C: "d"}, states={(C, SECTION): STATE}))
        assert await tx.resolve(TENANT, [C]) == {C: "d"}
        assert await tx.states(TENANT, [(C, SECTION)]) == {(C, SECTION): STATE}

    await store.write(TENANT, work)


async def test_changes_of_nothing_change_nothing(store: Store) -> None:
    """`apply`: to change nothing, or to remove what is not there, is no error."""
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes()))
    nothing = Changes((), {EMAIL: None}, {(C, SECTION): None}, {("c", SECTION): None, ("c", HEAD): None})
    await store.write(TENANT, lambda tx: tx.apply(TENANT, nothing))
    assert await ask(store, lambda reads: reads.derived_customers(TENANT, None, 10)) == []
    assert await ask(store, lambda reads: reads.derived_identifiers(TENANT, None, 10)) == []
