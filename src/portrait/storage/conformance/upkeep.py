"""Cases of what rebuilding, checking and refreshing walk over."""

from collections.abc import Collection

from portrait.model.document import Document, document, head_document
from portrait.model.identifier import Identifier, customer
from portrait.storage.conformance.support import (
    MAX,
    MIN,
    NAMES,
    OTHER,
    SECTION,
    TENANT,
    append,
    ask,
    documents_of,
    fact,
    head,
    paged,
    put_documents,
)
from portrait.storage.contract import Changes, Store, StoredState

ORDERED = [Identifier(type_, value) for type_ in ("Z", "a", "a ", "\u00e9") for value in NAMES]
"""Identifiers in order: by type, then value."""


async def test_identifiers_that_have_facts_are_paged_in_order(store: Store) -> None:
    """`fact_identifiers`: up to `limit` above `after`, by type and value; each once, however many facts it has."""
    assert await ask(store, lambda reads: reads.fact_identifiers(TENANT, None, 10)) == []
    pairs = [(identifier, key) for identifier in reversed(ORDERED) for key in ("k", "l")]
    await append(store, *(fact(identifier, number, key=key) for number, (identifier, key) in enumerate(pairs)))
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={Identifier("b", "registered only"): "c"})))
    assert await ask(store, lambda reads: reads.fact_identifiers(TENANT, None, 1000)) == ORDERED
    for limit in (1, 7, len(ORDERED)):
        identifiers = await paged(
            lambda after, limit: store.fact_identifiers(TENANT, after, limit), lambda identifier: identifier, limit
        )
        assert identifiers == ORDERED
    cursor = Identifier("a", "aaa")
    assert await store.fact_identifiers(TENANT, cursor, 2) == [Identifier("a", "ab"), Identifier("a", "a\u0301")]


async def test_identifiers_without_facts_are_left_out(store: Store) -> None:
    """`with_facts`: the identifiers asked for that have facts, by their bytes, however many facts they have."""
    recorded, registered = customer("c"), Identifier("email", "e")
    await append(store, fact(recorded, 1), fact(recorded, 2), fact(recorded, 3, section="other"))
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners={registered: "c", recorded: "c"})))
    asked = [recorded, registered, customer("C"), customer("c "), Identifier("email", "c")]
    assert await ask(store, lambda reads: reads.with_facts(TENANT, asked)) == {recorded}
    assert await ask(store, lambda reads: reads.with_facts(TENANT, [])) == set()


async def test_customers_of_which_anything_is_derived_are_paged_in_order(store: Store) -> None:
    """`derived_customers`: the customers with any document, head or identifier; each once, by the bytes of the id."""
    assert await ask(store, lambda reads: reads.derived_customers(TENANT, None, 10)) == []
    by_document, by_head, by_identifier, by_all = NAMES[::4], NAMES[1::4], NAMES[2::4], NAMES[3::4]
    documents = [document("consent", b"[]", None, 1), document("segments", b"[]", None, 1)]
    for customer_id in (*by_document, *by_all):
        await put_documents(store, customer_id, *documents)
    for customer_id in (*by_head, *by_all):
        await put_documents(store, customer_id, head_document(head()))
    owners = {
        Identifier(type_, customer_id): customer_id
        for customer_id in (*by_identifier, *by_all)
        for type_ in ("customer_id", "email")
    }
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners=owners)))
    await append(store, fact(customer("told only"), 1))
    assert await ask(store, lambda reads: reads.derived_customers(TENANT, None, 1000)) == list(NAMES)
    for limit in (1, 4, len(NAMES)):
        customer_ids = await paged(
            lambda after, limit: store.derived_customers(TENANT, after, limit), lambda customer_id: customer_id, limit
        )
        assert customer_ids == list(NAMES)
    assert await store.derived_customers(TENANT, "aaa", 2) == ["ab", "a\u0301"]


