"""Finds guards of identity: what gives a reason to keep two apart, what settles a claim, what takes one back.

A reason is given by the entry of a table, or by a branch that returns or raises it.
"""

import ast
import re

from mutants.syntax import name_of

Guard = tuple[ast.expr, str]
"""An expression, and what stands there without the guard."""

_TAKES_BACK = re.compile(r"_retract|_ban|lift|_keep_whole")
"""Calls that take back what was claimed, set apart, lift that, or keep a profile together."""
_SETTLING = re.compile(r"is_settled|settled|is_refused|stands|is_of_profiles")
"""Names of what tells that a claim is decided on already, or by somebody's word."""


def of_node(node: ast.AST) -> list[Guard]:
    """Return the guards that a node is, in code that decides on identity."""
    return [*_reasons(node), *_settled(node), *_taken_back(node)]


def _reasons(node: ast.AST) -> list[Guard]:
    """Return what gives a reason: entries of a table, and conditions of branches."""
    match node:
        case ast.Tuple(elts=parts) if any(map(_is_entry, parts)):
            return [(part, "*()") for part in parts if _is_entry(part) or isinstance(part, ast.Starred)]
        case ast.If(test=test, body=[ast.Return() | ast.Raise() as first, *_]) if _gives_reason(first):
            return _parts(test) if _is_alternatives(test) else [(test, "False")]
        case ast.IfExp(test=test, body=body, orelse=other) if _gives_reason(body) != _gives_reason(other):
            return [(test, str(_gives_reason(other)))]
    return []


def _settled(node: ast.AST) -> list[Guard]:
    """Return the parts of what tells that a claim is decided on already."""
    match node:
        case ast.Compare(ops=[ast.In() | ast.NotIn() as operator], comparators=[known]) if name_of(known) == "FINAL":
            return [(node, str(isinstance(operator, ast.NotIn)))]
        case ast.keyword(arg=str(name), value=value) if _SETTLING.fullmatch(name):
            return _parts(value)
        case ast.Assign(targets=[target], value=value) if _SETTLING.fullmatch(name_of(target)):
            return _parts(value)
        case ast.FunctionDef(name=name, body=[*_, ast.Return(value=ast.expr() as value)]) if _SETTLING.fullmatch(name):
            return _parts(value)
    return []


def _taken_back(node: ast.AST) -> list[Guard]:
    match node:
        case ast.Call(func=func) if _TAKES_BACK.fullmatch(name_of(func)):
            return [(node, "None")]
    return []


def _is_entry(node: ast.expr) -> bool:
    """Tell whether a node is a reason in a table, with the function that finds it."""
    match node:
        case ast.Tuple(elts=[reason, ast.Attribute()]):
            return _is_reason(reason)
    return False


def _is_reason(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="Reason")) | ast.Call(func=ast.Name(id="Reason")):
            return True
    return False


def _gives_reason(node: ast.AST) -> bool:
    return any(map(_is_reason, ast.walk(node)))


def _is_alternatives(node: ast.expr) -> bool:
    return isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or)


def _parts(node: ast.expr) -> list[Guard]:
    """Return the parts of a condition, each with what makes it say nothing."""
    if isinstance(node, ast.BoolOp):
        nothing = str(isinstance(node.op, ast.And))
        return [(part, nothing) for part in node.values]
    return [] if isinstance(node, ast.Constant | ast.Name) else [(node, "False")]
