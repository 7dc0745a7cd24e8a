"""Sources in PostgreSQL, asked in transactions that only read."""

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from portrait.declared import failures
from portrait.declared.names import Asker, Question
from portrait.declared.secret import Secret, SecretMissing
from portrait.declared.sql import ReadStatement
from portrait.declared.values import Unshowable, records
from portrait.model.errors import SourceFailed

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Pool, Connection = asyncpg.Pool, asyncpg.Connection

MAX_CONNECTIONS = 4
"""The most connections of one source and event loop."""
IDLE_SECONDS = 60.0
"""How long a connection is kept that nobody uses."""
_TOLD = ("28", "3D", "42", "53", "57")
"""Classes of errors whose text is about the operator's own words: a login, a database, a query, a server's limits."""


class PostgresSource:
    """One source. Its function is `ask`, a coroutine; each event loop that it runs on has its own connections.

    Args:
        question: what is asked about.
        url: the database, without a password.
        password: where that is.
        statement: the query.
        rows: the most rows that it may have.
        timeout: how long it may take, in seconds.
    """

    def __init__(
        self, question: Question, url: str, password: Secret | None, statement: ReadStatement, rows: int, timeout: float
    ) -> None:
        self._question = question
        self._url = url
        self._password = password
        self._statement = statement
        self._rows = rows
        self._timeout = timeout
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}

    async def ask(self, asker: Asker) -> list[Any]:
        """Return the source's records of a customer.

        Raises:
            SourceFailed: the database cannot be reached, or the query gives what cannot be shown.
        """
        values = self._question.values(asker)
        if values is None:
            return []
        try:
            async with (await self._pool()).acquire() as connection, connection.transaction(readonly=True):
                rows = await self._fetch(connection, values)  # type: ignore[arg-type]  # the stubs know a proxy
        except SecretMissing as error:
            raise SourceFailed(failures.NOT_ASKED, str(error)) from None
        except asyncpg.QueryCanceledError:
            raise SourceFailed(failures.LATE, "the query did not end in time") from None
        except asyncpg.PostgresError as error:
            raise SourceFailed(failures.FAILED, f"the database refused: {_reason(error)}") from None
        except OSError as error:
            text = os.strerror(error.errno) if error.errno else type(error).__name__
            raise SourceFailed(failures.UNREACHABLE, f"the database cannot be reached: {text}") from None
        except (asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as error:
            raise SourceFailed(failures.FAILED, f"the driver refused ({type(error).__name__})") from None
        if len(rows) > self._rows:
            raise SourceFailed(failures.TOO_MANY, f"the query has more than {self._rows} rows")
        try:
            return records(list(rows[0].keys()) if rows else [], [tuple(row.values()) for row in rows])
        except Unshowable as error:
            raise SourceFailed(failures.UNUSABLE, str(error)) from None

    async def end(self) -> None:
        """Close the connections of the running loop."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            pool.terminate()
            await asyncio.sleep(0)  # their transports close in the loop's next round

    async def _fetch(self, connection: Connection, values: dict[str, str]) -> list[asyncpg.Record]:
        cursor = await connection.cursor(self._statement.text, *(values[name] for name in self._statement.names))
        return await cursor.fetch(self._rows + 1)

    async def _pool(self) -> Pool:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            # Given at the start of a session: what is SET later is undone when a connection goes back to the pool.
            own = {
                "application_name": "portrait",
                "default_transaction_read_only": "on",
                "standard_conforming_strings": "on",
                "statement_timeout": str(max(1, int(1000 * self._timeout))),
            }
            pool = asyncpg.create_pool(
                self._url,
                password=self._read_password if self._password else None,
                min_size=0,
                max_size=MAX_CONNECTIONS,
                max_inactive_connection_lifetime=IDLE_SECONDS,
                timeout=self._timeout,
                server_settings=own,
                init=_read_json,
            )
            self._pools[loop] = pool
            await pool
        return self._pools[loop]

    def _read_password(self) -> str:
        assert self._password is not None
        return self._password.read()


async def _read_json(connection: Connection) -> None:
    """Have JSON columns read as what they hold, not as text."""
    for kind in ("json", "jsonb"):
        with contextlib.suppress(asyncpg.InterfaceError):
            await connection.set_type_codec(
                kind, schema="pg_catalog", encoder=_written, decoder=msgspec.json.decode, format="text"
            )


def _written(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _reason(error: asyncpg.PostgresError) -> str:
    """Return why the database refused: its words only where these are about the operator's own, never a value."""
    state = error.sqlstate or ""
    return f"{error} ({state})" if state.startswith(_TOLD) else f"{type(error).__name__} ({state})"
