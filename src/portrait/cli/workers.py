"""The processes that serve together: kept, replaced, and stopped."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from portrait.model.errors import StartRefused

T = TypeVar("T")
REFUSED = 4
"""The exit code of a worker that said why it cannot start."""
STEADY_SECONDS = 30.0
"""A worker that lived so long is replaced at once when it dies."""
MOST_PAUSE = 30.0
"""The longest pause before a worker is replaced that died early, in seconds."""

_log = logging.getLogger("portrait.workers")


def pause_after(deaths: int) -> float:
    """Return how many seconds to wait after so many early deaths of workers in a row: none, 1, 2, 4 and so on."""
    return 0.0 if deaths < 2 else min(2.0 ** min(deaths - 2, 10), MOST_PAUSE)


class Supervisor(Multiprocess):
    """Keeps the workers: replaces those that die, in growing pauses where they die early.

    On a stop it closes the port with the workers: a client that connects then is refused at once.
    """

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._seen: dict[Process, float] = {}
        self._dead: dict[Process, float] = {}
        """Workers that died, and when they are to be replaced."""
        self._deaths = 0
        """How many workers died early since the last that lived long."""

    def init_processes(self) -> None:
        """Start the workers."""
        with _unheard():
            super().init_processes()

    def keep_subprocess_alive(self) -> None:
        """Replace what died, when its time has come."""
        now = time.monotonic()
        for gone in self._seen.keys() - set(self.processes):  # by a signal that asks for fewer workers, or for new ones
            del self._seen[gone]
            self._dead.pop(gone, None)
        for index, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            begun = self._seen.setdefault(process, now)
            due = self._dead.get(process)
            if due is None:
                if process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                    continue
                due = self._bury(process, begun)
            if time.monotonic() >= due:
                self.processes[index] = Process(self.config, self.sockets)
                with _unheard():
                    self.processes[index].start()

    def _bury(self, process: Process, begun: float) -> float:
        """End a worker that died or hangs; return when to replace it."""
        hung = process.process.is_alive()
        process.kill()
        process.process.join()
        now = time.monotonic()
        self._deaths = 1 if now - begun >= STEADY_SECONDS else self._deaths + 1
        if process.exitcode != REFUSED:
            how = "did not answer and was ended" if hung else f"died, exit code {process.exitcode}"
            _log.error("worker %s %s; it is replaced", process.pid, how)
        self._dead[process] = due = now + pause_after(self._deaths)
        return due

    def terminate_all(self) -> None:
        """Stop the workers."""
        for socket in self.sockets:
            socket.close()
        super().terminate_all()


@contextmanager
def _unheard() -> Iterator[None]:
    """Let processes that are started inside ignore Ctrl-C, which a terminal sends to all: the supervisor stops them.

    A process that is just starting would end with a traceback.
    """
    resource_tracker.ensure_running()  # where it starts later, it lets the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def started(start: Callable[[], T]) -> T:
    """Return what `start` returns; in a worker, log in one line why it cannot start, and end."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return start()
    threading.Thread(target=_stop_after, args=(parent,), daemon=True).start()
    try:
        return start()
    except StartRefused as error:
        _log.error("a worker cannot start: %s It is tried again.", error.detail)
    except Exception as error:  # noqa: BLE001  # a plugin may raise anything
        _log.error(
            "a worker cannot start: %s: %s. It is tried again.",
            type(error).__name__, error, exc_info=_log.isEnabledFor(logging.DEBUG),
        )  # fmt: skip
    sys.exit(REFUSED)


def _stop_after(parent: Any) -> None:
    """Stop this worker, gracefully, when its parent is gone: nobody else would, and the port would stay taken."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
