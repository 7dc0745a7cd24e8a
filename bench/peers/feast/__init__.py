"""Feast's feature server, on its two online stores that are SQL databases.

Chosen, each for the most requests a second:

- One feature view with a feature for each section: Feast's guide to tuning the online server says that each further
  view is a further read of the store, and six views cost 1.3 to 1.6 times the processor time here.
- The features are listed in the request: naming a feature service cost twice the processor time here. Its precomputed
  vectors would help, but Feast 0.67 makes them on Redis only.
- A section's value is its records as JSON text, made when it is written: nothing is put together when it is read. Of
  the interactions only the newest 20 are stored.
- A Feast project is the tenant: a key of one part is read faster than one of two. No authorisation is configured.
- `feast serve` under gunicorn with one uvicorn worker, uvloop and httptools; without access log; the registry is read
  anew every minute, in the background. A worker is not replaced after 1,000 requests, as it is by default.
- PostgreSQL: a pool of 10 connections, opened before they are needed; 4, 40 or a single one were no faster. Feast reads
  this store in threads, as it does SQLite.
"""

import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bench.peers import environment, expected, tables
from bench.peers.requests import post
from bench.population import SECTIONS, TENANT, customer_id
from bench.subject import Subject

REPOSITORY = Path(__file__).parent / "repository"


class Feast(Subject):
    """What both online stores have in common."""

    def __init__(self, postgres: str) -> None:
        self.postgres = postgres

    @abstractmethod
    def online_store(self) -> Mapping[str, Any]:
        """Return the settings of an online store that is empty."""

    def fill(self, directory: Path, customers: int) -> None:
        """Register one feature view, and write the customers to the online store."""
        self.python = environment.python(directory, "feast")
        self.repository = (directory / type(self).__name__.lower()).absolute()
        self.repository.mkdir(parents=True, exist_ok=True)
        for old in self.repository.glob("*.db"):
            old.unlink()
        settings = {
            "project": TENANT,
            "provider": "local",
            "registry": {"path": "registry.db", "cache_ttl_seconds": 0},
            "online_store": self.online_store(),
            "entity_key_serialization_version": 3,
        }
        (self.repository / "feature_store.yaml").write_text(json.dumps(settings))  # JSON is YAML
        rows = "\n".join(json.dumps(_row(index)) for index in range(customers))
        environment.run([self.python, REPOSITORY / "fill.py", self.repository], text=rows)

    def command(self, port: int) -> tuple[list[str], dict[str, str]]:
        """Return Feast's own command: gunicorn with one worker, which is the process that answers."""
        feast = [str(self.python), str(self.python.with_name("feast")), "--chdir", str(self.repository)]
        options = {
            "--host": "127.0.0.1",
            "--port": str(port),
            "--workers": "1",
            "--worker-connections": "1000",
            "--max-requests": "0",
            "--max-requests-jitter": "0",
            "--registry_ttl_sec": "60",
        }
        return [*feast, "serve", "--no-access-log", *(word for option in options.items() for word in option)], {
            "HOME": str(self.repository)  # where gunicorn puts its control socket
        }

    def request(self, index: int) -> bytes:
        """Return a call of `/get-online-features` that lists the six features."""
        asked = {
            "features": [f"profile:{section}" for section in SECTIONS],
            "entities": {"customer_id": [customer_id(index)]},
        }
        return post("/get-online-features", asked)

    def check(self, index: int, body: bytes) -> None:
        """Compare the features' records."""
        answer = json.loads(body)
        values = [result["values"][0] for result in answer["results"]]
        features = dict(zip(answer["metadata"]["feature_names"], values, strict=True))
        if features.pop("customer_id") != customer_id(index):
            raise ValueError("another customer")
        expected.compare(index, {section: json.loads(text or "[]") for section, text in features.items()})


class FeastSqlite(Feast):
    """Feast with its SQLite online store."""

    name = "Feast (SQLite)"

    def online_store(self) -> Mapping[str, Any]:
        """Return a file in the repository."""
        return {"type": "sqlite", "path": "online.db"}


class FeastPostgres(Feast):
    """Feast with its PostgreSQL online store."""

    name = "Feast (PostgreSQL)"

    def fill(self, directory: Path, customers: int) -> None:
        """Do as for any store, and leave the table as vacuuming leaves it."""
        super().fill(directory, customers)
        tables.settle(self.url)

    def online_store(self) -> Mapping[str, Any]:
        """Return a database of its own."""
        self.url = tables.new_database(self.postgres, "bench_feast")
        url = urlsplit(self.url)
        host = parse_qs(url.query).get("host", [url.hostname or "127.0.0.1"])[0]
        return {
            "type": "postgres",
            "host": host,
            "port": url.port or 5432,
            "database": url.path[1:],
            "user": unquote(url.username or "postgres"),
            "password": unquote(url.password or ""),
            "sslmode": "prefer",
            "conn_type": "pool",
            "min_conn": 10,
            "max_conn": 10,
        }


def _row(index: int) -> dict[str, str]:
    """Return a customer as the feature view's columns."""
    features = {
        section: json.dumps(records, separators=(",", ":")) for section, records in expected.profile(index).items()
    }
    return {"customer_id": customer_id(index), **features}
