"""The engine's face: one database file."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import apsw

from portrait.model.errors import StorageFailed
from portrait.storage.contract import Reads, Work
from portrait.storage.migrations import REVISION
from portrait.storage.sqlite.connection import connect, prepare, refusal, translated
from portrait.storage.sqlite.log import Log
from portrait.storage.sqlite.reads import SqliteReads
from portrait.storage.sqlite.watch import Watch
from portrait.storage.sqlite.writer import Writer

T = TypeVar("T")


class SqliteStore(SqliteReads):
    """A database file, open: reads on the event loop's thread, writes on the writer's."""

    def __init__(self, path: Path, *, patience: float) -> None:
        self._path = path
        self._patience = patience
        super().__init__(connect(path, patience=patience, mapped=True))
        # Whoever has read holds a lock on the file for as long as the connection lives: `restore` looks for it.
        super()._rows("SELECT 1 FROM documents LIMIT 1")
        self._watch = Watch(path)
        self._writing = connect(path, patience=patience)
        self._log = Log(path, self._writing, self._watch.check_all, patience=patience)
        self._writer = Writer(self._writing, self._may_write, patience=patience)
        self._closed = False

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        self._watch.check_once_a_turn()
        return super()._rows(sql, values)

    async def write(self, tenant: str | None, work: Work[T]) -> T:
        """See the contract."""
        return await self._writer.run(tenant, work)

    @property
    def is_crowded(self) -> bool:
        """See the contract: reads run one after another, each as soon as it is asked for."""
        return False

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reads]:
        """See the contract."""
        self._watch.check()
        try:
            with closing(connect(self._path, patience=self._patience)) as connection:
                connection.execute("BEGIN")
                yield SqliteReads(connection)
        except apsw.Error as error:
            raise translated(error) from error

    async def ready(self) -> None:
        """See the contract."""
        self._watch.check_all()
        self._rows("SELECT 1 FROM documents LIMIT 1")

    def _may_write(self) -> None:
        """Refuse to write into files that are not the database's any more: what is kept there is lost."""
        self._watch.check_all()
        if not self._writing.in_transaction:
            self._log.shorten()

    async def revision(self) -> str:
        """See the contract."""
        return str(self._rows(REVISION)[0][0])

    async def faults(self) -> list[str]:
        """Return what SQLite's own integrity check finds wrong with the file; nothing where it is sound."""
        lines = [str(row[0]) for row in self._rows("PRAGMA integrity_check(20)")]
        return [] if lines == ["ok"] else lines

    async def close(self) -> None:
        """See the contract."""
        self._writer.close()
        if self._closed:
            return
        self._closed = True
        self._log.close()
        with suppress(StorageFailed):
            self._watch.check()
        if self._watch.is_overwritten:
            # What the log holds is of another content than the file's: the last to close must not put it in there.
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._connection.close()


def open_store(
    path: Path, *, patience: float = 10.0, upgrade: bool = True, create: bool = True, reading: bool = False
) -> SqliteStore:
    """Open a database file.

    Args:
        path: the file.
        patience: how long to wait for locks, in seconds.
        upgrade: whether an older schema, or none, is brought to this version.
        create: whether a file that is not there is made.
        reading: whether an older schema will do where it is not upgraded: see `migrations.READABLE_FROM`.

    Raises:
        DatabaseRefused: the file cannot serve; the detail says why and what to do.
    """
    prepare(path, upgrade=upgrade, create=create, reading=reading)
    try:
        return SqliteStore(path, patience=patience)
    except apsw.Error as error:
        raise translated(error) from error
    except OSError as error:  # it was there a moment ago
        raise refusal(path, apsw.CantOpenError()) from error
