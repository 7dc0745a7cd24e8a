"""Names in the code: no two classes have one name."""

import ast
from collections import defaultdict
from pathlib import Path

import portrait

SOURCE = Path(portrait.__file__).parent
ENGINES = ("storage/sqlite/", "storage/postgres/")
"""Two engines of one contract: a class of each may have the other's name."""


def classes():
    """Return of each name of a class at the top of a module the modules that have it."""
    found = defaultdict(set)
    for path in sorted(SOURCE.rglob("*.py")):
        where = path.relative_to(SOURCE).as_posix()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].add("storage/engine" if where.startswith(ENGINES) else where)
    return found


def test_no_two_classes_have_one_name():
    assert {name: sorted(where) for name, where in classes().items() if len(where) > 1} == {}
