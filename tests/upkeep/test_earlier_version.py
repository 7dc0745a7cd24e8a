"""A database of an earlier version is read as it was, but where a decision since then changes a value on purpose.

The earlier version is the one before claims were decided as a set, taken from this repository's own history.
"""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from databases import administer, create_database, database_url
from portrait.app import build
from upkeep import earlier

PROJECT = Path(__file__).parents[2]
PROGRAM = Path(earlier.__file__)
REVISION = "ae84758"
"""The last one that decided on a link by what was known when it was recorded."""


READ_OTHERWISE = {
    ("earliest-exposure", "c1"): {"experiments"},
    ("grant-that-ends", "c1"): {"consent"},
    ("strictest-of-a-moment", "c1"): {"consent"},
    ("end-reaches-ahead", "c1"): {"segments"},
}
"""What is read otherwise from the first read on, by tenant and customer id: the sections, or the customer id."""

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
        pytest.skip(f"the earlier version does not run with these libraries: {started.stderr.splitlines()[-1]}")
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


def opened(url):
    """Return the services of this version over a database, whose schema is brought forward."""
    return build(url, clock=earlier.Clock(earlier.READ_AT), auth="open", installed=False, upgrade=True)


def compared(before, after):
    """Return what is answered otherwise, by tenant and customer id: sections, or the customer id that is answered.

    Customer ids that are made at random are called `anon`.
    """
    assert before.keys() == after.keys()
    differences = {}
    for tenant, profiles in before.items():
        for customer_id, text in profiles.items():
            if after[tenant].get(customer_id) != text:
                name = "anon" if customer_id.startswith("anon_") else customer_id
                differences[tenant, name] = _otherwise(text, after[tenant].get(customer_id))
    return differences


def _otherwise(before, after):
    profiles = [json.loads(text or '{"customerId": null, "sections": []}') for text in (before, after)]
    owners = [profile["customerId"] for profile in profiles]
    if owners[0] != owners[1]:
        return owners[1]
    sections = [{section["name"]: section for section in profile["sections"]} for profile in profiles]
    return {name for name in sections[0] if sections[0][name] != sections[1].get(name)}


async def test_documents_of_an_earlier_version_are_read_as_they_were_but_where_a_decision_says_otherwise(database):
    url, before = database
    await opened(url).close()
    after = await earlier.answers(url)
    assert compared(before, after) == READ_OTHERWISE


async def test_one_rebuild_makes_claims_just_what_live_records_say(database):
    url, before = database
    services = opened(url)
    differences = (await services.upkeep.rebuild()).differences
    assert {(difference.tenant, difference.kind, difference.reason) for difference in differences} == REBUILT
    assert (await services.upkeep.check()).differences == []
    await services.close()
    assert compared(before, await earlier.answers(url)) == READ_OTHERWISE | REBUILT_OTHERWISE
