"""`portrait identity match` and `forget`: of stored records or a file, cut off, repeated, taken back."""

import asyncio
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pyarrow.parquet
import pytest

from harness import TENANT
from identifying.acting import evidence, line
from matching.people import population
from portrait import projection
from portrait.app import build
from portrait.cli import main
from portrait.identity.graph import LINKED, RETRACTED
from portrait.ingest.records import Parser
from portrait.sections.links import LINKS, ends_of
from portrait.serving import distribution

PEOPLE, TRUTH = population(60)
FIELDS = {"first_name": "firstName", "surname": "surname", "address": "address", "zip": "zip", "city": "city"}
SECTION = '''
from typing import Annotated
from portrait import Record, Text, impersonal, personal, register_profile_section

@register_profile_section("people", key=("id",))
class Person(Record, frozen=True):
    """Who they say they are."""

    id: Annotated[Text, impersonal]
    first_name: Annotated[str | None, personal] = None
    surname: Annotated[str | None, personal] = None
    address: Annotated[str | None, personal] = None
    zip: Annotated[str | None, personal] = None
    city: Annotated[str | None, personal] = None
'''
THRESHOLDS = ("--link-at", "0.99", "--review-at", "0.5")
SHARED = "email:shared@example.org"
TWINS = next(
    (customer_id, other)
    for customer_id in sorted(TRUTH)
    for other in sorted(TRUTH)
    if customer_id < other and TRUTH[customer_id] == TRUTH[other]
)
"""Two customers that are one person; both give one e-mail address, which alone joins no two customers."""


def person_line(person):
    record = {name: person[column] for column, name in FIELDS.items()} | {"id": "as a record has one"}
    return line(person["id"], "people", record, source="crm")


LINES = [
    *map(person_line, PEOPLE),
    *(line(customer_id, "identities", evidence(SHARED, 0.9), source="crm") for customer_id in TWINS),
]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "people.py"
    path.write_text(SECTION)
    return str(path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory, plugin):
    path = tmp_path_factory.mktemp("filled") / "portrait.db"
    record_lines(path, plugin, LINES)
    return path


def asked(database, plugin, work):
    """Ask the services over a database."""

    async def whole():
        services = build(f"sqlite:///{database}", plugins=[plugin], installed=False)
        try:
            return await work(services)
        finally:
            await services.close()

    return asyncio.run(whole())


def record_lines(database, plugin, lines):
    async def work(services):
        tenant = await services.store.tenant(TENANT) or await services.access.create_tenant(TENANT)
        parser = Parser(tenant, "test")
        incoming = [parser.line(at, json.dumps(row).encode(), services.registry) for at, row in enumerate(lines)]
        assert (await services.recorder.record_each(TENANT, incoming)).refused == []

    asked(database, plugin, work)


@pytest.fixture
def workspace(filled, plugin, tmp_path, monkeypatch, capsys):
    """A database of its own with the recorded lines, and commands on it."""
    path = tmp_path / "portrait.db"
    shutil.copy(filled, path)
    return Workspace(path, plugin, tmp_path / "work", monkeypatch, capsys)


