"""The identity graph by itself: profiles, the id that stays, since when, the widest path, and what follows."""

from itertools import combinations, pairwise
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.identity.graph import (
    LINKED,
    RETRACTED,
    Graph,
    LinkRecord,
    aliases,
    first_owner,
    groups_without,
    survivor,
)
from portrait.identity.rules import Reason, Rule
from portrait.model.fact import fact_id
from portrait.model.identifier import Identifier, customer, generated, is_generated

NOW = 10_000
A, B, C = map(customer, "ABC")
E, F = (Identifier("email", f"{name}@example.org") for name in "ef")
P, D = Identifier("phone", "+4930901820"), Identifier("device_id", "d")
NODES = (A, B, E, F, P, D)


class Tie(NamedTuple):
    """A link, as a test gives it."""

    a: Identifier
    b: Identifier
    since: int = 1
    confidence: float = 1.0
    into: str | None = None
    status: str = LINKED
    at: int = 0
    follows: bool = False


def record_of(tie, value, source=None):
    return LinkRecord(
        tie.since, fact_id(tie.since), source, value, tie.confidence, "record", tie.at, tie.since, tie.status, tie.into,
        follows=tie.follows,
    )  # fmt: skip


def graph(*ties, nodes=(), apart=()):
    ends = {node: {} for node in nodes}
    for tie in ties:
        ends.setdefault(tie.a, {}).setdefault(tie.b, []).append(record_of(tie, tie.b.value))
        ends.setdefault(tie.b, {}).setdefault(tie.a, []).append(record_of(tie, tie.a.value))
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
    reachable, ahead = {start}, [start]
    while ahead:
        node = ahead.pop()
        for tie in ties:
            for near, far in ((tie.a, tie.b), (tie.b, tie.a)):
                if near == node and far not in reachable:
                    reachable.add(far)
                    ahead.append(far)
    return reachable


@given(some_ties(), st.sampled_from(NODES))
def test_groups_without_a_node_are_what_remains_connected(ties, node):
    groups = groups_without(node, NODES, [(tie.a, tie.b) for tie in ties])
    left = [tie for tie in ties if node not in tie[:2]]
    assert sorted(map(set, groups), key=sorted) == sorted(
        map(set, {frozenset(reached(n, left)) for n in NODES}), key=sorted
    )


@given(some_ties())
def test_a_profile_is_a_connected_set(ties):
    profiles = graph(*ties, nodes=NODES).profiles()
    assert sorted(node for profile in profiles for node in profile.members) == sorted(NODES)
    for profile in profiles:
        assert list(profile.members) == sorted(reached(profile.members[0], ties))
        assert (profile.customer_id is None) == (not {A, B} & set(profile.members))
    assert profiles == sorted(profiles, key=lambda profile: profile.members)


@given(some_ties(), st.randoms())
def test_the_graph_is_the_same_in_any_order_and_direction_of_its_links(ties, random):
    mixed = [tie._replace(a=tie.b, b=tie.a) if random.random() < 0.5 else tie for tie in ties]
    random.shuffle(mixed)
    forward, other = graph(*ties, nodes=NODES), graph(*mixed, nodes=reversed(NODES))
    assert forward.profiles() == other.profiles()
    assert [pair_of(link) for link in forward.links] == [pair_of(link) for link in other.links]
    assert forward.joined_at() == other.joined_at()


@pytest.mark.parametrize("status", [RETRACTED, *(reason.value for reason in Reason)])
def test_withdrawn_or_refused_evidence_is_no_link(status):
    refused = graph(Tie(A, E, status=status))
    assert refused.links == []
    assert [profile.members for profile in refused.profiles()] == [(A,), (E,)]
    whole = Graph({A: {E: [record_of(Tie(A, E, status=status), "e", "crm"), record_of(Tie(A, E), "e", "web")]}, E: {}})
    assert [pair_of(link) for link in whole.links] == [{A, E}], "another source's word holds"
    assert [record.source for record in whole.links[0].evidence] == ["web"]


