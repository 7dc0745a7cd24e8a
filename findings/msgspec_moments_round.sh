#!/bin/sh
# msgspec 0.22.0 rounds a moment's seventh digit where Python's datetime drops it: one text, two moments, and near the end
# of a year two years. Python 3.11. A moment in the last half microsecond of the year 9999 is refused by msgspec alone.
# Seen: 2026-12-31T23:59:59.9999999Z is 2027-01-01 00:00:00 by msgspec.json.decode, 2026-12-31 23:59:59.999999 by
# datetime.fromisoformat.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check msgspec==0.22.0
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime

import msgspec

assert msgspec.__version__ == "0.22.0"


def both(text):
    return str(msgspec.json.decode(f'"{text}"'.encode(), type=datetime)), str(datetime.fromisoformat(text))


assert both("2026-01-01T00:00:00.1234565Z") == (
    "2026-01-01 00:00:00.123457+00:00",
    "2026-01-01 00:00:00.123456+00:00",
)
assert both("2026-12-31T23:59:59.9999999Z") == ("2027-01-01 00:00:00+00:00", "2026-12-31 23:59:59.999999+00:00")
try:
    msgspec.json.decode(b'"9999-12-31T23:59:59.9999999Z"', type=datetime)
except msgspec.ValidationError as error:
    print("the last moment of 9999:", error)
else:
    raise SystemExit("the last moment of 9999 is read")
assert datetime.fromisoformat("9999-12-31T23:59:59.9999999Z").year == 9999
print("as seen")
PYTHON
