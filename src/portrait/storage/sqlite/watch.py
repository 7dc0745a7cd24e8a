"""Notices that a database's files were moved, removed, replaced or written over while they are open.

SQLite itself does not: it goes on with the file that it opened, wherever that is, and with the pages that it knows.
"""

import asyncio
import logging
import os
import threading
from pathlib import Path
from typing import NamedTuple

import apsw

from portrait.model.errors import StorageFailed
from portrait.serving import request

_log = logging.getLogger("portrait.storage")
_GONE = "A file of the database was moved, removed or replaced; nothing was kept. Put it back, or stop and restore it."
_OVERWRITTEN = (
    "The database's file was written over; nothing was kept. Stop every service, then run `portrait db restore`."
)


class Header(NamedTuple):
    """What the first bytes of a file say of the database in it (https://sqlite.org/fileformat.html, 1.3)."""

    application_id: int
    mark: int
    """SQLite's `user_version`. A copy that Portrait makes has another than its original."""
    changes: int
    """The change counter: it grows, if not with each change."""
    pages: int
    """How many there are; under one change counter never fewer than before."""

    def may_follow(self, before: "Header") -> bool:
        """Tell whether the database with that header may have this one now."""
        same = (self.application_id, self.mark) == (before.application_id, before.mark)
        return same and (self.changes, self.pages) >= (before.changes, before.pages)


def read_header(path: Path) -> Header:
    """Return the header of a database file.

    Through SQLite: who closes a file by other means takes away the locks that SQLite has on it in this process.

    Raises:
        apsw.Error: the file cannot be read, or is too short.
    """
    file = apsw.VFSFile("", str(path), [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0])
    try:
        read = file.xRead(100, 0)
    finally:
        file.xClose()
    if read[:16] != b"SQLite format 3\0":
        raise apsw.NotADBError
    return Header(*(int.from_bytes(read[at : at + 4], "big") for at in (68, 60, 24, 28)))


class Watch:
    """Looks at the files of a database that connections of this process have read from already.

    Args:
        path: the database's file.

    Raises:
        apsw.Error: the file cannot be read.
        OSError: it, or one of those beside it, is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._beside = [f"{path}-wal", f"{path}-shm"]
        self._ours = [_file(os.stat(name)) for name in self._beside]  # noqa: PTH116  # a third of the time
        self._seen = os.stat(self._path)  # noqa: PTH116  # the same
        self._header = read_header(path)
        self._lock = threading.Lock()
        self.is_overwritten = False
        """Whether the file was written over: what lies beside it belongs to another content then."""
        self._is_gone = False
        self._is_log_gone = False
        self._checked_in: asyncio.AbstractEventLoop | None = None
        """The event loop in whose present turn it was checked."""

    def check_once_a_turn(self) -> None:
        """As `check`, once in each turn of the event loop: what reads in one turn was asked before any of it read.

        Raises:
            StorageFailed: as `check`.
        """
        loop = asyncio.get_running_loop()
        if self._checked_in is not loop:
            self.check()
            self._checked_in = loop
            loop.call_soon(self._turned, context=request.NONE)

    def _turned(self) -> None:
        self._checked_in = None

    def check(self) -> None:
        """Return where the file is still the one that was opened; a look at its entry, and no more, if nothing changed.

        Raises:
            StorageFailed: it was moved, removed or replaced, or its header shows that it was written over.
        """
        try:
            now = os.stat(self._path)  # noqa: PTH116  # before each read: it must cost a microsecond
        except OSError:
            now = None
        seen = self._seen
        if (
            now is None
            or now.st_mtime_ns != seen.st_mtime_ns
            or now.st_ino != seen.st_ino
            or now.st_size != seen.st_size
            or now.st_dev != seen.st_dev
            or self.is_overwritten
            or self._is_gone
            or self._is_log_gone
        ):
            self._look(now)

    def check_all(self) -> None:
        """Look at the files beside it too: what is committed goes there first.

        Raises:
            StorageFailed: as `check`, or one of these is another.
        """
        self.check()
        for name, ours in zip(self._beside, self._ours, strict=True):
            try:
                same = _file(os.stat(name)) == ours  # noqa: PTH116  # as above
            except OSError:
                same = False
            if not same:
                if not self._is_log_gone:
                    self._is_log_gone = True
                    _log.error(
                        "a file beside the database's was removed or replaced: nothing is read or written any more"
                    )
                raise StorageFailed(_GONE)

    def _look(self, now: os.stat_result | None) -> None:
        with self._lock:
            if now is None or _file(now) != _file(self._seen):
                if not self._is_gone:
                    self._is_gone = True
                    _log.error("the database's file was moved, removed or replaced: nothing is read or written")
                raise StorageFailed(_GONE)
            if self._is_gone:
                self._is_gone = False
                _log.warning("the database's file is back where it was")
            if self._is_log_gone:
                raise StorageFailed(_GONE)
            if not self.is_overwritten:
                header = _header_or_none(Path(self._path))
                if header is not None and header.may_follow(self._header):  # a checkpoint
                    self._seen, self._header = now, header
                    return
                self.is_overwritten = True
                _log.error("the database's file was written over: nothing is read or written any more")
            raise StorageFailed(_OVERWRITTEN)


def _file(entry: os.stat_result) -> tuple[int, int]:
    return entry.st_dev, entry.st_ino


def _header_or_none(path: Path) -> Header | None:
    try:
        return read_header(path)
    except apsw.Error:
        return None
