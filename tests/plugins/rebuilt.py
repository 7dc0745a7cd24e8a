"""Built-in sections as plugins: the same source, with all that it imports from Portrait taken from the public face."""

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
    """Return what a built-in section is made of, as a plugin.

    What the module holds beside its section, for others of Portrait's rooms, is left out.
    """
    tree = ast.parse(inspect.getsource(importlib.import_module(f"portrait.sections.{name}")))
    imports = [one for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)]
    rest = [one for one in tree.body if one not in imports]
    (declared,) = [one for one in rest if _declares(one)]
    kept = _needed(declared, rest)
    ours = [one for one in imports if isinstance(one, ast.ImportFrom) and one.module.startswith("portrait.")]
    used = {node.id for one in kept for node in ast.walk(one) if isinstance(node, ast.Name)}
    taken = sorted({alias.name for one in ours for alias in one.names} & used)
    private = [one for one in taken if one not in portrait.__all__]
    assert not private, f"section {name} is made of what the public face lacks: {', '.join(private)}"
    for node in ast.walk(declared):
        if isinstance(node, ast.Constant) and node.value == name:
            node.value = f"{name}{AGAIN}"
    body = [one for one in imports if one not in ours]
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
    for one in needed:
        names = {node.id for node in ast.walk(one) if isinstance(node, ast.Name)}
        needed += [other for other in statements if other not in needed and names & _defined(other)]
    return [one for one in statements if one in needed]


def _defined(statement):
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    return {one.id for one in targets if isinstance(one, ast.Name)}
