"""Group commit: what comes while transactions run goes into the next, all of it together."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")
WORTH = 8
"""So many items are worth a work of their own beside another: while one waits for the database the other computes."""


class Together(Generic[Key, Item, Result]):
    """Runs one work for many items that wait under a key, and at most two works at a time for each key.

    A work begins when none is under way, or beside one when at least as many items wait as that one has, and `WORTH`.
    It takes half of all that wait or are under way: two works of one size keep each other company, where a large one
    and a small one would take turns. An item that comes alone waits for one turn of the event loop and for nobody. A
    caller that stops waiting changes nothing for its item, nor for others.

    Args:
        run: takes a key and items, and returns for each, in their order, its result or the error that it alone gets;
            what it raises, all of them get, and all that wait behind them: they would wait as long, in vain.
        most: the most items of one work.
    """

    def __init__(self, run: Callable[[Key, list[Item]], Awaitable[Sequence[Result | Exception]]], most: int) -> None:
        self._run = run
        self._most = most
        self._waiting: defaultdict[Key, list[tuple[Item, asyncio.Future[Result]]]] = defaultdict(list)
        self._under_way: defaultdict[Key, list[int]] = defaultdict(list)
        """How many items each work has."""
        self._turning: set[Key] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def do(self, key: Key, item: Item) -> Result:
        """Return an item's result.

        Raises:
            Exception: what the work returned for this item, or raised for all.
        """
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting[key].append((item, result))
        self._consider(key)
        return await result

    def _consider(self, key: Key) -> None:
        """Begin works, if there is reason to, at the first turn of the loop in which nobody comes.

        Answers that go out bring requests in. A work that began at the first of them would take it alone.
        """
        if key not in self._turning and self._is_time(key):
            self._turning.add(key)
            asyncio.get_running_loop().call_soon(self._turn, key, 0)

    def _turn(self, key: Key, waited: int) -> None:
        waiting = len(self._waiting[key])
        if waited < waiting < self._most:
            asyncio.get_running_loop().call_soon(self._turn, key, waiting)
        else:
            self._turning.discard(key)
            self._begin(key)
            self._forget(key)

    def _is_time(self, key: Key) -> bool:
        """Tell whether what waits is worth a work now."""
        waiting, sizes = len(self._waiting[key]), self._under_way[key]
        return waiting > 0 and (not sizes or (len(sizes) == 1 and waiting >= max(WORTH, sizes[0])))

    def _begin(self, key: Key) -> None:
        queue, sizes = self._waiting[key], self._under_way[key]
        while self._is_time(key):
            size = min(self._most, max(WORTH, (len(queue) + sum(sizes) + 1) // 2))
            taken, queue[:] = queue[:size], queue[size:]
            sizes.append(len(taken))
            task = asyncio.create_task(self._work(key, taken))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _work(self, key: Key, taken: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        queue, sizes = self._waiting[key], self._under_way[key]
        try:
            await self._answer(key, taken)
        except BaseException:
            for _, result in queue:  # this task itself was cancelled: nobody waits for ever
                result.cancel()
            queue.clear()
            raise
        finally:
            sizes.remove(len(taken))
            self._consider(key)
            self._forget(key)

    def _forget(self, key: Key) -> None:
        """Hold nothing of a key that has neither works nor items: many come and go."""
        if not self._waiting[key] and not self._under_way[key]:
            del self._waiting[key], self._under_way[key]

    async def _answer(self, key: Key, taken: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        answers: Sequence[Result | Exception]
        try:
            answers = await self._run(key, [item for item, _ in taken])
        except Exception as error:  # noqa: BLE001  # it goes to every caller, whatever it is
            queue = self._waiting[key]
            taken = [*taken, *queue]
            queue.clear()
            answers = [error] * len(taken)
        except BaseException:
            for _, result in taken:
                result.cancel()
            raise
        for (_, result), answer in zip(taken, answers, strict=True):
            if result.done():
                continue
            if isinstance(answer, Exception):
                result.set_exception(answer)
            else:
                result.set_result(answer)
