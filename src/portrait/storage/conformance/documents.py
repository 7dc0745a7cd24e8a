"""Cases of documents and heads, and of the list of customers."""

from portrait.model.document import HEAD, Document, document, head_document, read_head
from portrait.model.identifier import Identifier, customer
from portrait.storage.conformance.support import (
    BINARY,
    MAX,
    MIN,
    NAMES,
    TENANT,
    ask,
    by_key,
    documents_of,
    head,
    paged,
    put_customers,
    put_documents,
)
from portrait.storage.contract import Changes, Store, Transaction

CONSENT = document("consent", b"[1]", None, 1)
SEGMENTS = document("segments", b"[2]", None, 1)
THE_HEAD = head_document(head())


async def test_an_unknown_customer_has_no_documents(store: Store) -> None:
    """`documents`: an unknown customer has no rows, whatever is asked for."""
    for sections in (None, [], ["segments"]):
        assert await documents_of(store, "nobody", sections) == []


async def test_documents_come_back_as_they_were_put(store: Store) -> None:
    """`apply`, `documents`: every byte and every 64-bit moment is kept."""
    put = [
        THE_HEAD,
        Document("binary", BINARY, BINARY, MAX, 2**31 - 1),
        Document("early", b"", b"", MIN, 0),
        Document("never", b"[]", b"\0", None, 1),
        Document("zero", b"[0]", b"0", 0, 1),
    ]
    await put_documents(store, "c", *put)
    assert await documents_of(store, "c") == put
    assert read_head((await documents_of(store, "c"))[0].body) == head()


async def test_selected_sections_come_with_the_head_and_nothing_else(store: Store) -> None:
    """`documents`: only the sections asked for are fetched, and the head."""
    await put_documents(store, "c", THE_HEAD, CONSENT, SEGMENTS)
    assert await documents_of(store, "c", ["segments"]) == [THE_HEAD, SEGMENTS]
    assert await documents_of(store, "c", ["segments", "consent"]) == [THE_HEAD, CONSENT, SEGMENTS]
    assert await documents_of(store, "c", ["segments", "never-stored"]) == [THE_HEAD, SEGMENTS]
    assert await documents_of(store, "c", []) == [THE_HEAD]
    assert await documents_of(store, "c", [HEAD]) == [THE_HEAD]


async def test_hashes_are_documents_without_bodies(store: Store) -> None:
    """`hashes`: the rows of `documents`, only the head's with its body."""
    await put_documents(store, "c", THE_HEAD, CONSENT, SEGMENTS)
    for sections in (None, [], ["segments"], ["consent", "never-stored"]):
        hashes = await ask(store, lambda reads, asked=sections: reads.hashes(TENANT, "c", asked))  # type: ignore[misc]
        wanted = [
            (document.section, document.body if document.section == HEAD else b"", *document[2:])
            for document in await documents_of(store, "c", sections)
        ]
        assert sorted(map(tuple, hashes)) == wanted
    assert list(await store.hashes(TENANT, "nobody", None)) == []


async def test_a_section_asked_for_twice_comes_once(store: Store) -> None:
    """`documents`: rows are a set, however often a section is named."""
    await put_documents(store, "c", THE_HEAD, SEGMENTS)
    assert await documents_of(store, "c", ["segments", "segments"]) == [THE_HEAD, SEGMENTS]


async def test_a_put_replaces_the_document_of_its_section_alone(store: Store) -> None:
    """`apply`: sets a document whole, and leaves the customer's others."""
    await put_documents(store, "c", THE_HEAD, Document("segments", b"old", b"old", 7, 9), CONSENT)
    await put_documents(store, "c", SEGMENTS)
    assert await documents_of(store, "c") == [THE_HEAD, CONSENT, SEGMENTS]


async def test_documents_of_several_customers_are_put_at_once(store: Store) -> None:
    """`apply`: takes many customers; a customer without documents, or no customer at all, changes nothing."""
    await store.write(
        TENANT, lambda tx: tx.apply(TENANT, Changes(documents=by_key({"c": [CONSENT], "d": [SEGMENTS], "e": []})))
    )
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(documents=by_key({}))))
    assert [await documents_of(store, customer_id) for customer_id in "cde"] == [[CONSENT], [SEGMENTS], []]


async def test_names_that_look_alike_are_different_customers(store: Store) -> None:
    """Text compares by its bytes: case, spaces and composition tell customers apart."""
    for name in NAMES:
        await put_documents(store, name, document("segments", name.encode(), None, 1))
    for name in NAMES:
        assert [document.body for document in await documents_of(store, name)] == [name.encode()]


