"""Bare COPY: as many rows as events make records, into a table without an index, a transaction for each batch.

`python -m bench.floors.copying TARGET CONNECTIONS SECONDS` makes the table anew and prints how many batches a second
were copied. The rows are made before the time begins, and are the same in every batch.
"""

import asyncio
import sys
import time
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from bench.events import SOURCE, Events, lines
from bench.population import TENANT

BATCH = 100
"""As many events make the rows of a batch as a request has."""
COLUMNS = ("tenant", "source", "id", "user_id", "section", "at", "body")
_MAKE = "CREATE TABLE copied (tenant text, source text, id text, user_id text, section text, at timestamptz, body text)"


def rows() -> list[tuple[Any, ...]]:
    """Return a row for each record of a batch's events."""
    return [
        (
            TENANT, SOURCE, event["messageId"], line["customerId"], line["section"],
            datetime.fromisoformat(event["timestamp"]), msgspec.json.encode(line["record"]).decode(),
        )
        for event in Events(BATCH, 0).some(BATCH) for line in lines(event)
    ]  # fmt: skip


async def copied(target: str, connections: int, seconds: float) -> float:
    """Copy for so long over so many connections; return the batches a second."""
    batch, count = rows(), 0
    async with asyncpg.create_pool(target, min_size=connections, max_size=connections) as pool:
        await pool.execute("DROP TABLE IF EXISTS copied")
        await pool.execute(_MAKE)
        begun = time.perf_counter()

        async def copy() -> None:
            nonlocal count
            async with pool.acquire() as connection:
                while time.perf_counter() - begun < seconds:
                    await connection.copy_records_to_table("copied", records=batch, columns=COLUMNS)
                    count += 1

        await asyncio.gather(*(copy() for _ in range(connections)))
        return count / (time.perf_counter() - begun)


def main(target: str, connections: str, seconds: str) -> None:
    """Print the batches a second."""
    print(asyncio.run(copied(target, int(connections), float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
