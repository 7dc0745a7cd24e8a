"""The documentation as data: its files, links, code blocks and generated blocks."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GENERATED = re.compile(r"(<!-- generated: ([\w-]+) -->\n)(.*?)(<!-- /generated -->)", re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


class Block(NamedTuple):
    """One fenced block of code."""

    language: str
    info: str
    """The text after the language: nothing, `background`, `output`, or the name of the file that the block is."""
    text: str
    line: int
    before: str
    """The paragraph above it."""


def pages() -> list[Path]:
    """Every page of documentation, by path."""
    return sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def files() -> list[Path]:
    """Every text file that belongs to the repository, committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            match[1],
            match[2] or "",
            match[3],
            text.count("\n", 0, match.start()) + 1,
            text[: match.start()].rstrip().rpartition("\n\n")[2],
        )
        for match in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links and pictures."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    yield from re.findall(r"\]\(([^()\s]+)\)", text)
    yield from re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    yield from re.findall(r"<(https?://[^>\s]+)>", text)


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings give, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower()).replace(" ", "-")
        for heading in _HEADING.findall(_FENCE.sub("", page.read_text()))
    }


def generated(page: Path) -> dict[str, str]:
    """A page's generated blocks, by name."""
    return {match[2]: match[3] for match in _GENERATED.finditer(page.read_text())}


def write_generated(page: Path, blocks_by_name: dict[str, str]) -> None:
    """Replace a page's generated blocks by the current ones."""
    page.write_text(_GENERATED.sub(lambda match: match[1] + blocks_by_name[match[2]] + match[4], page.read_text()))
