"""Built-in sections as plugins: the same source, with every import from Portrait taken from the public face."""

import ast
import importlib
import inspect

import portrait
from portrait.sections.registry import BUILT_IN

AGAIN = "-again"


def sources():
    """Return each built-in section's source as a plugin's, by the section's name; it is registered with `AGAIN`."""
    return {name: rebuilt(name) for name in BUILT_IN}


def rebuilt(name):
    """Return a built-in section's source as a plugin.

    Parts of the module for other packages of Portrait are left out.
    """
    tree = ast.parse(inspect.getsource(importlib.import_module(f"portrait.sections.{name}")))
    imports = [statement for statement in tree.body if isinstance(statement, ast.Import | ast.ImportFrom)]
    rest = [statement for statement in tree.body if statement not in imports]
    (declared,) = [statement for statement in rest if _declares(statement)]
    kept = _needed(declared, rest)
    ours = [
        statement
        for statement in imports
        if isinstance(statement, ast.ImportFrom) and statement.module.startswith("portrait.")
    ]
    used = {node.id for statement in kept for node in ast.walk(statement) if isinstance(node, ast.Name)}
    taken = sorted({alias.name for statement in ours for alias in statement.names} & used)
    private = [name for name in taken if name not in portrait.__all__]
    assert not private, f"section {name} is made of what the public face lacks: {', '.join(private)}"
    for node in ast.walk(declared):
        if isinstance(node, ast.Constant) and node.value == name:
            node.value = f"{name}{AGAIN}"
    body = [statement for statement in imports if statement not in ours]
    return ast.unparse([*body, ast.parse(f"from portrait import {', '.join(taken)}").body[0], *kept]) + "\n"


def _declares(statement):
    calls = [
        node for part in _run(statement) for node in ast.walk(part)
        if isinstance(node, ast.Name) and node.id == "register_profile_section"
    ]  # fmt: skip
    return bool(calls)


def _run(statement):
    """Return the parts of a statement that run where it stands."""
    return statement.decorator_list if isinstance(statement, ast.ClassDef) else [statement]


def _needed(declared, statements):
    """Return the statements that one of them needs, itself among them, in their order."""
    needed = [declared]
    for statement in needed:
        names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        needed += [other for other in statements if other not in needed and names & _defined(other)]
    return [statement for statement in statements if statement in needed]


def _defined(statement):
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}
