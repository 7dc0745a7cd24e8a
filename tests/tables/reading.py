"""Reading tables in tests."""

import asyncio
import io
from pathlib import Path

import msgspec
import pytest

from portrait.model.errors import TableBroken
from portrait.tables.opening import open_tables
from portrait.tables.table import Layout, Unreadable


def layout(**fields):
    return msgspec.structs.replace(Layout(), **fields)


async def rows_of(table, wanted=None):
    """Return all rows of a table; of all its columns, if none are chosen."""
    chosen = table.columns if wanted is None else wanted
    return [row async for batch in table.batches(chosen) for row in batch]


def read(file, wanted=None, **fields):
    """Return the rows of the only table of a file, or of bytes as of a pipe."""
    if isinstance(file, bytes):
        file = io.BytesIO(file)
    with open_tables(file, layout(**fields)) as tables:
        (table,) = tables
        return asyncio.run(rows_of(table, wanted))


async def broken(file, wanted=None, **fields):
    """Return the rows before a table breaks, and why it does."""
    rows = []

    async def read_on(table):
        async for batch in table.batches(table.columns if wanted is None else wanted):
            rows.extend(batch)

    with open_tables(file, layout(**({"format": "csv"} | fields))) as (table,):
        with pytest.raises(TableBroken) as refusal:
            await read_on(table)
        return rows, refusal.value.detail


def read_csv(raw, wanted=None, **fields):
    return read(raw, wanted, **({"format": "csv"} | fields))


def cells(rows):
    """Return the cells of each row, where a cell cannot be read why."""
    return [[cell.why if isinstance(cell, Unreadable) else cell for cell in row.cells] for row in rows]


def written(directory, name, raw):
    path = Path(directory) / name
    path.write_bytes(raw)
    return path
