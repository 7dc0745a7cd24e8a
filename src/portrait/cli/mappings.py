"""Mappings on the command line: which one is meant, and what one would do."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

from portrait.cli.printing import say, say_lines
from portrait.identity.rules import DEFAULT
from portrait.ingest.blocks import RowBlock
from portrait.ingest.mapped import MappedTable
from portrait.ingest.readers import Parsing, Read, Recipe
from portrait.mapping.catalogue import READY, ready
from portrait.mapping.language import Mapping
from portrait.mapping.proposal import propose
from portrait.model.errors import InputRefused, InvalidMapping
from portrait.sections.registry import Registry, load
from portrait.storage.contract import TenantRow
from portrait.tables.databases import open_query
from portrait.tables.guess import guess
from portrait.tables.json_rows import JsonTable
from portrait.tables.opening import open_tables
from portrait.tables.table import Layout, Row, Table
from portrait.writes.incoming import Incoming
from portrait.writes.recording import Refusal

LOOKED_AT = 1000
"""So many rows are looked at."""
SHOWN = 3
"""The records of about so many rows are shown."""
_NOBODY = TenantRow("", "", 0, bytes(32))
"""A tenant with the default rules: what is looked at is kept nowhere."""


def chosen(named: str) -> Mapping:
    """Return the mapping that is meant: that of a file, or a ready one of this name.

    Raises:
        InvalidMapping: there is neither, or it says what no mapping can.
    """
    path = Path(named)
    if not path.is_file():
        if named in READY:
            return Mapping.read(ready(named))
        raise InvalidMapping(f"There is no file {named}, and no ready mapping of this name: {', '.join(READY)}.")
    try:
        return Mapping.read(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidMapping(f"The mapping {named} cannot be read: it must be a text in UTF-8.") from error


class Look(NamedTuple):
    """What a person wants to look at."""

    file: str
    sql: str | None
    mapping: Mapping | None
    exported: int | None
    plugins: tuple[str, ...]

    def show(self) -> None:
        """Print a mapping that may be right, where there is none yet; and what the mapping does to the first rows.

        Raises:
            InputRefused: the table cannot be read.
            InvalidMapping: the mapping does not fit.
        """
        asyncio.run(self._show())

    async def _show(self) -> None:
        registry = load(self.plugins)
        mapping = self.mapping
        if mapping is None:
            text = await self._proposed()
            say_lines(text.rstrip("\n"))
            try:
                mapping = Mapping.read(text)
            except InvalidMapping as error:
                say(f"It is to be finished first: {error.detail}", err=True)
                return
        try:
            await self._tried(mapping, registry)
        except InvalidMapping as error:
            if self.mapping is not None:
                raise
            say(f"It is to be finished first. {error.detail}", err=True)

    async def _proposed(self) -> str:
        """Return the text of a mapping that may be right."""
        layout, doubts = Layout(), tuple[str, ...]()
        if self.sql is None:
            guessed = guess(self._path)
            layout, doubts = guessed.layout, guessed.doubts
        columns = None
        async with self._tables(layout) as tables:
            table = tables[0]
            columns = table.names(LOOKED_AT) if isinstance(table, JsonTable) else table.columns
        assert columns is not None
        async with self._tables(layout) as tables:
            rows = await _first(tables[0], columns)
            name = tables[0].name
        return propose(Path(name).stem, layout, columns, rows, doubts).text

    async def _tried(self, mapping: Mapping, registry: Registry) -> None:
        """Say what becomes of the first rows of each table."""
        async with self._tables(mapping.file) as tables:
            for table in tables:
                mapped = MappedTable(mapping, table.columns, table.name, self.exported, tuple(DEFAULT.all_types))
                plan = mapped.plan(registry)
                rows = await _first(table, plan.wanted)
                parsing = Parsing(Recipe(_NOBODY, mapping.source, mapped=mapped), registry)
                block = RowBlock(0, 0, plan.width, plan.wanted, rows)
                say(f"# What the first {len(rows):,} rows of {table.name} make:", err=True)
                _say_results(list(parsing.block(block)), block)

    @contextlib.asynccontextmanager
    async def _tables(self, layout: Layout) -> AsyncIterator[Sequence[Table]]:
        if self.sql is not None:
            async with open_query(self.file, self.sql) as table:
                yield [table]
        else:
            with open_tables(self._path, layout) as tables:
                yield tables

    @property
    def _path(self) -> Path:
        if self.file == "-":
            raise InputRefused("A pipe can be read once only: save what it gives, and look at the file.")
        return Path(self.file)


async def _first(table: Table, columns: Sequence[str]) -> list[Row]:
    """Return the first rows of a table."""
    rows: list[Row] = []
    async with contextlib.aclosing(table.batches(columns)) as batches:  # type: ignore[type-var] # a generator in each
        async for batch in batches:
            rows += batch
            if len(rows) >= LOOKED_AT:
                break
    return rows[:LOOKED_AT]


def _say_results(results: Sequence[tuple[bytes, Read]], block: RowBlock) -> None:
    """Print the records of the first rows, how many there are by section, and why others cannot be made."""
    made = Counter(read.section.name for _, read in results if isinstance(read, Incoming))
    refused = [read for _, read in results if isinstance(read, Refusal)]
    lines = [text.decode() for text, read in results if isinstance(read, Incoming)]
    for text in lines[: SHOWN * block.width]:
        say(text, err=True)
    counted = ", ".join(f"{count:,} {name}" for name, count in sorted(made.items())) or "none"
    say(f"# Records: {counted}; refused: {len(refused):,}", err=True)
    for detail, count in Counter(refusal.detail for refusal in refused).most_common():
        first = next(block.number(refusal.at) for refusal in refused if refusal.detail == detail)
        say(f"# {count:,} times, first in row {first:,}: {detail}", err=True)
    warned = Counter(warning.code for _, read in results if isinstance(read, Incoming) for warning in read.warnings)
    for code, count in warned.most_common():
        say(f"# {count:,} times the warning {code}", err=True)
