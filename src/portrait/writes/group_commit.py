"""Group commit: what comes while transactions run goes into the next, all of it together."""

import asyncio
import math
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from portrait.model.errors import Overloaded, StorageBusy
from portrait.serving.leaving import may_leave

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")
WORTH = 8
"""So many items are worth a work of their own beside another: while one waits for the database the other computes."""
LONG = 0.5
"""A work under way for so long, in seconds, is waiting for something: fewer items are worth one beside it then."""
MOST_WAITING = 1000
"""The most items that wait under one key."""


class _Waiting(NamedTuple):
    item: Any
    result: "asyncio.Future[Any]"
    since: float


_Queue = OrderedDict["asyncio.Future[Any]", _Waiting]
"""In the order in which they came."""


class _Work(NamedTuple):
    size: int
    since: float


class Together(Generic[Key, Item, Result]):
    """Runs one work for many items that wait under a key, and at most two works at a time for each key.

    A work begins when none is under way, or beside one when at least as many items wait as that one has, and `WORTH`,
    or when that one takes `LONG`. It takes half of all that wait or are under way: two works of one size keep each
    other company, where a large one and a small one would take turns. An item that comes alone waits for one turn of
    the event loop and for nobody. An item whose caller stops waiting is given up, unless its work has begun.

    Args:
        run: takes a key and items, and returns for each, in their order, its result or the error that it alone gets;
            what it raises, all of them get. After a work that took `LONG` so do those that have waited for half of that
            time: they would wait as long again, in vain.
        most: the most items of one work.
        patience: how long an item waits for its work to begin, in seconds.
        most_waiting: the most items that wait under one key.
    """

    def __init__(
        self,
        run: Callable[[Key, list[Item]], Awaitable[Sequence[Result | Exception]]],
        most: int,
        *,
        patience: float = math.inf,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._run = run
        self._most = most
        self._patience = patience
        self._most_waiting = most_waiting
        self._waiting: defaultdict[Key, _Queue] = defaultdict(OrderedDict)
        self._under_way: defaultdict[Key, list[_Work]] = defaultdict(list)
        self._turning: set[Key] = set()
        self._watched: set[Key] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def do(self, key: Key, item: Item) -> Result:
        """Return an item's result.

        Raises:
            Exception: what the work returned for this item, or raised for all.
            Overloaded: too many wait under the key.
            StorageBusy: its work did not begin in time.
            Left: the caller has left.
        """
        loop = asyncio.get_running_loop()
        if len(self._waiting.get(key, ())) >= self._most_waiting:
            raise Overloaded("Too many records wait; nothing was kept. Try again soon.")
        result: asyncio.Future[Result] = loop.create_future()
        self._waiting[key][result] = _Waiting(item, result, loop.time())
        self._consider(key)
        try:
            with may_leave():
                return await result
        except asyncio.CancelledError:
            if (queue := self._waiting.get(key)) is not None:
                queue.pop(result, None)
                self._forget(key)
            raise

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
            size = min(self._most, max(WORTH, (len(queue) + sum(work.size for work in works) + 1) // 2))
            taken = [queue.popitem(last=False)[1] for _ in range(min(size, len(queue)))]
            works.append(work := _Work(len(taken), loop.time()))
            task = asyncio.create_task(self._do(key, taken, work))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            if key not in self._watched:
                self._watched.add(key)
                loop.call_later(LONG, self._reconsider, key)

    def _reconsider(self, key: Key) -> None:
        """See, every `LONG`, to those that still wait: what is under way may take long."""
        if key not in self._under_way:
            self._watched.discard(key)
            return
        loop, queue = asyncio.get_running_loop(), self._waiting[key]
        for waiting in self._since(key, loop.time() - self._patience):
            if not waiting.result.done():
                waiting.result.set_exception(StorageBusy("The database is busy; nothing was kept. Try again."))
        if queue:
            self._consider(key)
        self._forget(key)
        loop.call_later(LONG, self._reconsider, key)

    def _since(self, key: Key, moment: float) -> list[_Waiting]:
        """Take from the queue those that have waited since a moment, or longer; they came in this order."""
        queue, expired = self._waiting[key], []
        while queue and (oldest := next(iter(queue.values()))).since <= moment:
            queue.popitem(last=False)
            expired.append(oldest)
        return expired

    async def _do(self, key: Key, taken: list[_Waiting], work: _Work) -> None:
        queue, works = self._waiting[key], self._under_way[key]
        try:
            await self._answer(key, taken, work)
        except BaseException:
            for result in queue:  # this task itself was cancelled: nobody waits for ever
                result.cancel()
            queue.clear()
            raise
        finally:
            works.remove(work)
            self._consider(key)
            self._forget(key)

    def _forget(self, key: Key) -> None:
        """Hold nothing of a key that has neither works nor items: many come and go."""
        if not self._waiting.get(key) and not self._under_way.get(key) and key not in self._turning:
            self._waiting.pop(key, None)
            self._under_way.pop(key, None)

    async def _answer(self, key: Key, taken: list[_Waiting], work: _Work) -> None:
        answers: Sequence[Result | Exception]
        try:
            answers = await self._run(key, [waiting.item for waiting in taken])
        except Exception as error:  # noqa: BLE001  # it goes to every caller, whatever it is
            taken = [*taken, *self._in_vain(key, work)]
            answers = [error] * len(taken)
        except BaseException:
            for waiting in taken:
                waiting.result.cancel()
            raise
        for waiting, answer in zip(taken, answers, strict=True):
            if waiting.result.done():
                continue
            if isinstance(answer, Exception):
                waiting.result.set_exception(answer)
            else:
                waiting.result.set_result(answer)

    def _in_vain(self, key: Key, work: _Work) -> list[_Waiting]:
        """Take from the queue who has waited for so much of a long work that failed that no second is to be tried."""
        now = asyncio.get_running_loop().time()
        return self._since(key, (work.since + now) / 2) if now >= work.since + LONG else []
