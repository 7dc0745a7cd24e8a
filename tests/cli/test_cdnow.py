"""The CDNOW example on the real file: 69,659 purchases of 23,570 customers, none lost and none twice."""

import json
import subprocess
import sys
from collections import defaultdict

import apsw
import pytest

from harness import SHARED, command, portrait
from sections.facts import ROOT

FILE = SHARED / "data" / "cdnow-master.txt"
CONVERT = ROOT / "examples" / "cdnow" / "convert.py"
pytestmark = [
    pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.parent.name}/{FILE.name} is not beside this checkout"),
    pytest.mark.xdist_group("cdnow"),
]
PURCHASES, CUSTOMERS = 69_659, 23_570


def cents(dollars):
    return round(float(dollars) * 100)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("cdnow") / "cdnow.jsonl"
    with path.open("wb") as file:
        subprocess.run([sys.executable, str(CONVERT), str(FILE)], stdout=file, check=True, timeout=60)
    return path


@pytest.fixture(scope="module")
def database(lines):
    path = lines.parent / "portrait.db"
    assert portrait("tenant", "create", "cdnow", database=path).returncode == 0
    loaded = load(lines, path)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stderr == f"{PURCHASES:,} recorded, 0 duplicates, 0 refused\n"
    return path


def load(lines, database):
    with lines.open("rb") as stream:
        return subprocess.run(
            command("load", "-", "--tenant", "cdnow", database=database),
            stdin=stream, capture_output=True, text=True, timeout=120, check=False, cwd=lines.parent,
        )  # fmt: skip


def test_every_purchase_of_the_file_is_one_line_with_an_id_of_its_own(lines):
    purchases = [json.loads(line) for line in lines.read_bytes().splitlines()]
    assert len(purchases) == PURCHASES
    assert len({purchase["customerId"] for purchase in purchases}) == CUSTOMERS
    assert len({purchase["record"]["id"] for purchase in purchases}) == PURCHASES
    assert purchases[0]["record"] == {
        "id": "cdnow-00001-001",
        "interactionType": "purchase",
        "timestamp": "1997-01-01T00:00:00Z",
        "numberOfCds": 1,
        "dollarValue": 11.77,
    }


def test_count_and_sum_of_every_customer_agree_with_the_file(database):
    expected = defaultdict(list)
    for line in FILE.read_text().splitlines()[1:]:
        customer, date, cds, dollars = line.split()
        expected[customer].append((f"{date[:4]}-{date[4:6]}-{date[6:]}T00:00:00Z", int(cds), cents(dollars)))
    stored = defaultdict(list)
    with apsw.Connection(str(database)) as connection:
        for customer, body in connection.execute(
            "SELECT value, body FROM facts JOIN identifiers ON number = identifier"
        ):
            record = json.loads(body)
            properties = record["properties"]
            stored[customer].append((record["timestamp"], properties["numberOfCds"], cents(properties["dollarValue"])))
    assert len(stored) == CUSTOMERS
    assert {name: sorted(all_) for name, all_ in stored.items()} == {
        name: sorted(all_) for name, all_ in expected.items()
    }
    assert sum(len(all_) for all_ in stored.values()) == PURCHASES


def test_a_profile_shows_the_newest_20_purchases(database):
    with apsw.Connection(str(database)) as connection:
        customer, count = connection.execute(
            "SELECT value, count(*) FROM facts JOIN identifiers ON number = identifier GROUP BY 1"
            " ORDER BY 2 DESC LIMIT 1"
        ).fetchone()
    assert count > 20
    completed = portrait(
        "show", customer, "--tenant", "cdnow", "--json", "--sections", "interactions", database=database
    )  # fmt: skip
    data = json.loads(completed.stdout)["sections"][0]["data"]
    times = [purchase["timestamp"] for purchase in data]
    assert len(data) == 20
    assert times == sorted(times, reverse=True)


def test_loading_again_changes_nothing_and_the_check_finds_no_difference(database, lines):
    def rows():
        with apsw.Connection(str(database)) as connection:
            return [
                list(connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4"))
                for table in ("documents", "states", "identifiers")
            ]

    before = rows()
    loaded = load(lines, database)
    assert (loaded.returncode, loaded.stderr) == (0, f"0 recorded, {PURCHASES:,} duplicates, 0 refused\n")
    assert rows() == before
    checked = portrait("db", "check", database=database)
    assert checked.returncode == 0
    assert checked.stdout == f"{CUSTOMERS:,} customers, {PURCHASES:,} facts, 0 differences\n"
