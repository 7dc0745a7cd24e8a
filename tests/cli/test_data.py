"""`portrait load` and `portrait show`."""

import asyncio
import io
import json
import re
from collections import Counter
from types import SimpleNamespace

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from harness import TENANT, interaction, ndjson, portrait
from portrait.cli import load as command
from portrait.cli import portrait_view
from portrait.cli.load import load_stream
from portrait.identity.rules import WORDS, Reason
from portrait.ingest import blocks, loading
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
    assert [(refusal["line"], refusal["code"]) for refusal in side] == [
        (7, "malformed_json"),
        (8, "event_conflict"),
        (9, "unknown_section"),
        (10, "invalid_record"),
        (11, "malformed_json"),
        (12, "invalid_record"),
    ]
    assert all(refusal["detail"] for refusal in side)
    assert [refusal["text"] for refusal in side] == [line.decode(errors="replace") for line in wrong]
    assert {refusal.keys() == {"line", "code", "detail", "text"} for refusal in side} == {True}


def test_line_numbers_hold_over_several_chunks(database):
    lines = [
        json.dumps({"customerId": f"c{number}", "section": "segments", "record": SEGMENT}).encode()
        for number in range(2500)
    ]
    lines[1200], lines[2400] = b"wrong", b"wrong too"
    done, side = load(database, b"\n".join(lines))
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "2,498 recorded, 0 duplicates, 2 refused"
    assert [(refusal["line"], refusal["text"]) for refusal in side] == [(1201, "wrong"), (2401, "wrong too")]


class Recorder:
    """A recorder that takes turns of the loop for each chunk, and counts the chunks that run beside each other."""

    def __init__(self, fails_at=None, busy=0):
        self.busy = busy
        self.under_way = []
        self.beside = 0
        self.keys = []
        self.sizes = []
        self.fails_at = fails_at

    async def resolve(self, tenant, identifiers):
        return {}

    async def record_each(self, tenant, incoming):
        customers = {line.identifier for line in incoming}
        assert not any(customers & other for other in self.under_way)
        self.under_way.append(customers)
        self.beside = max(self.beside, len(self.under_way))
        assert len(self.under_way) <= loading.AT_ONCE
        try:
            for _ in range(3 + 40 * (len(self.keys) % 2)):
                await asyncio.sleep(0)
            if len(self.keys) == self.fails_at:
                raise StorageFailed("gone")
            if self.busy:
                self.busy -= 1
                raise StorageBusy("busy")
        finally:
            self.under_way.remove(customers)
        self.keys += [line.parsed.key for line in incoming]
        self.sizes.append(len(incoming))
        return Outcome(recorded=len(incoming))


def chunked(recorder, customers, monkeypatch, step=2, gathered=0):
    monkeypatch.setattr(loading, "MAX_CHUNK", 4)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", step * len(ndjson([LINES[0]])))
    store = SimpleNamespace(resolve=recorder.resolve)
    services = SimpleNamespace(recorder=recorder, registry=registry.load(installed=False), store=store)
    rows = (
        {"customerId": f"c{customer}", "section": "interactions", "record": interaction(number)}
        for number, customer in enumerate(customers)
    )
    tenant = TenantRow(TENANT, "", 0, b"k" * 32)
    return asyncio.run(load_stream(services, tenant, io.BytesIO(ndjson(rows)), gathered=gathered))


@given(st.lists(st.integers(0, 20), max_size=60), st.sampled_from([0, 3000]))
def test_the_lines_of_a_customer_are_recorded_in_order(customers, gathered):
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        assert chunked(recorder, customers, patch, gathered=gathered).recorded == len(customers)
    index_by_key = {key: index for index, key in enumerate(recorder.keys)}
    order = [index_by_key[interaction(number)["id"]] for number in range(len(customers))]
    for customer in set(customers):
        own = [at for at, owner in zip(order, customers, strict=True) if owner == customer]
        assert own == sorted(own)


def test_chunks_of_other_customers_are_written_beside_each_other(monkeypatch):
    recorder = Recorder()
    assert chunked(recorder, range(40), monkeypatch).recorded == 40
    assert recorder.beside == loading.AT_ONCE


