"""The form in which identifiers match: equal values, different values, and properties of every text."""

# ruff: noqa: RUF001  # characters that look alike are what is told apart here

import sys
import unicodedata

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from portrait.identity import normalise as module
from portrait.identity import phones
from portrait.identity.normalise import MAX_EMAIL, MAX_LABEL, MAX_LABELS, normalise
from portrait.identity.phones import MAX_PHONE, region_fault
from portrait.model.identifier import MAX_VALUE_BYTES

OPAQUE = ("device_id", "anonymous_id", "cookie_id", "loyalty_card")
TYPES = ("email", "phone", *OPAQUE)
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
UUID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"

ADDRESSES = {
    # RFC 5321, 2.4: domains follow the rules of the DNS. Local parts may be case-sensitive; matching folds them.
    "smith@foo.com": ["Smith@foo.com", "smith@FOO.COM", " SMITH@Foo.com\t"],
    # RFC 5321, 4.1.2: all quoted forms are equivalent, and the least quoting is sent.
    '"joe,smith"@bar.com': ['"Joe\\,Smith"@bar.com', '"Joe,Smith"@bar.com', '"joe\\,\\s\\m\\i\\t\\h"@BAR.com'],
    "john@example.com": ["john@example.com", '"john"@example.com', '"j\\ohn"@example.com', "John@Example.com"],
    # RFC 5321, 4.1.3: address literals.
    "smith@[123.255.37.2]": ["smith@[123.255.37.2]", "Smith@[123.255.37.2]"],
    "smith@[IPv6:2001:db8::1]": ["smith@[IPv6:2001:DB8:0:0:0:0:0:1]", "smith@[ipv6:2001:0db8::0001]"],
    # RFC 3696, section 3, with its errata.
    '"abc@def"@example.com': ['"Abc\\@def"@example.com', '"Abc@def"@example.com'],
    '"fred bloggs"@example.com': ['"Fred\\ Bloggs"@example.com', '"Fred Bloggs"@example.com'],
    '"joe.\\\\blow"@example.com': ['"Joe.\\\\Blow"@example.com'],
    "customer/department=shipping@example.com": ["customer/department=shipping@example.com"],
    "$a12345@example.com": ["$A12345@example.com"],
    "!def!xyz%abc@example.com": ["!def!xyz%abc@example.com"],
    "_somename@example.com": ["_somename@example.com"],
    "user+mailbox@example.com": ["user+mailbox@example.com"],
    # RFC 6531, 3.3, and 6532, 3.1: UTF-8 on either side, NFC. RFC 5891: one domain, whether as U-labels or A-labels.
    "jörg@xn--mnchen-3ya.de": ["Jörg@münchen.de", "jo\u0308rg@mu\u0308nchen.de", "JÖRG@XN--MNCHEN-3YA.DE"],
    "δοκιμησ@xn--hxajbheg2az3al.xn--jxalpdlp": ["δοκιμης@παράδειγμα.δοκιμή", "ΔΟΚΙΜΗΣ@xn--hxajbheg2az3al.xn--jxalpdlp"],
    # The full stops that UTS 46 maps to ".".
    "john@xn--zckzah.example.com": ["john@テスト.example.com", "john@テスト。example．com"],
    # Full case folding, as Unicode has it for all languages alike.
    "strasse@example.com": ["Straße@example.com", "STRASSE@example.com", "STRAẞE@example.com"],
    # Unicode, D145: the dot below is the alpha's, whether its iota is written below or beside it.
    "α\u0323ι@example.com": ["ᾳ\u0323@example.com", "Α\u0323Ι@example.com"],
    "fi@example.com": ["ﬁ@example.com", "FI@example.com"],
    # RFC 5321, 4.5.3.1.1: 64 octets are what every host must take, and some take more.
    f"{'j' * 70}@example.com": [f'"{"J" * 70}"@Example.com'],
    # Addresses that no mail from outside reaches still have one form.
    "john@intranet": ["john@intranet", '"John"@INTRANET'],
    # Refused: for special use (RFC 6761, 6762), or no address at all. The text counts, without its case.
    "john@printer.local": ["John@Printer.local", " john@printer.LOCAL "],
    "john@example.test": ["John@Example.test"],
    "ann and bob <ann@example.com, bob@example.com>": ["Ann and Bob <ann@example.com, bob@example.com>"],
    "jörg": ["Jörg", "JO\u0308RG"],
}

