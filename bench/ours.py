"""Portrait as a subject, run as in production: keys, one worker, filled by its own command."""

import base64
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from bench.population import SECTIONS, TENANT, customer_id, interaction, lines
from bench.process import ROOT, output
from bench.subject import Subject

SHOWN = 20
"""How many interactions a profile shows."""
EVENTS_PER_SECOND = 100_000
"""So many events a write key takes: more than any server here."""


class Program(NamedTuple):
    """Portrait's own code, and the interpreter that runs it with the libraries that belong to it."""

    python: Path
    source: Path

    @property
    def command(self) -> tuple[str, ...]:
        """The command line. Its settings file is empty: a stray settings file must not change the measurements."""
        return str(self.python), "-m", "portrait", "--config", os.devnull

    @property
    def environment(self) -> dict[str, str]:
        """What its environment needs besides: its own code and no other is imported."""
        return {"PYTHONPATH": str(self.source)}


WORKING_TREE = Program(Path(sys.executable), ROOT / "src")


class Portrait(Subject):
    """Portrait over one database."""

    def __init__(
        self, name: str, url: str, key: str = "", program: Program = WORKING_TREE, tenant: str = TENANT
    ) -> None:
        self.name = name
        self.url = url
        self.key = key
        self.tenant = tenant
        self.program = program

    @classmethod
    def over(cls, other: "Portrait") -> Self:
        """Return one of this kind over another's database."""
        return cls(other.name, other.url, other.key, other.program)

    def fill(self, directory: Path, customers: int) -> None:
        """Store the population's first customers, keeping the file that was loaded beside the database."""
        self.prepare()
        self.load(written(directory / "population.jsonl", lines(customers)))

    def prepare(self) -> None:
        """Make the tables, the tenant and an admin's key, in an empty database."""
        self.run("db", "upgrade")
        self.run("tenant", "create", TENANT)
        self.key = self.run("key", "create", "--tenant", TENANT, "--role", "admin").strip()

    def make_write_key(self, source: str) -> str:
        """Make a key with which a server's client sends events as a source, as many as it can."""
        command = ("key", "create", "--tenant", self.tenant, "--source", source, "--private")
        return self.run(*command, "--events-per-second", str(EVENTS_PER_SECOND)).strip()

    def load(self, file: Path, *words: str) -> float:
        """Load a file, with further words of the command; return how long the command took, in seconds."""
        begun = time.perf_counter()
        self.run("load", str(file.absolute()), "--tenant", self.tenant, *words)
        return time.perf_counter() - begun

    def run(self, *command: str) -> str:
        """Run a command of Portrait's, and return its output; messages of a load go to a terminal.

        Raises:
            Failure: it refused.
        """
        whole = [*self.program.command, *command, "--database", self.url]
        visible = "load" in command and sys.stderr.isatty()
        return output(f"portrait {command[0]}", whole, self.program.environment, visible=visible)

    def command(self, port: int, workers: int = 1) -> tuple[list[str], dict[str, str]]:
        """Return what serves the database."""
        serve = ["serve", "--auth", "keys", "--workers", str(workers), "--port", str(port), "--log-level", "warning"]
        return [*self.program.command, *serve], {**self.program.environment, "PORTRAIT_DATABASE": self.url}

    def request(self, index: int) -> bytes:
        """Return the request for a full profile."""
        return self.get(index)

    def get(self, index: int, query: str = "", headers: Mapping[str, str] | None = None) -> bytes:
        """Return the request for a profile, with a query and further headers."""
        path = f"/api/v1/customers/{customer_id(index)}/unified-profile{query}"
        return _request("GET", path, {**self._credential(), **(headers or {})})

    def post(self, path: str, body: bytes, kind: str = "application/json") -> bytes:
        """Return the request that posts a body."""
        return _request("POST", path, {**self._credential(), "Content-Type": kind}, body)

    def send(self, write_key: str, body: bytes) -> bytes:
        """Return the request in which a client sends events."""
        credential = base64.b64encode(f"{write_key}:".encode()).decode()
        headers = {"Authorization": f"Basic {credential}", "Content-Type": "application/json"}
        return _request("POST", "/v1/batch", headers, body)

    def append(self, index: int, record: object) -> bytes:
        """Return the request that records one interaction of a customer."""
        body = json.dumps(record, separators=(",", ":")).encode()
        return self.post(f"/api/v1/customers/{customer_id(index)}/interactions", body)

    def act(self, action: str, target: int, source: int) -> bytes:
        """Return the request that merges two customers, or parts them again."""
        asked = {"action": action, "targetId": customer_id(target), "sourceId": customer_id(source)}
        return self.post("/api/v1/identity", json.dumps(asked, separators=(",", ":")).encode())

    def check(self, index: int, body: bytes) -> None:
        """Make sure that all six sections are whole, and the interactions the newest."""
        sections = {section["name"]: section["data"] for section in json.loads(body)["sections"]}
        if tuple(sections) != SECTIONS:
            raise ValueError(f"sections are {', '.join(sections)}")
        sizes = {name: len(data) for name, data in sections.items()}
        if sizes != dict(zip(SECTIONS, (3, SHOWN, 3, 2, 2, 4), strict=True)):
            raise ValueError(f"sections hold {sizes}")
        newest = [interaction(index, number)["id"] for number in range(29, 29 - SHOWN, -1)]
        if [record["id"] for record in sections["interactions"]] != newest:
            raise ValueError("interactions are not the newest")

    def _credential(self) -> dict[str, str]:
        return {"X-Tenant-Id": self.tenant, "Authorization": f"Bearer {self.key}"}


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
