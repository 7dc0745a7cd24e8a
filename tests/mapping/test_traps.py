"""What loaders get wrong from memory: 40 traps, each a small file that goes through a reader and a mapping.

Five cannot be met by these readers. 6: a file is opened by its name, which is no pattern. 13 and 33 are about moments
and cursors of DuckDB, which no reader is built on. 32: no reader fetches anything. 36: a mapping has no SQL, and it
compares texts. Of these 6, 13 and 36 are tested all the same.
"""

import asyncio
import io
import json
import sqlite3
from datetime import date

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from mapping.plans import planned
from portrait.ingest.records import Parser
from portrait.mapping.catalogue import ready
from portrait.mapping.faults import NotMapped
from portrait.mapping.language import Mapping
from portrait.model.errors import InputRefused, InvalidMapping
from portrait.sections import registry
from portrait.storage.contract import TenantRow
from portrait.tables.databases import open_query
from portrait.tables.opening import open_tables
from portrait.writes.recording import Refusal

REGISTRY = registry.load(installed=False)
PARSER = Parser(TenantRow("shop", "", 0, b"k" * 32), "load", is_export=True)
MANY = 20_480
"""As many rows as a sniffer looks at."""


def loaded(text, content, name="file.csv"):
    """Return what a mapping makes of a file: the values of records by their row's number, and refusals' details."""
    values, refusals = [], []

    async def load():
        with open_tables(io.BytesIO(content), Mapping.read(text).file, name=name) as (table,):
            plan = planned(text, table.columns, file=name)
            async for batch in table.batches(plan.wanted):
                for row in batch:
                    for made in plan.lines(row):
                        outcome = made if isinstance(made, NotMapped) else PARSER.line(row.number, made, REGISTRY)
                        if isinstance(outcome, NotMapped | Refusal):
                            refusals.append((row.number, outcome.detail))
                        else:
                            line = json.loads(made)
                            values.append((row.number, line.get("customerId"), line["record"].get("value"), line))

    asyncio.run(load())
    return values, refusals


def attribute(field='"v"', more="", file=""):
    """Return a mapping of the columns `id` and `v`."""
    return f'source = "s"\n{more}\ncustomer.id = "id"\n[file]\n{file}\n[attributes]\nv = {field}\n'


def values_of(text, content, name="file.csv"):
    values, refusals = loaded(text, content, name)
    assert refusals == []
    return [value for _, _, value, _ in values]


def ids_of(text, content, name="file.csv"):
    values, refusals = loaded(text, content, name)
    assert refusals == []
    return [customer for _, customer, _, _ in values]


def rows(*texts):
    return b"id,v\n" + b"".join(f"{number},{text}\n".encode() for number, text in enumerate(texts, 1))


@pytest.mark.parametrize(
    ("trap", "texts", "values"),
    [
        (1, [*["1"] * MANY, "00731"], [*["1"] * MANY, "00731"]),
        (2, ["#1001", "1003"], ["#1001", "1003"]),
        (7, ["NO", "GB"], ["NO", "GB"]),
        (8, ["F", "M"], ["F", "M"]),
        (38, ["1e5", "12345e6789", "0x1F"], ["1e5", "12345e6789", "0x1F"]),
        (40, ["00731", "+442079460018", '"NA?"', '"731 "'], ["00731", "+442079460018", "NA?", "731"]),
    ],
)
def test_texts_of_a_file_stay_as_they_are(trap, texts, values):
    assert values_of(attribute(), rows(*texts)) == values, trap


def test_03_short_rows_leave_the_columns_and_are_refused_with_their_line():
    values, refusals = loaded(attribute(), b"id,v,w\na,1,x\nb,2\n")
    assert [value[:3] for value in values] == [(2, "a", "1")]
    ((line, detail),) = refusals
    assert (line, "2 cells where the header has 3" in detail) == (3, True)


