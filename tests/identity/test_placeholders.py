"""Placeholders are blocked, in their form and as given; values that may be several people's join nobody."""

import hashlib

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from portrait.identity import phones
from portrait.identity.normalise import normalise
from portrait.identity.patterns import MAX_LENGTH
from portrait.identity.phones import MAX_PHONE, number_of
from portrait.identity.placeholders import NAMELESS, NULLS, WORDS
from portrait.identity.rules import Rules
from portrait.model.identifier import Identifier, customer

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
TYPED = ("000-000-0000", "0000000000", "(999) 999-9999", "1111111111", "555-555-5555", "123-456-7890", "1234567890")
DEVICES = (
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
    "00000000-0000-0000-0000-000000000000",
    "9774d56d682e549c",
    "02:00:00:00:00:00",
    "004999010640000",
    "{idfa}",
    "${IDFA}",
    "[IDFA]",
    "%%ADVERTISING_ID%%",
    "__IDFA__",
    "{{ user.id }}",
    "<device-id>",
    "(null)",
    "(not set)",
    "Not available",
    "optout",
    "OPT-OUT",
    "device_id",
    "#N/A",
    "-1",
    "???",
    "—",
    *(hashlib.new(kind, text).hexdigest() for kind in ("md5", "sha1", "sha256") for text in (b"", b"null", b"None")),
    "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
)
ADDRESSES = (
    "(null)",
    "no email",
    "none@none",
    "null@null",
    "info@info.com",
    "guest@guest.com",
    "email@email.com",
    "user@example.com",
    "noemail@example.com",
    "admin@admin.com",
    "na@na.na",
    "unknown@unknown.unknown",
    "noreply@amazon.com",
    "No-Reply+7@shop.example.org",
    "do.not.reply@shop.de",
    "test@test.com",
    "no@email.com",
    "a@a.com",
    "123@123.com",
    "name@company.com",
)


def judged(type_, value, region=None, **rules):
    """Return whether a value is blocked, and whether it is uncertain, in the form that a region gives it."""
    identifier = Identifier(type_, normalise(type_, value, region))
    judge = Rules(region=region, **rules)
    return judge.blocks(identifier, value), judge.is_uncertain(identifier)


def blocked(*args, **rules):
    return judged(*args, **rules)[0]


@pytest.mark.parametrize("value", [*sorted(WORDS), *DEVICES])
@pytest.mark.parametrize("type_", ["device_id", "cookie_id", "loyalty"])
def test_a_placeholder_is_blocked_in_any_case(type_, value):
    if value != "device_id" or type_ == "device_id":
        for spelt in (value, value.upper(), f" {value.title()}\n"):
            assert blocked(type_, spelt) or value.startswith("47DE")
    assert blocked(type_, value) == (value != "device_id" or type_ == "device_id")
    assert not blocked(type_, value, allowed_values=[value])


@pytest.mark.parametrize("value", ADDRESSES)
def test_an_address_of_nobodys_is_blocked(value):
    assert blocked("email", value)
    assert blocked("email", value.upper())


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        *(("device_id", value) for value in ("11111", "1000", "guests", "-2", "aaaaab", "GA1.2.1", "deadbeef", "0-1")),
        ("device_id", "{3f2504e0-4f89-11d3-9a0c-0305e82c3301}"),
        ("device_id", "af25aaaa-1111-2222-3333-444444444444"),
        *(
            ("email", f"{address}")
            for address in (
                "john@example.com", "me@example.org", "a@example.org", "x@example.net", "ford@ford.com", "na@gmail.com",
                "test@gmail.com", "maria@mail.com", "info@shop.de", "me@me.com", "noriko@shop.de", "none.other@shop.de",
            )
        ),
        *(
            ("phone", number)
            for number in (
                "+12065550100", "+12000000001", "+12345678901", "+1234567890", "+442000000000", "+6588888888",
                "+77777777777", "+11234567891", "1234567891", "+4930901820",
            )
        ),
    ],
)  # fmt: skip
def test_a_value_that_resembles_a_placeholder_is_not_blocked(type_, value):
    assert not blocked(type_, value)


@pytest.mark.parametrize("region", [None, "US", "CA"])
@pytest.mark.parametrize("value", TYPED)
def test_a_number_of_one_digit_or_of_digits_in_a_row_is_blocked_with_and_without_its_prefix(value, region):
    assert blocked("phone", value, region)
    form = normalise("phone", value, region)
    assert Rules(region=region).blocks(Identifier("phone", form)), "in its form alone too"


@pytest.mark.parametrize("region", REGIONS)
def test_zeros_and_one_digit_over_and_over_are_nobodys_number_in_any_region(region):
    for digit in "0123456789":
        for length in range(6, 12):
            text = digit * length
            assert blocked("phone", text, region)
            assert blocked("phone", f"{text[:3]}-{text[3:]}", region)


@pytest.mark.parametrize(
    ("value", "region"),
    [
        *((value, "GB") for value in ("0000000000", "7777777777", "5555555555", "1234567890", "555-5555")),
        ("0123456789", "FR"),
        ("1111111111", "DE"),
        ("12345", "DE"),
        ("123456", "DE"),
        ("9876543210", "IN"),
        ("0044 000 0000000", "GB"),
        ("000-000-0000 ext. 7", "US"),
        *((value, None) for value in ("123456789", "123456", "12345", "+1 000 000 0000")),
        *((value, None) for value in ("+441111111111", "+4400000000000")),
    ],
)  # fmt: skip
def test_a_region_makes_no_number_of_a_placeholder(value, region):
    assert blocked("phone", value, region)


