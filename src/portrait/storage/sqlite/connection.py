"""Opening a database file, and SQLite's errors in Portrait's words."""

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apsw

from portrait.model.errors import DatabaseRefused, PortraitError, StorageBusy, StorageFailed, StorageFull
from portrait.storage import migrations

APPLICATION_ID = 0x506F7274
"""Marks a file as Portrait's (SQLite's `application_id`): the letters Port."""
PRIVATE = 0o600
"""The rights of every file that holds people's records: the service's own user's to read, and nobody else's."""
PAGE_SIZE = 8192
"""Bytes. Of 4, 8 and 16 kB, 8 costs a single record least, and a load costs a tenth less than with 4."""
CHECKPOINT = 4000
"""After so many pages the write-ahead log goes into the file: those written again meanwhile go there once. 32 MB."""
MAPPED = 2**31
"""How much of a file reads may map, in bytes; SQLite takes no more."""
REWRITTEN = 1.3
"""What a file that is written anew needs beside itself, in its own size: 1.13 was measured."""
START_PATIENCE = 3.0
"""How long a start waits for another process's lock, in seconds."""
BETWEEN_TRIES = 0.01
"""How long a start waits between two tries where SQLite itself does not wait, in seconds."""
QUICK_CHECK_LIMIT = 128 * 2**20
"""Files up to this size, in bytes, are checked for corruption at start; larger ones by `portrait db check`."""


def connect(path: Path, *, patience: float, mapped: bool = False) -> apsw.Connection:
    """Return a connection that waits up to `patience` seconds for other processes' locks.

    With `mapped` it reads pages where the system holds them instead of copying them: half the time of a profile's
    query. Only for reading: a disk's error then ends the process, where a writer must answer it.
    """
    # Not to make a file where there is none: one that was moved away would come back empty.
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=256)
    connection.set_busy_timeout(int(patience * 1000))
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
    connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT * PAGE_SIZE}")
    if mapped:
        connection.pragma("mmap_size", MAPPED)
    return connection


Progress = Callable[[float], None]
"""Called with how much of an upgrade is done, of 1."""


def prepare(
    path: Path, *, upgrade: bool | None, create: bool, reading: bool = False, progress: Progress | None = None
) -> None:
    """Make the file ready to serve: create it, check it, bring its schema to this version. See `open_store`.

    Raises:
        DatabaseRefused: it is locked, read-only, corrupt, from a newer version, another application's, or no database.
    """
    if not path.parent.is_dir():
        raise DatabaseRefused(f"The directory {path.parent} does not exist. Create it, or name another database.")
    if path.is_dir():
        raise DatabaseRefused(f"{path} is a directory. Name a file in it, for example {path / 'portrait.db'}.")
    if not create and not path.exists():
        raise DatabaseRefused(f"{path} does not exist. Check the name; `portrait tenant create` makes a new one.")
    try:
        if not path.exists():
            path.touch(PRIVATE)  # SQLite's further files follow it
        until = time.monotonic() + START_PATIENCE
        while not _prepared(path, until, upgrade=upgrade, reading=reading, progress=progress):
            time.sleep(BETWEEN_TRIES)
    except OSError as error:
        raise refusal(path, apsw.CantOpenError()) from error
    except apsw.Error as error:
        raise refusal(path, error) from error


def _prepared(path: Path, until: float, *, upgrade: bool | None, reading: bool, progress: Progress | None) -> bool:
    """Try to make the file ready; tell whether it is, False where another process has it and there is time left.

    SQLite waits for other processes' locks by itself, but not where two turn one file to its log at once.
    """
    with contextlib.closing(connect(path, patience=START_PATIENCE)) as connection:
        try:
            _prepare(connection, path, upgrade=upgrade, reading=reading, progress=progress)
        except (apsw.BusyError, apsw.LockedError):
            if time.monotonic() >= until:
                raise
            return False
    return True


