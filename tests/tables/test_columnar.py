"""Parquet and Arrow: what has a type becomes a text in one way, to the last digit."""

import io
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute
import pyarrow.feather
import pyarrow.parquet
import pytest

from portrait.model.errors import InputRefused
from portrait.tables.arrow_text import texts
from portrait.tables.opening import open_tables
from portrait.tables.table import Unreadable
from portrait.tables.values import text_of
from tables.reading import broken, cells, layout, read

LOST = "holds a floating number of so many digits that some may be lost: give it as text, or as an integer"
NOON = 12 * 3600
CASES = [
    (pa.array(["00731", "", None, "é"]), ["00731", "", "", "é"]),
    (pa.array(["a", None], pa.large_string()), ["a", ""]),
    (pa.array(["a", None], pa.string_view()), ["a", ""]),
    (pa.array([b"00731", b"\xff", None]), ["00731", "holds bytes that are no text in UTF-8", ""]),
    (pa.array([b"ab"], pa.binary(2)), ["ab"]),
    (pa.array([2**63 - 1, -1, None]), ["9223372036854775807", "-1", ""]),
    (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
    (pa.array([442079460018.0, 0.5, 1e-7, -0.0, None]), ["442079460018", "0.5", "1e-07", "0", ""]),
    (pa.array([9007199254740993.0, 2.0**53 - 1, -(2.0**53)]), [LOST, "9007199254740991", LOST]),
    (
        pa.array([float("nan"), float("inf"), float("-inf")]),
        ["", "holds infinity, which is no value", "holds infinity, which is no value"],
    ),
    (pa.array([0.1, 16777215.0, 16777216.0, 1e-7], pa.float32()), ["0.1", "16777215", LOST, "1e-07"]),
    (pa.array([0.5, 2047.0, 2048.0], pa.float16()), ["0.5", "2047", LOST]),
    (pa.array([Decimal("1.10"), None], pa.decimal128(10, 2)), ["1.10", ""]),
    (pa.array([Decimal(1000)], pa.decimal128(5, -3)), ["1000"]),
    (pa.array([True, False, None]), ["true", "false", ""]),
    (pa.array([date(2026, 4, 3), date(1969, 12, 31), None]), ["2026-04-03", "1969-12-31", ""]),
    (pa.array([date(2026, 4, 3)], pa.date64()), ["2026-04-03"]),
    (pa.array([5_000_000], pa.int32()).cast(pa.date32()), ["holds a date that is not between the years 1 and 9999"]),
    (pa.array([1_775_210_400], pa.timestamp("s")), ["2026-04-03T10:00:00"]),
    (pa.array([1_775_210_400_500], pa.timestamp("ms")), ["2026-04-03T10:00:00.500000"]),
    (pa.array([-1], pa.timestamp("us")), ["1969-12-31T23:59:59.999999"]),
    (pa.array([1_775_210_400_123_456_789], pa.timestamp("ns")), ["2026-04-03T10:00:00.123456789"]),
    (pa.array([1_775_210_400], pa.timestamp("s", "Europe/Berlin")), ["2026-04-03T10:00:00Z"]),
    (pa.array([2**62], pa.timestamp("s")), ["holds a date that is not between the years 1 and 9999"]),
    (pa.array([NOON], pa.time32("s")), ["12:00:00"]),
    (pa.array([NOON * 10**9 + 1], pa.time64("ns")), ["12:00:00.000000001"]),
    (pa.array([NOON * 3, -1, 0], pa.duration("s")), ["P1DT12H", "-PT1S", "PT0S"]),
    (pa.array([1_500_000], pa.duration("us")), ["PT1.500000S"]),
    (pa.nulls(2), ["", ""]),
    (pa.array(["x", "y", None, "x"]).dictionary_encode(), ["x", "y", "", "x"]),
    (pyarrow.compute.run_end_encode(pa.array([1, 1, 2])), ["1", "1", "2"]),
    (pa.array([b"0123456789abcdef"], pa.uuid()), ["30313233-3435-3637-3839-616263646566"]),
    (pa.array(['{"a": 1.10}'], pa.json_()), ['{"a": 1.10}']),
    (pa.array([["a", None], [], None]), ['["a",null]', "[]", ""]),
    (pa.array([[1], [2, 3], None, [4]])[1:], ["[2,3]", "", "[4]"]),
    (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)), ["[1,2]", "", "[3,4]"]),
    (pa.array([{"a": 1, "b": [{"c": None}]}, None]), ['{"a":1,"b":[{"c":null}]}', ""]),
    (pa.array([[("k", Decimal("1.10"))]], pa.map_(pa.string(), pa.decimal128(5, 2))), ['{"k":1.10}']),
    (
        pa.array([[1_775_210_400_123_456_789]], pa.list_(pa.timestamp("ns", "UTC"))),
        ['["2026-04-03T10:00:00.123456789Z"]'],
    ),
    (pa.array([[b"\xff", b"a"]]), ['[null,"a"]']),
]


@pytest.mark.parametrize(
    ("array", "expected"), CASES, ids=[f"{number} {case[0].type}" for number, case in enumerate(CASES)]
)
def test_each_type_has_its_text(array, expected):
    assert [cell.why if isinstance(cell, Unreadable) else cell for cell in texts(pa, array)] == expected


