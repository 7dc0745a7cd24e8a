"""A run: prepare, train, compare, choose. What is finished is kept, so that a run cut off goes on where it was."""

import os
import shutil
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from portrait.matching.choose import ChosenPair, Pair, choose
from portrait.matching.engine import SPILL, Engine, opened
from portrait.matching.extra import needed
from portrait.matching.model import comparisons
from portrait.matching.prepare import Prepared, Table, hash_of_files, prepare
from portrait.matching.train import Model, train
from portrait.model.errors import InputRefused, InvalidSetting

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
"""Of what is kept in a work directory; raised when an older one is of no use."""
DIGITS = 6
"""Probabilities are rounded to so many decimals: engines add up in different orders, and differ in the last bits."""
Stage = Literal["prepare", "train", "compare", "choose"]
Progress = Callable[[Stage, int, int], None]
"""Called with the stage, how much of it is done and how much there is: steps, or chunks of pairs."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to match. The defaults are what docs/explanation/matching.md measured."""

    link_at: float = 0.95
    """The least probability at which a pair is linked."""
    review_at: float = 0.5
    """From this probability on a pair waits for review."""
    id_column: str = "id"
    columns: dict[str, str] = {}
    """Standard names to columns, for columns that are not known by their names."""
    largest: int = 30
    """The most records that are linked to one person."""
    agreement: float = 0.5
    """The least average probability of the pairs across two clusters that a link joins."""
    one_to_one: bool = True
    """Of two tables: whether each record has one partner at most."""
    families_at: float = 1 / 3
    """Where given names differ in so large a share of equal surnames at equal addresses, such pairs wait for review."""
    block: int = 500
    """Records that share a key; where more do, the key tells nothing and is passed over."""
    chunk: int = 2_000_000
    """Pairs that are compared between two saves, about."""

    def __post_init__(self) -> None:
        """Raise InvalidSetting where thresholds are no probabilities, or review is above link."""
        if not 0 < self.review_at <= self.link_at <= 1:
            raise InvalidSetting("review_at must be above 0 and at most link_at, and link_at at most 1.")
        if self.largest < 2 or self.block < 2 or self.chunk < 1 or not 0 <= self.agreement <= 1:
            raise InvalidSetting("largest and block must be 2 at least, chunk 1, and agreement between 0 and 1.")


class MatchingOutcome(msgspec.Struct, frozen=True):
    """The result of a run."""

    candidates: list[ChosenPair]
    """In order of the ids, left of the first table where there are two."""
    records: int
    model: Model


class _Manifest(msgspec.Struct):
    """What a work directory holds, and for which input and settings."""

    version: int
    settings: str
    files: str | None = None
    prepared: Prepared | None = None
    chunks: int = 0


def match(
    table: Table,
    other: Table | None = None,
    *,
    work: Path,
    engine: Literal["duckdb", "spark"] = "duckdb",
    settings: Settings | None = None,
    session: Any = None,
    progress: Progress = lambda stage, done, total: None,  # noqa: ARG005  # the names document the arguments
) -> MatchingOutcome:
    """Find the records that are of one person: within one table, or between two.

    A run that was cut off goes on after the last finished stage (of comparing: chunk) when it is started with the same
    `work`, input and settings; with others it starts anew. One run at a time may use a work directory; what it leaves
    there holds personal data. `session` is a Spark session; without, Spark runs in processes on this machine.

    Raises InputRefused for a table that cannot be matched, InvalidSetting, and StartRefused where the extra is missing.
    """
    tables = (table,) if other is None else (table, other)
    settings = settings or Settings()
    if engine not in ("duckdb", "spark"):
        raise InvalidSetting("The engine must be duckdb or spark.")
    needed("splink")
    if engine == "spark" and session is None:
        needed("pyspark.sql", "match-spark")
    run = _Run(tables, work, engine, settings, progress)
    run.begin()
    try:
        with opened(engine, work, session) as opened_engine:
            run.measure(opened_engine)
            model = run.trained(opened_engine)
            parts = run.compared(opened_engine, model)
    finally:
        shutil.rmtree(work / SPILL, ignore_errors=True)
    candidates = run.chosen(parts)
    return MatchingOutcome(candidates, sum(run.prepared.counts), model)


