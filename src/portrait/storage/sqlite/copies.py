"""Copies of a database file: made beside a running service, and put in its place where none runs."""

import contextlib
import errno
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import apsw

from portrait.model.errors import DatabaseRefused
from portrait.storage import migrations
from portrait.storage.sqlite.connection import APPLICATION_ID, PRIVATE, connect, refusal, schema_version

_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510
"""The bytes of a file that whoever has it open in WAL mode keeps locked for as long (SQLite's os.h, `SHARED_FIRST`)."""


def backup(path: Path, copy: Path, *, patience: float) -> None:
    """Write a copy of a database as it stands at one moment. Writers go on beside it.

    Args:
        path: the database's file.
        copy: the file to make: complete and on the disk, or not there.
        patience: how long to wait for locks, in seconds.

    Raises:
        DatabaseRefused: the database cannot be copied, or not there; the detail says why and what to do.
    """
    if copy.exists():
        raise DatabaseRefused(f"{copy} exists already. Name a new file.")
    if not copy.parent.is_dir():
        raise DatabaseRefused(f"The directory {copy.parent} does not exist. Create it, or name another file.")
    if not path.is_file():
        raise DatabaseRefused(f"{path} does not exist. Check the name.")
    try:
        with contextlib.closing(connect(path, patience=patience)) as original:
            with _copied(original, path, beside=copy) as made:
                made.rename(copy)
            _sync(copy.parent)
    except (apsw.Error, OSError) as error:
        raise _refused(path, error) from error


def restore(path: Path, copy: Path) -> Path | None:
    """Replace a database by a copy, and keep the former file under another name; return that name.

    The copy is checked before anything is touched, and takes the place in one step: whoever starts finds one or the
    other whole.

    Args:
        path: the database's file, which need not be there or be sound.
        copy: what to put there: what `backup` made, or another copy that is whole.

    Raises:
        DatabaseRefused: the copy cannot serve, or somebody has the database open.
    """
    path = path.resolve()
    if not copy.is_file():
        raise DatabaseRefused(f"{copy} does not exist. Name the copy to restore.")
    if not path.parent.is_dir():
        raise DatabaseRefused(f"The directory {path.parent} does not exist. Create it, or name another database.")
    if path.exists() and path.samefile(copy):
        raise DatabaseRefused(f"{copy} is the database itself. Name the copy to restore.")
    try:
        with _alone(path), contextlib.closing(_opened(copy)) as original:
            with _copied(original, copy, beside=path) as made:
                _inherit(path, made)
                before = _set_aside(path)
                made.replace(path)
            _sync(path.parent)
            return before
    except (apsw.Error, OSError) as error:
        raise _refused(copy, error) from error


@contextlib.contextmanager
def _copied(original: apsw.Connection, path: Path, *, beside: Path) -> Iterator[Path]:
    """Give a checked copy of a database, on the disk, next to where it is to be; a copy that was not moved is removed.

    Raises:
        DatabaseRefused: the database is not Portrait's, of a newer version, or corrupt.
    """
    if original.pragma("application_id") != APPLICATION_ID:
        raise DatabaseRefused(f"{path} is not a Portrait database. Name another file.")
    migrations.needed("sqlite", schema_version(original), str(path), upgrade=True)
    number, name = tempfile.mkstemp(prefix=f".{beside.name}.", dir=beside.parent)  # for its owner's eyes only
    os.close(number)
    made = Path(name)
    try:
        with contextlib.closing(apsw.Connection(name)) as connection:
            with connection.backup("main", original, "main") as copying:
                copying.step(-1)
            connection.pragma("journal_mode", "delete")  # whole in one file
            # Written over the original, it must show.
            connection.pragma("user_version", secrets.randbelow(2**31 - 1) + 1)
            if connection.execute("PRAGMA quick_check(1)").get != "ok":
                raise DatabaseRefused(f"{path} is corrupt. Restore it from a backup; keep the file for inspection.")
        with made.open("rb") as file:
            os.fsync(file.fileno())
        yield made
    finally:
        made.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep everybody else from a database's file; by its locks, so that it may be damaged.

    Raises:
        DatabaseRefused: somebody has it open.
    """
    import fcntl  # noqa: PLC0415  # where there is none, all else works

    if not path.exists():
        yield
        return
    number = os.open(path, os.O_RDWR)
    try:
        fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
    except OSError as error:
        os.close(number)
        if error.errno not in {errno.EACCES, errno.EAGAIN}:
            raise
        raise DatabaseRefused(
            f"{path} is in use. Stop every service and command that has it open, then restore."
        ) from None
    try:
        yield
    finally:
        os.close(number)


def _opened(copy: Path) -> apsw.Connection:
    """Return a connection that only reads; a file without a log beside it is read where nothing may be written too."""
    log = copy.with_name(f"{copy.name}-wal")
    alone = "" if log.exists() and log.stat().st_size else "&immutable=1"
    return apsw.Connection(
        f"{copy.resolve().as_uri()}?mode=ro{alone}", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )


def _inherit(path: Path, made: Path) -> None:
    """Give a file, where this user may, the owner of the file that it replaces, or else the owner of the directory.

    Not its rights: whoever could read the one before, this one is for its owner's eyes only.
    """
    before = (path if path.exists() else path.parent).stat()
    with contextlib.suppress(PermissionError):
        os.chown(made, before.st_uid, before.st_gid)


def _set_aside(path: Path) -> Path | None:
    """Give a database another name, its log with it, and leave the file under its own too; return the other name.

    What is kept of it so is for its owner's eyes only.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    before = path.with_name(f"{path.name}.{stamp}")
    log = path.with_name(f"{path.name}-wal")
    kept = path.exists()
    if kept:
        before.hardlink_to(path)
        before.chmod(PRIVATE)
    if log.exists():
        log.rename(before.with_name(f"{before.name}-wal")).chmod(PRIVATE)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)  # made anew from the log
    _sync(path.parent)
    return before if kept else None


def _sync(directory: Path) -> None:
    """Have a directory's entries on the disk."""
    number = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _refused(path: Path, error: apsw.Error | OSError) -> DatabaseRefused:
    if isinstance(error, apsw.Error):
        return refusal(path, error)
    return DatabaseRefused(f"{error.filename or path}: {os.strerror(error.errno or 0)}. Check the disk and the rights.")
