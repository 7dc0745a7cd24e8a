"""How sure we are of a link: several sources add in log-odds, and each counts once."""

from itertools import permutations
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.identity.confidence import CAP, combined
from portrait.identity.graph import RETRACTED
from portrait.model.fact import Fact, Op, fact_id
from portrait.model.identifier import Identifier, customer
from portrait.sections.links import LINKS, Decision, graph_of, link_key

NOW = 1000
A, E = customer("A"), Identifier("email", "e@example.org")


class Statement(NamedTuple):
    confidence: float
    source: str | None = None
    at: int = 0
    order: tuple[int, bytes] = (0, b"")


def of(*stated):
    return combined([Statement(confidence, "s" * (index + 1)) for index, confidence in enumerate(stated)], NOW)


# The odds of p are p / (1 - p); those of several sources multiply.
WORKED = {
    (0.8,): 0.8,
    (0.0,): 0.0,
    (1.0,): 1.0,
    (0.123456789,): 0.123456789,  # a single confidence is kept as it is stated
    (0.8, 0.8): 0.941176,  # 4 · 4 = 16, and 16 / 17
    (0.8, 0.6): 0.857143,  # 4 · 3/2 = 6, and 6 / 7
    (0.8, 0.2): 0.5,  # 4 · 1/4 = 1, and 1 / 2
    (0.3, 0.3): 0.155172,  # 3/7 · 3/7 = 9/49, and 9 / 58
    (0.9, 0.9, 0.5): 0.987805,  # 9 · 9 · 1 = 81, and 81 / 82
    (0.9999, 0.5): 0.999,  # no more than CAP beside others: 999 · 1, and 999 / 1000
    (0.0, 0.9): 0.008929,  # no less than 1 - CAP: 1/999 · 9 = 1/111, and 1 / 112
    (0.0, 1.0): 1.0,  # certainty is certain
    (0.2, 1.0, 0.9): 1.0,
}


@pytest.mark.parametrize(("stated", "expected"), WORKED.items(), ids=str)
def test_the_confidence_of_one_link_is_as_worked_out_by_hand(stated, expected):
    for order in permutations(stated):
        assert of(*order) == expected


def test_evidence_of_a_later_moment_does_not_count_yet():
    assert combined([], NOW) is None
    assert combined([Statement(0.9, "crm", NOW + 1)], NOW) is None
    assert combined([Statement(0.9, "crm", NOW)], NOW) == 0.9
    assert combined([Statement(0.6, "crm"), Statement(0.9, "web", NOW + 1)], NOW) == 0.6


@given(st.permutations(range(10)))
def test_the_nights_of_one_export_are_one_source_whose_newest_word_counts(order):
    nights = [Statement(0.5 + night / 100, f"crm-2026-11-{night + 10}", 0, (night, b"")) for night in range(10)]
    assert combined([nights[night] for night in order], NOW) == 0.59
    assert combined([*nights, Statement(0.6, "web", 0, (99, b""))], NOW) == of(0.59, 0.6)
    assert combined([Statement(0.6), Statement(0.6, "7"), Statement(0.6, "crm")], NOW) == of(0.6, 0.6, 0.6), (
        "no name is a name too"
    )


within = st.floats(1 - CAP, CAP)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_combined_confidence_is_a_probability_in_any_order(stated):
    assert 0 <= of(*stated) <= 1
    assert of(*stated) == of(*reversed(stated)) == of(*sorted(stated))


@given(st.lists(within, min_size=1, max_size=5), within)
def test_supporting_evidence_raises_confidence_and_opposing_evidence_lowers_it(stated, more):
    before, after = of(*stated), of(*stated, more)
    rounding = 1e-6
    assert after >= before - rounding if more >= 0.5 else after <= before + rounding


def recorded(state, at, confidence, source, **more):
    body = LINKS.shape.encode(Decision(rule="record", value=E.value, at=at, since=at, confidence=confidence, **more))
    return LINKS.fold.apply(state, Fact(A, LINKS.name, link_key(E), Op.PUT, body, at, at, source, fact_id(at), 1))


statements = st.tuples(st.floats(0, 1), st.sampled_from(["crm", "web", None]))


@given(st.lists(statements, min_size=1, max_size=8), st.randoms())
def test_one_source_counts_once_by_its_newest_evidence_in_any_order(sayings, random):
    last = {source: confidence for confidence, source in sayings}
    numbered = list(enumerate(sayings, 1))
    random.shuffle(numbered)
    state = LINKS.fold.empty()
    for at, (confidence, source) in numbered:
        state = recorded(state, at, confidence, source)
    # Recorded at one end here: the graph asks for both ends to be there.
    confidences = graph_of([state], [E]).confidences(A, NOW)
    assert confidences[E][0] == of(*last.values())


def test_a_source_that_withdraws_its_evidence_leaves_the_others():
    state = recorded(recorded(LINKS.fold.empty(), 1, 0.9, "crm"), 2, 0.6, "web")
    assert graph_of([state], [E]).confidences(A, NOW)[E][0] == of(0.9, 0.6)
    state = recorded(state, 3, 0.9, "crm", status=RETRACTED)
    assert graph_of([state], [E]).confidences(A, NOW)[E][0] == 0.6
    state = recorded(state, 4, 0.6, "web", status=RETRACTED)
    assert E not in graph_of([state], [E]).confidences(A, NOW)
