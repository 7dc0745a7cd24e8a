"""`portrait load` and `portrait show`."""

import asyncio
import io
import json
from collections import Counter
from types import SimpleNamespace

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness import TENANT, interaction, ndjson, portrait
from portrait.cli import data, portrait_view
from portrait.identity.rules import WORDS, Reason
from portrait.model.errors import StorageBusy, StorageFailed
from portrait.sections import registry
from portrait.storage.contract import TenantRow
from portrait.writes.recording import Outcome

LINES = [{"customerId": "c1", "section": "interactions", "record": interaction(number)} for number in range(5)]
SEGMENT = {"segmentId": "s1", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=path).returncode == 0
    return path


def load(database, text, *words):
    """Load a file of this text; return the process and its side file's entries."""
    file = database.parent / "lines.jsonl"
    file.write_bytes(text)
    done = portrait("load", str(file), "--tenant", TENANT, *words, database=database)
    return done, beside(database, "refused")


def beside(database, kind):
    """Return the entries of a side file; None where there is none."""
    side = database.parent / f"lines.jsonl.{kind}.jsonl"
    return [json.loads(line) for line in side.read_text().splitlines()] if side.exists() else None


def derived(database):
    with apsw.Connection(str(database)) as connection:
        return {
            table: list(connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4"))
            for table in ("facts", "documents", "states", "identifiers")
        }


def test_a_file_of_good_lines_exits_with_0_and_leaves_no_side_file(database):
    done, side = load(database, ndjson(LINES))
    assert (done.returncode, done.stdout, side) == (0, "", None)
    assert done.stderr == "5 recorded, 0 duplicates, 0 refused\n"


def test_the_same_file_again_changes_no_row(database):
    load(database, ndjson(LINES))
    before = derived(database)
    done, _ = load(database, ndjson(LINES))
    assert (done.returncode, done.stderr) == (0, "0 recorded, 5 duplicates, 0 refused\n")
    assert derived(database) == before


def test_refused_lines_are_in_the_side_file_with_number_reason_and_text(database):
    wrong = [
        b"not json",
        json.dumps(LINES[0] | {"record": interaction(0, "2026-05-02T00:00:00Z")}).encode(),
        b'{"customerId":"c1","section":"nothing","record":{}}',
        b'{"section":"segments","record":{}}',
        b"\xff\xfe",
        '{"customerId":"Zoë","section":"segments","record":{}}'.encode(),
    ]
    good = ndjson(LINES).splitlines()
    done, side = load(database, b"\n".join([*good, b"", *wrong, good[0]]))
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "5 recorded, 1 duplicates, 6 refused"
    assert "lines.jsonl.refused.jsonl" in done.stderr
    assert [(one["line"], one["code"]) for one in side] == [
        (7, "malformed_json"),
        (8, "event_conflict"),
        (9, "unknown_section"),
        (10, "invalid_record"),
        (11, "malformed_json"),
        (12, "invalid_record"),
    ]
    assert all(one["detail"] for one in side)
    assert [one["text"] for one in side] == [line.decode(errors="replace") for line in wrong]
    assert {one.keys() == {"line", "code", "detail", "text"} for one in side} == {True}


def test_line_numbers_hold_over_several_chunks(database):
    lines = [
        json.dumps({"customerId": f"c{number}", "section": "segments", "record": SEGMENT}).encode()
        for number in range(2500)
    ]
    lines[1200], lines[2400] = b"wrong", b"wrong too"
    done, side = load(database, b"\n".join(lines))
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "2,498 recorded, 0 duplicates, 2 refused"
    assert [(one["line"], one["text"]) for one in side] == [(1201, "wrong"), (2401, "wrong too")]


class Recorder:
    """Takes turns of the loop for each chunk, and notes what ran beside what."""

    def __init__(self, fails_at=None, busy=0):
        self.busy = busy
        self.under_way = []
        self.beside = 0
        self.told = []
        self.sizes = []
        self.fails_at = fails_at

    async def record_each(self, tenant, incoming):
        customers = {one.identifier for one in incoming}
        assert not any(customers & other for other in self.under_way)
        self.under_way.append(customers)
        self.beside = max(self.beside, len(self.under_way))
        assert len(self.under_way) <= data.AT_ONCE
        try:
            for _ in range(3 + 40 * (len(self.told) % 2)):
                await asyncio.sleep(0)
            if len(self.told) == self.fails_at:
                raise StorageFailed("gone")
            if self.busy:
                self.busy -= 1
                raise StorageBusy("busy")
        finally:
            self.under_way.remove(customers)
        self.told += [one.parsed.key for one in incoming]
        self.sizes.append(len(incoming))
        return Outcome(recorded=len(incoming))


def chunked(recorder, customers, monkeypatch, step=2):
    monkeypatch.setattr(data, "MAX_CHUNK", 4)
    monkeypatch.setattr(data, "STEP", step)
    services = SimpleNamespace(recorder=recorder, registry=registry.load(installed=False))
    rows = (
        {"customerId": f"c{customer}", "section": "interactions", "record": interaction(number)}
        for number, customer in enumerate(customers)
    )
    tenant = TenantRow(TENANT, "", 0, b"k" * 32)
    return asyncio.run(data.load_stream(services, tenant, io.BytesIO(ndjson(rows))))


@given(st.lists(st.integers(0, 20), max_size=60))
def test_of_two_lines_of_a_customer_the_later_is_told_later(customers):
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        assert chunked(recorder, customers, patch).recorded == len(customers)
    place = {key: place for place, key in enumerate(recorder.told)}
    told = [place[interaction(number)["id"]] for number in range(len(customers))]
    for customer in set(customers):
        own = [at for at, one in zip(told, customers, strict=True) if one == customer]
        assert own == sorted(own)


def test_chunks_of_other_customers_are_written_beside_each_other(monkeypatch):
    recorder = Recorder()
    assert chunked(recorder, range(40), monkeypatch).recorded == 40
    assert recorder.beside == data.AT_ONCE


@pytest.mark.parametrize("step", [2, 20])
def test_a_chunk_holds_so_many_lines_however_many_are_read_at_once(monkeypatch, step):
    recorder = Recorder()
    chunked(recorder, range(40), monkeypatch, step)
    assert recorder.sizes == [4] * 10


def test_a_chunk_that_fails_leaves_none_under_way(monkeypatch):
    recorder = Recorder(fails_at=4)
    with pytest.raises(StorageFailed) as raised:
        chunked(recorder, range(40), monkeypatch)
    assert recorder.under_way == []
    assert raised.value.detail.startswith("Lines 5 to 8 were not recorded: gone")


def test_a_database_that_is_busy_for_a_while_stops_no_load(monkeypatch):
    recorder = Recorder(busy=2)
    monkeypatch.setattr(StorageBusy, "retry_after", 0)
    assert chunked(recorder, range(8), monkeypatch).recorded == 8
    assert recorder.busy == 0


def evidence(customer, value, type_="email"):
    return {"customerId": customer, "section": "identities", "record": {"type": type_, "value": value}}


def test_what_a_rule_refused_to_link_is_counted_by_the_rule(database):
    lines = [
        evidence("A", "a@example.org"),
        evidence("B", "a@example.org"),
        evidence("C", "a@example.org"),
        evidence("C", "44", "shoe"),
    ]
    done, side = load(database, ndjson(lines))
    assert (done.returncode, side) == (0, None)
    assert done.stderr.splitlines()[:2] == [
        "4 recorded, 0 duplicates, 0 refused",
        "4 warnings: 3 shared_identifier, 1 unknown_type",
    ]
    shared = [(line, "shared_identifier", WORDS[Reason.SHARED_IDENTIFIER]) for line in (1, 2, 3)]
    assert [(one["line"], one["code"], one["detail"]) for one in beside(database, "warned")] == [
        *shared,
        (4, "unknown_type", WORDS[Reason.UNKNOWN_TYPE]),
    ]
    done, _ = load(database, ndjson(lines))
    assert done.stderr.splitlines()[0] == "0 recorded, 4 duplicates, 0 refused"
    assert [one["line"] for one in beside(database, "warned")] == [1, 2, 3, 4], (
        "a load begun again lists what is refused"
    )
    load(database, ndjson(LINES))
    assert beside(database, "warned") is None


def test_a_consent_without_a_moment_loaded_again_grants_nothing_that_was_withdrawn_and_is_counted(database):
    def consent(status):
        record = {"kind": "consent", "purpose": "marketing", "status": status}
        return {"customerId": "c1", "section": "consent", "record": record, "source": f"source of {status}"}

    load(database, ndjson([consent("granted")]))
    load(database, ndjson([consent("revoked")]))
    done, _ = load(database, ndjson([consent("granted")]))
    assert (done.returncode, done.stderr.splitlines()[:2]) == (
        0, ["0 recorded, 1 duplicates, 0 refused", "1 warnings: 1 no_moment"],
    )  # fmt: skip
    assert [(one["line"], one["code"]) for one in beside(database, "warned")] == [(1, "no_moment")]
    with apsw.Connection(str(database)) as connection:
        shown = connection.execute("SELECT body FROM documents WHERE section = 'consent'").fetchall()
    assert [json.loads(body)[0]["status"] for (body,) in shown] == ["revoked"]


def test_a_phone_or_an_email_that_cannot_be_read_is_counted_and_listed_each_time(database):
    lines = [
        evidence("A", "+4930901820", "phone"),
        evidence("A", "030 901820", "phone"),
        evidence("B", "b at example.org"),
        evidence("B", "b@example.org"),
        evidence("B", "0170 1234567", "phone"),
    ]
    for recorded, duplicates in ((5, 0), (0, 5)):
        done, refused = load(database, ndjson(lines))
        assert (done.returncode, refused) == (0, None)
        assert done.stderr.splitlines() == [
            f"{recorded} recorded, {duplicates} duplicates, 0 refused",
            "3 warnings: 1 unreadable_email, 2 unreadable_phone",
            f"The lines with warnings are in {database.parent / 'lines.jsonl.warned.jsonl'}.",
        ]
        listed = beside(database, "warned")
        assert [(one["line"], one["code"]) for one in listed] == [
            (2, "unreadable_phone"),
            (3, "unreadable_email"),
            (5, "unreadable_phone"),
        ]
        assert [json.loads(one["text"]) for one in listed] == [lines[1], lines[2], lines[4]]
        assert "region" in listed[0]["detail"]


def test_a_side_file_from_before_goes_when_all_lines_are_taken(database):
    _, side = load(database, b"wrong\n")
    assert side is not None
    _, side = load(database, ndjson(LINES))
    assert side is None


CRM = [
    {"customerId": "c1", "section": "identities", "record": {"type": "phone", "value": "020 7946 0018"}},
    {"customerId": "c1", "section": "identities", "record": {"type": "email", "value": "ann@example.org"}},
    {"customerId": "c2", "section": "identities", "record": {"type": "phone", "value": "0000000000"}},
    {"customerId": "c2", "section": "identities", "record": {"type": "email", "value": "no email"}},
    {"customerId": "c3", "section": "identities", "record": {"type": "phone", "value": "7946 0018"}},
    {"customerId": "c3", "section": "identities", "record": {"type": "email", "value": "see notes"}},
    {"customerId": "c4", "section": "identities", "record": {"type": "phone", "value": "7946 0018"}},
    {"customerId": "c1", "section": "consent",
     "record": {"kind": "consent", "purpose": "marketing", "channel": "email", "status": "granted"}},
    {"customerId": "NULL", "section": "identities", "record": {"type": "email", "value": "x@example.org"}},
]  # fmt: skip
"""What an export of a CRM holds."""


@pytest.mark.parametrize(
    ("region", "doubts"),
    [
        ("GB", {2: {"blocked_value"}, 3: {"blocked_value"}, 4: {"unreadable_phone"}, 5: {"unreadable_email"},
                6: {"unreadable_phone", "uncertain_value"}, 7: {"no_moment"}}),
        (None, {0: {"unreadable_phone"}, 2: {"blocked_value"}, 3: {"blocked_value"}, 4: {"unreadable_phone"},
                5: {"unreadable_email"}, 6: {"unreadable_phone", "uncertain_value"}, 7: {"no_moment"}}),
    ],
    ids=["with its region", "without a region"],
)  # fmt: skip
def test_an_export_loads_with_every_doubt_counted_and_listed(tmp_path, region, doubts):
    database = tmp_path / "portrait.db"
    made = portrait("tenant", "create", TENANT, *(["--region", region] if region else []), database=database)
    assert ("without + are read as numbers of GB" if region else 'holds {"region": "GB"}') in made.stderr
    done, refused = load(database, ndjson(CRM))
    assert [(one["line"], one["code"]) for one in refused] == [(9, "blocked_identifier")]
    listed = beside(database, "warned")
    found = {}
    for one in listed:
        found.setdefault(one["line"] - 1, set()).add(one["code"])
        assert json.loads(one["text"]) == CRM[one["line"] - 1]
        assert one["detail"]
    assert found == doubts
    counted = Counter(one["code"] for one in listed)
    by_code = ", ".join(f"{count} {code}" for code, count in sorted(counted.items()))
    assert done.stderr.splitlines()[:2] == ["8 recorded, 0 duplicates, 1 refused", f"{len(listed)} warnings: {by_code}"]
    shown = portrait("show", "c1", "--tenant", TENANT, "--json", database=database)
    assert "020 7946 0018" in shown.stdout, "what is doubtful is there all the same"


def test_a_word_for_none_is_refused_as_customer_and_an_apostrophe_before_a_number_is_left_out(database):
    lines = [
        {"customerId": one, "section": "interactions", "record": interaction(number)}
        for number, one in enumerate(["NULL", "0", "undefined", "'7210448301122", "7210448301122", "'tis", "N/A"])
    ]
    lines += [evidence("B", "none@none.com"), evidence("B", "B") | {"record": {"type": "customer_id", "value": "NaN"}}]
    done, refused = load(database, ndjson(lines))
    assert done.returncode == 3
    assert [(one["line"], one["code"]) for one in refused] == [(n, "blocked_identifier") for n in (1, 2, 3, 7)]
    assert all("allowedValues" in one["detail"] for one in refused)
    assert [(one["line"], one["code"]) for one in beside(database, "warned")] == [
        (4, "apostrophe"),
        (8, "blocked_value"),
        (9, "blocked_value"),
    ]
    with apsw.Connection(str(database)) as connection:
        told_of = connection.execute("SELECT DISTINCT value FROM facts WHERE section = 'interactions' ORDER BY 1")
        assert list(told_of) == [("'tis",), ("7210448301122",)]


def test_a_byte_order_mark_refuses_nothing_wherever_a_file_began(database):
    mark, good = b"\xef\xbb\xbf", ndjson(LINES[:2])
    done, side = load(database, mark + good + mark + b"\n" + mark + b" " + ndjson(LINES[2:]))
    assert (done.returncode, side) == (0, None)
    assert done.stderr == "5 recorded, 0 duplicates, 0 refused\n"


def test_a_line_with_a_key_twice_is_refused(database):
    twice = b'{"customerId":"a","customerId":"b",' + ndjson(LINES[:1])[1:]
    inner = ndjson(LINES[1:2]).replace(b'"id":', b'"id":"x","id":')
    done, side = load(database, twice + inner + ndjson(LINES[2:3]))
    assert done.stderr.splitlines()[0] == "1 recorded, 0 duplicates, 2 refused"
    assert [(one["line"], one["code"]) for one in side] == [(1, "malformed_json"), (2, "malformed_json")]
    assert side[0]["detail"] == "Field `customerId` stands twice in one object of the JSON: send it once."


def test_the_side_file_can_be_named(database):
    named = {kind: database.parent / f"{kind} beside.jsonl" for kind in ("refused", "warned")}
    words = [word for kind, path in named.items() for word in (f"--{kind}", str(path))]
    done, side = load(database, ndjson([evidence("A", "no address")]) + b"wrong\n", *words)
    assert (done.returncode, side, beside(database, "warned")) == (3, None, None)
    assert [json.loads(path.read_text())["line"] for path in named.values()] == [2, 1]
    assert all(path.stat().st_mode & 0o077 == 0 for path in named.values())
    done, _ = load(database, b"", "--refused", "one", "--warned", "one")
    assert (done.returncode, done.stderr) == (1, "portrait: --refused and --warned name the same file. Name two.\n")


def test_lines_come_from_stdin(database, tmp_path):
    text = ndjson(LINES).decode() + "wrong\n"
    done = portrait("load", "-", "--tenant", TENANT, database=database, input=text, cwd=tmp_path)
    assert done.returncode == 3
    assert json.loads((tmp_path / "stdin.refused.jsonl").read_text())["line"] == 6


def test_a_missing_tenant_leads_to_those_there_are(database):
    file = database.parent / "lines.jsonl"
    file.write_bytes(ndjson(LINES))
    done = portrait("load", str(file), "--tenant", "nobody", database=database)
    assert done.returncode == 1
    assert f"There are: {TENANT}." in done.stderr
    assert "create nobody" not in done.stderr


def test_a_missing_file_is_refused(database):
    done = portrait("load", "missing.jsonl", "--tenant", TENANT, database=database)
    assert done.returncode == 2
    assert "missing.jsonl" in done.stderr


def test_an_empty_file_is_taken(database):
    done, _ = load(database, b"")
    assert (done.returncode, done.stderr) == (0, "0 recorded, 0 duplicates, 0 refused\n")


def test_a_lines_source_and_moment_are_kept_and_load_is_the_source_of_others(database):
    told = {"customerId": "c1", "section": "segments", "record": SEGMENT, "effectiveAt": "2026-02-01T00:00:00+01:00"}
    load(database, ndjson([told | {"source": "crm"}, LINES[0]]))
    with apsw.Connection(str(database)) as connection:
        assert sorted(connection.execute("SELECT section, source FROM facts")) == [
            ("interactions", "load"),
            ("segments", "crm"),
        ]


@pytest.fixture
def told(database):
    load(database, ndjson([*LINES, {"customerId": "c1", "section": "segments", "record": SEGMENT}]))
    return database


def test_a_portrait_is_shown_for_people(told):
    shown = portrait("show", "c1", "--tenant", TENANT, database=told)
    assert shown.returncode == 0, shown.stderr
    for text in ("c1", TENANT, "segments", "High Value", "2026-01-15", "interactions", "ih_004", "consent"):
        assert text in shown.stdout
    assert "{" not in shown.stdout


def test_a_portrait_is_shown_as_json(told):
    shown = portrait("show", "c1", "--tenant", TENANT, "--json", "--sections", "segments, interactions", database=told)
    answer = json.loads(shown.stdout)
    assert answer["customerId"] == "c1"
    assert [one["name"] for one in answer["sections"]] == ["segments", "interactions"]
    assert answer["sections"][0]["data"] == [SEGMENT]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nobody", "--tenant", TENANT), "customer"),
        (("c1", "--tenant", "nobody"), f"There are: {TENANT}."),
        (("c1", "--tenant", TENANT, "--sections", "nothing"), "segments"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(told, words, said):
    shown = portrait("show", *words, database=told)
    assert shown.returncode == 1
    assert shown.stdout == ""
    assert said in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


def test_of_a_long_text_its_beginning_is_shown():
    shown = io.StringIO()
    section = {"name": "notes", "data": [{"short": "s" * 60, "long": "l" * 61}]}
    portrait_view.show(
        {"customerId": "c1", "tenantId": TENANT, "computedAt": "", "sections": [section]},
        Console(file=shown, width=200),
    )
    assert "s" * 60 in shown.getvalue()
    assert f"{'l' * 60}…" in shown.getvalue()
    assert "l" * 61 not in shown.getvalue()