def _prepare(
    connection: apsw.Connection, path: Path, *, upgrade: bool | None, reading: bool, progress: Progress | None
) -> None:
    if not _has_tables(connection):
        # Both are fixed by the first table; incremental vacuum lets erasure give pages back.
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    elif connection.pragma("application_id") != APPLICATION_ID:
        raise DatabaseRefused(f"{path} is a database of another application. Name a Portrait database, or a new file.")
    elif path.stat().st_size <= QUICK_CHECK_LIMIT and connection.execute("PRAGMA quick_check(1)").get != "ok":
        raise DatabaseRefused(f"{path} is corrupt. Restore it from a backup; keep the file for inspection.")
    if connection.readonly("main"):
        raise apsw.ReadOnlyError
    if connection.pragma("journal_mode", "wal") != "wal":
        raise DatabaseRefused(f"{path} lies on a file system without shared memory. Move it to a local disk.")
    connection.execute("PRAGMA temp_store = FILE")  # what an upgrade sorts may be more than there is memory
    # Taking the write lock shows here, and not at the first record, that the file can be written.
    connection.execute("BEGIN IMMEDIATE")
    try:
        is_migrated = _migrate(connection, path, upgrade=upgrade, reading=reading, progress=progress)
        connection.execute("COMMIT")
        if is_migrated:  # give pages back that dropped tables had
            connection.execute("PRAGMA incremental_vacuum").fetchall()
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _migrate(
    connection: apsw.Connection, path: Path, *, upgrade: bool | None, reading: bool, progress: Progress | None
) -> bool:
    """Bring the schema to this version; tell whether there was anything to do."""
    script = migrations.needed("sqlite", schema_version(connection), str(path), upgrade=upgrade, reading=reading)
    if script is None:
        return False
    statements = migrations.statements(script)
    for number, statement in enumerate(statements, 1):
        connection.execute(statement).fetchall()
        if progress is not None:
            progress(number / len(statements))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    return True


class Rewrite(NamedTuple):
    """An upgrade that writes a file anew."""

    size: int
    """The file's, in bytes."""
    needed: int
    """About so many bytes beside them are needed while it runs."""


def rewrite(path: Path) -> Rewrite | None:
    """Return what an upgrade takes that writes a file anew; None where it does not.

    Raises:
        DatabaseRefused: the disk has too little room for it.
    """
    if not path.exists():
        return None
    try:
        with contextlib.closing(connect(path, patience=START_PATIENCE)) as connection:
            current = schema_version(connection)
    except apsw.Error as error:
        raise refusal(path, error) from error
    if current is None or not any(revision.rewrites for revision in migrations.pending_revisions(current)):
        return None
    size = path.stat().st_size
    needed, free = int(size * REWRITTEN), shutil.disk_usage(path.parent).free
    if free < needed:
        raise DatabaseRefused(
            f"{path} has {size:,} bytes, and to write it anew takes {needed:,} more for a while; its disk has {free:,}."
            " Make room, or move it."
        )
    return Rewrite(size, needed)


def schema_version(connection: apsw.Connection) -> str | None:
    """Return the database's revision; None where it has no tables yet."""
    if not _has_tables(connection):
        return None
    row = connection.execute(migrations.REVISION).fetchone()
    return str(row[0]) if row else None


def _has_tables(connection: apsw.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


def refusal(path: Path, error: apsw.Error) -> DatabaseRefused:
    """Return why a file cannot be used, in the words for whoever runs the service."""
    match error:
        case apsw.BusyError() | apsw.LockedError():
            message = "is locked by another process. Stop that process, or wait until it is done"
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            message = "is read-only. Give this user the right to write the file and its directory"
        case apsw.NotADBError():
            message = "is not an SQLite database. Name another file, or move this one away"
        case apsw.CorruptError():
            message = "is corrupt. Restore it from a backup; keep the file for inspection"
        case apsw.CantOpenError():
            message = "cannot be opened. Check that this user may read and write the file and its directory"
        case apsw.FullError() | apsw.IOError() if shutil.disk_usage(path.parent).free < PAGE_SIZE * 16:
            message = "lies on a full disk. Free some space"
        case _:
            message = f"cannot be used: SQLite reports {type(error).__name__}. Check the disk and the file's rights"
    return DatabaseRefused(f"{path} {message}.")


def translated(error: apsw.Error) -> PortraitError:
    """Return the error of Portrait's for an error of SQLite's at work."""
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return StorageBusy("The database is busy with another writer; nothing was kept. Try again.")
        case apsw.FullError():
            return StorageFull("The database has no room to write; nothing was kept. Free disk space, then try again.")
        case _:
            # A file-size limit or a failing disk reports an I/O error: the name is the operator's clue.
            return StorageFailed(f"The database reports {type(error).__name__}; nothing was kept.")
