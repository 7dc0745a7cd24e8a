"""Names in the code: no two classes have one name."""

import ast
from collections import defaultdict
from pathlib import Path

import portrait

SOURCE = Path(portrait.__file__).parent


def classes():
    """Return of each name of a class, in whatever it stands, the modules that have it."""
    found = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        where = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(where)
    return found


def test_no_two_classes_have_one_name():
    assert {name: where for name, where in classes().items() if len(where) > 1} == {}
