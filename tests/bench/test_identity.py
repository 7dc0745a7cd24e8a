"""Telling people apart, measured: the arithmetic by hand, and the stream of twenty made people."""

import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.identity import forms, run
from bench.identity.metrics import fit
from bench.identity.population import Person, dice, read, world
from bench.identity.shares import Shares, table
from bench.identity.stream import Event, lines, says, stream
from bench.identity.stream import read as read_events
from bench.identity.truth import JUNK, identifier, truth
from bench.identity.variants import FURTHER, STREAMS, VARIANTS, Variant
from portrait.identity import rules
from portrait.identity.normalise import normalise

EVENTS = 2000
PEOPLE = [
    *(Person(f"p{number}", f"h{number // 4}", "Ana", "Lee", 20 + number) for number in range(17)),
    Person("alone", None, "Jörg", "O'Neil", 60),
    Person("single", "h9", "Zoë", "Ng", 33),
    Person("child", "h0", "Max", "Lee", 9),
]


def made(seed=1, **shares):
    chosen = Shares(**shares)
    return list(stream(world(PEOPLE, chosen, seed), chosen, seed, EVENTS))


def named(events):
    """Return whose records name which identifiers, as (person, type, value)."""
    return {
        (event.person, identifier["type"], identifier["value"])
        for event in events
        for record in event.records
        for identifier in (record["identifier"], record["record"])
        if "value" in identifier
    }


def test_a_perfect_fit():
    figures = fit({"a": 1, "b": 1, "c": 2}, {"a": "x", "b": "x", "c": "y"})
    assert (figures.precision, figures.recall, figures.f1, figures.false_merges) == (1, 1, 1, 0)


