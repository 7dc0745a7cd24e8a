"""Every row of the contract has a test that names it, and tests name only rows of the contract."""

import ast
import re
from pathlib import Path

import pytest

from contract.given import plain
from harness import SHARED

PAGE = SHARED / "contract" / "unified-profile.md"


def table(text, title):
    """Return the first cells of the table under a title."""
    body = text.partition(f"## {title}")[2].partition("\n## ")[0]
    cells = [plain(line.split(" | ")[0].lstrip("| ")) for line in body.splitlines() if line.startswith("| ")]
    return cells[1:]


def contract_rows():
    text = PAGE.read_text()
    records = text.partition("## Records")[2].partition("\n## ")[0]
    return {
        *table(text, "What the seed leaves open, decided"),
        *(f"record: {name}" for name in table(text, "Records")),
        *(f"bullet: {name}" for name in re.findall(r"^- \*\*(.+?)\*\*", records, re.MULTILINE)),
        *(f"shape: {name}" for name in re.findall(r"(?:^|· )(\w+) `\{", shapes(text), re.MULTILINE)),
        *table(text, "Writing (roles: editor, admin)"),
    }


def shapes(text):
    return text.partition("## The three item shapes that the seed only names\n")[2].partition("\n## ")[0]


def named_rows():
    """Return the names of tests by the row that they name."""
    tests_by_row = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("test_"):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "row":
                        for argument in mark.args:
                            tests_by_row.setdefault(ast.literal_eval(argument), []).append(node.name)
    return tests_by_row


pytestmark = pytest.mark.skipif(not PAGE.exists(), reason=f"{PAGE.parent.name}/{PAGE.name} is not beside this checkout")


def test_the_contract_is_read_whole():
    rows = contract_rows()
    assert len(table(PAGE.read_text(), "What the seed leaves open, decided")) >= 18
    for name in ("sections omitted", "section names", "record: consent", "bullet: Events", "shape: journeys"):
        assert name in rows
    assert sum(name.startswith("shape: ") for name in rows) == 3
    assert sum(name.startswith(("POST", "GET", "DELETE")) for name in rows) == 6


def test_every_row_of_the_contract_has_a_test():
    assert sorted(contract_rows() - named_rows().keys()) == []


def test_no_test_names_a_row_that_is_not_there():
    assert sorted(named_rows().keys() - contract_rows()) == []
