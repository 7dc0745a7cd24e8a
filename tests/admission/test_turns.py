"""Tenants have turns: a tenant with much waiting delays itself alone, and nothing is lost or doubled."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from portrait.serving.turns import Turns

TENANTS = st.sampled_from(["a", "b", "c", None])


@given(st.lists(st.one_of(TENANTS.map(lambda tenant: ("add", tenant)), st.just(("take", None))), max_size=200))
def test_an_item_waits_for_one_item_at_most_of_each_other_tenant_between_two_of_its_own(steps):
    turns, number = Turns(1000), 0
    waiting, passed = {}, {}
    for what, tenant in steps:
        if what == "add":
            number += 1
            turns.add(tenant, (tenant, number))
            waiting.setdefault(tenant, []).append(number)
            passed.setdefault(tenant, Counter())
        elif (item := turns.take()) is not None:
            taken, own = item
            assert waiting[taken].pop(0) == own, "a tenant's items go in the order in which they came"
            passed[taken] = Counter()
            for other, queue in waiting.items():
                if queue and other != taken:
                    passed[other][taken] += 1
                    assert passed[other][taken] <= 1, "a tenant had two turns while another waited for one"
                elif not queue:
                    passed[other] = Counter()
    assert turns.size == sum(map(len, waiting.values()))


@given(st.lists(st.tuples(st.sampled_from(["add", "take", "newest", "remove"]), TENANTS), max_size=200))
def test_nothing_is_lost_or_doubled_and_who_has_nothing_waiting_is_forgotten(steps):
    turns, queues, number = Turns(10), {}, 0
    for what, tenant in steps:
        mine = queues.setdefault(tenant, [])
        if what == "add":
            number += 1
            turns.add(tenant, number)
            mine.append(number)
            longest = turns.longest
            assert len(queues[longest]) == max(map(len, queues.values()))
        elif what == "take":
            item = turns.take()
            owner = next((tenant for tenant, items in queues.items() if item in items), None)
            assert (item is None) == (not any(queues.values()))
            if item is not None:
                assert queues[owner].pop(0) == item
        elif what == "newest" and mine:
            assert turns.take_of(tenant, newest=True) == mine.pop()
        elif what == "remove" and mine:
            assert turns.remove(tenant, mine[len(mine) // 2])
            gone = mine.pop(len(mine) // 2)
            assert not turns.remove(tenant, gone)
        assert turns.size == sum(map(len, queues.values()))
        assert turns.is_too_long == (turns.size > 10)
        assert set(turns.tenants) == {tenant for tenant, items in queues.items() if items}
        assert dict(turns.oldest()) == {tenant: items[0] for tenant, items in queues.items() if items}
        assert [turns.first(tenant) for tenant in queues] == [items[0] if items else None for items in queues.values()]
        assert [turns.count(tenant) for tenant in queues] == list(map(len, queues.values()))


@given(st.sets(TENANTS))
def test_the_newest_item_of_some_tenants_is_taken(newest_of):
    turns = Turns(100)
    for number in range(3):
        for tenant in ("a", "b", "c", None):
            turns.add(tenant, (tenant, number))
    first = [turns.take(newest_of) for _ in range(4)]
    assert first == [(tenant, 2 if tenant in newest_of else 0) for tenant in ("a", "b", "c", None)]
