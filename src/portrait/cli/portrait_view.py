"""A portrait in the terminal."""

from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from portrait.cli.printing import plain

_GOOD = {"granted", "active", "completed"}
_BAD = {"revoked"}
_MAX_TEXT = 60


def show(profile: dict[str, Any], console: Console) -> None:
    """Print a unified profile: one block a section, the empty ones named at the end."""
    blocks: list[Any] = []
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
                *_tables(section["data"]),
            ]
        else:
            empty.append(section["name"])
    if empty:
        blocks += [Rule(style="dim"), _text(f"nothing in {', '.join(empty)}", "dim")]
    title = Text.assemble(_text(profile["customerId"], "bold"), " · ", _text(profile["tenantId"]))
    console.print(
        Panel(Group(*blocks), title=title, subtitle=profile["computedAt"], title_align="left", padding=(1, 2))
    )


def _tables(records: list[Any]) -> list[Table]:
    """Return one table for each kind of record: those of a kind have the same fields."""
    kinds: dict[str | None, list[dict[str, Any]]] = {}
    for one in records:
        record = one if isinstance(one, dict) else {"value": one}
        kind = record.get("kind")  # a plugin's may be of any type
        kinds.setdefault(None if kind is None else str(kind), []).append(record)
    return [_table(kind, same) for kind, same in kinds.items()]


def _table(kind: str | None, records: list[dict[str, Any]]) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        header_style="dim",
        padding=(0, 1, 0, 0),
        title=kind if kind is None else _text(kind, "italic"),
        title_justify="left",
    )
    names = dict.fromkeys(
        name for one in records for name, value in one.items() if value is not None and name != "kind"
    )
    for name in names:
        table.add_column(_text(name), overflow="fold")  # what is too wide goes on in the next line: nothing is cut off
    for one in records:
        table.add_row(*(_cell(one.get(name)) for name in names))
    return table


def _is_moment(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value[4:5] == value[7:8] == "-" and value.endswith("Z"))


def _cell(value: Any) -> Text:
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, dict):
        return Text("\n".join(_short(f"{name} {item}") for name, item in value.items()))
    text = _short(str(value))
    if _is_moment(value):
        return Text(f"{text[:10]} {text[11:16]}")
    style = "green" if text in _GOOD else "red" if text in _BAD else ""
    return Text(text, style=style)


def _text(value: object, style: str = "") -> Text:
    return Text(plain(str(value)), style=style)


def _short(text: str) -> str:
    """Return a text as it is shown: in one line, and its beginning where it is long."""
    text = plain(text)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
