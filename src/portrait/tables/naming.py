"""Names of columns: each once; and what to say where a table lacks one."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

MOST_LISTED = 40
"""So many columns are listed where one is lacking."""
DELIMITERS = (";", "\t", "|", ",")
_datum = re.compile(r"\S+@\S+\.\S+|[+-]?\d[\d.,:/ -]*")


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of which each is there once, without white space around them.

    Of a name that several columns have, each gets its number. A column without a name is called by its position.
    """
    bare = [name.strip() for name in names]
    counts = Counter(bare)
    taken = {name for name in bare if name and counts[name] == 1}
    result = []
    numbers: Counter[str] = Counter()
    for position, name in enumerate(bare, 1):
        unused = name
        if not name:
            unused = _free(f"column {position}", taken)
        elif counts[name] > 1:
            while unused == name or unused in taken:
                numbers[name] += 1
                unused = f"{name} ({numbers[name]})"
        taken.add(unused)
        result.append(unused)
    return tuple(result)


def _free(name: str, taken: set[str]) -> str:
    number = 2
    unused = name
    while unused in taken:
        unused = f"{name} ({number})"
        number += 1
    return unused


def lack(name: str, columns: Sequence[str]) -> str:
    """Say that a column is lacking, and which there are, as a sentence that begins with the table."""
    several = [column for column in columns if re.fullmatch(rf"{re.escape(name)} \(\d+\)", column)]
    if several:
        return f"has several columns `{name}`: ask for {_listed(several, 'or')}."
    if name.strip() != name and name.strip() in columns:
        return f"has no column `{name}`: ask for `{name.strip()}`."
    alike = [column for column in columns if column.casefold() == name.strip().casefold()]
    if alike:
        return f"has no column `{name}`: ask for {_listed(alike, 'or')}, in just these letters."
    rest = len(columns) - MOST_LISTED
    more = f", and {rest} more" if rest > 0 else ""
    return f"has no column `{name}`: it has {_listed(columns[:MOST_LISTED], 'and')}{more}."


def lack_of_text(name: str, header: Sequence[str], columns: Sequence[str], delimiter: str) -> str:
    """Say that a column is lacking in a text whose first line is its header.

    What the line itself shows to be wrong comes first. A line that looks like data is not repeated.
    """
    first = header[0].strip() if header else ""
    if first.casefold().startswith("sep="):
        given = first[4:5] or delimiter
        return f"begins with a line for Excel, not with its header: set skip = 1 and delimiter = {_quoted(given)}."
    if len(header) == 1:
        other = next((mark for mark in DELIMITERS if mark != delimiter and mark in first), None)
        if other is not None:
            return f"has its columns parted by another delimiter: set delimiter = {_quoted(other)}."
    if any(looks_like_datum(cell) for cell in header):
        return (
            f"has no column `{name}`, and its first line looks like data: write a line before it that names the"
            " columns, or set columns to their names in order."
        )
    return lack(name, columns)


def looks_like_datum(cell: str) -> bool:
    """Tell whether a cell holds an e-mail address or a number, which no column is called."""
    return _datum.fullmatch(cell.strip()) is not None


def picker(wanted: Sequence[str], columns: Sequence[str]) -> Callable[[Any], Sequence[Any]]:
    """Return what takes the wanted columns' values out of a sequence with all columns' values."""
    if tuple(wanted) == tuple(columns):
        return lambda values: values
    indexes = [columns.index(name) for name in wanted]
    if len(indexes) == 1:
        index = indexes[0]
        return lambda values: (values[index],)
    return itemgetter(*indexes) if indexes else lambda _values: ()


def _quoted(delimiter: str) -> str:
    return '"\\t"' if delimiter == "\t" else f'"{delimiter}"'


def _listed(names: Sequence[str], last: str) -> str:
    marked = [f"`{name}`" for name in names]
    return marked[0] if len(marked) == 1 else f"{', '.join(marked[:-1])} {last} {marked[-1]}" if marked else "none"
