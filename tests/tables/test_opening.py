"""Files are what their bytes say, packed or not; what is cut off, damaged or changed is never taken for whole."""

import asyncio
import gzip
import io
import os
import sys
import zipfile

import openpyxl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from portrait.model.errors import InputRefused, TableBroken
from portrait.tables import sources
from portrait.tables.opening import open_tables
from tables.reading import broken, cells, layout, read, rows_of, written

TEXT = b"id,name\n1,Anna\n2,Bob\n"
ROWS = [["1", "Anna"], ["2", "Bob"]]


def parquet_bytes():
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"id": ["1", "2"], "name": ["Anna", "Bob"]}), stream)
    return stream.getvalue()


def feather_bytes():
    stream = io.BytesIO()
    pyarrow.feather.write_feather(pa.table({"id": ["1", "2"], "name": ["Anna", "Bob"]}), stream)
    return stream.getvalue()


def arrow_bytes():
    table = pa.table({"id": ["1", "2"], "name": ["Anna", "Bob"]})
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def xlsx_bytes():
    book = openpyxl.Workbook()
    for row in [["id", "name"], ["1", "Anna"], ["2", "Bob"]]:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def zip_bytes(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return stream.getvalue()


JSON = b'[{"id":1,"name":"Anna"},{"id":"2","name":"Bob"}]'
LINES = b'{"id":1,"name":"Anna"}\n{"id":"2","name":"Bob"}'
FILES = {
    "a.csv": TEXT,
    "a.txt": TEXT,
    "A.CSV": TEXT,
    "a.tsv": TEXT.replace(b",", b"\t"),
    "a.json": JSON,
    "a.jsonl": LINES,
    "a.ndjson": LINES,
    "a.xlsx": xlsx_bytes(),
    "a.parquet": parquet_bytes(),
    "a.feather": feather_bytes(),
    "a.arrow": arrow_bytes(),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("way", ["plain", "gzip", "zip"])
def test_the_name_says_the_format(tmp_path, name, way):
    raw = FILES[name]
    if way == "gzip":
        name, raw = f"{name}.gz", gzip.compress(raw, mtime=0)
    elif way == "zip":
        name, raw = "a.zip", zip_bytes({name: raw})
    assert cells(read(written(tmp_path, name, raw), ["id", "name"])) == ROWS


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("csv", "a.csv"),
        ("json", "a.json"),
        ("jsonl", "a.jsonl"),
        ("xlsx", "a.xlsx"),
        ("parquet", "a.parquet"),
        ("arrow", "a.arrow"),
        ("arrow", "a.feather"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_stream_is_read_by_its_format(kind, name, pack):
    assert cells(read(pack(FILES[name]), ["id", "name"], format=kind)) == ROWS


def test_a_pipe_with_a_name_is_a_stream(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, TEXT)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 # a descriptor
        assert cells(read(pipe, format="csv")) == ROWS


def test_a_stream_needs_its_format():
    with pytest.raises(InputRefused, match="set format to one of csv, json, jsonl, xlsx, parquet, arrow"):
        read(TEXT)


def test_a_file_of_an_unknown_ending_needs_its_format(tmp_path):
    path = written(tmp_path, "export.dat", TEXT)
    with pytest.raises(InputRefused, match=r"export\.dat does not say its format"):
        read(path)
    assert cells(read(path, format="csv")) == ROWS


def test_a_name_is_no_pattern(tmp_path):
    """Trap 6."""
    written(tmp_path, "export1.csv", b"id\nwrong\n")
    assert cells(read(written(tmp_path, "export[1].csv", b"id\nright\n"))) == [["right"]]


def test_a_folder_s_name_makes_no_column(tmp_path):
    (tmp_path / "id=00731").mkdir()
    path = written(tmp_path / "id=00731", "a.csv", TEXT)
    with open_tables(path) as (table,):
        assert table.columns == ("id", "name")
        assert table.name == "a.csv"


def test_files_of_an_archive_are_tables_in_the_order_of_their_names(tmp_path):
    """Trap 30: the file's name may be what its rows mean."""
    files = {
        "unsubscribed_x.csv": TEXT,
        "subscribed_x.csv": TEXT,
        "notes/readme.md": b"#",
        "__MACOSX/._subscribed_x.csv": b"\0",
    }
    path = written(tmp_path, "export.zip", zip_bytes(files))
    with open_tables(path, layout(members="*.csv")) as tables:
        assert [table.name for table in tables] == ["subscribed_x.csv", "unsubscribed_x.csv"]
        assert [cells(asyncio.run(rows_of(table))) for table in tables] == [ROWS, ROWS]
    with open_tables(path, layout(members="unsub*")) as tables:
        assert [table.name for table in tables] == ["unsubscribed_x.csv"]
    with pytest.raises(InputRefused, match=r"readme\.md does not say its format: set members"):
        read(path)
    with pytest.raises(InputRefused, match=r"set members to match some of notes/readme\.md, subscribed_x\.csv"):
        read(path, members="*.json")


def test_files_of_one_name_in_several_folders_keep_their_folders(tmp_path):
    path = written(tmp_path, "export.zip", zip_bytes({"b/a.csv": TEXT, "a/a.csv": TEXT}))
    with open_tables(path) as tables:
        assert [table.name for table in tables] == ["a/a.csv", "b/a.csv"]


def test_a_workbook_is_no_archive_of_files(tmp_path):
    path = written(tmp_path, "a.xlsx", FILES["a.xlsx"])
    with open_tables(path) as tables:
        assert [table.name for table in tables] == ["a.xlsx"]


def test_an_encrypted_member_is_refused(tmp_path):
    raw = bytearray(zip_bytes({"a.csv": TEXT}))
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InputRefused, match=r"a\.csv in x\.zip is encrypted"):
        read(written(tmp_path, "x.zip", bytes(raw)))


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("a.csv", FILES["a.parquet"], 'is a Parquet file, but is to be read as csv: set format = "parquet"'),
        ("a.csv", FILES["a.xlsx"], 'is an Excel workbook, but is to be read as csv: set format = "xlsx"'),
        ("a.csv", FILES["a.feather"], 'set format = "arrow"'),
        ("a.parquet", TEXT, "is a text, but is to be read as parquet"),
        ("a.xlsx", TEXT, "is a text, but is to be read as xlsx"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "an old or an encrypted workbook"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "an old or an encrypted workbook"),
        ("a.xls", b"<html><table>", "a page or XML"),
        ("a.xls", TEXT, "save it as .xlsx"),
        ("a.csv", b"<!DOCTYPE html><html>", "a page or XML"),
        ("a.csv", b"SQLite format 3\0" + b"\0" * 90, "sqlite:///file"),
        ("a.csv.bz2", b"BZh91AY&SY\x00\x01", "unpack it first"),
        ("a.csv.gz", gzip.compress(gzip.compress(TEXT)), "packed twice"),
        ("a.ods", zip_bytes({"mimetype": b"x", "content.xml": b"x"}), "OpenDocument"),
        ("a.xlsb", zip_bytes({"[Content_Types].xml": b"x", "xl/workbook.bin": b"x"}), "binary workbook"),
        ("a.docx", zip_bytes({"[Content_Types].xml": b"x", "word/document.xml": b"x"}), "document of Office"),
        ("a.zip", zip_bytes({"b.zip": zip_bytes({"a.csv": TEXT})}), "does not say its format"),
        ("a.zip", zip_bytes({"a.csv": TEXT})[:-10], "damaged or cut off"),
        ("a.parquet", FILES["a.parquet"][:-20], "is damaged"),
        ("a.arrow", TEXT, "is damaged"),
        ("a.json", TEXT, None),
    ],
)
def test_a_file_that_is_something_else_says_what_it_is(tmp_path, name, raw, words):
    with pytest.raises(InputRefused) as refusal:
        read(written(tmp_path, name, raw), ["id"])
    assert words is None or words in refusal.value.detail
    assert refusal.value.detail.startswith(("a.", "b."))


