"""Patterns of a tenant's own: which are let through, and that none of these has many ways of matching."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.identity import patterns
from portrait.identity.patterns import MAX_LENGTH, fault
from portrait.identity.rules import Rules
from portrait.model.identifier import Identifier

USUAL = [
    "qa-\\d+", ".*@example\\.org", ".*\\+test.*@.*", "^(?:qa|test)[._-]?\\d{1,4}$", "[^@]+@(a|b)\\.(org|com)", "[]x]*",
    "[\\]]{3}", "a{2,}", "(abc)?", "", "a|", "\\D\\S\\W\\t", "ä+",
]  # fmt: skip


@pytest.mark.parametrize("pattern", USUAL)
def test_usual_patterns_are_let_through(pattern):
    assert fault([pattern]) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+", "(a|a)*", "(x+x+)+y", "(a|b){2,30}", "((a*)?)+", "(a?)*", "(.)\\1", "(?P<x>a)(?P=x)", "(?=a)a",
        "(?i)a", "(?>a)", "a*?", "a++", "\\bx", "(?:a*)*",
    ],
)  # fmt: skip
def test_patterns_of_which_no_bound_is_known_are_refused(pattern):
    assert "more than" in fault([pattern])


@pytest.mark.parametrize(
    "pattern", ["a?" * 30 + "a" * 30, ".*" * 4, "(a|a)" * 30, "a{0,250}" * 3, "(a*|b*|c*)" * 4, "(a*b*)?(c*d*)?"]
)
def test_patterns_with_too_many_ways_are_refused(pattern):
    assert "too many ways" in fault([pattern])


def test_all_patterns_together_have_one_bound():
    assert fault([".*a.*b.*"]) is None
    assert "too many ways" in fault([".*a.*b.*"] * 2)


@pytest.mark.parametrize("pattern", ["(", "a)", "[a", "a{3}{4}", "*", "a{2,1}", "a{9999999999}"])
def test_what_is_no_expression_is_refused(pattern):
    assert fault([pattern]) == "is not a regular expression"


def ways(tree, value):
    """Return in how many ways a tree matches what begins a value, by the length of what it matches."""
    kind, *parts = tree
    if kind == "one":
        return [1] if value[:1] == parts[0] else []
    if kind == "times":
        least, most = parts[1]
        length = next((at for at, one in enumerate(value) if one != parts[0]), len(value))
        return [each for each in range(length + 1) if least <= each <= (most if most is not None else each)]
    if kind == "maybe":
        return [0, *ways(parts[0], value)]
    if kind == "or":
        return [length for part in parts for length in ways(part, value)]
    found = [0]
    for part in parts:
        found = [at + length for at in found for length in ways(part, value[at:])]
    return found


def written(tree):
    kind, *parts = tree
    if kind == "one":
        return parts[0]
    if kind == "times":
        least, most = parts[1]
        return parts[0] + {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, most), f"{{{least},{most or ''}}}")
    inner = ("|" if kind == "or" else "").join(map(written, parts))
    return f"({inner})?" if kind == "maybe" else f"(?:{inner})"


trees = st.recursive(
    st.tuples(st.just("one"), st.sampled_from("ab"))
    | st.tuples(
        st.just("times"), st.sampled_from("ab"), st.sampled_from([(0, None), (1, None), (0, 1), (1, 3), (2, None)])
    ),
    lambda inner: (
        st.tuples(st.just("maybe"), inner)
        | st.tuples(st.just("or"), inner, inner)
        | st.tuples(st.just("all"), inner, inner)
    ),
    max_leaves=5,
)


LENGTH = 6


@given(trees)
def test_there_are_never_more_ways_than_were_counted(tree):
    pattern = written(tree)
    most = patterns._Reader(pattern).read().total(LENGTH)
    for value in map("".join, product("ab", repeat=LENGTH)):
        found = ways(tree, value)
        assert len(found) <= most
        assert (len(value) in found) == bool(re.fullmatch(pattern, value)), "else it counts something else"


def test_a_pattern_matches_a_whole_value_and_none_that_is_long():
    rules = Rules(blocked_patterns=["qa.*", "no$"])
    assert rules.blocks(Identifier("device_id", "qa" + "x" * (MAX_LENGTH - 2)))
    assert not rules.blocks(Identifier("device_id", "qa" + "x" * (MAX_LENGTH - 1)))
    assert rules.blocks(Identifier("device_id", "no"))
    assert not rules.blocks(Identifier("device_id", "no\n"))
