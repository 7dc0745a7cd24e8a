"""Portrait as a subject, run as in production: keys, one worker, filled by its own command."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.population import SECTIONS, TENANT, customer_id, interaction, lines
from bench.process import Failure, environment
from bench.subject import Subject

SHOWN = 20
"""How many interactions a profile shows."""


class Portrait(Subject):
    """Portrait over one database."""

    def __init__(self, name: str, url: str, key: str = "") -> None:
        self.name = name
        self.url = url
        self.key = key

    def fill(self, directory: Path, customers: int) -> None:
        """Store the population's first customers, keeping the file that was loaded beside the database."""
        self.prepare()
        self.load(written(directory / "population.jsonl", lines(customers)))

    def prepare(self) -> None:
        """Make the tables, the tenant and an admin's key, in an empty database."""
        self.run("db", "upgrade")
        self.run("tenant", "create", TENANT)
        self.key = self.run("key", "create", "--tenant", TENANT, "--role", "admin").strip()

    def load(self, file: Path) -> float:
        """Load a file of records; return how long the command took, in seconds."""
        begun = time.perf_counter()
        self.run("load", str(file), "--tenant", TENANT)
        return time.perf_counter() - begun

    def run(self, *command: str) -> str:
        """Run a command of Portrait's, and return what it printed; what it says on the way is shown.

        Raises:
            Failure: it refused.
        """
        done = subprocess.run(  # noqa: S603  # Portrait itself
            [*_PROGRAM, *command, "--database", self.url],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=None if "load" in command and sys.stderr.isatty() else subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            print(done.stderr or "", file=sys.stderr)
            raise Failure(f"portrait {command[0]} ended with {done.returncode}")
        return done.stdout

    def command(self, port: int, workers: int = 1) -> tuple[list[str], dict[str, str]]:
        """Return what serves the database."""
        serve = ["serve", "--auth", "keys", "--workers", str(workers), "--port", str(port), "--log-level", "warning"]
        return [*_PROGRAM, *serve], {"PORTRAIT_DATABASE": self.url}

    def request(self, place: int) -> bytes:
        """Return the request for a full profile."""
        return self.get(place)

    def get(self, place: int, query: str = "", headers: Mapping[str, str] | None = None) -> bytes:
        """Return the request for a profile, with a query and further headers."""
        path = f"/api/v1/customers/{customer_id(place)}/unified-profile{query}"
        return _request("GET", path, {**self._credential(), **(headers or {})})

    def post(self, path: str, body: bytes, kind: str = "application/json") -> bytes:
        """Return the request that posts a body."""
        return _request("POST", path, {**self._credential(), "Content-Type": kind}, body)

    def append(self, place: int, record: object) -> bytes:
        """Return the request that records one interaction of a customer."""
        body = json.dumps(record, separators=(",", ":")).encode()
        return self.post(f"/api/v1/customers/{customer_id(place)}/interactions", body)

    def act(self, action: str, target: int, source: int) -> bytes:
        """Return the request that merges two customers, or parts them again."""
        asked = {"action": action, "targetId": customer_id(target), "sourceId": customer_id(source)}
        return self.post("/api/v1/identity", json.dumps(asked, separators=(",", ":")).encode())

    def check(self, place: int, body: bytes) -> None:
        """Make sure that all six sections are whole, and the interactions the newest."""
        sections = {one["name"]: one["data"] for one in json.loads(body)["sections"]}
        if tuple(sections) != SECTIONS:
            raise ValueError(f"sections are {', '.join(sections)}")
        held = {name: len(data) for name, data in sections.items()}
        if held != dict(zip(SECTIONS, (3, SHOWN, 3, 2, 2, 4), strict=True)):
            raise ValueError(f"sections hold {held}")
        newest = [interaction(place, number)["id"] for number in range(29, 29 - SHOWN, -1)]
        if [one["id"] for one in sections["interactions"]] != newest:
            raise ValueError("interactions are not the newest")

    def _credential(self) -> dict[str, str]:
        return {"X-Tenant-Id": TENANT, "Authorization": f"Bearer {self.key}"}


# An empty settings file: one that lies about must not change what is measured.
_PROGRAM = (sys.executable, "-m", "portrait", "--config", os.devnull)


def _request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    length = {"Content-Length": str(len(body))} if method == "POST" else {}
    every = {"Host": "127.0.0.1", **headers, **length}
    head = "".join(f"{name}: {value}\r\n" for name, value in every.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def written(file: Path, rows: Iterable[bytes]) -> Path:
    """Write lines to a file, unless it is there already, and return it."""
    if not file.exists():
        part = file.with_suffix(".part")
        with part.open("wb") as stream:
            stream.writelines(rows)
        part.rename(file)
    return file
