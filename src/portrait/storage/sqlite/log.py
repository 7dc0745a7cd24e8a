"""Keeps the write-ahead log short: what a thread beside the writer cannot do alone is done here, between commits."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from portrait.storage.sqlite import connection as settings
from portrait.storage.sqlite.checkpoints import Checkpoints

PATIENCE = 0.02
"""How long short readers are waited for, in seconds: nobody writes meanwhile."""
PAUSE = 1.0
"""How long after one attempt the next is made, in seconds: a long reader stays."""


class Log:
    """The log of a database, seen from the writer.

    From `CHECKPOINT` pages on it is put into the file beside the writer, as far as no reader stands in the way. SQLite
    begins it anew once all of it is there and nobody reads from it; then it is cut to that size. At twice the size the
    writer waits. Where readers follow upon each other the moment to begin anew does not come by itself.

    Args:
        path: the database's file.
        connection: the connection that writes.
        check: called before the file is written to; raises where it may not be.
        patience: how long it waits for other processes' locks, in seconds.
    """

    def __init__(self, path: Path, connection: apsw.Connection, check: Callable[[], None], *, patience: float) -> None:
        self._file = Path(f"{path}-wal")
        self._connection = connection
        self._patience = patience
        self._not_before = 0.0
        self._checkpoints = Checkpoints(settings.connect(path, patience=patience), check)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.set_wal_hook(self._committed)

    def _committed(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._checkpoints.committed(pages)
        return apsw.SQLITE_OK

    def shorten(self) -> None:
        """Do, outside a transaction, what the log needs before the next one; wait for a checkpoint where it is long.

        Raises:
            apsw.Error: it is long, and cannot be put into the file.
        """
        if self._checkpoints.length > 2 * settings.CHECKPOINT:
            self._checkpoints.wait()
            self._put(apsw.SQLITE_CHECKPOINT_RESTART, 0)
            self._cut()
        elif self._checkpoints.take_rest():
            with contextlib.suppress(apsw.Error):  # the next pass meets it too, and says so
                self._put(apsw.SQLITE_CHECKPOINT_RESTART, 0)

    def close(self) -> None:
        """Stop what is done beside the writer."""
        self._checkpoints.close()

    def _cut(self) -> None:
        """Empty the log where it has twice its size still."""
        if time.monotonic() < self._not_before:
            return
        try:
            size = self._file.stat().st_size
        except OSError:
            return
        if size <= 2 * settings.CHECKPOINT * settings.PAGE_SIZE:
            return
        try:
            self._put(apsw.SQLITE_CHECKPOINT_TRUNCATE, PATIENCE)
        finally:
            self._not_before = time.monotonic() + PAUSE

    def _put(self, mode: int, patience: float) -> None:
        """Put the log into the file in the writer's own thread, and have it begun anew if no reader stands there."""
        self._connection.set_busy_timeout(int(patience * 1000))
        try:
            with contextlib.suppress(apsw.BusyError, apsw.LockedError):
                self._connection.wal_checkpoint(mode=mode)
        finally:
            self._connection.set_busy_timeout(int(self._patience * 1000))