class Workspace:
    def __init__(self, path, plugin, work, monkeypatch, capsys):
        self.path, self.plugin, self.work, self.monkeypatch, self.capsys = path, plugin, work, monkeypatch, capsys

    def words(self, *words):
        where = ["--tenant", TENANT, "--database", f"sqlite:///{self.path}", "--plugin", self.plugin]
        return ["portrait", "identity", *words, *where]

    def run(self, *words, code=0):
        self.monkeypatch.setattr(sys, "argv", self.words(*words))
        returned = 0
        try:
            main()
        except SystemExit as end:
            returned = end.code or 0
        out, err = self.capsys.readouterr()
        assert returned == code, (out, err)
        return SimpleNamespace(stdout=out, stderr=err)

    def match(self, *words, code=0):
        options = ("--section", "people", *THRESHOLDS) if "--file" not in words else THRESHOLDS
        return self.run("match", *options, "--work", str(self.work), *words, code=code)

    def cut_off(self, *words, at):
        """Run a command in a process that is killed once so many of its writes are committed."""
        code = f"""
import os, signal
from portrait.writes import match_links as matched
from portrait.cli import main
matched.CHUNK = 5
from portrait.storage.sqlite import store
original, done = store.SqliteStore.write, []
async def write(self, tenant, work):
    result = await original(self, tenant, work)
    done.append(result)
    if len(done) == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
store.SqliteStore.write = write
main()
"""
        done = subprocess.run([sys.executable, "-c", code, *self.words(*words)[1:]], capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr

    def contents(self):
        """Return every customer's documents, byte for byte, and the owner of each identifier."""

        async def work(services):
            store = services.store
            names = await store.derived_customers(TENANT, None, 10_000)
            documents = await store.all_documents(TENANT, names)
            bodies = {
                name: {
                    document.section: document.body for document in every if document.section and document.body != b"[]"
                }
                for name, every in documents.items()
            }
            owners = await store.resolve(TENANT, await store.derived_identifiers(TENANT, None, 10_000))
            report = await services.upkeep.check()
            assert (report.differences, report.faults) == ([], [])
            return {name: every for name, every in bodies.items() if every}, owners

        return asked(self.path, self.plugin, work)

    def links(self):
        """Return the evidence of links at both ends, without times and without retracted evidence."""

        async def work(services):
            every = await services.store.fact_identifiers(TENANT, None, 10_000)
            states = await projection.load_states(services.store, TENANT, LINKS, every)
            return sorted(
                (identifier, other, each.source, each.rule, each.confidence, each.status)
                for identifier in every
                for other, records in ends_of(states[identifier], identifier).items()
                for each in records
                if each.status != RETRACTED
            )

        return asked(self.path, self.plugin, work)

    def facts(self):
        async def work(services):
            every = await services.store.fact_identifiers(TENANT, None, 10_000)
            return len(await services.store.facts(TENANT, every))

        return asked(self.path, self.plugin, work)

    def candidates(self):
        return pyarrow.parquet.read_table(self.work / "candidates.parquet").to_pylist()


def matched(links, source="match"):
    """Return the pairs that a source matched: their probability, and whether they are linked."""
    pairs = {
        (a, b): (confidence, status) for a, b, by, rule, confidence, status in links if (by, rule) == (source, "match")
    }
    assert all(pairs[b, a] == outcome for (a, b), outcome in pairs.items()), "recorded at both ends"
    return {(a.value, b.value): outcome for (a, b), outcome in pairs.items() if a < b}


def test_stored_records_are_matched_and_the_match_is_taken_back_whole(workspace):
    before, links, facts = workspace.contents(), workspace.links(), workspace.facts()
    done = workspace.match("--source", "spring")
    kept = {(candidate["left"], candidate["right"]): candidate for candidate in workspace.candidates()}
    pairs = matched(workspace.links(), "spring")
    linked = {pair for pair, (_, status) in pairs.items() if status == LINKED}
    waits = {pair for pair, (_, status) in pairs.items() if status == "review"}
    assert len(linked) > 20
    assert waits
    assert pairs.keys() == linked | waits <= kept.keys()
    for pair, (probability, _) in pairs.items():
        assert probability == kept[pair]["probability"]
        assert probability >= 0.5
        assert (pair in linked) == kept[pair]["links"] == (probability >= 0.99)
    _, owners = workspace.contents()
    assert all(owners["customer_id", a] == owners["customer_id", b] for a, b in linked)
    people = {}
    for identifier, owner in owners.items():
        if identifier.value in TRUTH:
            people.setdefault(owner, set()).add(TRUTH[identifier.value])
    assert all(len(person) == 1 for person in people.values())
    sure = sum(candidate["links"] for candidate in kept.values())
    assert done.stdout == f"{sure} linked, {len(waits)} wait for review, 0 of unknown customers\n"
    reviewed = workspace.run("review", "--source", "spring")
    assert {tuple(text.split()[2:5:2]) for text in reviewed.stdout.splitlines()} == waits
    assert reviewed.stderr == f"{len(waits)} wait for review.\n"

    assert workspace.facts() > facts
    assert workspace.run("forget", "spring").stdout == f"{len(pairs)} taken back\n"
    assert workspace.contents() == before
    assert workspace.links() == links
    assert workspace.run("review", "--source", "spring").stderr == "0 wait for review.\n"
    facts = workspace.facts()
    assert workspace.run("forget", "spring").stdout == "0 taken back\n"
    assert workspace.facts() == facts


def test_evidence_that_counted_only_through_a_match_waits_again(workspace):
    """Before the match it was refused; after it, it was let through, since the two already were one customer."""
    twin, other = TWINS
    links = workspace.links()
    workspace.match()
    assert ("customer_id", other) in {
        a for a, b, *_, status in workspace.links() if b.value == "shared@example.org" and status == LINKED
    }
    phone = [line(name, "identities", evidence("phone:+4930901820", 0.8), source="shop") for name in TWINS]
    record_lines(workspace.path, workspace.plugin, phone)
    workspace.run("forget", "match")
    _, owners = workspace.contents()
    assert owners["customer_id", twin] != owners["customer_id", other]
    statuses = {(a.value, b.value): status for a, b, *_, status in workspace.links() if a.type == "customer_id"}
    assert statuses[other, "shared@example.org"] == "unique_type"
    assert {statuses[name, "+4930901820"] for name in TWINS} == {LINKED, "unique_type"}
    assert [link for link in workspace.links() if "+4930901820" not in {link[0].value, link[1].value}] == links


def test_a_persons_later_decisions_outlast_the_match(workspace):
    workspace.match()
    waits = workspace.run("review", "--source", "match").stdout.split()
    workspace.run("accept", *waits[1:5])
    workspace.run("forget", "match")
    _, owners = workspace.contents()
    assert owners[waits[1], waits[2]] == owners[waits[3], waits[4]]
    twin, other = TWINS
    assert owners["customer_id", twin] != owners["customer_id", other]
    workspace.match()
    for name in TWINS:
        workspace.run("link", name, "phone", "+4930901820")
    workspace.run("forget", "match")
    _, owners = workspace.contents()
    assert owners["customer_id", twin] == owners["customer_id", other]


def test_a_repeated_match_changes_nothing(workspace):
    first = workspace.match()
    contents, links, facts = workspace.contents(), workspace.links(), workspace.facts()
    assert workspace.match().stdout == first.stdout
    shutil.rmtree(workspace.work)
    assert workspace.match().stdout == first.stdout
    assert (workspace.contents(), workspace.links(), workspace.facts()) == (contents, links, facts)


def test_a_rejected_candidate_stays_rejected(workspace):
    workspace.match()
    waits = workspace.run("review", "--source", "match").stdout.split()
    workspace.run("reject", *waits[1:5])
    left, facts = workspace.run("review", "--limit", "1000"), workspace.facts()
    assert waits[2] not in left.stdout or waits[4] not in left.stdout
    workspace.match()
    assert workspace.run("review", "--limit", "1000") == left
    assert workspace.facts() == facts


def test_a_match_that_was_cut_off_while_writing_comes_to_the_same_end(workspace, tmp_path):
    whole = Workspace(
        tmp_path / "whole.db", workspace.plugin, tmp_path / "other", workspace.monkeypatch, workspace.capsys
    )
    shutil.copy(workspace.path, whole.path)
    done = whole.match()
    words = ("match", "--section", "people", *THRESHOLDS, "--work", str(workspace.work))
    workspace.cut_off(*words, at=1)
    assert 0 < len(matched(workspace.links())) < len(matched(whole.links()))
    workspace.cut_off(*words, at=4)
    model = (workspace.work / "model.json").stat().st_mtime_ns
    assert workspace.match().stdout == done.stdout
    assert (workspace.work / "model.json").stat().st_mtime_ns == model, "what was finished was kept"
    assert (workspace.contents(), workspace.links(), workspace.facts()) == (
        whole.contents(),
        whole.links(),
        whole.facts(),
    )


def test_a_forget_that_was_cut_off_can_be_repeated(workspace):
    before, links = workspace.contents(), workspace.links()
    workspace.match()
    workspace.cut_off("forget", "match", at=3)
    assert workspace.links() != links
    workspace.run("forget", "match")
    assert (workspace.contents(), workspace.links()) == (before, links)


def file_of(path, people):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(people[0]))
        writer.writeheader()
        writer.writerows(people)
    return str(path)


