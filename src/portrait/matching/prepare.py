"""The way in: records from an iterator or a file, cleaned, to two Parquet files: the records and their keys."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from portrait.matching.clean import clean, keys
from portrait.matching.extra import needed
from portrait.matching.model import COLUMNS, comparisons, named
from portrait.model.errors import InputRefused

if TYPE_CHECKING:
    import pyarrow as pa

Record = Mapping[str, object]
Table = Path | Iterable[Record]
"""Records as mappings from column to value, or a file of them: .csv, .parquet, .jsonl or .ndjson."""

SIDES = ("a", "b")
"""The first letter of ids in the tables: it says from which of the two tables a record is."""
MADE = ("postcode_bag", "email_user")
"""Columns that `clean` makes of others."""
CHUNK = 20_000
LOOK = 1_000
"""So many records are looked at for the names of their columns."""
FILLED = 0.02
"""A column says something when this share of the records has a value, and not all the same."""


class Prepared(msgspec.Struct, frozen=True):
    """What is known of the input once it is read."""

    input: str
    """A hash of all records, whatever their order."""
    counts: tuple[int, ...]
    """The number of records of each table."""
    usable: tuple[str, ...]
    """The standard names of the columns that say something."""


def hash_of_files(tables: Iterable[Table]) -> str | None:
    """Return a hash of the files' content; None where a table is no file: it must be read for that."""
    digest = blake2b(digest_size=16)
    for table in tables:
        if not isinstance(table, Path):
            return None
        _known(table)
        with table.open("rb") as stream:
            while part := stream.read(1 << 20):
                digest.update(part)
        digest.update(b"\0next\0")
    return digest.hexdigest()


def prepare(tables: tuple[Table, ...], folder: Path, id_column: str, chosen: Mapping[str, str]) -> Prepared:
    """Write the records of one or two tables as records.parquet and keys.parquet.

    Raises InputRefused for a table that cannot be read, has a record without id or two with the same, or has too few
    columns that say something.
    """
    writer = _Writer(folder)
    counts, seen, total = [], _Seen(), 0
    for side, table in zip(SIDES, tables, strict=False):
        before = writer.written
        rows = iter(_rows(table))
        first = list(islice(rows, LOOK))
        columns = named(dict.fromkeys(column for row in first for column in row), chosen)
        for index, row in enumerate(_chained(first, rows)):
            known = row.get(id_column)
            if known is None or known == "":
                raise InputRefused(f"Record {index}, counted from 0, has no value in the id column, {id_column}.")
            uid = f"{side}{known}"
            raw = {name: row.get(column) for name, column in columns.items()}
            total = (total + _digest(uid, raw)) % (1 << 128)
            cleaned = clean(raw)
            seen.add(cleaned)
            writer.add(uid, side, cleaned)
        counts.append(writer.written - before)
    writer.close()
    usable = seen.usable(writer.written)
    comparisons(usable)  # refuses too few
    return Prepared(f"{total:032x}", tuple(counts), usable)


class _Seen:
    """How often each column has a value, and whether there are two different ones."""

    def __init__(self) -> None:
        self._filled: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self._varied: set[str] = set()

    def add(self, record: Mapping[str, str | None]) -> None:
        for column, value in record.items():
            if value is not None:
                self._filled[column] += 1
                if self._first.setdefault(column, value) != value:
                    self._varied.add(column)

    def usable(self, records: int) -> tuple[str, ...]:
        return tuple(c for c in COLUMNS if c in self._varied and self._filled[c] >= FILLED * records)


class _Writer:
    """Two Parquet files, written in chunks."""

    def __init__(self, folder: Path) -> None:
        self._pa, self._parquet = needed("pyarrow"), needed("pyarrow.parquet")
        columns = ["uid", "side", *(c for c in COLUMNS if c != "name"), *MADE]
        self._records_schema = self._pa.schema([(column, self._pa.string()) for column in columns])
        self._keys_schema = self._pa.schema(
            [
                ("key", self._pa.int64()),
                ("uid", self._pa.string()),
                ("side", self._pa.string()),
                ("part", self._pa.int32()),
            ]
        )
        self._records = self._parquet.ParquetWriter(folder / "records.parquet", self._records_schema)
        self._keys = self._parquet.ParquetWriter(folder / "keys.parquet", self._keys_schema)
        self._chunk: list[dict[str, str | None]] = []
        self._key_chunk: list[dict[str, Any]] = []
        self.written = 0

    def add(self, uid: str, side: str, record: dict[str, str | None]) -> None:
        self._chunk.append({"uid": uid, "side": side, **record})
        part = crc32(uid.encode(errors="surrogatepass")) & 0x7FFFFFFF  # by which pairs are dealt into chunks
        self._key_chunk += [{"key": key, "uid": uid, "side": side, "part": part} for key in keys(record)]
        self.written += 1
        if len(self._chunk) >= CHUNK:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._records.close()
        self._keys.close()

    def _flush(self) -> None:
        self._records.write_table(self._table(self._chunk, self._records_schema))
        self._keys.write_table(self._table(self._key_chunk, self._keys_schema))
        self._chunk, self._key_chunk = [], []

    def _table(self, rows: list[dict[str, Any]], schema: "pa.Schema") -> "pa.Table":
        return self._pa.Table.from_pylist(rows, schema=schema)


def _digest(uid: str, raw: Record) -> int:
    text = repr([uid, *sorted((name, str(value)) for name, value in raw.items() if value is not None)])
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest(), "big")


def _chained(first: list[Record], rest: Iterator[Record]) -> Iterator[Record]:
    yield from first
    yield from rest


def _known(path: Path) -> None:
    if path.suffix.lower() not in _READERS:
        raise InputRefused(f"The file's ending must be one of: {', '.join(_READERS)}.")
    if not path.is_file():
        raise InputRefused("An input file does not exist, or is not a file.")


def _rows(table: Table) -> Iterable[Record]:
    if not isinstance(table, Path):
        return table
    _known(table)
    return _read(table)


def _read(path: Path) -> Iterator[Record]:
    try:
        yield from _READERS[path.suffix.lower()](path)
    except (OSError, UnicodeDecodeError, csv.Error, msgspec.DecodeError, needed("pyarrow").ArrowException) as error:
        raise InputRefused(f"The {path.suffix} file cannot be read: {type(error).__name__}.") from error


def _csv(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream):
            yield {column: value or None for column, value in row.items() if isinstance(value, str)}


def _json_lines(path: Path) -> Iterator[Record]:
    decoder = msgspec.json.Decoder(dict[str, str | int | float | bool | None])
    with path.open("rb") as stream:
        for line in stream:
            if line.strip():
                yield decoder.decode(line)


def _parquet(path: Path) -> Iterator[Record]:
    for batch in needed("pyarrow.parquet").ParquetFile(path).iter_batches(CHUNK):
        yield from batch.to_pylist()


_READERS = {".csv": _csv, ".parquet": _parquet, ".jsonl": _json_lines, ".ndjson": _json_lines}
