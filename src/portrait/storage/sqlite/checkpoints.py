"""Puts the write-ahead log into the file beside the writer: a commit does not wait for it."""

import contextlib
import logging
import threading
from collections.abc import Callable

import apsw

from portrait.model.errors import StorageFailed
from portrait.storage.sqlite import connection as settings

_log = logging.getLogger("portrait.storage")


class Checkpoints:
    """A thread with a connection of its own, which copies the log into the file once it is long enough.

    Commits go on meanwhile, and what they add needs another pass. SQLite begins the log anew only where a transaction
    begins while all of it is in the file; so, once but a short rest is left, the writer is asked to put that there.

    Args:
        connection: the connection, which is closed here.
        check: called before each pass; raises where nothing may be written into the file.
    """

    def __init__(self, connection: apsw.Connection, check: Callable[[], None]) -> None:
        self._connection = connection
        self._check = check
        self._changed = threading.Condition()
        """Held over all that follows."""
        self._length = 0
        self._from = settings.CHECKPOINT
        """From this length on the next pass is made."""
        self._before = 0
        """The length when the pass that is under way began."""
        self._is_wanted = False
        self._is_under_way = False
        self._is_rest_short = False
        self._is_closed = False
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name="portrait-checkpoints", daemon=True)
        self._thread.start()

    @property
    def length(self) -> int:
        """How many pages the log had after the last commit."""
        return self._length

    def committed(self, length: int) -> None:
        """Note how many pages the log has after a commit, and have them put into the file if they are many."""
        with self._changed:
            if length < self._length:
                self._from = settings.CHECKPOINT
            self._length = length
            if length >= self._from and not self._is_under_way and not self._is_rest_short:
                self._is_wanted = True
                self._changed.notify_all()

    def take_rest(self) -> bool:
        """Tell, once, whether a short rest is left for the writer to put into the file."""
        with self._changed:
            taken, self._is_rest_short = self._is_rest_short, False
            if taken:
                self._later()
        return taken

    def wait(self) -> None:
        """Return when no pass is under way, and let none begin before the next commit."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_under_way)
            self._is_wanted = self._is_rest_short = False

    def close(self) -> None:
        """Finish the pass that is under way, stop the thread and close the connection."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(self._connection):
            while self._next():
                left = None
                try:
                    left = self._pass()
                finally:
                    self._passed(left)

    def _next(self) -> bool:
        """Wait until a pass is wanted, and begin it; tell whether there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_wanted or self._is_closed)
            self._is_wanted, self._is_under_way = False, not self._is_closed
            self._before = self._length
            return self._is_under_way

    def _pass(self) -> int | None:
        """Put into the file what no reader keeps from it; return how many pages that leaves, None if it cannot be told.

        What fails is said once, and tried again when the log has grown further: it loses nothing.
        """
        try:
            self._check()
            length, moved = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except (apsw.BusyError, apsw.LockedError):
            return None  # another process is at it
        except StorageFailed:
            return None  # who checks has said so
        except apsw.Error as error:
            if not self._has_failed:
                self._has_failed = True
                _log.error("the log cannot be put into the database's file: SQLite reports %s", type(error).__name__)
            return None
        if self._has_failed:
            self._has_failed = False
            _log.warning("the log can be put into the database's file again")
        return max(0, length - moved)

    def _passed(self, kept: int | None) -> None:
        """Decide what follows a pass that left so many pages for a reader's sake; None where that is not known."""
        with self._changed:
            self._is_under_way = False
            short = settings.CHECKPOINT // 64
            left = None if kept is None else kept + max(0, self._length - self._before)
            self._is_rest_short = left is not None and 0 < left <= short
            # A long reader keeps more and more; one that is about to leave only what was committed a moment ago.
            self._is_wanted = kept is not None and left is not None and kept <= short < left
            if not self._is_rest_short and not self._is_wanted:
                self._later()
            self._changed.notify_all()

    def _later(self) -> None:
        """Make the next pass when the log has grown further: it did not begin anew, for a reader's sake perhaps."""
        self._from = self._length + settings.CHECKPOINT // 8
