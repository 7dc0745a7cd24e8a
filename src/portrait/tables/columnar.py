"""Parquet and Arrow files, by pyarrow, a batch at a time."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from portrait.model.errors import InputRefused
from portrait.tables import naming
from portrait.tables.arrow_text import texts
from portrait.tables.batching import FileTable
from portrait.tables.extras import needed
from portrait.tables.sources import Source
from portrait.tables.table import Row

_BATCH_ROWS = 10_000
_ARROW_FILE = b"ARROW1"


class ColumnarTable(FileTable):
    """A table of columns with types. A column within a structure is asked for by its path: `address.city`."""

    def __init__(self, source: Source, kind: str, stack: ExitStack) -> None:
        self._pa = needed("pyarrow", "parquet", "A file of columns")
        self.failures = (self._pa.ArrowException, OSError, ValueError, KeyError)
        self._read = 0
        self._total: int | None = None
        is_file = source.head().startswith(_ARROW_FILE)
        file = source.spooled(stack)
        try:
            if kind == "parquet":
                parquet = needed("pyarrow.parquet", "parquet", "A Parquet file").ParquetFile(file, pre_buffer=False)
                stack.callback(parquet.close)
                self._schema = parquet.schema_arrow
                self._total = parquet.metadata.num_rows
                self._reader: Any = parquet
            else:
                ipc = needed("pyarrow.ipc", "parquet", "An Arrow file")
                self._reader = ipc.open_file(file) if is_file else ipc.open_stream(file)
                self._schema = self._reader.schema
        except self.failures as error:
            raise InputRefused(f"{source.name} is no {kind} file, or is damaged. Fetch it again.") from error
        self._kind = kind
        self._is_file = is_file
        names = naming.unique(self._schema.names)
        self._paths = _paths(self._pa, self._schema, names)
        super().__init__(source, tuple(self._paths))

    @property
    def progress(self) -> float | None:
        """See the contract."""
        if self._total is not None:
            return self._read / self._total if self._total else 1.0
        return self._source.progress()

    def _rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        paths = [self._paths[name] for name in wanted]
        number = 1
        for batch, indexes in self._record_batches(paths):
            count = batch.num_rows
            columns = [self._column(batch, index, path[1:]) for index, path in zip(indexes, paths, strict=True)]
            rows = zip(*columns, strict=True) if columns else ((),) * count
            for number, cells in enumerate(rows, number):  # noqa: B020 # it goes on where the last batch ended
                yield Row(number, cells)
            number += 1
            self._read += count

    def _record_batches(self, paths: Sequence[tuple[int, ...]]) -> Iterator[tuple[Any, list[int]]]:
        """Yield batches, each with where in it the columns are."""
        if self._kind != "parquet":
            indexes = [path[0] for path in paths]
            source = self._arrow_batches()
            for batch in source:
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    yield batch.slice(start, _BATCH_ROWS), indexes
            return
        names = {self._schema.names[path[0]] for path in paths}
        present = [index for index, name in enumerate(self._schema.names) if name in names]
        for batch in self._reader.iter_batches(batch_size=_BATCH_ROWS, columns=sorted(names)):
            # A name with a dot may choose a member of a structure as well: then the columns are not those expected.
            if batch.schema.names != [self._schema.names[index] for index in present]:
                break
            yield batch, [present.index(path[0]) for path in paths]
        else:
            return
        for batch in self._reader.iter_batches(batch_size=_BATCH_ROWS):
            yield batch, [path[0] for path in paths]

    def _arrow_batches(self) -> Iterator[Any]:
        if not self._is_file:
            yield from self._reader
            return
        for index in range(self._reader.num_record_batches):
            yield self._reader.get_batch(index)

    def _column(self, batch: Any, index: int, members: Sequence[int]) -> list[Any]:
        array = batch.column(index)
        for member in members:
            array = array.flatten()[member]
        return texts(self._pa, array)


def _paths(pa: Any, schema: Any, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return where each column is: its position, then those of members of structures. A name with dots comes first."""
    paths: dict[str, tuple[int, ...]] = {name: (index,) for index, name in enumerate(names)}
    ahead: list[tuple[str, tuple[int, ...], Any]] = [
        (name, (index,), schema.field(index).type) for index, name in enumerate(names)
    ]
    while ahead:
        name, path, kind = ahead.pop(0)
        if pa.types.is_struct(kind):
            for index in range(kind.num_fields):
                member = kind.field(index)
                paths.setdefault(f"{name}.{member.name}", (*path, index))
                ahead.append((f"{name}.{member.name}", (*path, index), member.type))
    return paths