@pytest.mark.parametrize("region", REGIONS)
def test_the_numbers_of_a_region_are_somebodys_and_certain(region):
    """The numbers are those of phonenumbers' own metadata: one of each kind that the region has."""
    for kind in PhoneNumberType.values():
        number = phonenumbers.example_number_for_type(region, kind)
        if number is None or (region, kind) == ("CA", PhoneNumberType.UAN):  # it has no area code
            continue
        one_digit = len(set(phonenumbers.national_significant_number(number))) == 1
        for written in (PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966, PhoneNumberFormat.E164):
            text = phonenumbers.format_number(number, written)
            assert judged("phone", text, region) == (False, one_digit)


@given(st.integers(200, 998), st.integers(200, 998), st.integers(0, 9999))
def test_other_numbers_are_not_blocked(area, exchange, line):
    digits = f"{area}{exchange}{line:04}"
    if len(set(digits)) > 1 and digits != "9876543210":
        assert not blocked("phone", digits, "US")


@pytest.mark.parametrize(
    ("type_", "value", "region", "expected"),
    [
        ("phone", "555-0123", "US", True),
        ("phone", "020 7946 0018", None, True),
        ("phone", "020 7946 0018", "GB", False),
        ("phone", "1", None, True),
        ("phone", "+1234567890", None, True),
        ("phone", "+447777777777", None, True),
        ("phone", "+77777777777", None, True),
        ("phone", "04912 3456", "DE", False),
        ("phone", "0000 123456", "GB", True),  # possible by its length, and of no range
        ("phone", "+10995550123", None, False),  # its country was told: ranges change
        ("phone", "+10995550123", "US", True),
        ("phone", "+10995550123", "GB", False),
        ("phone", "+12015550123 x42", "US", False),
        ("email", "jörg", None, True),
        ("email", "@example.com", None, True),
        ("email", "john@", None, True),
        ("email", "john@example.test", None, False),
        ("device_id", "1", None, False),
    ],
)
def test_a_value_that_may_be_several_peoples_is_uncertain(type_, value, region, expected):
    assert judged(type_, value, region)[1] is expected
    assert not judged(type_, value, region, allowed_values=[normalise(type_, value, region)])[1]
    assert not judged(type_, value, region, block_junk=False)[1]


@given(st.text("0123456789+ -()", max_size=16), st.sampled_from([None, "GB", "US", "DE", "IT"]))
@example("0044 000", "GB")
def test_a_number_and_its_form_are_judged_alike(text, region):
    """An identifier is the same however it is written: whether it is certain does not depend on the spelling."""
    form = normalise("phone", text, region)
    assert judged("phone", form, region)[1] == judged("phone", text, region)[1]


@pytest.mark.parametrize(
    "value", [*sorted(NULLS | NAMELESS), "NULL", "NaN", "N/A", "(null)", "0", "000", "-", "[object Object]", "{a}"]
)  # fmt: skip
def test_a_word_for_none_is_no_customer_id_unless_the_tenant_says_so(value):
    rules = Rules()
    assert rules.is_null_id(customer(value))
    assert rules.blocks(customer(value))
    for other in (Rules(allowed_values=[value]), Rules(block_junk=False)):
        assert not other.is_null_id(customer(value))
        assert not other.blocks(customer(value))
    own = Rules(blocked_values=[value])
    assert own.blocks(customer(value))
    assert not own.is_null_id(customer(value)), "the tenant's own list is another reason"


@pytest.mark.parametrize(
    "value", ["test", "user", "xxx", "111111", "-1", "customer", "none@none.com", "00731", "nobody", "~"]
)
def test_other_words_are_the_companys_own(value):
    assert not Rules().blocks(customer(value))


def test_a_customer_id_is_blocked_by_the_tenants_own_values_too():
    rules = Rules(blocked_values=["Test"], blocked_patterns=["C.*"])
    assert rules.blocks(customer("TEST"))
    assert not rules.blocks(customer("C1"))
    assert rules.blocks(Identifier("email", "c1@example.org"))
    assert rules.blocks(customer(""))


def test_the_tenants_own_lists_are_held_to_what_was_given_too():
    rules = Rules(blocked_values=["020 7946 0018"], blocked_patterns=["0170.*"], region="GB")
    for value in ("020 7946 0018", "01704 123456"):
        identifier = Identifier("phone", normalise("phone", value, "GB"))
        assert rules.blocks(identifier, value)
        assert not rules.blocks(identifier, identifier.value)


def test_a_tenant_may_allow_placeholders():
    assert not Rules(block_junk=False).blocks(Identifier("phone", "+19999999999"))


def test_a_long_value_is_not_matched_with_what_is_built_in():
    assert blocked("device_id", "0" * MAX_LENGTH)
    assert not blocked("device_id", "0" * (MAX_LENGTH + 1))


def test_a_text_longer_than_a_number_is_not_parsed(monkeypatch):
    form = "+" + "1" * MAX_PHONE
    monkeypatch.setattr(phones, "phone_form", None)
    monkeypatch.setattr(phonenumbers, "parse", None)
    assert number_of(form) is None
    assert not blocked_as_given(form)


def blocked_as_given(value):
    return Rules().blocks(Identifier("phone", value), f"{value}-2")
