"""The CDNOW example on the real file: 69,659 purchases of 23,570 customers, none lost and none twice."""

import json
import os
import subprocess
import time
import uuid
from collections import defaultdict

import apsw
import pytest

from harness import SHARED, command, portrait
from sections.facts import ROOT

FILE = SHARED / "data" / "cdnow-master.txt"
MAPPING = ROOT / "examples" / "cdnow" / "cdnow.toml"
pytestmark = [
    pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.parent.name}/{FILE.name} is not beside this checkout"),
    pytest.mark.xdist_group("cdnow"),
]
PURCHASES, CUSTOMERS = 69_659, 23_570
KILLS = int(os.environ.get("PORTRAIT_TEST_KILLS", "5"))
"""How often a load is killed; 20 by hand."""


def cents(dollars):
    return round(float(dollars) * 100)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("cdnow") / "portrait.db"
    assert portrait("tenant", "create", "cdnow", database=path).returncode == 0
    loaded = load(path)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stderr == f"{PURCHASES:,} recorded, 0 duplicates, 0 refused\n"
    return path


def words(database):
    side = database.parent / uuid.uuid4().hex
    sides = ("--refused", f"{side}.refused", "--warned", f"{side}.warned")
    return "load", str(FILE), "--tenant", "cdnow", "--mapping", str(MAPPING), *sides


def load(database):
    return portrait(*words(database), database=database)


def rows(database):
    """Return the documents and identifiers, without when they were recorded."""
    with apsw.Connection(str(database)) as connection:
        return [
            list(connection.execute(query))
            for query in (
                "SELECT customer_id, section, body FROM documents WHERE section <> '' ORDER BY 1, 2",
                "SELECT type, value FROM identifiers ORDER BY 1, 2",
            )
        ]


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


def test_loading_again_changes_nothing_and_the_check_finds_no_difference(database):
    before = rows(database)
    loaded = load(database)
    assert (loaded.returncode, loaded.stderr) == (0, f"0 recorded, {PURCHASES:,} duplicates, 0 refused\n")
    assert rows(database) == before
    checked = portrait("db", "check", database=database)
    assert checked.returncode == 0
    assert checked.stdout == f"{CUSTOMERS:,} customers, {PURCHASES:,} facts, 0 differences\n"


def test_a_load_that_was_killed_often_and_begun_again_leaves_what_one_load_does(database, tmp_path):
    other = tmp_path / "portrait.db"
    assert portrait("tenant", "create", "cdnow", database=other).returncode == 0
    counts = []
    for number in range(KILLS):
        process = subprocess.Popen(command(*words(other), database=other), stderr=subprocess.DEVNULL)
        goal = PURCHASES * (number + 1) // (KILLS + 1)
        begun = time.monotonic()
        while counted(other) < goal and time.monotonic() - begun < 60:
            time.sleep(0.01)
        process.kill()
        process.wait()
        counts.append(counted(other))
    assert 0 < counts[0] < counts[-1] < PURCHASES
    assert counts == sorted(counts)
    loaded = load(other)
    assert (loaded.returncode, loaded.stderr) == (
        0, f"{PURCHASES - counts[-1]:,} recorded, {counts[-1]:,} duplicates, 0 refused\n"
    )  # fmt: skip
    assert rows(other) == rows(database)


def counted(database):
    with apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY) as connection:
        connection.set_busy_timeout(5000)
        return connection.execute("SELECT count(*) FROM facts").get
