"""Cases of the facts: appending, reading all, reading by key."""

from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier, customer
from portrait.storage.conformance.support import BINARY, MAX, MIN, NAMES, SECTION, TENANT, append, ask, fact
from portrait.storage.contract import Cursor, FactsAsked, Reads, Store

C = customer("c")
D = customer("d")


async def _facts(store: Store, identifier: Identifier) -> list[Fact]:
    return await ask(store, lambda reads: reads.facts(TENANT, [identifier]))


async def _history(
    store: Store, key: str, *identifiers: Identifier, before: Cursor | None = None, limit: int = 100
) -> list[Fact]:
    return await ask(store, lambda reads: reads.history(TENANT, identifiers, SECTION, key, before, limit))


async def test_facts_come_back_as_they_were_appended(store: Store) -> None:
    """`apply`, `facts`: every field, every byte and every 64-bit moment is kept."""
    facts = [
        Fact(C, SECTION, "k", Op.PUT, BINARY, MIN, MIN, None, b"\0" * 16, 0),
        Fact(C, SECTION, "k", Op.PUT, b"", 0, -1, "", b"\x7f" * 16, 1),
        Fact(C, SECTION, "k\u00e9\U0001f600", Op.PUT, b"{}", MAX, MAX, "CRM \u00e9'", b"\xff" * 16, 2**31 - 1),
    ]
    await append(store, *reversed(facts))
    assert await _facts(store, C) == facts


async def test_nothing_appended_is_nothing_told(store: Store) -> None:
    """`apply`, `facts`: appending no facts changes nothing, and an unknown identifier has no facts."""
    await append(store)
    assert await _facts(store, C) == []


async def test_facts_are_only_added_to(store: Store) -> None:
    """`apply`: facts of one key and moment stand beside each other, however often they are recorded."""
    for number in range(3):
        await append(store, fact(C, number))
    assert [fact.recorded_at for fact in await _facts(store, C)] == [0, 1, 2]


async def test_facts_come_deletes_first_then_oldest_first(store: Store) -> None:
    """`facts`: deletes first within each section, then by (effective_at, id); ids compare as unsigned bytes."""
    facts = [
        fact(C, number, at=at, op=op, section=section, key=f"{at}")
        for section in ("consent", "segments")
        for number, (at, op) in enumerate(
            [(MAX, Op.DELETE), (-5, Op.PUT), (3, Op.DELETE), (3, Op.PUT), (3, Op.PUT), (MIN, Op.PUT)]
        )
    ]
    high = Fact(C, "segments", "k", Op.PUT, b"", 3, 0, None, b"\x80" + bytes(15), 1)
    await append(store, high, *reversed(facts))
    answer = await _facts(store, C)
    for section in ("consent", "segments"):
        expected = [fact for fact in (*facts, high) if fact.section == section]
        expected.sort(key=lambda fact: (fact.op is Op.PUT, fact.effective_at, fact.id))
        assert [fact for fact in answer if fact.section == section] == expected


async def test_facts_are_of_one_identifier(store: Store) -> None:
    """`facts`: of an identifier's own type and value, compared by bytes."""
    identifiers = [customer(name) for name in NAMES] + [Identifier(name, "c") for name in NAMES]
    await append(store, *(fact(identifier, number) for number, identifier in enumerate(identifiers)))
    for number, identifier in enumerate(identifiers):
        assert await _facts(store, identifier) == [fact(identifier, number)]


async def test_history_is_every_fact_of_a_key_newest_first(store: Store) -> None:
    """`history`: puts and deletes, over all identifiers asked for, by (effective_at, id) from the newest."""
    facts = [
        fact(C, 3, at=5), fact(D, 2, at=5), fact(C, 5, at=4, op=Op.DELETE, body=b""), fact(D, 4, at=4),
        fact(C, 1, at=MIN),
    ]  # fmt: skip
    beside = [fact(C, 6, key="K"), fact(C, 7, key="k "), fact(C, 8, section="segments"), fact(customer("e"), 9)]
    await append(store, *beside, *reversed(facts))
    assert await _history(store, "k", C, D) == facts
    assert await _history(store, "k", D) == [facts[1], facts[3]]


