"""The writer: one thread that runs work in transactions and commits it in groups.

Works that wait while a commit is on its way to the disk go into the next transaction together, each inside a savepoint
of its own, and share one `fsync`. Each is answered after the commit, never before. Tenants have turns, a work each.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import apsw

from portrait.model.errors import Overloaded, ShuttingDown, StorageBusy, StorageFailed
from portrait.serving.leaving import may_leave
from portrait.serving.turns import Turns
from portrait.storage.contract import Work
from portrait.storage.sqlite.connection import translated
from portrait.storage.sqlite.transaction import SqliteTransaction

T = TypeVar("T")
MAX_GROUP = 256
"""The most works in one commit."""
MAX_GROUP_SECONDS = 0.02
"""After this long no further work joins a commit, in seconds."""
MOST_WAITING = 1000
"""The most works that wait."""


class _Job:
    """A work that waits, or is under way."""

    __slots__ = ("answer", "loop", "until", "work")

    def __init__(
        self, work: Work[Any], loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[Any]", until: float
    ) -> None:
        self.work = work
        self.loop = loop
        self.answer = answer
        self.until = until


_Answer = tuple[_Job, Any, BaseException | None]


class Writer:
    """Owns the one connection that writes.

    Args:
        connection: the connection.
        check: called before each commit; raises where nothing may be written.
        patience: how long a work waits, for others and for other processes' locks, in seconds.
        most_waiting: the most works that wait; beyond, whoever has most waiting is refused.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        check: Callable[[], None],
        *,
        patience: float,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._connection = connection
        self._check = check
        self._patience = patience
        self._jobs: Turns[_Job] = Turns(most_waiting)
        self._lock = threading.Lock()
        """Held over what both threads look at."""
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()
        """One for each job that came, and for the end."""
        self._closed = False
        self._expiring = False
        self._thread = threading.Thread(target=self._run, name="portrait-writer", daemon=True)
        self._thread.start()

    async def run(self, tenant: str | None, work: Work[T]) -> T:
        """Run work in a transaction and return its result once it is durable.

        Raises:
            StorageBusy: its turn did not come in time.
            Overloaded: too many wait, and of this tenant most.
            Left: the caller has left.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        job = _Job(work, loop, answer, time.monotonic() + self._patience)
        with self._lock:
            if self._closed:
                raise ShuttingDown("The service is stopping; nothing was kept. Try another instance, or again soon.")
            self._jobs.add(tenant, job)
            refused = self._jobs.take_of(self._jobs.longest, newest=True) if self._jobs.is_too_long else None
        self._signals.put(None)
        if refused is not None:
            error = Overloaded("Too many writes wait; nothing was kept. Try again soon.")
            self._answer([(refused, None, error)])
        if not self._expiring:
            self._expiring = True
            loop.call_later(self._patience, self._expire, loop)
        try:
            with may_leave():
                return await answer
        except asyncio.CancelledError:
            with self._lock:
                self._jobs.remove(tenant, job)
            raise

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer those who have waited for as long as they may, however long the thread is held up."""
        now = time.monotonic()
        self._answer([(job, None, _too_late()) for job in self._take_those_until(now)])
        with self._lock:
            left = [job.until for _, job in self._jobs.oldest()]
        self._expiring = bool(left)
        if left:
            loop.call_later(max(0.0, min(left) - now), self._expire, loop)

    def _take_those_until(self, moment: float) -> list[_Job]:
        """Return the jobs that may wait until a moment at most: they wait no longer."""
        taken = []
        with self._lock:
            for tenant, job in self._jobs.oldest():
                oldest: _Job | None = job
                while oldest is not None and oldest.until <= moment:
                    taken.append(self._jobs.take_of(tenant, newest=False))
                    oldest = self._jobs.first(tenant)
        return taken

    def close(self) -> None:
        """Finish the works that were accepted and stop the thread."""
        with self._lock:
            self._closed = True
        self._signals.put(None)
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(self._connection):
            while True:
                self._signals.get()
                if (first := self._next()) is not None:
                    self._answer(self._commit(self._connection, first))
                elif self._closed:
                    return

    def _commit(self, connection: apsw.Connection, first: _Job) -> list[_Answer]:
        taken: list[_Job] = []
        answers: list[_Answer] = []
        job: _Job | None = first
        try:
            until = time.monotonic() + MAX_GROUP_SECONDS
            while job is not None:
                taken.append(job)
                if len(taken) == 1:
                    self._check()
                    connection.set_busy_timeout(max(0, int((job.until - time.monotonic()) * 1000)))
                    connection.execute("BEGIN IMMEDIATE")
                answers.append(self._in_savepoint(connection, job))
                job = self._next() if len(taken) < MAX_GROUP and time.monotonic() < until else None
            self._check()
            connection.execute("COMMIT")
        except (apsw.Error, StorageFailed) as error:
            # The whole group is undone: every work of it gets this error, whatever its own result was.
            with contextlib.suppress(apsw.Error):
                connection.execute("ROLLBACK")
            if isinstance(error, apsw.BusyError):
                # Works that have waited for half of their time would wait as long again, in vain.
                taken += self._take_those_until(time.monotonic() + self._patience / 2)
            failure = translated(error) if isinstance(error, apsw.Error) else error
            return [(job, None, failure) for job in taken]
        return answers

    def _in_savepoint(self, connection: apsw.Connection, job: _Job) -> _Answer:
        connection.execute("SAVEPOINT work")
        try:
            result, error = _drive(job.work(SqliteTransaction(connection))), None
        except BaseException as raised:  # whatever work raises is its caller's, not the thread's
            result, error = None, raised
            if not connection.in_transaction:
                # SQLite undid the transaction by itself (a full disk does that): the group's other works are gone too.
                raise (raised.__cause__ if isinstance(raised.__cause__, apsw.Error) else apsw.FullError()) from raised
            connection.execute("ROLLBACK TO work")
        connection.execute("RELEASE work")
        return job, result, error

    def _next(self) -> _Job | None:
        """Return the job whose turn it is, if its caller still waits for it; None where nothing waits."""
        while True:
            with self._lock:
                job = self._jobs.take()
            if job is None:
                return None
            if job.until <= time.monotonic():
                self._answer([(job, None, _too_late())])
            elif not job.answer.cancelled():
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


def _too_late() -> StorageBusy:
    return StorageBusy("The database is busy; nothing was kept. Try again.")


def _drive(work: Any) -> Any:
    """Run a coroutine that awaits nothing but this engine's methods, which never wait."""
    coroutine: Coroutine[Any, Any, Any] = work
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise StorageFailed("Work in a transaction awaited something other than the transaction's own methods.")
