"""A guess is right where a file is plain, and says its doubts where it is not."""

import gzip
import io
import zipfile

import openpyxl
import pytest

from portrait.model.errors import InputRefused
from portrait.tables.guess import guess
from portrait.tables.table import Layout
from tables.reading import cells, read, written

BODY = "id{0}name{0}note\n1{0}Anna{0}x\n2{0}Bob{0}y\n"


def sheet_bytes(*rows, more=()):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for title in more:
        book.create_sheet(title).append(["a", "b"])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def zip_bytes(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, raw in files.items():
            archive.writestr(name.replace("_", "."), raw)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "raw", "layout"),
    [
        ("a.csv", BODY.format(","), Layout()),
        ("a.csv", BODY.format(";"), Layout(delimiter=";")),
        ("a.csv", BODY.format("|"), Layout(delimiter="|")),
        ("a.tsv", BODY.format("\t"), Layout(delimiter="\t")),
        ("a.txt", BODY.format("  "), Layout(delimiter="spaces")),
        ("a.dat", BODY.format(","), Layout(format="csv")),
        ("a.csv", 'id;name\n1;"a,b,c"\n2;"d\n;e"\n', Layout(delimiter=";")),
        ("a.csv", BODY.format(",").encode("utf-16"), Layout(encoding="utf-16")),
        ("a.csv", BODY.format(",").encode("utf-16-le"), Layout(encoding="utf-16-le")),
        ("a.csv", BODY.format(",").encode("utf-8-sig"), Layout()),
        ("a.csv.gz", gzip.compress(BODY.format(";").encode()), Layout(delimiter=";")),
        ("a.json", '[{"id":1}]', Layout()),
        ("a.jsonl", '{"id":1}\n{"id":2}', Layout()),
        ("a.txt", '{"id":1}\n{"id":2}', Layout(format="jsonl")),
        ("a.txt", '[{"id":1}]', Layout(format="json")),
        (
            "a.json",
            '{"meta":{"n":[1]},"data":{"customers":[{"id":1,"orders":[{"n":1}]}]}}',
            Layout(path="data.customers"),
        ),
        ("a.xlsx", sheet_bytes(["id", "name"], [1, "x"]), Layout()),
        ("a.bin", sheet_bytes(["id", "name"], [1, "x"]), Layout(format="xlsx")),
    ],
)
def test_a_plain_file_is_guessed_without_a_doubt(tmp_path, name, raw, layout):
    path = written(tmp_path, name, raw.encode() if isinstance(raw, str) else raw)
    assert guess(path).layout == layout
    assert guess(path).doubts == ()


@pytest.mark.parametrize(
    ("name", "raw", "layout", "doubt"),
    [
        ("a.csv", "id,name\n1,José\n".encode("cp1252"), Layout(encoding="cp1252"), "is only likely"),
        (
            "a.csv",
            "bob,bob@example.com\nann,a@example.com\n",
            Layout(columns=("column 1", "column 2")),
            "looks like data",
        ),
        ("a.csv", "bob,smith\nann,lee\n", Layout(), "Nothing shows whether the first line is a header"),
        ("a.csv", "Report\n\nid,n\n1,2\n3,4\n", Layout(skip=2), "Line 3 seems to be the header"),
        ("a.csv", "sep=;\nid;n\n1;2\n3;4\n", Layout(skip=1, delimiter=";"), "Line 2 seems to be the header"),
        ("a.csv", "id,n\n1,2\n3,4\nTotal\n", Layout(), "3 of the first 4 rows have 2 cells"),
        ("a.csv", "id\n1\n2\n", Layout(), "No delimiter parts the lines evenly"),
        ("a.json", '{"a":[{"x":1}],"b":[{"x":1}]}', Layout(path="a"), "perhaps `a`, `b`"),
        ("a.json", '{"a":1,\n"b":2}', Layout(), "Set path"),
        ("a.xlsx", sheet_bytes(["id", "n"], [1, 2], more=["Other"]), Layout(sheet="Sheet"), "`Sheet`, `Other`"),
        ("a.xlsx", sheet_bytes(["Customers"], [], ["id", "n"], [1, 2], [3, 4]), Layout(skip=2), "Line 3 seems"),
        ("a.zip", zip_bytes(a_csv="id;n\n1;2\n", b_csv="x"), Layout(delimiter=";"), "holds 2 files"),
        ("a.zip", zip_bytes(a_md="#", b_csv="id;n\n1;2\n"), Layout(delimiter=";", members="*.csv"), "ending in .csv"),
    ],
)
def test_what_speaks_against_a_guess_is_said(tmp_path, name, raw, layout, doubt):
    path = written(tmp_path, name, raw.encode() if isinstance(raw, str) else raw)
    assert guess(path).layout == layout
    assert any(doubt in said for said in guess(path).doubts), guess(path).doubts
    assert "example.com" not in " ".join(guess(path).doubts)


def test_a_guess_is_a_layout_to_read_with(tmp_path):
    path = written(tmp_path, "a.csv", b"Report\nid;name\n1;Anna\n2;Bob\n")
    layout = guess(path).layout
    assert cells(read(path, ["name"], skip=layout.skip, delimiter=layout.delimiter)) == [["Anna"], ["Bob"]]


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputRefused, match="a PDF"):
        guess(written(tmp_path, "a.csv", b"%PDF-1.7\n\x01"))
    with pytest.raises(InputRefused, match="cut off"):
        guess(written(tmp_path, "a.csv.gz", gzip.compress(b"x" * 9999)[:-12]))


def test_an_empty_file_is_guessed_with_a_doubt(tmp_path):
    assert guess(written(tmp_path, "a.csv", b"")).doubts
