"""An invalid plugin stops the start, with a message that names the place and the remedy."""

import os
import shutil
import subprocess
import sys

import httpx
import pytest

from harness import TENANT, portrait, server, service
from portrait.maintenance.report import Unregistered
from portrait.model.errors import PluginRefused
from portrait.sections import registry
from sections.facts import ROOT

COMPUTED = "from portrait import register_profile_section\n"
STORED = """
from typing import Annotated
from portrait import Record, Text, Timestamp, impersonal, personal, register_profile_section
"""


def plugin(directory, source, name="plugin.py"):
    path = directory / name
    path.write_text(source)
    return str(path)


def refusal(*plugins):
    with pytest.raises(PluginRefused) as refused:
        registry.load(plugins, installed=False)
    return refused.value.detail


def named(name):
    return f"{COMPUTED}@register_profile_section({name!r})\ndef f(ctx):\n    return []\n"


def test_a_name_taken_twice_is_refused_with_both_origins(tmp_path):
    first, other = plugin(tmp_path, named("same"), "one.py"), plugin(tmp_path, named("same"), "other.py")
    detail = refusal(first, other)
    assert "`same`" in detail
    assert first in detail
    assert other in detail


def test_a_built_in_sections_name_is_taken(tmp_path):
    path = plugin(tmp_path, named("segments"))
    detail = refusal(path)
    assert path in detail
    assert "portrait.sections.segments" in detail


@pytest.mark.parametrize("name", ["unified-profile", "", "1st", "Loyalty", "a b", "a/b", "ä", "a" * 65, "-a", "a\n"])
def test_a_name_that_cannot_be_is_refused_with_its_origin(tmp_path, name):
    path = plugin(tmp_path, named(name))
    detail = refusal(path)
    assert path in detail
    assert "name" in detail


@pytest.mark.parametrize("name", ["a", "a" * 64, "a-b_c9"])
def test_a_name_that_keeps_the_rule_is_taken(tmp_path, name):
    assert registry.load([plugin(tmp_path, named(name))], installed=False).names()[-1] == name


CANNOT_BE = {
    "a field that is not classified": (
        f"{STORED}@register_profile_section('s', key=('a',))\nclass S(Record, frozen=True):\n    a: Text\n",
        "S.a",
    ),
    "a nested field that is not classified": (
        (
            f"{STORED}@register_profile_section('s', key=('a',))\nclass S(Record, frozen=True):\n"
            "    a: Annotated[Text, impersonal]\n    b: list[str] = []\n"
        ),
        "S.b",
    ),
    "no key": (
        f"{STORED}@register_profile_section('s')\nclass S(Record, frozen=True):\n    a: Annotated[Text, impersonal]\n",
        "key",
    ),
    "a key of no field": (
        (
            f"{STORED}@register_profile_section('s', key=('z',))\nclass S(Record, frozen=True):\n"
            "    a: Annotated[Text, impersonal]\n"
        ),
        "key",
    ),
    "events without a moment": (
        (
            f"{STORED}@register_profile_section('s', key=('a',), kind='events')\nclass S(Record, frozen=True):\n"
            "    a: Annotated[Text, impersonal]\n"
        ),
        "effective",
    ),
    "a moment that is no timestamp": (
        (
            f"{STORED}@register_profile_section('s', key=('a',), effective='a')\nclass S(Record, frozen=True):\n"
            "    a: Annotated[Text, impersonal]\n"
        ),
        "timestamp",
    ),
    "a class that is no record": (
        f"{STORED}@register_profile_section('s', key=('a',))\nclass S:\n    a: int\n",
        "Record",
    ),
    "a computed section with a key": (
        f"{COMPUTED}@register_profile_section('s', key=('a',))\ndef s(ctx):\n    return []\n",
        "key",
    ),
    "a stored section with a deadline": (
        (
            f"{STORED}@register_profile_section('s', key=('a',), timeout=1)\nclass S(Record, frozen=True):\n"
            "    a: Annotated[Text, impersonal]\n"
        ),
        "timeout",
    ),
    "a deadline of none": (
        f"{COMPUTED}@register_profile_section('s', timeout=0)\ndef s(ctx):\n    return []\n",
        "timeout",
    ),
    "a deadline beyond a minute": (
        f"{COMPUTED}@register_profile_section('s', timeout=61)\ndef s(ctx):\n    return []\n",
        "timeout",
    ),
    "a cache time below none": (
        f"{COMPUTED}@register_profile_section('s', cache_seconds=-1)\ndef s(ctx):\n    return []\n",
        "cache_seconds",
    ),
    "both `first` and `prefers`": (
        (
            f"{STORED}@register_profile_section('s', key=('a',), first='a', prefers=max)\n"
            "class S(Record, frozen=True):\n    a: Annotated[Text, impersonal]\n"
        ),
        "either `first` or `prefers`",
    ),
    "events with ranks": (
        (
            f"{STORED}@register_profile_section('s', key=('a',), kind='events', effective='at', ranked=True)\n"
            "class S(Record, frozen=True):\n    a: Annotated[Text, impersonal]\n"
            "    at: Annotated[Timestamp, impersonal]\n"
        ),
        "ranked",
    ),
    "a field that is called as a rank is": (
        (
            f"{STORED}@register_profile_section('s', key=('a',), ranked=True)\n"
            "class S(Record, frozen=True):\n    a: Annotated[Text, impersonal]\n    rank: Annotated[Text, impersonal]\n"
        ),
        "`rank`",
    ),
    "a computed section with ranks": (
        f"{COMPUTED}@register_profile_section('s', ranked=True)\ndef s(ctx):\n    return []\n",
        "ranked",
    ),
    "an unknown role": (
        f"{COMPUTED}@register_profile_section('s', roles=('owner',))\ndef s(ctx):\n    return []\n",
        "roles",
    ),
    "no role": (f"{COMPUTED}@register_profile_section('s', roles=())\ndef s(ctx):\n    return []\n", "roles"),
    "no section": ("x = 1\n", "register_profile_section"),
    "an error at import": ("raise ValueError('boom')\n", "boom"),
    "a syntax error": ("def\n", "SyntaxError"),
    "a missing import": ("import no_such_module\n", "no_such_module"),
    "an exit at import": ("raise SystemExit(0)\n", "does not import"),
}


