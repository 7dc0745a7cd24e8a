"""Names in the code: every class has a name of its own."""

import ast
from collections import defaultdict
from pathlib import Path

import portrait

SOURCE = Path(portrait.__file__).parent


def classes():
    """Return the modules that define a class, by its name; nested classes too."""
    modules_by_class = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        where = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                modules_by_class[node.name].append(where)
    return modules_by_class


def test_no_two_classes_have_one_name():
    assert {name: where for name, where in classes().items() if len(where) > 1} == {}