IANA_TEST_DOMAINS = {
    "إختبار": "xn--kgbechtv",
    "آزمایشی": "xn--hgbk6aj7f53bba",
    "测试": "xn--0zwm56d",
    "測試": "xn--g6w251d",
    "испытание": "xn--80akhbyknj4f",
    "परीक्षा": "xn--11b5bs3a9aj6g",
    "δοκιμή": "xn--jxalpdlp",
    "테스트": "xn--9t4b11yi5a",
    "טעסט": "xn--deba0ad",
    "テスト": "xn--zckzah",
    "பரிட்சை": "xn--hlcj6aya9esc7a",
}
"""The internationalised test domains that IANA has reserved."""

NUMBERS = {
    # RFC 3966, section 6.
    ("+12015550123", None): ["tel:+1-201-555-0123", "TEL:+1.201.555.0123", "+1 (201) 555-0123", "+12015550123"],
    # A region is for numbers without an international prefix, and 00 or 011 is one where it is dialled.
    ("+12015550123", "US"): ["(201) 555-0123", "1 201 555 0123", "+1 201 555 0123", "011 1 201 555 0123"],
    ("+442083661177", "GB"): ["020 8366 1177", "+44 (0)20 8366 1177", "0044 20 8366 1177"],
    ("+442083661177", "DE"): ["0044 20 8366 1177", "+44 20 8366 1177"],
    # A possible length counts, whether or not the area code is in use.
    ("+10995550123", None): ["+1 099 555 0123"],
    # A leading zero that is part of the number stays (Italy), a mobile prefix goes where E.164 has it (Argentina).
    ("+390612345678", "IT"): ["06 1234 5678", "+39 06 12345678"],
    ("+5493435551212", "AR"): ["0343 15 555 1212", "+54 9 343 555 1212"],
    # Digits of any script, full-width signs, and the marks that phones put around a number.
    ("+14155552671", None): [
        "＋１４１５５５５２６７１",
        "+١٤١٥٥٥٥٢٦٧١",
        "+१४१५५५५२६७१",
        "\u202a+1\u00a0415\u2011555\u20112671\u202c",
        "☎ +1 415 555 2671",
    ],
    # RFC 3966, 5.3: an extension is part of the number's name.
    ("+12015550123;ext=42", None): [
        "tel:+1-201-555-0123;ext=42",
        "+1 201 555 0123 ext. 42",
        "+1 201 555 0123 x42",
        "+1 201 555 0123,42",
        "+1 201 555 0123 доб. 42",
        "+12015550123;ext=٤٢",
    ],
    ("+12015550123;ext=007", None): ["+1 201 555 0123 ext 007"],
}

NO_NUMBERS = [
    ("+1234567890", None),  # nine digits: none of the North American plan has
    ("+999 123 4567", None),  # no such country
    ("+210 555 1234", "US"),  # the same, and + says that it is not of the region
    ("(201) 555-0123", None),  # of no region
    ("(201) 555-0123", "us"),  # no code of a region
    ("555-0123", "US"),  # another's in each area
    ("112", "DE"),
    ("310-1234", "CA"),  # a company's, in all of Canada; of anyone with area code and without, in the United States
    ("1-800-FLOWERS", "US"),  # RFC 3966, 5.1.2: letters are not on the same keys everywhere
    ("030 12345 home", "DE"),  # as digits it would be another's: +49 30 12345 4663
    ("+1 201 555 0123 m", None),
    ("call +1 201 555 0123", None),
    ("+1 201 555 0123 or +1 201 555 0124", None),
    ("+1 201 555 0123 x302/x2303", None),  # the library reads the first extension only
    ("7042;phone-context=example.com", "DE"),  # RFC 3966, 5.1.5: a name in that context alone
    ("tel:863-1234;phone-context=+1-914-555", None),
    ("+1 201 555 0123;isub=12", None),
    ("+49 00 30 123456", None),  # a national prefix twice; each reading would drop one
    ("+", None),
    ("john@example.com", None),
]

