"""What syntax trees say of a source: names, and where functions and lines begin."""

import ast


def name_of(node: ast.AST) -> str:
    """Return the last name of a name or an attribute; empty where it is neither."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def functions(tree: ast.Module) -> list[tuple[int, int, str]]:
    """Return first line, last line and name of functions, the inner ones first."""
    names = []

    def walk(node: ast.AST, above: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = above
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{above}.{child.name}" if above else child.name
                assert child.end_lineno is not None
                names.append((child.lineno, child.end_lineno, name))
            walk(child, name)

    walk(tree, "")
    return sorted(names, key=lambda name: name[1] - name[0])


def line_starts(source: bytes) -> list[int]:
    """Return where each line of a source begins, in bytes; at last where it ends."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts
