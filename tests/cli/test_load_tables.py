"""`portrait load` of tables: every format makes the same profiles, and what cannot be loaded is said by line."""

import asyncio
import csv
import gzip
import io
import json
import sqlite3
import zipfile

import apsw
import asyncpg
import openpyxl
import pyarrow
import pyarrow.parquet
import pytest

from harness import TENANT, portrait

MAPPING = """
source = "crm"
exported = "2026-04-03T10:00:00Z"

[values]
date = "dmy"
zone = "Europe/Berlin"

[customer]
id = "id"

[identifiers]
email = "email"
phone = "phone"

[attributes]
given_name = "first"
family_name = "last"
address_country = "country"
birth_date = { column = "born", type = "date" }
total_spent = { column = "spent", type = "number" }

[[records]]
section = "interactions"
[records.fields]
id = { template = "order-{order}" }
interactionType = { value = "purchase" }
timestamp = "ordered"
total = { column = "spent", type = "number" }

[[records]]
section = "consent"
[records.fields]
kind = { value = "consent" }
purpose = { value = "marketing" }
channel = { value = "email" }
status = { column = "news", words = { yes = "granted", out = "revoked", no = "" } }
"""
COLUMNS = ("id", "email", "phone", "first", "last", "country", "born", "spent", "order", "ordered", "news")
ROWS = [
    ("00731", "Jose@example.org", "+34612345678", "José", "Núñez", "NO", "03/04/1980", "12.50", "1", "01/03/2026 10:00",
     "yes"),
    ("731", "ann@example.org", "", "Ann", "True", "GB", "", "1", "1e5", "25/10/2026 02:30", "out"),
    ("0x1F", "", "+442079460018", "=1+1", "O'Neil", "F", "31/12/1970", "", "", "", "no"),
    ("9007199254740993", "eve@example.org", "", "NaN", "Line\nbreak", "FR", "", "3.10", "00012", "29/02/2024 23:59",
     ""),
]  # fmt: skip


def as_csv(delimiter=",", encoding="utf-8", columns=COLUMNS, rows=ROWS):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([columns, *rows])
    return text.getvalue().encode(encoding)


def as_json_lines():
    return b"".join(json.dumps(said(row)).encode() + b"\n" for row in ROWS)


def said(row):
    return {column: text for column, text in zip(COLUMNS, row, strict=True) if text}


def as_xlsx():
    book = openpyxl.Workbook()
    for row in (COLUMNS, *ROWS):
        book.active.append([None] * len(row))
        for cell, text in zip(book.active[book.active.max_row], row, strict=True):
            if text:
                cell.value, cell.data_type = text, "s"
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def as_parquet():
    stream = io.BytesIO()
    columns = {name: [row[at] or None for row in ROWS] for at, name in enumerate(COLUMNS)}
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()


def zipped(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.csv", content)
    return stream.getvalue()


FILES = {
    "rows.csv": as_csv(),
    "marked.csv": as_csv(encoding="utf-8-sig"),
    "rows.csv.gz": gzip.compress(as_csv(), mtime=0),
    "rows.zip": zipped(a=as_csv(rows=ROWS[:2]), b=as_csv(rows=ROWS[2:])),
    "turned.csv": as_csv(columns=COLUMNS[::-1], rows=[row[::-1] for row in ROWS]),
    "rows.jsonl": as_json_lines(),
    "rows.json": json.dumps([said(row) for row in ROWS], indent=1).encode(),
    "rows.xlsx": as_xlsx(),
    "rows.parquet": as_parquet(),
}
CONSENT = {"kind": "consent", "purpose": "marketing", "channel": "email"}
RECORDS = 26
"""So many records the rows make."""
NAMED = ", ".join(f'"{name}" text' for name in COLUMNS)
CREATE = f"CREATE TABLE rows ({NAMED})"


@pytest.fixture
def mapping(tmp_path):
    path = tmp_path / "crm.toml"
    path.write_text(MAPPING)
    return path


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=path).returncode == 0
    return path


def load(database, file, mapping, *words, **options):
    return portrait(
        "load", str(file), "--tenant", TENANT, "--mapping", str(mapping), *words, database=database,
        cwd=database.parent, **options,
    )  # fmt: skip


def written(database, name, content):
    path = database.parent / name
    path.write_bytes(content)
    return path


