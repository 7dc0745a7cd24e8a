"""A table ten times as long takes no more memory."""

import asyncio
import gc
import gzip
import io
import json
import tracemalloc

import openpyxl
import pyarrow as pa
import pyarrow.parquet
import pytest

from portrait.tables.opening import open_tables
from tables.reading import layout

SHORT, LONG = 20_000, 200_000
BLOCK = 2**20
"""What is read at once; whether a row lies across two blocks is chance."""
MIDDLE = 60_000
"""So many elements fill the window on a JSON array."""


class Generated(io.RawIOBase):
    """A stream of parts that are made when they are read."""

    def __init__(self, parts):
        self._parts = iter(parts)
        self._rest = b""

    def readable(self):
        return True

    def read(self, size=-1):
        while len(self._rest) < size and (part := next(self._parts, None)) is not None:
            self._rest += part
        part, self._rest = self._rest[:size], self._rest[size:]
        return part

    read1 = read


def csv_parts(rows):
    yield b"id,email,note\n"
    for start in range(0, rows, 1000):
        yield b"".join(
            b'%08d,person%d@example.com,"a\nb"\n' % (number, number) for number in range(start, start + 1000)
        )


def jsonl_parts(rows):
    for start in range(0, rows, 1000):
        yield b"".join(
            b'{"id":%d,"email":"person%d@example.com"}\n' % (number, number) for number in range(start, start + 1000)
        )


def json_parts(rows):
    yield b'{"other":[0,'
    yield from (part.replace(b"\n", b",") for part in jsonl_parts(rows // 4))
    yield b'{}],"rows":['
    yield from (part.replace(b"\n", b",") for part in jsonl_parts(rows))
    yield b"{}]}"


def peak(stream, rows, **fields):
    """Return the most memory that reading takes, and count the rows."""

    async def count(table):
        return sum([len(batch) async for batch in table.batches(["id", "email"])])

    gc.collect()
    tracemalloc.start()
    try:
        with open_tables(stream, layout(**fields)) as (table,):
            assert asyncio.run(count(table)) >= rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        (csv_parts, {"format": "csv"}),
        (jsonl_parts, {"format": "jsonl"}),
        (json_parts, {"format": "json", "path": "rows"}),
    ],
)
def test_streams_of_text(parts, fields):
    short, long = (peak(Generated(parts(rows)), rows, **fields) for rows in (SHORT, LONG))
    assert long < 1.2 * short + BLOCK


def test_packed_text():
    short, long = (
        peak(io.BytesIO(gzip.compress(b"".join(csv_parts(rows)), mtime=0)), rows, format="csv")
        for rows in (SHORT, LONG)
    )
    assert long < 1.2 * short + BLOCK


def test_parquet_and_arrow():
    """What the library itself holds, a row group and a batch, is not seen here."""

    def written(rows, kind):
        stream = io.BytesIO()
        table = pa.table({"id": [str(number) for number in range(rows)], "email": ["a@example.com"] * rows})
        if kind == "parquet":
            pyarrow.parquet.write_table(table, stream, row_group_size=10_000)
        else:
            with pa.ipc.new_file(stream, table.schema) as writer:
                writer.write_table(table, max_chunksize=10_000)
        stream.seek(0)
        return stream

    for kind in ("parquet", "arrow"):
        # A stream in memory is copied to a file: the copy takes no memory that is counted.
        short, long = (peak(written(rows, kind), rows, format=kind) for rows in (SHORT, LONG))
        assert long < 1.2 * short + 2**17


def test_sheets():
    """openpyxl keeps an empty element for each row: less than 250 bytes, and a sheet has a million rows at most."""

    def written(rows):
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet()
        sheet.append(["id", "email"])
        for number in range(rows):
            sheet.append([str(number), "a@example.com"])
        stream = io.BytesIO()
        book.save(stream)
        stream.seek(0)
        return stream

    short, long = (peak(written(rows), rows, format="xlsx") for rows in (2000, 20_000))
    assert long < short + 250 * 18_000


def test_a_long_element_is_read_whole():
    document = json.dumps([{"id": "x" * 900_000, "email": ""}]).encode()
    assert peak(io.BytesIO(document), 1, format="json") < 16 * 2**20