APART = {
    "email": [
        "john@example.com",
        "jo.hn@example.com",
        "john+news@example.com",
        "john@example.org",
        "john@mail.example.com",
        "boss@example.net <john@example.com>",
        "@example.com",
        '""@example.com',
        "john@example.test",
        '"john"@example.test',
        '"john "@example.com',
        "jöhn@example.com",
        "john@faß.de",
        "john@fass.de",
        "info@example.com",
        "ınfo@example.com",
        "İnfo@example.com",
        "jo hn@example.com",
    ],
    "phone": [
        "+12015550123",
        "+12015550124",
        "2015550123",
        "+12015550123;ext=1",
        "+12015550123;ext=01",
        "+390612345678",
        "+39612345678",
        "1-800-FLOWERS",
        "1-800-flowers",
        "+18003569377",
    ],
    "device_id": [UUID, UUID.replace("-", "", 1), "{" + UUID, "a1B2", "A1B2", "é", "e"],
    "cookie_id": [UUID, UUID.upper(), "GA1.2.1", "ga1.2.1", "g\u200ba1.2.1"],
}


@pytest.mark.parametrize(("form", "texts"), ADDRESSES.items(), ids=list(ADDRESSES))
def test_one_address_has_one_form(form, texts):
    assert {normalise("email", text) for text in texts} == {form}


@pytest.mark.parametrize(("unicode", "ascii_"), IANA_TEST_DOMAINS.items(), ids=IANA_TEST_DOMAINS.values())
def test_a_domain_in_unicode_and_in_ascii_is_one(unicode, ascii_):
    forms = {normalise("email", f"john@{domain}") for domain in (unicode, ascii_, ascii_.upper())}
    assert forms == {f"john@{ascii_}"}


@pytest.mark.parametrize(("form", "region", "text"), [(*key, text) for key, texts in NUMBERS.items() for text in texts])
def test_one_number_has_one_form(form, region, text):
    assert normalise("phone", text, region) == form


@pytest.mark.parametrize(("text", "region"), NO_NUMBERS)
def test_a_text_that_is_not_one_whole_number_matches_by_its_text(text, region):
    assert normalise("phone", f" {text}\n", region) == text


@pytest.mark.parametrize("type_", APART)
def test_texts_of_different_identifiers_keep_different_forms(type_):
    assert len({normalise(type_, text) for text in APART[type_]}) == len(APART[type_])


@pytest.mark.parametrize("region", REGIONS)
def test_every_regions_example_numbers_have_one_form_however_written(region):
    """The numbers are those of phonenumbers' own metadata: one of each kind that the region has."""
    for kind in PhoneNumberType.values():
        number = phonenumbers.example_number_for_type(region, kind)
        if number is None or (region, kind) == ("CA", PhoneNumberType.UAN):
            continue
        form = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        assert normalise("phone", national, region) == form
        for written in (PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966, PhoneNumberFormat.E164):
            text = phonenumbers.format_number(number, written)
            assert {normalise("phone", text, other) for other in (None, region, "US", "DE")} == {form}


def test_numbers_of_no_region_have_their_form():
    for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS:
        number = phonenumbers.example_number_for_non_geo_entity(code)
        form = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        text = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
        assert normalise("phone", text, "FR") == form


def test_device_ids_that_are_uuids_match_in_lower_case():
    texts = (UUID, UUID.upper(), f" {UUID.title()} ", UUID.replace("-", ""), "{" + UUID + "}", f"urn:uuid:{UUID}")
    assert {normalise("device_id", text) for text in texts} == {UUID}


@pytest.mark.parametrize("type_", OPAQUE)
def test_other_values_lose_white_space_around_them_and_differences_of_composition(type_):
    assert normalise(type_, " Cafe\u0301 1 ") == "Café 1"


@pytest.mark.parametrize("type_", TYPES)
def test_invisible_characters_at_the_ends_are_trimmed(type_):
    invisible = [character for character in map(chr, range(sys.maxunicode + 1)) if character.isspace()]
    invisible += [
        "\u200b",
        "\u2060",
        "\ufeff",
        *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    ]
    for blank in invisible:
        assert normalise(type_, f"{blank} {blank}x{blank} {blank}") == "x"
    assert normalise(type_, "".join(invisible)) == ""


