"""A tenant's own patterns: which are accepted, what they match, and that no value takes long."""

# ruff: noqa: RUF001  # letters that fold to others are what is told apart here

import re
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from growth import LINEAR, growth
from portrait.identity import patterns, placeholders
from portrait.identity.patterns import MAX_CATEGORIES, MAX_CHARACTERS, MAX_LENGTH, MAX_PATTERNS, Patterns
from portrait.identity.rules import Rules
from portrait.model.identifier import Identifier

USUAL = {
    "qa-\\d+": ["qa-17", "QA-1"],
    ".*@example\\.org": ["a@example.org", "A@EXAMPLE.ORG"],
    ".*\\+test.*@.*": ["a+test1@x.org"],
    "^(?:qa|test)[._-]?\\d{1,4}$": ["Test1", "qa_7"],
    "[^@]+@(a|b)\\.(org|com)": ["x@a.com"],
    "[]x]*": ["]x]"],
    "a{2,}": ["aa", "AAA"],
    "": [""],
    "a|": ["", "a"],
    "ä+": ["Ää"],
    "(a+)+": ["aaa"],
    "(?:ab?)*?": ["aba"],
    "\\bno\\b": ["no"],
    "\\p{Greek}+": ["αβγ"],
    "\\\\Q": ["\\q"],
    "(?-i)QA": ["QA"],
    "(?P<name>a)": ["a"],
}


@pytest.mark.parametrize("pattern", USUAL)
def test_usual_patterns_match_whole_values_whatever_their_case(pattern):
    patterns = Patterns([pattern])
    assert not patterns.faults
    assert [value for value in USUAL[pattern] if not patterns.match(value)] == []
    assert not patterns.match("something else")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        *[
            (text, "reference to a group")
            for text in ("(.)\\1", "(?P<x>a)\\g<x>", "a\\Z", "\\Qa", "\\Qa\\E", "\\\\\\Qa")
        ],
        *[(text, "looks around") for text in ("(?=a)a", "(?!a)b", "(?<=a)b", "(?<!a)b", "(?>a)", "(?P=x)", "(?(1)a)")],
        *[(text, "repeats a repetition") for text in ("a++", "a**", "a{3}{4}")],
        *[(text, "repeat less") for text in ("a{1001}", "a{2,1}", "(a{100}){100}")],
        *[(text, "repeats nothing") for text in ("*", "a|*", "(+)")],
        *[(text, "close it") for text in ("(", "(a|b", "[a", "(?:a")],
        ("a)", "open it"),
        ("a)|(b", "open it"),
        ("[z-a]", "runs backwards"),
        ("[[:ab:]]", "RE2 does not know"),
        ("\\p{Klingon}", "RE2 does not know"),
        ("a\\", "ends in a backslash"),
        ("(?P<a b>x)", "cannot be run by RE2"),
        ("\\pL{1,20}" * 2, "cannot be run by RE2"),
        ("(?:.{0,30}a){30}", "what they may cost together"),
    ],
)  # fmt: skip
def test_an_unusable_pattern_is_refused_with_a_correct_alternative(pattern, words, capfd):
    assert words in Patterns([pattern]).faults[0]
    assert capfd.readouterr() == ("", ""), (
        "RE2 writes what it was given to the standard error, unless it is told not to"
    )


