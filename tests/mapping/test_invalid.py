"""What is wrong with a mapping is said before the first row, all of it at once."""

import tomllib
from pathlib import Path

import pytest

from mapping.plans import EXPORTED, HEAD, planned
from portrait.mapping.catalogue import ready
from portrait.mapping.language import Mapping
from portrait.model.errors import InvalidMapping, StartRefused

ATTRIBUTE = f"{HEAD}[attributes]\nname = "
CASES = tomllib.loads((Path(__file__).parent / "invalid.toml").read_text())
RECORD = f'{HEAD}[[records]]\nsection = "segments"\n'
SEGMENT = 'segmentId = "a"\nsegmentName = "a"\n'


def faults(text, columns=("id", "a", "b", "first name"), **options):
    with pytest.raises(InvalidMapping) as caught:
        planned(text, columns, **options)
    assert isinstance(caught.value, StartRefused)
    assert caught.value.code == "invalid_mapping"
    assert all(fault in caught.value.detail and fault[-1] in ".?" for fault in caught.value.faults)
    return caught.value.faults


@pytest.mark.parametrize("case", CASES["text"], ids=lambda case: case["fault"][:60])
def test_a_text_that_is_no_mapping(case):
    with pytest.raises(InvalidMapping) as caught:
        Mapping.read(case["mapping"])
    assert caught.value.faults == (case["fault"],)
    assert caught.value.detail == f"The mapping is wrong: {case['fault']}"


@pytest.mark.parametrize("case", CASES["table"], ids=lambda case: case["fault"][:60])
def test_a_mapping_that_does_not_fit(case):
    exported = None if case["mapping"].startswith("exported") else EXPORTED
    assert faults(case["mapping"], exported=exported) == (case["fault"],)


def test_all_faults_are_said_at_once():
    text = f'{HEAD}[identifiers]\nemial = "mail"\n[attributes]\nname = "nmae"\n'
    text += '[[records]]\nsection = "nowhere"\nfields = {}'
    assert len(faults(text)) == 4
    with pytest.raises(InvalidMapping) as caught:
        Mapping.read("colour = 1\nvalues.zones = 2\nvalues.date = 3")
    assert len(caught.value.faults) == 5


def test_a_column_that_the_table_has_twice_is_refused():
    assert faults(f'{ATTRIBUTE}"a"', ("id", "a", "a")) == (
        "`attributes.name`: the table has several columns `a`. Rename all but one of them.",
    )
    planned(f'{ATTRIBUTE}"b"', ("id", "a", "a", "b"))


def test_only_some_of_many_columns_are_listed():
    (fault,) = faults(f'{ATTRIBUTE}"zzz"', ("id", *(f"column {number}" for number in range(100))))
    assert "The first columns are: id, column 0" in fault
    assert "column 50" not in fault


def test_records_without_a_moment_need_that_of_the_export():
    text = f'{HEAD}[attributes]\nname = "a"\n[[records]]\nsection = "segments"\n[records.fields]\n{SEGMENT}'
    text += "memberSince = { value = 2026-01-01T00:00:00Z }"
    assert faults(text, exported=None) == (
        (
            "Nothing says from when the records of `attributes.name`, `records` 1 (segments) are true: say when the "
            "table was `exported`, or give `at`."
        ),
    )
    planned(text)
    planned(text.replace("[attributes]", '[at]\ncolumn = "b"\n[attributes]'), ("id", "a", "b"), exported=None)
    planned(text.replace("customer", 'exported = "2026-01-01T00:00:00Z"\ncustomer', 1), ("id", "a"), exported=None)


def test_the_name_of_a_source_has_a_limit():
    text = f'customer.id = "id"\nattributes.name = "a"\nsource = "{"s" * 256}"'
    planned(text, ("id", "a"))
    (fault,) = faults(text.replace("ss", "sss", 1))
    assert fault.startswith("`source` must have 1 to 256 characters")


def test_a_byte_order_mark_before_a_mapping_is_passed_over():
    assert Mapping.read(f"\ufeff{ATTRIBUTE}'a'").source == "shop"


def test_there_is_no_other_ready_mapping():
    with pytest.raises(InvalidMapping, match="Did you mean `shopify`"):
        ready("Shopfy")
