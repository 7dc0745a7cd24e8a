"""Medians, ratios, rows: arithmetic, without a server."""

import pytest

from bench.measure import Probe, Series, Skipped, Taken, measure, ratios, spread
from bench.process import Failure
from bench.rows import LARGE, ROWS, Row, outcome, probe_of


def series(*values, **more):
    return Series("a title", "a unit", list(values), **more)


def test_the_median_stands_between_least_and_most():
    figures = spread([5.0, 1.0, 2.0])
    assert (figures.median, figures.least, figures.most) == (2.0, 1.0, 5.0)


def test_ratios_pair_what_was_taken_in_one_round():
    # The medians alone would say 2.0.
    assert ratios([10.0, 40.0, 20.0], [10.0, 10.0, 40.0]) == [1.0, 4.0, 0.5]


def test_a_ratio_needs_both_of_a_round():
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("a", "", "x", "y", at_least=2), True),
        (Row("a", "", "x", "y", at_least=2.1), False),
        (Row("a", "", "x", "y", at_most=2), True),
        (Row("a", "", "x", "y", at_most=1.9), False),
        (Row("a", "", "x", "y"), None),
        (Row("a", "", "y", at_most=4), False),
    ],
)
def test_a_row_is_met_by_the_median_of_its_rounds(row, met):
    series_by_probe = {"x": series(6.0, 10.0, 50.0), "y": series(5.0, 5.0, 5.0)}
    result = outcome(row, series_by_probe)
    assert result.met is met
    assert len(result.rounds) == 3


def test_latencies_are_named_by_a_colon():
    series_by_probe = {"x": series(1.0, p50=[2.0], p99=[8.0])}
    assert outcome(Row("a", "", "x:p99", "x:p50", at_most=5), series_by_probe).measured.median == 4.0


def test_a_row_whose_probe_failed_has_failed():
    result = outcome(Row("a", "", "x", "y", at_least=1), {"x": series(1.0), "y": series(failed="status 500: 3")})
    assert (result.failed, result.met, result.measured) == ("y: status 500: 3", None, None)


def test_a_row_whose_probe_is_not_there_is_skipped_and_says_why():
    result = outcome(Row("a", "", "x", "y", at_least=1), {"x": series(1.0), "y": series(skipped="no cluster")})
    assert (result.skipped, result.met) == ("no cluster", None)


def test_rounds_are_interleaved():
    taken = []

    def probe(name):
        return Probe(name, name, "", lambda: taken.append(name) or Taken(1.0), lambda: taken.append(f"prepare {name}"))

    measure([probe("a"), probe("b")], 2, lambda _: None)
    assert taken == ["prepare a", "prepare b", "a", "b", "a", "b"]


def test_those_that_are_compared_take_turns_at_being_the_first():
    taken = []

    def probe(name):
        return Probe(name, name, "", lambda: taken.append(name) or Taken(1.0))

    measure([probe(name) for name in ("a1", "a2", "a3", "b1", "b2", "b3")], 4, lambda _: None, beside=3)
    rounds = [" ".join(taken[first : first + 6]) for first in range(0, 24, 6)]
    assert rounds == ["a1 a2 a3 b1 b2 b3", "a2 a3 a1 b2 b3 b1", "a3 a1 a2 b3 b1 b2", "a1 a2 a3 b1 b2 b3"]


def test_an_answer_that_lacks_what_is_looked_for_fails_its_probe_alone():
    measured = measure(
        [Probe("a", "", "", lambda: {}["etag"]), Probe("b", "", "", lambda: Taken(1.0))], 1, lambda _: None
    )
    assert "etag" in measured["a"].failed
    assert measured["b"].value == [1.0]


@pytest.mark.parametrize(("error", "field"), [(Failure("broken"), "failed"), (Skipped("absent"), "skipped")])
def test_a_probe_that_does_not_work_leaves_the_others_going(error, field):
    def broken():
        raise error

    measured = measure([Probe("a", "", "", broken), Probe("b", "", "", lambda: Taken(1.0))], 3, lambda _: None)
    assert getattr(measured["a"], field) == str(error)
    assert measured["b"].value == [1.0, 1.0, 1.0]


def test_rows_have_ids_of_their_own_and_known_measures():
    ids = [row.id for row in (*ROWS, *LARGE)]
    assert len(ids) == len(set(ids))
    for row in (*ROWS, *LARGE):
        assert {probe_of(name)[1] for name in (row.over, row.under) if name} <= {"value", "p50", "p99"}
        assert row.at_least is None or row.at_most is None
