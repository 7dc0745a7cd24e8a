"""What comes while a transaction runs shares the next: fewer waits for the disk, and each request its own answer."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness import interaction, service
from portrait import folding
from portrait.together import Together


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), max_size=60), st.integers(1, 7))
def test_each_item_gets_its_own_answer_and_no_work_is_larger_than_allowed(items, most):
    works = []

    async def run(key, taken):
        works.append((key, len(taken)))
        await asyncio.sleep(0)
        return [ValueError(f"{key}{one}") if one == 9 else (key, one) for one in taken]

    async def scenario():
        together = Together(run, most)
        answers = await asyncio.gather(*(together.do(*item) for item in items), return_exceptions=True)
        for (key, one), answer in zip(items, answers, strict=True):
            if one == 9:
                assert isinstance(answer, ValueError)
                assert str(answer) == f"{key}9"
            else:
                assert answer == (key, one)

    asyncio.run(scenario())
    assert all(size <= most for _, size in works)
    assert Counter({key: sum(size for other, size in works if other == key) for key, _ in works}) == Counter(
        key for key, _ in items
    )


async def test_one_work_runs_at_a_time_for_a_key_and_the_next_takes_all_that_wait():
    gates = {}
    begun = []

    async def run(key, taken):
        begun.append((key, taken))
        await gates.setdefault(len(begun), asyncio.Event()).wait()
        return taken

    together = Together(run, 100)
    first = asyncio.create_task(together.do("a", 1))
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(together.do("a", number)) for number in (2, 3, 4)]
    other = asyncio.create_task(together.do("b", 5))
    await asyncio.sleep(0.01)
    assert begun == [("a", [1]), ("b", [5])]
    gates[1].set()
    await first
    await asyncio.sleep(0.01)
    assert begun[2:] == [("a", [2, 3, 4])]
    for gate in (2, 3):
        gates[gate].set()
    assert [await one for one in (*waiting, other)] == [2, 3, 4, 5]


async def test_what_a_work_raises_all_of_it_get_and_the_next_goes_on():
    async def run(key, taken):
        await asyncio.sleep(0)
        if 1 in taken:
            raise OSError("disk")
        return taken

    together = Together(run, 2)
    answers = await asyncio.gather(*(together.do("a", number) for number in (0, 1, 2)), return_exceptions=True)
    assert [type(one) for one in answers] == [OSError, OSError, int]
    assert await together.do("a", 7) == 7


async def test_a_caller_that_stops_waiting_takes_nobody_along():
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
    assert done == [0, 1, 2, 3, 4, 5]


async def test_requests_that_come_together_share_transactions_and_answer_each_for_itself(tmp_path):
    async with service(tmp_path) as running:
        written = 0
        store = running.services.store
        write = store.write

        async def counted(work):
            nonlocal written
            written += 1
            return await write(work)

        store.write = counted
        await running.told("interactions", interaction(1))
        wrong = {**interaction(1), "interactionType": "other"}
        sent = [interaction(number) for number in range(2, 22)] + [wrong, interaction(1), {"id": ""}]
        answers = await asyncio.gather(*(running.record("interactions", one) for one in sent))
        assert [one.status_code for one in answers] == [201] * 20 + [409, 201, 422]
        assert [one.json()["recorded"] for one in answers[:20]] == [1] * 20
        assert (answers[21].json()["recorded"], answers[21].json()["duplicates"]) == (0, 1)
        assert answers[20].json()["detail"].startswith("An event with this key was recorded")
        assert written < 10
        assert len((await running.listed("interactions", limit=100))["data"]) == 21
        await running.checked()


async def test_a_plugin_that_fails_at_one_record_leaves_the_others_of_its_group_alone(tmp_path, monkeypatch):
    render = folding.render

    def fragile(section, states, now):
        document = render(section, states, now)
        if b"fatal" in document.body:
            raise ZeroDivisionError
        return document

    monkeypatch.setattr(folding, "render", fragile)
    async with service(tmp_path) as running:
        sent = [
            (f"c{number}", {**interaction(number), "offerId": "fatal" if number == 5 else "o"}) for number in range(12)
        ]
        answers = await asyncio.gather(*(running.record("interactions", one, name) for name, one in sent))
        assert [one.status_code for one in answers] == [500 if number == 5 else 201 for number in range(12)]
        monkeypatch.undo()
        await running.checked()
        assert (await running.profile("c5")).status_code == 404
