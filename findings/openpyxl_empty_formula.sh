#!/bin/sh
# openpyxl 3.1.5, read with data_only: a formula whose stored value is the empty text and one that was never worked out both
# have the value None. Only the type of the cell differs, and not as one would guess: `str` where the empty text is stored,
# `n` where nothing is. Whoever takes None for "empty" loses a column that a program wrote and no spreadsheet worked out.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check openpyxl==3.1.5
"$folder/venv/bin/python" - <<'PYTHON'
import io
import zipfile

import openpyxl

assert openpyxl.__version__ == "3.1.5"
book = openpyxl.Workbook()
book.active.append(["=A2&B2", '=""'])
written = io.BytesIO()
book.save(written)
stored = io.BytesIO()
with zipfile.ZipFile(written) as old, zipfile.ZipFile(stored, "w") as new:
    for name in old.namelist():
        part = old.read(name)
        if name == "xl/worksheets/sheet1.xml":
            # As Excel stores what the second formula gives.
            whole = part.replace(b'<c r="B1"><f>""</f><v /></c>', b'<c r="B1" t="str"><f>""</f><v></v></c>')
            assert whole != part, part
            part = whole
        new.writestr(name, part)
cells = openpyxl.load_workbook(stored, data_only=True).active[1]
seen = [(cell.value, cell.data_type) for cell in cells]
print(seen)
assert seen == [(None, "n"), (None, "str")]
print("as seen")
PYTHON
