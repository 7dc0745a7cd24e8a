"""Statements that put rows into one table, few or many."""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, Literal

FEW = 8
"""Up to so many rows go as VALUES, which Citus sends to one shard where all belong there; more rows go as arrays.

Of 500 rows arrays are faster everywhere, of one row they take Citus three times as long (ADR 0012).
"""


def columns(rows: Collection[Sequence[Any]], width: int) -> list[list[Any]]:
    """Return rows as one list a column: what `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


class Put:
    """What puts rows into a table; the first `key` values of a row are its primary key.

    Args:
        table: its name.
        key: its primary key's columns, by name with their types.
        rest: its other columns, the same.
        known: what becomes of a row whose key is there: it is replaced or kept, or there can be none.
    """

    def __init__(
        self, table: str, key: dict[str, str], rest: dict[str, str], known: Literal["replaced", "kept", "none"]
    ) -> None:
        self.names = (*key, *rest)
        self._into = f"INSERT INTO {table} ({', '.join(self.names)})"
        replaced = ", ".join(f"{name} = excluded.{name}" for name in rest)
        self._after = {
            "replaced": f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {replaced}",
            "kept": f" ON CONFLICT DO NOTHING RETURNING {', '.join(key)}",
            "none": "",
        }[known]
        self._kinds = (*key.values(), *rest.values())
        self.key = len(key)
        self.many = self.arrays(1)
        self._few = [self._values(count) for count in range(FEW + 1)]

    def arrays(self, first: int) -> str:
        """Return the statement that takes an array a column, as parameters from this number on."""
        arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(self._kinds, first))
        return f"{self._into} SELECT * FROM unnest({arrays}){self._after}"

    def _values(self, count: int) -> str:
        width = len(self.names)
        rows = (
            f"({', '.join(f'${index + 1}' for index in range(row * width, (row + 1) * width))})" for row in range(count)
        )
        return f"{self._into} VALUES {', '.join(rows)}{self._after}"

    def statement(self, rows: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
        """Return the statement that puts these rows, and its parameters."""
        if len(rows) > FEW:
            return self.many, columns(rows, len(self.names))
        return self._few[len(rows)], [value for row in rows for value in row]


_IDENTIFIER = {"tenant": "text", "type": "text", "value": "text"}
_DOCUMENT = {"tenant": "text", "customer_id": "text", "section": "text"}
_CONTENT = {"body": "bytea", "hash": "bytea", "valid_until": "bigint", "version": "int"}

FACTS = Put(
    "facts",
    {**_IDENTIFIER, "section": "text", "effective_at": "bigint", "id": "bytea"},
    {"key": "text", "op": "text", "body": "bytea", "recorded_at": "bigint", "source": "text", "version": "int"},
    "none",
)
STATES = Put("states", {**_IDENTIFIER, "section": "text"}, {"body": "bytea", "version": "int"}, "replaced")
DOCUMENTS = Put("documents", _DOCUMENT, _CONTENT, "replaced")
PLACEHOLDERS = Put("documents", _DOCUMENT, _CONTENT, "kept")
IDENTIFIERS = Put("identifiers", _IDENTIFIER, {"customer_id": "text"}, "replaced")
CLAIMS = Put("identifiers", _IDENTIFIER, {"customer_id": "text"}, "kept")


@cache
def together(puts: tuple[Put, ...]) -> str:
    """Return the one statement that puts rows into several tables; it takes the columns of all, in this order."""
    parts = []
    first = 1
    for put in puts:
        parts.append(put.arrays(first))
        first += len(put.names)
    before = ", ".join(f"put_{index} AS ({part})" for index, part in enumerate(parts[:-1]))
    return f"WITH {before} {parts[-1]}" if before else parts[-1]
