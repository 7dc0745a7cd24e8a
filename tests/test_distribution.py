"""The name of the distribution, and the command that adds an extra from the distribution's origin."""

import json
import re
import shlex
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from docs.pages import ROOT, files, relative
from portrait.serving import distribution

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMIT = "5f1d3e8c0b"
ORIGINS = {
    "an index": (None, "portrait-profiles[match]"),
    "a wheel": (
        {"url": "file:///srv/portrait_profiles-0.1.0-py3-none-any.whl", "archive_info": {}},
        "portrait-profiles[match] @ file:///srv/portrait_profiles-0.1.0-py3-none-any.whl",
    ),
    "a checkout": (
        {"url": "file:///srv/a%20checkout", "dir_info": {}},
        "portrait-profiles[match] @ file:///srv/a%20checkout",
    ),
    "an editable checkout": (
        {"url": "file:///srv/a%20checkout", "dir_info": {"editable": True}},
        ["--editable", "/srv/a checkout[match]"],
    ),
    "a repository": (
        {"url": "https://code.example/portrait.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
        f"portrait-profiles[match] @ git+https://code.example/portrait.git@{COMMIT}",
    ),
}


@pytest.fixture
def installed(monkeypatch):
    """Return a function that sets the origin of Portrait's distribution; None: an index."""

    def from_(origin):
        class Installed:
            def read_text(self, name):
                assert name == "direct_url.json"
                return origin and json.dumps(origin)

        monkeypatch.setattr(metadata, "distribution", {distribution.NAME: Installed()}.__getitem__)

    return from_


@pytest.mark.parametrize(("origin", "wanted"), ORIGINS.values(), ids=ORIGINS)
def test_the_command_for_an_extra_takes_it_from_where_portrait_came_from(installed, origin, wanted):
    installed(origin)
    python, *words = shlex.split(distribution.command_for("match"))
    assert python == sys.executable
    assert words == ["-m", "pip", "install", *([wanted] if isinstance(wanted, str) else wanted)]
    if isinstance(wanted, str):
        assert Requirement(words[-1]).extras == {"match"}


def test_without_an_installation_the_command_names_the_distribution(monkeypatch):
    monkeypatch.setattr(distribution, "NAME", "no-such-distribution")
    assert distribution.command_for("match").endswith(" -m pip install 'no-such-distribution[match]'")


def test_the_distribution_is_called_as_the_project_says():
    assert PROJECT["name"] == distribution.NAME
    assert metadata.version(distribution.NAME) == distribution.version() == PROJECT["version"]


def named_by(text):
    """Yield the distributions that a text names: in its install commands, and with an extra."""
    for line in text.replace("\\\n", " ").splitlines():
        yield from re.findall(r"(?<![\w./-])(portrait[\w-]*)\[[\w,-]+\]", line)
        for command in re.findall(r"pip3? (?:install|wheel|download) ([^`#&|\n]*)", line):
            words = iter(command.replace("'", " ").replace('"', " ").split())
            for word in words:
                if word in WITH_VALUE:
                    next(words, None)
                elif re.match(r"[A-Za-z]", word) and "/" not in word and not word.endswith(".whl"):
                    yield re.match(r"[\w.-]+", word)[0]


WITH_VALUE = {"-r", "-c", "-w", "--requirement", "--constraint", "--wheel-dir", "--find-links", "--python"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("pip install 'portrait[match]'", ["portrait", "portrait"]),
        ("and 'portrait[match-spark]' for", ["portrait"]),
        ("$ pip install portrait", ["portrait"]),
        (".venv/bin/pip install --editable '.[postgres]'", []),
        ("pip install -q --require-hashes -r requirements/run.txt", []),
        ("pip install './portrait_profiles-0.1.0-py3-none-any.whl[postgres]'", []),
    ],
)
def test_the_search_finds_what_a_command_would_install(text, names):
    assert list(named_by(text)) == names


def test_no_page_message_or_package_names_a_distribution_that_is_not_ours():
    paths = [path for path in files() if not relative(path).startswith(("tests/", "requirements/", "findings/"))]
    foreign_names = {
        (relative(path), name)
        for path in paths
        for name in named_by(path.read_text(errors="replace"))
        if name != distribution.NAME
    }
    assert foreign_names == set()
    for path in ROOT.glob("examples/**/pyproject.toml"):
        needed = [
            Requirement(requirement).name for requirement in tomllib.loads(path.read_text())["project"]["dependencies"]
        ]
        assert distribution.NAME in needed, relative(path)
        assert "portrait" not in needed, relative(path)
