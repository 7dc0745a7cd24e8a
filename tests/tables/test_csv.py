"""Texts with a delimiter: cells are what stands there, rows have their lines, faults say what would be right."""

import asyncio
import csv
import io

import pytest

from portrait.model.errors import InputRefused
from portrait.tables.opening import open_tables
from portrait.tables.table import Unreadable
from tables.reading import broken, cells, layout, read_csv, rows_of

IDS = ["00731", "+442079460018", "1e5", "12345e6789", "0x1F", "1.10", " 731 ", "18446744073709551616", "1-2-3"]
WORDS = [
    "03/04/2026",
    "2016-04-18 13:51:14",
    "no",
    "SUBSCRIBED",
    "NULL",
    "NA",
    "None",
    "nan",
    "NO",
    "F",
    "True",
    "yes",
    "#1001",
    "'7210448301122",
    "03/04/26",
    "#N/A",
]


@pytest.mark.parametrize("text", [*IDS, *WORDS])
def test_a_cell_is_the_text_that_stands_there(text):
    rows = read_csv(f"id,b\n{text},1\n".encode())
    assert cells(rows) == [[text, "1"]]


def test_what_comes_late_is_no_more_typed_than_what_came_first():
    """Traps 1, 12: nothing is inferred from a sample."""
    lines = ["id"] + ["1"] * 20_480 + ["00731", "1.5", "A1B2", "2026-04-03T11:00:00+02:00"]
    rows = read_csv("\n".join(lines).encode())
    assert [row.cells[0] for row in rows[-4:]] == lines[-4:]
    assert rows[-1].number == len(lines)


def test_a_row_that_begins_with_a_number_sign_is_a_row():
    assert cells(read_csv(b"name\n#1001\n1003\n")) == [["#1001"], ["1003"]]


def test_columns_are_taken_by_name():
    assert cells(read_csv(b"email,id\na@b.c,1\n", ["id", "email"])) == [["1", "a@b.c"]]
    assert cells(read_csv(b"email,id\na@b.c,1\n", ["id"])) == [["1"]]
    assert cells(read_csv(b"email,id\na@b.c,1\n", [])) == [[]]


def test_empty_cells_are_empty_however_they_are_written():
    assert cells(read_csv(b'a,b,c\n,"",x\n')) == [["", "", "x"]]


def test_rows_that_hold_nothing_are_left_out_and_counted():
    rows = read_csv(b"a,b\n\n,\n  \n1,2\n\n3,4\n")
    assert [(row.number, list(row.cells)) for row in rows] == [(5, ["1", "2"]), (7, ["3", "4"])]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_any_way(end):
    rows = read_csv(f'a,b{end}1,"x{end}y"{end}3,4'.encode())
    assert [(row.number, list(row.cells)) for row in rows] == [(2, ["1", f"x{end}y"]), (4, ["3", "4"])]


def test_lines_may_end_in_several_ways_in_one_file():
    rows = read_csv(b'a,b\r\n1,2\n3,"4\r\n\n5"\r6,7\n')
    assert [(row.number, list(row.cells)) for row in rows] == [
        (2, ["1", "2"]),
        (3, ["3", "4\r\n\n5"]),
        (6, ["6", "7"]),
    ]


def test_line_numbers_hold_across_blocks(monkeypatch):
    monkeypatch.setattr("portrait.tables.lines.BLOCK_SIZE", 7)
    text = "a,b\r\n" + "".join(f'{n},"x\r\ny"\r\n' for n in range(50))
    rows = read_csv(text.encode())
    assert [(row.number, row.cells[0]) for row in rows] == [(2 + 2 * n, str(n)) for n in range(50)]
    assert {row.cells[1] for row in rows} == {"x\r\ny"}


def test_characters_that_are_line_ends_elsewhere_are_text():
    text = "a\x0bb\x0cc\x1cd\x85e\u2028f"
    assert cells(read_csv(f"a\n{text}\n".encode())) == [[text]]


