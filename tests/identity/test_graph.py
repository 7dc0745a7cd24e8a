"""The identity graph by itself: profiles, the id that stays, the cut, since when, and the widest path."""

from itertools import combinations, pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.identity.graph import (
    LINKED,
    RETRACTED,
    Graph,
    Profile,
    Told,
    aliases,
    first_owner,
    groups_without,
    survivor,
)
from portrait.identity.rules import Reason
from portrait.model.fact import fact_id
from portrait.model.identifier import Identifier, customer, generated, is_generated

NOW = 10_000
A, B, C = map(customer, "ABC")
E, F = (Identifier("email", f"{name}@example.org") for name in "ef")
P, D = Identifier("phone", "+4930901820"), Identifier("device_id", "d")
NODES = (A, B, E, F, P, D)


class Tie(NamedTuple):
    """A link, as a test says it."""

    a: Identifier
    b: Identifier
    since: int = 1
    confidence: float = 1.0
    into: str | None = None
    status: str = LINKED
    at: int = 0


def told(tie, value, source=None):
    return Told(
        tie.since, fact_id(tie.since), source, value, tie.confidence, "record", tie.at, tie.since, tie.status, tie.into
    )


def graph(*ties, nodes=(), apart=()):
    ends = {one: {} for one in nodes}
    for tie in ties:
        ends.setdefault(tie.a, {}).setdefault(tie.b, []).append(told(tie, tie.b.value))
        ends.setdefault(tie.b, {}).setdefault(tie.a, []).append(told(tie, tie.a.value))
    return Graph(ends, apart)


def pair_of(link):
    return frozenset((link.a, link.b))


pairs = st.sampled_from(list(combinations(NODES, 2)))
weights = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.5, 0.7, 0.9, 1.0])


@st.composite
def some_ties(draw, most=9):
    """Links between different pairs, each at a moment of its own."""
    chosen = draw(st.lists(pairs, unique=True, max_size=most))
    return [Tie(a, b, 10 * since, draw(weights)) for since, (a, b) in enumerate(chosen, 1)]


def reached(start, ties):
    found, ahead = {start}, [start]
    while ahead:
        one = ahead.pop()
        for tie in ties:
            for x, y in ((tie.a, tie.b), (tie.b, tie.a)):
                if x == one and y not in found:
                    found.add(y)
                    ahead.append(y)
    return found


@given(some_ties(), st.sampled_from(NODES))
def test_groups_without_one_are_what_remains_connected(ties, one):
    found = groups_without(one, NODES, [(tie.a, tie.b) for tie in ties])
    left = [tie for tie in ties if one not in tie[:2]]
    assert sorted(map(set, found), key=sorted) == sorted(
        map(set, {frozenset(reached(n, left)) for n in NODES}), key=sorted
    )


@given(some_ties())
def test_a_profile_is_a_connected_set(ties):
    found = graph(*ties, nodes=NODES).profiles()
    assert sorted(one for profile in found for one in profile.members) == sorted(NODES)
    for profile in found:
        assert list(profile.members) == sorted(reached(profile.members[0], ties))
        assert (profile.customer_id is None) == (not {A, B} & set(profile.members))
    assert found == sorted(found, key=lambda one: one.members)


@given(some_ties(), st.randoms())
def test_it_is_the_same_in_whatever_order_links_are_given_and_from_whichever_end(ties, random):
    mixed = [tie._replace(a=tie.b, b=tie.a) if random.random() < 0.5 else tie for tie in ties]
    random.shuffle(mixed)
    one, other = graph(*ties, nodes=NODES), graph(*mixed, nodes=reversed(NODES))
    assert one.profiles() == other.profiles()
    assert [pair_of(link) for link in one.links] == [pair_of(link) for link in other.links]
    assert one.joined_at() == other.joined_at()


