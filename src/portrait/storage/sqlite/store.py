"""The engine's face: one database file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TypeVar

import apsw

from portrait.model.errors import StorageFailed
from portrait.storage.contract import Reads, Work
from portrait.storage.sqlite.connection import connect, prepare, translated
from portrait.storage.sqlite.reads import SqliteReads
from portrait.storage.sqlite.writer import Writer

T = TypeVar("T")


class SqliteStore(SqliteReads):
    """A database file, open: reads on the event loop's thread, writes on the writer's."""

    def __init__(self, path: Path, *, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._file = path.stat().st_ino
        super().__init__(connect(path, patience=patience, mapped=True))
        self._writer = Writer(connect(path, patience=patience), self._check_file, patience=patience)

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
        try:
            with closing(connect(self._path, patience=self._patience)) as connection:
                connection.execute("BEGIN")
                yield SqliteReads(connection)
        except apsw.Error as error:
            raise translated(error) from error

    async def ready(self) -> None:
        """See the contract."""
        self._check_file()
        self._rows("SELECT 1 FROM documents LIMIT 1")

    def _check_file(self) -> None:
        """Refuse to write into a file that was removed: it lives on for us alone, and dies with us."""
        try:
            same = self._path.stat().st_ino == self._file
        except OSError:
            same = False
        if not same:
            raise StorageFailed("The database's file was removed or replaced; nothing was kept. Start again.")

    async def faults(self) -> list[str]:
        """Return what SQLite's own integrity check finds wrong with the file; nothing where it is sound."""
        found = [str(row[0]) for row in self._rows("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    async def close(self) -> None:
        """See the contract."""
        self._writer.close()
        self._connection.close()


def open_store(path: Path, *, patience: float = 10.0, upgrade: bool = True, create: bool = True) -> SqliteStore:
    """Open a database file, creating and upgrading it where that is allowed; wait up to `patience` seconds for locks.

    Raises:
        DatabaseRefused: the file cannot serve; the detail says why and what to do.
    """
    prepare(path, upgrade=upgrade, create=create)
    try:
        return SqliteStore(path, patience=patience)
    except apsw.Error as error:
        raise translated(error) from error
