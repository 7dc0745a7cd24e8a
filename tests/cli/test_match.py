"""`portrait identity match` and `forget`, on a database: what is held or a file, cut off, repeated, taken back."""

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
    (one, other) for one in sorted(TRUTH) for other in sorted(TRUTH) if one < other and TRUTH[one] == TRUTH[other]
)
"""Two customers that are one person; both give one e-mail address, which alone joins no two customers."""


def told(person):
    record = {name: person[column] for column, name in FIELDS.items()} | {"id": "as a record has one"}
    return line(person["id"], "people", record, source="crm")


LINES = [*map(told, PEOPLE), *(line(one, "identities", evidence(SHARED, 0.9), source="crm") for one in TWINS)]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "people.py"
    path.write_text(SECTION)
    return str(path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory, plugin):
    path = tmp_path_factory.mktemp("filled") / "portrait.db"
    tell(path, plugin, LINES)
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


def tell(database, plugin, lines):
    async def work(services):
        tenant = await services.store.tenant(TENANT) or await services.access.create_tenant(TENANT)
        parser = Parser(tenant, "test")
        incoming = [parser.line(at, json.dumps(one).encode(), services.registry) for at, one in enumerate(lines)]
        assert (await services.recorder.record_each(TENANT, incoming)).refused == []

    asked(database, plugin, work)


@pytest.fixture
def place(filled, plugin, tmp_path, monkeypatch, capsys):
    """A database of one's own with what was told, and commands on it."""
    path = tmp_path / "portrait.db"
    shutil.copy(filled, path)
    return Place(path, plugin, tmp_path / "work", monkeypatch, capsys)


