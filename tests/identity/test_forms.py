"""Which spellings are one and which are two, by type and region; and the forms of a tenant's own types."""

# ruff: noqa: RUF001  # characters that look alike are what is told apart here

import base64
import hashlib
import string

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from identity.test_normalise import MAIL, REGIONS, SOMEWHERE, TEXTS, UUID, WRITTEN
from portrait.identity.forms import formed
from portrait.identity.hashing import hashes
from portrait.identity.normalise import normalise
from portrait.identity.phones import number_of
from portrait.identity.spellings import MAX_AROUND, MOST_PEELED

LONDON = "+44 20 7946 0018"
OWN = ("uuid", "digits", "lower", "salesforce_id", "sha256")
SALESFORCE = "001D000000IRFma"
NUL = hashlib.sha256(b"jane.doe@gmail.com")

ONE = {
    ("email", None): {
        "john@example.com": [
            "John <john@example.com>", "<john@example.com>", "john <John@Example.com>",
            '"Doe, John" <john@example.com>',
            "John\tDoe  <john@example.com> ;", "john@example.com <john@example.com>", "mailto:john@example.com",
            "MAILTO:john@example.com", "mailto:john@example.com?subject=Hi", "John <mailto:john@example.com>",
            "john@example.com.", "john@example.com;", "john@example.com,", "john@example.com ,", '"john@example.com"',
            "'john@example.com'", "“john@example.com”", "«john@example.com»", "john @example.com", "john@ example.com",
            "jo\u200bhn@example.com", "john@exam\u2060ple.com", "john＠example.com", "ｊｏｈｎ@example.com",
            "ＪＯＨＮ＠ｅｘａｍｐｌｅ．ｃｏｍ", "'<john@example.com>;'",
        ],
        "jörg@xn--mnchen-3ya.de": ["Jörg Müller <jörg@münchen.de>", "mailto:JÖRG@XN--MNCHEN-3YA.DE"],
        '"a b"@example.com': ['Ann <"a b"@example.com>', '"a b"@example.com.'],
    },
    ("phone", None): {
        LONDON: [
            "whatsapp:+442079460018", "WhatsApp: +44 20 7946 0018", "tel:+442079460018", "Tel. +44 20 7946 0018",
            "Tel.: +44 20 7946 0018", "Phone +442079460018", "Mobile: +44 20 7946 0018", "+44 20 7946 0018 (home)",
            "+44 20 7946 0018 [work phone]", "Tel. +44 20 7946 0018 (work);", "+44 20 7946 0018;", "+44 20 7946 0018,",
            "+44_20_7946_0018", "'+44 20 7946 0018", '="+442079460018"', "+44 (0)20 7946 0018", "+44 020 7946 0018",
            "(+44) 20 7946 0018", "+44\u00a020\u00a07946\u20110018", "\u202a+44 20 7946 0018\u202c",
            "＋４４２０７９４６００１８", "+٤٤٢٠٧٩٤٦٠٠١٨", "0044 20 7946 0018", "00442079460018", "(0044) 20 7946 0018",
            "442079460018", "442079460018.0", "+442079460018.0", "'442079460018", "٤٤٢٠٧٩٤٦٠٠١٨",
        ],
        "+52 55 1234 5678": ["+52 1 55 1234 5678", "5215512345678", "525512345678", "whatsapp:+5215512345678"],
        "+55 11 98765 4321": ["+55 11 8765 4321", "551187654321", "5511987654321", "0055 11 8765-4321"],
        "+55 11 98765 4321 x7": ["+55 11 8765 4321 x7"],
        "+225 07 07 12 34 56": ["+225 07 12 34 56", "+225 0712 3456", "22507123456"],
        "+225 05 45 12 34 56": ["+225 45 12 34 56"],
        "+225 01 02 12 34 56": ["+225 02 12 34 56"],
        "+225 01 40 12 34 56": ["+225 40 12 34 56"],
        "+225 27 22 44 12 34": ["+225 22 44 12 34"],
        "+225 25 20 01 23 45": ["+225 20 01 23 45"],
        "+225 21 20 81 23 45": ["+225 20 81 23 45"],
        "+229 01 97 12 34 56": ["+229 97 12 34 56", "00229 97 12 34 56"],
    },
    ("phone", "US"): {
        LONDON: ["0044 20 7946 0018", "442079460018", "442079460018.0", "011 44 20 7946 0018", "+44 20 7946 0018"],
        "+1 201 555 0123": ["001 201 555 0123", "12015550123", "1-201-555-0123", "(201) 555-0123", "2015550123.0"],
        "+39 06 1234 5678": ["390612345678", "0039 06 1234 5678"],
    },
    ("phone", "GB"): {
        LONDON: [
            "020 7946 0018", "02079460018.0", "2079460018.0", "442079460018", "442079460018.0", "0044 20 7946 0018",
            "Tel. 020 7946 0018", "020 7946 0018 (home)", "Mobile 020_7946_0018;",
        ],
    },
    ("phone", "DE"): {LONDON: ["0044 20 7946 0018", "+44 20 7946 0018"]},
    ("phone", "MX"): {"+52 55 1234 5678": ["55 1234 5678", "1 55 1234 5678", "5215512345678", "+521 55 1234 5678"]},
    ("phone", "BR"): {"+55 11 98765 4321": ["(11) 98765-4321", "(11) 8765-4321", "011 8765-4321"]},
    ("phone", "CI"): {"+225 07 07 12 34 56": ["07 07 12 34 56", "07 12 34 56"]},
    ("phone", "BJ"): {"+229 01 97 12 34 56": ["01 97 12 34 56", "97 12 34 56"]},
    ("phone", "AR"): {"+54 9 11 2345 6789": ["011 15 2345 6789", "+54 11 15 2345 6789"]},
    ("phone", "RU"): {"+7 495 123 45 67": ["8 495 123-45-67", "84951234567", "74951234567"]},
    ("phone", "CN"): {"+86 131 2345 6789": ["13123456789", "8613123456789"]},
    ("device_id", None): {
        UUID: [UUID.upper(), UUID.replace("-", ""), "{" + UUID.upper() + "}", f"urn:uuid:{UUID}", f"URN:UUID:{UUID}"],
    },
    ("uuid", None): {
        "6d92078a-8246-4ba4-ae5b-76104861e7dc": [
            "6D92078A-8246-4BA4-AE5B-76104861E7DC", "6d92078a82464ba4ae5b76104861e7dc",
            "{6D92078A-8246-4BA4-AE5B-76104861E7DC}", "urn:uuid:6d92078a-8246-4ba4-ae5b-76104861e7dc",
        ],
    },
    ("digits", None): {
        "7210448301122": ["7210448301122.0", "7210 4483 01122", "7210-4483-01122", "'7210448301122", "#7210448301122",
                          "٧٢١٠٤٤٨٣٠١١٢٢", "７２１０４４８３０１１２２"],
        "00731": ["00731", "007-31", "00731.00"],
        "12345678901": ["123.456.789-01"],
    },
    ("lower", None): {"straße-1": ["STRASSE-1", "Straße-1"], "café": ["CAFE\u0301", "Café"]},
    ("salesforce_id", None): {
        f"{SALESFORCE}IAH": [SALESFORCE, f"{SALESFORCE}iah", "001d000000irfmaiah", "001D000000IRFMAIAH"],
        "001d000000irfmaAAA": ["001d000000irfma", "001d000000irfmaaaa", "001D000000IRFMAAAA"],
        "50130000000014cAAA": ["50130000000014c", "50130000000014CAAA"],
        "50130000000014CAAQ": ["50130000000014C", "50130000000014caaq"],
    },
    ("sha256", None): {
        NUL.hexdigest(): [
            NUL.hexdigest().upper(), base64.b64encode(NUL.digest()).decode(),
            base64.b64encode(NUL.digest()).decode().rstrip("="), base64.urlsafe_b64encode(NUL.digest()).decode(),
        ],
    },
}  # fmt: skip
"""By type, or form of an own type, and region: spellings that are one identifier."""