@pytest.mark.parametrize("first", ["PAR1", "ORC", "BZh", "Rar!", "Obj"])
def test_a_text_may_begin_as_another_format_does(first):
    assert cells(read(f"{first},b\n1,2\n".encode(), format="csv")) == [["1", "2"]]


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputRefused, match="cannot be opened: No such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(InputRefused, match="cannot be opened: Is a directory"):
        read(tmp_path)


async def test_a_packed_file_that_is_cut_off_gives_what_it_has_and_says_where(tmp_path):
    lines = [f"{number},{number * 7919 % 104729}" for number in range(20_000)]
    packed = gzip.compress("\n".join(["id,x", *lines]).encode(), mtime=0)
    rows, why = await broken(written(tmp_path, "a.csv.gz", packed[: len(packed) // 2]))
    assert 0 < len(rows) < 20_000
    assert [list(row.cells) for row in rows] == [line.split(",") for line in lines[: len(rows)]]
    assert f"a.csv.gz cannot be read behind row {rows[-1].number}: what is packed is cut off." in why


@pytest.mark.parametrize("kind", ["xlsx", "parquet", "json"])
def test_a_packed_file_that_is_cut_off_is_refused_before_the_first_row(tmp_path, kind):
    raw = FILES[f"a.{kind}"] + b" " * 100_000
    packed = gzip.compress(raw, mtime=0)
    with pytest.raises(InputRefused, match="cut off"):
        read(written(tmp_path, f"a.{kind}.gz", packed[:-20]), ["id"])


async def test_a_damaged_packed_file_ends_the_table(tmp_path):
    packed = bytearray(gzip.compress(TEXT * 50_000, mtime=0))
    packed[-8] ^= 255
    rows, why = await broken(written(tmp_path, "a.csv.gz", bytes(packed)))
    assert rows
    assert "damaged" in why


async def test_a_damaged_member_ends_the_table(tmp_path):
    raw = zip_bytes({"a.csv": TEXT * 5000})
    raw = raw.replace(raw[14:18], b"\1\2\3\4")  # both places of its checksum
    _, why = await broken(written(tmp_path, "a.zip", raw))
    assert "a.csv cannot be read" in why
    assert "damaged" in why


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl", "a.xlsx", "a.parquet", "a.arrow", "a.feather"])
async def test_a_file_that_changes_while_it_is_read_says_so(tmp_path, name):
    path = written(tmp_path, name, FILES[name])
    with open_tables(path) as (table,):
        with path.open("ab") as file:
            file.write(b" ")
        rows = []
        with pytest.raises(TableBroken, match=r"it changed while it was read\. Load it again"):
            rows = await rows_of(table, ["id"])
        assert rows == []


async def test_a_file_that_is_written_anew_says_so(tmp_path):
    path = written(tmp_path, "a.csv", TEXT)
    with open_tables(path) as (table,):
        os.utime(path, ns=(1, 1))
        with pytest.raises(TableBroken, match="it changed while it was read"):
            await rows_of(table)


async def test_progress_is_that_of_the_file(tmp_path):
    text = b"id,name\n" + b"".join(b"%d,%d\n" % (n, pow(7, n, 10**9 + 7)) for n in range(100_000))
    for name, raw in {
        "a.csv": text,
        "a.csv.gz": gzip.compress(text, mtime=0),
        "a.zip": zip_bytes({"a.csv": text}),
    }.items():
        with open_tables(written(tmp_path, name, raw)) as (table,):
            seen = [table.progress async for _ in table.batches(["id"])]
        assert seen == sorted(seen)
        assert 0 < seen[0] < 0.9
        assert 0.9 < seen[-1] <= 1
    with open_tables(io.BytesIO(text), layout(format="csv")) as (table,):
        assert table.progress is None


@pytest.mark.parametrize(
    ("library", "name", "extra"),
    [("openpyxl", "a.xlsx", "excel"), ("pyarrow", "a.parquet", "parquet"), ("pyarrow", "a.arrow", "parquet")],
)
def test_a_missing_library_says_what_to_install(tmp_path, monkeypatch, library, name, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputRefused, match=rf"pip install .*\[{extra}\]"):
        read(written(tmp_path, name, FILES[name]), ["id"])


def test_no_room_for_a_copy_says_so(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources.shutil, "copyfileobj", full)
    with pytest.raises(InputRefused, match=r"No space left on device\. Make room in .* or set TMPDIR"):
        read(FILES["a.xlsx"], format="xlsx")


async def test_a_reader_of_a_pipe_that_gives_up_does_not_wait():
    """The thread that waits for the pipe keeps nobody."""
    reading, writing = os.pipe()
    os.write(writing, TEXT + b"x" * 5000)
    with os.fdopen(reading, "rb") as pipe, open_tables(pipe, layout(format="csv")) as (table,):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rows_of(table), 0.05)
        os.close(writing)  # else closing the pipe would wait for its reader
        await asyncio.sleep(0.05)
