"""Queries of PostgreSQL, by asyncpg: what it has no exact type for in Python is asked for as text."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

from portrait.model.errors import InputRefused
from portrait.model.urls import without_password
from portrait.tables.extras import needed
from portrait.tables.queries import Convert, QueryTable
from portrait.tables.sources import CannotReadOn
from portrait.tables.table import BATCH, Cell
from portrait.tables.values import EXACT, INFINITE, NO_DATE, of_datetime, of_float, text_of

CONNECT_SECONDS = 30.0
CLOSE_SECONDS = 2.0
EXACT_SHORT = 2**24
"""From here on whole floating numbers of 32 bit may have lost digits."""
_SQL = "42"
_READ_ONLY = "25006"
_SESSION = "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'iso_8601'"
_PLAIN = (
    "time",
    "timetz",
    "interval",
    "bit",
    "varbit",
    "point",
    "box",
    "path",
    "lseg",
    "line",
    "circle",
    "polygon",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "money",
    "xml",
    "tsvector",
    "tsquery",
    "pg_lsn",
)
"""Types whose text is what they are."""


@asynccontextmanager
async def open_query(url: str, sql: str, name: str) -> AsyncIterator[QueryTable]:
    """Open the result of a query, by a cursor in a transaction that only reads.

    Raises:
        InputRefused: the database cannot be reached, or refuses the query.
    """
    asyncpg = needed("asyncpg", "postgres", "PostgreSQL")
    connection = await _connected(asyncpg, url)
    try:
        for kind, decode in _decoders().items():
            await connection.set_type_codec(kind, schema="pg_catalog", encoder=str, decoder=decode, format="text")
        transaction = connection.transaction(isolation="repeatable_read", readonly=True)
        await transaction.start()
        try:
            await connection.execute(_SESSION)
            statement = await connection.prepare(sql)
            columns = [column.name for column in statement.get_attributes()]
            cursor = await statement.cursor() if columns else None
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise InputRefused(f"{name} refuses the query: {_why(error)}") from error

        async def fetch() -> Sequence[Sequence[Any]]:
            assert cursor is not None
            try:
                rows: Sequence[Sequence[Any]] = await cursor.fetch(BATCH)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
                # Just when a connection goes, the library may only notice that its own state is not what it was.
                is_lost = connection.is_closed() or isinstance(error, asyncpg.InternalClientError)
                raise CannotReadOn("the connection was lost. Load it again." if is_lost else _why(error)) from error
            return rows

        yield QueryTable(name, columns, [_convert(asyncpg)] * len(columns), fetch)
    finally:
        # What is still under way is of no use to anybody: the server rolls it back.
        try:
            await connection.close(timeout=CLOSE_SECONDS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            connection.terminate()


async def _connected(asyncpg: Any, url: str) -> Any:
    shown = without_password(url)
    try:
        return await asyncpg.connect(url, timeout=CONNECT_SECONDS, statement_cache_size=0)
    except asyncpg.PostgresError as error:
        raise InputRefused(f"{shown} refuses the connection: {str(error).rstrip('.')}.") from error
    except TimeoutError as error:
        raise InputRefused(f"{shown} does not answer within {CONNECT_SECONDS:g} seconds.") from error
    except OSError as error:
        raise InputRefused(f"{shown} cannot be reached: {error.strerror or 'nobody answers there'}.") from error
    except (asyncpg.InterfaceError, ValueError):
        # Its words may repeat a part of the URL, and with that of the password.
        raise InputRefused(f"{shown} is no URL of PostgreSQL: write %40 for @ and %2F for / in a password.") from None


def _why(error: Exception) -> str:
    """Say what the database reports, without what may be a value."""
    state = getattr(error, "sqlstate", None) or ""
    if state == _READ_ONLY:
        return "it would write. Write a query that begins with SELECT."
    if state.startswith(_SQL):
        return f"{str(error).splitlines()[0].rstrip('.')}."
    return f"PostgreSQL reports {type(error).__name__}{f' ({state})' if state else ''}. Check the query."


def _decoders() -> dict[str, Convert]:
    return dict.fromkeys(_PLAIN, str) | {
        "timestamp": _moment,
        "timestamptz": _moment,
        "date": _date,
        "float4": lambda text: of_float(float(text), EXACT_SHORT),
        "float8": lambda text: of_float(float(text), EXACT),
        "numeric": _numeric,
    }


def _moment(text: str) -> Cell:
    if text.endswith("infinity"):
        return INFINITE
    try:
        return of_datetime(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return NO_DATE


def _date(text: str) -> Cell:
    if text.endswith("infinity"):
        return INFINITE
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return NO_DATE


def _numeric(text: str) -> Cell:
    if text == "NaN":
        return ""
    return INFINITE if text.endswith("Infinity") else text


def _convert(asyncpg: Any) -> Convert:
    def convert(value: Any) -> Cell:
        if isinstance(value, asyncpg.Range):
            if value.isempty:
                return "empty"
            lower, upper = (text_of(bound) for bound in (value.lower, value.upper))
            return f"{'[' if value.lower_inc else '('}{lower},{upper}{']' if value.upper_inc else ')'}"
        return text_of(value)

    return convert
