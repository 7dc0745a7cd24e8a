"""Which candidates link, whatever candidates there are."""

import random

from hypothesis import given
from hypothesis import strategies as st

from portrait.matching.choose import Pair, choose

IDS = st.sampled_from("abcdefgh")
PAIRS = st.lists(st.builds(Pair, IDS, IDS, st.integers(0, 20).map(lambda n: n / 20), st.booleans()), max_size=40)


def clusters(candidates):
    """Return the sets of records that links join."""
    groups = []
    for candidate in candidates:
        if candidate.links:
            touched = [group for group in groups if {candidate.left, candidate.right} & group]
            groups = [group for group in groups if group not in touched] + [
                {candidate.left, candidate.right}.union(*touched)
            ]
    return groups


def chosen(pairs, **settings):
    return choose(pairs, **{"link_at": 0.8, "largest": 4, "agreement": 0.5} | settings)


@given(PAIRS, st.integers(2, 5))
def test_no_cluster_passes_the_cap(pairs, largest):
    assert all(len(cluster) <= largest for cluster in clusters(chosen(pairs, largest=largest)))


@given(PAIRS, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_input_changes_nothing(pairs, dice, one_to_one):
    shuffled = [Pair(p.right, p.left, p.probability, p.apart) if dice.random() < 0.5 else p for p in pairs]
    dice.shuffle(shuffled)
    assert chosen(shuffled, one_to_one=one_to_one) == chosen(pairs, one_to_one=one_to_one)


@given(PAIRS, st.booleans())
def test_each_pair_is_a_candidate_once_in_order_with_its_best_probability(pairs, one_to_one):
    candidates = chosen(pairs, one_to_one=one_to_one)
    names = [(candidate.left, candidate.right) for candidate in candidates]
    assert names == sorted({tuple(sorted((p.left, p.right))) for p in pairs if p.left != p.right})
    for candidate in candidates:
        assert candidate.probability == max(
            p.probability for p in pairs if {p.left, p.right} == {candidate.left, candidate.right}
        )


@given(PAIRS, st.booleans())
def test_linked_candidates_are_probable_enough_and_not_apart(pairs, one_to_one):
    for candidate in chosen(pairs, one_to_one=one_to_one):
        assert candidate.links == (candidate.reason == "")
        if candidate.links:
            assert candidate.probability >= 0.8
            assert any(p.probability == candidate.probability and not p.apart for p in pairs)


@given(PAIRS)
def test_one_to_one_gives_each_record_one_partner(pairs):
    linked = [
        name
        for candidate in chosen(pairs, one_to_one=True)
        if candidate.links
        for name in (candidate.left, candidate.right)
    ]
    assert len(linked) == len(set(linked))


@given(PAIRS)
def test_the_last_join_of_a_cluster_is_borne_by_its_pairs(pairs):
    """Every cluster splits into two parts whose cross pairs agree on average: the two that its last join joined."""
    best = {frozenset((candidate.left, candidate.right)): candidate.probability for candidate in chosen(pairs)}
    for cluster in clusters(chosen(pairs)):
        members = sorted(cluster)
        splits = (
            (
                [m for n, m in enumerate(members) if bits >> n & 1],
                [m for n, m in enumerate(members) if not bits >> n & 1],
            )
            for bits in range(1, 2 ** (len(members) - 1))
        )
        means = [
            sum(best.get(frozenset((a, b)), 0) for a in part for b in rest) / len(part) / len(rest)
            for part, rest in splits
        ]
        assert max(means) >= 0.5 - 1e-9


def test_one_good_link_does_not_chain_strangers():
    chain = [Pair("a", "b", 0.99), Pair("b", "c", 0.98), Pair("a", "c", 0.0)]
    assert [(candidate.left, candidate.right, candidate.reason) for candidate in chosen(chain)] == [
        ("a", "b", ""),
        ("a", "c", "between"),
        ("b", "c", "contradiction"),
    ]


def test_each_refused_candidate_has_its_reason():
    whole = [Pair(a, b, 0.9) for a, b in ("ab", "ac", "bc")]
    others = [Pair("a", "d", 0.6), Pair("b", "e", 0.99, apart=True)]
    assert {candidate.reason for candidate in chosen([*whole, *others])} == {"", "between", "apart"}
    unsure = [Pair("a", "b", 0.9), Pair("a", "c", 0.9), Pair("b", "c", 0.6)]
    assert [candidate.reason for candidate in chosen(unsure)] == ["", "", "implied"]
    assert [candidate.reason for candidate in chosen(whole, largest=2)] == ["", "size", "size"]
    assert [candidate.reason for candidate in chosen(whole, one_to_one=True)] == ["", "taken", "taken"]


def test_many_candidates_take_no_quadratic_time():
    """A star of many records, which joins one by one: the sums move a few times each, not once a join."""
    dice = random.Random(1)
    pairs = [Pair("hub", f"n{n}", round(0.8 + dice.random() / 5, 6)) for n in range(20_000)]
    assert sum(candidate.links for candidate in chosen(pairs, largest=30_000, agreement=0.0)) == 20_000
