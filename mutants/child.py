"""One run of pytest, in a process that has loaded already what takes long: all but Portrait and its tests."""

import asyncio
import os
import sys

import alembic.command
import apsw
import asyncpg
import click
import email_validator
import httpx
import hypothesis
import msgspec
import phonenumbers
import pytest
import rich.console
import sqlalchemy.dialects.postgresql
import starlette.applications

LOADED = (
    alembic, apsw, click, email_validator, httpx, hypothesis, msgspec, phonenumbers, rich, sqlalchemy, starlette,
)  # fmt: skip
"""What is imported for the sake of those that import it later."""


def run(words: list[str], root: str, source: str, output: str) -> None:
    """Run pytest over a copy of the source; what it says goes into a file. Ends the process with its exit code."""
    os.setsid()  # so that what it starts can be ended with it
    with open(output, "wb") as file:  # noqa: PTH123  # a descriptor is wanted
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(root)
    os.environ |= {"PYTHONPATH": source, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False  # what is compiled once, tests among it, serves every run
    sys.path.insert(0, source)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # it is a stream of text
    # The same examples each time, and none that failed without another guard: what failed once fails again.
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None)
    hypothesis.settings.load_profile("mutants")
    code = pytest.main(words)
    sys.stdout.flush()
    os._exit(code)


def administer(url: str, *statements: str) -> None:
    """Run statements on a server."""

    async def work() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(work())
