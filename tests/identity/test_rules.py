"""A tenant's rules by themselves: blocked values, ranks of sources, and rules that are refused."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.identity.rules import DEFAULT, DEFAULT_TYPES, Rule, Rules, TypeRule, parse, read, view
from portrait.model.errors import InvalidRules, MalformedJson
from portrait.model.identifier import Identifier, customer


def identifier(type_, value):
    return Identifier(type_, value)


# --- blocked values ---


OWN = Rules(blocked_values=["Mr. Nobody"], blocked_patterns=[r"qa-\d+"])
BLOCKED = {
    "an address that nobody has": (identifier("email", "noreply@example.com"), DEFAULT, True),
    "an address that somebody has": (identifier("email", "e@example.org"), DEFAULT, False),
    "no value": (identifier("email", ""), DEFAULT, True),
    "no value, where nothing is junk": (identifier("email", ""), Rules(block_junk=False), True),
    "a value that the tenant blocks": (identifier("device_id", "MR. NOBODY"), OWN, True),
    "a value that another blocks": (identifier("device_id", "MR. NOBODY"), DEFAULT, False),
    "a pattern that the tenant blocks": (identifier("device_id", "QA-17"), OWN, True),
    "a part of a pattern": (identifier("device_id", "QA-17b"), OWN, False),
    "a customer id that is a word for none": (customer("NULL"), DEFAULT, True),
    "a customer id that the tenant allows": (customer("NULL"), Rules(allowed_values=["null"]), False),
    "a local number": (identifier("phone", "555-0123"), DEFAULT, False),
    "a test address, where nothing is junk": (identifier("email", "test@test.com"), Rules(block_junk=False), False),
    "a test address": (identifier("email", "test@test.com"), DEFAULT, True),
}


@pytest.mark.parametrize(("identifier", "rules", "is_blocked"), BLOCKED.values(), ids=BLOCKED)
def test_values_that_say_nothing_of_a_person_are_blocked(identifier, rules, is_blocked):
    assert rules.blocks(identifier) is is_blocked


def test_a_type_is_known_that_is_built_in_or_the_tenants_own():
    assert all(map(DEFAULT.knows, DEFAULT_TYPES))
    assert not DEFAULT.knows("loyalty")
    assert Rules(types={"loyalty": TypeRule()}).knows("loyalty")


def test_a_customer_id_is_blocked_by_the_tenants_own_list_alone():
    rules = Rules(blocked_values=["Guest"], blocked_patterns=["C.*"])
    assert rules.blocks(customer("GUEST"))
    assert not rules.blocks(customer("C1"))
    assert rules.blocks(identifier("email", "c1@example.org"))
    assert rules.blocks(customer(""))


# --- ranks of sources, and confidence ---


def test_the_rank_of_a_source_is_what_the_tenant_says_and_else_in_the_middle():
    rules = parse(b'{"sourceRanks":{"crm":1,"web":900}}')
    assert [rules.rank(source) for source in ("crm", "till", None, "CRM", "web")] == [1, 100, 100, 100, 900]
    assert DEFAULT.rank("crm") == DEFAULT.rank(None) == 100


def test_a_public_source_ranks_behind_all_others_unless_the_tenant_names_it():
    rules = Rules(source_ranks={"web": 1000, "public:till": 50})
    assert [rules.rank(source) for source in ("public:web", "web", "public:till")] == [1001, 1000, 50]


def test_all_but_a_record_below_the_least_that_merges_is_sure():
    assert [DEFAULT.is_sure(Rule.RECORD, confidence) for confidence in (0.0, 0.49, 0.5, 1.0)] == [
        False,
        False,
        True,
        True,
    ]
    assert Rules(min_confidence=0.9).is_sure(Rule.RECORD, 0.9)
    assert not Rules(min_confidence=0.9).is_sure(Rule.RECORD, 0.89)
    assert all(DEFAULT.is_sure(rule, 0.0) for rule in Rule if rule is not Rule.RECORD)


def test_rules_by_default_have_no_name():
    assert DEFAULT.name is parse(b"{}").name is read(None).name is None
    assert parse(json.dumps({"shared": "split", "minConfidence": 0.5}).encode()).name is None


NAMED = [
    {"types": {"loyalty": {}}}, {"types": {"loyalty": {"weak": True}}}, {"types": {"email": {"limit": 4}}},
    {"blockedValues": ["x"]}, {"blockedPatterns": ["x"]}, {"allowedValues": ["x"]}, {"shared": "warn"},
    {"shared": "demote"}, {"maxIdentifiers": 3}, {"minConfidence": 0.4}, {"weakGuard": False}, {"blockJunk": False},
    {"sourceRanks": {"crm": 1}}, {"sourceRanks": {"crm": 2}}, {"region": "DE"},
]  # fmt: skip


def test_rules_with_other_content_have_another_name():
    names = [parse(json.dumps(document).encode()).name for document in NAMED]
    assert len(set(names)) == len(NAMED)
    assert all(re.fullmatch("[0-9a-f]{12}", name) for name in names)


def test_the_name_of_rules_does_not_depend_on_their_order():
    one_way = b'{"weakGuard":false,"types":{"a":{"weak":true,"limit":2},"b":{}},"sourceRanks":{"crm":1,"web":2}}'
    other = b'{"sourceRanks":{"web":2,"crm":1},"types":{"b":{},"a":{"limit":2,"weak":true}},"weakGuard":false}'
    assert parse(one_way).name == parse(other).name == read(one_way).name
    assert parse(one_way).name == Rules(
        types={"b": TypeRule(), "a": TypeRule(limit=2, weak=True)}, weak_guard=False, source_ranks={"web": 2, "crm": 1}
    ).name  # fmt: skip


# --- invalid rules ---

REFUSED = {
    "not JSON": (b"{", MalformedJson),
    "two of one name": (b'{"weakGuard":true,"weakGuard":tru}', MalformedJson),
    "a list": (b"[]", InvalidRules),
    "an unknown rule": ({"strict": True}, InvalidRules),
    "an unknown rule of a type": ({"types": {"email": {"most": 1}}}, InvalidRules),
    "a type with a colon": ({"types": {"a:b": {}}}, InvalidRules),
    "a type in capitals": ({"types": {"Email": {}}}, InvalidRules),
    "a type that ends in a new line": ({"types": {"loyalty\n": {}}}, InvalidRules),
    "types in a list": ({"types": [{}]}, InvalidRules),
    "a built-in type in a list": ({"types": {"email": [1]}}, InvalidRules),
    "a limit of none": ({"types": {"email": {"limit": 0}}}, InvalidRules),
    "a limit beyond all": ({"types": {"email": {"limit": 1001}}}, InvalidRules),
    "a confidence above 1": ({"minConfidence": 1.01}, InvalidRules),
    "a confidence below 0": ({"minConfidence": -0.1}, InvalidRules),
    "a text for a number": ({"maxIdentifiers": "10"}, InvalidRules),
    "one identifier": ({"maxIdentifiers": 1}, InvalidRules),
    "another treatment": ({"shared": "ignore"}, InvalidRules),
    "shared from one": ({"types": {"device_id": {"sharedFrom": 1}}}, InvalidRules),
    "an empty value": ({"blockedValues": [""]}, InvalidRules),
    "no regular expression": ({"blockedPatterns": ["("]}, InvalidRules),
    "an expression that looks around": ({"blockedPatterns": ["(?!a)b"]}, InvalidRules),
    "rules that are too long": ({"blockedValues": ["x" * 500] * 600}, InvalidRules),
    "a rank below 0": ({"sourceRanks": {"crm": -1}}, InvalidRules),
    "a rank above 1000": ({"sourceRanks": {"crm": 1001}}, InvalidRules),
    "a rank of a source without a name": ({"sourceRanks": {"": 1}}, InvalidRules),
    "ranks in a list": ({"sourceRanks": ["crm"]}, InvalidRules),
    "an unknown region": ({"region": "XX"}, InvalidRules),
    "a region in small letters": ({"region": "de"}, InvalidRules),
    "a weak customer id": ({"types": {"customer_id": {"weak": True}}}, InvalidRules),
    "unique and weak": ({"types": {"email": {"unique": True, "weak": True}}}, InvalidRules),
    "unique, and two": ({"types": {"email": {"unique": True, "limit": 2}}}, InvalidRules),
    "a window without a limit": ({"types": {"loyalty": {"windowDays": 7}}}, InvalidRules),
    "a limit beyond the cap": ({"maxIdentifiers": 3, "types": {"email": {"limit": 4}}}, InvalidRules),
    "an unknown form": ({"types": {"loyalty": {"form": "upper"}}}, InvalidRules),
    "a form of a built-in type": ({"types": {"cookie_id": {"form": "lower"}}}, InvalidRules),
    "hashes of a type that nobody hashes": ({"types": {"hash": {"form": "sha256", "of": "cookie_id"}}}, InvalidRules),
    "hashes in another form": ({"types": {"hash": {"form": "lower", "of": "email"}}}, InvalidRules),
    "hashes without a form": ({"types": {"hash": {"of": "email"}}}, InvalidRules),
    "hashes of a list": ({"types": {"hash": {"form": "sha256", "of": ["email"]}}}, InvalidRules),
}


@pytest.mark.parametrize(("document", "error"), REFUSED.values(), ids=REFUSED)
def test_rules_that_cannot_be_are_refused(document, error):
    with pytest.raises(error):
        parse(document if isinstance(document, bytes) else json.dumps(document).encode())


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"types": {"email": {"limit": 0}}}, "`types[...].limit`: expected `int` >= 1."),
        ({"types": {"Secret": {}}}, "`types`: a type's name is of a-z, 0-9 and _"),
        ({"types": {"email": {"secret": 1}}}, "`types[...]`: known rules are priority, limit, "),
        ({"secret": 1}, "the document: known rules are types, blockedValues, "),
        ({"shared": "secret"}, "`shared`: expected one of warn, demote, split."),
        ({"types": {"a": {"form": "secret"}}}, "`types[...].form`: expected one of uuid, digits, lower, salesforce_id"),
        ({"types": {"a": {"of": "secret"}}}, "`types[...].of`: expected one of email, phone."),
        ({"types": {"email": {"form": "uuid"}}}, "`types.email`: a built-in type has its own form"),
        (["secret"], "the document: expected `object`."),
        ({"types": {"email": {"unique": True, "weak": True}}}, "`types.email`"),
        ({"minConfidence": 2}, "`minConfidence`: expected `float` <= 1.0."),
        ({"blockedPatterns": ["a", "secret("]}, "`blockedPatterns[1]` leaves a `(` open"),
        ({"region": "secret"}, "`region`"),
        ({"blockedValues": ["secret@example.org", ""]}, "blockedValues"),
    ],
)
def test_the_refusal_names_the_place_and_no_value(document, path):
    with pytest.raises(InvalidRules) as refused:
        parse(json.dumps(document).encode())
    assert path in refused.value.detail
    assert "secret" not in refused.value.detail


def test_omitted_rules_are_as_by_default():
    assert parse(b"{}") == DEFAULT == read(None)
    assert parse(b'{"types":{"email":{}}}').all_types == DEFAULT_TYPES
    assert parse(b'{"types":{"loyalty":{"limit":1}}}').of("loyalty") == TypeRule(limit=1)


CHANGES = {
    "priority": st.integers(0, 1000),
    "limit": st.none() | st.integers(1, 10),
    "weak": st.booleans(),
    "sharedFrom": st.none() | st.integers(2, 9),
}


@given(st.sampled_from(sorted(DEFAULT_TYPES.keys() - {"customer_id"})), st.fixed_dictionaries({}, optional=CHANGES))
def test_omitted_fields_of_a_built_in_type_are_as_by_default(name, document):
    rule = parse(json.dumps({"types": {name: document}}).encode()).of(name)
    assert msgspec.to_builtins(rule) == msgspec.to_builtins(DEFAULT_TYPES[name]) | document


def test_defaults_of_a_built_in_type_contradict_no_given_rule():
    assert parse(b'{"types":{"email":{"unique":true}}}').of("email").limit is None
    assert parse(b'{"types":{"customer_id":{"unique":false}}}').of("customer_id") == TypeRule(priority=0)
    few = parse(b'{"maxIdentifiers":3,"types":{"device_id":{"sharedFrom":2}}}')
    assert few.of("device_id").limit == few.of("email").limit == 3
    assert parse(json.dumps(view(few)).encode()).all_types == few.all_types


@given(
    st.builds(
        Rules,
        types=st.dictionaries(
            st.sampled_from(["email", "loyalty", "device_id"]),
            st.builds(TypeRule, priority=st.integers(0, 1000), limit=st.none() | st.integers(1, 10)),
        ),
        blocked_values=st.lists(st.text("abc", min_size=1, max_size=5), max_size=3),
        shared=st.sampled_from(["warn", "demote", "split"]),
        max_identifiers=st.integers(2, 1000),
        min_confidence=st.floats(0, 1),
        weak_guard=st.booleans(),
        source_ranks=st.dictionaries(st.sampled_from(["crm", "web"]), st.integers(0, 1000)),
        region=st.sampled_from([None, "DE", "US"]),
    )
)
def test_rules_as_they_are_shown_can_be_set_again_and_mean_the_same(rules):
    again = parse(json.dumps(view(rules)).encode())
    assert view(again) == view(rules)
    assert again.all_types == rules.all_types
    assert again.source_ranks == rules.source_ranks


def test_a_form_tells_rules_apart_and_rules_without_one_mean_what_they_meant():
    """The name of rules is stored with every decision: what decided under them stands while their name is another."""
    plain = Rules(types={"loyalty": TypeRule(priority=15), "email": TypeRule(limit=2)}, region="DE")
    assert plain.name == "fb91f1a85094"
    formed = Rules(types={"loyalty": TypeRule(priority=15, form="lower"), "email": TypeRule(limit=2)}, region="DE")
    assert formed.name not in {plain.name, None}
    assert "form" not in view(plain)["types"]["loyalty"]
    assert view(formed)["types"]["loyalty"]["form"] == "lower"


def test_hashes_are_as_shared_as_what_they_are_of():
    made = parse(b'{"types": {"hash": {"form": "sha256", "of": "email"}, "own": {"form": "sha256"}}}')
    assert made.of("hash") == TypeRule(priority=10, shared_from=3, form="sha256", of="email")
    assert made.of("own") == TypeRule(form="sha256")
    assert made.hashed == {"email"}


@pytest.mark.parametrize(
    ("type_", "value", "count"),
    [("email", "john@example.com", 1), ("email", "jo.hn@gmail.com", 2), ("phone", "+442079460018", 2),
     ("phone", "+442079460018;ext=4", 0), ("phone", "020 7946 0018", 0), ("email", "john", 0), ("email",
     "none@none", 0),
     ("phone", "+1234567890", 0), ("phone", "+77777777777", 0), ("cookie_id", "a" * 64, 0)],
)  # fmt: skip
def test_only_what_is_clear_and_certain_has_hashes(type_, value, count):
    types = {"hash": {"form": "sha256", "of": "email"}, "number_hash": {"form": "sha256", "of": "phone"}}
    made = parse(json.dumps({"types": types}).encode())
    digests = made.hashes(Identifier(type_, value))
    assert len(digests) == count
    assert {digest.type for digest in digests} <= {"hash" if type_ == "email" else "number_hash"}
    assert all(made.forms.of(*digest) == digest for digest in digests)
