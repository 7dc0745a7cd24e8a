"""Objects of JSON: numbers keep their digits, null is not absence, a wrong line is refused alone."""

import io
import json

import pytest

from portrait.model.errors import InputRefused
from tables.reading import broken, cells, read


def read_json(document, wanted, **fields):
    raw = document if isinstance(document, bytes) else document.encode()
    return read(raw, wanted, **({"format": "json"} | fields))


def read_lines(raw, wanted, **fields):
    return read(raw if isinstance(raw, bytes) else raw.encode(), wanted, **({"format": "jsonl"} | fields))


@pytest.mark.parametrize(
    "number", ["1.10", "18446744073709551616", "9007199254740993", "1e5", "-0", "1E+400", "0.1", "123456789" * 9]
)
def test_a_number_keeps_its_digits(number):
    """Trap 16."""
    assert cells(read_lines(f'{{"v": {number} }}', ["v"])) == [[number]]
    assert cells(read_json(f'[{{"v":{number}}}]', ["v"])) == [[number]]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ('"00731"', "00731"),
        ('"2026-04-03"', "2026-04-03"),
        ('"NULL"', "NULL"),
        ('""', ""),
        ('"a\\u00e9\\n"', "aé\n"),
        ("true", "true"),
        ("false", "false"),
        ("null", None),
        ('["a", 1.10]', '["a", 1.10]'),
        ('{"b":1.0}', '{"b":1.0}'),
        ('"\\\\"', "\\"),
        ('"1-2-3"', "1-2-3"),
        ('"F81D4FAE-7DEC"', "F81D4FAE-7DEC"),
    ],
)
def test_values_are_their_texts(value, cell):
    assert cells(read_lines(f'{{"v":{value}}}', ["v"])) == [[cell]]


def test_numbers_and_texts_in_one_column_are_texts():
    """Trap 17."""
    assert cells(read_lines('{"id":1}\n{"id":"A2"}', ["id"])) == [["1"], ["A2"]]


def test_absent_is_not_null():
    """Trap 19."""
    assert cells(read_lines('{"v":null}\n{}\n', ["v"])) == [[None], [""]]
    raw = '{"v":null,"w":[]}\n{"w":[]}\n{"w":{"x":null}}'
    assert cells(read_lines(raw, ["v", "w.x", "w"])) == [[None, "", "[]"], ["", "", "[]"], ["", None, '{"x":null}']]


def test_a_path_leads_into_objects():
    raw = '{"a":{"b":{"c":1.50}},"x.y":2,"x":{"y":3}}\n{"a":{"b":5}}\n{"a":null}\n{"a":[1]}'
    assert cells(read_lines(raw, ["a.b.c", "x.y", "a.b"])) == [
        ["1.50", "2", '{"c":1.50}'],
        ["", "", "5"],
        ["", "", ""],
        ["", "", ""],
    ]


def test_a_wrong_line_is_refused_alone():
    """Trap 18."""
    lines = [
        b'{"v":1}',
        b'{"v":',
        b"",
        b'{"v":1,"v":2}',
        b'{"v":"\xe9"}',
        b"[1]",
        b'{"v":00731}',
        b'{"v":"\\u0000"}',
        b'{"v":NaN}',
        b'{"v":"\\ud800"}',
        b'{"v":"' + b"x" * 2**20 + b'"}',
        b'{"v":[["\\ud800"]], "w": -0}',
        b'{"v":2}',
    ]
    rows = read_lines(b"\n".join(lines), ["v"])
    assert [row.number for row in rows] == [1, 2, *range(4, 14)]
    assert [row.fault is None for row in rows] == [True, *[False] * 10, True]
    faults = {row.number: row.fault for row in rows}
    assert "twice in one object" in faults[4]
    assert "set encoding" in faults[5]
    assert "no JSON object" in faults[6]
    assert "NUL" in faults[8]
    assert "1048576 bytes" in faults[11]


def test_a_wrong_element_is_refused_alone():
    rows = read_json(b'\xef\xbb\xbf [{"v":1}, 5, {"v":1,"v":2}, {"v":"\xe9"}, {"v":2}] ', ["v"])
    assert [row.number for row in rows] == [1, 2, 3, 4, 5]
    assert [row.fault is None for row in rows] == [True, False, False, False, True]


async def test_an_array_that_is_no_json_ends_the_table():
    rows, why = await broken(io.BytesIO(b'[{"v":1},{"v":2},{"v":oops},{"v":3}]'), ["v"], format="json")
    assert cells(rows) == [["1"], ["2"]]
    assert "cannot be read behind row 2: The JSON array is malformed" in why


async def test_an_array_that_is_cut_off_ends_the_table():
    rows, why = await broken(io.BytesIO(b'[{"v":1},{"v":2},{"v":'), ["v"], format="json")
    assert cells(rows) == [["1"], ["2"]]
    assert "behind row 2" in why


def test_an_array_within_a_document_is_read():
    large = [{"other": "x" * 1000}] * 3000
    document = {
        "meta": {"n": [1, {"customers": []}], "large": large},
        "data": {"x": {}, "customers": [{"id": 1}, {"id": 2}]},
    }
    text = json.dumps(document | {"end": [large, None, "x"]})
    assert cells(read_json(text, ["id"], path="data.customers")) == [["1"], ["2"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"data":{}}', "nothing at `data.customers`"),
        ('{"other":1}', "nothing at `data`"),
        ('{"data":{"customers":{}}}', "expected ["),
        ('{"data":{"customers":[]}', "expected }"),
        ('{"data":{"customers":[],"customers":[]}}', "twice"),
        ('{"data":{"customers":[]}} x', "nothing may follow"),
    ],
)
async def test_a_document_without_the_array_is_refused(text, words):
    rows, why = await broken(io.BytesIO(text.encode()), ["id"], format="json", path="data.customers")
    assert rows == []
    assert words in why


def test_a_document_that_is_no_array_says_what_to_set():
    with pytest.raises(InputRefused, match="set path"):
        read_json('{"data":[]}', ["id"])


def test_other_encodings():
    text = '{"v":"é"}\n{"v":"x"}'
    assert cells(read_lines(text.encode("utf-16"), ["v"], encoding="utf-16")) == [["é"], ["x"]]
    assert cells(read_lines(text.encode("cp1252"), ["v"], encoding="cp1252")) == [["é"], ["x"]]
    with pytest.raises(InputRefused, match='set encoding = "utf-16"'):
        read_lines(text.encode("utf-16"), ["v"])
    assert cells(read_lines(text.encode("utf-8-sig"), ["v"])) == [["é"], ["x"]]
