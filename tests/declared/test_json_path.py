"""JSON paths: names, indexes and wildcards of RFC 9535."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.declared.json_path import JsonPath

ROOT = {"a": {"b c": [1, 2, {"d": None}]}, "e": [], "n": None, "ü": 3}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$", [ROOT]),
        ("$.a['b c'][0]", [1]),
        ('$["a"]["b c"][-1].d', [None]),
        ("$.a['b c'][*]", [1, 2, {"d": None}]),
        ("$.e[*]", []),
        ("$.n[*]", []),
        ("$.a.*[1]", [2]),
        ("$.ü", [3]),
        ("$['a'][ 'b c' ][ 0 ]", [1]),
    ],
)
def test_a_path_leads_to_values(path, values):
    assert JsonPath(path).values(ROOT) == values


@pytest.mark.parametrize(
    "path", ["$.x", "$.a.x", "$.e[0]", "$.a['b c'][3]", "$.a['b c'][-4]", "$.a[0]", "$.ü[*]", "$.n.x"]
)
def test_a_step_that_leads_nowhere_is_a_fault_or_nothing(path):
    made = JsonPath(path)
    with pytest.raises(ValueError, match="there is no"):
        made.values(ROOT)
    if made.is_single:
        assert made.value(ROOT) is None


@pytest.mark.parametrize(
    "path", ["", "a", "a.b", "$a", "$.", "$..a", "$[?@.a]", "$[0:2]", "$['a", "$[a]", "$.a[", "$.a b", "$['a','b']"]
)
def test_what_is_no_such_path_is_refused(path):
    with pytest.raises(ValueError, match=r"must begin with \$|is no path"):
        JsonPath(path)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_a_single_path_leads_to_what_all_values_of_it_are(value):
    for text in ("$.a", "$[0]", "$['']", "$[-1][0]"):
        path = JsonPath(text)
        try:
            assert path.values(value) == [path.value(value)]
        except ValueError:
            assert path.value(value) is None
