"""A service such as a team would write itself: FastAPI and SQLAlchemy's ORM over six tables.

Chosen, after trying what else a competent user would write:

- Six selects of mapped classes, put together once, with parameters, so that SQLAlchemy compiles each once and asyncpg
  prepares it once a connection. One index answers the newest 20 interactions in their order; the other sections are
  ranges of their primary keys, and are not sorted.
- Each statement commits itself: a transaction around reads that need none costs two more journeys to the server.
- A pool of 20 connections, opened as needed and kept. With 10, some of 16 or 32 clients waited for a second or more;
  40 were no faster.
- The rows become one Pydantic model in one pass, and FastAPI writes its JSON by the return type. Selecting columns
  rather than classes, or making the response by hand, was no faster here.
- uvicorn with uvloop and httptools, one worker, without access log. A key is checked by its hash, held in memory.
- Of what clients send, one transaction a request: the events inserted and the newest traits upserted, each as one
  statement with a list of rows, which asyncpg sends at once. One statement of many VALUES took in a third as many, for
  SQLAlchemy puts it together anew each time; arrays with unnest were no faster. Pydantic reads the bytes itself.
- Left out, which only helps it: other sections than all, errors as problem details, ETags, metrics.
"""

import base64
import json
from pathlib import Path

from bench.databases import execute
from bench.peers import environment, expected, tables
from bench.peers.requests import get, post_text
from bench.population import TENANT, customer_id
from bench.subject import Subject

KEY = "a-key-for-the-benchmark"
COLLECTED = """
CREATE TABLE events (
    tenant_id text NOT NULL, source text NOT NULL, message_id text NOT NULL, customer_id text NOT NULL,
    name text NOT NULL, timestamp timestamptz NOT NULL, properties jsonb NOT NULL,
    PRIMARY KEY (tenant_id, source, message_id));
CREATE INDEX ON events (tenant_id, customer_id, timestamp DESC);
CREATE TABLE traits (
    tenant_id text NOT NULL, customer_id text NOT NULL,
    name text NOT NULL, value jsonb NOT NULL, updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, customer_id, name));
"""
"""Where what clients send goes: events once each, of traits the newest."""


class Handwritten(Subject):
    """FastAPI, SQLAlchemy's asynchronous ORM over asyncpg, Pydantic, uvicorn."""

    name = "FastAPI + SQLAlchemy"

    def __init__(self, postgres: str) -> None:
        self.postgres = postgres

    def fill(self, directory: Path, customers: int) -> None:
        """Copy the customers into the six tables of a new database, and make those of what clients send."""
        self.python = environment.python(directory, "peers")
        self.url = tables.new_database(self.postgres, "bench_handwritten")
        tables.fill(self.url, customers)
        execute(self.url, COLLECTED)

    def command(self, port: int) -> tuple[list[str], dict[str, str]]:
        """Return uvicorn with one worker."""
        options = {
            "--app-dir": str(Path(__file__).parent),
            "--port": str(port),
            "--loop": "uvloop",
            "--http": "httptools",
            "--log-level": "warning",
        }
        words = [word for option in options.items() for word in option]
        url = self.url.replace("postgresql://", "postgresql+asyncpg://", 1)
        command = [str(self.python), "-m", "uvicorn", "service.app:app", "--no-access-log", *words]
        return command, {"DATABASE_URL": url}

    def request(self, index: int) -> bytes:
        """Return a call of the same path as Portrait's."""
        path = f"/api/v1/customers/{customer_id(index)}/unified-profile"
        return get(path, X_Tenant_Id=TENANT, X_API_Key=KEY)

    def collect(self, body: bytes) -> bytes:
        """Return the request in which a client sends events."""
        return post_text("/v1/batch", body, Authorization=f"Basic {base64.b64encode(f'{KEY}:'.encode()).decode()}")

    def check(self, index: int, body: bytes) -> None:
        """Compare the sections."""
        answer = json.loads(body)
        if (answer["customerId"], answer["tenantId"]) != (customer_id(index), TENANT):
            raise ValueError("another customer")
        expected.compare(index, expected.by_name(answer))