TEXTS = st.text() | st.text(
    st.sampled_from('aAbKi."\\@.-+<> ß\u0130\u0131Σς\u0345\u0301\u200b\ufeff\u00ad\u037e\u1fef＠。')
)
DOMAINS = st.sampled_from(
    ["münchen.de", "xn--mnchen-3ya.de", "X.local", "a", "xn--0.tld", "[1.2.3.4]", "faß.de", "אב.com"]
)
MAIL = st.builds("{}@{}".format, TEXTS, DOMAINS) | TEXTS.map('"{}"@München.de'.format) | TEXTS
DIALLED = st.text(st.sampled_from("0123456789" * 3 + "+＋ -()./;,x#*~ext=abcدоб٣４"), max_size=24)
CALLED = st.sampled_from(REGIONS).map(phonenumbers.example_number)
WRITTEN = st.builds(phonenumbers.format_number, CALLED, st.integers(0, 3)) | st.builds(
    "{}{}{}".format, st.sampled_from(["", "+", "+49", "+1", "00"]), DIALLED, st.sampled_from(["", " ext 12", ";ext=1"])
)
VALUES = {"email": MAIL, "phone": WRITTEN | TEXTS}
TYPED = st.sampled_from(TYPES).flatmap(lambda type_: st.tuples(st.just(type_), VALUES.get(type_, TEXTS)))
SOMEWHERE = st.none() | st.sampled_from(REGIONS) | st.text(max_size=3)


@settings(deadline=None)
@given(TYPED, SOMEWHERE)
@example(("email", "\u0345@münchen.de"), None)  # refused as a mark, an address once it is a letter
@example(("email", "a@\u0345x.münchen.de"), None)
@example(("email", "J\u030c" * 84 + "@ü.de"), None)  # too long, and shorter without its case
@example(("email", "ΐ" * 60 + "@ü.de"), None)  # longer without its case
@example(("phone", "+49 00 30 123456"), "DE")
def test_normalising_twice_changes_nothing(typed, region):
    type_, value = typed
    form = normalise(type_, value, region)
    assert normalise(type_, form, region) == form


@settings(deadline=None)
@given(TYPED, SOMEWHERE)
def test_a_form_is_text_that_every_store_keeps(typed, region):
    type_, value = typed
    form = normalise(type_, value, region)
    assert form.encode().decode() == form
    assert "\0" in value or "\0" not in form
    assert unicodedata.is_normalized("NFC", form)


@settings(deadline=None)
@given(TYPED, SOMEWHERE)
def test_composition_and_surrounding_space_make_no_difference(typed, region):
    type_, value = typed
    for other in (unicodedata.normalize("NFD", value), f"\ufeff {value}\u200b\r\n"):
        assert normalise(type_, other, region) == normalise(type_, value, region)


@settings(deadline=None)
@given(st.text(st.sampled_from("abczéñøжδ0._+-")), st.sampled_from(["x.org", "münchen.de", "x.local", "a b"]))
def test_the_case_of_an_address_makes_no_difference(local, domain):
    address = f"{local}@{domain}"
    assert normalise("email", address.upper()) == normalise("email", address)


@settings(deadline=None)
@given(CALLED, SOMEWHERE)
def test_an_international_number_is_the_same_everywhere(number, region):
    form = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    assert normalise("phone", form, region) == form


@settings(deadline=None)
@given(st.text(st.characters()), SOMEWHERE)
def test_a_customer_id_is_never_changed(value, region):
    assert normalise("customer_id", value, region) == value


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize(
    "value", ["\ud800", "a\ud800@x.org", "a@\ud800.org", "\0", "+1\ud8002015550123", "xn--@xn--", "@" * 300]
)
def test_nothing_is_raised_whatever_the_value(type_, value):
    assert isinstance(normalise(type_, value, "US"), str)


def test_no_address_is_looked_up(monkeypatch):
    """The module that asks the DNS cannot even be imported."""
    monkeypatch.setitem(sys.modules, "email_validator.deliverability", None)
    module._address.cache_clear()
    assert normalise("email", '"john"@Example.com') == "john@example.com"


def test_memoised_values_are_bounded_in_number_and_length():
    for kept, type_, longest, end in (
        (module._address, "email", MAX_EMAIL, "@x.org"), (phones.phone_form, "phone", MAX_PHONE, ""),
    ):  # fmt: skip
        kept.cache_clear()
        beyond = "x" * (longest + 1 - len(end)) + end
        assert normalise(type_, beyond) == beyond
        assert kept.cache_info()[2:] == (4096, 0)
        normalise(type_, beyond[1:])
        assert kept.cache_info().currsize == 1


