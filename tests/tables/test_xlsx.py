"""Sheets of workbooks: a cell is the text that it shows, or its value; a value that is lost is never guessed."""

import asyncio
import io
import re
import zipfile
from datetime import date, datetime, time, timedelta

import openpyxl
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from portrait.model.errors import InputRefused
from portrait.tables.opening import open_tables
from portrait.tables.xlsx import MAX_TEXTS_BYTES
from tables.reading import broken, cells, layout, read, rows_of

SHEET = "xl/worksheets/sheet1.xml"


def workbook(*rows, formats=(), change=None, prepare=None):
    """Return a workbook as bytes.

    `formats` gives number formats by address; `change` changes the parts, by their names, before they are packed.
    """
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for address, number_format in dict(formats).items():
        book.active[address].number_format = number_format
    if prepare:
        prepare(book)
    stream = io.BytesIO()
    book.save(stream)
    if change is None:
        return stream.getvalue()
    changed = io.BytesIO()
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return changed.getvalue()


def sheet(change):
    """Return a change of the first sheet's XML alone."""
    return lambda name, raw: change(raw) if name == SHEET else raw


def read_book(raw, wanted=None, **fields):
    return read(raw, wanted, **({"format": "xlsx"} | fields))


def cell_of(value, number_format="General", **options):
    """Return what a workbook's cell with a value gives."""
    ((cell,),) = cells(read_book(workbook(["v"], [value], formats={"A2": number_format}, **options)))
    return cell


@pytest.mark.parametrize(
    ("value", "number_format", "cell"),
    [
        ("00731", "General", "00731"),
        ("  731 ", "General", "  731 "),
        (442079460018, "General", "442079460018"),
        (442079460018.0, "General", "442079460018"),
        (999_999_999_999_999, "0", "999999999999999"),
        (-12, "General", "-12"),
        (0.5, "General", "0.5"),
        (0.125, "0.0%", "0.125"),
        (1.1, "#,##0.00", "1.1"),
        (731, "00000", "00731"),
        (731, "0", "731"),
        (123456, "00000", "123456"),
        (7.5, "00000", "7.5"),
        (True, "General", "true"),
        (False, "General", "false"),
        (datetime.fromisoformat("2026-04-03T10:00"), "yyyy-mm-dd h:mm:ss", "2026-04-03T10:00:00"),
        (datetime.fromisoformat("2026-04-03"), "yyyy-mm-dd h:mm:ss", "2026-04-03T00:00:00"),
        (datetime.fromisoformat("2026-04-03"), "dd.mm.yyyy", "2026-04-03"),
        (date(2026, 4, 3), "yyyy-mm-dd", "2026-04-03"),
        (date(2026, 4, 3), '[$-409]d "hours" mmm yy', "2026-04-03"),
        (time(10, 30), "h:mm:ss", "10:30:00"),
        (timedelta(days=1, hours=12), "[h]:mm:ss", "P1DT12H"),
        ("#N/A as text", "General", "#N/A as text"),
    ],
)
def test_values_are_their_texts(value, number_format, cell):
    """Traps 20, 24, 25, and the table of B7."""
    assert cell_of(value, number_format) == cell


def test_both_systems_of_dates_are_right():
    """Trap 21."""

    def old_mac(book):
        book.epoch = CALENDAR_MAC_1904

    assert cell_of(date(2026, 4, 3), "yyyy-mm-dd", prepare=old_mac) == "2026-04-03"


@pytest.mark.parametrize("value", [10**15, 1234567890123456789, -(10**16), 1e20])
def test_a_number_whose_digits_are_lost_is_unreadable(value):
    assert cell_of(value).startswith("holds a number at A2 of which Excel keeps 15 digits alone")


@pytest.mark.parametrize("error", ["#N/A", "#DIV/0!", "#REF!", "#NAME?"])
def test_an_error_is_unreadable(error):
    """Trap 23."""
    assert cell_of(error) == f"holds the error {error} at A2"


def test_a_date_that_cannot_be_is_unreadable():
    assert cell_of(10**9, "yyyy-mm-dd") == "holds the error #VALUE! at A2"