async def test_identifiers_of_which_anything_is_derived_are_paged_in_order(store: Store) -> None:
    """`derived_identifiers`: the identifiers registered or with states; each once, by type and value."""
    assert await ask(store, lambda reads: reads.derived_identifiers(TENANT, None, 10)) == []
    registered, stated = [*ORDERED[::3], *ORDERED[1::3]], [*ORDERED[1::3], *ORDERED[2::3]]
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(owners=dict.fromkeys(registered, "c"))))
    states = {
        (identifier, section): StoredState(b"", 1) for identifier in stated for section in ("consent", "segments")
    }
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(states=states)))
    await append(store, fact(Identifier("a", "told only"), 1))
    assert await ask(store, lambda reads: reads.derived_identifiers(TENANT, None, 1000)) == ORDERED
    for limit in (1, 7, len(ORDERED)):
        identifiers = await paged(
            lambda after, limit: store.derived_identifiers(TENANT, after, limit), lambda identifier: identifier, limit
        )
        assert identifiers == ORDERED


async def _due(store: Store, sections: Collection[str], now: int, limit: int = 100) -> list[tuple[str, ...]]:
    return [tuple(row) for row in await ask(store, lambda reads: reads.due(sections, now, limit))]


async def test_due_documents_come_oldest_first_of_every_tenant(store: Store) -> None:
    """`due`: documents whose `valid_until` has come, that very moment included, by it; never documents without it."""
    moments = {"a": 5, "b": MIN, "c": 7, "d": None, "e": 6, "f": MAX, "g": 0}
    for number, (customer_id, moment) in enumerate(moments.items()):
        row = Document(SECTION, b"", b"", moment, 1)
        await put_documents(store, customer_id, row, tenant=(TENANT, OTHER)[number % 2])
    ordered = [(OTHER, "b"), (TENANT, "g"), (TENANT, "a"), (TENANT, "e"), (TENANT, "c"), (OTHER, "f")]
    expected = [(*pair, SECTION) for pair in ordered]
    for now, count in ((MIN, 1), (4, 2), (5, 3), (6, 4), (8, 5), (MAX, 6)):
        assert await _due(store, [SECTION], now) == expected[:count]
    assert await _due(store, [SECTION], MAX, limit=2) == expected[:2]


async def test_documents_are_due_of_the_sections_named_alone(store: Store) -> None:
    """`due`: only of the sections named, by the bytes of their names; and they fill the limit."""
    rows = [Document(name, b"", b"", moment, 1) for moment, name in enumerate(("A", "b", "a", "c"))]
    await put_documents(store, "c", *rows)
    for names, expected in ((["c"], ["c"]), (["c", "A"], ["A", "c"]), (["a", "C"], ["a"]), ([], [])):
        assert await _due(store, names, MAX, limit=2) == [(TENANT, "c", name) for name in expected]


async def test_a_document_rendered_anew_is_no_longer_due(store: Store) -> None:
    """`due`: follows what is stored now, whether it was replaced or dropped."""
    for customer_id in ("c", "d", "e"):
        await put_documents(store, customer_id, Document(SECTION, b"", b"", 5, 1))
    await put_documents(store, "c", Document(SECTION, b"", b"", None, 1))
    await put_documents(store, "d", Document(SECTION, b"", b"", 9, 1))
    await store.write(
        TENANT, lambda tx: tx.apply(TENANT, Changes(documents=dict.fromkeys(("e", name) for name in [SECTION])))
    )
    assert await _due(store, [SECTION], 8) == []
    assert await _due(store, [SECTION], 9) == [(TENANT, "d", SECTION)]


async def test_an_open_store_is_ready_and_sound(store: Store) -> None:
    """`ready`, `faults`: an open store answers, and finds nothing wrong with itself; asking changes nothing."""
    await store.ready()
    assert await store.faults() == []
    await append(store, fact(customer("c"), 1))
    await store.ready()
    assert await store.faults() == []
    assert await documents_of(store, "c") == []
