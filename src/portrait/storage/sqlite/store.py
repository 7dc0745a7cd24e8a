"""The engine's face: one database file."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import apsw

from portrait.model.errors import StorageFailed
from portrait.storage.contract import Reads, Work
from portrait.storage.migrations import LATEST, REVISION
from portrait.storage.sqlite.connection import Progress, connect, prepare, refusal, schema_version, translated
from portrait.storage.sqlite.copies import backup
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
        """Return what SQLite's own check finds wrong, and facts of no identifier; nothing where the file is sound."""
        lines = [str(row[0]) for row in self._rows("PRAGMA integrity_check(20)")]
        unknown = self._rows("SELECT count(*) FROM facts WHERE identifier NOT IN (SELECT number FROM identifiers)")[0][
            0
        ]
        nobodys = [f"{unknown:,} facts refer to identifiers that are not there"] if unknown else []
        return nobodys + ([] if lines == ["ok"] else lines)

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


class UpgradedCopy(SqliteStore):
    """A copy of a database of an older version, brought forward; it is gone once it is closed.

    Args:
        path: the database's file.
        patience: how long to wait for locks, in seconds.
    """

    def __init__(self, path: Path, *, patience: float) -> None:
        with closing(connect(path, patience=patience)) as connection:
            self._revision = str(schema_version(connection))
        self._directory = tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent)
        copy = Path(self._directory.name, path.name)
        backup(path, copy, patience=patience)
        prepare(copy, upgrade=True, create=False)
        super().__init__(copy, patience=patience)

    async def revision(self) -> str:
        """Return the revision of the database that it is a copy of."""
        return self._revision

    async def close(self) -> None:
        """See the contract."""
        await super().close()
        self._directory.cleanup()


def open_store(
    path: Path,
    *,
    patience: float = 10.0,
    upgrade: bool | None = True,
    create: bool = True,
    reading: bool = False,
    progress: Progress | None = None,
) -> SqliteStore:
    """Open a database file.

    Args:
        path: the file.
        patience: how long to wait for locks, in seconds.
        upgrade: whether an older schema, or none, is brought to this version; None: unless that rewrites the file.
        create: whether a file that is not there is made.
        reading: whether it is only read: of an older schema, where it is not upgraded, a copy is.
        progress: is told how far an upgrade is.

    Raises:
        DatabaseRefused: the file cannot serve; the detail says why and what to do.
    """
    prepare(path, upgrade=upgrade, create=create, reading=reading, progress=progress)
    try:
        return (UpgradedCopy if reading and _is_older(path) else SqliteStore)(path, patience=patience)
    except apsw.Error as error:
        raise translated(error) from error
    except OSError as error:  # it was there a moment ago
        raise refusal(path, apsw.CantOpenError()) from error


def _is_older(path: Path) -> bool:
    with closing(connect(path, patience=0)) as connection:
        return schema_version(connection) != LATEST