@pytest.mark.parametrize(
    ("many", "first"),
    [
        (["a"] * (MAX_PATTERNS + 2), MAX_PATTERNS),
        (["a" * 500] * (MAX_CHARACTERS // 500 + 2), MAX_CHARACTERS // 500),
        (["\\p{Greek}"] * (MAX_CATEGORIES + 2), MAX_CATEGORIES),
        (["\\P{Greek}|[^\\pN]"] * MAX_CATEGORIES, MAX_CATEGORIES // 2),
    ],
)
def test_patterns_beyond_a_bound_are_not_read(many, first, monkeypatch):
    read = []
    real = patterns._size
    monkeypatch.setattr(patterns, "_size", lambda pattern: read.append(pattern) or min(real(pattern), 1))
    faults = Patterns(many).faults
    assert list(faults) == list(range(first, len(many)))
    assert all("that a tenant may have" in fault or "together" in fault for fault in faults.values())
    assert len(read) == first


def test_the_total_cost_of_patterns_is_bounded_and_the_cheaper_ones_stay():
    patterns = Patterns(["(?:.?){50}", *["a{700}"] * 3, "b"])
    assert list(patterns.faults) == [2, 3]
    assert patterns.match("b")


def test_an_unusable_pattern_leaves_the_others():
    patterns = Patterns(["qa.*", "(?!a)b", "no"])
    assert list(patterns.faults) == [1]
    assert [patterns.match(text) for text in ("qa1", "NO", "b")] == [True, True, False]


DIFFERENCES = {
    "٣": ("\\d", "\\D", "\\pN"),
    "é": ("\\w", "\\W", "\\pL"),
    "\u00a0": ("\\s", "\\S", "[\\s\\pZ]"),
    "\x0b": ("\\s", "\\S", "[\\s\\v]"),
    "ı": ("i", "ı", "[iı]"),
    "aaa": ("a{,3}", "a{3}", "a{0,3}"),
    "x": ("[[:alpha:]]", "[[:alpha:]]", "[[:alpha:]]"),
}
"""By a value: its pattern in Python's `re` and the same in RE2, where both or RE2 alone can be written."""


def test_differences_from_python_are_as_documented():
    """The table of tried patterns in `docs/reference/identifiers.md`."""
    for value, (python, other, right) in DIFFERENCES.items():
        if python != other:
            assert re.fullmatch(python, value, re.IGNORECASE), value
            assert not Patterns([python]).match(value), value
        assert Patterns([other]).match(value), value
        assert Patterns([right]).match(value), value


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("no$", "no\n", False), ("^no$", "no", True), ("a.b", "a\nb", False), ("a(?s:.)b", "a\nb", True),
        ("k", "\u212a", True), ("s", "\u017f", True), ("ß", "ẞ", True), ("ß", "ss", False), ("σ", "ς", True),
        ("é", "É", True), ("é", "e\u0301", False), ("ﬁ", "fi", False), ("a|ab", "ab", True), ("a\0b", "A\0B", True),
        ("\\x41", "a", True), ("\\_\\-\\@", "_-@", True),
    ],
)  # fmt: skip
def test_patterns_match_as_in_python(pattern, value, matches):
    assert Patterns([pattern]).match(value) is matches
    assert bool(re.fullmatch(pattern.replace("(?s:.)", "[\\s\\S]"), value, re.IGNORECASE)) is matches


def written(tree):
    kind, *parts = tree
    if kind == "one":
        return parts[0]
    if kind == "times":
        least, most = parts[1]
        return f"(?:{written(parts[0])})" + {(0, None): "*", (1, None): "+", (0, 1): "?"}.get(
            (least, most), f"{{{least},{most or ''}}}"
        )
    return f"(?:{('|' if kind == 'or' else '').join(map(written, parts))})"


trees = st.recursive(
    st.tuples(st.just("one"), st.sampled_from(["a", "b", ".", "[^a]", "^", "$", ""])),
    lambda inner: (
        st.tuples(st.just("times"), inner, st.sampled_from([(0, None), (1, None), (0, 1), (1, 3), (2, None)]))
        | st.tuples(st.just("or"), inner, inner)
        | st.tuples(st.just("all"), inner, inner)
    ),
    max_leaves=6,
)


@given(trees)
def test_a_pattern_matches_what_it_says(tree):
    pattern = written(tree)
    patterns = Patterns([pattern])
    assert not patterns.faults
    for value in map("".join, product("ab", repeat=4)):
        assert patterns.match(value) == bool(re.fullmatch(pattern, value))


PIECES = [
    "a",
    "b",
    "|",
    "(",
    ")",
    "(?:",
    "(?i)",
    "(?-i)",
    "(?P<x>",
    "[",
    "]",
    "^",
    "$",
    "*",
    "\\",
    "\\\\",
    "\\Q",
    "\\E",
    "\\z",
]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), max_size=4))
@example(["\\Qa", "b"])
@example(["a)|(b", "b"])
@example(["(?-i)A", "b"])
def test_patterns_together_match_what_each_does_by_itself(many):
    together, singles = Patterns(many), [Patterns([pattern]) for pattern in many]
    assert [index in together.faults for index in range(len(many))] == [bool(single.faults) for single in singles]
    for value in ("", "a", "b", "A", "B", "ab", "a)", "(b", "|", "Q", "\\", "a|b", "b)"):
        assert together.match(value) == any(single.match(value) for single in singles)


def test_a_pattern_matches_a_whole_value_and_none_that_is_long():
    rules = Rules(blocked_patterns=["qa.*", "qb$"])
    assert rules.blocks(Identifier("device_id", "qa" + "x" * (MAX_LENGTH - 2)))
    assert not rules.blocks(Identifier("device_id", "qa" + "x" * (MAX_LENGTH - 1)))
    assert rules.blocks(Identifier("device_id", "qb"))
    assert not rules.blocks(Identifier("device_id", "qb\n"))


SHAPES = {
    "one letter": lambda size: "a" * size,
    "an end that fails": lambda size: "a" * size + "!",
    "digits": lambda size: "7" * size + "!",
    "digits apart": lambda size: "+1" + "-7" * (size // 2) + "8",
    "zeros and signs": lambda size: " 0-" * (size // 3) + "x",
    "signs": lambda size: "123" + "-" * size,
    "a name in brackets": lambda size: "{{" + "a" * size,
    "names in brackets": lambda size: "{{" + "a." * (size // 2) + "!",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pattern", ["(a+)+b", "(?:a|a)*c", ".*.*.*.*x", "(?:.*a){3}b"])
def test_a_match_takes_time_in_proportion_to_the_value(pattern, shape):
    assert growth(Patterns([pattern])._program.fullmatch, SHAPES[shape]) < LINEAR


@pytest.mark.parametrize("shape", SHAPES)
def test_a_built_in_pattern_takes_time_in_proportion_to_the_value(shape):
    assert growth(placeholders.MACRO.fullmatch, SHAPES[shape]) < LINEAR
