"""`portrait load` of a table through a mapping, beside JSON lines of the same records."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from bench.measure import Probe, Taken
from bench.ours import Portrait, written
from bench.population import customer_id
from bench.workshop import ENGINES, Workshop

UNIT = "facts/s"
EXPORTED = "2026-04-03T10:00:00Z"
COLUMNS = ("id", "email", "phone", "first", "last", "city", "country", "spent", "order", "ordered")
ATTRIBUTES = {
    "given_name": "first", "family_name": "last", "address_locality": "city", "address_country": "country",
    "total_spent": "spent",
}  # fmt: skip
MAPPING = f"""
source = "shop"
exported = "{EXPORTED}"

[values]
date = "dmy"
zone = "UTC"

[customer]
id = "id"

[identifiers]
email = "email"
phone = "phone"

[attributes]
given_name = "first"
family_name = "last"
address_locality = "city"
address_country = "country"
total_spent = {{ column = "spent", type = "number" }}

[[records]]
section = "interactions"
[records.fields]
id = "order"
interactionType = {{ value = "purchase" }}
timestamp = "ordered"
value = {{ column = "spent", type = "number" }}
"""
EACH = 8
"""So many records a row makes."""


def probes(workshop: Workshop, stack: ExitStack) -> list[Probe]:
    """Return the probes of loading; every round has empty databases."""
    del stack
    count = workshop.options.bulk_records // EACH
    mapping = written(workshop.directory / "table.toml", [MAPPING.encode()])

    def load(engine: str, name: str, rows: Iterator[bytes], *words: str) -> Taken:
        file = written(workshop.directory / name, rows)
        portrait: Portrait = workshop.empty(engine, "table")
        return Taken(count * EACH / portrait.load(file, *words))

    def table(engine: str) -> Taken:
        return load(engine, f"table-{count}.csv", csv_rows(count), "--mapping", str(mapping.absolute()))

    def lines(engine: str) -> Taken:
        return load(engine, f"table-{count}.jsonl", json_lines(count))

    probes = []
    for engine in ("sqlite", "postgres"):
        name = ENGINES[engine]
        probes += [
            Probe(f"{engine}.load-table", f"portrait load of CSV on {name}", UNIT, partial(table, engine)),
            Probe(f"{engine}.load-lines", f"portrait load of the same records on {name}", UNIT, partial(lines, engine)),
        ]
    return probes


def csv_rows(count: int) -> Iterator[bytes]:
    """Yield a header and so many rows, each of another customer."""
    yield (",".join(COLUMNS) + "\n").encode()
    for index in range(count):
        yield (",".join(_texts(index).values()) + "\n").encode()


def json_lines(count: int) -> Iterator[bytes]:
    """Yield the records that these rows make, as the mapping makes them."""
    for index in range(count):
        for section, record in _records(_texts(index)):
            line: dict[str, Any] = {"customerId": customer_id(index), "section": section, "record": record}
            if section != "interactions":
                line["effectiveAt"] = EXPORTED
            yield json.dumps(line | {"source": "shop"}).encode() + b"\n"


def _texts(index: int) -> dict[str, str]:
    day = f"{1 + index % 28:02}"
    return {
        "id": customer_id(index), "email": f"customer{index}@example.com", "phone": f"+4420{index:08}",
        "first": f"First{index % 997}", "last": f"Last{index % 4993}", "city": f"City {index % 499}", "country": "NO",
        "spent": f"{index % 10_000}.50", "order": f"order-{index}", "ordered": f"{day}/02/2026 {index % 24:02}:30",
    }  # fmt: skip


def _records(texts: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for type_ in ("email", "phone"):
        yield "identities", {"type": type_, "value": texts[type_]}
    for name, column in ATTRIBUTES.items():
        yield "attributes", {"name": name, "value": float(texts[column]) if column == "spent" else texts[column]}
    day, rest = texts["ordered"][:2], texts["ordered"][11:]
    yield "interactions", {
        "id": texts["order"], "interactionType": "purchase", "timestamp": f"2026-02-{day}T{rest}:00Z",
        "value": float(texts["spent"]),
    }  # fmt: skip
