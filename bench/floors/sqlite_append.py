"""The smallest service that appends facts to a table on SQLite that has all of Portrait's, and commits in groups."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from bench.floors import plain
from bench.floors.appending import COLUMNS, Appender, Row
from bench.floors.asgi import setting
from portrait.storage.sqlite.connection import connect

INSERT = f"INSERT INTO {plain.TABLE} ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608  # of constants
_connection = connect(Path(setting("FILE")), patience=10.0)
plain.make(_connection, filled=True)


async def _opening() -> None:
    """Do nothing: the file is open."""


def _store(rows: Sequence[Row]) -> None:
    with _connection:
        _connection.executemany(INSERT, rows)


async def _commit(rows: Sequence[Row]) -> None:
    await asyncio.to_thread(_store, rows)


app = Appender(_opening, _commit)
