"""`portrait identity …`: the output of each command, and its message when it fails."""

import asyncio
import json
import sys
from types import SimpleNamespace

import pytest

from harness import TENANT, portrait
from identifying.acting import SEGMENT, line, tie
from portrait.app import build
from portrait.cli import main
from portrait.ingest.records import Parser

E = "email:e@example.org"


def variant(name, day):
    at = f"2026-01-0{day}T00:00:00Z"
    return {"experimentId": "x", "experimentName": "x", "variant": name, "assignedAt": at}


LINES = [
    tie("A", E, 0.9, source="crm"),
    line("A", "experiments", variant("a", 1)),
    line("B", "experiments", variant("b", 2)),
    line("B", "segments", SEGMENT),
    tie("B", E, 0.7, source="shop"),
]


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "portrait.db"

    async def fill():
        services = build(f"sqlite:///{path}", installed=False)
        try:
            parser = Parser(await services.access.create_tenant(TENANT), "test")
            incoming = [parser.line(at, json.dumps(row).encode(), services.registry) for at, row in enumerate(LINES)]
            assert (await services.recorder.record_each(TENANT, incoming)).recorded == len(LINES)
        finally:
            await services.close()

    asyncio.run(fill())
    return path


@pytest.fixture
def run(database, monkeypatch, capsys):
    """Run a command in this process: a process for each of so many would take long."""

    def run(*words, code=0):
        arguments = ["portrait", "identity", *words, "--tenant", TENANT, "--database", f"sqlite:///{database}"]
        monkeypatch.setattr(sys, "argv", arguments)
        returned = 0
        try:
            main()
        except SystemExit as end:
            returned = end.code or 0
        out, err = capsys.readouterr()
        assert returned == code, (out, err)
        return SimpleNamespace(stdout=out, stderr=err)

    return run


def test_customers_are_merged_explained_and_parted(run):
    previewed = run("merge", "A", "B", "--preview")
    assert run("resolve", "customer_id", "B").stdout == "B\n"
    merged = run("merge", "A", "B")
    assert merged.stdout == previewed.stdout
    assert previewed.stderr == f"A preview: nothing has changed. The action would lead to this:\n{merged.stderr}"
    assert merged.stdout == "A: customer_id A, customer_id B, email e@example.org\n"
    assert merged.stderr == "experiment x: two variants were seen; the first counts\n"
    assert run("resolve", "customer_id", "B").stdout == "A\n"
    again = run("merge", "A", "B")
    assert again.stderr.startswith("Nothing changed.\n")
    explanation = run("explain", "B").stdout.splitlines()
    assert explanation[0] == "customer A"
    assert any(text.startswith("merged: B into A, 20") for text in explanation)
    assert any(" by crm, 0.9, 20" in text for text in explanation)
    assert explanation[-1] == "experiment x: two variants were seen; the first counts"
    assert run("unmerge", "A", "B").stdout == (
        "A: customer_id A, email e@example.org\nB: customer_id B\n"
    )  # fmt: skip
    assert "kept apart: customer_id A and customer_id B: unmerge by command, 20" in run("explain", "B").stdout


def test_two_customers_are_kept_apart(run):
    assert run("cannot-link", "customer_id", "A", "customer_id", "B").stdout == "The two are kept apart.\n"
    assert "kept apart: customer_id A and customer_id B: cannot_link by command, 20" in run("explain", "B").stdout


def test_an_explanation_names_the_reason_of_a_candidate(run):
    (waits,) = [text for text in run("explain", "B").stdout.splitlines() if text.startswith("waits for review")]
    assert "customer_id B and email e@example.org: unique_type. " in waits


def test_an_identifier_is_linked_resolved_and_unlinked(run):
    run("resolve", "phone", "+49 30 901820", code=1)
    linked = run("link", "A", "phone", "+49 30 901820", "--confidence", "0.7")
    assert linked.stdout == "A: customer_id A, email e@example.org, phone +4930901820\n"
    assert run("resolve", "phone", "+4930901820").stdout == "A\n"
    assert "  phone +49 30 901820  0.7" in run("explain", "A").stdout.splitlines()
    assert run("unlink", "A", "phone", "+4930901820").stdout == (
        "A: customer_id A, email e@example.org\nnobody's: phone +4930901820\n"
    )
    run("resolve", "phone", "+4930901820", code=1)


def test_rules_are_printed_set_and_taken_back(run, tmp_path):
    default = json.loads(run("rules").stdout)
    file = tmp_path / "rules.json"
    file.write_text('{"types":{"loyalty":{"limit":2}}}')
    made = json.loads(run("rules", "--file", str(file)).stdout)
    assert made == json.loads(run("rules").stdout)
    assert made["types"]["loyalty"]["limit"] == 2
    run("link", "A", "loyalty", "1")
    assert json.loads(run("rules", "--default").stdout) == default
    file.write_text('{"types":{"loyalty":{"limit":0}}}')
    assert "schema" in run("rules", "--file", str(file), code=1).stderr
    assert json.loads(run("rules").stdout) == default
    run("rules", "--file", str(file), "--default", code=2)


