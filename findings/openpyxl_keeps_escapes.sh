#!/bin/sh
# openpyxl 3.1.5 hands the escapes of SpreadsheetML on: a text in which Excel stored a carriage return comes out with
# `_x000D_` in it, where python-calamine 0.9.1 gives the character (ECMA-376, part 1, 22.9.2.19: ST_Xstring). It writes
# texts with such a sequence in them as they are, so that a reader of the standard changes these. Addresses with lines,
# pasted into a sheet on Windows, are where customers' exports have it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check openpyxl==3.1.5 python-calamine==0.9.1
"$folder/venv/bin/python" - "$folder/book.xlsx" <<'PYTHON'
import sys

import openpyxl
import python_calamine

assert openpyxl.__version__ == "3.1.5"
book = openpyxl.Workbook()
book.active.append(["1 High Street_x000D_Oxford"])  # written as it is, which is how Excel stores the character
book.save(sys.argv[1])
by_openpyxl = openpyxl.load_workbook(sys.argv[1]).active["A1"].value
((by_calamine,),) = python_calamine.load_workbook(sys.argv[1]).get_sheet_by_index(0).to_python()
print([by_openpyxl, by_calamine])
assert by_openpyxl == "1 High Street_x000D_Oxford"
assert by_calamine == "1 High Street\rOxford"
print("as seen")
PYTHON
