"""Requests that come while a transaction runs share the next: fewer waits for the disk, and each its own answer."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import interaction, service
from portrait import projection
from portrait.model.errors import Overloaded, StorageBusy
from portrait.writes import recording
from portrait.writes.group_commit import WORTH, Together


@pytest.fixture(autouse=True, scope="module")
def unhurried():
    """No work counts as a long one because the machine is busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("portrait.writes.group_commit.LONG", 600)
        yield


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), max_size=60), st.integers(1, 7))
def test_each_item_gets_its_own_answer_and_no_work_is_larger_than_allowed(items, most):
    works = []

    async def run(key, taken):
        works.append((key, len(taken)))
        await asyncio.sleep(0)
        return [ValueError(f"{key}{number}") if number == 9 else (key, number) for number in taken]

    async def scenario():
        together = Together(run, most)
        answers = await asyncio.gather(*(together.do(*item) for item in items), return_exceptions=True)
        for (key, number), answer in zip(items, answers, strict=True):
            if number == 9:
                assert isinstance(answer, ValueError)
                assert str(answer) == f"{key}9"
            else:
                assert answer == (key, number)

    asyncio.run(scenario())
    assert all(size <= most for _, size in works)
    assert Counter({key: sum(size for other, size in works if other == key) for key, _ in works}) == Counter(
        key for key, _ in items
    )


class Gated:
    """Works that wait until they are let go."""

    def __init__(self):
        self.begun = []
        self.gates = []
        self.together = Together(self.run, 100)
        self.tasks = []

    async def run(self, key, taken):
        self.begun.append(taken)
        self.gates.append(asyncio.Event())
        await self.gates[len(self.begun) - 1].wait()
        return taken

    async def come(self, *items, key="a"):
        self.tasks += [asyncio.create_task(self.together.do(key, item)) for item in items]
        await asyncio.sleep(0.01)

    async def let_go(self, index):
        self.gates[index].set()
        await asyncio.sleep(0.01)

    async def end(self):
        while not all(task.done() for task in self.tasks):
            for gate in self.gates:
                gate.set()
            await asyncio.sleep(0)


async def test_few_items_that_come_during_a_work_wait_and_share_the_next():
    works = Gated()
    await works.come(1)
    await works.come(2, 3, 4)
    await works.come(5, key="b")
    assert works.begun == [[1], [5]]
    await works.let_go(0)
    assert works.begun == [[1], [5], [2, 3, 4]]
    await works.end()
    assert [await task for task in works.tasks] == [1, 2, 3, 4, 5]


async def test_many_items_that_come_during_a_work_start_a_second_and_a_third_waits():
    works = Gated()
    await works.come("first")
    await works.come(*range(WORTH - 1))
    assert len(works.begun) == 1
    await works.come(WORTH)
    await works.come(*range(WORTH, 4 * WORTH))
    assert [len(taken) for taken in works.begun] == [1, WORTH]
    await works.let_go(0)
    assert [len(taken) for taken in works.begun] == [1, WORTH, 2 * WORTH]
    await works.end()


async def test_beside_a_large_work_only_an_equally_large_one_begins():
    works = Gated()
    await works.come(*range(4 * WORTH))
    await works.let_go(0)
    assert len(works.begun) == 2
    await works.come(*range(2 * WORTH - 1))
    assert len(works.begun) == 2
    await works.come(0)
    assert [len(taken) for taken in works.begun] == [2 * WORTH] * 3
    await works.end()


async def test_items_of_one_turn_of_the_loop_go_together_in_two_halves():
    works = Gated()
    for number in range(4 * WORTH):
        works.tasks.append(asyncio.create_task(works.together.do("a", number)))
        await asyncio.sleep(0)
    await works.come()
    assert works.begun == [[*range(2 * WORTH)], [*range(2 * WORTH, 4 * WORTH)]]
    await works.end()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=80), st.integers(1, 20))
def test_a_key_has_two_works_at_most_and_is_forgotten_after_them(items, most):
    under_way = Counter()

    async def run(key, taken):
        under_way[key] += 1
        assert under_way[key] <= 2
        for _ in range(taken[0]):
            await asyncio.sleep(0)
        under_way[key] -= 1
        return taken

    async def scenario():
        together = Together(run, most)
        tasks = []
        for key, turns in items:
            tasks.append(asyncio.create_task(together.do(key, turns)))
            if turns == 3:
                await asyncio.sleep(0)
        assert await asyncio.gather(*tasks) == [turns for _, turns in items]
        for _ in range(3):
            await asyncio.sleep(0)
        assert not together._waiting
        assert not together._under_way

    asyncio.run(scenario())