class _Run:
    def __init__(
        self, tables: tuple[Table, ...], work: Path, engine: str, settings: Settings, progress: Progress
    ) -> None:
        self._tables, self._work, self._settings, self._progress = tables, work, settings, progress
        encoded = msgspec.json.encode([engine, len(tables), settings], order="sorted")
        self._manifest = _Manifest(VERSION, blake2b(encoded, digest_size=16).hexdigest())

    @property
    def prepared(self) -> Prepared:
        assert self._manifest.prepared is not None
        return self._manifest.prepared

    def begin(self) -> None:
        """Read the input, unless these files were read before; start anew where anything differs."""
        self._progress("prepare", 0, 1)
        try:
            self._work.mkdir(parents=True, exist_ok=True, mode=0o700)  # it will hold personal data
        except OSError as error:
            raise InvalidSetting("The work directory cannot be created. Name another directory.") from error
        files = hash_of_files(self._tables)
        kept = self._kept()
        if kept is None or files is None or kept.files != files:
            fresh = self._work / "reading"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            prepared = prepare(self._tables, fresh, self._settings.id_column, self._settings.columns)
            if kept is None or kept.prepared != prepared:
                self._start_anew(fresh)
                kept = None
            shutil.rmtree(fresh)
            if kept is None:
                kept = _Manifest(VERSION, self._manifest.settings, files, prepared)
                _write(self._work / "manifest.json", msgspec.json.encode(kept))
        self._manifest = kept
        self._progress("prepare", 1, 1)

    def measure(self, engine: Engine) -> None:
        """See that ids are unique, and into how many chunks the pairs go."""
        if not self._manifest.chunks:
            counted = engine.rows("select count(*) - count(distinct uid) as twice from records")["twice"][0].as_py()
            if counted:
                raise InputRefused(
                    f"Ids must be unique in a table: {counted} records share their id with another record."
                )
            few = f"select count(*) as n from keys group by key having count(*) between 2 and {self._settings.block}"
            pairs = engine.rows(f"select sum(n * (n - 1) / 2) as pairs from ({few}) f")["pairs"][0].as_py() or 0
            self._manifest.chunks = max(1, min(1000, -(-int(pairs) // self._settings.chunk)))
            _write(self._work / "manifest.json", msgspec.json.encode(self._manifest))

    def trained(self, engine: Engine) -> Model:
        """Learn the model, or take the one that is kept."""
        path = self._work / "model.json"
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=Model)
        model = train(
            engine, self.prepared.usable, self.prepared.counts, lambda done, of: self._progress("train", done, of)
        )
        _write(path, msgspec.json.format(msgspec.json.encode(model)))
        return model

    def compared(self, engine: Engine, model: Model) -> list[Path]:
        """Compare the pairs that share a key, chunk after chunk; each is a file of its own."""
        chunks = self._manifest.chunks
        parts = [self._work / f"pairs-{chunk:04}.parquet" for chunk in range(chunks)]
        left = [chunk for chunk, part in enumerate(parts) if not part.exists()]
        self._progress("compare", chunks - len(left), chunks)
        if left:
            few = f"select key from keys group by key having count(*) between 2 and {self._settings.block}"
            engine.keep("shared", f"select k.* from keys k join ({few}) f on k.key = f.key")
        given_name = next(
            (comparison for comparison in comparisons(model.usable) if comparison.name == "given_name"), None
        )
        kin = given_name.kin if given_name is not None and model.families > self._settings.families_at else ()
        condition = f"gamma_given_name in ({', '.join(map(str, kin))})" if kin else "1 = 0"
        for done, chunk in enumerate(left, chunks - len(left) + 1):
            engine.keep("pairs", self._pairs(chunk, chunks))
            columns = f"uid_l, uid_r, round(match_probability, {DIGITS}) as probability, {condition} as apart"
            # A little below: what is rounded up to the threshold is there on every engine.
            least = max(0.0, self._settings.review_at - 10.0**-DIGITS)
            predictions = engine.predict(model.settings(), "pairs", least, columns)
            engine.drop("pairs")
            _write_table(parts[chunk], predictions, self._settings.review_at)
            self._progress("compare", done, chunks)
        return parts

    def chosen(self, parts: list[Path]) -> list[ChosenPair]:
        """Choose which candidates link; they are kept as candidates.parquet too."""
        self._progress("choose", 0, 1)
        settings = self._settings
        candidates = choose(
            (Pair(*row.values()) for part in parts for row in needed("pyarrow.parquet").read_table(part).to_pylist()),
            link_at=settings.link_at,
            largest=settings.largest,
            agreement=settings.agreement,
            one_to_one=settings.one_to_one and len(self._tables) > 1,
        )
        # Which table a record is of stood before its id, so that no two ids were the same.
        plain = [msgspec.structs.replace(pair, left=pair.left[1:], right=pair.right[1:]) for pair in candidates]
        pa = needed("pyarrow")
        path = self._work / "candidates.parquet"
        fields = [("left", pa.string()), ("right", pa.string()), ("probability", pa.float64())]
        schema = pa.schema([*fields, ("links", pa.bool_()), ("reason", pa.string())])
        rows = [msgspec.structs.asdict(pair) for pair in plain]
        _replace(path, lambda to: needed("pyarrow.parquet").write_table(pa.Table.from_pylist(rows, schema=schema), to))
        self._progress("choose", 1, 1)
        return plain

    def _kept(self) -> _Manifest | None:
        """Return what a run with the same settings left, None where there is none."""
        try:
            kept = msgspec.json.decode((self._work / "manifest.json").read_bytes(), type=_Manifest)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        same = (kept.version, kept.settings) == (VERSION, self._manifest.settings)
        return kept if same and kept.prepared is not None else None

    def _start_anew(self, fresh: Path) -> None:
        """Take the new files; delete those of an earlier run, the manifest first, since it vouches for the others."""
        (self._work / "manifest.json").unlink(missing_ok=True)
        for old in (*self._work.glob("pairs-*.parquet"), self._work / "model.json", self._work / "candidates.parquet"):
            old.unlink(missing_ok=True)
        for name in ("records.parquet", "keys.parquet"):
            (fresh / name).replace(self._work / name)

    def _pairs(self, chunk: int, chunks: int) -> str:
        """Return the query for a chunk's pairs, in the form that Splink reads; a pair that shares two keys is one."""
        sides = " and l.side <> r.side" if len(self._tables) > 1 else ""
        return (
            "select distinct l.uid as join_key_l, r.uid as join_key_r, '0' as match_key from shared l"
            f" join shared r on l.key = r.key and l.uid < r.uid{sides} where l.part % {chunks} = {chunk}"
        )


def _write_table(path: Path, predictions: "pa.Table", least: float) -> None:
    """Write pairs in order, so that each engine writes the same."""
    rows = sorted(
        (row["uid_l"], row["uid_r"], float(row["probability"]), row["apart"]) for row in predictions.to_pylist()
    )
    pa = needed("pyarrow")
    columns = list(zip(*(row for row in rows if row[2] >= least), strict=True)) or [(), (), (), ()]
    types = (pa.string(), pa.string(), pa.float64(), pa.bool_())
    arrays = [pa.array(column, type=kind) for column, kind in zip(columns, types, strict=True)]
    table = pa.Table.from_arrays(arrays, names=["left", "right", "probability", "apart"])
    _replace(path, lambda to: needed("pyarrow.parquet").write_table(table, to))


def _write(path: Path, data: bytes) -> None:
    _replace(path, lambda to: to.write_bytes(data))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside, then rename: a file is there whole or not at all, whenever the run is cut off."""
    beside = path.with_name(path.name + ".new")
    write(beside)
    with beside.open("rb") as stream:
        os.fsync(stream.fileno())
    beside.replace(path)
