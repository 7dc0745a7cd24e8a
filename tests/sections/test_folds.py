"""Every section's fold: what it shows depends on which facts were told, never on how they came in."""

from functools import reduce

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import START
from portrait.model.fact import Fact, Op
from portrait.model.identifier import customer
from portrait.projection import read_state, store_state
from sections.facts import AFTER, MINUTE, SECTIONS, STATE, TOLD, parsed, sayings, shown, state_of, told

MOMENTS = st.integers(0, 150).map(lambda minutes: START + minutes * MINUTE)


def tried(test):
    """Try a property on examples of its own drawing."""
    return settings(max_examples=30, deadline=None)(given(data=st.data())(test))


every_section = pytest.mark.parametrize("name", SECTIONS)


def parts_of_histories(section):
    """Three states, each of which has seen a part, from its beginning, of up to three histories."""

    @st.composite
    def draw_states(draw):
        facts = told(section, draw(sayings(section)))
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
    assert shown(section, ab, now) == shown(section, ba, now)


@every_section
@tried
def test_join_is_associative(name, data):
    section = SECTIONS[name]
    a, b, c = data.draw(parts_of_histories(section))
    join = section.fold.join
    left, right = join(join(a, b), c), join(a, join(b, c))
    assert left == right
    now = data.draw(MOMENTS)
    assert shown(section, left, now) == shown(section, right, now)


@every_section
@tried
def test_join_is_idempotent(name, data):
    section = SECTIONS[name]
    a, b, _ = data.draw(parts_of_histories(section))
    join = section.fold.join
    assert join(a, a) == a
    assert join(join(a, b), b) == join(a, b)
    now = data.draw(MOMENTS)
    assert shown(section, join(a, a), now) == shown(section, a, now)


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
    facts = told(section, data.draw(sayings(section)))
    apart = [
        state_of(section, [fact for fact in facts if fact.identifier == customer(who)]) for who in ("c1", "c2", "c3")
    ]
    now = data.draw(MOMENTS)
    assert shown(section, reduce(section.fold.join, apart), now) == shown(section, state_of(section, facts), now)


@every_section
@tried
def test_the_order_in_which_facts_are_folded_changes_nothing(name, data):
    section = SECTIONS[name]
    facts = told(section, data.draw(sayings(section)))
    state, other = state_of(section, facts), state_of(section, data.draw(st.permutations(facts)))
    assert state == other
    now = data.draw(MOMENTS)
    assert shown(section, state, now) == shown(section, other, now)


@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "lifetime-value"])
@tried
def test_folding_facts_again_changes_nothing(name, data):
    """Of a fold of one's own the recorder keeps events that were told before away."""
    section = SECTIONS[name]
    facts = told(section, data.draw(sayings(section)))
    again = data.draw(st.lists(st.sampled_from(facts), max_size=8)) if facts else []
    assert state_of(section, [*facts, *again]) == state_of(section, facts)


@every_section
@tried
def test_the_order_in_which_facts_are_told_changes_nothing_that_is_shown(name, data):
    """Of what lies ahead a delete ends what was told before it; of experiments a late one ends more than it should."""
    section = SECTIONS[name]
    said = data.draw(sayings(section, deletes=name != "experiments"))
    now = AFTER + data.draw(st.integers(1, 150)) * MINUTE
    other = data.draw(st.permutations(said))
    assert shown(section, state_of(section, told(section, said, AFTER)), now) == shown(
        section, state_of(section, told(section, other, AFTER)), now
    )


@every_section
@tried
def test_what_lies_ahead_shows_nothing_before_its_moment(name, data):
    section = SECTIONS[name]
    facts = told(section, data.draw(sayings(section)))
    now = data.draw(MOMENTS)
    due = [fact for fact in facts if fact.effective_at <= now]
    assert shown(section, state_of(section, facts), now)[0] == shown(section, state_of(section, due), now)[0]


@every_section
@tried
def test_a_document_holds_until_the_moment_it_names_and_no_shorter(name, data):
    section = SECTIONS[name]
    facts = told(section, data.draw(sayings(section)))
    state = state_of(section, facts)
    now = data.draw(MOMENTS)
    content, until = shown(section, state, now)
    last = START + 200 * MINUTE if until is None else until - 1
    assert last >= now
    assert shown(section, state, data.draw(st.integers(now, last)))[0] == content
    assert shown(section, state, last)[0] == content


@every_section
@tried
def test_a_states_stored_form_is_the_state(name, data):
    section = SECTIONS[name]
    state = state_of(section, told(section, data.draw(sayings(section))))
    assert read_state(section, store_state(section, state)) == state


@pytest.mark.parametrize("name", STATE)
@tried
def test_current_and_live_agree_on_what_counts(name, data):
    section = SECTIONS[name]
    facts = [fact for fact in told(section, data.draw(sayings(section))) if fact.identifier == customer("c1")]
    state, now = state_of(section, facts), data.draw(MOMENTS)
    live = {one.key: section.shape.encode(one.record) for one in section.state_fold.live(state, now)}
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
                field = next(one.name for one in section.shape.fields[section.shape.members[0]] if one.required)
                example[field] = f"event{number:04}"
            one = parsed(section, example)
            at = TOLD - 10**6 * MINUTE + number * MINUTE
            facts.append(
                Fact(
                    customer("c1"), section.name, one.key, Op.PUT, one.body, at, at, None, at.to_bytes(16, "big"),
                    section.version,
                )
            )  # fmt: skip
        return len(store_state(section, state_of(section, facts)).body)

    assert size(2000) <= size(1000) + 16


@every_section
@tried
def test_all_that_is_shown_is_json_of_records(name, data):
    section = SECTIONS[name]
    content, _ = shown(section, state_of(section, told(section, data.draw(sayings(section)))), data.draw(MOMENTS))
    assert all(isinstance(one, dict) for one in msgspec.json.decode(content))
