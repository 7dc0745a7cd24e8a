"""What the cases share: names, rows to store, and ways to ask."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from portrait.model.document import HEAD, Document, Head, document, head_document
from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier, customer
from portrait.storage.contract import Changes, Credential, Reads, Store, StoredState, TenantRow, Transaction

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

TENANT = "acme"
OTHER = "other"
SECTION = "interactions"
MIN, MAX = -(2**63), 2**63 - 1
"""The moments that 64 bits reach."""
BINARY = bytes(range(256))
"""A body with every byte: bodies are bytes, not text."""
NAMES = (
    " a", "%", "'; --", "-b", "10", "9", "A", "Z", "_", "a", "a ", "a-b", "aZ", "aa", "ab", "a\u0301", "b", "z",
    "\u00df", "\u00e1", "\u00e9", "\u017f", "\u0430", "\u4e2d", "\uff5e", "\U0001f600",
)  # fmt: skip
"""Names in the order of their UTF-8 bytes. A locale, a case-blind, padded or normalising comparison, or an order of
UTF-16 units, would swap or equate some."""


def fact(
    identifier: Identifier,
    number: int,
    *,
    at: int = 0,
    key: str = "k",
    op: Op = Op.PUT,
    section: str = SECTION,
    body: bytes = b"{}",
    source: str | None = None,
) -> Fact:
    """Return a fact whose id and moment of recording are a number."""
    return Fact(identifier, section, key, op, body, at, number, source, number.to_bytes(16, "big"), 1)


def head(number: int = 1, merged_into: str | None = None) -> Head:
    """Return a head that a number tells from others."""
    return Head(number.to_bytes(16, "big"), number, number + 1, merged_into)


def credential(
    id_: str, tenant: str | None = TENANT, *, secret: bytes = BINARY, minted_by: str | None = None
) -> Credential:
    """Return a credential that is neither expired nor revoked."""
    return Credential(id_, tenant, "viewer", "a name", secret, "abcd", 5, None, None, minted_by)


def tenant(id_: str, *, name: str = "a name", secret: bytes = BINARY) -> TenantRow:
    """Return a tenant."""
    return TenantRow(id_, name, 5, secret)


def by_key(documents: Mapping[str, Sequence[Document]]) -> dict[tuple[str, str], Document | None]:
    """Return documents of some customers by customer id and section."""
    return {(owner, document.section): document for owner, group in documents.items() for document in group}


async def append(store: Store, *facts: Fact, tenant: str = TENANT) -> None:
    """Store facts."""
    await store.write(TENANT, lambda tx: tx.apply(tenant, Changes(facts=facts)))


async def put_tenant(store: Store, row: TenantRow) -> bool:
    """Store a tenant; tell whether its id was free."""
    return await store.write(TENANT, lambda tx: tx.put_tenant(row))


async def put_credentials(store: Store, *credentials: Credential) -> None:
    """Store credentials."""
    for row in credentials:
        await _put_credential(store, row)


async def _put_credential(store: Store, row: Credential) -> None:
    await store.write(TENANT, lambda tx: tx.put_credential(row))


async def revoke(store: Store, owner: str | None, credential_id: str, at: int) -> bool:
    """Revoke a credential; tell whether that was done."""
    return bool(await store.write(TENANT, lambda tx: tx.revoke_credentials(owner, [credential_id], at)))


async def put_documents(store: Store, customer_id: str, *documents: Document, tenant: str = TENANT) -> None:
    """Store a customer's documents."""
    await store.write(TENANT, lambda tx: tx.apply(tenant, Changes(documents=by_key({customer_id: documents}))))


async def put_customers(store: Store, *customer_ids: str, tenant: str = TENANT) -> None:
    """Make customers known: each with its identifier and a head."""

    async def work(tx: Transaction) -> None:
        await tx.apply(tenant, Changes(owners={customer(customer_id): customer_id for customer_id in customer_ids}))
        await tx.apply(
            tenant, Changes(documents=by_key({customer_id: [head_document(head())] for customer_id in customer_ids}))
        )

    await store.write(TENANT, work)


async def ask(store: Store, question: Callable[[Reads], Awaitable[T]]) -> T:
    """Return the answer to a question, once the store, a snapshot and a transaction have given the same."""
    answer = await question(store)
    async with store.snapshot() as reads:
        assert await question(reads) == answer, "a snapshot answers otherwise than the store"
    assert await store.write(TENANT, question) == answer, "a transaction answers otherwise than the store"
    return answer