async def test_history_comes_in_pages_that_give_every_fact_once(store: Store) -> None:
    """`history`: at most `limit`, below `before`, the cursor where a page ended; also within a moment."""
    moments = [MIN, MIN, -1, 0, 0, 0, 0, 0, 1, 2, 2, 3, MAX - 1, MAX, MAX]
    facts = [
        fact((C, D)[n % 2], n, at=at, op=Op.DELETE if n % 3 == 0 else Op.PUT, body=b"") for n, at in enumerate(moments)
    ]
    await append(store, *facts, *(fact(C, 100 + n, at=at, key="K") for n, at in enumerate(moments)))
    for identifiers in ((C, D), (D, C), (C,)):
        expected = [fact for fact in facts if fact.identifier in identifiers]
        expected.sort(key=lambda fact: (fact.effective_at, fact.id), reverse=True)
        for limit in (1, 2, 4, len(facts)):
            paged: list[Fact] = []
            before = None
            while page := await _history(store, "k", *identifiers, before=before, limit=limit):
                assert len(page) == min(limit, len(expected) - len(paged))
                paged += page
                before = Cursor(page[-1].effective_at, page[-1].id)
            assert paged == expected
    assert await _history(store, "k", C, D, before=Cursor(MIN, b"")) == []


async def test_history_of_nothing_is_empty(store: Store) -> None:
    """`history`: no identifiers, or a key that nobody used, have no facts."""
    await append(store, fact(C, 1))
    assert await _history(store, "k") == []
    assert await _history(store, "unused", C) == []


async def test_history_tells_keys_apart_by_bytes(store: Store) -> None:
    """Text compares by its bytes: each key has its own history."""
    await append(store, *(fact(C, number, key=name) for number, name in enumerate(NAMES)))
    for number, name in enumerate(NAMES):
        assert await _history(store, name, C) == [fact(C, number, key=name)]


async def _known(store: Store, wanted: list[tuple[str, int | None]]) -> dict[tuple[str, int | None], list[Fact]]:
    async def question(reads: Reads) -> dict[tuple[str, int | None], list[Fact]]:
        answers = await reads.known(TENANT, [FactsAsked(C, SECTION, *pair) for pair in wanted])
        return {(asked.key, asked.moment): sorted(facts, key=lambda fact: fact.id) for asked, facts in answers.items()}

    return await ask(store, question)


async def test_known_gives_the_facts_of_a_key_at_a_moment_or_at_any(store: Store) -> None:
    """`known`: facts effective at just that moment; for None all of the key's; what has none has no entry."""
    first, again = fact(C, 1, at=7), fact(C, 2, at=7, op=Op.DELETE, body=b"")
    early, late = fact(C, 3, at=MIN), fact(C, 4, at=MAX)
    other = fact(C, 5, at=7, key="K")
    await append(store, first, again, early, late, other)
    wanted = [("k", 7), ("k", None), ("k", MIN), ("k", MAX), ("k", 8), ("K", 8), ("K", None), ("unused", None)]
    assert await _known(store, wanted) == {
        ("k", 7): [first, again],
        ("k", None): [first, again, early, late],
        ("k", MIN): [early],
        ("k", MAX): [late],
        ("K", None): [other],
    }


async def test_known_is_of_one_identifier_and_section(store: Store) -> None:
    """`known`: what others say, or the same identifier in another section, is not known here."""
    await append(store, fact(D, 1), fact(Identifier("email", "c"), 2), fact(C, 3, section="segments"))
    assert await _known(store, [("k", None), ("k", 0)]) == {}
    assert await _known(store, []) == {}


async def test_known_answers_for_many_identifiers_at_once(store: Store) -> None:
    """`known`: each question is answered apart, whichever identifier, section or moment it names."""
    mine, theirs, elsewhere = fact(C, 1, at=7), fact(D, 2, at=7), fact(C, 3, at=7, section="segments")
    await append(store, mine, theirs, elsewhere)
    questions = [
        FactsAsked(C, SECTION, "k", None),
        FactsAsked(C, SECTION, "k", 7),
        FactsAsked(D, SECTION, "k", 7),
        FactsAsked(C, "segments", "k", None),
        FactsAsked(D, "segments", "k", None),
    ]
    answers = await ask(store, lambda reads: reads.known(TENANT, questions))
    assert answers == dict(zip(questions, ([mine], [mine], [theirs], [elsewhere]), strict=False))


async def test_facts_are_of_all_identifiers_asked_for(store: Store) -> None:
    """`facts`: of several identifiers together, of each in its own order; of none, none."""
    facts = [fact(C, 1, at=2), fact(C, 2, at=1), fact(D, 3, at=0)]
    await append(store, *facts, fact(Identifier("email", "c"), 4))
    answer = await ask(store, lambda reads: reads.facts(TENANT, [D, C]))
    assert [fact for fact in answer if fact.identifier == C] == [facts[1], facts[0]]
    assert [fact for fact in answer if fact.identifier == D] == [facts[2]]
    assert len(answer) == 3
    assert await ask(store, lambda reads: reads.facts(TENANT, [])) == []