@pytest.mark.parametrize(("source", "word"), CANNOT_BE.values(), ids=CANNOT_BE)
def test_an_impossible_section_is_refused_with_place_and_reason(tmp_path, source, word):
    path = plugin(tmp_path, source)
    detail = refusal(path)
    assert path in detail
    assert word in detail


def test_a_missing_file_or_module_is_refused_by_name(tmp_path):
    assert "nowhere.py" in refusal(str(tmp_path / "nowhere.py"))
    assert "no_such_module" in refusal("no_such_module")


@pytest.mark.parametrize(
    "words", [("serve", "--port", "0"), ("sections",), ("tenant", "list"), ("db", "check")], ids=" ".join
)
def test_a_plugin_that_does_not_import_stops_the_start_with_one_line(tmp_path, words):
    path = plugin(tmp_path, "raise ValueError('boom')\n")
    database = None if words == ("sections",) else tmp_path / "portrait.db"
    stopped = portrait(*words, "--plugin", path, database=database)
    assert stopped.returncode == 1
    assert stopped.stdout == ""
    assert stopped.stderr == f"portrait: Plugin {path} does not import: ValueError: boom\n"


def test_a_plugin_is_named_by_module_too(tmp_path):
    plugin(tmp_path, named("by-module"), "some_module.py")
    listed = portrait("sections", "--plugin", "some_module", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.splitlines()[-1].startswith("by-module\t")


def test_sections_are_in_order_of_registration(tmp_path):
    pair = plugin(tmp_path, named("zz") + named("aa"), "two.py")
    single = plugin(tmp_path, named("mm"), "one.py")
    assert registry.load([pair, single], installed=False).names()[len(registry.BUILT_IN) :] == ["zz", "aa", "mm"]


BADGES = f"""{STORED}
@register_profile_section("badges", key=("badge_id",))
class Badge(Record, frozen=True):
    '''Badges.'''
    badge_id: Annotated[Text, impersonal]
"""


async def test_facts_of_a_section_no_longer_registered_are_kept_and_reported(tmp_path):
    path = plugin(tmp_path, BADGES)
    segment = {"segmentId": "s1", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}
    async with service(tmp_path, plugins=(path,)) as running:
        await running.recorded("badges", [{"badgeId": "b1"}, {"badgeId": "b2"}])
        await running.recorded("segments", segment)
    running.clock.advance(1)
    async with service(tmp_path, clock=running.clock, tenants=()) as without:
        without.client.headers["X-Tenant-Id"] = TENANT
        answer = await without.profile()
        assert answer.status_code == 200
        assert "badges" not in [section["name"] for section in answer.json()["sections"]]
        assert await without.section("segments") == [segment]
        assert (await without.profile("c1", "badges")).status_code == 400
        for report in (await without.services.upkeep.check(), await without.services.upkeep.rebuild()):
            assert report.unregistered == {"badges": Unregistered(facts=2, documents=1)}
            assert report.differences == []
    checked = portrait("db", "check", database=tmp_path / "portrait.db")
    assert checked.returncode == 0
    assert "2 facts and 1 documents of section badges could not be checked" in checked.stdout
    async with service(tmp_path, plugins=(path,), clock=running.clock, tenants=()) as again:
        again.client.headers["X-Tenant-Id"] = TENANT
        assert {badge["badgeId"] for badge in await again.section("badges")} == {"b1", "b2"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A directory with the example package installed, as an environment for subprocesses."""
    directory = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(ROOT / "examples" / "package", directory / "source")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--target", str(directory / "site"), str(source)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(directory / "site"), before]))}


def test_a_section_of_an_installed_package_is_listed_without_a_flag(installed):
    listed = portrait("sections", env=installed)
    assert listed.returncode == 0, listed.stderr
    name, kind, _, origin, meaning = listed.stdout.splitlines()[-1].split("\t")
    assert (name, kind, meaning) == ("devices", "state", "Devices, the one seen last first.")
    assert "portrait-devices" in origin


def test_a_section_of_an_installed_package_is_in_profile_and_openapi(installed, tmp_path):
    database = tmp_path / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=database, env=installed).returncode == 0
    device = {"deviceId": "d1", "platform": "ios", "lastSeen": "2026-03-28T10:30:00Z"}
    with (
        server(database, "--auth", "open", env=installed) as (url, _),
        httpx.Client(base_url=url, headers={"X-Tenant-Id": TENANT}) as client,
    ):
        assert client.post("/api/v1/customers/c1/devices", json=device).status_code == 201
        profile = client.get("/api/v1/customers/c1/unified-profile").json()
        assert profile["sections"][-1] == {"name": "devices", "data": [device]}
        [listed] = client.get("/api/v1/customers/c1/devices").json()["data"]
        assert "d1" not in listed["key"]  # the key field is personal
        assert "/api/v1/customers/{customerId}/devices" in client.get("/openapi.json").json()["paths"]