@pytest.mark.parametrize("status", [RETRACTED, *(one.value for one in Reason)])
def test_what_was_taken_back_or_refused_is_no_link(status):
    found = graph(Tie(A, E, status=status))
    assert found.links == []
    assert [one.members for one in found.profiles()] == [(A,), (E,)]
    held = Graph({A: {E: [told(Tie(A, E, status=status), "e", "crm"), told(Tie(A, E), "e", "web")]}, E: {}})
    assert [pair_of(link) for link in held.links] == [{A, E}], "another source's word holds"
    assert [one.source for one in held.links[0].told] == ["web"]


def test_a_link_to_what_is_not_in_sight_is_left_out():
    assert Graph({A: {E: [told(Tie(A, E), "e")]}}).links == []


# --- the id that stays ---


ANON, NONA = (customer(f"anon_{digit * 32}") for digit in "09")
SURVIVORS = {
    "the one that was linked first": ([Tie(B, F, 1), Tie(A, E, 2), Tie(E, F, 3)], "B"),
    "linked before one that never was": ([Tie(B, F, 1), Tie(A, F, 2)], "B"),
    "in byte order where both were linked at once": ([Tie(A, E, 1), Tie(B, F, 1), Tie(E, F, 2)], "A"),
    "in byte order where neither was linked before": ([Tie(A, B, 1)], "A"),
    "the company's own before one made here": ([Tie(ANON, E, 1), Tie(B, E, 2)], "B"),
    "the first of two made here": ([Tie(NONA, E, 1), Tie(ANON, F, 2), Tie(E, F, 3)], NONA.value),
    "what was decided then": ([Tie(B, F, 1), Tie(A, E, 2), Tie(E, F, 3, into="A")], "A"),
    "what was decided last": ([Tie(A, B, 1, into="A"), Tie(A, C, 2, into="C")], "C"),
    "not what names neither": ([Tie(B, F, 1), Tie(A, E, 2), Tie(E, F, 3, into="C")], "B"),
    "none": ([Tie(E, F, 1)], None),
}


@pytest.mark.parametrize(("ties", "stays"), SURVIVORS.values(), ids=SURVIVORS)
def test_the_id_that_stays(ties, stays):
    (profile,) = graph(*ties).profiles()
    assert profile.customer_id == stays


@given(st.lists(pairs, unique=True, max_size=9), st.data())
def test_what_is_decided_link_by_link_is_what_the_links_say_later(chosen, data):
    """A merge is decided from the links before it, and kept with the link: going through them again agrees."""
    ties, nodes, gone = [], (*NODES, ANON), []
    for since, (a, b) in enumerate([*chosen, (ANON, data.draw(st.sampled_from(NODES)))], 1):
        before = graph(*ties, nodes=nodes)
        x, y = (next(one for one in before.profiles() if end in one.members) for end in (a, b))
        into = None
        if x != y and None not in {x.customer_id, y.customer_id}:
            into = data.draw(st.sampled_from([survivor(x, y, before.links), x.customer_id, y.customer_id]))
            gone.append(({x.customer_id, y.customer_id} - {into}).pop())
        ties.append(Tie(a, b, since, into=into))
        after = graph(*ties, nodes=nodes)
        joined = next(one for one in after.profiles() if a in one.members)
        assert joined.customer_id == (into or x.customer_id or y.customer_id)
        assert [merge.source for merge in after.merges()] == gone
        assert sorted(aliases(joined)) == sorted(
            one.value for one in joined.members if one.type == "customer_id" and one.value != joined.customer_id
        )


def test_who_owns_what_nobody_knew():
    assert first_owner(A) == "A"
    assert first_owner(E) is None
    assert is_generated(generated().value)
    assert generated() != generated()
    assert not any(map(is_generated, ("anon_", "anon_1", "anon_" + "g" * 32, "anon_" + "0" * 33, "x", "")))


# --- the cut ---


