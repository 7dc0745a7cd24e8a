"""How texts become values: a table for each type, and what of a field's settings changes it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapping.plans import HEAD, lines, planned, reasons, records
from portrait.tables.table import Row, Unreadable

NOTHING = object()


def mapping(settings, values=""):
    """Return a mapping with an attribute of these settings."""
    of_field = f'column = "a", {settings}'.rstrip(", ")
    return f"{HEAD}[values]\n{values}\n[attributes]\nname = {{ {of_field} }}"


def field(settings, cell, values=""):
    """Return what an attribute with these settings has as its value, or NOTHING where there is none."""
    text = mapping(settings, values)
    made = records(text, {"id": "c1", "a": cell})
    return made[0]["value"] if made else NOTHING


def fault(settings, cell, values=""):
    (reason,) = reasons(mapping(settings, values), {"id": "c1", "a": cell})
    assert reason.startswith("Column `a` ")
    return reason


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Anna", "Anna"),
        ("  Anna \u00a0", "Anna"),
        ("00731", "00731"),
        ("442079460018.0", "442079460018.0"),
        ("12345e6789", "12345e6789"),
        ("NO", "NO"),
        ("Null-Meyer", "Null-Meyer"),
        ("", NOTHING),
        ("   ", NOTHING),
        ("NULL", NOTHING),
        ("null", NOTHING),
        (" n/a ", NOTHING),
        ("#N/A", NOTHING),
        ("nan", NOTHING),
        ("NaT", NOTHING),
        ("\\N", NOTHING),
        ("(null)", NOTHING),
        ("<NA>", NOTHING),
        ("None", "None"),
        ("0", "0"),
    ],
)
def test_a_text(text, value):
    assert field("", text) == value


@pytest.mark.parametrize(
    ("settings", "text", "json_text"),
    [
        ("", "1.10", "1.10"),
        ("", "007", "7"),
        ("", "-3", "-3"),
        ("", "+5", "5"),
        ("", ".5", "0.5"),
        ("", "5.", "5"),
        ("", "1e5", "1e5"),
        ("", "1.5E-3", "1.5E-3"),
        ("", "0", "0"),
        ("", "9007199254740993", "9007199254740993"),
        ("", "0.1000000000000000000001", "0.1000000000000000000001"),
        ("", "9223372036854775807", "9223372036854775807"),
        ("", "-9223372036854775808", "-9223372036854775808"),
        ('decimal = ","', "12,50", "12.50"),
        ('decimal = ",", thousands = "."', "1.234.567,89", "1234567.89"),
        ('decimal = ",", thousands = "."', "1234567,89", "1234567.89"),
        ('thousands = ","', "1,234", "1234"),
        ('thousands = ","', "12,34,567.5", "1234567.5"),
        ("thousands = \"'\"", "1'234.5", "1234.5"),
        ('thousands = "\\u202f"', "1\u202f234", "1234"),
        ('strip = "€"', "€12.50", "12.50"),
        ('strip = "€"', "12.50 €", "12.50"),
    ],
)  # fmt: skip
def test_a_number_keeps_its_digits(settings, text, json_text):
    (line,) = planned(mapping(f'type = "number", {settings}'), ("id", "a")).lines(Row(2, ["c1", text]))
    assert b'"value":%b}' % json_text.encode() in line


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ("", "12,50"), ("", "€12"), ("", "12 %"), ("", "1 234"), ("", "1,234.5"), ("", "0x1F"), ("", "1_000"),
        ("", "--1"),
        ("", "."), ("", "e5"), ("", "inf"), ("", "-Infinity"), ("", "٣"), ("", "1.2.3"), ("", "="),
        ('decimal = ","', "12.50"), ('thousands = ","', "1,23"), ('thousands = ","', "1,2345"),
        ('thousands = ","', ",123"),
        ('decimal = ",", thousands = "."', "1.23"),
    ],
)  # fmt: skip
def test_no_number(settings, text):
    assert "must hold a number in digits, with a decimal" in fault(f'type = "number", {settings}', text)


def test_numbers_that_json_cannot_keep():
    assert "beyond 64 bit" in fault('type = "number"', "9223372036854775808")
    assert "beyond 64 bit" in fault('type = "integer"', "-9223372036854775809")
    assert "beyond 64 bit" in fault('type = "number"', "1" * 5000)
    assert "out of range" in fault('type = "number"', "1e400")
    assert "out of range" in fault('type = "number"', "1" * 5000 + ".5")


@pytest.mark.parametrize(("text", "value"), [("731.0", 731), ("731", 731), ("-2.", -2), ("0007", 7), ("-0", 0)])
def test_a_whole_number(text, value):
    assert field('type = "integer"', text) == value


@pytest.mark.parametrize("text", ["731.5", "1e3", "1.0.0", "a"])
def test_no_whole_number(text):
    assert "must hold a whole number" in fault('type = "integer"', text)


@pytest.mark.parametrize("text", ["yes", "Y", "TRUE", "t", "1"])
def test_yes(text):
    assert field('type = "boolean"', text) is True


@pytest.mark.parametrize("text", ["no", "N", "False", "f", "0"])
def test_no(text):
    assert field('type = "boolean"', text) is False


def test_other_words_for_yes_and_no():
    assert field('type = "boolean"', "Ja", 'yes = ["ja"]\nno = ["nein"]') is True
    assert field('type = "boolean", no = ["nix"]', "NIX", 'yes = ["ja"]\nno = ["nein"]') is False
    assert "neither among `yes` nor among `no`" in fault('type = "boolean"', "perhaps")


@pytest.mark.parametrize(
    ("settings", "text", "value"),
    [
        ("", "a, b ,,c", ["a", "b", "c"]),
        ("", '"VIP","Blog"', ["VIP", "Blog"]),
        ("", '"a,b", "say ""hi"""', ["a,b", 'say "hi"']),
        ("", '["email","sms"]', ["email", "sms"]),
        ("", "[]", NOTHING),
        ("", ",", NOTHING),
        ('separator = ";"', "a;b,c", ["a", "b,c"]),
        ('separator = " | "', "a | b", ["a", "b"]),
        ('separator = "\\n"', "a\nb", ["a", "b"]),
    ],
)  # fmt: skip
def test_a_list(settings, text, value):
    assert field(f'type = "list", {settings}', text) == value


