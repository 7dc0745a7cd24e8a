"""The reference agrees with the code. `WRITE_DOCS=1 pytest tests/docs` writes the generated blocks anew."""

import inspect
import os
import re
import tomllib

import pytest

import portrait
from docs import reference
from docs.pages import DOCS, ROOT, generated, pages, relative, write_generated
from portrait.model import errors

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture
async def generated_blocks(tmp_path):
    return {
        **{name: make() for name, make in reference.BLOCKS.items()},
        "operations": await reference.operations(tmp_path),
    }


async def test_generated_blocks_are_what_the_code_says(generated_blocks):
    if os.environ.get("WRITE_DOCS"):
        for page in pages():
            write_generated(page, generated_blocks)
    page_blocks = {name: (page, text) for page in pages() for name, text in generated(page).items()}
    assert page_blocks.keys() == generated_blocks.keys()
    for name, (page, text) in page_blocks.items():
        assert text == generated_blocks[name], f"{relative(page)}: {name} is old: run WRITE_DOCS=1 pytest tests/docs"


def test_each_public_name_is_documented_with_its_signature():
    page = (DOCS / "reference" / "plugin-api.md").read_text()
    for name in portrait.__all__:
        section = re.search(rf"^### {name}\n\n```python\n(.*?)```$", page, re.MULTILINE | re.DOTALL)
        assert section, f"{name} is not documented"
        value = getattr(portrait, name)
        if inspect.isfunction(value):
            for parameter in inspect.signature(value).parameters:
                assert re.search(rf"\b{parameter}\b", section[1]), f"{name}: {parameter} is missing"


def test_each_argument_of_the_decorator_is_explained():
    page = (DOCS / "reference" / "plugin-api.md").read_text()
    for name in inspect.signature(portrait.register_profile_section).parameters:
        assert f"| `{name}` | " in page


def test_the_error_tree_is_drawn_as_it_is():
    classes = [errors.PortraitError]
    for kind in classes:
        classes += kind.__subclasses__()
    drawn = reference.error_lines()
    assert dict(drawn) == {
        kind.__name__: None if kind is errors.PortraitError else kind.__base__.__name__ for kind in classes
    }
    assert len(drawn) == len(classes)
    assert len({kind.code for kind in classes}) == len(classes), "two errors have one code"


def test_each_dependency_has_its_reason_and_no_other_is_listed():
    groups = PROJECT["dependency-groups"]
    wanted = {
        "Run": PROJECT["project"]["dependencies"],
        "Extras": [
            dependency for extra in PROJECT["project"].get("optional-dependencies", {}).values() for dependency in extra
        ],
        "Build": [*PROJECT["build-system"]["requires"], *groups["build"]],
        "Development": groups["dev"],
    }
    page = (DOCS / "dependencies.md").read_text()
    for title, requirements in wanted.items():
        section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
        assert {name for name, _, _ in rows} == {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}, (
            title
        )


def test_every_setting_is_named_where_running_is_explained():
    page = (DOCS / "how-to" / "run-in-production.md").read_text()
    assert {name for name in ("database", "host", "auth", "plugin", "port") if name not in page} == set()


def test_each_word_of_the_glossary_stands_once():
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    assert len(words) == len(set(words))
    assert words == sorted(words)
    assert {
        "tenant", "customer", "identifier", "link", "profile", "section", "record", "fact", "document", "state",
        "source", "effective_at", "recorded_at", "role", "credential",
    } <= set(words)  # fmt: skip


def test_the_changelog_has_the_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## \[Unreleased\]$", text, re.MULTILINE)
    assert re.search(rf"^## \[{re.escape(PROJECT['project']['version'])}\]", text, re.MULTILINE)


def test_every_room_is_described():
    page = (DOCS / "explanation" / "architecture.md").read_text()
    rooms, _, within = page.partition("\n| of `writes` |")
    described = [re.findall(r"`(\w+)`", row) for row in re.findall(r"^\| (`[^|]*) \|", within, re.MULTILINE)]
    layers = [line.split(" | ") for line in reference.layers("portrait.writes").splitlines()[1:-1]]
    assert re.findall(r"^\| `(\w+)` \|", rooms, re.MULTILINE) == [
        room for line in reference.layers().splitlines()[1:-1] for room in line.split(" | ")
    ]
    assert [name for row in described for name in row] == [name for row in layers for name in row]