def test_04_an_encoding_is_given_and_a_row_in_another_is_refused_with_its_line():
    content = "id,v\n1,a\n2,José\n".encode("cp1252")
    values, refusals = loaded(attribute(), content)
    assert ([value[2] for value in values], [line for line, _ in refusals]) == (["a"], [3])
    assert values_of(attribute(file='encoding = "cp1252"'), content) == ["a", "José"]


def test_05_columns_are_taken_by_name():
    assert loaded(attribute(), b"v,id\na@example.org,1\n")[0][0][1:3] == ("1", "a@example.org")


def test_06_a_files_name_is_no_pattern(tmp_path):
    for name in ("export1.csv", "export[1].csv"):
        (tmp_path / name).write_text(f"id\n{name}\n")
    with open_tables(tmp_path / "export[1].csv") as (table,):
        batches = asyncio.run(anext(aiter(table.batches(["id"]))))
    assert [list(row.cells) for row in batches] == [["export[1].csv"]]


@pytest.mark.parametrize(
    ("trap", "text", "settings", "value"),
    [
        (9, "03/04/2026", 'values.date = "dmy"', "2026-04-03"),
        (9, "03/04/2026", 'values.date = "mdy"', "2026-03-04"),
        (9, "03/04/2026", "", None),
        (10, "03/04/26", 'values.date = "dmy"', "2026-04-03"),
        (10, "03/04/26", 'values.date = "mdy"', "2026-03-04"),
    ],
)
def test_09_10_a_date_is_refused_until_the_mapping_says_its_order(trap, text, settings, value):
    values, refusals = loaded(attribute('{ column = "v", type = "date" }', settings), rows(text))
    assert [each[2] for each in values] == ([value] if value else []), trap
    assert [(line, "Column `v` " in detail) for line, detail in refusals] == ([] if value else [(2, True)])


TIME = '{ column = "v", type = "time" }'


@pytest.mark.parametrize(
    ("trap", "text", "zone", "value"),
    [
        (11, "2016-04-18 13:51:14", "UTC", "2016-04-18T13:51:14Z"),
        (11, "2016-04-18 13:51:14", "Europe/Berlin", "2016-04-18T11:51:14Z"),
        (11, "2016-04-18 13:51:14", None, None),
        (12, "2026-04-03T11:00:00+02:00", "UTC", "2026-04-03T09:00:00Z"),
        (13, "2026-10-25T00:30:00Z", "Europe/Berlin", "2026-10-25T00:30:00Z"),
        (13, "2026-10-25T01:30:00Z", "Europe/Berlin", "2026-10-25T01:30:00Z"),
        (14, "9999-12-31T23:59:59.999999Z", "UTC", "9999-12-31T23:59:59.999999Z"),
        (14, "infinity", "UTC", None),
        (15, "2026-04-03T10:00:00.123456789Z", "UTC", "2026-04-03T10:00:00.123456Z"),
    ],
)
def test_11_to_15_a_moment_is_that_of_its_zone_to_the_microsecond(trap, text, zone, value):
    values, refusals = loaded(attribute(TIME, f'values.zone = "{zone}"' if zone else ""), rows(text))
    assert [each[2] for each in values] == ([value] if value else []), trap
    assert len(refusals) == (not value)


def test_15_nanoseconds_make_one_event_by_a_table_and_by_json_lines():
    text = """
source = "s"
customer.id = "id"
[[records]]
section = "interactions"
[records.fields]
id = { value = "e1" }
interactionType = { value = "view" }
timestamp = "v"
"""
    moment = "2026-04-03T10:00:00.123456789Z"
    ((_, _, _, line),), _ = loaded(text, rows(moment))
    by_hand = json.dumps(line | {"record": line["record"] | {"timestamp": moment}}).encode()
    assert PARSER.line(0, json.dumps(line).encode(), REGISTRY) == PARSER.line(0, by_hand, REGISTRY)