CANNOT = {
    "a merge with itself": (("merge", "A", "A"), 1),
    "a merge with nobody": (("merge", "A", "nobody"), 1),
    "an unmerge of two": (("unmerge", "A", "B"), 1),
    "a link of another's": (("link", "B", "email", "e@example.org"), 1),
    "a link of an unknown type": (("link", "A", "shoe_size", "44"), 1),
    "a link of a blocked value": (("link", "A", "email", "null"), 1),
    "a link of no value": (("link", "A", "email", ""), 1),
    "a link with itself": (("link", "A", "customer_id", "A"), 1),
    "a link to no name": (("link", "", "phone", "+4930901820"), 1),
    "a link to what no path can carry": (("link", "..", "phone", "+4930901820"), 1),
    "a link to too long a name": (("link", "x" * 257, "phone", "+4930901820"), 1),
    "a link of too much": (("link", "A", "phone", "+4930901820", "--confidence", "2"), 2),
    "a link of what is no text": (("link", "A", "phone", "\udcff"), 1),
    "a link of what is no number": (("link", "A", "phone", "+4930901820", "--confidence", "nan"), 1),
    "an unlink of another's": (("unlink", "B", "email", "e@example.org"), 1),
    "an unlink of what is no text": (("unlink", "B", "email", "\udcff"), 1),
    "an explanation of nobody": (("explain", "nobody"), 1),
    "an explanation of what is no text": (("explain", "\udcff"), 1),
    "resolve a blocked value": (("resolve", "email", "null"), 1),
    "resolve what is no text": (("resolve", "email", "\udcff"), 1),
}


@pytest.mark.parametrize(("words", "code"), CANNOT.values(), ids=CANNOT)
def test_an_impossible_action_is_refused_in_one_line(run, words, code):
    done = run(*words, code=code)
    assert done.stdout == ""
    assert done.stderr.strip()
    assert "e@example.org" not in done.stderr
    if code == 1:
        assert done.stderr.startswith("portrait: ")
        assert len(done.stderr.splitlines()) == 1


def test_an_unknown_tenant_is_refused_with_the_known_tenants(database):
    done = portrait("identity", "explain", "A", "--tenant", "nowhere", database=database)
    assert done.returncode == 1
    assert "There is no tenant nowhere. Tenants: my-tenant." in done.stderr


def test_what_is_stored_is_rekeyed_after_a_region_was_set(run, database, tmp_path):
    assert "phone 030 901820" in run("link", "A", "phone", "030 901820").stdout
    (tmp_path / "rules.json").write_text(json.dumps({"region": "DE", "types": {"card": {"form": "digits"}}}))
    made = run("rules", "--file", str(tmp_path / "rules.json"))
    assert made.stderr == f"What is stored already keeps its form until portrait identity rekey --tenant {TENANT}.\n"
    run("resolve", "phone", "030 901820", code=1)
    previewed = run("rekey", "--preview")
    assert previewed.stdout == "phone 030 901820 -> +4930901820: A\n"
    assert previewed.stderr == "1 would be put under their form of now, 0 wait for review.\n"
    run("resolve", "phone", "030 901820", code=1)
    looked = portrait("db", "upgrade", "--what-changes", database=database)
    assert looked.returncode == 1
    assert "Identifiers: 1 would be put under their form of now, 0 wait for review.\n" in looked.stdout
    rekeyed = run("rekey")
    assert (rekeyed.stdout, rekeyed.stderr) == (previewed.stdout, previewed.stderr.replace("would be", "were"))
    assert run("resolve", "phone", "030 901820").stdout == "A\n"
    assert run("rekey").stderr == "0 were put under their form of now, 0 wait for review.\n"
    assert run("rules", "--file", str(tmp_path / "rules.json")).stderr == ""


def test_an_upgrade_rekeys_what_every_tenant_has(run, database, tmp_path):
    run("link", "A", "phone", "030 901820")
    (tmp_path / "rules.json").write_text('{"region": "DE"}')
    run("rules", "--file", str(tmp_path / "rules.json"))
    upgraded = portrait("db", "upgrade", database=database)
    assert upgraded.stderr.endswith("Identifiers: 1 were put under their form of now, 0 wait for review.\n")
    assert run("resolve", "phone", "030 901820").stdout == "A\n"
    again = portrait("db", "upgrade", database=database)
    assert again.stderr == "The database has this version's schema.\n"
    assert portrait("db", "check", database=database).returncode == 0