class Place:
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
        given = ("--section", "people", *THRESHOLDS) if "--file" not in words else THRESHOLDS
        return self.run("match", *given, "--work", str(self.work), *words, code=code)

    def cut_off(self, *words, at):
        """Run a command in a process that is killed once so many of its writes are committed."""
        code = f"""
import os, signal
from portrait.writes import match_links as matched
from portrait.cli import main
matched.CHUNK = 5
from portrait.storage.sqlite import store
held, done = store.SqliteStore.write, []
async def write(self, tenant, work):
    result = await held(self, tenant, work)
    done.append(result)
    if len(done) == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
store.SqliteStore.write = write
main()
"""
        done = subprocess.run([sys.executable, "-c", code, *self.words(*words)[1:]], capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr

    def held(self):
        """Return what everybody shows, byte for byte, and whose each identifier is."""

        async def work(services):
            store = services.store
            names = await store.derived_customers(TENANT, None, 10_000)
            documents = await store.all_documents(TENANT, names)
            shown = {
                name: {one.section: one.body for one in every if one.section and one.body != b"[]"}
                for name, every in documents.items()
            }
            owners = await store.resolve(TENANT, await store.derived_identifiers(TENANT, None, 10_000))
            report = await services.upkeep.check()
            assert (report.differences, report.faults) == ([], [])
            return {name: every for name, every in shown.items() if every}, owners

        return asked(self.path, self.plugin, work)

    def links(self):
        """Return what is told of links at every end, but for the times; what was retracted is left out."""

        async def work(services):
            every = await services.store.fact_identifiers(TENANT, None, 10_000)
            states = await projection.load_states(services.store, TENANT, LINKS, every)
            return sorted(
                (one, other, each.source, each.rule, each.confidence, each.status)
                for one in every
                for other, told in ends_of(states[one], one).items()
                for each in told
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
    """Return what a source told of pairs: their probability, and whether they are linked."""
    told = {
        (a, b): (confidence, status) for a, b, by, rule, confidence, status in links if (by, rule) == (source, "match")
    }
    assert all(told[b, a] == one for (a, b), one in told.items()), "told at both ends"
    return {(a.value, b.value): one for (a, b), one in told.items() if a < b}


def test_what_is_held_is_matched_and_taken_back_as_one(place):
    before, links, facts = place.held(), place.links(), place.facts()
    done = place.match("--source", "spring")
    kept = {(one["left"], one["right"]): one for one in place.candidates()}
    told = matched(place.links(), "spring")
    linked = {pair for pair, (_, status) in told.items() if status == LINKED}
    waits = {pair for pair, (_, status) in told.items() if status == "review"}
    assert len(linked) > 20
    assert waits
    assert told.keys() == linked | waits <= kept.keys()
    for pair, (probability, _) in told.items():
        assert probability == kept[pair]["probability"]
        assert probability >= 0.5
        assert (pair in linked) == kept[pair]["links"] == (probability >= 0.99)
    _shown, owners = place.held()
    assert all(owners["customer_id", a] == owners["customer_id", b] for a, b in linked)
    people = {}
    for one, owner in owners.items():
        if one.value in TRUTH:
            people.setdefault(owner, set()).add(TRUTH[one.value])
    assert all(len(person) == 1 for person in people.values())
    sure = sum(one["links"] for one in kept.values())
    assert done.stdout == f"{sure} linked, {len(waits)} wait for review, 0 of unknown customers\n"
    reviewed = place.run("review", "--source", "spring")
    assert {tuple(one.split()[2:5:2]) for one in reviewed.stdout.splitlines()} == waits
    assert reviewed.stderr == f"{len(waits)} wait for review.\n"

    assert place.facts() > facts
    assert place.run("forget", "spring").stdout == f"{len(told)} taken back\n"
    assert place.held() == before
    assert place.links() == links
    assert place.run("review", "--source", "spring").stderr == "0 wait for review.\n"
    facts = place.facts()
    assert place.run("forget", "spring").stdout == "0 taken back\n"
    assert place.facts() == facts


def test_evidence_that_held_for_a_match_alone_waits_again(place):
    """Told before the match it was refused; told after it, it was let through since the two were one already."""
    one, other = TWINS
    links = place.links()
    place.match()
    assert ("customer_id", other) in {
        a for a, b, *_, status in place.links() if b.value == "shared@example.org" and status == LINKED
    }
    phone = [line(name, "identities", evidence("phone:+4930901820", 0.8), source="shop") for name in TWINS]
    tell(place.path, place.plugin, phone)
    place.run("forget", "match")
    _, owners = place.held()
    assert owners["customer_id", one] != owners["customer_id", other]
    told = {(a.value, b.value): status for a, b, *_, status in place.links() if a.type == "customer_id"}
    assert told[other, "shared@example.org"] == "unique_type"
    assert {told[name, "+4930901820"] for name in TWINS} == {LINKED, "unique_type"}
    assert [link for link in place.links() if "+4930901820" not in {link[0].value, link[1].value}] == links


def test_what_a_person_said_since_stands(place):
    place.match()
    waits = place.run("review", "--source", "match").stdout.split()
    place.run("accept", *waits[1:5])
    place.run("forget", "match")
    _, owners = place.held()
    assert owners[waits[1], waits[2]] == owners[waits[3], waits[4]]
    one, other = TWINS
    assert owners["customer_id", one] != owners["customer_id", other]
    place.match()
    for name in TWINS:
        place.run("link", name, "phone", "+4930901820")
    place.run("forget", "match")
    _, owners = place.held()
    assert owners["customer_id", one] == owners["customer_id", other]


def test_repeated_it_changes_nothing(place):
    first = place.match()
    held, links, facts = place.held(), place.links(), place.facts()
    assert place.match().stdout == first.stdout
    shutil.rmtree(place.work)
    assert place.match().stdout == first.stdout
    assert (place.held(), place.links(), place.facts()) == (held, links, facts)


def test_what_was_rejected_stays_rejected(place):
    place.match()
    waits = place.run("review", "--source", "match").stdout.split()
    place.run("reject", *waits[1:5])
    left, facts = place.run("review", "--limit", "1000"), place.facts()
    assert waits[2] not in left.stdout or waits[4] not in left.stdout
    place.match()
    assert place.run("review", "--limit", "1000") == left
    assert place.facts() == facts


def test_cut_off_in_the_middle_of_writing_it_comes_to_the_same_end(place, tmp_path):
    whole = Place(tmp_path / "whole.db", place.plugin, tmp_path / "other", place.monkeypatch, place.capsys)
    shutil.copy(place.path, whole.path)
    done = whole.match()
    words = ("match", "--section", "people", *THRESHOLDS, "--work", str(place.work))
    place.cut_off(*words, at=1)
    assert 0 < len(matched(place.links())) < len(matched(whole.links()))
    place.cut_off(*words, at=4)
    model = (place.work / "model.json").stat().st_mtime_ns
    assert place.match().stdout == done.stdout
    assert (place.work / "model.json").stat().st_mtime_ns == model, "what was finished was kept"
    assert (place.held(), place.links(), place.facts()) == (whole.held(), whole.links(), whole.facts())


def test_forgetting_that_is_cut_off_is_begun_again(place):
    before, links = place.held(), place.links()
    place.match()
    place.cut_off("forget", "match", at=3)
    assert place.links() != links
    place.run("forget", "match")
    assert (place.held(), place.links()) == (before, links)


def file_of(path, people):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(people[0]))
        writer.writeheader()
        writer.writerows(people)
    return str(path)


def test_a_file_is_matched_as_what_is_held_is(place, tmp_path):
    held = Place(tmp_path / "held.db", place.plugin, tmp_path / "other", place.monkeypatch, place.capsys)
    shutil.copy(place.path, held.path)
    held.match()
    strangers = [{**one, "id": f"stranger {one['id']}"} for one in PEOPLE[:3]]
    nobody = {**PEOPLE[0], "id": "x" * 300}
    done = place.match("--file", file_of(tmp_path / "people.csv", [*PEOPLE, *strangers, nobody]))
    counted = [int(word) for word in done.stdout.split() if word.isdigit()]
    assert counted[2] >= 3
    assert sum(counted) == sum(one["reason"] != "implied" for one in place.candidates())
    assert {one.value for pair in ((a, b) for a, b, *_ in place.links()) for one in pair} <= {
        *TRUTH,
        "shared@example.org",
    }
    assert place.held()[1] == held.held()[1]


def test_progress_is_told_by_stage_and_on_a_terminal_by_step(place):
    said = place.match().stderr.splitlines()
    assert [one.split(":")[0] for one in said] == ["prepare", "train", "compare", "choose", "write"]
    assert all(one.split()[1] == one.split()[3] for one in said)
    place.monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shutil.rmtree(place.work)
    shown = place.match().stderr
    assert "\rtrain: 1 of " in shown
    assert shown.count("\n") >= 5


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
    "a file of another kind": (("--file", "people.xlsx"), "", 1, "known by their ending"),
    "a file without ids": (("--file", "people.jsonl"), [{**PERSON, "id": None}], 1, "id column"),
    "a file without columns": (("--file", "people.jsonl"), [{"id": "a", "hobby": "secret"}], 1, "Too few columns"),
    "a file with an id twice": (("--file", "people.jsonl"), [{**one, "id": "secret"} for one in PEOPLE], 1, "unique"),
    "a file that is cut": (("--file", "people.jsonl"), '{"id": "secret', 1, "cannot be read"),
    "too little held": ((), None, 1, "Too few columns"),
    "an unknown section": (("--section", "secret"), None, 1, "section"),
    "a source of nobody": (("--source", ""), None, 1, "source"),
    "a source of too many letters": (("--source", "s" * 257), None, 1, "source"),
    "an unknown engine": (("--engine", "pandas"), None, 2, "duckdb"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "content", "code", "says"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_matched_is_said_and_changes_nothing(place, tmp_path, words, content, code, says):
    before = place.held(), place.facts()
    place.monkeypatch.chdir(tmp_path)
    if content is not None:
        lines = content if isinstance(content, str) else "".join(json.dumps(one) + "\n" for one in content)
        (tmp_path / words[1]).write_text(lines)
    done = place.run("match", "--work", str(place.work), *words, code=code)
    assert done.stdout == ""
    assert says in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("portrait: " if code == 1 else "Error: ")
    assert "secret" not in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert (place.held(), place.facts()) == before


def test_a_missing_extra_or_a_place_that_cannot_be_written_is_said(place, tmp_path):
    before = place.facts()
    place.monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    missing = "portrait: Probabilistic matching needs more packages. Install them: {}\n"
    told = place.match("--engine", "spark", code=1).stderr
    assert told == missing.format(distribution.command_for("match-spark"))
    place.monkeypatch.setitem(sys.modules, "splink", None)
    assert place.match(code=1).stderr == missing.format(distribution.command_for("match"))
    place.monkeypatch.undo()
    (tmp_path / "file").touch()
    place.work = tmp_path / "file" / "work"
    assert place.match(code=1).stderr.startswith("portrait: The work directory")
    assert place.facts() == before


def test_a_tenant_that_is_not_there_is_said_whatever_is_matched(place, tmp_path):
    path = file_of(tmp_path / "people.csv", PEOPLE)
    for words in (("match", "--work", str(place.work), "--file", path), ("forget", "match"), ("review",)):
        given = [one if one != TENANT else "nowhere" for one in place.words(*words)]
        done = subprocess.run(
            [sys.executable, "-m", *given], capture_output=True, text=True, check=False, env=os.environ
        )
        assert done.returncode == 1
        assert "There is no tenant nowhere. There are: my-tenant." in done.stderr
    assert not place.work.exists()