@pytest.mark.parametrize("type_", TYPES)
def test_a_value_that_is_too_long_is_not_normalised(type_, monkeypatch):
    made = []
    for name in ("normalize", "folded", "_address", "phone_form"):
        monkeypatch.setattr(module, name, lambda *args, name=name: made.append(name) or args[-1])
    for value in (" " * (MAX_VALUE_BYTES + 1), "é" * (MAX_VALUE_BYTES // 2 + 1), "\u200b " * MAX_VALUE_BYTES):
        assert normalise(type_, value) == value
    assert made == []
    normalise(type_, "x" * MAX_VALUE_BYTES)
    assert made


def test_a_value_is_trimmed_in_one_pass():
    """A text that tells how often it is gone over."""

    class Counted(str):
        passes = 0

        def strip(self, *around):
            type(self).passes += 1
            return Counted(super().strip(*around))

    assert normalise("device_id", Counted(" \u200b" * 100 + "x" + "\ufeff\t" * 50)) == "x"
    assert Counted.passes == 1


@pytest.mark.parametrize(
    "text",
    [
        "John" + "n" * (MAX_EMAIL - 9) + "@X.org",
        "J" + "ö" * (MAX_EMAIL // 2 - 3) + "@X.org",
        "John@" + "m\u00fc." * MAX_LABELS + "de",
        "John@" + "ü" * (MAX_LABEL + 1) + ".de",
        "John@" + "a\u3002" * MAX_LABELS + "de",
    ],
    ids=["long", "long in bytes", "many labels", "a long label", "many labels after full stops"],
)
def test_an_address_beyond_any_is_not_read_and_matches_by_its_text(text, monkeypatch):
    monkeypatch.setattr(module, "validate_email", None)
    assert normalise("email", text) == text.lower()


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("John@" + "a." * (MAX_LABELS - 1) + "DE", "john@" + "a." * (MAX_LABELS - 1) + "de"),
        ("John@" + "ü." * (MAX_LABELS - 1) + "de", "john@" + "xn--tda." * (MAX_LABELS - 1) + "de"),
        ("John@" + "A" * MAX_LABEL + ".de", "john@" + "a" * MAX_LABEL + ".de"),
        ("J" * (MAX_EMAIL - 6) + "@x.org", "j" * (MAX_EMAIL - 6) + "@x.org"),
    ],
)
def test_an_address_up_to_the_bounds_is_read(text, form):
    module._address.cache_clear()
    assert normalise("email", text) == form
    assert module._address.cache_info().misses


WORST = {
    "email": {
        "labels": "ü@" + "ü." * 150, "one label": "a@" + "가" * 150, "marks": "a" + "\u0327\u0301" * 150 + "@x.org",
        "mapped stops": "a@" + "。" * 150, "quoted": '"' + "a\\ " * 90 + '"@x.org', "right to left": "a@" + "א." * 150,
        "small labels": "a@" + "b." * 150,
    },
    "phone": {
        "blanks": "+1" + " " * 300 + "2", "blanks before an extension": "+12015550123 ext" + " " * 300 + "1",
        "digits": "+" + "1" * 300, "extensions": "+12015550123" + " x1" * 90, "signs": "+" * 300,
    },
}  # fmt: skip
"""Values for which the libraries take longest, of the length that a value may have."""


def lines_run(work):
    """Return how many lines of Python some work runs."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(("type_", "name"), [(type_, name) for type_, names in WORST.items() for name in names])
def test_work_of_libraries_on_a_value_is_bounded(type_, name):
    """An e-mail address as people have them takes them some 400 lines of Python."""
    for kept in (module._address, phones.phone_form):
        kept.cache_clear()
    value = WORST[type_][name]
    assert len(value.encode()) <= MAX_VALUE_BYTES
    assert lines_run(lambda: normalise(type_, value, "US")) < 20_000


def test_every_region_with_numbers_can_be_a_default():
    assert {region: region_fault(region) for region in REGIONS} == dict.fromkeys(REGIONS)


@pytest.mark.parametrize("region", ["", "d", "de", "De", "DEU", "001", "D1", "ＤＥ", "DE\n"])
def test_a_region_is_a_code_of_two_capital_letters(region):
    assert region_fault(region) == "must be two capital letters: a code of ISO 3166-1 alpha-2"


@pytest.mark.parametrize("region", ["UK", "ZZ", "AQ", "XX"])
def test_a_region_has_telephone_numbers(region):
    assert region_fault(region) == "must be a country or territory that has telephone numbers"
