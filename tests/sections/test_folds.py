"""Every section's fold: its document depends on the recorded facts, never on the order in which they came."""

from functools import reduce

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import START
from portrait.model.fact import Fact, Op
from portrait.model.identifier import customer
from portrait.projection import read_state, store_state
from portrait.sections.events import Events
from sections.facts import (
    AFTER,
    MINUTE,
    RECORDED_FROM,
    SECTIONS,
    STATE,
    facts_of,
    parsed,
    rendered,
    state_of,
    statements_of,
)

MOMENTS = st.integers(0, 150).map(lambda minutes: START + minutes * MINUTE)


def tried(test):
    """Try a property on examples of its own drawing."""
    return settings(max_examples=30, deadline=None)(given(data=st.data())(test))


every_section = pytest.mark.parametrize("name", SECTIONS)


def parts_of_histories(section):
    """Three states, each of which has seen a part, from its beginning, of up to three histories."""

    @st.composite
    def draw_states(draw):
        facts = facts_of(section, draw(statements_of(section)))
        states = []
        for _ in range(3):
            seen = []
            for who in ("c1", "c2", "c3"):
                history = [fact for fact in facts if fact.identifier == customer(who)]
                seen += history[: draw(st.integers(0, len(history)))]
            states.append(state_of(section, draw(st.permutations(seen))))
        return states

    return draw_states()


@every_section
@tried
def test_join_is_commutative(name, data):
    section = SECTIONS[name]
    a, b, _ = data.draw(parts_of_histories(section))
    ab, ba = section.fold.join(a, b), section.fold.join(b, a)
    assert ab == ba
    now = data.draw(MOMENTS)
    assert rendered(section, ab, now) == rendered(section, ba, now)


@every_section
@tried
def test_join_is_associative(name, data):
    section = SECTIONS[name]
    a, b, c = data.draw(parts_of_histories(section))
    join = section.fold.join
    left, right = join(join(a, b), c), join(a, join(b, c))
    assert left == right
    now = data.draw(MOMENTS)
    assert rendered(section, left, now) == rendered(section, right, now)


@every_section
@tried
def test_join_is_idempotent(name, data):
    section = SECTIONS[name]
    a, b, _ = data.draw(parts_of_histories(section))
    join = section.fold.join
    assert join(a, a) == a
    assert join(join(a, b), b) == join(a, b)
    now = data.draw(MOMENTS)
    assert rendered(section, join(a, a), now) == rendered(section, a, now)


@every_section
@tried
def test_the_empty_state_joined_changes_nothing(name, data):
    section = SECTIONS[name]
    a, _, _ = data.draw(parts_of_histories(section))
    assert section.fold.join(a, section.fold.empty()) == a


@every_section
@tried
def test_joined_states_show_what_one_fold_of_all_facts_shows(name, data):
    section = SECTIONS[name]
    facts = facts_of(section, data.draw(statements_of(section)))
    apart = [
        state_of(section, [fact for fact in facts if fact.identifier == customer(who)]) for who in ("c1", "c2", "c3")
    ]
    now = data.draw(MOMENTS)
    assert rendered(section, reduce(section.fold.join, apart), now) == rendered(section, state_of(section, facts), now)


@every_section
@tried
def test_the_order_in_which_facts_are_folded_changes_nothing(name, data):
    section = SECTIONS[name]
    facts = facts_of(section, data.draw(statements_of(section)))
    state, other = state_of(section, facts), state_of(section, data.draw(st.permutations(facts)))
    assert state == other
    now = data.draw(MOMENTS)
    assert rendered(section, state, now) == rendered(section, other, now)


@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "lifetime-value"])
@tried
def test_folding_facts_again_changes_nothing(name, data):
    """For a fold of a plugin's own the recorder keeps repeated events away."""
    section = SECTIONS[name]
    facts = facts_of(section, data.draw(statements_of(section)))
    again = data.draw(st.lists(st.sampled_from(facts), max_size=8)) if facts else []
    assert state_of(section, [*facts, *again]) == state_of(section, facts)


def test_a_delete_among_events_that_are_folded_together_gives_back_none_that_was_left_out():
    fold = Events(3)
    puts = [
        Fact(customer("c1"), "interactions", f"e{n}", Op.PUT, b"{}", n, n, None, bytes([n]), 1) for n in range(1, 5)
    ]
    facts = [*puts, msgspec.structs.replace(puts[-1], op=Op.DELETE, body=b"", recorded_at=5)]
    state = fold.apply_all(fold.empty(), facts)
    assert [event.key for event in state.events] == ["e2", "e3"]