async def test_section_names_compare_by_bytes(store: Store) -> None:
    """Text compares by its bytes: a section is asked for by its very name."""
    await put_documents(store, "c", *(document(name, name.encode(), None, 1) for name in NAMES))
    for name in NAMES:
        assert [document.body for document in await documents_of(store, "c", [name])] == [name.encode()]


async def test_drop_removes_the_sections_named_and_no_others(store: Store) -> None:
    """`apply`: removes just what is named; what is not there is no error."""
    await put_documents(store, "c", THE_HEAD, CONSENT, SEGMENTS)
    await put_documents(store, "d", SEGMENTS)
    await store.write(
        TENANT,
        lambda tx: tx.apply(
            TENANT, Changes(documents=dict.fromkeys(("c", name) for name in ["segments", "never-stored"]))
        ),
    )
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes()))
    await store.write(
        TENANT,
        lambda tx: tx.apply(TENANT, Changes(documents=dict.fromkeys(("nobody", name) for name in ["consent", HEAD]))),
    )
    assert await documents_of(store, "c") == [THE_HEAD, CONSENT]
    assert await documents_of(store, "d") == [SEGMENTS]


async def test_drop_of_the_head_makes_the_customer_unknown_to_lock(store: Store) -> None:
    """`apply`: `HEAD` removes the head, and leaves the sections."""
    await put_documents(store, "c", THE_HEAD, CONSENT)
    await store.write(
        TENANT, lambda tx: tx.apply(TENANT, Changes(documents=dict.fromkeys(("c", name) for name in [HEAD])))
    )
    assert await documents_of(store, "c") == [CONSENT]
    assert await store.write(TENANT, lambda tx: tx.lock(TENANT, ["c"])) == {"c": None}


async def test_customers_are_listed_by_the_bytes_of_their_ids(store: Store) -> None:
    """`customers`: by id, which compares by bytes."""
    await put_customers(store, *reversed(NAMES))
    assert await ask(store, lambda reads: reads.customers(TENANT, None, 100)) == [(name, head()) for name in NAMES]


async def test_customers_are_paged(store: Store) -> None:
    """`customers`: up to `limit`, above `after`, which need not exist; each once."""
    await put_customers(store, *NAMES)
    for limit in (1, 3, len(NAMES), len(NAMES) + 1):
        customers = await paged(lambda after, limit: store.customers(TENANT, after, limit), lambda row: row[0], limit)
        assert [customer_id for customer_id, _ in customers] == list(NAMES)
    between = [customer_id for customer_id, _ in await store.customers(TENANT, "aaa", 2)]
    assert between == ["ab", "a\u0301"]


async def test_a_merged_customer_is_not_listed_and_its_head_tells_where_it_went(store: Store) -> None:
    """`customers`: none that was merged away, and pages stay full; `documents` still gives its head."""
    await put_customers(store, "a", "b", "c", "d")

    async def merge(tx: Transaction) -> None:
        await tx.apply(TENANT, Changes(owners={customer("b"): "a", Identifier("email", "e"): "a"}))
        await tx.apply(TENANT, Changes(documents=by_key({"b": [head_document(head(2, merged_into="a"))]})))

    await store.write(TENANT, merge)
    listed = await ask(store, lambda reads: reads.customers(TENANT, None, 3))
    assert listed == [("a", head()), ("c", head()), ("d", head())]
    assert read_head((await documents_of(store, "b"))[0].body).merged_into == "a"
    assert await store.write(TENANT, lambda tx: tx.lock(TENANT, ["b"])) == {"b": head(2, merged_into="a")}


async def test_all_documents_of_several_customers_come_together(store: Store) -> None:
    """`all_documents`: heads and documents of the customers asked for; a customer without any is absent."""
    await put_documents(store, "c", THE_HEAD, CONSENT)
    await put_documents(store, "d", SEGMENTS)
    await put_documents(store, "e", SEGMENTS)
    documents = await ask(store, lambda reads: reads.all_documents(TENANT, ["c", "d", "C", "nobody"]))
    assert {customer_id: sorted(rows) for customer_id, rows in documents.items()} == {
        "c": [THE_HEAD, CONSENT],
        "d": [SEGMENTS],
    }
    assert await ask(store, lambda reads: reads.all_documents(TENANT, [])) == {}
