"""What clients write that no store keeps is mended; what strict JSON holds stays what it is; the rest is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.collecting import lenient
from portrait.model import strict_json
from portrait.model.errors import MalformedJson

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
odd = st.recursive(
    plain | st.floats() | st.integers(-(2**200), 2**200) | st.text(st.characters(categories=["Cs", "Ll", "Cc"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_what_strict_json_holds_stays_what_it_is(value):
    assert lenient.decode(json.dumps(value).encode()) == value


@given(odd)
def test_whatever_pythons_encoder_writes_becomes_what_a_store_keeps(value):
    strict_json.check(strict_json_of(lenient.decode(json.dumps(value).encode())))


def strict_json_of(value):
    return json.dumps(value, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"NaN", None), (b"[-Infinity, 1e999]", [None, None]), (b"9223372036854775808", "9223372036854775808"),
        (rb'"a\u0000b"', "a\ufffdb"), (rb'{"\ud800": "\udc00x"}', {"\ufffd": "\ufffdx"}), (b'"\xff"', "\ufffd"),
        (b'{"a": 1, "a": 2}', {"a": 2}), (b'"a\tb"', "a\tb"),
    ],
)  # fmt: skip
def test_each_value_that_no_store_keeps_is_mended_in_its_own_way(text, value):
    assert lenient.decode(text) == value


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b"{'a': 1}", b"nan", b"1 2", b'{"a" 1}'])
def test_what_is_no_json_even_so_is_refused(text):
    for read in (lenient.decode, lenient.elements, lenient.members):
        with pytest.raises(MalformedJson):
            read(text)


@pytest.mark.parametrize("inside", [b"1", b"NaN"])
def test_what_is_nested_too_deep_is_refused(inside):
    most = strict_json.MAX_DEPTH
    lenient.decode(b"[" * most + inside + b"]" * most)
    with pytest.raises(MalformedJson):
        lenient.decode(b"[" * (most + 1) + inside + b"]" * (most + 1))


def test_integers_of_any_length_are_the_texts_of_their_digits():
    for digits in ("1" * 5000, "-" + "1" * 5000, "9" * 20):
        assert lenient.decode(digits.encode()) == digits


def test_one_part_that_is_refused_costs_no_other():
    deep = b"[" * 100 + b"NaN" + b"]" * 100
    texts = lenient.elements(b"[1, " + deep + b", 2]")
    assert [lenient.decode(texts[0]), lenient.decode(texts[2])] == [1, 2]
    with pytest.raises(MalformedJson):
        lenient.decode(texts[1])


@given(st.lists(odd, max_size=5))
def test_elements_and_members_are_each_decoded_by_themselves(values):
    texts = lenient.elements(json.dumps(values).encode())
    assert [lenient.decode(text) for text in texts] == lenient.decode(json.dumps(values).encode())
    named = {str(number): value for number, value in enumerate(values)}
    members = lenient.members(json.dumps(named).encode())
    assert {name: lenient.decode(text) for name, text in members.items()} == lenient.decode(json.dumps(named).encode())


def test_what_is_no_list_has_no_elements_and_what_is_no_object_no_members():
    assert lenient.elements(b'{"a": NaN}') is lenient.elements(b"{}") is None
    assert lenient.members(b"[NaN]") is lenient.members(b"[]") is None
