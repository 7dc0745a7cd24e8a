"""Finds guards in the source: conditions on the tenant, checks of roles, bounds, decisions on identity."""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from mutants import identity
from mutants.syntax import functions, line_starts, name_of

TENANT, ROLE, BOUND, IDENTITY = "tenant condition", "role check", "bound", "decision on identity"
KINDS = (TENANT, ROLE, BOUND, IDENTITY)
_IDENTITY = ("portrait/identity/", "portrait/writes/")
"""Where it is decided who is one person."""

_PLACE = r"(?:\$\d+|\?\d*|\w+\.tenant)"
_SQL = re.compile(rf"(?:\b\w+\.)?\btenant (?:=|IS NOT DISTINCT FROM|IS) {_PLACE}|(?<=WHERE )id = (?:\$\d+|\?)")
"""Conditions of statements that keep tenants apart. A tenant's own row is found by its id."""
BOUND_NAME = re.compile(r"(?!DEFAULT)(_?MAX_\w+|_?MOST(_\w+)?|_?most_\w+|\w*_(SECONDS|BYTES|LIMIT)|max_\w+)")
"""What bounds are called, constants and settings."""
_ROLE_NAME = re.compile(r"roles?")
_TENANT_NAME = re.compile(r"tenant|tenant_id")
_REFUSALS = re.compile(
    r"RoleForbidden|SectionForbidden|TenantForbidden|TenantRequired|Unauthenticated|HostForbidden|forbidden|[oO]verloaded"
)
"""Errors of access, and of asking for too much."""
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
    sites = {_site(part, kind, after, source) for part, kind, after in _guards(tree)}
    if name.startswith("portrait/storage/"):
        sites |= set(_conditions(source))
    if name.startswith(_IDENTITY):
        decisions = [guard for node in ast.walk(tree) for guard in identity.of_node(node)]
        known = {(start, end) for start, end, *_ in sites}
        sites |= {
            site
            for site in (_site(part, IDENTITY, after, source) for part, after in decisions)
            if site[:2] not in known
        }
    enclosing = functions(tree)
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    starts = line_starts(source)
    for start, end, kind, after in sorted(sites):
        before = source[start:end].decode()
        line = sum(one <= start for one in starts)
        function = next((held for first, last, held in enclosing if first <= line <= last), "")
        seen[function, before, after] += 1
        text = f"{name}\0{function}\0{before}\0{after}\0{seen[function, before, after]}"
        id_ = blake2b(text.encode(), digest_size=6).hexdigest()
        found.append(Mutant(id_, name, function, kind, line, start, end, after, before))
    return found


Site = tuple[int, int, str, str]


def _conditions(source: bytes) -> Iterator[Site]:
    """Yield the conditions on the tenant in statements."""
    starts = line_starts(source)
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


def _guards(tree: ast.Module) -> Iterator[tuple[ast.expr, str, str]]:
    """Yield the guards in code: each with its kind and what stands there without it."""
    for node in ast.walk(tree):
        yield from _of_node(node)
    spoken = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.JoinedStr) for part in ast.walk(node)
    }
    for part in _passed(tree):
        if id(part) not in spoken:
            yield part, BOUND, _ENDLESS


def _site(part: ast.expr, kind: str, after: str, source: bytes) -> Site:
    """Return where a guard stands in the source."""
    starts = line_starts(source)
    assert part.end_lineno is not None
    assert part.end_col_offset is not None
    start, end = starts[part.lineno - 1] + part.col_offset, starts[part.end_lineno - 1] + part.end_col_offset
    return start, end, kind, after


def _of_node(node: ast.AST) -> list[tuple[ast.expr, str, str]]:
    """Return the guards that a node is: each with its kind and what stands there without it."""
    match node:
        case ast.Compare() if found := _of_compare(node):
            return [(node, *found)]
        case ast.If(test=test) if kind := _refusal(node):
            parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) else [test]
            return [(part, kind, "False") for part in parts]
        case ast.Call(func=func) if name_of(func) == "require":
            return [(node, ROLE, "None")]
        case ast.keyword(arg="roles", value=value) if not isinstance(value, ast.Constant):
            return [(value, ROLE, _EVERYBODY)]
    return []


def _passed(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield constants that are bounds where they are passed to a call, or end a slice."""
    for node in ast.walk(tree):
        arguments: list[ast.expr] = []
        if isinstance(node, ast.Call):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.Slice) and node.upper is not None:
            arguments = [node.upper]
        for argument in arguments:
            for part in ast.walk(argument):
                if name_of(part).isupper() and BOUND_NAME.fullmatch(name_of(part)):
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
        equal = isinstance(operator, ast.Eq | ast.NotEq) and any(name_of(side) == "roles" for side in sides)
        if not equal and any(names.fullmatch(name_of(side)) for side in sides):
            if isinstance(operator, ast.NotIn | ast.NotEq):
                return kind, "False"
            if isinstance(operator, ast.Eq) or (kind == ROLE and isinstance(operator, ast.In)):
                return kind, "True"
    return None


def _is_bound(node: ast.expr) -> bool:
    """Tell whether a bound is in an expression: something that is called so, or one of some limits."""
    return any(
        BOUND_NAME.fullmatch(name_of(part))
        or (isinstance(part, ast.Attribute) and name_of(part.value) in {"limits", "_limits"})
        for part in ast.walk(node)
    )


def _refusal(node: ast.If) -> str | None:
    """Return the kind of guard that an `if` is, where it raises an error of access, or of too much."""
    first = node.body[0]
    if isinstance(first, ast.Raise) and first.exc is not None:
        raised = first.exc.func if isinstance(first.exc, ast.Call) else first.exc
        if found := _REFUSALS.fullmatch(name_of(raised)):
            return BOUND if "verloaded" in found[0] else TENANT if "Tenant" in found[0] else ROLE
    return None
