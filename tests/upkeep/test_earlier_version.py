"""A database of an earlier version is read as it was, but where a decision since then changes a value on purpose.

The earlier version is the one before claims were decided as a set, taken from this repository's own history.
"""

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from databases import administer, create_database, database_url
from harness import portrait
from portrait.app import build
from portrait.maintenance.report import CustomerChange, Outlook, When
from portrait.storage.migrations import LATEST
from upkeep import earlier

PROJECT = Path(__file__).parents[2]
PROGRAM = Path(earlier.__file__)
REVISION = "ae84758"
"""The last one that decided on a link by what was known when it was recorded."""


READ_OTHERWISE = {
    ("earliest-exposure", "c1"): {"experiments"},
    ("grant-that-ends", "c1"): {"consent"},
    ("strictest-of-a-moment", "c1"): {"consent"},
}
"""What is read otherwise from the first read on, by tenant and customer id: the sections, or the customer id."""
ONCE_DUE = {("end-reaches-ahead", "c1"): {"segments"}}
"""The same, of documents that time has overtaken since: what the earlier version would show of them is not stored."""

REBUILT = {
    ("clashing-events", "document", "different"),
    ("ended-of-two", "link", "missing"),
    ("withdrawn", "link", "unfounded"),
}
"""The differences that a check finds after the upgrade, by tenant, kind and reason."""
REBUILT_OTHERWISE = {
    ("clashing-events", "c1"): {"interactions"},
    ("ended-of-two", "c1"): {"identities"},
    ("ended-of-two", "anon"): "c1",
}
"""What is read otherwise once these are put right."""
DECIDED_OTHERWISE = {
    ("competing-claims", "c1"): {"identities"},
    ("competing-claims", "c2"): {"identities"},
    ("ended-evidence", "c2"): {"identities"},
}
"""What is read otherwise once an identity record or an action concerns the customer."""


@pytest.fixture(scope="module")
def earlier_code(tmp_path_factory):
    """Return where the earlier version's packages are."""
    directory = tmp_path_factory.mktemp("earlier")
    archive = subprocess.run(["git", "-C", PROJECT, "archive", REVISION, "src"], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"no earlier version in this checkout's history: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)
    packages = directory / "src"
    # It asks for the version of a distribution that has another name since.
    metadata = packages / "portrait-0.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: portrait\nVersion: 0.1.0\n")
    started = run(packages, "-c", "import portrait.app")
    if started.returncode:
        cause = started.stderr.splitlines()[-1]
        assert cause.startswith(("ImportError", "ModuleNotFoundError")), started.stderr
        pytest.skip(f"the earlier version does not run with these libraries: {cause}")
    return packages


def run(packages, *words):
    """Run Python with the packages of a directory."""
    environment = os.environ | {"PYTHONPATH": str(packages)}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request, tmp_path):
    """Return the URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/portrait.db"
        return
    server, name = request.getfixturevalue("postgres_server"), f"portrait_{uuid.uuid4().hex}"
    create_database(server, name)
    yield database_url(server, name)
    administer(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(earlier_code, empty_database):
    """Return the URL of a database that the earlier version made, and what that version answers from it."""
    written = run(earlier_code, PROGRAM, "write", empty_database)
    assert written.returncode == 0, written.stderr
    answered = run(earlier_code, PROGRAM, "read", empty_database)
    assert answered.returncode == 0, answered.stderr
    return empty_database, json.loads(answered.stdout)


def compared(before, after):
    """Return what is answered otherwise, by tenant and customer id: sections, or the customer id that is answered.

    Customer ids that are made at random are called `anon`. What a merged customer's id shows stands under the id that
    it leads to.
    """
    assert before.keys() == after.keys()
    differences = {}
    for tenant, profiles in before.items():
        for customer_id, text in profiles.items():
            profile, later = (json.loads(answer) for answer in (text, after[tenant][customer_id]))
            owner = later["customerId"]
            if owner != profile["customerId"]:
                differences[tenant, _name(customer_id)] = owner
            elif owner == customer_id and after[tenant][customer_id] != text:
                sections = zip(profile["sections"], later["sections"], strict=True)
                differences[tenant, customer_id] = {section["name"] for section, new in sections if section != new}
    return differences


def _name(customer_id):
    return "anon" if customer_id.startswith("anon_") else customer_id


def foreseen(outlook, when):
    """Return which customers an outlook says are otherwise, in the form of `compared`."""
    return {
        (tenant, _name(customer_id)): change.owner if change.is_regrouped else set(change.sections)
        for tenant, by_when in outlook.changes.items()
        for customer_id, change in by_when[when].items()
    }


async def test_documents_of_an_earlier_version_are_read_as_they_were_but_where_a_decision_says_otherwise(database):
    url, before = database
    assert compared(before, await earlier.answers(url)) == READ_OTHERWISE | ONCE_DUE


KILLED = """
import asyncio, os, random, signal, sys
from portrait.app import build
from portrait.storage import migrations
from portrait.storage import postgres, sqlite

migrations.pending("sqlite", None)  # imports once what every child needs
needed = migrations.needed


def upgrade(url, last, told):
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "c_call"
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def then_count(*arguments, **more):
        script = needed(*arguments, **more)
        sys.setprofile(count)
        return script

    async def finish():
        services = build(url, auth="open", installed=False, upgrade=True)
        await services.store.ready()
        sys.setprofile(None)
        await services.close()

    migrations.needed = then_count
    asyncio.run(finish())
    os.write(told, str(calls).encode())


def child(url, last):
    ours, theirs = os.pipe()
    if os.fork() == 0:
        upgrade(url, last, theirs)
        os._exit(0)
    os.close(theirs)
    killed = os.WIFSIGNALED(os.wait()[1])
    with os.fdopen(ours) as told:
        return killed, told.read()


copy, url, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
calls = int(child(copy, None)[1])
for last in sorted(random.sample(range(1, calls), times)):
    print(last, child(url, last)[0], flush=True)
"""
KILLS = 30


@pytest.fixture
def killed_upgrades(request, database, earlier_code):
    """Upgrade the database again and again, killed each time a little later; return whether each was killed."""
    url, _ = database
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        copy = f"sqlite:///{shutil.copy(path, path.with_name('copy.db'))}"
    else:
        server, name = request.getfixturevalue("postgres_server"), f"portrait_{uuid.uuid4().hex}"
        copy = database_url(server, name)
        administer(server, f"CREATE DATABASE {name} TEMPLATE {urlsplit(url).path[1:]}")
    done = run(Path(build.__code__.co_filename).parents[1], "-c", KILLED, copy, url, str(KILLS))
    assert done.returncode == 0, done.stderr
    return [line.split()[1] == "True" for line in done.stdout.splitlines()]


async def test_an_upgrade_killed_again_and_again_and_then_finished_reads_as_one_that_was_not(database, killed_upgrades):
    url, before = database
    # About half of the calls come before the upgrade is whole: those who are killed after it find nothing to do.
    assert sum(killed_upgrades) >= KILLS / 6
    assert compared(before, await earlier.answers(url)) == READ_OTHERWISE | ONCE_DUE
    async with earlier.serving(url, earlier.Clock(earlier.READ_AT)) as (services, _):
        differences = (await services.upkeep.check()).differences
    assert {(difference.tenant, difference.kind, difference.reason) for difference in differences} == REBUILT


async def test_one_rebuild_makes_claims_just_what_live_records_say(database):
    url, before = database
    async with earlier.serving(url, earlier.Clock(earlier.READ_AT)) as (services, _):
        differences = (await services.upkeep.rebuild()).differences
        assert {(difference.tenant, difference.kind, difference.reason) for difference in differences} == REBUILT
        assert (await services.upkeep.check()).differences == []
    assert compared(before, await earlier.answers(url)) == READ_OTHERWISE | ONCE_DUE | REBUILT_OTHERWISE


async def test_an_action_has_the_claims_that_it_concerns_decided_as_a_set(database):
    url, before = database
    async with earlier.serving(url, earlier.Clock(earlier.READ_AT)) as (services, client):
        for tenant, action in earlier.CONCERNED.items():
            await earlier.do(client, tenant, action)
        outlook, _ = await services.upkeep.foresee()
    assert compared(before, await earlier.answers(url)) == READ_OTHERWISE | ONCE_DUE | DECIDED_OTHERWISE
    assert foreseen(outlook, When.DECISION) == {}


async def test_what_an_upgrade_changes_is_told_before_it_and_changes_nothing(database):
    url, before = database
    clock = earlier.Clock(earlier.READ_AT)
    services = build(url, clock=clock, auth="open", installed=False, upgrade=False, reading=True)
    outlook, report = await services.upkeep.foresee()
    assert await services.store.revision() == outlook.revision == "0003"
    await services.close()
    assert [revision.name for revision in outlook.pending] == ["0004", "0005", "0006", "0007", "0008"]
    assert foreseen(outlook, When.READ) == READ_OTHERWISE
    assert foreseen(outlook, When.REBUILD) == REBUILT_OTHERWISE
    assert foreseen(outlook, When.DECISION) == DECIDED_OTHERWISE
    assert {(difference.tenant, difference.kind, difference.reason) for difference in report.differences} == REBUILT
    assert compared(before, await earlier.answers(url)) == READ_OTHERWISE | ONCE_DUE


@pytest.mark.parametrize("occasions", [(When.DECISION, When.REBUILD), (When.REBUILD, When.DECISION)])
def test_a_customer_that_a_rebuild_changes_is_named_once_whichever_is_foreseen_first(occasions):
    outlook, change = Outlook(LATEST), CustomerChange(("identities",))
    for when in occasions:
        outlook.note("mine", when, "c1", change)
    assert outlook.changes["mine"] == {When.READ: {}, When.REBUILD: {"c1": change}, When.DECISION: {}}


PRINTED = """\
The schema is 0003; an upgrade runs:
0004: Who minted a key: another key, or nobody's, where it was made on the command line.
0005: Facts of a key in their whole order: a page of them is read without those of the same moment that it leaves out.
0006: When a key was used last.
0007: On SQLite what repeats in every row stands once and has a number: identifiers, names of sections and sources.
0008: What clients send: keys that only write, as a named source; tenants' rules for it; and events that were refused.
clashing-events: otherwise after portrait db rebuild: 1 customers (interactions 1)
clashing-events: c1: shows other interactions
competing-claims: otherwise once an identity record or an action concerns them: 2 customers\
 (identities 2, identifiers 2)
