"""What the tests of mappings share: plans of TOML texts, and what they make of rows."""

import json
from datetime import UTC, datetime

from portrait.ingest.records import Parser
from portrait.mapping.faults import NotMapped
from portrait.mapping.language import Mapping
from portrait.mapping.planning import plan_of
from portrait.sections import registry
from portrait.storage.contract import TenantRow
from portrait.tables.table import Row

REGISTRY = registry.load(installed=False)
TYPES = ("customer_id", "email", "phone", "device_id", "cookie_id", "anonymous_id", "loyalty_card")
EXPORTED = datetime(2026, 4, 3, 10, tzinfo=UTC)
AT = "2026-04-03T10:00:00Z"
HEAD = 'source = "shop"\ncustomer.id = "id"\n'
"""The beginning of a mapping whose rows name customers by the column `id`."""


def planned(text, columns=None, *, file="customers.csv", exported=EXPORTED, types=TYPES, sections=REGISTRY):
    """Return the plan of a mapping."""
    return plan_of(Mapping.read(text), sections, columns, file, exported, types)


def lines(text, cells, *, number=2, **options):
    """Return what a mapping makes of a row, given by its columns' names: lines as JSON values, and reasons."""
    plan = planned(text, tuple(cells), **options)
    made = plan.lines(Row(number, [cells[name] for name in plan.wanted]))
    assert len(made) <= plan.width
    return [each if isinstance(each, NotMapped) else json.loads(each) for each in made]


def records(text, cells, **options):
    """Return the records that a mapping makes of a row; nothing may be refused."""
    made = lines(text, cells, **options)
    assert not [each for each in made if isinstance(each, NotMapped)], made
    return [line["record"] for line in made]


def reasons(text, cells, **options):
    """Return why a mapping makes no records of a row."""
    return [each.detail for each in lines(text, cells, **options) if isinstance(each, NotMapped)]


def parsed(made):
    """Return what becomes of lines where they are recorded."""
    parser = Parser(TenantRow("my-tenant", "", 0, b"k" * 32), "load", is_export=True)
    return [parser.line(index, line, REGISTRY) for index, line in enumerate(made) if isinstance(line, bytes)]