def test_a_row_of_another_length_is_refused_and_the_others_go_on():
    """Trap 3."""
    rows = read_csv(b"id,c,e\na,1,x\nb,2\nc,3,y,z\nd,4,w\n")
    assert [row.number for row in rows] == [2, 3, 4, 5]
    assert rows[1].fault.startswith("It has 2 cells where the header has 3: ")
    assert rows[2].fault.startswith("It has 4 cells where the header has 3: ")
    assert [len(row.cells) for row in rows] == [3, 0, 0, 3]


def test_a_row_with_a_wrong_quote_is_refused_and_the_others_go_on():
    rows = read_csv(b'a,b\n"Bob "the man" Smith",1\n"x" ,2\nc,3\n')
    assert [row.number for row in rows] == [2, 3, 4]
    assert "must be doubled" in rows[0].fault
    assert rows[1].fault
    assert list(rows[2].cells) == ["c", "3"]
    assert "Bob" not in rows[0].fault


def test_bytes_that_are_no_text_refuse_their_row_alone():
    """Trap 4."""
    raw = "id,name\n1,Anna\n2,José\n3,Zoë\n".encode("cp1252")
    rows = read_csv(raw)
    assert cells(rows)[0] == ["1", "Anna"]
    assert [row.number for row in rows] == [2, 3, 4]
    why = "Column `name` holds bytes that are no utf-8, at character 4: set encoding to what the file has"
    assert rows[1].fault == f'{why}, such as "cp1252".'
    assert cells(read_csv(raw, encoding="cp1252")) == [["1", "Anna"], ["2", "José"], ["3", "Zoë"]]


def test_bytes_that_are_no_text_count_only_where_they_are_asked_for():
    rows = read_csv("id,note\n1,José\n".encode("cp1252"), ["id"])
    assert cells(rows) == [["1"]]


def test_a_row_with_wrong_bytes_behind_a_block_is_refused(monkeypatch):
    """The row begins in a block without wrong bytes, or ends in one."""
    monkeypatch.setattr("portrait.tables.lines.BLOCK_SIZE", 8)
    raw = b'a,b\n1,"x\n' + b"y" * 20 + b"\n\xe9\n" + b"z" * 20 + b'\n"\n2,c\n'
    rows = read_csv(raw)
    assert rows[0].fault
    assert [row.number for row in rows] == [2, 7]
    assert list(rows[1].cells) == ["2", "c"]


def test_undefined_bytes_of_another_encoding_refuse_their_row():
    rows = read_csv(b"a\nx\x81\ny\n", encoding="cp1252")
    assert rows[0].fault.endswith("at character 2: set encoding to what the file has.")
    assert list(rows[1].cells) == ["y"]


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8", "shift_jis", "cp037", "utf-7"]
)
def test_encodings(encoding):
    text = 'id,name\n1,"ab\nc"\n'
    assert cells(read_csv(text.encode(encoding), encoding=encoding)) == [["1", "ab\nc"]]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_is_passed_over(encoding):
    text = "id\n1\n" if encoding in {"utf-8-sig", "utf-16"} else "\ufeffid\n1\n"
    given = "utf-8" if encoding == "utf-8-sig" else encoding
    assert cells(read_csv(text.encode(encoding), ["id"], encoding=given)) == [["1"]]


@pytest.mark.parametrize(
    ("raw", "fields", "right"),
    [
        ("id\n1\n".encode("utf-16"), {}, 'set encoding = "utf-16"'),
        ("id,name\n1,Anna\n".encode("utf-16-le"), {}, 'set encoding = "utf-16-le"'),
        ("id,name\n1,Anna\n".encode("utf-16-be"), {}, 'set encoding = "utf-16-be"'),
        ("id\n1\n".encode("utf-8-sig"), {"encoding": "cp1252"}, "leave encoding out"),
        ("id,é\n1,2\n".encode("cp1252"), {}, '"cp1252"'),
        (b"", {}, "its first line must name the columns"),
        (b"\n\n", {}, "its first line must name the columns"),
        (b'"id\n1\n', {}, "never closed"),
        (b'"i"d\n1\n', {}, "must be doubled"),
    ],
)
def test_a_text_that_cannot_be_read_at_all_is_refused(raw, fields, right):
    with pytest.raises(InputRefused) as refusal:
        read_csv(raw, **fields)
    assert right in refusal.value.detail


