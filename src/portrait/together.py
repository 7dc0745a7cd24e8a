"""Group commit: what comes while a transaction runs goes into the next one, all of it together."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


class Together(Generic[Key, Item, Result]):
    """Runs one work for all items that wait under a key, one work at a time for each key.

    An item that comes alone waits for nobody. A caller that stops waiting changes nothing for its item, nor for others.

    Args:
        run: takes a key and items, and returns for each, in their order, its result or the error that it alone gets;
            what it raises, all of them get.
        most: the most items of one work.
    """

    def __init__(self, run: Callable[[Key, list[Item]], Awaitable[Sequence[Result | Exception]]], most: int) -> None:
        self._run = run
        self._most = most
        self._waiting: dict[Key, list[tuple[Item, asyncio.Future[Result]]]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def do(self, key: Key, item: Item) -> Result:
        """Return an item's result.

        Raises:
            Exception: what the work returned for this item, or raised for all.
        """
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        queue = self._waiting.get(key)
        if queue is None:
            self._waiting[key] = [(item, result)]
            task = asyncio.create_task(self._drain(key))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        else:
            queue.append((item, result))
        return await result

    async def _drain(self, key: Key) -> None:
        queue = self._waiting[key]
        try:
            while queue:
                taken, queue[:] = queue[: self._most], queue[self._most :]
                await self._answer(key, taken)
        finally:
            del self._waiting[key]
            for _, result in queue:  # this task itself was cancelled: nobody waits for ever
                result.cancel()

    async def _answer(self, key: Key, taken: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        answers: Sequence[Result | Exception]
        try:
            answers = await self._run(key, [item for item, _ in taken])
        except Exception as error:  # noqa: BLE001  # it goes to every caller, whatever it is
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
