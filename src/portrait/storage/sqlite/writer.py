"""The writer: one thread that runs work in transactions and commits it in groups.

Works that wait while a commit is on its way to the disk go into the next transaction together, each inside a savepoint
of its own, and share one `fsync`. Each is answered after the commit, never before.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import apsw

from portrait.model.errors import ShuttingDown, StorageFailed
from portrait.storage.contract import Work
from portrait.storage.sqlite.connection import translated
from portrait.storage.sqlite.transaction import SqliteTransaction

T = TypeVar("T")
MAX_GROUP = 256
"""The most works in one commit."""
MAX_GROUP_SECONDS = 0.02
"""After this long no further work joins a commit, in seconds."""


class _Job(NamedTuple):
    work: Work[Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


_Answer = tuple[_Job, Any, BaseException | None]


class Writer:
    """Owns the one connection that writes."""

    def __init__(self, connection: apsw.Connection, check: Callable[[], None]) -> None:
        self._connection = connection
        self._check = check
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="portrait-writer", daemon=True)
        self._thread.start()

    async def run(self, tenant: str | None, work: Work[T]) -> T:
        """Run work in a transaction and return its result once it is durable."""
        del tenant
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        with self._lock:
            if self._closed:
                raise ShuttingDown("The service is stopping; nothing was kept. Try another instance, or again soon.")
            self._jobs.put(_Job(work, loop, answer))
        return await answer

    def close(self) -> None:
        """Finish the works that were accepted and stop the thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        transaction = SqliteTransaction(self._connection)
        with contextlib.closing(self._connection):
            while (first := self._jobs.get()) is not None:
                self._answer(self._commit(self._connection, transaction, first))

    def _commit(self, connection: apsw.Connection, transaction: SqliteTransaction, first: _Job) -> list[_Answer]:
        taken: list[_Job] = []
        answers: list[_Answer] = []
        job: _Job | None = first
        try:
            until = time.monotonic() + MAX_GROUP_SECONDS
            while job is not None:
                taken.append(job)
                if len(taken) == 1:
                    self._check()
                    connection.execute("BEGIN IMMEDIATE")
                answers.append(self._in_savepoint(connection, transaction, job))
                job = self._next() if len(taken) < MAX_GROUP and time.monotonic() < until else None
            connection.execute("COMMIT")
        except (apsw.Error, StorageFailed) as error:
            # The whole group is undone: every work of it is told so, whatever its own result was.
            with contextlib.suppress(apsw.Error):
                connection.execute("ROLLBACK")
            if isinstance(error, apsw.BusyError):
                # Those that wait behind it would each wait as long, in vain: better to say so at once.
                while (waiting := self._next()) is not None:
                    taken.append(waiting)
            told = translated(error) if isinstance(error, apsw.Error) else error
            return [(one, None, told) for one in taken]
        return answers

    def _in_savepoint(self, connection: apsw.Connection, transaction: SqliteTransaction, job: _Job) -> _Answer:
        connection.execute("SAVEPOINT work")
        try:
            result, error = _drive(job.work(transaction)), None
        except BaseException as raised:  # whatever work raises is its caller's, not the thread's
            result, error = None, raised
            if not connection.in_transaction:
                # SQLite undid the transaction by itself (a full disk does that): the group's other works are gone too.
                raise (raised.__cause__ if isinstance(raised.__cause__, apsw.Error) else apsw.FullError()) from raised
            connection.execute("ROLLBACK TO work")
        connection.execute("RELEASE work")
        return job, result, error

    def _next(self) -> _Job | None:
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return None
        if job is None:
            self._jobs.put(None)  # the end is for `_run` to see
        return job

    @staticmethod
    def _answer(answers: list[_Answer]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
        for answer in answers:
            by_loop.setdefault(answer[0].loop, []).append(answer)
        for loop, group in by_loop.items():
            with contextlib.suppress(RuntimeError):  # a loop that has closed waits for nothing
                loop.call_soon_threadsafe(_settle, group)


def _settle(answers: list[_Answer]) -> None:
    for job, result, error in answers:
        if job.answer.done():
            continue
        if error is None:
            job.answer.set_result(result)
        else:
            job.answer.set_exception(error)


def _drive(work: Any) -> Any:
    """Run a coroutine that awaits nothing but this engine's methods, which never wait."""
    coroutine: Coroutine[Any, Any, Any] = work
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise StorageFailed("Work in a transaction awaited something other than the transaction's own methods.")