@pytest.mark.parametrize(
    ("raw", "fields", "right"),
    [
        (b"id;c;email\n1;2;3\n", {}, 'set delimiter = ";"'),
        (b"id\tc\temail\n1\t2\t3\n", {}, 'set delimiter = "\\t"'),
        (b"sep=;\nid;email\n1;2\n", {}, 'set skip = 1 and delimiter = ";"'),
        (b"sep=,\nid,email\n1,2\n", {}, 'set skip = 1 and delimiter = ","'),
        (b"bob,bob@example.com\nann,ann@example.com\n", {}, "looks like data"),
        (b"bob,12\nann,13\n", {}, "looks like data"),
        (b"id,Email\n1,2\n", {}, "ask for `Email`, in just these letters"),
        (b"id,name\n1,2\n", {}, "it has `id` and `name`."),
        (b"id,email,email\n1,2,3\n", {}, "ask for `email (1)` or `email (2)`."),
    ],
)
def test_a_lacking_column_says_what_would_be_right(raw, fields, right):
    """Trap 37 and others: a header that is none is told by what is lacking in it."""
    with pytest.raises(InputRefused) as refusal:
        read_csv(raw, ["email"], **fields)
    assert right in refusal.value.detail
    assert "example.com" not in refusal.value.detail


def test_a_header_with_all_wanted_columns_is_never_refused():
    rows = read_csv(b"email,2026,a@b.c;d,x,x\n1,2,3,4,5\n", ["email", "2026"])
    assert cells(rows) == [["1", "2"]]


def test_columns_of_one_name_are_numbered():
    """HubSpot exports two columns `Create Date`."""
    raw = b"id,Create Date,Create Date,Create Date (2), ,x \n1,2,3,4,5,6\n"
    with open_tables(io.BytesIO(raw), layout(format="csv")) as (table,):
        assert table.columns == ("id", "Create Date (1)", "Create Date (3)", "Create Date (2)", "column 5", "x")
        assert cells(asyncio.run(rows_of(table, ["Create Date (3)", "x"]))) == [["3", "6"]]


def test_columns_may_be_named_by_the_layout():
    assert cells(read_csv(b"bob,smith\nann,lee\n", ["last"], columns=("first", "last"))) == [["smith"], ["lee"]]
    rows = read_csv(b"bob\n", columns=("first", "last"))
    assert rows[0].fault.startswith("It has 1 cell where 2 columns are named")


def test_columns_that_the_first_line_names_too_are_refused():
    with pytest.raises(InputRefused, match="leave columns out"):
        read_csv(b"first,last\nann,lee\n", columns=("first", "last"))


def test_lines_before_the_header_are_skipped_and_counted():
    rows = read_csv(b'Report of "customers\n\nid\n1\n', skip=2)
    assert [(row.number, list(row.cells)) for row in rows] == [(4, ["1"])]
    rows = read_csv(b"Report\n1\n2\n", skip=1, columns=("id",))
    assert [(row.number, list(row.cells)) for row in rows] == [(2, ["1"]), (3, ["2"])]


@pytest.mark.parametrize(("delimiter", "quote"), [(";", '"'), ("\t", '"'), ("|", "'"), ("^", "")])
def test_dialects(delimiter, quote):
    row = ["a'b", 'c"d'] if quote != "'" else ["x", 'c"d']
    line = delimiter.join(f"{quote}{cell.replace(quote, quote * 2)}{quote}" if quote else cell for cell in row)
    assert cells(read_csv(f"a{delimiter}b\n{line}\n".encode(), delimiter=delimiter, quote=quote)) == [row]


def test_white_space_may_be_the_delimiter():
    """CDNOW's form: blanks before and between."""
    raw = b" 00001 19970101  1   11.77\n 00002\t19970112  1   12.00\n\n 00003 1\n"
    rows = read_csv(raw, delimiter="spaces", columns=("id", "date", "count", "spent"))
    assert cells(rows)[:2] == [["00001", "19970101", "1", "11.77"], ["00002", "19970112", "1", "12.00"]]
    assert rows[2].number == 4
    assert rows[2].fault.startswith("It has 2 cells where 4 columns")


