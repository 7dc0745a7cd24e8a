"""Sources in SQLite files, opened for reading only."""

import time
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from portrait.declared import failures
from portrait.declared.names import Asker, Question
from portrait.declared.sql import ReadStatement
from portrait.declared.values import Unshowable, records
from portrait.model.errors import SourceFailed

STEPS = 1000
"""After so many steps of SQLite's machine a query looks at the time."""


class SqliteSource:
    """One source. Its function is `ask`, a plain one: each call opens the file, in a thread of its own.

    Args:
        question: what is asked about.
        path: the file.
        statement: the query.
        rows: the most rows that it may have.
        timeout: how long it may take, in seconds.
    """

    def __init__(self, question: Question, path: Path, statement: ReadStatement, rows: int, timeout: float) -> None:
        self._question = question
        self._path = path
        self._statement = statement
        self._rows = rows
        self._timeout = timeout

    def ask(self, asker: Asker) -> list[Any]:
        """Return the source's records of a customer.

        Raises:
            SourceFailed: the file cannot be read, or the query gives what cannot be shown.
        """
        values = self._question.values(asker)
        if values is None:
            return []
        until = time.monotonic() + self._timeout
        try:
            connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        except apsw.Error as error:
            text = f"the file cannot be opened ({type(error).__name__})"
            raise SourceFailed(failures.UNREACHABLE, text) from None
        try:
            return self._records(connection, values, until)
        except apsw.InterruptError:
            raise SourceFailed(failures.LATE, "the query did not end in time") from None
        except apsw.Error as error:
            raise SourceFailed(failures.FAILED, f"the query failed: {_reason(error)}") from None
        except Unshowable as error:
            raise SourceFailed(failures.UNUSABLE, str(error)) from None
        finally:
            connection.close()

    def _records(self, connection: apsw.Connection, values: dict[str, str], until: float) -> list[Any]:
        connection.set_busy_timeout(max(1, int(1000 * self._timeout)))
        # Whoever asked has left by then, and the thread is to end.
        connection.set_progress_handler(lambda: time.monotonic() > until, STEPS)
        cursor = connection.cursor()
        cursor.execute("PRAGMA query_only = on")
        result = cursor.execute(self._statement.text, [values[name] for name in self._statement.names])
        columns: list[str] = []
        rows = []
        for row in islice(result, self._rows + 1):
            columns = columns or [column[0] for column in cursor.get_description()]
            rows.append(row)
        if len(rows) > self._rows:
            raise SourceFailed(failures.TOO_MANY, f"the query has more than {self._rows} rows")
        return records(columns, rows)


def _reason(error: apsw.Error) -> str:
    """Return why a query failed: of its own words, such as a table that is not there, what SQLite says of them."""
    return str(error) if type(error) is apsw.SQLError else type(error).__name__
