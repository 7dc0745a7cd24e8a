"""Links and paths in the pages lead to files that exist, and no file has forbidden text."""

import re

import pytest

from docs.pages import DOCS, ROOT, anchors, blocks, files, links, pages, prose, relative

OUTSIDE = (
    "https://www.rfc-editor.org/rfc/",
    "https://spec.openapis.org/",
    "https://semver.org/",
    "https://keepachangelog.com/",
    "https://sqlite.org/",
)
"""Where links may lead outside the repository: standards, and the page of SQLite on which a choice rests."""

_PATH = re.compile(
    r"`((?:src|tests|docs|examples|bench|mutants|requirements|findings|\.ci)/[\w./-]*|Makefile|\w+\.(?:md|toml))`"
)


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_every_link_leads_somewhere(page):
    for target in links(page):
        if target.startswith(("http://", "https://")):
            assert target.startswith(OUTSIDE), f"{target} is no standard"
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(path), f"{target}: no such heading in {relative(path)}"


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_every_path_that_is_named_exists(page):
    made = {block.info for block in blocks(page)}
    for name in _PATH.findall(prose(page)):
        if name != "portrait.toml" and name not in made:
            assert (ROOT / name).exists(), f"{name} does not exist"


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_no_page_has_conflict_markers(page):
    assert not re.search(r"^(<{7}|>{7}) ", page.read_text(), re.MULTILINE)


def test_every_page_is_on_the_map():
    index = DOCS / "README.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}
    assert [relative(page) for page in DOCS.rglob("*.md") if page != index and page not in linked] == []


def test_every_decision_has_its_parts():
    decisions = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [page.name[:4] for page in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    for page in decisions:
        text = page.read_text()
        assert re.search(r"^> \*\*Decision\.\*\* \S", text, re.MULTILINE), f"{page.name} has no line to quote"
        assert {"context", "decision", "consequences"} <= anchors(page), page.name


def test_the_map_of_changes_names_paths():
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## To change")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| to change")]
    assert len(rows) > 10
    for row in rows:
        assert _PATH.search(row.split("|")[2]), f"no path in: {row}"


REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("python" + "hosted", "org"),
        ("npmjs", "com"),
        ("npmjs", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("docker", "io"),
        ("conda", "anaconda", "org"),
    )
)
_MACHINE = re.compile(r"(?<![\w.:/-])/(?:home|root|Users|work|private|workspace)/[\w.-]+")


def test_no_file_names_a_registry_or_a_path_of_some_machine():
    mentions = []
    for path in files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        mentions += [f"{relative(path)}: {host}" for host in REGISTRIES if host in text]
        mentions += [f"{relative(path)}: {machine_path}" for machine_path in _MACHINE.findall(text)]
    assert mentions == []


def test_no_file_has_conflict_markers():
    marks = tuple(mark * 7 + " " for mark in "<>|")
    marked = [relative(path) for path in files() if any(line.startswith(marks) for line in _lines(path))]
    assert marked == []


def _lines(path):
    return path.read_text(errors="replace").splitlines()


def test_no_source_file_is_long():
    long = {relative(path): len(path.read_text().splitlines()) for path in (ROOT / "src").rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 500} == {}
