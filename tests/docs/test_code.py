"""Code in the pages works: shell blocks are run, Python blocks compile and load as plugins, answers are real."""

import ast
import json
import os
import re
import subprocess
import sys
from io import StringIO
from xml.etree import ElementTree

import msgspec
import pytest
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from docs import shell
from docs.pages import DOCS, ROOT, blocks, pages, relative
from harness import TENANT, service
from portrait.cli import portrait_view, serve
from portrait.sections import registry

RUN = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
SAMPLE = ROOT / "src" / "portrait" / "cli" / "sample.jsonl"
PICTURE = DOCS / "images" / "show.svg"
WIDTH = 110
_COMPUTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_SHOWN_AT = "2026-03-30T12:00:00.000Z"


@pytest.mark.parametrize("page", RUN, ids=relative)
def test_a_reader_can_follow(page, tmp_path):
    assert any(block.language == "sh" for block in blocks(page)), "a page to follow has something to do"
    shell.run(page, tmp_path)


@pytest.mark.parametrize("page", [page for page in pages() if page not in RUN], ids=relative)
def test_only_pages_that_are_run_have_marks_that_say_so(page):
    assert not [block.line for block in blocks(page) if block.info == "output"]


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_python_compiles_and_json_parses(page):
    for block in blocks(page):
        if block.language == "python" and page.name != "plugin-api.md":
            ast.parse(block.text, f"{page.name}:{block.line}")
        if block.language == "json":
            assert shell.values(block.text), f"{page.name}:{block.line}"


def test_the_plugins_of_the_guide_load(tmp_path):
    plugin_blocks = [block for block in blocks(DOCS / "how-to" / "write-a-plugin.md") if block.language == "python"]
    assert len(plugin_blocks) >= 3
    for block in plugin_blocks:
        path = tmp_path / block.info
        path.write_text(block.text)
        assert registry.load([str(path)], installed=False).names()[6:], f"{block.info} registers nothing"


async def test_the_answer_in_the_readme_is_the_real_one(tmp_path):
    text = next(block.text for block in blocks(ROOT / "README.md") if block.language == "json")
    example = json.loads(text)
    async with service(tmp_path) as running:
        headers = {"Content-Type": "application/x-ndjson"}
        taken = await running.client.post("/api/v1/records", content=SAMPLE.read_bytes(), headers=headers)
        assert taken.json()["refused"] == []
        answer = (await running.profile(example["customerId"])).json()
    assert example["tenantId"] == TENANT
    assert {**answer, "computedAt": None} == {**example, "computedAt": None}
    assert _COMPUTED.fullmatch(example["computedAt"])
    assert '"confidence": 1.0' in text, "a confidence is written as a float"


def test_the_readme_names_make_targets_that_exist():
    text = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for command in ("demo", "test"):
        assert f"make {command}" in text
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


def test_the_calls_of_the_readme_are_the_demos():
    demo_calls = serve._calls("http://127.0.0.1:8080", serve.DEMO_DATABASE)
    asked = [block.text for block in blocks(ROOT / "README.md") if block.text.startswith("curl")]
    assert len(asked) == 2
    assert [call for call in asked if call not in demo_calls] == []


def test_the_picture_is_what_the_command_prints(tmp_path):
    where = f"sqlite:///{tmp_path / 'demo.db'}"
    portrait = [sys.executable, "-m", "portrait"]
    environment = {**os.environ, "COLUMNS": str(WIDTH), "NO_COLOR": "1"}

    def command(*words):
        done = subprocess.run(
            [*portrait, *words, "--database", where], capture_output=True, text=True, env=environment, check=True
        )
        return done.stdout

    command("tenant", "create", TENANT)
    beside = {f"--{kind}": str(tmp_path / f"{kind}.jsonl") for kind in ("refused", "warned")}
    command("load", str(SAMPLE), "--tenant", TENANT, *(word for pair in beside.items() for word in pair))
    if os.environ.get("WRITE_DOCS"):
        _draw(command("show", "CUST002", "--tenant", TENANT, "--json"))
    printed = command("show", "CUST002", "--tenant", TENANT)
    assert _words(_lines_of_picture()) == _words(printed)


def _draw(profile: str) -> None:
    """Write the picture, without the font that the format would fetch and the address that it would name."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
    portrait_view.show({**msgspec.json.decode(profile), "computedAt": _SHOWN_AT}, console)
    bare = re.sub(r"@font-face \{\{.*?\}\}\s*|<!--.*?-->\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    assert "http" not in bare.replace("http://www.w3.org/2000/svg", "")
    svg = console.export_svg(title=f"portrait show CUST002 --tenant {TENANT}", code_format=bare, unique_id="show")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


def _lines_of_picture() -> str:
    """The text of the picture: its pieces by line, from left to right."""
    lines: dict[str, list[tuple[float, str]]] = {}
    for text in ElementTree.parse(PICTURE).iter("{http://www.w3.org/2000/svg}text"):
        if line := text.get("clip-path"):
            lines.setdefault(line, []).append((float(text.get("x", 0)), text.text or ""))
    return "\n".join("".join(piece for _, piece in sorted(pieces)) for pieces in lines.values())


def _words(text: str) -> str:
    return "".join(_COMPUTED.sub("", text).replace("\xa0", " ").split()).replace("─", "")