def test_two_people_in_one_profile():
    # Six pairs of four identifiers, of which two are one person's; of the two profiles one is mixed.
    figures = fit({"a": 1, "b": 1, "c": 1, "d": 1, "e": 2}, {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z"})
    assert (figures.precision, figures.recall) == (pytest.approx(2 / 6), 1)
    assert figures.f1 == pytest.approx(0.5)
    assert (figures.false_merges, figures.mixed) == (0.5, 1)


def test_one_person_in_two_profiles():
    # Of three pairs one is found; what is in no profile is alone.
    figures = fit({"a": 1, "b": 1}, {"a": "x", "b": "x", "c": "x"})
    assert (figures.precision, figures.recall, figures.false_merges) == (1, pytest.approx(1 / 3), 0)


def test_what_is_nobodys_counts_in_no_pair():
    assert fit({"a": 1, "b": 1, "shared": 1}, {"a": "x", "b": "x"}) == fit({"a": 1, "b": 1}, {"a": "x", "b": "x"})


def test_without_pairs_nothing_is_wrong_or_missed():
    assert fit({}, {}) == (1, 1, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_pairs_are_counted_as_one_by_one(placed):
    profiles = {index: profile for index, (profile, _) in enumerate(placed)}
    owner = {index: person for index, (_, person) in enumerate(placed)}
    pairs = list(combinations(profiles, 2))
    together = {pair for pair in pairs if profiles[pair[0]] == profiles[pair[1]]}
    right = {pair for pair in pairs if owner[pair[0]] == owner[pair[1]]}
    measured = fit(profiles, owner)
    assert measured.precision == (len(together & right) / len(together) if together else 1)
    assert measured.recall == (len(together & right) / len(right) if right else 1)


def login(person, a, b, used=()):
    return Event(0, person, "login", [says(a, b, "web")], used)


COOKIE, MAIL, OTHER, THIRD = ("cookie_id", "k"), ("email", "a@b.org"), ("email", "c@d.org"), ("email", "e@f.org")


def test_what_several_use_is_nobodys_and_joins_each_of_them_in_the_best_case():
    known = truth([login("x", COOKIE, MAIL), login("x", COOKIE, OTHER), login("y", COOKIE, THIRD)])
    assert known.owner == {identifier(*MAIL): "x", identifier(*OTHER): "x", identifier(*THIRD): "y"}
    assert known.attainable[identifier(*MAIL)] == known.attainable[identifier(*OTHER)]
    assert known.attainable[identifier(*MAIL)] != known.attainable[identifier(*THIRD)]
    assert known.most == 3


def test_who_is_at_a_browser_uses_its_cookie_unnamed():
    events = [login("x", COOKIE, MAIL), login("y", OTHER, THIRD, (COOKIE,))]
    assert identifier(*COOKIE) not in truth(events).owner


def test_junk_is_nobodys_and_links_nothing_even_in_the_best_case():
    junk = "email", forms.JUNK_EMAILS[-1]
    known = truth([login("x", junk, MAIL), login("x", junk, OTHER)])
    assert set(known.owner) == {identifier(*MAIL), identifier(*OTHER)}
    assert len(set(known.attainable.values())) == 2


@pytest.mark.parametrize(("other", "together"), [(OTHER, True), (THIRD, False)])
def test_a_guess_is_nobodys_use_and_a_right_one_could_be_accepted(other, together):
    guess = Event(0, None, "guess", [says(MAIL, other, "list", 0.3)])
    used = [login("x", MAIL, ("phone", "1")), login("x", OTHER, ("phone", "2")), login("y", THIRD, ("phone", "3"))]
    known = truth([*used, guess])
    assert known.owner[identifier(*other)] == ("x" if other is OTHER else "y")
    assert (known.attainable[identifier(*MAIL)] == known.attainable[identifier(*other)]) is together


def test_two_wrong_guesses_join_nothing_in_the_best_case():
    guesses = [Event(0, None, "guess", [says(name, THIRD, "list", 0.3)]) for name in (MAIL, OTHER)]
    used = [login("x", MAIL, ("phone", "1")), login("x", OTHER, ("phone", "2")), login("y", THIRD, ("phone", "3"))]
    known = truth([*used, *guesses])
    assert known.attainable[identifier(*MAIL)] != known.attainable[identifier(*OTHER)]


def test_the_stream_is_the_same_for_a_seed_and_no_other():
    assert made() == made()
    assert made() != made(seed=2)


def test_the_stream_stands_as_lines_that_hold_all_of_it():
    events = made()
    assert read_events(lines(events)) == events
    assert read(json.dumps({"id": "p", "household": None, "first": "A", "last": "B", "age": 3}).encode().splitlines())


def test_the_stream_is_of_its_people_in_order():
    events = made()
    assert len(events) == EVENTS
    assert {event.person for event in events} == {person.id for person in PEOPLE if person.id != "child"} | {None}
    assert [event.at for event in events] == sorted({event.at for event in events})
    assert {event.kind for event in events} == {
        "first_visit", "view", "sign_up", "login", "newsletter", "purchase", "guest_purchase", "call", "guess",
    }  # fmt: skip


def test_nobody_has_what_is_anothers():
    means = world(PEOPLE, Shares(two_emails=1, account=1), 1).means.values()
    for of in (lambda person: person.emails, lambda person: (person.phone,), lambda person: person.accounts):
        values = [value for person in means for value in of(person)]
        assert len(values) == len(set(values))
    assert all(normalise("phone", person.phone, "US") == f"+1{person.phone}" for person in means)


def test_a_household_shares_a_device_and_one_who_lives_alone_none():
    made = world(PEOPLE, Shares(shared_device=1), 1)
    assert all("h1-common" in made.means[f"p{number}"].devices for number in range(4, 8))
    assert made.households["p4"] == ("p5", "p6", "p7")
    for name in ("alone", "single"):
        assert made.households[name] == ()
        assert not any(device.endswith("-common") for device in made.means[name].devices)


def test_a_logout_gives_a_shared_device_another_anonymous_id():
    counts = [
        len(
            {
                value
                for _, type_, value in named(made(shared_device=1, kiosk=0, cleared=0, logout=logout))
                if type_ == "anonymous_id"
            }
        )
        for logout in (0, 1)
    ]
    assert counts[0] < counts[1]


@pytest.mark.parametrize("share", ["shared_device", "relative_phone", "desk_email", "kiosk"])
def test_without_what_is_shared_less_is_several_peoples(share):
    """Each of these shares makes identifiers that several people use, and none remains without them."""
    none = dict.fromkeys(("shared_device", "relative_phone", "desk_email", "kiosk", "typo"), 0.0)
    several = lambda events: {(t, v) for _, t, v in named(events)} and _several(events)  # noqa: E731
    assert not several(made(**none))
    assert several(made(**{**none, share: 0.5}))


def _several(events):
    known = truth(events)
    acted = {identifier(t, v) for person, t, v in named(events) if person is not None}
    return acted - JUNK - known.owner.keys()


@given(st.integers(), st.sampled_from(["john.smith@example.com", "a@example.org", "zz9@example.net"]))
def test_an_error_makes_another_address_and_another_way_of_writing_does_not(seed, email):
    assert normalise("email", forms.misspelt(email, dice(seed))) != email
    assert normalise("email", forms.address(email, dice(seed))) == email
    assert normalise("phone", forms.number("2065550123", dice(seed)), "US") == "+12065550123"


def test_every_share_is_told_of():
    assert [name for name, _, _ in table(Shares())] == list(Shares.__struct_fields__)
    assert all(what for _, _, what in table(Shares()))


def test_each_further_hazard_is_added_by_itself_and_all_to_the_hardest():
    on = [
        {name for name in FURTHER.values() if changed.get(name, getattr(Shares(), name))}
        for changed in STREAMS.values()
    ]
    assert on == [set(), *({name} for name in FURTHER.values()), set(FURTHER.values())]
    assert all(changed.keys() <= set(FURTHER.values()) for changed in STREAMS.values()), "errors and junk stay"


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_rules_measured_are_rules(variant):
    assert rules.parse(json.dumps(variant.rules).encode())


def test_the_service_takes_the_stream_in_and_its_guards_show(tmp_path):
    events = made(kiosk=0.2)[:800]
    known = truth(events)
    results = []
    for at, variant in enumerate((VARIANTS[0], VARIANTS[-1])):
        (tmp_path / str(at)).mkdir()
        results.append(run.measure(Variant("x", variant.rules), events, known, tmp_path / str(at), 50))
    usual, none = results
    assert usual.fit.precision > none.fit.precision
    assert usual.largest < none.largest
    assert usual.refused["weak_evidence"] > 0
    assert run.refusals(results)[0] == rules.Reason.BLOCKED_VALUE
    assert usual.fit.recall <= fit(known.attainable, known.owner).recall
