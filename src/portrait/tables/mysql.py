"""Queries of MySQL and MariaDB, by pymysql: values come as the texts that the server writes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from portrait.model.errors import InputRefused
from portrait.model.urls import without_password
from portrait.tables.batching import in_thread
from portrait.tables.extras import needed
from portrait.tables.queries import Convert, QueryTable
from portrait.tables.sources import CannotReadOn
from portrait.tables.table import BATCH, Cell
from portrait.tables.values import of_bytes, of_float

CONNECT_SECONDS = 30.0
PORT = 3306
_LOST = frozenset({1053, 1927, 2006, 2013})
"""What is reported of a connection that is gone: the server stops, somebody ends it, or nothing comes any more."""
EXACT_SHORT = 10**6
"""The server writes floating numbers of 32 bit with six digits."""
# The session's default, too: a statement that makes a table ends the transaction first, and begins another one.
_SESSION = (
    "SET time_zone = '+00:00'",
    "SET SESSION TRANSACTION READ ONLY",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)


@asynccontextmanager
async def open_query(url: str, sql: str, name: str) -> AsyncIterator[QueryTable]:
    """Open the result of a query, a row at a time from the server, in a transaction that only reads.

    Raises:
        InputRefused: the database cannot be reached, or refuses the query.
    """
    pymysql = needed("pymysql", "mysql", "MySQL")
    cursors = needed("pymysql.cursors", "mysql", "MySQL")
    try:
        # The library's own limit ends when it is connected: a server that says nothing would be waited for for ever.
        connection = await asyncio.wait_for(in_thread(lambda: _connected(pymysql, url)), CONNECT_SECONDS)
    except TimeoutError as error:
        shown = without_password(url)
        raise InputRefused(f"{shown} does not answer within {CONNECT_SECONDS:g} seconds.") from error
    cursor = cursors.SSCursor(connection)
    is_busy = True
    try:
        try:
            await in_thread(lambda: _execute(cursor, (*_SESSION, sql)))
        except pymysql.MySQLError as error:
            is_busy = False
            raise InputRefused(f"{name} refuses the query: {_why(pymysql, error)}") from error
        is_busy = False

        async def fetch() -> Sequence[Sequence[Any]]:
            nonlocal is_busy
            is_busy = True
            try:
                rows: Sequence[Sequence[Any]] = await in_thread(lambda: cursor.fetchmany(BATCH))
            except pymysql.MySQLError as error:
                is_busy = False
                raise CannotReadOn(_why(pymysql, error)) from error
            is_busy = False
            return rows

        described = cursor.description or ()
        columns = [column[0] for column in described]
        yield QueryTable(name, columns, [_converter(pymysql, column[1]) for column in described], fetch)
    finally:
        if not is_busy:
            _abandon(connection, cursor)


def _connected(pymysql: Any, url: str) -> Any:
    shown = without_password(url)
    try:
        parts = urlsplit(url)
        options = {
            "host": parts.hostname or "localhost",
            "port": parts.port or PORT,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "database": unquote(parts.path.strip("/")) or None,
        }
    except ValueError:
        raise InputRefused(f"{shown} is no URL of MySQL: write %40 for @ and %2F for / in a password.") from None
    try:
        # With the converters of values alone left out, every value stays the text that the server wrote.
        return pymysql.connect(**options, charset="utf8mb4", conv=pymysql.converters.encoders)
    except (pymysql.MySQLError, OSError, RuntimeError) as error:
        why = str(error.args[1]) if isinstance(error, pymysql.MySQLError) and len(error.args) > 1 else "nobody answers"
        raise InputRefused(f"{shown} cannot be reached: {why.rstrip('.')}.") from error


def _execute(cursor: Any, statements: Sequence[str]) -> None:
    for statement in statements:
        cursor.execute(statement)


def _abandon(connection: Any, cursor: Any) -> None:
    """Close the connection: to close the cursor alone, as its end would, reads all the rows that are left."""
    result = connection._result  # noqa: SLF001 # there is no other way to say that nobody wants the rest
    if result is not None:
        result.unbuffered_active = False
    cursor.connection = None
    if connection.open:
        connection.close()


def _why(pymysql: Any, error: Any) -> str:
    """Say what the database reports, without what may be a value."""
    code = error.args[0] if error.args else 0
    if code in _LOST:
        return "the connection was lost. Load it again."
    if isinstance(error, pymysql.ProgrammingError) and len(error.args) > 1:
        return f"{str(error.args[1]).rstrip('.')}."
    return f"MySQL reports error {code}. Check the query."


def _converter(pymysql: Any, kind: int) -> Convert:
    types = pymysql.constants.FIELD_TYPE
    by_type: dict[int, Callable[[Any], Cell]] = {
        types.FLOAT: lambda text: of_float(float(text), EXACT_SHORT),
        types.DOUBLE: lambda text: of_float(float(text)),
        types.DATETIME: lambda text: _moment(text, ""),
        types.TIMESTAMP: lambda text: _moment(text, "Z"),
        types.BIT: lambda raw: str(int.from_bytes(raw)),
    }
    convert = by_type.get(kind, _text)
    return lambda value: "" if value is None else convert(value)


def _text(value: Any) -> Cell:
    return value if isinstance(value, str) else of_bytes(value)


def _moment(text: str, zone: str) -> Cell:
    """Return a moment in ISO 8601. A date of zeros, which stands for none, stays as it is."""
    try:
        return datetime.fromisoformat(text).isoformat() + zone
    except ValueError:
        return text