TWO = {
    ("email", None): [
        "john@example.com", "jo.hn@example.com", "john@googlemail.com", "john@gmail.com", "jo hn@example.com",
        "boss@example.com <john@example.com>", "john@example.com, ann@example.com", "<john@example.com",
        "'john@example.com",
        "John Doe john@example.com", "john@example.com (old)", "me@😀.ws", "me@xn--e28h.ws",
        "mailto:ann@example.com?cc=john@x.org",
        "john@@example.com",
    ],
    ("phone", None): [
        LONDON, "020 7946 0018", "+54 9 11 2345 6789", "+54 11 2345 6789", "+39 06 1234 5678", "+39 6 1234 5678",
        f"{LONDON} x 042", f"{LONDON} x42", f"call {LONDON}", f"{LONDON} home", f"{LONDON} (2)",
        f"{LONDON} or +44 20 7946 0019",
        "+1 312 345 6789", "13123456789", "+84 95 123 4567", "84951234567", "8 495 123 45 67", "+51 987 654 321",
        "51987654321", "+229 01 97 12 34 56", "22997123456", "+501 610 5555", "5016105555", "4.42079E+11",
        "+0044 20 7946 0018", "anonymous", "+225 27 07 12 34 56",
        "1-800-FLOWERS",
    ],
    ("phone", "DE"): ["442079460018", LONDON],  # a line of Wangerland's has these digits
    ("phone", "IT"): ["06 1234 5678", "6 1234 5678", "+39 347 123 4567", "0347 123 4567"],
    ("device_id", None): [UUID, UUID[:-1] + "2", UUID.replace("-", "", 1), "{" + UUID, UUID.replace("-", "")[1:]],
    ("cookie_id", None): [UUID, UUID.upper(), UUID.replace("-", "")],
    ("digits", None): ["731", "00731", "A731", "B731", "12.5", "125", "1e5", "100000", "-"],
    ("lower", None): ["info", "ınfo", "İnfo", "info."],
    ("salesforce_id", None): [
        SALESFORCE, SALESFORCE.lower(), SALESFORCE.upper(), f"{SALESFORCE}AAA", f"{SALESFORCE}000",
        f"{SALESFORCE[:-1]}b",
        SALESFORCE[:-1], f"{SALESFORCE}IAH0",
    ],
    ("sha256", None): [NUL.hexdigest(), NUL.hexdigest()[:-1], hashlib.sha256(b"janedoe@gmail.com").hexdigest(),
    "Jane", "jane"],
}  # fmt: skip
"""Spellings of which no two are one identifier."""


