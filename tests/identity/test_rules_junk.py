"""What says nothing of a person is blocked in the form in which it is matched, whatever the tenant's region."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.identity.normalise import normalise
from portrait.identity.patterns import MAX_LENGTH
from portrait.identity.rules import Rules
from portrait.model.identifier import Identifier

TYPED = ("000-000-0000", "0000000000", "(999) 999-9999", "1111111111", "555-555-5555", "123-456-7890", "1234567890")


def blocked(type_, value, region=None):
    return Rules(region=region).blocks(Identifier(type_, normalise(type_, value, region)))


@pytest.mark.parametrize("region", [None, "US", "CA"])
@pytest.mark.parametrize("value", TYPED)
def test_a_number_of_one_digit_or_of_digits_in_a_row_is_blocked_with_and_without_its_prefix(value, region):
    assert blocked("phone", value, region)


@given(st.integers(200, 998), st.integers(200, 998), st.integers(0, 9999))
def test_other_numbers_are_not(area, exchange, line):
    digits = f"{area}{exchange}{line:04}"
    if len(set(digits)) > 1:
        assert not blocked("phone", digits, "US")


@pytest.mark.parametrize(
    "value",
    [
        "+12065550100",
        "+12000000001",
        "+12345678901",
        "+1234567890",
        "+442000000000",
        "+6588888888",
        "+11234567891",
        "1234567891",
    ],
)
def test_what_only_begins_so_is_not(value):
    assert not blocked("phone", value)


def test_a_tenant_may_want_them_all_the_same():
    assert not Rules(block_junk=False).blocks(Identifier("phone", "+19999999999"))


def test_a_long_value_is_not_matched_with_what_is_built_in():
    assert blocked("device_id", "0" * MAX_LENGTH)
    assert not blocked("device_id", "0" * (MAX_LENGTH + 1))