def test_the_text_of_an_error_is_a_text():
    raw = workbook(["v"], ["#N/A"], change=sheet(lambda raw: raw.replace(b't="e"', b't="str"')))
    assert cells(read_book(raw)) == [["#N/A"]]


def test_a_formula_without_its_value_is_unreadable():
    """Trap 22: a program that only writes workbooks computes nothing."""
    rows = read_book(workbook(["a", "b"], ["x", None], ["y", '=A2&"@x"'], [None, None], ["=1+1", "z"]))
    right = "open the workbook in a spreadsheet program and save it"
    assert [(row.number, row) for row in rows if row.fault] == []
    assert cells(rows) == [
        ["x", ""],
        ["y", f"holds a formula without its value at B3: {right}"],
        [f"holds a formula without its value at A5: {right}", "z"],
    ]


def test_a_formula_with_its_value_is_its_value():
    raw = workbook(["a"], ["=1+1"], change=sheet(lambda raw: re.sub(rb"<v ?/>|<v></v>", b"<v>2</v>", raw)))
    assert cells(read_book(raw)) == [["2"]]


def test_a_formula_whose_value_is_the_empty_text_is_empty():
    def as_saved(raw):
        return re.sub(rb'<c r="A2"[^>]*>(<f>.*?</f>)<v ?/>', rb'<c r="A2" t="str">\1<v></v>', raw)

    raw = workbook(["a", "b"], ['=IF(TRUE,"","x")', "y"], change=sheet(as_saved))
    assert cells(read_book(raw)) == [["", "y"]]


def test_escaped_characters_are_unescaped():
    """Excel writes a carriage return as `_x000D_`, and a text that looks so with an escaped underscore."""
    assert cell_of("a_x000D_\nb _x005F_x000D_ c_xyz_") == "a\r\nb _x000D_ c_xyz_"


def test_blank_rows_are_left_out_and_counted():
    rows = read_book(workbook(["a", "b"], ["1", "2"], [], [None, ""], ["3", None]))
    assert [(row.number, list(row.cells)) for row in rows] == [(2, ["1", "2"]), (5, ["3", ""])]


def test_rows_that_are_not_in_the_file_are_counted():
    raw = workbook(
        ["a"], ["1"], ["2"], change=sheet(lambda raw: raw.replace(b'r="3"', b'r="7"').replace(b'"A3"', b'"A7"'))
    )
    assert [(row.number, list(row.cells)) for row in read_book(raw)] == [(2, ["1"]), (7, ["2"])]


def test_rows_may_be_shorter_but_not_longer():
    rows = read_book(workbook(["a", "b", None], ["1"], ["1", "2", None, None], ["1", "2", None, "x"]))
    assert cells(rows) == [["1", ""], ["1", "2"], []]
    assert rows[2].fault == "It has a cell at D4, beyond the header: name its column."


