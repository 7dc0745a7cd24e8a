"""The schema of a record in every section: refusals name the field, never the value; equal records are equal bytes."""

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portrait.model.errors import InvalidRecord, MalformedJson
from sections.facts import REGISTRY, SECRET, SECTIONS, moments, parsed, records

FIELDS = [
    pytest.param(name, member, field, id=f"{name}-{member.__name__}-{field.name}")
    for name, section in SECTIONS.items()
    if name in REGISTRY.names()
    for member, fields in section.shape.fields.items()
    for field in fields
]
every_section = pytest.mark.parametrize("name", SECTIONS)


def example(section, member):
    """Return a whole record of one of a section's types."""
    if member is section.shape.members[0]:
        return section.example()
    assert member.__name__ == "Preference"
    return {"kind": "preference", "key": "newsletter.frequency", "value": "weekly"}


def refusal(section, record):
    with pytest.raises(InvalidRecord) as refused:
        parsed(section, record)
    return refused.value.detail


@every_section
def test_the_example_is_a_record(name):
    section = SECTIONS[name]
    assert parsed(section, section.example()).key


@pytest.mark.parametrize(("name", "member", "field"), [case for case in FIELDS if case.values[2].required])
def test_a_missing_required_field_is_refused_by_its_name(name, member, field):
    record = example(SECTIONS[name], member)
    del record[field.name]
    assert refusal(SECTIONS[name], record) == f"Field `{field.name}` is required."


@pytest.mark.parametrize(
    ("name", "member", "field"), [case for case in FIELDS if case.values[2].name not in {"value", "properties"}]
)
@pytest.mark.parametrize("wrong", [["secret-value"], {"secret-value": 1}, True])
def test_a_wrong_type_is_refused_by_the_fields_name(name, member, field, wrong):
    detail = refusal(SECTIONS[name], example(SECTIONS[name], member) | {field.name: wrong})
    assert f"`{field.name}`" in detail
    assert "secret-value" not in detail


@pytest.mark.parametrize(("name", "member", "field"), [case for case in FIELDS if case.values[2].is_timestamp])
@pytest.mark.parametrize(
    "wrong", ["2026-01-01T00:00:00", "2026-01-01", "yesterday", "2026-13-01T00:00:00Z", "", 1767225600]
)
def test_a_timestamp_without_an_offset_is_refused_by_the_fields_name(name, member, field, wrong):
    detail = refusal(SECTIONS[name], example(SECTIONS[name], member) | {field.name: wrong})
    assert f"`{field.name}`" in detail