def test_a_link_to_an_identifier_outside_the_graph_is_left_out():
    assert Graph({A: {E: [record_of(Tie(A, E), "e")]}}).links == []


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
    "what was decided when the two were one already": (
        [Tie(A, E, 1), Tie(B, E, 2), Tie(A, B, 3, into="B")], "B"),
    "what was decided last of one that they were already": (
        [Tie(A, E, 1), Tie(B, E, 2), Tie(A, B, 3, into="B"), Tie(E, F, 4, into="A"), Tie(A, F, 5, into="A")], "A"),
    "not what is none of theirs, when the two were one already": (
        [Tie(A, E, 1), Tie(B, E, 2), Tie(A, B, 3, into="C")], "A"),
    "not what only follows": ([Tie(A, E, 1), Tie(B, E, 2), Tie(A, B, 3, into="B", follows=True)], "A"),
    "not what names neither": ([Tie(B, F, 1), Tie(A, E, 2), Tie(E, F, 3, into="C")], "B"),
    "none": ([Tie(E, F, 1)], None),
}  # fmt: skip


@pytest.mark.parametrize(("ties", "stays"), SURVIVORS.values(), ids=SURVIVORS)
def test_the_id_that_stays(ties, stays):
    (profile,) = graph(*ties).profiles()
    assert profile.customer_id == stays


@given(st.lists(pairs, unique=True, max_size=9), st.data())
def test_owners_decided_link_by_link_equal_those_of_all_links_at_once(chosen, data):
    """A merge is decided from the links before it, and kept with the link: going through them again agrees."""
    ties, nodes, gone = [], (*NODES, ANON), []
    for since, (a, b) in enumerate([*chosen, (ANON, data.draw(st.sampled_from(NODES)))], 1):
        before = graph(*ties, nodes=nodes)
        left, right = (next(profile for profile in before.profiles() if end in profile.members) for end in (a, b))
        into = None
        if left != right and None not in {left.customer_id, right.customer_id}:
            into = data.draw(
                st.sampled_from([survivor(left, right, before.links), left.customer_id, right.customer_id])
            )
            gone.append(({left.customer_id, right.customer_id} - {into}).pop())
        ties.append(Tie(a, b, since, into=into))
        after = graph(*ties, nodes=nodes)
        joined = next(profile for profile in after.profiles() if a in profile.members)
        assert joined.customer_id == (into or left.customer_id or right.customer_id)
        assert [merge.source for merge in after.merges()] == gone
        assert sorted(aliases(joined)) == sorted(
            member.value
            for member in joined.members
            if member.type == "customer_id" and member.value != joined.customer_id
        )


def test_an_unknown_customer_id_owns_itself_and_generated_ids_are_recognised():
    assert first_owner(A) == "A"
    assert first_owner(E) is None
    assert is_generated(generated().value)
    assert generated() != generated()
    assert not any(map(is_generated, ("anon_", "anon_1", "anon_" + "g" * 32, "anon_" + "0" * 33, "x", "")))


# --- since when ---


@given(some_ties())
def test_two_identifiers_are_joined_since_the_first_path_between_them(ties):
    moments = graph(*ties, nodes=NODES).joined_at()
    for node, other in combinations(sorted(NODES), 2):
        since = [
            tie.since
            for tie in ties
            if other in reached(node, [earlier for earlier in ties if earlier.since <= tie.since])
        ]
        assert moments.get((node, other)) == min(since, default=None)
    assert all(node < other for node, other in moments)


# --- the widest path ---


def simple_paths(start, ties):
    """Yield every path from a node that passes none twice, as its nodes."""

    def onward(path):
        yield path
        for tie in ties:
            for near, far in ((tie.a, tie.b), (tie.b, tie.a)):
                if near == path[-1] and far not in path:
                    yield from onward((*path, far))

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
    whole = graph(*ties, nodes=NODES)
    confidences = whole.confidences(anchor, NOW)
    assert {node: confidence for node, (confidence, _) in confidences.items()} == widest
    for node, (confidence, path) in confidences.items():
        # The path says so: it leads from the anchor to the identifier, and its weakest link is the confidence.
        current = anchor
        for link in path:
            assert current in {link.a, link.b}
            current = link.b if current == link.a else link.a
            assert link.confidence == weight[pair_of(link)]
        assert current == node
        assert min((link.confidence for link in path), default=1.0) == confidence
        assert whole.path(anchor, node, NOW) == path