def form_of(kind, value, region=None):
    """Return a value's form; `kind` is a type, or the form of a type of the tenant's own."""
    return normalise("own", value, region, kind) if kind in OWN else normalise(kind, value, region)


ROWS = [
    pytest.param(kind, region, value, spelling, id=f"{kind}-{region}-{spelling!r}")
    for (kind, region), values in ONE.items() for value, spellings in values.items() for spelling in spellings
]  # fmt: skip


@pytest.mark.parametrize(("kind", "region", "value", "spelling"), ROWS)
def test_two_spellings_are_one(kind, region, value, spelling):
    assert form_of(kind, spelling, region) == form_of(kind, value, region)
    if kind not in OWN:
        assert form_of(kind, spelling, region) != spelling.strip() or spelling == value


@pytest.mark.parametrize(("kind", "region"), TWO)
def test_no_two_of_these_spellings_are_one(kind, region):
    forms = [form_of(kind, spelling, region) for spelling in TWO[kind, region]]
    assert len(set(forms)) == len(forms), [form for form in forms if forms.count(form) > 1]


@pytest.mark.parametrize("region", REGIONS)
def test_every_regions_example_numbers_keep_the_form_of_the_library_alone(region):
    """Fixed lines and mobile numbers, as people at home and abroad write them."""
    for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE):
        number = phonenumbers.example_number_for_type(region, kind)
        if number is None:
            continue
        form = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        for written in (PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.E164):
            assert normalise("phone", phonenumbers.format_number(number, written), region) == form
        for elsewhere in (None, "US", "DE", "BR", "CI"):
            assert normalise("phone", form, elsewhere) == form
            assert normalise("phone", f"00{form[1:]}", elsewhere) in {form, f"00{form[1:]}"} | _own(form, elsewhere)


def _own(form, region):
    """Return the form of the digits behind `00` where they are a number in use of the region itself."""
    try:
        number = phonenumbers.parse(f"00{form[1:]}", region)
    except phonenumbers.NumberParseException:
        return set()
    is_own = phonenumbers.is_valid_number(number)
    return {phonenumbers.format_number(number, PhoneNumberFormat.E164)} if is_own else set()


def test_no_number_of_one_region_as_its_people_write_it_is_read_as_anothers():
    """Without a region no example number in national writing becomes another country's number."""
    read = {}
    for region in REGIONS:
        for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE):
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
                for text in (national, phonenumbers.normalize_digits_only(national)):
                    own = phonenumbers.format_number(number, PhoneNumberFormat.E164)
                    if (form := normalise("phone", text)) not in {text, own}:
                        read[region, text] = form
    assert read == {}


@pytest.mark.parametrize("region", [None, "US"])
@pytest.mark.parametrize("text", ["0010995550123", "99912345678", "44207946001", "0044 1111 1111", "12345678901234"])
def test_digits_that_are_no_number_in_use_with_a_plus_are_not_read_as_one(text, region):
    assert not normalise("phone", text, region).startswith("+")


@pytest.mark.parametrize("region", ["BR", "MX", "CI", "BJ"])
def test_a_number_in_use_is_not_renumbered(region):
    for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE):
        form = phonenumbers.format_number(phonenumbers.example_number_for_type(region, kind), PhoneNumberFormat.E164)
        assert normalise("phone", form) == form
        assert number_of(form).is_valid


@settings(deadline=None)
@given(st.sampled_from(["+55119", "+5511", "+5211", "+52155", "+22507", "+2252", "+22997", "+22901", "0055", "55",
    "521"]),
       st.text(string.digits, min_size=5, max_size=10), SOMEWHERE)  # fmt: skip