@pytest.mark.parametrize(
    ("trap", "content", "values"),
    [
        (16, b'{"id":18446744073709551616,"v":1.10}\n', ["18446744073709551616", "1.10"]),
        (17, b'{"id":1,"v":"x"}\n{"id":"A2","v":"x"}\n', ["1", "x", "A2", "x"]),
    ],
)
def test_16_17_numbers_of_json_keep_their_digits_and_texts_have_no_quotes(trap, content, values):
    made, refusals = loaded(attribute(), content, "file.jsonl")
    assert ([part for _, customer, value, _ in made for part in (customer, value)], refusals) == (values, []), trap


def test_18_a_line_of_json_that_is_wrong_is_refused_with_its_number():
    made, refusals = loaded(attribute(), b'{"id":"1","v":1}\n{"id":"A2",\n{"id":"3","v":3}\n', "file.jsonl")
    assert ([customer for _, customer, _, _ in made], [line for line, _ in refusals]) == (["1", "3"], [2])


def test_19_null_clears_and_absent_leaves():
    made, refusals = loaded(attribute(), b'{"id":"1","v":null}\n{"id":"2"}\n', "file.jsonl")
    assert [(line["customerId"], line["record"]) for *_, line in made] == [("1", {"name": "v", "value": None})]
    assert refusals == []


def book(*cells, epoch=None, formats=()):
    """Return a workbook with customers 1, 2, … and a cell each."""
    workbook = openpyxl.Workbook()
    workbook.epoch = epoch or workbook.epoch
    workbook.active.append(["id", "v"])
    for number, cell in enumerate(cells, 1):
        workbook.active.append([None, None] if cell is None else [str(number), cell])
    for address, number_format in dict(formats).items():
        workbook.active[address].number_format = number_format
    stream = io.BytesIO()
    workbook.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("trap", "content", "values"),
    [
        (20, book(442079460018.0), ["442079460018"]),
        (21, book(date(2026, 4, 3), epoch=CALENDAR_MAC_1904), ["2026-04-03"]),
        (24, book(731, formats={"B2": "00000"}), ["00731"]),
        (25, book("00731", None, "00012"), ["00731", "00012"]),
    ],
)
def test_20_to_25_a_cell_of_a_workbook_is_what_it_shows(trap, content, values):
    assert values_of(attribute(), content, "file.xlsx") == values, trap


@pytest.mark.parametrize(("trap", "cell"), [(22, '=A1&"@x"'), (23, "#N/A")])
def test_22_23_a_cell_without_a_value_is_refused_with_its_address(trap, cell):
    made, refusals = loaded(attribute(), book("a", cell), "file.xlsx")
    assert [value for _, _, value, _ in made] == ["a"], trap
    assert [(line, "B3" in detail) for line, detail in refusals] == [(3, True)]


@pytest.mark.parametrize("word", ["NULL", "#N/A", "nan", "", '"NULL"', " null "])
def test_26_a_word_for_none_is_nobodys_id(word):
    made, refusals = loaded(attribute(), f"id,v\n{word},1\n2,3\n".encode())
    assert ([customer for _, customer, _, _ in made], [line for line, _ in refusals]) == (["2"], [2])


SHOPIFY = "Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Phone,Accepts SMS Marketing\n"


def test_27_an_apostrophe_is_no_part_of_an_id():
    content = f"{SHOPIFY}'7210448301122,Ann,,ann@example.org,no,,no\n".encode()
    assert set(ids_of(ready("shopify"), content, "customers.csv")) == {"7210448301122"}


def consents(name, content, file):
    made, refusals = loaded(ready(name), content.encode(), file)
    assert refusals == []
    return [line["record"]["status"] for *_, line in made if line["section"] == "consent"]