async def test_an_error_of_a_work_reaches_all_its_items_and_the_next_work_goes_on():
    async def run(key, taken):
        await asyncio.sleep(0)
        if 1 in taken:
            raise OSError("disk")
        return taken

    together = Together(run, 2)
    answers = await asyncio.gather(*(together.do("a", number) for number in (0, 1, 2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError, OSError, int]
    assert await together.do("a", 7) == 7


async def test_group_commit_failure_rejects_items_queued_half_as_long(monkeypatch):
    monkeypatch.setattr("portrait.writes.group_commit.LONG", 0.01)
    let_go = asyncio.Event()

    async def run(key, taken):
        await let_go.wait()
        if "bad" in taken:
            raise OSError("locked")
        return taken

    together = Together(run, 1)
    bad = [asyncio.create_task(together.do("a", "bad")) for _ in range(2)]
    await asyncio.sleep(0.05)
    early = asyncio.create_task(together.do("a", "early"))
    await asyncio.sleep(0.4)
    late = asyncio.create_task(together.do("a", "late"))
    await asyncio.sleep(0)
    let_go.set()
    answers = await asyncio.gather(*bad, early, late, return_exceptions=True)
    assert [answer if isinstance(answer, str) else type(answer) for answer in answers] == [
        OSError,
        OSError,
        OSError,
        "late",
    ]


async def test_a_long_work_keeps_no_other_waiting(monkeypatch):
    monkeypatch.setattr("portrait.writes.group_commit.LONG", 0.01)
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def run(key, taken):
        if "slow" in taken:
            begun.set()
            await let_go.wait()
        return taken

    together = Together(run, 100)
    slow = asyncio.create_task(together.do("a", "slow"))
    await asyncio.wait_for(begun.wait(), 10)
    assert await asyncio.wait_for(together.do("a", "other"), 10) == "other"
    let_go.set()
    assert await slow == "slow"


async def test_an_item_whose_caller_stops_waiting_is_given_up_and_takes_nobody_along():
    done = []

    async def run(key, taken):
        await asyncio.sleep(0.01)
        done.extend(taken)
        return taken

    together = Together(run, 100)
    tasks = [asyncio.create_task(together.do("a", number)) for number in range(6)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[4].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[1:4] + answers[5:] == [1, 2, 3, 5]
    assert done == [1, 2, 3, 5]


async def test_a_key_has_so_many_items_waiting_at_most_and_others_have_theirs():
    works = Gated()
    works.together = Together(works.run, 100, most_waiting=3)
    await works.come("first")
    await works.come(*range(5))
    await works.come("b's own", key="b")
    assert [type(task.exception()) for task in works.tasks if task.done()] == [Overloaded] * 2
    await works.end()
    results = await asyncio.gather(*works.tasks, return_exceptions=True)
    assert [result for result in results if not isinstance(result, Overloaded)] == ["first", 0, 1, 2, "b's own"]


async def test_an_item_whose_work_does_not_begin_in_time_is_refused(monkeypatch):
    monkeypatch.setattr("portrait.writes.group_commit.LONG", 0.01)
    let_go, begun = asyncio.Event(), []

    async def run(key, taken):
        begun.extend(taken)
        await let_go.wait()
        return taken

    together = Together(run, 1, patience=0.05)
    tasks = [asyncio.create_task(together.do("a", number)) for number in range(4)]
    with pytest.raises(StorageBusy):
        await asyncio.wait_for(tasks[3], 10)
    assert begun == [0, 1]
    let_go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[:2] == [0, 1]
    assert begun == [0, 1]


async def test_requests_that_come_together_share_transactions_and_answer_each_for_itself(tmp_path):
    async with service(tmp_path) as running:
        written = 0
        store = running.services.store
        write = store.write

        async def counted(tenant, work):
            nonlocal written
            written += 1
            return await write(tenant, work)

        store.write = counted
        await running.recorded("interactions", interaction(1))
        wrong = {**interaction(1), "interactionType": "other"}
        sent = [interaction(number) for number in range(2, 22)] + [wrong, interaction(1), {"id": ""}]
        answers = await asyncio.gather(*(running.record("interactions", record) for record in sent))
        assert [answer.status_code for answer in answers] == [201] * 20 + [409, 201, 422]
        assert [answer.json()["recorded"] for answer in answers[:20]] == [1] * 20
        assert (answers[21].json()["recorded"], answers[21].json()["duplicates"]) == (0, 1)
        assert answers[20].json()["detail"].startswith("An event with this key was recorded")
        assert written < 10
        assert len((await running.listed("interactions", limit=100))["data"]) == 21
        await running.checked()


async def test_a_plugin_that_fails_at_one_record_leaves_the_others_of_its_group_alone(tmp_path, monkeypatch):
    render = projection.render

    def fragile(section, states, now):
        document = render(section, states, now)
        if b"fatal" in document.body:
            raise ZeroDivisionError
        return document

    monkeypatch.setattr(projection, "render", fragile)
    async with service(tmp_path) as running:
        sent = [
            (f"c{number}", {**interaction(number), "offerId": "fatal" if number == 5 else "o"}) for number in range(12)
        ]
        answers = await asyncio.gather(*(running.record("interactions", record, name) for name, record in sent))
        assert [answer.status_code for answer in answers] == [500 if number == 5 else 201 for number in range(12)]
        monkeypatch.undo()
        await running.checked()
        assert (await running.profile("c5")).status_code == 404


async def test_no_more_single_records_share_a_transaction_than_may(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "MAX_GROUP", 3)
    sizes = []
    usual = recording.Recorder._group

    async def counted(recorder, tenant, incoming):
        sizes.append(len(incoming))
        return await usual(recorder, tenant, incoming)

    monkeypatch.setattr(recording.Recorder, "_group", counted)
    async with service(tmp_path) as running:
        answers = await asyncio.gather(*(running.record("interactions", interaction(number)) for number in range(20)))
        assert [answer.status_code for answer in answers] == [201] * 20
        assert sum(sizes) == 20
        assert max(sizes) <= 3