@given(some_ties(), st.sampled_from(list(combinations(NODES, 2))))
def test_the_cut_parts_two_and_nothing_else(ties, ends):
    a, b = ends
    whole = graph(*ties, nodes=NODES)
    cut = {pair_of(link) for link in whole.crossing(a, b)}
    rest = [tie for tie in ties if {tie.a, tie.b} not in cut]
    assert b not in reached(a, rest)
    if b not in reached(a, ties):
        assert cut == set()
    # Of those that were one with the two, each stays with one of them; all else is as it was.
    before = reached(a, ties) | reached(b, ties)
    assert reached(a, rest) | reached(b, rest) == before
    assert all(len(pair & reached(a, rest)) == len(pair & reached(b, rest)) == 1 for pair in cut)
    others = [one for one in whole.profiles() if not before & set(one.members)]
    assert [one for one in graph(*rest, nodes=NODES).profiles() if not before & set(one.members)] == others


@given(some_ties(), st.sampled_from(list(combinations(NODES, 2))), some_ties(most=3))
def test_parting_two_gives_back_what_each_was(ties, ends, later):
    a, b = ends
    before = graph(*ties, nodes=NODES)
    if b in reached(a, ties):
        return
    merged = [*ties, Tie(a, b, 1000)]
    assert [pair_of(link) for link in graph(*merged, nodes=NODES).crossing(a, b)] == [{a, b}]
    # Whatever was linked since, what each side had before stays with it.
    known = {frozenset(tie[:2]) for tie in merged}
    more = [*merged, *(tie._replace(since=tie.since + 2000) for tie in later if frozenset(tie[:2]) not in known)]
    cut = {pair_of(link) for link in graph(*more, nodes=NODES).crossing(a, b)}
    rest = [tie for tie in more if {tie.a, tie.b} not in cut]
    for profile in before.profiles():
        if {a, b} & set(profile.members):
            assert set(profile.members) <= reached(profile.members[0], rest)


def test_what_came_later_stays_with_the_side_that_it_was_linked_to_first():
    merged = [Tie(A, E, 1), Tie(B, F, 2), Tie(A, B, 3), Tie(B, P, 4), Tie(A, P, 5), Tie(A, D, 6)]
    assert [pair_of(link) for link in graph(*merged).crossing(A, B)] == [{A, B}, {A, P}]


# --- since when, and who is kept apart ---


@given(some_ties())
def test_two_are_one_since_the_first_moment_at_which_links_lead_from_one_to_the_other(ties):
    found = graph(*ties, nodes=NODES).joined_at()
    for one, other in combinations(sorted(NODES), 2):
        since = [tie.since for tie in ties if other in reached(one, [each for each in ties if each.since <= tie.since])]
        assert found.get((one, other)) == min(since, default=None)
    assert all(one < other for one, other in found)


def test_pairs_keep_apart_the_profiles_that_hold_one_of_each():
    apart = {frozenset((A, F)), frozenset((A, P))}
    held = graph(Tie(A, E), Tie(B, F), nodes=(P, D), apart=apart)
    x, y, z, d = (Profile(None, members) for members in ((A, E), (B, F), (P,), (D,)))
    assert held.parts(x, y) == held.parts(y, x) == [{A, F}]
    assert held.parts(x, z) == [{A, P}]
    assert held.parts(y, z) == held.parts(x, d) == held.parts(y, d) == []


# --- the widest path ---


def simple_paths(start, ties):
    """Yield every path from a node that passes none twice, as its nodes."""

    def onward(path):
        yield path
        for tie in ties:
            for x, y in ((tie.a, tie.b), (tie.b, tie.a)):
                if x == path[-1] and y not in path:
                    yield from onward((*path, y))

    return onward((start,))