def profiles(database):
    """Return what profiles show, and the records below them with their moments."""
    with apsw.Connection(str(database)) as connection:
        documents = list(connection.execute("SELECT customer_id, section, body FROM documents ORDER BY 1, 2"))
        records = sorted(connection.execute("SELECT effective_at, body FROM facts"))
    return [
        [document for document in documents if document[1]],
        [(at, body) for at, body in records if not body.startswith(b'{"rule"')],  # a link's moment is the load's
    ]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The profiles that the records make when they are written by hand, as lines of a bulk."""
    database = tmp_path_factory.mktemp("expected") / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=database).returncode == 0
    export = "2026-04-03T10:00:00Z"

    def lines(id_, purchase=None, consent=None, identities=(), **attributes):
        for section, record in (
            *(("identities", {"type": type_, "value": value}) for type_, value in identities),
            *(("attributes", {"name": name, "value": value}) for name, value in attributes.items()),
            *(
                (("consent", {"kind": "consent", "purpose": "marketing", "channel": "email", "status": consent}),)
                if consent
                else ()
            ),
        ):
            yield {"customerId": id_, "section": section, "record": record, "effectiveAt": export, "source": "crm"}
        if purchase:
            order, at, total = purchase
            record = {"id": f"order-{order}", "interactionType": "purchase", "timestamp": at}
            yield {
                "customerId": id_,
                "section": "interactions",
                "record": record | {"total": total},
                "source": "crm",
            }

    records = [
        *lines("00731", ("1", "2026-03-01T09:00:00Z", 12.50), "granted",
               (("email", "Jose@example.org"), ("phone", "+34612345678")), given_name="José", family_name="Núñez",
               address_country="NO", birth_date="1980-04-03", total_spent=12.50),
        *lines("731", ("1e5", "2026-10-25T00:30:00Z", 1), "revoked", (("email", "ann@example.org"),),
               given_name="Ann", family_name="True", address_country="GB", total_spent=1),
        *lines("0x1F", None, None, (("phone", "+442079460018"),), given_name="=1+1", family_name="O'Neil",
               address_country="F", birth_date="1970-12-31"),
        *lines("9007199254740993", ("00012", "2024-02-29T22:59:00Z", 3.10), None, (("email", "eve@example.org"),),
               family_name="Line\nbreak", address_country="FR", total_spent=3.10),
    ]  # fmt: skip
    file = database.parent / "records.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    done = portrait("load", str(file), "--tenant", TENANT, database=database)
    assert done.stderr == f"{len(records)} recorded, 0 duplicates, 0 refused\n"
    return profiles(database)


@pytest.mark.parametrize("name", FILES)
def test_every_format_makes_the_same_profiles_byte_by_byte(database, mapping, expected, name):
    file = written(database, name, FILES[name])
    done = load(database, file, mapping)
    assert (done.returncode, done.stderr) == (0, f"{RECORDS} recorded, 0 duplicates, 0 refused\n")
    assert profiles(database) == expected
    again = load(database, file, mapping)
    assert again.stderr == f"0 recorded, {RECORDS} duplicates, 0 refused\n"
    assert profiles(database) == expected


def test_a_query_of_sqlite_makes_the_same_profiles(database, mapping, expected):
    file = database.parent / "crm.db"
    with sqlite3.connect(file) as connection:
        connection.execute(CREATE)
        connection.executemany(
            f"INSERT INTO rows VALUES ({', '.join('?' * len(COLUMNS))})",
            [[text or None for text in row] for row in ROWS],
        )
    connection.close()
    done = load(database, f"sqlite:///{file}", mapping, "--sql", "SELECT * FROM rows")
    assert (done.returncode, done.stderr) == (0, f"{RECORDS} recorded, 0 duplicates, 0 refused\n")
    assert profiles(database) == expected


def test_a_query_of_postgresql_makes_the_same_profiles(database, mapping, expected, postgres_url):
    async def fill():
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(CREATE)
        await connection.executemany(
            f"INSERT INTO rows VALUES ({', '.join(f'${at + 1}' for at in range(len(COLUMNS)))})",
            [[text or None for text in row] for row in ROWS],
        )
        await connection.close()

    asyncio.run(fill())
    done = load(database, postgres_url, mapping, "--sql", "SELECT * FROM rows")
    assert (done.returncode, done.stderr) == (0, f"{RECORDS} recorded, 0 duplicates, 0 refused\n")
    assert profiles(database) == expected


def test_a_table_on_stdin_is_loaded_where_the_mapping_says_its_format(database, mapping, expected):
    mapping.write_text(MAPPING.replace("[values]", '[file]\nformat = "csv"\n\n[values]'))
    done = portrait(
        "load", "-", "--tenant", TENANT, "--mapping", str(mapping), database=database, cwd=database.parent,
        input=as_csv().decode(),
    )  # fmt: skip
    assert done.stderr == f"{RECORDS} recorded, 0 duplicates, 0 refused\n"
    assert profiles(database) == expected


@pytest.mark.parametrize("name", ["records.json", "records.jsonl.gz", "records.zip"])
def test_records_are_taken_from_an_array_and_from_packed_files(database, name):
    records = [
        {"customerId": f"c{number}", "section": "segments", "effectiveAt": "2026-04-03T10:00:00Z",
         "record": {"segmentId": "s", "segmentName": "a\nb", "memberSince": "2026-01-01T00:00:00Z"}}
        for number in range(3)
    ]  # fmt: skip
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    content = {
        "records.json": json.dumps([*records, {}], indent=2).encode(), "records.jsonl.gz": gzip.compress(lines + b"{}"),
        "records.zip": zipped(a=lines, b=b"{}"),
    }[name]  # fmt: skip
    done = portrait("load", str(written(database, name, content)), "--tenant", TENANT, database=database)
    assert done.stderr.startswith("3 recorded, 0 duplicates, 1 refused\n")
    (refusal,) = map(json.loads, (database.parent / f"{name}.refused.jsonl").read_text().splitlines())
    assert (refusal["line"], refusal["text"]) == (1 if name.endswith("zip") else 4, "{}")


def test_refused_rows_are_in_the_side_file_with_their_line_and_what_they_say(database, mapping):
    rows = [
        (*ROWS[0][:7], "12,5o", *ROWS[0][8:]),
        ROWS[1][:2],
        ("NULL", *ROWS[1][1:]),
        (*ROWS[1][:9], "29/03/2026 02:30", "maybe"),
    ]
    done = load(database, written(database, "rows.csv", as_csv(rows=rows)), mapping)
    assert done.returncode == 3
    side = [json.loads(line) for line in (database.parent / "rows.csv.refused.jsonl").read_text().splitlines()]
    assert [(refusal["line"], refusal["code"]) for refusal in side] == [
        (2, "invalid_record"), (3, "invalid_record"), (4, "invalid_record"), (5, "invalid_record"),
        (5, "invalid_record"),
    ]  # fmt: skip
    assert "Column `spent` " in side[0]["detail"]
    assert "2 cells where the header has 11" in side[1]["detail"]
    assert "Column `id` " in side[2]["detail"]
    assert {"Column `ordered`", "Column `news`"} == {refusal["detail"].partition("` ")[0] + "`" for refusal in side[3:]}
    assert json.loads(side[0]["text"])["spent"] == "12,5o"
    assert "12,5o" not in side[0]["detail"]


def test_what_could_be_read_of_a_file_that_is_cut_off_is_recorded(database, mapping):
    rows = [(str(number), *ROWS[0][1:2], *ROWS[0][2:]) for number in range(3000)]
    packed = gzip.compress(as_csv(rows=rows), mtime=0)
    done = load(database, written(database, "rows.csv.gz", packed[: len(packed) * 9 // 10]), mapping)
    assert done.returncode == 1
    assert "rows.csv.gz cannot be read behind row " in done.stderr
    assert "cut off" in done.stderr
    customers = {row[0] for row in profiles(database)[0]}
    assert len(customers) > 1000
    assert portrait("db", "check", database=database).returncode == 0


def test_a_mapping_that_does_not_fit_is_refused_before_the_first_row(database, mapping):
    mapping.write_text(MAPPING.replace('"email"', '"e-mail"', 1).replace('"granted"', '"given"'))
    done = load(database, written(database, "rows.csv", FILES["rows.csv"]), mapping)
    assert done.returncode == 1
    assert "`e-mail`" in done.stderr
    assert "granted" in done.stderr
    assert "\\n" not in done.stderr, (
        "a command prints a refusal in one line: its faults are sentences, one after the other"
    )
    assert profiles(database) == [[], []]


def test_a_query_without_a_mapping_and_a_mapping_that_is_not_there_are_refused(database):
    url = f"sqlite:///{database}"
    done = portrait("load", url, "--sql", "SELECT 1", "--tenant", TENANT, database=database)
    assert (done.returncode, "--mapping" in done.stderr) == (1, True)
    done = load(database, written(database, "rows.csv", b"id\n1\n"), "nowhere.toml")
    assert (done.returncode, "shopify" in done.stderr) == (1, True)


def test_a_dry_run_refuses_what_a_load_would_and_writes_nothing(database, mapping):
    rows = [*ROWS, ("", *ROWS[0][1:])]
    done = load(database, written(database, "rows.csv", as_csv(rows=rows)), mapping, "--dry-run")
    assert done.returncode == 3
    assert done.stderr.startswith(f"{RECORDS} to record, 1 refused; nothing was written\n")
    assert profiles(database) == [[], []]


def test_the_moment_of_the_export_may_come_from_the_command(database, mapping, expected):
    mapping.write_text(MAPPING.replace('exported = "2026-04-03T10:00:00Z"\n', ""))
    file = written(database, "rows.csv", FILES["rows.csv"])
    refused = load(database, file, mapping)
    assert refused.returncode == 1
    assert "say when the table was `exported`" in refused.stderr
    wrong = load(database, file, mapping, "--exported", "yesterday")
    assert (wrong.returncode, "RFC 3339" in wrong.stderr) == (2, True)
    done = load(database, file, mapping, "--exported", "2026-04-03T12:00:00+02:00")
    assert done.returncode == 0
    assert profiles(database) == expected


def test_the_moment_of_the_export_holds_for_records_without_one(database):
    records = [
        {"customerId": "c", "section": "attributes", "record": {"name": name, "value": 1, "updatedAt": at}}
        for name, at in (("dated", "2026-01-01T00:00:00Z"), ("undated", None))
    ]
    file = written(database, "r.jsonl", b"\n".join(json.dumps(record).encode() for record in records))
    done = portrait("load", str(file), "--tenant", TENANT, "--exported", "2026-04-03T10:00:00Z", database=database)
    assert done.returncode == 0
    moments = {json.loads(body)["name"]: at for at, body in profiles(database)[1]}
    assert moments == {"dated": 1_767_225_600_000_000, "undated": 1_775_210_400_000_000}


def test_a_look_proposes_a_mapping_that_loads_once_its_doubts_are_decided(database):
    names = (
        "id",
        "E-Mail",
        "phone",
        "firstName",
        "surname",
        "country",
        "birthday",
        "spent",
        "order",
        "ordered",
        "news",
    )
    file = written(database, "rows.csv", as_csv(delimiter=";", columns=names))
    looked = portrait("load", "--look", str(file), cwd=database.parent)
    assert looked.returncode == 0
    assert 'delimiter = ";"' in looked.stdout
    assert "# ? news (yes, out, no): which word grants" in looked.stdout
    text = looked.stdout.replace('# exported = "…Z"', 'exported = "2026-04-03T10:00:00Z"')
    text = text.replace('# zone = "UTC"', 'zone = "UTC"')
    mapping = written(database, "proposed.toml", text.encode())
    done = load(database, file, mapping)
    assert (done.returncode, done.stderr.endswith("0 duplicates, 0 refused\n")) == (0, True)
    names = {json.loads(body).get("name") for _, body in profiles(database)[1]}
    assert {"family_name", "given_name", "address_country", "birth_date"} <= names


def test_a_look_asks_whether_day_or_month_is_first(database):
    file = written(database, "dates.csv", b"customer id,email,birthday\nc1,a@example.org,03/04/1980\n")
    looked = portrait("load", "--look", str(file), cwd=database.parent)
    assert "# ? birthday: is 03/04/1980 (row 2) day or month first?" in looked.stdout
    assert '# date = "dmy"  # or "mdy"' in looked.stdout


def test_a_look_with_a_mapping_shows_what_it_makes_and_each_kind_of_refusal_once(database, mapping):
    rows = [*ROWS, *[(*ROWS[0][:10], "maybe")] * 3]
    looked = portrait(
        "load", "--look", str(written(database, "rows.csv", as_csv(rows=rows))), "--mapping", str(mapping)
    )
    assert looked.returncode == 0
    assert '{"customerId":"00731","section":"identities"' in looked.stderr
    assert "refused: 3" in looked.stderr
    assert "# 3 times, first in row 7: Column `news` " in looked.stderr
