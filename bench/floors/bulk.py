"""The bare insert: all facts of a database into an empty table in which nothing has a number, 1,000 a transaction.

`python -m bench.floors.bulk SOURCE TARGET` prints how many seconds the inserts took; reading is not counted.
"""

import asyncio
import sys
import time

import asyncpg

from bench.floors import plain
from bench.floors.appending import COLUMNS
from portrait.settings import engine_of, sqlite_path
from portrait.storage.sqlite.connection import connect

GROUP = 1000
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM facts"  # noqa: S608  # of constants
_INSERT = f"INSERT INTO {plain.TABLE} ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608  # of constants


def sqlite(source: str, target: str) -> float:
    """Insert by executemany, each group in a transaction that waits for the disk; return the seconds."""
    rows = connect(sqlite_path(source), patience=10.0).execute(f"{plain.SELECTED} ORDER BY recorded_at, id").fetchall()
    connection = connect(sqlite_path(target), patience=10.0)
    plain.make(connection, filled=False)
    begun = time.perf_counter()
    for first in range(0, len(rows), GROUP):
        with connection:
            connection.executemany(_INSERT, rows[first : first + GROUP])
    return time.perf_counter() - begun


async def postgres(source: str, target: str) -> float:
    """Insert by COPY, each group in a transaction; return the seconds."""
    reading = await asyncpg.connect(source)
    rows = [tuple(row) for row in await reading.fetch(f"{_SELECT} ORDER BY recorded_at, id")]
    await reading.close()
    connection = await asyncpg.connect(target)
    begun = time.perf_counter()
    for first in range(0, len(rows), GROUP):
        await connection.copy_records_to_table("facts", records=rows[first : first + GROUP], columns=COLUMNS)
    seconds = time.perf_counter() - begun
    await connection.close()
    return seconds


def main(source: str, target: str) -> None:
    """Print the seconds."""
    seconds = sqlite(source, target) if engine_of(source) == "sqlite" else asyncio.run(postgres(source, target))
    print(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
