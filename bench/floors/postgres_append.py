"""The smallest service that appends facts to Portrait's own table on PostgreSQL, and commits them in groups."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from bench.floors.appending import COLUMNS, Appender, Row
from bench.floors.asgi import setting

INSERT = f"INSERT INTO facts ({', '.join(COLUMNS)}) VALUES ({', '.join(f'${n + 1}' for n in range(len(COLUMNS)))})"  # noqa: S608  # of constants
_opened: list[Any] = []


async def _opening() -> None:
    _opened.append(await asyncpg.connect(setting("DATABASE")))


async def _commit(rows: Sequence[Row]) -> None:
    # One transaction, sent in one go.
    await _opened[0].executemany(INSERT, rows)


app = Appender(_opening, _commit)