def test_the_widest_path_by_hand():
    #        0.9       0.8
    #   A -------- E -------- P       A to P directly is 0.5, but over E it is min(0.9, 0.8) = 0.8;
    #   |                     |       F hangs on P by 0.95: min(0.8, 0.95) = 0.8; D on A by 0.2 and on F by 0.3:
    #   +---------0.5---------+       over F it is min(0.8, 0.95, 0.3) = 0.3. B has no link.
    ties = [Tie(A, E, 1, 0.9), Tie(E, P, 2, 0.8), Tie(A, P, 3, 0.5), Tie(P, F, 4, 0.95), Tie(A, D, 5, 0.2),
            Tie(D, F, 6, 0.3)]  # fmt: skip
    confidences = graph(*ties, nodes=NODES).confidences(A, NOW)
    assert {node: confidence for node, (confidence, _) in confidences.items()} == {
        A: 1.0,
        E: 0.9,
        P: 0.8,
        F: 0.8,
        D: 0.3,
    }
    assert [pair_of(link) for link in confidences[D][1]] == [{A, E}, {E, P}, {P, F}, {F, D}]
    assert graph(*ties, nodes=NODES).path(A, B, NOW) == ()


def test_certainty_is_certain_however_long_the_path_and_of_equal_paths_the_shortest_shows():
    chain = [Tie(customer(f"c{index}"), customer(f"c{index + 1}"), index + 1) for index in range(100)]
    confidences = graph(*chain).confidences(customer("c0"), NOW)
    assert {confidence for confidence, _ in confidences.values()} == {1.0}
    assert [len(path) for _, path in confidences.values()] == list(range(101))
    square = graph(Tie(A, E, 1), Tie(E, P, 2), Tie(A, P, 3))
    assert [pair_of(link) for link in square.path(A, P, NOW)] == [{A, P}]


# --- links that follow ---


@given(some_ties(), st.sets(st.integers(0, 8)))
def test_links_whose_records_all_follow_join_nothing(ties, following):
    made = [tie._replace(follows=index in following) for index, tie in enumerate(ties)]
    joining = [tie for tie in made if not tie.follows]
    whole, alone = graph(*made, nodes=NODES), graph(*joining, nodes=NODES)
    assert [pair_of(link) for link in whole.links] == [{tie.a, tie.b} for tie in made], "they are links all the same"
    assert whole.profiles() == alone.profiles()
    assert whole.joined_at() == alone.joined_at()
    assert [merge[1:] for merge in whole.merges()] == [merge[1:] for merge in alone.merges()]


def test_one_record_that_does_not_follow_is_enough_to_join():
    every = [record_of(Tie(A, E, 1, follows=True), "e", "crm"), record_of(Tie(A, E, 2), "e", "web")]
    (profile,) = Graph({A: {E: every}, E: {A: every}}).profiles()
    assert profile.members == (A, E)


def test_a_link_that_follows_says_how_sure_we_are():
    whole = graph(Tie(A, E, 1, 0.5), Tie(E, P, 2, 0.5), Tie(A, P, 3, 0.9, follows=True))
    assert {node: confidence for node, (confidence, _) in whole.confidences(A, NOW).items()} == {A: 1.0, P: 0.9, E: 0.5}


def test_a_customer_id_that_only_follows_was_not_linked_first():
    whole = graph(Tie(A, D, 1, follows=True), Tie(B, F, 2), Tie(A, E, 3), Tie(E, F, 4), Tie(F, D, 5))
    (profile,) = whole.profiles()
    assert profile.customer_id == "B"


# --- stored link records ---


def test_a_link_record_of_an_older_version_has_neither_moment_nor_policy():
    now = record_of(Tie(A, E), "e", "crm")
    earlier = msgspec.msgpack.encode(msgspec.to_builtins(now, builtin_types=[bytes])[:11])
    assert msgspec.msgpack.decode(earlier, type=LinkRecord) == now
    assert (now.timed, now.policy, now.follows) == (False, None, False)


def test_a_link_record_is_stored_with_every_field_of_its_decision():
    record = msgspec.structs.replace(record_of(Tie(A, E), "e", "crm"), timed=True, policy="0123456789ab", follows=True)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=LinkRecord) == record


@pytest.mark.parametrize("rule", Rule)
def test_links_by_a_person_and_to_generated_ids_are_by_hand(rule):
    record = msgspec.structs.replace(record_of(Tie(A, E), "e"), rule=rule.value)
    assert record.is_by_hand == (rule in {Rule.LINK, Rule.MERGE, Rule.ACCEPTED, Rule.FIRST_SEEN})