def test_quotes_do_not_go_with_white_space():
    rows = read_csv(b'id name\n1 "Anna"\n2 Bob\n', delimiter="spaces")
    assert "set quote" in rows[0].fault
    assert list(rows[1].cells) == ["2", "Bob"]
    assert cells(read_csv(b'id name\n1 "Anna"\n', delimiter="spaces", quote="")) == [["1", '"Anna"']]


def test_nul_is_no_text_that_can_be_kept():
    rows = read_csv(b"id,a\n1,x\0y\n2,z\n")
    assert isinstance(rows[0].cells[1], Unreadable)
    assert "NUL" in rows[0].cells[1].why
    assert cells(rows)[1] == ["2", "z"]


async def test_a_quote_that_is_never_closed_ends_the_table_where_it_begins():
    rows, why = await broken(io.BytesIO(b'a,b\n1,2\n3,"x\n' + b"4,5\n" * 9))
    assert [row.number for row in rows] == [2]
    assert "cannot be read behind row 2: a quote in the row that begins in line 3 is never closed." in why


@pytest.mark.parametrize("tail", [b"4,5\n", b"4;\n" * 1000, b"x" * 2**16])
async def test_a_quote_that_is_not_closed_soon_takes_no_more_memory(tail):
    class Endless(io.RawIOBase):
        taken = 0
        first = b'a,b\n1,2\n3,"x\n'

        def readable(self):
            return True

        def read(self, size=-1):
            part, self.first = self.first or tail, b""
            self.taken += len(part)
            assert self.taken < 2**23
            return part

    stream = Endless()
    rows, why = await broken(stream)
    assert [row.number for row in rows] == [2]
    assert "the row that begins in line 3 has more than 1048576 bytes" in why
    assert stream.taken < 3 * 2**20


async def test_a_row_of_many_open_lines_takes_no_more_memory():
    """Each cell is short, but the row never ends: every quote opens what another closes."""
    raw = b"a,b\n" + b'"\n",' * 400_000
    rows, why = await broken(io.BytesIO(raw))
    assert rows == []
    assert "the row that begins in line 2" in why


async def test_a_line_that_never_ends_takes_no_more_memory():
    _, why = await broken(io.BytesIO(b"a,b\n" + b"1," * 2**20))
    assert "the row that begins in line 2" in why


@pytest.mark.parametrize(
    ("encoding", "wrong"),
    [("utf-16-le", b"\x00\xdc\n\x00"), ("utf-32-be", b"\xff" * 4 + b"\0\0\0\n"), ("shift_jis", b"\x81\n")],
)
def test_wrong_bytes_in_an_encoding_of_more_bytes_refuse_their_row(encoding, wrong):
    rows = read_csv("a\nx\n".encode(encoding) + wrong + "y\n".encode(encoding), encoding=encoding)
    assert [(row.number, list(row.cells)) for row in rows] == [(2, ["x"]), (3, []), (4, ["y"])]
    assert f"no {encoding}, at character 1" in rows[1].fault


def test_a_long_cell_is_read():
    long = "x" * 900_000
    assert cells(read_csv(f"a,b\n1,{long}\n".encode())) == [["1", long]]
    assert csv.field_size_limit() >= 2**20


WRONG = [
    {"delimiter": ";;"},
    {"delimiter": ""},
    {"delimiter": '"'},
    {"delimiter": "\n"},
    {"quote": "ab"},
    {"quote": "\n"},
    {"encoding": "nope"},
    {"encoding": "hex"},
    {"skip": -1},
    {"columns": ("a", "a")},
    {"columns": ("a", " ")},
]


@pytest.mark.parametrize("fields", WRONG)
def test_a_layout_that_cannot_be_is_refused(fields):
    with pytest.raises(InputRefused):
        read_csv(b"a\n1\n", **fields)
