"""SQL of declared sources: `:name` becomes a parameter of the driver's, wherever it is no part of a text or comment."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Engine = Literal["sqlite", "postgresql"]

_COMMON = r"""
    (?P<text>'(?:[^']|'')*') | (?P<quoted>"(?:[^"]|"")*") | (?P<line>--[^\n]*)
    | (?P<cast>::) | (?P<name>:(?P<bare>[A-Za-z_][A-Za-z0-9_]*)) | (?P<end>;) | (?P<space>\s+)
"""
_SQLITE = re.compile(
    rf"""{_COMMON} | (?P<backticks>`(?:[^`]|``)*`) | (?P<brackets>\[[^\]]*\]) | (?P<comment>/\*.*?\*/)
    | (?P<foreign>\?[0-9]*|[@$][A-Za-z_]\w*) | (?P<word>\w[\w$]*) | (?P<open>['"`\[]|/\*) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_POSTGRESQL = re.compile(
    rf"""(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*') | (?P<unicode>[uU]&(?:'(?:[^']|'')*'|"(?:[^"]|"")*"))
    | {_COMMON} | (?P<dollars>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$) | (?P<foreign>\$[0-9]+)
    | (?P<nested>/\*) | (?P<word>\w[\w$]*) | (?P<open>['"]|\$(?:[^\W\d]\w*)?\$) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_PARTS = re.compile(r"/\*|\*/")
_READS = frozenset({"select", "with", "values", "table"})
"""The words that a statement that reads begins with."""


class ReadStatement(NamedTuple):
    """One statement, ready for the driver."""

    text: str
    names: tuple[str, ...]
    """The names to bind, in the order of the parameters."""


def statement(sql: str, engine: Engine) -> ReadStatement:
    """Return the statement that a file has, with the driver's parameters in place of names.

    Values are bound as texts. PostgreSQL is told so, since it would expect the type of what they are compared with.

    Raises:
        ValueError: it is no single statement that reads; the text says what is wrong.
    """
    written: list[str] = []
    names: dict[str, int] = {}
    first = ""
    ended = False
    for kind, piece in _pieces(sql, engine):
        if kind == "space":
            written.append(piece)
        elif kind == "end":
            ended = True
        elif ended:
            raise ValueError("has more than one statement")
        elif kind == "name":
            number = names.setdefault(piece[1:], len(names) + 1)
            written.append(f"?{number}" if engine == "sqlite" else f"${number}::text")
        else:
            first = first or ("" if piece == "(" else piece.lower())
            written.append(piece)
    if first not in _READS:
        raise ValueError("must be a statement that reads: SELECT, WITH, VALUES or TABLE")
    return ReadStatement("".join(written).strip(), tuple(names))


def _pieces(sql: str, engine: Engine) -> Iterator[tuple[str, str]]:
    """Yield the pieces of a text with their kinds; comments are spaces.

    Raises:
        ValueError: a piece has no end, or is a parameter in the engine's own form.
    """
    pattern = _SQLITE if engine == "sqlite" else _POSTGRESQL
    position = 0
    while position < len(sql):
        match = pattern.match(sql, position)
        assert match is not None  # any character is a piece
        kind, piece = match.lastgroup or "", match[0]
        if kind == "open":
            raise ValueError(f"has {piece} without its end")
        if kind == "foreign":
            raise ValueError(f"has {piece}; write values as :name")
        position += len(_comment(sql, position) if kind == "nested" else piece)
        yield ("space", " ") if kind in {"nested", "comment", "line"} else (kind, piece)


def _comment(sql: str, start: int) -> str:
    """Return the comment that begins at a position: PostgreSQL's may hold others."""
    depth = 0
    for match in _PARTS.finditer(sql, start):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return sql[start : match.end()]
    raise ValueError("has /* without its end")
