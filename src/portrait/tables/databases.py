"""Queries of databases: opening one by its URL."""

import re
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from portrait.model.errors import InputRefused
from portrait.model.urls import without_password
from portrait.tables import mysql, postgresql
from portrait.tables.batching import in_thread
from portrait.tables.queries import QueryTable
from portrait.tables.sources import CannotReadOn
from portrait.tables.table import BATCH, Table
from portrait.tables.values import of_bytes, text_of

BUSY_SECONDS = 10.0
"""So long a query of SQLite waits for somebody who writes."""
_FORMS = "sqlite:///file.db, postgresql://user:password@host/name or mysql://user:password@host/name"


@asynccontextmanager
async def open_query(url: str, sql: str) -> AsyncIterator[Table]:
    """Open the result of a query as a table. The query reads one moment's state, and can write nothing.

    The table can be read until the context is left.

    Args:
        url: `sqlite:///file.db`, `postgresql://…` or `mysql://…`.
        sql: one statement that gives rows.

    Raises:
        InputRefused: the URL names no database that can be read, or the database refuses the query.
    """
    scheme, separator, _ = url.partition("://")
    name = name_of(url)
    if scheme == "sqlite" and separator:
        query: Any = _sqlite(url, sql, name)
    elif scheme in {"postgresql", "postgres"} and separator:
        query = postgresql.open_query(url, sql, name)
    elif scheme in {"mysql", "mariadb"} and separator:
        query = mysql.open_query(url, sql, name)
    else:
        raise InputRefused(f"A database is named by its URL: {_FORMS}.")
    async with query as table:
        yield table


def name_of(url: str) -> str:
    """Return what a database is called: the end of its URL, without anything that may be a password."""
    shown = re.split(r"[?#]", without_password(url))[0].partition("://")[2]
    return shown.rstrip("/").rpartition("/")[2].rpartition("@")[2] or "the database"


@asynccontextmanager
async def _sqlite(url: str, sql: str, name: str) -> AsyncIterator[QueryTable]:
    connection = _connection(url, name)
    is_busy = True
    try:
        try:
            cursor = await in_thread(lambda: connection.execute(sql))
        except (sqlite3.Error, sqlite3.Warning) as error:
            is_busy = False
            raise InputRefused(f"{name} refuses the query: {error}.") from error
        is_busy = False

        async def fetch() -> Sequence[Sequence[Any]]:
            nonlocal is_busy
            is_busy = True
            try:
                rows = await in_thread(lambda: cursor.fetchmany(BATCH))
            except sqlite3.Error as error:
                is_busy = False
                raise CannotReadOn(f"SQLite reports {error.sqlite_errorname}. Check the file and the query.") from error
            is_busy = False
            return rows

        columns = [column[0] for column in cursor.description or ()]
        yield QueryTable(name, columns, [text_of] * len(columns), fetch)
    finally:
        if is_busy:
            connection.interrupt()  # a thread that nobody waits for any more has it still
        else:
            connection.close()


def _connection(url: str, name: str) -> sqlite3.Connection:
    path = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or not path.is_file():
        raise InputRefused(f"{name} is no file. Name one: sqlite:///relative.db or sqlite:////absolute.db.")
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    # Each text by itself: where one is not UTF-8, the library gives up the row, and all behind it.
    connection.text_factory = of_bytes
    return connection