def test_a_file_is_matched_like_stored_records(workspace, tmp_path):
    reference = Workspace(
        tmp_path / "held.db", workspace.plugin, tmp_path / "other", workspace.monkeypatch, workspace.capsys
    )
    shutil.copy(workspace.path, reference.path)
    reference.match()
    strangers = [{**person, "id": f"stranger {person['id']}"} for person in PEOPLE[:3]]
    nobody = {**PEOPLE[0], "id": "x" * 300}
    done = workspace.match("--file", file_of(tmp_path / "people.csv", [*PEOPLE, *strangers, nobody]))
    counted = [int(word) for word in done.stdout.split() if word.isdigit()]
    assert counted[2] >= 3
    assert sum(counted) == sum(candidate["reason"] != "implied" for candidate in workspace.candidates())
    assert {identifier.value for pair in ((a, b) for a, b, *_ in workspace.links()) for identifier in pair} <= {
        *TRUTH,
        "shared@example.org",
    }
    assert workspace.contents()[1] == reference.contents()[1]


def test_progress_is_printed_by_stage_and_on_a_terminal_by_step(workspace):
    stages = workspace.match().stderr.splitlines()
    assert [stage.split(":")[0] for stage in stages] == ["prepare", "train", "compare", "choose", "write"]
    assert all(stage.split()[1] == stage.split()[3] for stage in stages)
    workspace.monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shutil.rmtree(workspace.work)
    progress = workspace.match().stderr
    assert "\rtrain: 1 of " in progress
    assert progress.count("\n") >= 5


