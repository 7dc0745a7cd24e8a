"""Keeps the write-ahead log short: a reader that stays keeps it growing, and it keeps the size that it once had."""

import contextlib
import time
from pathlib import Path

import apsw

from portrait.storage.sqlite import connection as settings

PATIENCE = 0.02
"""How long short readers are waited for, in seconds: nobody writes meanwhile."""
PAUSE = 1.0
"""How long after one attempt the next is made, in seconds: a long reader stays."""


class Log:
    """The log of a database.

    SQLite puts the log into the file each `CHECKPOINT` pages, as far as no reader stands in the way, and begins it anew
    once nobody reads from it at all; then it is cut to that size. Where readers follow upon each other that moment does
    not come by itself.

    Args:
        path: the database's file.
        connection: the connection that writes.
        patience: how long it waits for other processes' locks, in seconds.
    """

    def __init__(self, path: Path, connection: apsw.Connection, *, patience: float) -> None:
        self._file = Path(f"{path}-wal")
        self._connection = connection
        self._patience = patience
        self._not_before = 0.0

    def shorten(self) -> None:
        """Empty the log, outside a transaction, where it has twice its size and no reader stands in the way."""
        if time.monotonic() < self._not_before:
            return
        try:
            size = self._file.stat().st_size
        except OSError:
            return
        if size <= 2 * settings.CHECKPOINT * settings.PAGE_SIZE:
            return
        self._connection.set_busy_timeout(int(PATIENCE * 1000))
        try:
            with contextlib.suppress(apsw.BusyError, apsw.LockedError):
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            self._connection.set_busy_timeout(int(self._patience * 1000))
            self._not_before = time.monotonic() + PAUSE
