"""Group commit: what comes while transactions run goes into the next, all of it together."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")
WORTH = 8
"""So many items are worth a work of their own beside another: while one waits for the database the other computes."""
LONG = 0.5
"""A work under way for so long, in seconds, is waiting for something: fewer items are worth one beside it then."""


class _Waiting(NamedTuple):
    item: Any
    result: "asyncio.Future[Any]"
    since: float


class _Work(NamedTuple):
    size: int
    since: float


class Together(Generic[Key, Item, Result]):
    """Runs one work for many items that wait under a key, and at most two works at a time for each key.

    A work begins when none is under way, or beside one when at least as many items wait as that one has, and `WORTH`,
    or when that one takes `LONG`. It takes half of all that wait or are under way: two works of one size keep each
    other company, where a large one and a small one would take turns. An item that comes alone waits for one turn of
    the event loop and for nobody. A caller that stops waiting changes nothing for its item, nor for others.

    Args:
        run: takes a key and items, and returns for each, in their order, its result or the error that it alone gets;
            what it raises, all of them get. After a work that took `LONG` so do those that have waited for half of that
            time: they would wait as long again, in vain.
        most: the most items of one work.
    """

    def __init__(self, run: Callable[[Key, list[Item]], Awaitable[Sequence[Result | Exception]]], most: int) -> None:
        self._run = run
        self._most = most
        self._waiting: defaultdict[Key, list[_Waiting]] = defaultdict(list)
        self._under_way: defaultdict[Key, list[_Work]] = defaultdict(list)
        self._turning: set[Key] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def do(self, key: Key, item: Item) -> Result:
        """Return an item's result.

        Raises:
            Exception: what the work returned for this item, or raised for all.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Result] = loop.create_future()
        self._waiting[key].append(_Waiting(item, result, loop.time()))
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
        waiting, works = len(self._waiting[key]), self._under_way[key]
        if not waiting or len(works) != 1:
            return waiting > 0 and not works
        return waiting >= max(WORTH, works[0].size) or asyncio.get_running_loop().time() >= works[0].since + LONG

    def _begin(self, key: Key) -> None:
        queue, works = self._waiting[key], self._under_way[key]
        loop = asyncio.get_running_loop()
        while self._is_time(key):
            size = min(self._most, max(WORTH, (len(queue) + sum(one.size for one in works) + 1) // 2))
            taken, queue[:] = queue[:size], queue[size:]
            works.append(work := _Work(len(taken), loop.time()))
            task = asyncio.create_task(self._do(key, taken, work))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            loop.call_later(LONG, self._reconsider, key)

    def _reconsider(self, key: Key) -> None:
        if self._waiting.get(key):
            self._consider(key)

    async def _do(self, key: Key, taken: list[_Waiting], work: _Work) -> None:
        queue, works = self._waiting[key], self._under_way[key]
        try:
            await self._answer(key, taken, work)
        except BaseException:
            for one in queue:  # this task itself was cancelled: nobody waits for ever
                one.result.cancel()
            queue.clear()
            raise
        finally:
            works.remove(work)
            self._consider(key)
            self._forget(key)

    def _forget(self, key: Key) -> None:
        """Hold nothing of a key that has neither works nor items: many come and go."""
        if not self._waiting[key] and not self._under_way[key]:
            del self._waiting[key], self._under_way[key]

    async def _answer(self, key: Key, taken: list[_Waiting], work: _Work) -> None:
        answers: Sequence[Result | Exception]
        try:
            answers = await self._run(key, [one.item for one in taken])
        except Exception as error:  # noqa: BLE001  # it goes to every caller, whatever it is
            taken = [*taken, *self._in_vain(key, work)]
            answers = [error] * len(taken)
        except BaseException:
            for one in taken:
                one.result.cancel()
            raise
        for one, answer in zip(taken, answers, strict=True):
            if one.result.done():
                continue
            if isinstance(answer, Exception):
                one.result.set_exception(answer)
            else:
                one.result.set_result(answer)

    def _in_vain(self, key: Key, work: _Work) -> list[_Waiting]:
        """Take from the queue who has waited for so much of a long work that failed that no second is to be tried."""
        now, queue = asyncio.get_running_loop().time(), self._waiting[key]
        if now < work.since + LONG:
            return []
        late = [one for one in queue if one.since <= (work.since + now) / 2]
        queue[:] = queue[len(late) :]  # they came in this order
        return late