def test_28_an_opt_out_withdraws():
    head = "Id,FirstName,LastName,Email,HasOptedOutOfEmail,DoNotCall\n"
    assert consents("salesforce", f"{head}001D000000IRFma,A,B,a@example.org,true,false\n", "c.csv") == ["revoked"]
    text = f"""
{attribute()}
[[records]]
section = "consent"
[records.fields]
kind = {{ value = "consent" }}
purpose = {{ value = "m" }}
status = {{ column = "out", words = {{ yes = "revoked", no = "" }} }}
"""
    made, _ = loaded(text, b"id,v,out\n1,,Yes\n2,,No\n")
    assert [(line["customerId"], line["record"]["status"]) for *_, line in made] == [("1", "revoked")]


def test_29_who_was_never_asked_withdrew_nothing():
    assert consents("shopify", f"{SHOPIFY}1,Ann,,a@example.org,no,,no\n2,Ben,,b@example.org,yes,,no\n", "c.csv") == [
        "granted"
    ]


@pytest.mark.parametrize(
    ("file", "statuses"),
    [("subscribed_members_export_1.csv", ["granted"]), ("unsubscribed_members_export_1.csv", ["revoked"]),
     ("cleaned_members_export_1.csv", [])],
)  # fmt: skip
def test_30_the_name_of_a_file_is_the_consent(file, statuses):
    head = "Email Address,First Name,OPTIN_TIME,CONFIRM_TIME,LAST_CHANGED,EUID,UNSUB_TIME\n"
    row = "a@example.org,A,2016-04-18 13:51:14,2016-04-18 13:51:14,2016-04-18 13:51:14,12345e6789,2017-01-01 00:00:00\n"
    assert consents("mailchimp", head + row, file) == statuses


def test_31_an_empty_consent_says_nothing():
    assert consents("shopify", f"{SHOPIFY}1,Ann,,a@example.org,,,\n", "c.csv") == []


def test_34_what_is_refused_late_leaves_what_came_before_and_after():
    made, refusals = loaded(
        attribute('{ column = "v", type = "number" }'), rows(*[str(number) for number in range(3000)], "x", "7")
    )
    assert (len(made), [line for line, _ in refusals]) == (3001, [3002])


def test_35_a_column_of_sqlite_without_a_type_is_text(tmp_path):
    with sqlite3.connect(tmp_path / "crm.db") as connection:
        connection.execute("CREATE TABLE t (id, v)")
        connection.execute("INSERT INTO t VALUES ('00731', 'yes'), (?, 1)", (b"00732",))
    connection.close()

    async def cells():
        async with open_query(f"sqlite:///{tmp_path / 'crm.db'}", "SELECT * FROM t") as table:
            return [list(row.cells) async for batch in table.batches(["id", "v"]) for row in batch]

    assert asyncio.run(cells()) == [["00731", "yes"], ["00732", "1"]]


def test_36_texts_that_are_equal_as_numbers_are_two():
    assert set(ids_of(attribute(), b"id,v\n00731,a\n731,b\n")) == {"00731", "731"}


@pytest.mark.parametrize("content", [b"bob,smith\nann,jones\n", b"1,a@example.org\n2,b@example.org\n"])
def test_37_a_first_line_of_data_is_no_header(content):
    with pytest.raises((InputRefused, InvalidMapping)):
        loaded(attribute(), content)
    assert len(loaded(attribute(file='columns = ["id", "v"]'), content)[0]) == 2


def parquet(**columns):
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()


def test_39_a_floating_id_that_may_have_lost_digits_is_refused():
    content = parquet(id=pyarrow.array([9007199254740993.0, 731.0]), v=["a", "b"])
    made, refusals = loaded(attribute(), content, "file.parquet")
    assert ([customer for _, customer, _, _ in made], [line for line, _ in refusals]) == (["731"], [1])
    moments = pyarrow.array([1_775_210_400_123_456_789], pyarrow.timestamp("ns"))
    content = parquet(id=pyarrow.array([b"731"]), v=moments)
    assert values_of(attribute(TIME, 'values.zone = "UTC"'), content, "f.parquet") == ["2026-04-03T10:00:00.123456Z"]
