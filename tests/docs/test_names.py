"""Names in the code say what they name: no two classes share one, and fillers are rare. Classes are small."""

import ast
from collections import Counter, defaultdict
from pathlib import Path

import pytest

import portrait

SOURCE = Path(portrait.__file__).parent
PROJECT = Path(__file__).parents[2]
FILLERS = frozenset({"one", "told", "held", "found", "place", "said", "given", "shown", "x", "y"})
"""Names that could stand for anything."""
MAX_SHARE = 0.01
"""The largest share of all bindings that fillers may have."""
MAX_LINES = 250
"""The most lines of a class."""
MAX_MODULES = 5
"""The most modules beside the rooms."""


def trees(directory):
    """Yield every module below a directory, by its path from there, and its syntax tree."""
    for path in sorted(directory.rglob("*.py")):
        yield path.relative_to(directory).as_posix(), ast.parse(path.read_text())


def class_definitions():
    """Yield the module and the node of each class, nested ones too."""
    for module, tree in trees(SOURCE):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield module, node


def bindings(tree):
    """Yield each name that a module binds: variables, attributes, parameters, functions and classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.ExceptHandler):
            yield node.name or ""


def test_no_two_classes_have_one_name():
    modules = defaultdict(list)
    for module, node in class_definitions():
        modules[node.name].append(module)
    assert {name: where for name, where in modules.items() if len(where) > 1} == {}


def test_no_class_is_large():
    lines = {(module, node.name): node.end_lineno - node.lineno + 1 for module, node in class_definitions()}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_few_modules_stand_beside_the_rooms():
    modules = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert len(modules) <= MAX_MODULES, modules


@pytest.mark.parametrize("directory", ["src", "tests", "bench"])
def test_few_names_are_fillers(directory):
    names = Counter(name for _, tree in trees(PROJECT / directory) for name in bindings(tree))
    fillers = {name: names[name] for name in FILLERS & names.keys()}
    assert sum(fillers.values()) <= MAX_SHARE * names.total(), fillers