PERSON = {
    "id": "a",
    "first_name": "secret",
    "surname": "secret",
    "address": "1 Secret Road",
    "zip": "1",
    "city": "secret",
}
WRONG = {
    "thresholds in wrong order": (("--review-at", "0.999"), None, 1, "review_at"),
    "a threshold that is no probability": (("--link-at", "1.5"), None, 1, "link_at"),
    "a threshold that is no number": (("--link-at", "nan"), None, 1, "link_at"),
    "no file": (("--file", "nothing.csv"), None, 2, "does not exist"),
    "a file of another kind": (("--file", "people.xlsx"), "", 1, "ending must be one of"),
    "a file without ids": (("--file", "people.jsonl"), [{**PERSON, "id": None}], 1, "id column"),
    "a file without columns": (("--file", "people.jsonl"), [{"id": "a", "hobby": "secret"}], 1, "three columns"),
    "a file with an id twice": (("--file", "people.jsonl"), [{**row, "id": "secret"} for row in PEOPLE], 1, "unique"),
    "a file that is cut": (("--file", "people.jsonl"), '{"id": "secret', 1, "cannot be read"),
    "too little held": ((), None, 1, "at least three columns"),
    "an unknown section": (("--section", "secret"), None, 1, "section"),
    "a source of nobody": (("--source", ""), None, 1, "source"),
    "a source of too many letters": (("--source", "s" * 257), None, 1, "source"),
    "an unknown engine": (("--engine", "pandas"), None, 2, "duckdb"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "content", "code", "says"), WRONG.values(), ids=WRONG)
def test_a_match_that_fails_says_why_and_changes_nothing(workspace, tmp_path, words, content, code, says):
    before = workspace.contents(), workspace.facts()
    workspace.monkeypatch.chdir(tmp_path)
    if content is not None:
        lines = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        (tmp_path / words[1]).write_text(lines)
    done = workspace.run("match", "--work", str(workspace.work), *words, code=code)
    assert done.stdout == ""
    assert says in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("portrait: " if code == 1 else "Error: ")
    assert "secret" not in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert (workspace.contents(), workspace.facts()) == before


def test_a_missing_extra_or_an_unwritable_directory_is_reported(workspace, tmp_path):
    before = workspace.facts()
    workspace.monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    missing = "portrait: Probabilistic matching needs more packages. Install them: {}\n"
    message = workspace.match("--engine", "spark", code=1).stderr
    assert message == missing.format(distribution.command_for("match-spark"))
    workspace.monkeypatch.setitem(sys.modules, "splink", None)
    assert workspace.match(code=1).stderr == missing.format(distribution.command_for("match"))
    workspace.monkeypatch.undo()
    (tmp_path / "file").touch()
    workspace.work = tmp_path / "file" / "work"
    assert workspace.match(code=1).stderr.startswith("portrait: The work directory")
    assert workspace.facts() == before


def test_every_matching_command_reports_an_unknown_tenant(workspace, tmp_path):
    path = file_of(tmp_path / "people.csv", PEOPLE)
    for words in (("match", "--work", str(workspace.work), "--file", path), ("forget", "match"), ("review",)):
        arguments = [word if word != TENANT else "nowhere" for word in workspace.words(*words)]
        done = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, env=os.environ
        )
        assert done.returncode == 1
        assert "There is no tenant nowhere. Tenants: my-tenant." in done.stderr
    assert not workspace.work.exists()