@pytest.mark.parametrize(("size", "gathered"), [(None, 0), (0, 0), (2**20, 2**18), (2**26, 2**24), (2**40, 2**24)])
def test_lines_wait_for_a_part_of_a_file_up_to_a_bound_and_on_stdin_for_nothing(size, gathered):
    assert command._gathered(size) == gathered


@pytest.mark.parametrize("step", [2, 20])
def test_the_size_of_a_chunk_does_not_depend_on_how_many_lines_are_read_at_once(monkeypatch, step):
    recorder = Recorder()
    chunked(recorder, range(40), monkeypatch, step)
    assert recorder.sizes == [4] * 10


def test_progress_counts_every_record_and_blocks_without_lines_are_not_kept(monkeypatch):
    counted, kept = [], []
    usual = loading._Writing._send

    async def send(self):
        kept.append(len(self._blocks))
        await usual(self)

    monkeypatch.setattr(loading, "MAX_CHUNK", 4)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
    monkeypatch.setattr(loading._Writing, "_send", send)
    services = SimpleNamespace(recorder=Recorder(), registry=registry.load(installed=False), store=None)
    text = ndjson(LINES).replace(b"\n", b"\n" * 1000) + b"wrong"
    progress = SimpleNamespace(advance=counted.append)
    tenant = TenantRow(TENANT, "", 0, b"k" * 32)
    asyncio.run(load_stream(services, tenant, io.BytesIO(text), progress=progress))
    assert sum(counted) == len(LINES) + 1
    assert max(kept) <= 4


def test_a_chunk_that_fails_leaves_none_under_way(monkeypatch):
    recorder = Recorder(fails_at=4)
    with pytest.raises(StorageFailed) as raised:
        chunked(recorder, range(40), monkeypatch)
    assert recorder.under_way == []
    assert raised.value.detail.startswith("Lines from 5 on were not recorded, or not all of them: gone")


@example([0] * 12 + [1] + [0] * 12, 12, 6000)
@example([0] * 3 + [1] + [0] * 12, 4, 6000)
@given(st.lists(st.integers(0, 5), min_size=12, max_size=60), st.integers(0, 50), st.sampled_from([0, 1500, 6000]))
def test_all_lines_before_the_line_that_a_failure_names_were_recorded(customers, fails_at, gathered):
    recorder = Recorder(fails_at=fails_at)
    with pytest.MonkeyPatch.context() as patch:
        try:
            chunked(recorder, customers, patch, gathered=gathered)
        except StorageFailed as error:
            first = int(re.match(r"Lines from (\d+) on", error.detail)[1])
            assert {interaction(number)["id"] for number in range(first - 1)} <= set(recorder.keys)
            assert interaction(first - 1)["id"] not in recorder.keys or gathered


def test_as_many_lines_wait_where_something_of_a_customer_waits_all_the_time(monkeypatch):
    kept = []
    usual = loading._Writing.add

    async def add(self, block, reads):
        await usual(self, block, reads)
        kept.append(self._size)

    monkeypatch.setattr(loading._Writing, "add", add)
    customers = [0 if number % 5 else number for number in range(600)]
    assert chunked(Recorder(), customers, monkeypatch, gathered=6000).recorded == 600
    assert all(4000 < size < 7000 for size in kept[30:])


async def test_what_is_refused_begins_no_transaction():
    recorder = Recorder(fails_at=0)
    services = SimpleNamespace(recorder=recorder, registry=registry.load(installed=False), store=None)
    tenant = TenantRow(TENANT, "", 0, b"k" * 32)
    outcome = await load_stream(services, tenant, io.BytesIO(b"no json\n" * 3))
    assert (outcome.recorded, outcome.refused.total()) == (0, 3)


def test_a_database_that_is_busy_for_a_while_stops_no_load(monkeypatch):
    recorder = Recorder(busy=2)
    monkeypatch.setattr(StorageBusy, "retry_after", 0)
    assert chunked(recorder, range(8), monkeypatch).recorded == 8
    assert recorder.busy == 0


def evidence(customer, value, type_="email"):
    return {"customerId": customer, "section": "identities", "record": {"type": type_, "value": value}}