@pytest.mark.parametrize("text", ['"a', '"a"b,c', '"a\nb'])
def test_a_list_with_wrong_quotes(text):
    assert "quotes do not match" in fault('type = "list"', text)


@pytest.mark.parametrize("text", ['{"a": [1, 2.50]}', "3", '"text"', "true"])
def test_json(text):
    assert field('type = "json"', text) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["{", "{'a': 1}", "NaN1", '{"a":1,"a":2}', "[" * 70, '"\\u0000"', "18446744073709551616"]
)
def test_no_json(text):
    assert "holds no JSON that can be kept" in fault('type = "json"', text)


def test_null_of_json_is_the_value_that_there_is_none():
    assert field('type = "json", none = []', "null") is None
    assert field('type = "json"', "null") is NOTHING  # NULL is among the texts that say nothing
    assert field("", None) is None
    assert field('type = "number"', None) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("SUBSCRIBED", "granted"), (" subscribed ", "granted"), ("Unsubscribed", "revoked"), ("never", NOTHING),
        ("", NOTHING), ("N/A", NOTHING), ("2", 7),
    ],
)  # fmt: skip
def test_words(text, value):
    assert field('words = { Subscribed = "granted", UNSUBSCRIBED = "revoked", never = "", 2 = 7 }', text) == value


def test_an_unknown_word_is_refused_and_not_repeated():
    reason = fault('words = { yes = "granted" }', "secret")
    assert reason == "Column `a` holds a text that has no meaning in `words`."


def test_a_word_may_mean_something_that_would_say_nothing_otherwise():
    assert field('words = { "n/a" = "never asked" }', "N/A") == "never asked"


def test_a_column_may_have_words_for_none_of_its_own():
    assert field('none = ["-"]', "-") is NOTHING
    assert field('none = ["-"]', "NULL") == "NULL"
    assert field("", "-", 'none = ["-"]') is NOTHING
    assert field('none = ["-"]', "") is NOTHING


@pytest.mark.parametrize(
    ("text", "value"), [("'00731", "00731"), (" '+49 30 ", "+49 30"), ("O'Hara", "O'Hara"), ("''", NOTHING)]
)
def test_signs_are_left_out_at_the_ends(text, value):
    assert field('strip = "\'"', text) == value


def test_a_moment_and_a_date_by_the_settings_of_the_mapping_or_the_field():
    values = 'date = "dmy"\nzone = "Europe/Berlin"'
    assert field('type = "time"', "03/04/2026 12:00", values) == "2026-04-03T10:00:00Z"
    assert field('type = "time", zone = "UTC", date = "mdy"', "03/04/2026 12:00", values) == "2026-03-04T12:00:00Z"
    assert field('type = "date"', "03/04/2026", values) == "2026-04-03"
    assert field('type = "date"', "31.12.9999", f'{values}\nno_dates = ["31.12.9999"]') is NOTHING
    assert "is the day or the month first" in fault('type = "date"', "03/04/2026")


