"""Values as they are compared, and the keys that pairs share."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portrait.matching.clean import clean, keys, soundex, squeeze
from portrait.matching.model import COLUMNS


@pytest.mark.parametrize(
    ("value", "squeezed"),
    [
        ("O'Brien-Smith", "obriensmith"),
        ("Müller", "muller"),
        ("Łódź", "lodz"),
        ("Groß", "gross"),
        (" -- ", None),
        ("", None),
    ],
)
def test_case_marks_spaces_and_signs_say_nothing(value, squeezed):
    assert squeeze(value) == squeezed


@example("\N{MATHEMATICAL BOLD CAPITAL A}")
@given(st.text(max_size=20))
def test_compared_values_are_ascii_in_any_script(value):
    """DuckDB counts bytes and Spark characters: only of ASCII are both the same."""
    squeezed = squeeze(value)
    assert squeezed is None or (squeezed.isascii() and squeezed.isalnum() and squeezed == squeezed.lower())


def test_another_script_keeps_names_apart_and_a_typing_error_small():
    assert squeeze("Иванов") != squeeze("Петров")
    assert sum(a != b for a, b in zip(squeeze("Иванов"), squeeze("Иваноа"), strict=True)) <= 2


CODES = {
    "washington": "w252",
    "lee": "l000",
    "gutierrez": "g362",
    "pfister": "p236",
    "jackson": "j250",
    "tymczak": "t522",
}


@pytest.mark.parametrize(("name", "code"), list(CODES.items()))
def test_soundex_of_the_published_examples(name, code):
    """The examples of the National Archives."""
    assert soundex(name) == code


def test_a_whole_name_a_house_number_a_date_an_address_and_a_phone_are_taken_apart():
    cleaned = clean({
        "name": "Ada King Lovelace",
        "street": "12b St. James's Square",
        "birth_date": "1815-12-10T00:00:00Z",
        "email": " Ada@Example.org ",
        "phone": "+44 20 7946 0958",
    })  # fmt: skip
    assert (cleaned["given_name"], cleaned["surname"]) == ("ada", "lovelace")
    assert (cleaned["street_number"], cleaned["street"]) == ("12b", "stjamesssquare")
    assert cleaned["birth_date"] == "18151210"
    assert (cleaned["email"], cleaned["email_user"]) == ("ada@example.org", "ada")
    assert cleaned["phone"] == clean({"phone": "020 7946 0958"})["phone"]


def test_an_empty_value_is_none_and_gives_no_key():
    assert set(clean(dict.fromkeys(COLUMNS)).values()) <= {None}
    assert clean({"surname": float("nan")}).get("surname") is None
    assert list(keys(clean({"given_name": "ada"}))) == []


ONE = {
    "given_name": "Ada",
    "surname": "Lovelace",
    "street": "Oak Lane",
    "street_number": "7",
    "postcode": "3124",
    "city": "Bath",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"given_name": "Lovelace", "surname": "Ada", "street": None, "street_number": None, "city": None},
        {"given_name": "Eda", "surname": "Lovelase", "postcode": "1324", "city": "Bsth", "street": None},
        {"given_name": None, "surname": "King", "postcode": "3142", "city": None, "street": None},
        {
            "given_name": "x",
            "surname": "y",
            "street_number": None,
            "postcode": None,
            "street": None,
            "street_2": "oak-lane",
        },
    ],
)
def test_a_pair_shares_a_key_whatever_people_do(changes):
    first, other = clean(ONE), clean({**ONE, **changes})
    assert set(keys(first)) & set(keys(other))


def test_one_attribute_alone_is_no_key():
    first, other = clean(ONE), clean({"surname": "Lovelace", "city": "Bristol", "postcode": "9999"})
    assert not set(keys(first)) & set(keys(other))
