"""A portrait in the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from portrait.cli.printing import plain

_GOOD = {"granted", "active", "completed"}
_BAD = {"revoked"}
_MAX_TEXT = 60
_LEAST = 8
"""A column is at least as wide as this, or as its widest cell: nobody reads a column of one letter a line."""
_FRAME = 6
"""The columns of the terminal that the frame takes."""


def show(profile: dict[str, Any], console: Console) -> None:
    """Print a unified profile: one block for each section; the empty sections are named at the end.

    Nothing is left out for want of width: a table that is too wide is shown as lists of fields, and where a text was
    cut the end says so.
    """
    blocks: list[Any] = []
    view = _View(max(console.width - _FRAME, _FRAME))
    empty = []
    for section in profile["sections"]:
        if "error" in section:
            blocks += [
                Rule(_text(section["name"]), align="left", style="red"),
                _text(section["error"]["detail"], "red"),
            ]
        elif section["data"]:
            blocks += [
                Rule(_text(f"{section['name']} · {len(section['data'])}"), align="left"),
                *view.blocks(section["data"]),
            ]
        else:
            empty.append(section["name"])
    if empty:
        blocks += [Rule(style="dim"), _text(f"nothing in {', '.join(empty)}", "dim")]
    if view.has_cut:
        blocks.append(_text(f"… : texts are shown up to {_MAX_TEXT} characters; --json shows them whole", "dim"))
    title = Text.assemble(_text(profile["customerId"], "bold"), " · ", _text(profile["tenantId"]))
    console.print(
        Panel(Group(*blocks), title=title, subtitle=profile["computedAt"], title_align="left", padding=(1, 2))
    )


class _View:
    """Lays records out within a width.

    Args:
        width: in columns of the terminal.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self.has_cut = False
        """Whether a text was cut."""

    def blocks(self, records: list[Any]) -> list[Any]:
        """Return one block for each kind of record: records of one kind have the same fields."""
        kinds: dict[str | None, list[dict[str, Any]]] = {}
        for raw in records:
            record = raw if isinstance(raw, dict) else {"value": raw}
            kind = record.get("kind")  # a plugin's kind may be of any type
            kinds.setdefault(None if kind is None else str(kind), []).append(record)
        return [block for kind, same in kinds.items() for block in self._of_kind(kind, same)]

    def _of_kind(self, kind: str | None, records: list[dict[str, Any]]) -> list[Any]:
        names = list(
            dict.fromkeys(
                name for record in records for name, value in record.items() if value is not None and name != "kind"
            )
        )
        rows = [[self._cell(record.get(name)) for name in names] for record in records]
        head = [_text(name, "dim") for name in names]
        widths = _widths([max(map(_width, column)) for column in zip(head, *rows, strict=True)], head, self._width)
        title = [] if kind is None else [_text(kind, "italic")]
        if widths is not None:
            table = _grid(widths)
            for row in (head, *rows):
                table.add_row(*row)
            return [*title, table]
        widest = max(map(_width, head))
        lists = []
        for row in rows:
            grid = _grid([min(widest, self._width // 2), self._width - min(widest, self._width // 2) - 2])
            for name, cell in zip(head, row, strict=True):
                grid.add_row(name, cell)
            lists += [grid, Text()]
        return [*title, *lists[:-1]]

    def _cell(self, value: Any) -> Text:
        if value is None:
            return Text("-", style="dim")
        if isinstance(value, dict):
            return Text("\n".join(self._short(f"{name} {item}") for name, item in value.items()))
        text = self._short(str(value))
        if _is_moment(value):
            return Text(f"{text[:10]} {text[11:16]}")
        style = "green" if text in _GOOD else "red" if text in _BAD else ""
        return Text(text, style=style)

    def _short(self, text: str) -> str:
        """Return a text as it is shown: in one line, and its beginning where it is long."""
        text = plain(text)
        if len(text) <= _MAX_TEXT:
            return text
        self.has_cut = True
        return f"{text[:_MAX_TEXT]}…"


def _is_moment(value: Any) -> bool:
    return isinstance(value, str) and value[4:5] == value[7:8] == "-" and value.endswith("Z")


def _width(text: Text) -> int:
    return max(map(cell_len, text.plain.split("\n")))


def _widths(wanted: Sequence[int], head: Sequence[Text], most: int) -> list[int] | None:
    """Return how wide columns are to be, each of which has a blank behind it; None where not all of them fit.

    Args:
        wanted: how wide their widest cells are.
        head: their names, which stay whole.
        most: how wide they may be together.
    """
    widths = [max(_width(name), min(_LEAST, want)) for name, want in zip(head, wanted, strict=True)]
    spare = most - sum(widths) - len(widths)
    if spare < 0:
        return None
    while spare and (narrow := [at for at, want in enumerate(wanted) if widths[at] < want]):
        for at in narrow[:spare]:
            widths[at] += 1
        spare -= len(narrow[:spare])
    return widths


def _grid(widths: Sequence[int]) -> Table:
    """Return a table whose cells go on in the next line where they are too wide: nothing is cut off."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    for width in widths:
        table.add_column(width=width, overflow="fold")
    return table


def _text(value: object, style: str = "") -> Text:
    return Text(plain(str(value)), style=style)