@pytest.mark.parametrize("name", ["interactions", "interactions, 3 shown"])
@tried
def test_events_that_are_folded_together_lead_to_the_state_that_one_by_one_they_lead_to(name, data):
    section = SECTIONS[name]
    facts = facts_of(section, data.draw(statements_of(section, size=24)))
    for fact in data.draw(st.lists(st.sampled_from(facts), max_size=3)) if facts else ():
        facts.insert(data.draw(st.integers(0, len(facts))), fact)
        facts.insert(data.draw(st.integers(0, len(facts))), msgspec.structs.replace(fact, op=Op.DELETE, body=b""))
    start, state = data.draw(st.integers(0, len(facts))), section.fold.empty()
    for fact in facts[:start]:
        state = section.fold.apply(state, fact)
    together, before = section.fold.apply_all(state, facts[start:]), store_state(section, state)
    assert store_state(section, state) == before, "the state before is left as it was"
    for fact in facts[start:]:
        state = section.fold.apply(state, fact)
    assert together == state


@every_section
@tried
def test_the_order_of_recording_changes_no_document(name, data):
    """A delete ends records ahead of earlier facts; a late delete of an experiment ends more than it should."""
    section = SECTIONS[name]
    statements = data.draw(statements_of(section, deletes=name != "experiments"))
    now = AFTER + data.draw(st.integers(1, 150)) * MINUTE
    other = data.draw(st.permutations(statements))
    assert rendered(section, state_of(section, facts_of(section, statements, AFTER)), now) == rendered(
        section, state_of(section, facts_of(section, other, AFTER)), now
    )


@every_section
@tried
def test_a_fact_that_lies_ahead_shows_nothing_before_its_moment(name, data):
    section = SECTIONS[name]
    facts = facts_of(section, data.draw(statements_of(section)))
    now = data.draw(MOMENTS)
    due = [fact for fact in facts if fact.effective_at <= now]
    assert rendered(section, state_of(section, facts), now)[0] == rendered(section, state_of(section, due), now)[0]


@every_section
@tried
def test_a_document_is_valid_up_to_the_moment_it_names(name, data):
    section = SECTIONS[name]
    facts = facts_of(section, data.draw(statements_of(section)))
    state = state_of(section, facts)
    now = data.draw(MOMENTS)
    content, until = rendered(section, state, now)
    last = START + 200 * MINUTE if until is None else until - 1
    assert last >= now
    assert rendered(section, state, data.draw(st.integers(now, last)))[0] == content
    assert rendered(section, state, last)[0] == content


@every_section
@tried
def test_a_states_stored_form_is_the_state(name, data):
    section = SECTIONS[name]
    state = state_of(section, facts_of(section, data.draw(statements_of(section))))
    assert read_state(section, store_state(section, state)) == state


@pytest.mark.parametrize("name", STATE)
@tried
def test_current_and_live_agree_on_what_counts(name, data):
    section = SECTIONS[name]
    facts = [fact for fact in facts_of(section, data.draw(statements_of(section))) if fact.identifier == customer("c1")]
    state, now = state_of(section, facts), data.draw(MOMENTS)
    live = {live_record.key: live_record.entry.body for live_record in section.state_fold.live(state, now)}
    for key in {fact.key for fact in facts}:
        assert section.state_fold.current(state, key, now) == live.get(key)


@every_section
def test_a_state_does_not_grow_with_its_history(name):
    section = SECTIONS[name]

    def size(count):
        facts = []
        for number in range(count):
            example = section.example()
            if section.kind == "events":
                field = next(field.name for field in section.shape.fields[section.shape.members[0]] if field.required)
                example[field] = f"event{number:04}"
            parsed_record = parsed(section, example)
            at = RECORDED_FROM - 10**6 * MINUTE + number * MINUTE
            facts.append(
                Fact(
                    customer("c1"), section.name, parsed_record.key, Op.PUT, parsed_record.body, at, at, None,
                    at.to_bytes(16, "big"), section.version,
                )
            )  # fmt: skip
        return len(store_state(section, state_of(section, facts)).body)

    assert size(2000) <= size(1000) + 16


@every_section
@tried
def test_a_document_is_json_of_records(name, data):
    section = SECTIONS[name]
    content, _ = rendered(
        section, state_of(section, facts_of(section, data.draw(statements_of(section)))), data.draw(MOMENTS)
    )
    assert all(isinstance(record, dict) for record in msgspec.json.decode(content))
