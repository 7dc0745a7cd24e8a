#!/bin/sh
# pyarrow 26.0.1: ParquetFile.iter_batches and ParquetFile.read pass over a column that the file does not have; with no
# other column iter_batches gives batches without columns. parquet.read_table and feather.read_table of the same package
# raise. A loader that goes over a large file in batches makes a misspelt name a column that is empty for all customers.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check pyarrow==26.0.1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import pyarrow
import pyarrow.feather
import pyarrow.parquet

assert pyarrow.__version__ == "26.0.1"
table = pyarrow.table({"id": ["1", "2"], "email": ["a@example.org", "b@example.org"]})
parquet, feather = f"{sys.argv[1]}/a.parquet", f"{sys.argv[1]}/a.feather"
pyarrow.parquet.write_table(table, parquet)
pyarrow.feather.write_feather(table, feather)
(batch,) = pyarrow.parquet.ParquetFile(parquet).iter_batches(columns=["id", "e-mail"])
(bare,) = pyarrow.parquet.ParquetFile(parquet).iter_batches(columns=["e-mail"])
whole = pyarrow.parquet.ParquetFile(parquet).read(columns=["id", "e-mail"])
print(batch.schema.names, bare.num_columns, whole.column_names)
assert (batch.schema.names, bare.num_columns, whole.column_names) == (["id"], 0, ["id"])
for read, file in ((pyarrow.parquet.read_table, parquet), (pyarrow.feather.read_table, feather)):
    try:
        read(file, columns=["id", "e-mail"])
    except (pyarrow.ArrowException, KeyError, ValueError) as error:
        print(read.__module__, type(error).__name__)
    else:
        raise AssertionError("it passes over the column too")
print("as seen")
PYTHON
