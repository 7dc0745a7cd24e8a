"""Rules for collecting; and refused events, kept as they were sent, found by person and reason, gone when removed."""

from portrait.model.identifier import Identifier, customer
from portrait.storage.conformance.support import BINARY, MAX, OTHER, TENANT, ask, put_tenant, tenant
from portrait.storage.contract import RefusedEvent, RejectCount, Store

ANN, BOB = customer("ann"), Identifier("email", "bob@example.org")


def reject(number: int, *identifiers: Identifier, source: str = "web", code: str = "invalid") -> RefusedEvent:
    """Return a refused event that a number tells from others, and that was received at that moment."""
    id_ = number.to_bytes(16, "big")
    return RefusedEvent(id_, source, "segment", code, "A detail.", number, identifiers, b'{"n":%d}' % number)


async def keep(store: Store, *rejects: RefusedEvent, whose: str = TENANT) -> None:
    """Keep refused events."""
    await store.write(whose, lambda tx: tx.put_rejects(whose, rejects))


async def test_rules_for_collecting_are_one_tenants_and_may_be_taken_back(store: Store) -> None:
    """`set_collecting_rules`, `collecting_rules`: each byte is kept, of one tenant alone; None where there are none."""
    for name in (TENANT, OTHER):
        await put_tenant(store, tenant(name))
    assert await ask(store, lambda reads: reads.collecting_rules(TENANT)) is None
    await store.write(TENANT, lambda tx: tx.set_collecting_rules(TENANT, BINARY))
    assert await ask(store, lambda reads: reads.collecting_rules(TENANT)) == BINARY
    assert await store.collecting_rules(OTHER) is await store.collecting_rules("unknown") is None
    assert await store.tenant(TENANT) == tenant(TENANT)
    await store.write(TENANT, lambda tx: tx.set_collecting_rules(TENANT, None))
    assert await store.collecting_rules(TENANT) is None


async def test_refused_events_come_back_as_they_were_kept(store: Store) -> None:
    """`put_rejects`, `rejects`: every field and byte is kept, and no identifiers too."""
    names = (Identifier("email", "\u00e9\U0001f600"), ANN)
    whole = RefusedEvent(b"\xff" * 16, "public:web", "segment", "c", "d \u00e9\U0001f600", MAX, names, BINARY)
    await keep(store, reject(1), whole)
    await keep(store, reject(1, code="later"), reject(1, ANN))  # the first stays
    assert await ask(store, lambda reads: reads.rejects(TENANT, None, 10)) == [reject(1), whole]
    assert await store.rejects(TENANT, None, 10, identifier=ANN) == [whole]


async def test_refused_events_are_found_by_source_reason_and_identifier(store: Store) -> None:
    """`rejects`: in order of ids above `after`, up to `limit`, and only those that fit all that is given."""
    kept = [reject(1, ANN), reject(2, ANN, BOB, source="app"), reject(3, BOB, code="blocked"), reject(4)]
    await keep(store, *kept)
    for asked, found in (
        ({}, [1, 2, 3, 4]), ({"source": "web"}, [1, 3, 4]), ({"code": "blocked"}, [3]), ({"identifier": ANN}, [1, 2]),
        ({"identifier": BOB, "source": "app"}, [2]), ({"identifier": BOB, "code": "none"}, []),
        ({"identifier": Identifier("email", "ann")}, []), ({"source": ""}, []),
    ):  # fmt: skip
        rows = await store.rejects(TENANT, None, 10, **asked)
        assert [row.received_at for row in rows] == found
    assert [row.received_at for row in await store.rejects(TENANT, kept[0].id, 2)] == [2, 3]


async def test_refused_events_are_one_tenants(store: Store) -> None:
    """No tenant sees, counts or removes another's, whatever their ids."""
    await keep(store, reject(1, ANN))
    await keep(store, reject(1, ANN, source="theirs"), whose=OTHER)
    assert await store.rejects(TENANT, None, 10, identifier=ANN) == [reject(1, ANN)]
    assert await store.count_rejects(TENANT) == [RejectCount("web", "invalid", 1, 7)]
    assert await store.write(OTHER, lambda tx: tx.remove_rejects(OTHER, [reject(1).id])) == 1
    assert await store.rejects(TENANT, None, 10, identifier=ANN) == [reject(1, ANN)]
    assert await store.rejects(OTHER, None, 10) == []


async def test_a_person_named_by_another_tenants_refused_event_is_named_by_none_of_this_one(store: Store) -> None:
    """`rejects`: an event with the id that another tenant's has names whom it names itself."""
    await keep(store, reject(1))
    await keep(store, reject(1, ANN), reject(2, ANN), whose=OTHER)
    assert await store.rejects(TENANT, None, 10, identifier=ANN) == []
    assert await store.rejects(TENANT, None, 10) == [reject(1)]


async def test_refused_events_are_counted_by_source_and_reason(store: Store) -> None:
    """`count_rejects`: how many, and how many bytes, in order of source and reason."""
    await keep(store, reject(1), reject(10), reject(2, code="blocked"), reject(3, source="app"))
    assert await ask(store, lambda reads: reads.count_rejects(TENANT)) == [
        RejectCount("app", "invalid", 1, 7), RejectCount("web", "blocked", 1, 7), RejectCount("web", "invalid", 2, 15),
    ]  # fmt: skip


async def test_refused_events_are_removed_once_and_by_age(store: Store) -> None:
    """`remove_rejects`, `remove_rejects_before`: what is gone is not found; the oldest of all go first."""
    await keep(store, *(reject(number, ANN, BOB) for number in range(1, 6)))
    await keep(store, reject(3, ANN), whose=OTHER)
    ids = [reject(2).id, reject(9).id]
    assert [await store.write(TENANT, lambda tx: tx.remove_rejects(TENANT, ids)) for _ in range(2)] == [1, 0]
    assert await store.write(None, lambda tx: tx.remove_rejects_before(4, 2)) == 2
    assert await store.write(None, lambda tx: tx.remove_rejects_before(4, 9)) == 1
    assert await store.write(None, lambda tx: tx.remove_rejects_before(4, 9)) == 0
    assert await store.rejects(OTHER, None, 10) == []
    assert [row.received_at for row in await store.rejects(TENANT, None, 10, identifier=BOB)] == [4, 5]
    await keep(store, reject(3, ANN))  # its place is free again
    assert [row.received_at for row in await store.rejects(TENANT, None, 10, identifier=ANN)] == [3, 4, 5]
