"""Whatever the format, a table of texts is read back as the same cells."""

import asyncio
import csv
import gzip
import io
import json
import re
import sqlite3

import asyncpg
import openpyxl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portrait.tables.databases import open_query
from tables.reading import cells, read, rows_of

COLUMNS = ("id", "e-mail", "Ort, Land")
characters = st.one_of(
    st.sampled_from("\",;\t\n\r |'#=0123456789.+-eé\u2028\x85🎉"),
    st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0"),
)
texts = st.text(characters, max_size=12)
tables = st.lists(st.tuples(texts, texts, texts), max_size=8)
quick = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def filled(table):
    """Return the rows that say something: the others are left out of texts and sheets."""
    return [list(row) for row in table if any(row)]


@quick
@given(
    table=tables,
    delimiter=st.sampled_from(",;\t|"),
    quote=st.sampled_from("\"'"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"]),
)
def test_csv(table, delimiter, quote, end, quoting, encoding):
    stream = io.StringIO(newline="")
    if any(mark in cell for row in table for cell in row for mark in "\r\n"):
        quoting = csv.QUOTE_ALL  # before Python 3.13 the writer quotes only the ends of lines that it writes itself
    writer = csv.writer(stream, delimiter=delimiter, quotechar=quote, lineterminator=end, quoting=quoting)
    writer.writerow(COLUMNS)
    writer.writerows(table)
    raw = stream.getvalue().encode(encoding)
    fields = {"format": "csv", "delimiter": delimiter, "quote": quote, "encoding": encoding.removesuffix("-sig")}
    assert cells(read(raw, COLUMNS, **fields)) == filled(table)
    packed = gzip.compress(raw, mtime=0)
    assert cells(read(packed, COLUMNS[::-1], **fields)) == [row[::-1] for row in filled(table)]


@quick
@given(table=tables, is_ascii=st.booleans())
def test_json(table, is_ascii):
    objects = [dict(zip(COLUMNS, row, strict=True)) for row in table]
    expected = [list(row) for row in table]
    lines = "\n".join(json.dumps(item, ensure_ascii=is_ascii) for item in objects).encode()
    assert cells(read(lines, COLUMNS, format="jsonl")) == expected
    array = json.dumps(objects, ensure_ascii=is_ascii, indent=1).encode()
    assert cells(read(array, COLUMNS, format="json")) == expected
    document = json.dumps({"a": {"rows": objects}}, ensure_ascii=is_ascii).encode()
    assert cells(read(document, COLUMNS, format="json", path="a.rows")) == expected


def can_be_in_a_sheet(text):
    """Tell whether openpyxl writes a text as it is: it refuses control characters, and XML knows one line end."""
    is_text = not text.startswith("=") and not re.fullmatch(r"#[A-Z0-9/!?]+", text)
    return (
        is_text
        and "_x" not in text
        and re.fullmatch(r"[^\x00-\x1f\ufffe\uffff\r]*", text.replace("\n", "").replace("\t", ""))
    )


@quick
@given(table=st.lists(st.tuples(*[texts.filter(can_be_in_a_sheet)] * 3), max_size=8))
def test_xlsx(table):
    book = openpyxl.Workbook()
    book.active.append(COLUMNS)
    for row in table:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    assert cells(read(stream.getvalue(), COLUMNS, format="xlsx")) == filled(table)


@quick
@given(table=tables)
def test_parquet_and_arrow(table):
    columns = pa.table(
        {name: pa.array([row[index] for row in table], pa.string()) for index, name in enumerate(COLUMNS)}
    )
    expected = [list(row) for row in table]
    stream = io.BytesIO()
    pyarrow.parquet.write_table(columns, stream)
    assert cells(read(stream.getvalue(), COLUMNS, format="parquet")) == expected
    stream = io.BytesIO()
    pyarrow.feather.write_feather(columns, stream)
    assert cells(read(stream.getvalue(), COLUMNS, format="arrow")) == expected


async def queried(url, sql):
    async with open_query(url, sql) as table:
        return cells(await rows_of(table, COLUMNS))


@quick
@given(table=tables)
def test_sqlite(tmp_path, table):
    connection = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    connection.execute("DROP TABLE IF EXISTS t")
    connection.execute('CREATE TABLE t ("id", "e-mail", "Ort, Land")')
    connection.executemany("INSERT INTO t VALUES (?, ?, ?)", table)
    connection.close()
    assert asyncio.run(queried(f"sqlite:///{tmp_path}/t.db", "SELECT * FROM t ORDER BY rowid")) == [
        list(row) for row in table
    ]


@quick
@given(table=tables)
def test_postgresql(postgres_url, table):
    async def written_and_read():
        connection = await asyncpg.connect(postgres_url)
        names = ", ".join(f'"{name}" text' for name in COLUMNS)
        await connection.execute(f"DROP TABLE IF EXISTS t; CREATE TABLE t ({names}, n serial)")
        await connection.executemany("INSERT INTO t VALUES ($1, $2, $3)", table)
        await connection.close()
        return await queried(postgres_url, "SELECT * FROM t ORDER BY n")

    assert asyncio.run(written_and_read()) == [list(row) for row in table]


@pytest.mark.parametrize("number", ["442079460018", "731", "0", "-5"])
def test_a_whole_number_is_the_same_text_in_every_format(number):
    """So the same records are the same bytes, from wherever they come."""
    value = int(number)
    book, sheet = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["v"])
    book.active.append([float(value)])
    book.save(sheet)
    columns = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"v": [float(value)]}), columns)
    read_in = {
        "csv": cells(read(f"v\n{number}\n".encode(), format="csv")),
        "jsonl": cells(read(f'{{"v":{number}}}'.encode(), ["v"], format="jsonl")),
        "xlsx": cells(read(sheet.getvalue(), format="xlsx")),
        "parquet": cells(read(columns.getvalue(), format="parquet")),
    }
    assert all(rows == [[number]] for rows in read_in.values()), read_in