def test_numbers_are_texts_where_the_field_is_a_text():
    text = f'{HEAD}[identifiers]\nphone = {{ column = "a", type = "integer" }}'
    (record,) = records(text, {"id": "c1", "a": "442079460018.0"})
    assert record["value"] == "442079460018"


def test_what_is_no_unicode_is_refused():
    assert "no text of Unicode" in fault("", "\ud800")
    assert "no text of Unicode" in fault('type = "json"', '"\ud800"')
    assert "NUL character" in fault("", "a\0b")


def test_an_unreadable_cell_is_refused_with_its_reason():
    reason = fault("", Unreadable("holds the error #N/A at C17"))
    assert reason == "Column `a` holds the error #N/A at C17."


def test_a_template():
    text = f'{HEAD}[attributes]\nname = {{ template = "{{a}}-{{ b }}/{{row number}}" }}'
    text = text.replace("{ b }", "{b}")
    assert records(text, {"id": "c1", "a": " x ", "b": "y"}, number=7)[0]["value"] == "x-y/7"
    assert records(text, {"id": "c1", "a": "x", "b": ""}) == []
    assert records(text, {"id": "c1", "a": "NULL", "b": "y"}) == []
    assert records(text, {"id": "c1", "a": None, "b": "y"}) == []
    assert reasons(text, {"id": "c1", "a": Unreadable("is odd"), "b": "y"}) == ["Column `a` is odd."]


def test_a_template_is_read_as_other_texts_are():
    text = f'{HEAD}[attributes]\nname = {{ template = "{{day}} {{hour}}", type = "time", zone = "UTC" }}'
    assert records(text, {"id": "c1", "day": "2026-04-03", "hour": "10:00"})[0]["value"] == "2026-04-03T10:00:00Z"
    (reason,) = reasons(text, {"id": "c1", "day": "2026-04-03", "hour": "soon"})
    assert reason.startswith("The template of `day`, `hour` holds no date or moment")


def test_the_first_column_that_has_a_value_counts():
    text = f'{HEAD}[attributes]\nname = ["a", "b"]'
    assert records(text, {"id": "c1", "a": "x", "b": "y"})[0]["value"] == "x"
    assert records(text, {"id": "c1", "a": "n/a", "b": "y"})[0]["value"] == "y"
    assert records(text, {"id": "c1", "a": None, "b": "y"})[0]["value"] == "y"
    assert records(text, {"id": "c1", "a": None, "b": ""})[0]["value"] is None
    assert records(text, {"id": "c1", "a": "", "b": ""}) == []


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("subscribed_members_export_1.csv", "granted"),
        ("UNSUBSCRIBED_x.csv", "revoked"),
        ("nonsubscribed_x.csv", NOTHING),
    ],
)
def test_the_name_of_the_file_may_be_the_value(file, value):
    text = f'{HEAD}[attributes.name.file]\n"subscribed_*" = "granted"\n"unsubscribed_*" = "revoked"\n"*" = ""'
    text += '\n[attributes]\nother = "a"'
    made = records(text, {"id": "c1", "a": "x"}, file=file)
    assert [record["value"] for record in made if record["name"] == "name"] == ([] if value is NOTHING else [value])


@given(st.text())
def test_any_text_is_kept_or_refused(text):
    made = lines(f'{HEAD}[attributes]\nname = "a"', {"id": "c1", "a": text})
    stripped = text.strip()
    if "\0" in stripped:
        assert "NUL" in made[0].detail
    elif stripped and stripped.casefold() not in {"null", "n/a", "#n/a", "nan", "nat", "<na>", "(null)", "\\n"}:
        assert made[0]["record"]["value"] == stripped
    else:
        assert made == []


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12))
def test_any_number_written_with_thousands_reads_back(number):
    written = f"{number:,}".replace(",", " ").replace(".", ",").replace(" ", ".")
    read = field('type = "number", decimal = ",", thousands = "."', written)
    assert float(read) == float(number)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])).map(str.strip).filter(bool), min_size=1))
def test_any_list_written_as_a_line_of_csv_reads_back(elements):
    text = ",".join('"' + element.replace('"', '""') + '"' for element in elements)
    assert field('type = "list"', text) == elements