def test_rows_behind_the_size_that_the_sheet_says_are_read():
    raw = workbook(
        ["a", "b"],
        ["1", "2"],
        change=sheet(lambda raw: re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1"', raw)),
    )
    assert cells(read_book(raw)) == [["1", "2"]]
    raw = workbook(["a"], ["1"], change=sheet(lambda raw: re.sub(rb"<dimension[^>]*>", b"", raw)))
    assert cells(read_book(raw)) == [["1"]]


def test_titles_before_the_header_are_skipped():
    def merge(book):
        book.active.merge_cells("A1:C1")

    raw = workbook(["Customer list 2026"], [], ["id", "name", "x"], ["1", "Anna", "y"], prepare=merge)
    assert [(row.number, list(row.cells)) for row in read_book(raw, ["name"], skip=2)] == [(4, ["Anna"])]
    with pytest.raises(InputRefused, match="perhaps a title: set skip"):
        read_book(raw, ["name"])


def test_columns_may_be_named_by_the_layout():
    assert cells(read_book(workbook(["1", "x"], ["2", "y"]), ["b"], columns=("a", "b"))) == [["x"], ["y"]]


def two_sheets(book):
    other = book.create_sheet("Other")
    other.append(["id"])
    other.append(["other"])


def test_hidden_sheets_are_not_meant():
    def hide(book):
        two_sheets(book)
        book["Other"].sheet_state = "hidden"

    raw = workbook(["id"], ["shown"], prepare=hide)
    assert cells(read_book(raw)) == [["shown"]]
    assert cells(read_book(raw, sheet="Other")) == [["other"]]


def test_of_several_sheets_one_must_be_named():
    raw = workbook(["id"], ["first"], prepare=two_sheets)
    with pytest.raises(InputRefused, match="has 2 visible sheets: set sheet to one of `Sheet`, `Other`"):
        read_book(raw)
    with pytest.raises(InputRefused, match="has no sheet `None`: it has `Sheet`, `Other`"):
        read_book(raw, sheet="None")
    assert cells(read_book(raw, sheet="Other")) == [["other"]]


def test_formulas_are_looked_for_in_the_sheet_that_is_read():
    def formula_elsewhere(book):
        two_sheets(book)
        book["Other"]["A2"] = "=1"

    raw = workbook(["id"], ["x"], [None], ["y"], prepare=formula_elsewhere)
    assert cells(read_book(raw, sheet="Sheet")) == [["x"], ["y"]]
    assert cells(read_book(raw, sheet="Other"))[0][0].startswith("holds a formula")


@pytest.mark.parametrize("rows", [[], [[None, ""]]])
def test_an_empty_sheet_is_refused(rows):
    with pytest.raises(InputRefused, match="its first row must name the columns"):
        read_book(workbook(*rows))


def test_a_header_with_an_error_is_refused():
    with pytest.raises(InputRefused, match="has a header with a cell that holds the error #N/A at B1"):
        read_book(workbook(["a", "#N/A"], ["1", "2"]))


def test_a_part_that_is_no_workbook_is_refused():
    raw = workbook(["a"], change=lambda name, raw: b"<x" if name == "xl/workbook.xml" else raw)
    with pytest.raises(InputRefused, match="cannot be read as a workbook"):
        read_book(raw)


async def test_a_sheet_that_is_cut_off_gives_what_it_has():
    raw = workbook(["a"], *([str(number)] for number in range(9000)), change=sheet(lambda raw: raw[:-3000]))
    rows, why = await broken(io.BytesIO(raw), format="xlsx")
    assert [row.cells[0] for row in rows] == [str(number) for number in range(len(rows))]
    assert len(rows) > 1000
    assert f"cannot be read behind row {rows[-1].number}" in why


def test_texts_that_would_take_too_much_memory_are_refused(monkeypatch):
    monkeypatch.setattr("portrait.tables.xlsx.MAX_TEXTS_BYTES", 10)
    assert MAX_TEXTS_BYTES > 10**8

    raw = io.BytesIO(workbook(["a"], ["1"]))
    with zipfile.ZipFile(raw, "a") as archive:
        if "xl/sharedStrings.xml" not in archive.namelist():
            archive.writestr("xl/sharedStrings.xml", b"<sst/>" * 10)
    with pytest.raises(InputRefused, match="save the sheet as CSV"):
        read_book(raw.getvalue())


def test_progress_goes_by_the_rows():
    raw = workbook(["a"], *([str(number)] for number in range(1000)))
    with open_tables(io.BytesIO(raw), layout(format="xlsx")) as (table,):

        async def seen():
            return [table.progress async for _ in table.batches(["a"])]

        progress = asyncio.run(seen())
    assert progress == sorted(progress)
    assert 0 < progress[0] < 0.2
    assert progress[-1] == 1.0


def test_columns_of_one_name_are_numbered():
    raw = workbook(["id", "Create Date", "Create Date"], ["1", "2", "3"])
    with open_tables(io.BytesIO(raw), layout(format="xlsx")) as (table,):
        assert table.columns == ("id", "Create Date (1)", "Create Date (2)")
        assert cells(asyncio.run(rows_of(table, ["Create Date (2)"]))) == [["3"]]
