"""Where a run works: its directory, its databases, and what fills them."""

import copy
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bench.databases import Postgres, copy_file, execute
from bench.measure import Skipped
from bench.ours import WORKING_TREE, Portrait, Program, written
from bench.population import heavy_lines, lines, long_lines, wide_lines

ENGINES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "citus": "Citus"}
CITUS = "PORTRAIT_BENCH_CITUS_URL"
"""The variable that names a Citus cluster's coordinator, with an empty database for the run."""
SHARDS = 8
"""Four to each core of the machine, all nodes of the cluster together."""
LONG_CUSTOMERS = 20
"""How many customers have a long history, after the population's; as many have wide documents."""
SEED = 20_260_330


class Options(msgspec.Struct, kw_only=True):
    """How much is measured."""

    customers: int
    rounds: int
    seconds: float
    warmup: float = 0.5
    connections: int = 32
    history: int = 10_000
    """How many interactions a customer with a long history has."""
    heavy: int = 256 * 1024
    """How many bytes the heavy customer's other sections hold."""
    bulk_records: int = 70_000
    bulk_customers: int = 23_570
    """As many as in the CDNOW file, which is often used to show customers' histories."""
    large_customers: int = 1_000_000
    identifiers: int = 1_000_000
    """How many identifiers are many."""


class Workshop:
    """A run's databases, each filled when it is first wanted, by the program that is measured."""

    def __init__(self, directory: Path, options: Options, tell: Callable[[str], None]) -> None:
        self.directory = directory / "run"
        """What an earlier run left there goes."""
        self.kept = directory / "kept"
        """Stays from run to run: what peers install."""
        self.tell = tell
        self.options = options
        self.program = WORKING_TREE
        self.subject = ""
        """Whose databases these are, where several are measured side by side."""
        self.postgres = Postgres(self.directory)
        self._filled: dict[tuple[str, str], Portrait] = {}
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.kept.mkdir(exist_ok=True)

    def beside(self, subject: str, program: Program) -> "Workshop":
        """Return a workshop of another program: the same directory and server, and databases of its own."""
        other = copy.copy(self)
        other.subject, other.program = subject, program
        other.tell = lambda text: self.tell(f"{subject}: {text}")
        return other

    def close(self) -> None:
        """Stop what was started."""
        self.postgres.stop()

    @property
    def long(self) -> list[int]:
        """The indexes of the customers with a long history."""
        return [self.options.customers + offset for offset in range(LONG_CUSTOMERS)]

    @property
    def heavy(self) -> int:
        """The index of the customer whose sections are large."""
        return self.options.customers + LONG_CUSTOMERS

    @property
    def wide(self) -> list[int]:
        """The indexes of the customers whose documents are four times as large as others'."""
        return [self.heavy + 1 + offset for offset in range(LONG_CUSTOMERS)]

    def indexes(self, customers: int | None = None) -> list[int]:
        """Return indexes of customers in random order, the same for every subject."""
        known = customers or self.options.customers
        return random.Random(SEED).sample(range(known), min(known, 20_000))  # noqa: S311  # for repeating, not for hiding

    def empty(self, engine: str, name: str) -> Portrait:
        """Return Portrait over a new database with a tenant and a key."""
        if engine == "sqlite":
            path = self._path(name)
            for end in ("", "-wal", "-shm"):
                Path(f"{path}{end}").unlink(missing_ok=True)
            url = f"sqlite:///{path}"
        elif engine == "postgres":
            url = self.postgres.database(self._database(name))
        else:
            url = self.citus()
        made = Portrait(f"Portrait on {ENGINES[engine]}", url, program=self.program)
        made.prepare()
        return made

    def filled(self, engine: str) -> Portrait:
        """Return Portrait over the population, the customers with long histories, the heavy and the wide ones."""
        if (self.subject, engine) not in self._filled:
            made = self.empty(engine, "population")
            made.load(written(self.directory / "population.jsonl", self._everybody()))
            if engine == "citus":
                made.run("db", "distribute", "--shards", str(SHARDS))
            if engine != "sqlite":
                execute(made.url, "VACUUM (ANALYZE)", "CHECKPOINT")
            self._filled[self.subject, engine] = made
        return self._filled[self.subject, engine]

    def _everybody(self) -> Iterator[bytes]:
        yield from lines(self.options.customers)
        for index in self.long:
            yield from long_lines(index, self.options.history)
        yield from heavy_lines(self.heavy, self.options.heavy)
        for index in self.wide:
            yield from wide_lines(index)

    def copy(self, engine: str, name: str) -> Portrait:
        """Return Portrait over a copy of the filled database, which nobody may have open; on Citus over itself."""
        source = self.filled(engine)
        if engine == "sqlite":
            url = f"sqlite:///{copy_file(self._path('population'), self._path(name))}"
        elif engine == "postgres":
            url = self.postgres.database(self._database(name), template=self._database("population"))
        else:
            url = source.url
        return Portrait(source.name, url, source.key, self.program)

    def citus(self) -> str:
        """Return the URL of the Citus cluster.

        Raises:
            Skipped: none is given.
        """
        url = os.environ.get(CITUS)
        if not url:
            raise Skipped(f"no Citus cluster is named by {CITUS}")
        return url

    def _database(self, name: str) -> str:
        return "_".join(filter(None, ("portrait", self.subject, name)))

    def _path(self, name: str) -> Path:
        return (self.directory / f"{self._database(name)}.db").absolute()