@given(some_ties(), st.sampled_from(NODES), st.sampled_from([0, NOW + 1]))
def test_confidence_is_the_widest_of_all_simple_paths(ties, anchor, at):
    if ties:
        ties[0] = ties[0]._replace(at=at)
    holding = [tie for tie in ties if tie.at <= NOW]
    weight = {frozenset((tie.a, tie.b)): tie.confidence for tie in holding}
    widest = {}
    for path in simple_paths(anchor, holding):
        width = min((weight[frozenset(step)] for step in pairwise(path)), default=1.0)
        widest[path[-1]] = max(width, widest.get(path[-1], 0.0))
    held = graph(*ties, nodes=NODES)
    found = held.confidences(anchor, NOW)
    assert {one: confidence for one, (confidence, _) in found.items()} == widest
    for one, (confidence, path) in found.items():
        # The path says so: it leads from the anchor to the identifier, and its weakest link is the confidence.
        place = anchor
        for link in path:
            assert place in {link.a, link.b}
            place = link.b if place == link.a else link.a
            assert link.confidence == weight[pair_of(link)]
        assert place == one
        assert min((link.confidence for link in path), default=1.0) == confidence
        assert held.path(anchor, one, NOW) == path


def test_the_widest_path_by_hand():
    #        0.9       0.8
    #   A -------- E -------- P       A to P directly is 0.5, but over E it is min(0.9, 0.8) = 0.8;
    #   |                     |       F hangs on P by 0.95: min(0.8, 0.95) = 0.8; D on A by 0.2 and on F by 0.3:
    #   +---------0.5---------+       over F it is min(0.8, 0.95, 0.3) = 0.3. B is on nothing.
    ties = [Tie(A, E, 1, 0.9), Tie(E, P, 2, 0.8), Tie(A, P, 3, 0.5), Tie(P, F, 4, 0.95), Tie(A, D, 5, 0.2),
            Tie(D, F, 6, 0.3)]  # fmt: skip
    found = graph(*ties, nodes=NODES).confidences(A, NOW)
    assert {one: confidence for one, (confidence, _) in found.items()} == {A: 1.0, E: 0.9, P: 0.8, F: 0.8, D: 0.3}
    assert [pair_of(link) for link in found[D][1]] == [{A, E}, {E, P}, {P, F}, {F, D}]
    assert graph(*ties, nodes=NODES).path(A, B, NOW) == ()


def test_certainty_is_certain_however_long_the_path_and_of_equal_paths_the_shortest_shows():
    chain = [Tie(customer(f"c{place}"), customer(f"c{place + 1}"), place + 1) for place in range(100)]
    found = graph(*chain).confidences(customer("c0"), NOW)
    assert {confidence for confidence, _ in found.values()} == {1.0}
    assert [len(path) for _, path in found.values()] == list(range(101))
    square = graph(Tie(A, E, 1), Tie(E, P, 2), Tie(A, P, 3))
    assert [pair_of(link) for link in square.path(A, P, NOW)] == [{A, P}]


# --- what leans on others ---

MATCHED, BY_HAND = 0.9, 0.8


@pytest.mark.parametrize(
    ("disputed", "leans"),
    [
        (Tie(B, E, 20), [{B, E}, {A, P}]),  # A and B were one already, and without the match are not
        (Tie(B, E, 5), []),  # it joined them itself: the match followed
        (Tie(B, E, 20, BY_HAND), []),  # somebody's word, and so what came after leans on that
    ],
    ids=["after", "before", "by hand"],
)
def test_what_leans_on_a_match_came_when_two_were_one_by_it(disputed, leans):
    made = graph(Tie(A, E, 1), Tie(A, B, 10, MATCHED), disputed, Tie(B, P, 30), Tie(A, P, 40), Tie(B, C, 50))
    found = made.leaning(lambda one: one.confidence == MATCHED, lambda one: one.confidence == BY_HAND)
    assert [set(pair_of(link)) for link in found] == leans


def test_one_pair_that_was_matched_and_then_told_leans_by_what_was_told_alone():
    matched, said = told(Tie(A, B, 10, MATCHED), "B", "match"), told(Tie(A, B, 20), "B", "crm")
    made = Graph({A: {B: [matched, said]}, B: {A: [matched, said]}})
    (found,) = made.leaning(lambda one: one.source == "match", lambda one: False)
    assert [one.source for one in found.told] == ["crm"]