def test_a_renumbered_number_is_renumbered_once(prefix, digits, region):
    form = normalise("phone", prefix + digits, region)
    for anywhere in (region, None, "US", "BR", "MX"):
        assert normalise("phone", form, anywhere if form.startswith("+") else region) == form


AROUND = st.sampled_from(
    ["{}", "<{}>", "John <{}>", "mailto:{}", "{}.", "{};,", '"{}"', "'{}'", "whatsapp:{}", "tel:{}", "Tel. {}",
    "{} (home)",
     "={}", '="{}"', "{}.0", "{}_", "({})", "00{}", "x<{}>", "<{}", "{}>", "“{}”", "\uff02{}\uff02",
     "{}\uff20x.org", "\uff1c{}\uff1e"]
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(["email", "phone", "device_id"]), MAIL | WRITTEN | TEXTS, AROUND, AROUND, SOMEWHERE)
@example("email", "a", "{}@x.org", "John <{}>", None)
@example("email", "a\uff0e\uff0eb", "{}@x.org", "{}", None)
def test_a_form_of_a_spelling_with_something_around_is_its_own(type_, value, inner, outer, region):
    form = normalise(type_, outer.format(inner.format(value)), region)
    assert normalise(type_, form, region) == form
    if type_ == "phone" and form.startswith("+") and number_of(form):
        assert {normalise(type_, form, other) for other in (None, "US", "DE", "BR")} == {form}


OWN_TEXTS = (
    TEXTS | st.uuids().map(str) | st.text(string.hexdigits, min_size=64, max_size=64)
    | st.text(string.digits + ".,- ٣４")
    | st.text(string.ascii_letters + string.digits, min_size=15, max_size=18)
    | st.text(string.ascii_letters + string.digits + "+/=", min_size=43, max_size=44)
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(OWN), OWN_TEXTS)
@example("salesforce_id", "001D000000IRFMAIAH")
@example("digits", "1.05.0")
def test_an_own_types_form_is_its_own(form, text):
    made = normalise("own", text, None, form)
    assert normalise("own", made, None, form) == made


@settings(deadline=None)
@given(st.text(string.ascii_letters + string.digits, min_size=15, max_size=15))
def test_a_salesforce_id_is_one_in_15_and_18_characters_and_in_any_case(own):
    whole = formed(own, "salesforce_id")
    assert whole[:15] == own
    assert {formed(each, "salesforce_id") for each in (whole, whole.lower(), whole.upper())} == {whole}


@pytest.mark.parametrize(
    "value", ["001d000000irfmajah", "001d000000irfma01h", "001D000000iRFMaiah", "001d000000irfma!ah"]
)
def test_check_characters_that_do_not_fit_leave_a_text_as_it_is(value):
    assert formed(value, "salesforce_id") == value


def test_hashes_are_those_that_the_platforms_ask_for():
    """Computed by their documentation; the beginnings are those of their own examples."""
    of_address, of_number = hashes("email", "jane.doe@gmail.com"), hashes("phone", "+16505551212")
    assert {digest[:8] for digest in of_address} == {"831f6494", "d6117306"}
    assert hashes("email", "jane.doe@example.com") == (hashlib.sha256(b"jane.doe@example.com").hexdigest(),)
    assert set(of_number) == {hashlib.sha256(text).hexdigest() for text in (b"+16505551212", b"16505551212")}
    assert {digest[:8] for digest in of_number} & {"e323ec62"}
    assert hashes("phone", "+16505551212;ext=1") == ()


@pytest.mark.parametrize("region", [None, "GB", "US"])
@pytest.mark.parametrize("around", ["{} (2)", "Tel 2: {}", "{} (line 2)", "1. {}", "{} [2]", "2x {}"])
def test_what_is_peeled_off_a_number_has_no_digits(around, region):
    assert normalise("phone", around.format(LONDON), region) == around.format(LONDON)


def test_a_text_beyond_the_bound_is_not_taken_apart():
    around = " <john@example.com>"
    name = "J" * (MAX_AROUND - len(around))
    assert normalise("email", name + around) == "john@example.com"
    assert normalise("email", f"J{name}{around}") == f"j{name}{around}".lower()


@pytest.mark.parametrize(
    ("type_", "around", "form"),
    [("email", "mailto:{}", "john@example.com"), ("phone", "{} (a)", "+442079460018")],
)
def test_what_is_wrapped_too_often_is_not_taken_apart(type_, around, form):
    wrapped = form
    for number in range(1, 2 * MOST_PEELED):
        wrapped = around.format(wrapped)
        assert normalise(type_, wrapped) == (form if number <= MOST_PEELED else wrapped)
