"""Finds guards in the source: conditions on the tenant, checks of roles, bounds."""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

TENANT, ROLE, BOUND = "tenant condition", "role check", "bound"
KINDS = (TENANT, ROLE, BOUND)

_PLACE = r"(?:\$\d+|\?\d*|\w+\.tenant)"
_SQL = re.compile(rf"(?:\b\w+\.)?\btenant (?:=|IS NOT DISTINCT FROM|IS) {_PLACE}|(?<=WHERE )id = (?:\$\d+|\?)")
"""Conditions of statements that keep tenants apart. A tenant's own row is found by its id."""
BOUND_NAME = re.compile(r"(?!DEFAULT)(_?MAX_\w+|\w*_(SECONDS|BYTES|LIMIT)|max_\w+)")
"""What bounds are called, constants and settings."""
_ROLE_NAME = re.compile(r"roles?")
_TENANT_NAME = re.compile(r"tenant|tenant_id")
_REFUSALS = re.compile(
    r"RoleForbidden|SectionForbidden|TenantForbidden|TenantRequired|Unauthenticated|HostForbidden|forbidden"
)
_EVERYBODY = 'frozenset({"viewer", "editor", "admin", "platform"})'
_ENDLESS = "10**12"


class Mutant(NamedTuple):
    """One guard, and the source without it."""

    id: str
    """Names it as long as the guard reads the same: the file, the function, what is taken away."""
    file: str
    """Relative to the source's root."""
    function: str
    kind: str
    line: int
    start: int
    """Where the guard begins in the file, in bytes."""
    end: int
    after: str
    """What stands there instead."""
    before: str

    def applied(self, source: bytes) -> bytes:
        """Return the source with the guard gone."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def mutants(root: Path) -> list[Mutant]:
    """Return every guard below a source's root, in the order of files and lines."""
    found: list[Mutant] = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if "/conformance/" not in name and "/migrations/" not in name:
            found += in_file(name, path.read_bytes())
    return found


def in_file(name: str, source: bytes) -> list[Mutant]:
    """Return the guards of one file."""
    tree = ast.parse(source)
    sites = set(_guards(tree, source))
    if name.startswith("portrait/storage/"):
        sites |= set(_conditions(source))
    functions = _functions(tree)
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    starts = _line_starts(source)
    for start, end, kind, after in sorted(sites):
        before = source[start:end].decode()
        line = sum(one <= start for one in starts)
        function = next((held for first, last, held in functions if first <= line <= last), "")
        seen[function, before, after] += 1
        text = f"{name}\0{function}\0{before}\0{after}\0{seen[function, before, after]}"
        id_ = blake2b(text.encode(), digest_size=6).hexdigest()
        found.append(Mutant(id_, name, function, kind, line, start, end, after, before))
    return found


Site = tuple[int, int, str, str]


def _conditions(source: bytes) -> Iterator[Site]:
    """Yield the conditions on the tenant in statements."""
    starts = _line_starts(source)
    lines = source.splitlines(keepends=True)
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type != tokenize.STRING:
            continue
        row, column = token.start
        begin = starts[row - 1] + len(lines[row - 1].decode()[:column].encode())
        for one in _SQL.finditer(token.string):
            if token.string[1:-1] == one[0]:
                continue  # it is looked for in statements, and stands in none
            start = begin + len(token.string[: one.start()].encode())
            yield start, start + len(one[0].encode()), TENANT, f"({one[0]} OR 1=1)"


def _guards(tree: ast.Module, source: bytes) -> Iterator[Site]:
    """Yield the guards in code."""
    starts = _line_starts(source)
    found = [one for node in ast.walk(tree) for one in _of_node(node)]
    spoken = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.JoinedStr) for part in ast.walk(node)
    }
    found += [(one, BOUND, _ENDLESS) for one in _passed(tree) if id(one) not in spoken]
    for part, kind, after in found:
        assert part.end_lineno is not None
        assert part.end_col_offset is not None
        start, end = starts[part.lineno - 1] + part.col_offset, starts[part.end_lineno - 1] + part.end_col_offset
        yield start, end, kind, after


def _of_node(node: ast.AST) -> list[tuple[ast.expr, str, str]]:
    """Return the guards that a node is: each with its kind and what stands there without it."""
    match node:
        case ast.Compare() if found := _of_compare(node):
            return [(node, *found)]
        case ast.If(test=test) if kind := _refusal(node):
            parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) else [test]
            return [(part, kind, "False") for part in parts]
        case ast.Call(func=func) if _name(func) == "require":
            return [(node, ROLE, "None")]
        case ast.keyword(arg="roles", value=value) if not isinstance(value, ast.Constant):
            return [(value, ROLE, _EVERYBODY)]
    return []


def _passed(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield constants that are bounds where they are passed to a call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for argument in [*node.args, *(one.value for one in node.keywords)]:
                for part in ast.walk(argument):
                    if _name(part).isupper() and BOUND_NAME.fullmatch(_name(part)):
                        assert isinstance(part, ast.expr)
                        yield part


def _of_compare(node: ast.Compare) -> tuple[str, str] | None:
    """Return the kind of guard that a comparison is, and what lets everything through; None: it is none."""
    sides = [node.left, *node.comparators]
    operator = node.ops[-1]
    if any(_is_bound(side) for side in sides) and isinstance(operator, ast.Gt | ast.GtE | ast.Lt | ast.LtE):
        above = isinstance(operator, ast.Gt | ast.GtE) == _is_bound(sides[-1])
        return BOUND, "False" if above else "True"
    for kind, names in ((ROLE, _ROLE_NAME), (TENANT, _TENANT_NAME)):
        # Two sets of roles compared with each other decide on no caller.
        equal = isinstance(operator, ast.Eq | ast.NotEq) and any(_name(side) == "roles" for side in sides)
        if not equal and any(names.fullmatch(_name(side)) for side in sides):
            if isinstance(operator, ast.NotIn | ast.NotEq):
                return kind, "False"
            if isinstance(operator, ast.Eq) or (kind == ROLE and isinstance(operator, ast.In)):
                return kind, "True"
    return None


def _is_bound(node: ast.expr) -> bool:
    return any(BOUND_NAME.fullmatch(_name(part)) for part in ast.walk(node))


def _refusal(node: ast.If) -> str | None:
    """Return the kind of guard that an `if` is, where it raises an error of access."""
    first = node.body[0]
    if isinstance(first, ast.Raise) and first.exc is not None:
        raised = first.exc.func if isinstance(first.exc, ast.Call) else first.exc
        if found := _REFUSALS.fullmatch(_name(raised)):
            return TENANT if "Tenant" in found[0] else ROLE
    return None


def _name(node: ast.AST) -> str:
    """Return the last name of a name or an attribute; empty where it is neither."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _functions(tree: ast.Module) -> list[tuple[int, int, str]]:
    """Return first line, last line and name of functions, the inner ones first."""
    found = []

    def walk(node: ast.AST, above: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = above
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{above}.{child.name}" if above else child.name
                assert child.end_lineno is not None
                found.append((child.lineno, child.end_lineno, name))
            walk(child, name)

    walk(tree, "")
    return sorted(found, key=lambda one: one[1] - one[0])


def _line_starts(source: bytes) -> list[int]:
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts
