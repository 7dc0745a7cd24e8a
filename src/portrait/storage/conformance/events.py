"""Cases of events: a page of what was put and not deleted, newest first."""

from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier, customer
from portrait.storage.conformance.support import MAX, MIN, SECTION, TENANT, append, ask, fact
from portrait.storage.contract import Cursor, Store

C = customer("c")
D = Identifier("email", "d")


async def _events(store: Store, *identifiers: Identifier, before: Cursor | None = None, limit: int = 100) -> list[Fact]:
    return await ask(store, lambda reads: reads.events(TENANT, identifiers, SECTION, before, limit))


async def test_events_come_newest_first(store: Store) -> None:
    """`events`: by (effective_at, id) from the newest, over all identifiers; ids compare as unsigned bytes."""
    events = [
        fact(C, 2, at=MAX, key="1"), fact(D, 9, at=5, key="2"), fact(C, 8, at=5, key="3"), fact(D, 7, at=5, key="4"),
        fact(C, 1, at=-5, key="5"), fact(C, 3, at=MIN, key="6"),
    ]  # fmt: skip
    high = Fact(C, SECTION, "0", Op.PUT, b"", MAX, 0, None, b"\x80" + bytes(15), 1)
    await append(store, *events[::2], *events[1::2], high)
    assert await _events(store, C, D) == [high, *events]
    assert await _events(store, D, C) == [high, *events]
    assert await _events(store, D) == [events[1], events[3]]


async def test_no_identifiers_have_no_events(store: Store) -> None:
    """`events`: an empty collection, and identifiers without facts, have no events."""
    await append(store, fact(C, 1))
    assert await _events(store) == []
    assert await _events(store, customer("C"), D) == []


async def test_events_are_of_one_section(store: Store) -> None:
    """`events`: facts of other sections are not among them."""
    await append(store, fact(C, 1, section="other"), fact(C, 2), fact(C, 3, section=SECTION.upper()))
    assert await _events(store, C) == [fact(C, 2)]


async def test_a_page_has_at_most_its_limit(store: Store) -> None:
    """`events`: up to `limit`, the newest of all identifiers together."""
    await append(
        store,
        *(fact(identifier, 10 * n + m, at=n, key=f"{n}") for n in range(5) for m, identifier in enumerate((C, D))),
    )
    assert [event.recorded_at for event in await _events(store, C, D, limit=3)] == [41, 40, 31]
    assert [event.recorded_at for event in await _events(store, C, limit=1)] == [40]


async def test_pages_give_every_event_once(store: Store) -> None:
    """`events`: `before` is the cursor where a page ended; the next page begins just below it, also within a moment."""
    events = [
        fact((C, D)[n % 2], n, at=at, key=f"{n}")
        for n, at in enumerate([MIN, MIN, -1, 0, 0, 0, 0, 0, 1, 2, 2, 3, MAX - 1, MAX, MAX])
    ]
    await append(store, *events)
    expected = sorted(events, key=lambda event: (event.effective_at, event.id), reverse=True)
    for limit in (1, 2, 4, len(events)):
        paged: list[Fact] = []
        before = None
        while page := await _events(store, C, D, before=before, limit=limit):
            assert len(page) == min(limit, len(events) - len(paged))
            paged += page
            before = Cursor(page[-1].effective_at, page[-1].id)
        assert paged == expected


async def test_a_page_may_begin_where_nothing_stands(store: Store) -> None:
    """`events`: `before` need not be the cursor of an event."""
    await append(store, fact(C, 1, at=1, key="1"), fact(C, 3, at=3, key="3"))
    assert await _events(store, C, before=Cursor(2, b"")) == [fact(C, 1, at=1, key="1")]
    assert await _events(store, C, before=Cursor(3, b"\xff" * 16)) == [
        fact(C, 3, at=3, key="3"), fact(C, 1, at=1, key="1"),
    ]  # fmt: skip
    assert await _events(store, C, before=Cursor(1, b"")) == []


async def test_a_delete_hides_every_put_of_its_key(store: Store) -> None:
    """`events`: no event whose key was deleted, whether recorded before, after or at the delete; and no delete."""
    for at in (0, 5, 9):
        await append(store, fact(C, at, at=at, key="ended", body=b"%d" % at))
    await append(store, fact(C, 20, at=5, key="ended", op=Op.DELETE, body=b""), fact(C, 21, at=4, key="kept"))
    assert await _events(store, C) == [fact(C, 21, at=4, key="kept")]


async def test_deleted_events_do_not_fill_a_page(store: Store) -> None:
    """`events`: a page passes over what was deleted and still has its limit."""
    await append(store, *(fact(C, n, at=n, key=f"{n}") for n in range(10)))
    await append(store, *(fact(C, 100 + n, at=50, key=f"{n}", op=Op.DELETE, body=b"") for n in (9, 8, 6)))
    assert [event.recorded_at for event in await _events(store, C, limit=3)] == [7, 5, 4]


async def test_a_delete_hides_the_events_of_its_identifier_section_and_key_alone(store: Store) -> None:
    """`events`: what another identifier put under the key stands, and so do other sections, tenants and keys."""
    await append(store, fact(C, 1), fact(D, 2), fact(C, 3, key="K"), fact(C, 4, key="k "))
    await append(store, fact(C, 5, section="other", key="K", op=Op.DELETE, body=b""))
    await append(store, fact(C, 6, key="k ", op=Op.DELETE, body=b""), tenant="another")
    await append(store, fact(C, 7, op=Op.DELETE, body=b""))
    assert [event.recorded_at for event in await _events(store, C, D)] == [4, 3, 2]
