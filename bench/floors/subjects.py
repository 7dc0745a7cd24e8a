"""The floors as subjects: they answer Portrait's own requests, from the database that Portrait filled."""

import itertools
import json
import sys
from pathlib import Path

from bench.ours import Portrait
from bench.population import appended
from bench.process import ROOT
from bench.subject import Subject

_CHECKS = 5_000_000
"""Numbers from here on are those of the records that only make sure that a floor works."""


class Floor(Subject):
    """One of the smallest applications, in the server that Portrait runs in."""

    def __init__(self, name: str, module: str, portrait: Portrait, **settings: str) -> None:
        self.name = name
        self._module = module
        self._portrait = portrait
        self._settings = {f"BENCH_{key.upper()}": value for key, value in settings.items()}

    def fill(self, directory: Path, customers: int) -> None:
        """Do nothing: Portrait filled the database."""

    def command(self, port: int) -> tuple[list[str], dict[str, str]]:
        """Return what starts it: uvicorn as `portrait serve` sets it up."""
        options = (
            "--app-dir", str(ROOT), "--host", "127.0.0.1", "--port", str(port), "--backlog", "2048",
            "--loop", "uvloop", "--http", "httptools", "--lifespan", "on", "--log-level", "warning",
            "--no-access-log", "--no-server-header", "--no-proxy-headers",
        )  # fmt: skip
        return [sys.executable, "-m", "uvicorn", f"bench.floors.{self._module}:app", *options], self._settings

    def request(self, index: int) -> bytes:
        """Return Portrait's request."""
        return self._portrait.request(index)

    def check(self, index: int, body: bytes) -> None:
        """Make sure that the answer is as Portrait's; static bytes are those of the first customer."""
        self._portrait.check(0 if self._module == "static" else index, body)


class AppendFloor(Floor):
    """A floor that takes Portrait's single records, and answers nothing else."""

    _checked = itertools.count()

    def request(self, index: int) -> bytes:
        """Return the request that records one interaction."""
        return self.append(index, appended(index, _CHECKS + next(self._checked)))

    def append(self, index: int, record: object) -> bytes:
        """Return Portrait's request that records one interaction of a customer."""
        return self._portrait.append(index, record)

    def check(self, index: int, body: bytes) -> None:
        """Make sure that the record was taken."""
        del index
        if json.loads(body) != {"recorded": 1, "duplicates": 0}:
            raise ValueError("the record was not taken")