competing-claims: c1: loses email; shows other identities
earliest-exposure: otherwise from the first read on: 1 customers (experiments 1)
earliest-exposure: c1: shows other experiments
ended-evidence: otherwise once an identity record or an action concerns them: 1 customers (identities 1, identifiers 1)
ended-evidence: c2: gains email; shows other identities
ended-of-two: otherwise after portrait db rebuild: 2 customers\
 (identities 1, identifiers 1, the customer id that answers 1)
ended-of-two: c1: gains email; shows other identities
grant-that-ends: otherwise from the first read on: 1 customers (consent 1)
grant-that-ends: c1: shows other consent
strictest-of-a-moment: otherwise from the first read on: 1 customers (consent 1)
strictest-of-a-moment: c1: shows other consent
clashing-events: document interactions: different: 1, which a check finds and a rebuild puts right
ended-of-two: link identities: missing: 1, which a check finds and a rebuild puts right
withdrawn: link identities: unfounded: 2, which a check finds and a rebuild puts right
"""


def test_the_command_says_what_an_upgrade_changes_and_leaves_the_file_as_it_is(earlier_code, tmp_path):
    path = tmp_path / "portrait.db"
    written = run(earlier_code, PROGRAM, "write", f"sqlite:///{path}")
    assert written.returncode == 0, written.stderr
    before = path.read_bytes()
    done = portrait("db", "upgrade", "--what-changes", "--examples", "1", database=path)
    assert (done.returncode, done.stderr) == (1, "Nothing was changed.\n")
    lines, _, totals = done.stdout.rpartition("\n22 customers")
    assert lines + "\n" == PRINTED
    assert totals.endswith(" 4 differences\n")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_says_that_nothing_changes_and_refuses_what_is_not_there(tmp_path):
    path = tmp_path / "portrait.db"
    refused = portrait("db", "upgrade", "--what-changes", database=path)
    assert (refused.returncode, path.exists()) == (1, False)
    assert portrait("tenant", "create", "mine", database=path).returncode == 0
    done = portrait("db", "upgrade", "--what-changes", database=path)
    assert (done.returncode, done.stdout) == (
        0, f"The schema is this version's, {LATEST}.\n0 customers, 0 facts, 0 differences\n",
    )  # fmt: skip


def test_examples_without_what_changes_are_refused_and_nothing_is_upgraded(tmp_path):
    path = tmp_path / "portrait.db"
    done = portrait("db", "upgrade", "--examples", "1", database=path)
    assert (done.returncode, "--examples goes with --what-changes" in done.stderr) == (2, True)
    assert not path.exists()
