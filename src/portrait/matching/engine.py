"""The engines that compare: DuckDB in this process, and Spark. Both read the files that `prepare` wrote.

Statements are in the SQL that both have in common.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from portrait.matching.extra import needed

if TYPE_CHECKING:
    import pyarrow as pa

SPILL = "spill"
"""The folder in the work directory for what engines put aside; it goes when they are closed."""
LOG_LEVEL = None
"""Splink's own progress is not shown: ours is."""


class Engine(Protocol):
    """What a run asks of an engine; `records` and `keys` are its tables."""

    def rows(self, sql: str) -> "pa.Table":
        """Return what a query finds."""

    def keep(self, name: str, sql: str) -> None:
        """Keep what a query finds as a table of this name."""

    def drop(self, name: str) -> None:
        """Let go of a table that was kept."""

    def predict(self, settings: dict[str, Any], pairs: str, threshold: float, columns: str) -> "pa.Table":
        """Return columns of Splink's predictions for a kept table of pairs, from that probability on."""


@contextlib.contextmanager
def opened(name: str, folder: Path, session: Any = None) -> Iterator[Engine]:
    """Open an engine on the files of a folder; `session` is a Spark session to use, else a local one is started."""
    log = logging.getLogger("splink")
    before = log.level
    log.setLevel(logging.ERROR)  # it warns of levels that it never saw; `train` has an answer to them
    try:
        if name == "duckdb":
            with contextlib.closing(local(folder)) as connection:
                yield DuckDB(connection, folder)
        else:
            with _spark(folder, session) as spark_session:
                yield Spark(spark_session, folder)
    finally:
        log.setLevel(before)


def local(folder: Path | None = None) -> Any:
    """Return a connection to a DuckDB in memory, which spills to the folder and never loads an extension."""
    needed("splink")
    config = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    if folder is not None:
        config["temp_directory"] = str(folder / SPILL)
    connection = needed("duckdb").connect(config=config)
    connection.execute("set enable_progress_bar = false")
    return connection


class _Splink:
    """One Splink linker for all chunks: it counts how rare values are once."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._linker: Any = None

    def rows(self, sql: str) -> "pa.Table":
        """Return what a query finds."""
        raise NotImplementedError

    def predict(self, settings: dict[str, Any], pairs: str, threshold: float, columns: str) -> "pa.Table":
        """Return columns of Splink's predictions for a kept table of pairs, from that probability on."""
        if self._linker is None:
            records = self._api.register("records", table_name="input_records")
            linker = needed("splink").Linker
            self._linker = linker(records, settings, log_level=LOG_LEVEL, validate_settings=False)
        self._linker.table_management.register_blocked_pairs_for_predict(self._api.register(pairs))
        predictions = self._linker.inference.predict(threshold_match_probability=threshold, warning_mode="never")
        rows = self.rows(f"select {columns} from {predictions.physical_name}")
        predictions.drop_table_from_database_and_remove_from_cache()
        return rows


class DuckDB(_Splink):
    """DuckDB, in memory; what does not fit it writes to its folder."""

    def __init__(self, connection: Any, folder: Path) -> None:
        for table in ("records", "keys"):
            connection.read_parquet(str(folder / f"{table}.parquet")).create_view(table)
        super().__init__(needed("splink").DuckDBAPI(connection=connection))
        self._connection = connection

    def rows(self, sql: str) -> "pa.Table":
        """Return what a query finds."""
        return self._connection.sql(sql).to_arrow_table()

    def keep(self, name: str, sql: str) -> None:
        """Keep what a query finds as a table of this name."""
        self._connection.execute(f"create or replace table {name} as {sql}")

    def drop(self, name: str) -> None:
        """Let go of a table that was kept."""
        self._connection.execute(f"drop table if exists {name}")


class Spark(_Splink):
    """A Spark cluster. The folder must be one that all its machines see."""

    def __init__(self, session: Any, folder: Path) -> None:
        for table in ("records", "keys"):
            session.read.parquet(str(folder / f"{table}.parquet")).createOrReplaceTempView(table)
        session.sparkContext.setCheckpointDir(str(folder / SPILL))
        # The functions of Splink's Java archive are not used: no cluster needs to have it.
        super().__init__(needed("splink").SparkAPI(spark_session=session, register_udfs_automatically=False))
        self._session = session
        self._kept: dict[str, Any] = {}

    def rows(self, sql: str) -> "pa.Table":
        """Return what a query finds."""
        return needed("pyarrow").Table.from_pylist([row.asDict() for row in self._session.sql(sql).collect()])

    def keep(self, name: str, sql: str) -> None:
        """Keep what a query finds as a table of this name."""
        frame = self._session.sql(sql).persist()
        frame.createOrReplaceTempView(name)
        self._kept[name] = frame

    def drop(self, name: str) -> None:
        """Let go of a table that was kept."""
        self._session.catalog.dropTempView(name)
        self._kept.pop(name).unpersist()


@contextlib.contextmanager
def _spark(folder: Path, session: Any) -> Iterator[Any]:
    if session is not None:
        yield session
        return
    builder = needed("pyspark.sql", "match-spark").SparkSession.builder
    cores = os.cpu_count() or 1
    spark_session = (
        builder.master(f"local[{cores}]")
        .appName("portrait")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", str(2 * cores))
        .config("spark.sql.warehouse.dir", str(folder / SPILL))
        .config("spark.ui.showConsoleProgress", "false")
        # The ladder of an address is more than one generated method may hold: without, Spark splits it by itself.
        .config("spark.sql.codegen.wholeStage", "false")
        .getOrCreate()
    )
    spark_session.sparkContext.setLogLevel("ERROR")
    try:
        yield spark_session
    finally:
        spark_session.stop()
