"""The page on mappings says what is: its keys, its defaults, its examples, and its tables of values."""

import csv
import io
import json
import re

import msgspec
import pytest

from docs.pages import DOCS, blocks
from mapping.plans import HEAD, planned
from portrait.mapping.catalogue import READY
from portrait.mapping.faults import NotMapped
from portrait.mapping.language import Condition, FieldRule, Mapping, RecordRule, SubjectRule, Texts
from portrait.tables.table import Layout, Row

PAGE = DOCS / "reference" / "mapping.md"
KEYS = {
    "a mapping": Mapping, "`customer`": SubjectRule, "`records`": RecordRule, "a condition": Condition,
    "`file`": Layout, "a field": FieldRule, "`values`": Texts,
}  # fmt: skip


def tables(first):
    """Return the rows of the tables whose first column is headed so."""
    rows = []
    for table in re.findall(rf"^\| {re.escape(first)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE):
        rows += [[cell.strip(" ") for cell in re.split(r" ?(?<!\\)\| ?", row)[1:-1]] for row in table.splitlines()]
    return rows


@pytest.mark.parametrize("name", KEYS)
def test_each_key_is_there_with_its_default(name):
    fields = msgspec.structs.fields(KEYS[name])
    rows = {row[0].strip("`"): row for row in tables(f"key of {name}")}
    assert list(rows) == [field.encode_name for field in fields]
    for field in fields:
        default = rows[field.encode_name][2]
        if field.required:
            assert default == "required"
        elif isinstance(field.default, bool):
            assert default == f"`{str(field.default).lower()}`"
        elif isinstance(field.default, msgspec.Struct):
            assert default == ""
        elif field.default not in {None, "", (), msgspec.UNSET, msgspec.NODEFAULT}:
            values = field.default if isinstance(field.default, tuple) else (field.default,)
            assert default == ", ".join(f"`{value}`" for value in values)


def test_the_types_and_orders_are_those_of_the_language():
    rows = {row[0].strip("`"): row[1] for row in tables("key of a field")}
    for name in ("type", "date"):
        annotation = next(field.type for field in msgspec.structs.fields(FieldRule) if field.encode_name == name)
        choices = next(part.__args__ for part in annotation.__args__ if part is not type(None))
        assert rows[name] == ", ".join(f"`{choice}`" for choice in choices)


def test_the_example_makes_the_lines_that_follow_it():
    (mapping,) = [block.text for block in blocks(PAGE) if block.language == "toml"]
    (table,) = [block.text for block in blocks(PAGE) if block.language == "csv"]
    (made,) = [block.text for block in blocks(PAGE) if block.language == "json"]
    columns, cells = csv.reader(io.StringIO(table), delimiter=Mapping.read(mapping).file.delimiter)
    plan = planned(mapping, tuple(columns), exported=None)
    row = dict(zip(columns, cells, strict=True))
    lines = plan.lines(Row(2, [row[name] for name in plan.wanted]))
    assert [json.loads(line) for line in lines] == [json.loads(line) for line in made.splitlines()]


EXAMPLES = tables("text")


@pytest.mark.parametrize(("text", "settings", "value"), EXAMPLES, ids=[" ".join(row) for row in EXAMPLES])
def test_a_text_has_the_value_that_the_page_says(text, settings, value):
    of_field = ", ".join(filter(None, ['column = "a"', settings.strip("`")]))
    plan = planned(f"{HEAD}[attributes]\nname = {{ {of_field} }}", ("id", "a"))
    made = plan.lines(Row(2, ["c1", text.removeprefix("`").removesuffix("`")]))
    if value == "refused":
        assert isinstance(made[0], NotMapped)
    elif value == "nothing":
        assert made == []
    else:
        assert b'"value":%b}' % value.strip("`").encode() in made[0]


def test_every_ready_mapping_is_listed():
    assert [row[0].strip("`") for row in tables("name")] == list(READY)
