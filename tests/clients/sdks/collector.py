"""A Portrait server in a process of its own, which is restarted and held up, and what it has stored."""

import shutil
import signal
import socket
import sqlite3
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import sleep

import httpx

from harness import TENANT, portrait, server

PAGE = 100
"""How many interactions are read at once."""


@dataclass(frozen=True)
class Kept:
    """An event as it is stored: its number, its name, when it happened, and what was sent along."""

    n: int
    name: str
    moment: datetime
    properties: dict

    @property
    def millisecond(self):
        """The millisecond at which its client says that it happened: what is below that can be its place in a batch."""
        return self.moment.replace(microsecond=self.moment.microsecond // 1000 * 1000)


@dataclass(frozen=True)
class Prepared:
    """A database with a tenant, its write key for clients and an admin key to read with."""

    database: Path
    key: str
    admin: str


def prepared(directory):
    database = directory / "portrait.db"

    def did(*words):
        done = portrait(*words, database=database)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    did("tenant", "create", TENANT)
    key = did("key", "create", "--tenant", TENANT, "--source", "web")
    return Prepared(database, key, did("key", "create", "--tenant", TENANT, "--role", "admin"))


class Collector:
    """A server on a copy of a database."""

    def __init__(self, origin, directory):
        self.database = Path(shutil.copy(origin.database, directory))
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.key = origin.key
        headers = {"authorization": f"Bearer {origin.admin}"}
        self._reader = httpx.Client(base_url=f"{self.url}/api/v1", headers=headers)
        self._process = None
        self._serving = ExitStack()

    def start(self):
        words = ("--port", str(self._port), "--collect-url", self.url)
        _, self._process = self._serving.enter_context(server(self.database, *words))

    def stop(self):
        """End the server with SIGTERM."""
        self._serving.close()

    def close(self):
        self._reader.close()
        self.stop()

    def restart(self):
        self.stop()
        self.start()

    @contextmanager
    def held_up(self):
        """Let the server neither answer nor end for a while."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _read(self, path, **params):
        answer = self._reader.get(path, params=params)
        assert answer.status_code in {200, 404}, answer.text
        return answer.json() if answer.status_code == 200 else None

    def customer(self, user):
        """Return the id of the customer that a user's id leads to and its identifiers; None: there is none."""
        profile = self._read(f"/customers/{user}/unified-profile", sections="identities")
        if profile is None:
            return None
        [section] = profile["sections"]
        return profile["customerId"], {(link["type"], link["value"]) for link in section["data"]}

    def attributes(self, user):
        """Return what is known of a user by name."""
        [section] = self._read(f"/customers/{user}/unified-profile", sections="attributes")["sections"]
        return {one["name"]: one["value"] for one in section["data"]}

    def kept(self, user):
        """Return the tracked events and pages that are stored for a user, the earliest first."""
        rows, cursor = [], {}
        while (page := self._read(f"/customers/{user}/interactions", limit=PAGE, **cursor)) is not None:
            rows += page["data"]
            if not page["pagination"]["hasMore"]:
                break
            cursor = {"cursor": page["pagination"]["cursor"]}
        return [_kept(row["record"]) for row in reversed(rows)]

    def settled(self, user, count, seconds=30):
        """Return what is stored for a user, as soon as it is so much; what is there after a while, if it never is."""
        for _ in range(int(seconds * 10)):
            if len(self.kept(user)) >= count:
                break
            sleep(0.1)
        return self.kept(user)

    def refused(self):
        """Return the code, the detail and the text of each event that was refused."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute("SELECT code, detail, body FROM rejects ORDER BY received_at").fetchall()


def _kept(row):
    properties = row["properties"]
    return Kept(properties["n"], row["interactionType"], datetime.fromisoformat(row["timestamp"]), properties)