def test_texts_that_are_no_utf_8_are_unreadable_by_themselves():
    buffers = [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xff\xfe")]
    array = pa.Array.from_buffers(pa.string(), 2, buffers)
    assert texts(pa, array) == ["a", Unreadable("holds bytes that are no text in UTF-8")]


def as_parquet(table, **options):
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream, **options)
    return stream.getvalue()


def as_feather(table):
    stream = io.BytesIO()
    pyarrow.feather.write_feather(table, stream)
    return stream.getvalue()


def as_stream(table):
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


FORMATS = {"parquet": as_parquet, "feather": as_feather, "stream": as_stream}


@pytest.fixture(params=FORMATS)
def reading(request):
    """Return a function that writes a table in a format, and reads columns of it; each format in turn."""
    kind = "parquet" if request.param == "parquet" else "arrow"
    return lambda table, wanted=None: read(FORMATS[request.param](table), wanted, format=kind)


def test_columns_are_taken_by_name(reading):
    table = pa.table({"a": [1, 2], "b": ["x", None], "c": [1.5, 2.0]})
    rows = reading(table, ["c", "a"])
    assert [(row.number, list(row.cells)) for row in rows] == [(1, ["1.5", "1"]), (2, ["2", "2"])]
    assert cells(reading(table, [])) == [[], []]


def test_members_of_structures_are_columns(reading):
    table = pa.table(
        {
            "s": [{"x": 1, "y": {"z": "a"}}, None],
            "s.x": ["own", "name"],
            "t": [{"u.v": 1}, {"u.v": None}],
        }
    )
    assert cells(reading(table, ["s.y.z", "s.x", "s", "t.u.v", "s.y"])) == [
        ["a", "own", '{"x":1,"y":{"z":"a"}}', "1", '{"z":"a"}'],
        ["", "name", "", "", ""],
    ]


def test_a_name_with_a_dot_is_not_mistaken_for_a_member(reading):
    """The library chooses columns by their paths, which a name with a dot may be as well."""
    table = pa.table({"a": [{"b": 1}], "x": ["x"], "a.b": ["own"]})
    assert cells(reading(table, ["a.b"])) == [["own"]]
    assert cells(reading(table, ["a.b", "x"])) == [["own", "x"]]


def test_columns_of_one_name_are_numbered(reading):
    table = pa.table([pa.array([1]), pa.array([2]), pa.array([3])], names=["e", "f", "e"])
    assert cells(reading(table, ["e (2)", "e (1)"])) == [["3", "1"]]
    with pytest.raises(InputRefused, match=r"ask for `e \(1\)` or `e \(2\)`"):
        reading(table, ["e"])


def test_rows_are_counted_across_batches(reading, monkeypatch):
    monkeypatch.setattr("portrait.tables.columnar._BATCH_ROWS", 7)
    rows = reading(pa.table({"a": range(50)}))
    assert [(row.number, list(row.cells)) for row in rows] == [(number + 1, [str(number)]) for number in range(50)]


def test_an_empty_table_has_columns_and_no_rows(reading):
    assert reading(pa.table({"a": pa.array([], pa.string())}), ["a"]) == []


def test_old_moments_of_96_bits_are_read_to_the_nanosecond():
    """Trap 39."""
    table = pa.table({"t": pa.array([1_775_210_400_123_456_789], pa.timestamp("ns"))})
    raw = as_parquet(table, use_deprecated_int96_timestamps=True)
    assert cells(read(raw, format="parquet")) == [["2026-04-03T10:00:00.123456789"]]


async def test_progress_goes_by_the_rows(monkeypatch):
    monkeypatch.setattr("portrait.tables.columnar._BATCH_ROWS", 1000)
    raw = as_parquet(pa.table({"a": range(5000)}))
    with open_tables(io.BytesIO(raw), layout(format="parquet")) as (table,):
        seen = [table.progress async for _ in table.batches(["a"])]
    assert seen == sorted(seen)
    assert 0 <= seen[0] < 0.3
    assert seen[-1] > 0.7


async def test_an_arrow_stream_that_is_cut_off_gives_what_it_has():
    raw = as_stream(pa.table({"a": pa.chunked_array([range(100), range(100)])}))
    rows, why = await broken(io.BytesIO(raw[:-200]), format="arrow")
    assert [row.number for row in rows] == list(range(1, 101))
    assert "cannot be read behind row 100: it is damaged" in why


async def test_types_of_python_and_of_columns_agree():
    """The same value is the same text, whether a database, a workbook or a file of columns has it."""
    values = [
        datetime(2026, 4, 3, 10, 0, 0, 500, tzinfo=UTC),
        datetime.fromisoformat("2026-04-03T10:00"),
        date(2026, 4, 3),
        1.5,
        time(10, 30),
        timedelta(days=-1, seconds=3),
        Decimal("1.10"),
        7,
        True,
        "x",
        b"x",
        ["a", None],
        {"a": [1]},
    ]
    for value in values:
        assert texts(pa, pa.array([value])) == [text_of(value)]
