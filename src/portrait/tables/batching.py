"""What all tables share: rows go out in batches, and what goes wrong says behind which row."""

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from typing import ClassVar, TypeVar

from portrait.model.errors import InputRefused, TableBroken
from portrait.tables import naming
from portrait.tables.sources import CHANGED, CannotReadOn, Source
from portrait.tables.table import BATCH, Row

T = TypeVar("T")


async def in_thread(call: Callable[[], T]) -> T:
    """Return what a call returns that may wait: the loop goes on meanwhile.

    Unlike a thread of asyncio's own, this one keeps no process from ending: it may wait on a pipe for ever.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type] # there is a result where there is no error

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 # it is raised again, by whoever waits
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="portrait-table", daemon=True).start()
    return await future


class FileTable(ABC):
    """A table of a file."""

    failures: tuple[type[Exception], ...] = ()
    """What a library raises where it cannot read on."""
    batch: ClassVar[int] = BATCH

    def __init__(self, source: Source, columns: tuple[str, ...] | None) -> None:
        self.name = source.name
        self._source = source
        self._columns = columns

    @property
    def columns(self) -> tuple[str, ...] | None:
        """See the contract."""
        return self._columns

    @property
    def progress(self) -> float | None:
        """See the contract."""
        return self._source.progress()

    def check(self, wanted: Sequence[str]) -> None:
        """See the contract."""
        if self._columns is not None:
            for name in wanted:
                if name not in self._columns:
                    raise InputRefused(f"{self.name} {self._lack(name)}")

    async def batches(self, wanted: Sequence[str]) -> AsyncIterator[list[Row]]:
        """See the contract."""
        self.check(wanted)
        batches = self._batches(wanted)
        try:
            while (batch := await self._next(batches)) is not None:
                yield batch
        finally:
            with contextlib.suppress(ValueError):  # a thread that was cancelled still waits for the pipe
                batches.close()

    async def _next(self, batches: Iterator[list[Row]]) -> list[Row] | None:
        """Return the next batch. A file is read at once: to hand a batch from thread to thread takes longer."""
        if self._source.may_wait:
            return await in_thread(lambda: next(batches, None))
        await asyncio.sleep(0)
        return next(batches, None)

    @abstractmethod
    def _rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        """Yield the rows; raise CannotReadOn, or a failure of the library's."""

    def _lack(self, name: str) -> str:
        return naming.lack(name, self._columns or ())

    def _why(self, error: Exception) -> str:
        """Say why nothing further can be read, and what would be right."""
        return str(error) if isinstance(error, CannotReadOn) else "it is damaged. Fetch it again, and load it again."

    def _batches(self, wanted: Sequence[str]) -> Generator[list[Row], None, None]:
        batch: list[Row] = []
        last = 0
        failure: Exception | None = None
        try:
            for row in self._rows(wanted):
                batch.append(row)
                if len(batch) == self.batch:
                    yield batch
                    last = row.number
                    batch = []
        except CannotReadOn as error:
            failure = error
        except self.failures as error:
            failure = error
        if batch:
            yield batch
            last = batch[-1].number
        if self._source.is_changed():
            raise broken(self.name, last, CHANGED) from failure
        if failure is not None:
            raise broken(self.name, last, self._why(failure)) from failure


def broken(name: str, last: int, why: str) -> TableBroken:
    """Return the error that says that nothing behind a row can be read."""
    where = f"behind row {last}" if last else "from its first row on"
    return TableBroken(f"{name} cannot be read {where}: {why}")
