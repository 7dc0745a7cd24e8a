"""The rows of a query, whatever the database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from portrait.model.errors import InputRefused
from portrait.tables import naming
from portrait.tables.batching import broken
from portrait.tables.sources import CannotReadOn
from portrait.tables.table import Cell, Row

Fetch = Callable[[], Awaitable[Sequence[Sequence[Any]]]]
"""What returns the next rows, all columns of each; none at the end. It may raise CannotReadOn."""
Convert = Callable[[Any], Cell]


class QueryTable:
    """The result of a query, some rows at a time."""

    progress: float | None = None

    def __init__(self, name: str, columns: Sequence[str], converters: Sequence[Convert], fetch: Fetch) -> None:
        """Take what a driver gives.

        Args:
            name: the name of the database.
            columns: the columns' names as the database gives them.
            converters: what makes texts of each column's values.
            fetch: what returns the next rows.

        Raises:
            InputRefused: there are no columns.
        """
        if not columns:
            raise InputRefused(f"The query of {name} gives no columns: write one that begins with SELECT.")
        self.name = name
        self._columns = naming.unique(columns)
        self._converters = converters
        self._fetch = fetch

    @property
    def columns(self) -> tuple[str, ...] | None:
        """See the contract."""
        return self._columns

    def check(self, wanted: Sequence[str]) -> None:
        """See the contract."""
        for name in wanted:
            if name not in self._columns:
                raise InputRefused(f"The query of {self.name} {naming.lack(name, self._columns)}")

    async def batches(self, wanted: Sequence[str]) -> AsyncIterator[list[Row]]:
        """See the contract."""
        self.check(wanted)
        chosen = [(self._columns.index(name), self._converters[self._columns.index(name)]) for name in wanted]
        number = 0
        while True:
            try:
                values = await self._fetch()
            except CannotReadOn as error:
                raise broken(self.name, number, str(error)) from error
            if not values:
                return
            first = number + 1
            number += len(values)
            yield [
                Row(position, [convert(row[index]) for index, convert in chosen])
                for position, row in enumerate(values, first)
            ]