def test_refused_links_are_counted_by_rule(database):
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
    assert [(warning["line"], warning["code"], warning["detail"]) for warning in beside(database, "warned")] == [
        *shared,
        (4, "unknown_type", WORDS[Reason.UNKNOWN_TYPE]),
    ]
    done, _ = load(database, ndjson(lines))
    assert done.stderr.splitlines()[0] == "0 recorded, 4 duplicates, 0 refused"
    assert [warning["line"] for warning in beside(database, "warned")] == [1, 2, 3, 4], (
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
    assert [(warning["line"], warning["code"]) for warning in beside(database, "warned")] == [(1, "no_moment")]
    with apsw.Connection(str(database)) as connection:
        documents = connection.execute("SELECT body FROM documents WHERE section = 'consent'").fetchall()
    assert [json.loads(body)[0]["status"] for (body,) in documents] == ["revoked"]


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
        assert [(warning["line"], warning["code"]) for warning in listed] == [
            (2, "unreadable_phone"),
            (3, "unreadable_email"),
            (5, "unreadable_phone"),
        ]
        assert [json.loads(warning["text"]) for warning in listed] == [lines[1], lines[2], lines[4]]
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
"""Lines as an export of a CRM has them."""


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
    assert [(refusal["line"], refusal["code"]) for refusal in refused] == [(9, "blocked_identifier")]
    listed = beside(database, "warned")
    codes_by_line = {}
    for warning in listed:
        codes_by_line.setdefault(warning["line"] - 1, set()).add(warning["code"])
        assert json.loads(warning["text"]) == CRM[warning["line"] - 1]
        assert warning["detail"]
    assert codes_by_line == doubts
    counted = Counter(warning["code"] for warning in listed)
    by_code = ", ".join(f"{count} {code}" for code, count in sorted(counted.items()))
    assert done.stderr.splitlines()[:2] == ["8 recorded, 0 duplicates, 1 refused", f"{len(listed)} warnings: {by_code}"]
    printed = portrait("show", "c1", "--tenant", TENANT, "--json", database=database)
    assert "020 7946 0018" in printed.stdout, "what is doubtful is there all the same"


def test_a_word_for_none_is_refused_as_customer_and_an_apostrophe_before_a_number_is_left_out(database):
    lines = [
        {"customerId": customer_id, "section": "interactions", "record": interaction(number)}
        for number, customer_id in enumerate(
            ["NULL", "0", "undefined", "'7210448301122", "7210448301122", "'tis", "N/A"]
        )
    ]
    lines += [evidence("B", "none@none.com"), evidence("B", "B") | {"record": {"type": "customer_id", "value": "NaN"}}]
    done, refused = load(database, ndjson(lines))
    assert done.returncode == 3
    assert [(refusal["line"], refusal["code"]) for refusal in refused] == [
        (n, "blocked_identifier") for n in (1, 2, 3, 7)
    ]
    assert all("allowedValues" in refusal["detail"] for refusal in refused)
    assert [(warning["line"], warning["code"]) for warning in beside(database, "warned")] == [
        (4, "apostrophe"),
        (8, "blocked_value"),
        (9, "blocked_value"),
    ]
    with apsw.Connection(str(database)) as connection:
        customer_ids = connection.execute(
            "SELECT DISTINCT value FROM facts JOIN identifiers i ON i.number = identifier"
            " JOIN names n ON n.number = section WHERE name = 'interactions' ORDER BY 1"
        )
        assert list(customer_ids) == [("'tis",), ("7210448301122",)]


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
    assert [(refusal["line"], refusal["code"]) for refusal in side] == [(1, "malformed_json"), (2, "malformed_json")]
    assert side[0]["detail"] == "Field `customerId` stands twice in one object of the JSON: send it once."


def test_the_side_file_can_be_named(database):
    named = {kind: database.parent / f"{kind} beside.jsonl" for kind in ("refused", "warned")}
    words = [word for kind, path in named.items() for word in (f"--{kind}", str(path))]
    done, side = load(database, ndjson([evidence("A", "no address")]) + b"wrong\n", *words)
    assert (done.returncode, side, beside(database, "warned")) == (3, None, None)
    assert [json.loads(path.read_text())["line"] for path in named.values()] == [2, 1]
    assert all(path.stat().st_mode & 0o077 == 0 for path in named.values())
    done, _ = load(database, b"", "--refused", "one", "--warned", "one")
    assert (done.returncode, done.stderr) == (
        1,
        "portrait: --refused and --warned name the same file. Name two files.\n",
    )


def test_lines_come_from_stdin(database, tmp_path):
    text = ndjson(LINES).decode() + "wrong\n"
    done = portrait("load", "-", "--tenant", TENANT, database=database, input=text, cwd=tmp_path)
    assert done.returncode == 3
    assert json.loads((tmp_path / "stdin.refused.jsonl").read_text())["line"] == 6


def test_a_load_for_an_unknown_tenant_names_the_known_tenants(database):
    file = database.parent / "lines.jsonl"
    file.write_bytes(ndjson(LINES))
    done = portrait("load", str(file), "--tenant", "nobody", database=database)
    assert done.returncode == 1
    assert f"Tenants: {TENANT}." in done.stderr
    assert "create nobody" not in done.stderr


def test_a_missing_file_is_refused(database):
    done = portrait("load", "missing.jsonl", "--tenant", TENANT, database=database)
    assert done.returncode == 2
    assert "missing.jsonl" in done.stderr


def test_an_empty_file_is_taken(database):
    done, _ = load(database, b"")
    assert (done.returncode, done.stderr) == (0, "0 recorded, 0 duplicates, 0 refused\n")


def test_a_lines_source_and_moment_are_kept_and_load_is_the_source_of_others(database):
    segment_line = {
        "customerId": "c1",
        "section": "segments",
        "record": SEGMENT,
        "effectiveAt": "2026-02-01T00:00:00+01:00",
    }
    load(database, ndjson([segment_line | {"source": "crm"}, LINES[0]]))
    with apsw.Connection(str(database)) as connection:
        assert sorted(
            connection.execute(
                "SELECT s.name, o.name FROM facts JOIN names s ON s.number = section JOIN names o ON o.number = source"
            )
        ) == [
            ("interactions", "load"),
            ("segments", "crm"),
        ]


@pytest.fixture
def filled(database):
    load(database, ndjson([*LINES, {"customerId": "c1", "section": "segments", "record": SEGMENT}]))
    return database


def test_a_portrait_is_shown_for_people(filled):
    printed = portrait("show", "c1", "--tenant", TENANT, database=filled)
    assert printed.returncode == 0, printed.stderr
    for text in ("c1", TENANT, "segments", "High Value", "2026-01-15", "interactions", "ih_004", "consent"):
        assert text in printed.stdout
    assert "{" not in printed.stdout


def test_a_portrait_is_shown_as_json(filled):
    printed = portrait(
        "show", "c1", "--tenant", TENANT, "--json", "--sections", "segments, interactions", database=filled
    )
    answer = json.loads(printed.stdout)
    assert answer["customerId"] == "c1"
    assert [section["name"] for section in answer["sections"]] == ["segments", "interactions"]
    assert answer["sections"][0]["data"] == [SEGMENT]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nobody", "--tenant", TENANT), "customer"),
        (("c1", "--tenant", "nobody"), f"Tenants: {TENANT}."),
        (("c1", "--tenant", TENANT, "--sections", "nothing"), "segments"),
    ],
)
def test_a_show_that_fails_prints_one_line(filled, words, message):
    printed = portrait("show", *words, database=filled)
    assert printed.returncode == 1
    assert printed.stdout == ""
    assert message in printed.stderr
    assert len(printed.stderr.splitlines()) == 1


def test_a_long_text_is_cut():
    output = io.StringIO()
    section = {"name": "notes", "data": [{"short": "s" * 60, "long": "l" * 61}]}
    portrait_view.show(
        {"customerId": "c1", "tenantId": TENANT, "computedAt": "", "sections": [section]},
        Console(file=output, width=200),
    )
    assert "s" * 60 in output.getvalue()
    assert f"{'l' * 60}…" in output.getvalue()
    assert "l" * 61 not in output.getvalue()