async def documents_of(
    store: Store, customer_id: str, sections: Sequence[str] | None = None, *, tenant: str = TENANT
) -> list[Document]:
    """Return a customer's documents in the order of their sections."""

    async def question(reads: Reads) -> list[Document]:
        return sorted(Document(*row) for row in await reads.documents(tenant, customer_id, sections))

    return await ask(store, question)


async def paged(page: Callable[[Any, int], Awaitable[list[T]]], cursor: Callable[[T], Any], limit: int) -> list[T]:
    """Return what all pages of a listing hold, each asked for with the cursor where the page before ended."""
    listed: list[T] = []
    after = None
    while rows := await page(after, limit):
        assert len(listed) % limit == 0, "a page before the last was not full"
        assert len(rows) <= limit
        assert len(listed) < 1000, "the pages do not end"
        listed += rows
        after = cursor(rows[-1])
    return listed


async def raised(kind: type[E], doing: Awaitable[object]) -> E:
    """Return the error that something raises.

    Raises:
        AssertionError: it raises none.
    """
    try:
        await doing
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


async def fill(tx: Transaction, tenant_id: str, mark: bytes) -> None:
    """Store a row of each kind under names that do not depend on the tenant; the mark tells whose they are."""
    number = int.from_bytes(mark, "big")
    own_id, other = customer("c"), Identifier("email", "e")
    await tx.put_tenant(tenant(tenant_id, name=mark.decode(), secret=mark))
    await tx.put_credential(credential(f"key of {tenant_id}", tenant_id, secret=mark, minted_by="one minter"))
    await tx.apply(
        tenant_id,
        Changes(
            facts=[
                fact(own_id, 1, body=mark, key="shown", at=number),
                fact(own_id, 2, body=mark, key="ended"),
                fact(own_id, 3, body=b"", key="ended", op=Op.DELETE, at=1),
                fact(other, 4, body=mark, section="segments"),
            ]
        ),
    )
    await tx.apply(tenant_id, Changes(owners={own_id: "c", other: "c"}))
    await tx.apply(
        tenant_id, Changes(states={(own_id, SECTION): StoredState(mark, 1), (other, "segments"): StoredState(mark, 2)})
    )
    await tx.apply(
        tenant_id, Changes(documents=by_key({"c": [head_document(head(number)), document(SECTION, mark, number, 1)]}))
    )


async def filled(store: Store, tenant_id: str, mark: bytes) -> None:
    """Do what `fill` does, in a transaction of its own."""
    await store.write(TENANT, lambda tx: fill(tx, tenant_id, mark))


async def clear(tx: Transaction, tenant_id: str) -> None:
    """Remove all that `fill` stores and that can be removed."""
    own_id, other = customer("c"), Identifier("email", "e")
    await tx.apply(tenant_id, Changes(documents=dict.fromkeys(("c", name) for name in [HEAD, SECTION])))
    await tx.apply(tenant_id, Changes(states=dict.fromkeys([(own_id, SECTION), (other, "segments")])))
    await tx.apply(tenant_id, Changes(owners=dict.fromkeys([own_id, other])))
    await tx.revoke_credentials(tenant_id, [f"key of {tenant_id}"], 9)


async def everything(reads: Reads, tenant_id: str) -> dict[str, Any]:
    """Return all that the reads tell of a tenant."""
    owners = await reads.derived_customers(tenant_id, None, 100)
    known = await reads.derived_identifiers(tenant_id, None, 100)
    recorded = await reads.fact_identifiers(tenant_id, None, 100)
    return {
        "tenant": await reads.tenant(tenant_id),
        "credentials": await reads.credentials(tenant_id, None, 100),
        "descendants": await reads.descendants(tenant_id, "one minter", None, 100),
        "customers": await reads.customers(tenant_id, None, 100),
        "documents": {
            customer_id: sorted(map(tuple, await reads.documents(tenant_id, customer_id, None)))
            for customer_id in owners
        },
        "owners": await reads.resolve(tenant_id, known),
        "members": await reads.members(tenant_id, owners),
        "states": await reads.states_of(tenant_id, known),
        "facts": {
            identifier: sorted(await reads.facts(tenant_id, [identifier]), key=lambda fact: fact.id)
            for identifier in recorded
        },
        "due": sorted(row for row in await reads.due([SECTION], MAX, 1000) if row[0] == tenant_id),
    }