@pytest.mark.parametrize(("name", "member", "field"), [case for case in FIELDS if case.values[2].is_timestamp])
@pytest.mark.parametrize("edge", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_timestamp_beyond_the_years_that_utc_has_is_refused_by_the_fields_name(name, member, field, edge):
    detail = refusal(SECTIONS[name], example(SECTIONS[name], member) | {field.name: edge})
    assert f"`{field.name}`" in detail


@pytest.mark.parametrize("confidence", [-0.001, 1.001, 2, -1, "1.0", None])
def test_a_confidence_outside_0_to_1_is_refused(confidence):
    record = {"type": "email", "value": "a@example.com", "confidence": confidence}
    assert "`confidence`" in refusal(SECTIONS["identities"], record)


@pytest.mark.parametrize(
    ("number", "error"), [("NaN", MalformedJson), ("Infinity", MalformedJson), ("1e999", InvalidRecord)]
)
def test_a_number_that_json_does_not_have_is_refused(number, error):
    text = b'{"type":"email","value":"a@example.com","confidence":%b}' % number.encode()
    with pytest.raises(error):
        SECTIONS["identities"].parse(text, SECRET)


@pytest.mark.parametrize(("number", "encoded"), [("1", b"1.0"), ("0", b"0.0"), ("0.95", b"0.95")])
def test_a_confidence_is_always_a_float(number, encoded):
    text = b'{"type":"email","value":"a@example.com","confidence":%b}' % number.encode()
    assert b'"confidence":%b}' % encoded in SECTIONS["identities"].parse(text, SECRET)[1].body


@pytest.mark.parametrize("name", [name for name, section in SECTIONS.items() if section.shape.extras is None])
def test_an_unknown_field_is_refused_by_its_name_with_the_known_ones(name):
    section = SECTIONS[name]
    detail = refusal(section, section.example() | {"surprise": "secret-value"})
    assert "`surprise`" in detail
    assert section.shape.fields[section.shape.members[0]][0].name in detail
    assert "secret-value" not in detail


def test_an_unknown_fields_name_that_could_be_a_value_is_not_repeated():
    detail = refusal(SECTIONS["segments"], SECTIONS["segments"].example() | {"john@example.com": 1})
    assert "john" not in detail


def test_other_fields_of_an_interaction_go_into_properties():
    section = SECTIONS["interactions"]
    record = section.example() | {"colour": "red", "amount": {"cents": 5}}
    body = json.loads(parsed(section, record).body)
    assert body == section.example() | {"properties": {"amount": {"cents": 5}, "colour": "red"}}
    both = section.example() | {"properties": {"colour": "red"}, "amount": {"cents": 5}}
    assert parsed(section, both).body == parsed(section, record).body


def test_a_field_both_in_properties_and_beside_them_is_refused():
    section = SECTIONS["interactions"]
    assert "`colour`" in refusal(section, section.example() | {"colour": "red", "properties": {"colour": "blue"}})


@pytest.mark.parametrize("wrong", [[], "text", 1])
def test_properties_that_are_no_object_are_refused_by_name(wrong):
    assert "`properties`" in refusal(
        SECTIONS["interactions"], SECTIONS["interactions"].example() | {"properties": wrong}
    )


def test_properties_are_present_only_if_there_are_any():
    section = SECTIONS["interactions"]
    assert b"properties" not in parsed(section, section.example()).body
    assert b"properties" not in parsed(section, section.example() | {"properties": {}}).body


def test_unset_fields_are_null_and_never_absent():
    section = SECTIONS["interactions"]
    record = {"id": "ih_1", "interactionType": "click", "timestamp": "2026-01-01T00:00:00Z"}
    assert json.loads(parsed(section, record).body) == record | {"offerId": None, "channelId": None}
    enrolled = {"journeyId": "j", "journeyName": "J", "status": "active", "enrolledAt": "2026-01-01T00:00:00Z"}
    assert json.loads(parsed(SECTIONS["journeys"], enrolled).body) == enrolled | {
        "currentStep": None,
        "completedAt": None,
    }
    consent = {"kind": "consent", "purpose": "marketing", "status": "pending"}
    assert json.loads(parsed(SECTIONS["consent"], consent).body) == consent | dict.fromkeys(
        ["channel", "grantedAt", "revokedAt", "source"]
    )


@pytest.mark.parametrize("status", ["Granted", "yes", "", 1])
def test_a_consent_status_is_granted_revoked_or_pending(status):
    record = {"kind": "consent", "purpose": "marketing", "status": status}
    assert "`status`" in refusal(SECTIONS["consent"], record)


@pytest.mark.parametrize("kind", ["opinion", "", None, 1])
def test_a_kind_of_consent_is_consent_or_preference(kind):
    assert "kind" in refusal(SECTIONS["consent"], {"kind": kind, "purpose": "marketing", "status": "granted"})


@pytest.mark.parametrize("value", ["weekly", 3, 2.5, True, None, ["a"], {"a": {"b": 1}}])
def test_a_preferences_value_is_any_json(value):
    record = {"kind": "preference", "key": "k", "value": value}
    assert json.loads(parsed(SECTIONS["consent"], record).body)["value"] == value


@every_section
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_timestamps_are_kept_in_utc_with_z(name, data):
    section = SECTIONS[name]
    body = json.loads(parsed(section, data.draw(records(section))).body)
    for fields in section.shape.fields.values():
        for field in fields:
            if field.is_timestamp and body.get(field.name) is not None:
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", body[field.name])


@settings(max_examples=50, deadline=None)
@given(moments())
def test_one_moment_in_two_offsets_is_one_record(text):
    moment = datetime.fromisoformat(text)
    utc = moment.astimezone(UTC).isoformat()
    for name in ("interactions", "journeys"):
        section = SECTIONS[name]
        field = {"interactions": "timestamp", "journeys": "enrolledAt"}[name]
        a = parsed(section, section.example() | {field: text})
        b = parsed(section, section.example() | {field: utc})
        assert (a.key, a.body, a.effective_at) == (b.key, b.body, b.effective_at)
        assert json.loads(a.body)[field] == utc.replace("+00:00", "Z")


def _rewritten(value, draw):
    """Return the same JSON value with the members of its objects in another order."""
    if isinstance(value, dict):
        return {name: _rewritten(value[name], draw) for name in draw(st.permutations(list(value)))}
    return [_rewritten(element, draw) for element in value] if isinstance(value, list) else value


@every_section
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_equal_records_are_equal_bytes_however_they_are_written(name, data):
    section = SECTIONS[name]
    record = data.draw(records(section))
    other = json.dumps(_rewritten(record, data.draw), indent=2, ensure_ascii=data.draw(st.booleans()))
    a, (_, b) = parsed(section, record), section.parse(other.encode(), SECRET)
    assert (a.key, a.body, a.effective_at) == (b.key, b.body, b.effective_at)


@every_section
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_body_read_and_written_again_is_the_same_bytes(name, data):
    section = SECTIONS[name]
    record, parsed_record = section.parse(json.dumps(data.draw(records(section))).encode(), SECRET)
    body = parsed_record.body
    assert section.shape.decode(body) == record
    assert section.shape.encode(record) == body
    assert section.parse(body, SECRET) == (record, parsed_record)


def test_identities_have_one_key_where_their_values_match():
    section = SECTIONS["identities"]

    def key(type_, value):
        return parsed(section, {"type": type_, "value": value}).key

    assert key("email", "John@Example.com ") == key("email", "john@example.com")
    assert key("email", "Jo\u0308rg@example.com") == key("email", "j\u00f6rg@example.com")
    assert key("phone", "+1234567890") == key("phone", " +1234567890")
    assert key("device", "ABC") != key("device", "abc")
    assert key("email", "a") != key("phone", "a")


def test_a_personal_key_is_opaque_and_of_the_tenants_own():
    section = SECTIONS["identities"]
    text = b'{"type":"email","value":"john@example.com"}'
    key, other = (section.parse(text, secret)[1].key for secret in (bytes(32), b"x" * 32))
    assert key != other
    assert "john" not in key
    assert re.fullmatch(r"[\w-]+", key, re.ASCII)


def test_a_single_field_key_that_is_not_personal_is_the_value_itself():
    assert parsed(SECTIONS["segments"], SECTIONS["segments"].example()).key == "seg_001"
    assert parsed(SECTIONS["interactions"], SECTIONS["interactions"].example()).key == "ih_001"


@pytest.mark.parametrize("text", ["", ".", "..", "a\u0001", "\u00e9" * 129])
def test_a_key_that_cannot_stand_in_a_url_is_refused_by_the_fields_name(text):
    section = SECTIONS["segments"]
    assert "`segmentId`" in refusal(section, section.example() | {"segmentId": text})
