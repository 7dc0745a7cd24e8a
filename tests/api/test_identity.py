"""The routes of identity: their answers, faults in their bodies, and that no answer and no log has an identifier."""

import json
import logging

import pytest

from harness import TENANT
from identifying.acting import act, bulk, each, evidence, explained, line, named, refused, tie, tried
from portrait.api.identity_actions import MAX_LINKED
from portrait.api.operation import MAX_BODY
from portrait.identity.rules import DEFAULT, WORDS, Reason, view

E, D = "email:e@example.org", "device_id:d"
IDENTITY, RULES = "/api/v1/identity", "/api/v1/identity/rules"


async def test_the_cluster_names_the_id_asked_for_and_the_canonical_id(running):
    await each(running, tie("A", E, 0.9), tie(E, D, 0.8), tie("B", "phone:+4930901820"))
    answer = await running.client.get(IDENTITY, params={"customerId": "A"})
    assert answer.json() == {
        "customerId": "A",
        "cluster": {"canonicalId": "A", "identifiers": [evidence(E, 0.9), evidence(D, 0.8)]},
    }
    await act(running, "merge", targetId="B", sourceId="A")
    answer = (await running.client.get(IDENTITY, params={"customerId": "A"})).json()
    assert answer["customerId"] == "A"
    assert answer["cluster"]["canonicalId"] == "B"
    assert [identifier["value"] for identifier in answer["cluster"]["identifiers"]] == [
        "A",
        "+4930901820",
        "e@example.org",
        "d",
    ]


@pytest.mark.parametrize("path", [IDENTITY, f"{IDENTITY}/explain"])
@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        (None, 400, "invalid_parameter"),
        ("", 400, "invalid_parameter"),
        ("..", 400, "invalid_parameter"),
        ("a\nb", 400, "invalid_parameter"),
        ("x" * 257, 400, "invalid_parameter"),
        ("nobody", 404, "customer_not_found"),
    ],
)
async def test_a_wrong_customer_id_parameter_is_refused(running, path, asked, status, code):
    answer = await running.client.get(path, params={} if asked is None else {"customerId": asked})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_resolve_answers_the_customer_id(running):
    await bulk(running, tie("A", "email:Ann@Example.org"))
    assert await act(running, "resolve", identifier="email: ann@example.ORG") == {"canonicalId": "A"}
    assert await act(running, "resolve", identifier="A") == {"canonicalId": "A"}


async def test_the_explanation_shows_evidence_merges_and_pairs_kept_apart(running):
    await each(
        running,
        tie("A", "email:E@Example.org", 0.9, source="crm", effectiveAt="2026-01-02T00:00:00Z"),
        tie(E, "A", 0.7, source="shop"),
        tie("B", "phone:+4930901820"),
    )
    await act(running, "merge", targetId="A", sourceId="B", source="ann")
    await act(running, "unlink", canonicalId="B", identifier="phone:+4930901820")
    explanation = await explained(running, "B")
    assert explanation["customerId"] == "A"
    (mail,) = [identifier for identifier in explanation["identifiers"] if identifier["type"] == "email"]
    assert (mail["value"], mail["confidence"]) == ("e@example.org", 0.954545)  # 0.9 and 0.7: 9 · 7/3 = 21, 21 / 22
    (link,) = mail["path"]
    assert link["identifiers"] == [named("A"), named(E)]
    link_evidence = [(record["source"], record["rule"], record["confidence"]) for record in link["evidence"]]
    assert link_evidence == [("crm", "record", 0.9), ("shop", "record", 0.7)]
    assert link["evidence"][0]["effectiveAt"] == "2026-01-02T00:00:00Z"
    (merge,) = explanation["merges"]
    assert (merge["sourceId"], merge["targetId"], merge["rule"]) == ("B", "A", "merge")
    assert merge["identifiers"] == [named("A"), named("B")]
    (pair,) = explanation["apart"]
    assert pair.pop("recordedAt").startswith("2026-06-01T12:00:00")
    ends = [named("B"), named("phone:+4930901820")]
    assert pair == {"identifiers": ends, "rule": "unlink", "source": "api", "credential": None}


async def test_a_candidate_says_the_reason_in_words_too(running):
    await each(running, tie("B", E), tie("A", "email:E@example.org", 0.7, source="crm"))
    (candidate,) = (await explained(running, "A"))["candidates"]
    assert candidate.pop("recordedAt").startswith("2026-06-01T12:00:00")
    assert candidate == {
        "identifier": named("A"),
        "other": named("email:E@example.org"),
        "reason": "unique_type",
        "detail": WORDS[Reason.UNIQUE_TYPE],
        "source": "crm",
        "confidence": 0.7,
    }


# --- bodies ---

LINK = {"action": "link", "canonicalId": "A", "identifiers": [named(D)]}
WRONG = {
    "no object": ([], "`action`"),
    "no action": ({}, "`action`"),
    "an unknown action": ({"action": "split"}, "`action`"),
    "an action of another type": ({"action": ["link"]}, "`action`"),
    "no customer": ({"action": "link", "identifiers": [named(D)]}, "`canonicalId`"),
    "an empty customer": ({**LINK, "canonicalId": ""}, "`canonicalId`"),
    "a customer of control characters": ({**LINK, "canonicalId": "a\u0001"}, "`canonicalId`"),
    "too long a customer": ({**LINK, "canonicalId": "é" * 129}, "`canonicalId`"),
    "no identifiers": ({**LINK, "identifiers": []}, "`identifiers`"),
    "too many identifiers": (
        {**LINK, "identifiers": [named(f"cookie_id:c{number}") for number in range(MAX_LINKED + 1)]}, "`identifiers`"),
    "half an identifier": ({**LINK, "identifiers": [{"type": "email"}]}, "`identifiers`"),
    "more of an identifier": ({**LINK, "identifiers": [evidence(D)]}, "`identifiers`"),
    "a source in an identifier": ({**LINK, "identifiers": [{**named(D), "source": "s"}]}, "`identifiers`"),
    "a number for an identifier's type": ({**LINK, "identifiers": [{"type": 5, "value": "d"}]}, "`identifiers`"),
    "too sure": ({**LINK, "confidence": 1.1}, "`confidence`"),
    "less than unsure": ({**LINK, "confidence": -0.1}, "`confidence`"),
    "a source of nobody": ({**LINK, "source": ""}, "`source`"),
    "an unknown field": ({**LINK, "secret": "secret@example.org"}, "these fields"),
    "an unlink of several": ({"action": "unlink", "canonicalId": "A", "identifiers": [named(D)]}, "identifier"),
    "a merge of one": ({"action": "merge", "targetId": "A"}, "`sourceId`"),
    "a merge of a number": ({"action": "merge", "targetId": "A", "sourceId": 5}, "`sourceId`"),
    "half a review": ({"action": "accept", "identifier": named("A")}, "`other`"),
    "a preview of nothing": ({"action": "preview"}, "`of`"),
    "a preview of no action": ({"action": "preview", "of": {}}, "`action`"),
    "a preview of a preview": ({"action": "preview", "of": {"action": "preview", "of": LINK}}, "`action`"),
    "a preview of a question": (
        {"action": "preview", "of": {"action": "resolve", "identifier": named("A")}}, "`action`"),
    "a preview of half a merge": ({"action": "preview", "of": {"action": "merge", "targetId": "A"}}, "`sourceId`"),
    "resolve nothing": ({"action": "resolve"}, "`identifier`"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "field"), WRONG.values(), ids=WRONG)
async def test_a_wrong_body_is_refused_by_the_name_of_its_field(running, body, field):
    await bulk(running, tie("A", E))
    answer = await running.client.post(IDENTITY, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_record"), answer.text
    assert field in answer.json()["detail"]
    assert "secret@" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_what_is_no_json_is_refused(running, method):
    path = IDENTITY if method == "POST" else RULES
    for body, kind, status, code in (
        (b"{", "application/json", 400, "malformed_json"),
        (b'{"a":"\\ud800"}', "application/json", 400, "malformed_json"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b" " * (MAX_BODY + 1), "application/json", 413, "body_too_large"),
    ):
        answer = await running.client.request(method, path, content=body, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_no_identifier_is_in_a_log_or_in_an_error(running, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "email:secret@example.org"
    await bulk(running, tie("secret-customer", secret), line(secret, "identities", evidence("device_id:secret-device")))
    for action, fields, code in (
        ("resolve", {"identifier": "email:other-secret@example.org"}, "identifier_not_found"),
        ("link", {"canonicalId": "secret-other", "identifiers": [secret]}, "link_refused"),
        ("unlink", {"canonicalId": "secret-customer", "identifier": "phone:secret-phone"}, "not_merged"),
        ("merge", {"targetId": "secret-customer", "sourceId": "secret-nobody"}, "customer_not_found"),
        ("accept", {"identifier": secret, "other": "phone:secret-phone"}, "not_merged"),
    ):
        answer = await tried(running, action, **fields)
        assert answer.json()["code"] == code
        assert "secret" not in answer.text
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("portrait")]
    assert not [text for text in ours if "secret" in text]


# --- rules ---


async def test_rules_can_be_read_set_and_read_again(running):
    assert (await running.client.get(RULES)).json() == json.loads(json.dumps(view(DEFAULT)))
    made = {"types": {"loyalty_card": {"priority": 15, "limit": 3}, "email": {"unique": True}}, "weakGuard": False}
    answer = await running.client.put(RULES, json=made)
    assert answer.status_code == 200
    rules = answer.json()
    assert rules == (await running.client.get(RULES)).json()
    assert rules["types"]["loyalty_card"] == {"priority": 15, "limit": 3, "windowDays": None, "unique": False,
                                              "weak": False, "sharedFrom": None}  # fmt: skip
    assert rules["types"]["email"]["unique"]
    assert rules["types"]["device_id"] == view(DEFAULT)["types"]["device_id"]
    assert (await running.client.put(RULES, json=rules)).json() == rules, "as they are shown they can be set"
    assert (await running.client.put(RULES, json={})).json() == json.loads(json.dumps(view(DEFAULT)))


async def test_rules_that_contradict_each_other_change_nothing(running):
    before = (await running.client.put(RULES, json={"minConfidence": 0.7})).json()
    for made in (
        {"types": {"email": {"unique": True, "weak": True}}},
        {"types": {"a:b": {}}},
        {"minConfidence": 2},
        [],
    ):
        answer = await running.client.put(RULES, json=made)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rules")
        assert (await running.client.get(RULES)).json() == before


async def test_patterns_that_an_older_version_let_through_are_shown_as_unused_and_the_others_apply(running, caplog):
    older = {"blockedPatterns": ["(?!qa)secret.*", "no", "(.)\\1"]}
    raw = json.dumps(older).encode()
    await running.services.store.write(TENANT, lambda tx: tx.set_rules(TENANT, raw))
    running.services.access.changed(TENANT)
    rules = (await running.client.get(RULES)).json()
    assert rules["blockedPatterns"] == older["blockedPatterns"]
    assert [pattern["index"] for pattern in rules["unusedPatterns"]] == [0, 2]
    assert "looks around" in rules["unusedPatterns"][0]["detail"]
    logged = [
        record.levelname
        for record in caplog.records
        if "2 of a tenant's blockedPatterns match nothing" in record.message
    ]
    assert logged == ["WARNING"]
    assert "secret" not in caplog.text
    taken = await bulk(running, tie("A", "device_id:secret"), tie("A", "device_id:NO"))
    assert [(warning["index"], warning["code"]) for warning in taken["warnings"]] == [(1, "blocked_value")]
    answer = await running.client.put(RULES, json=older)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rules")
    assert "`blockedPatterns[0]`" in answer.json()["detail"]
    assert "unusedPatterns" not in (await running.client.put(RULES, json={"blockedPatterns": ["no"]})).json()


async def test_one_tenants_rules_and_identifiers_are_not_anothers(running):
    await running.services.access.create_tenant("other")
    await bulk(running, tie("A", E))
    await running.client.put(RULES, json={"minConfidence": 0.9})
    theirs = {"X-Tenant-Id": "other"}
    assert (await running.client.get(RULES, headers=theirs)).json()["minConfidence"] == 0.5
    answer = await running.client.post(IDENTITY, json={"action": "resolve", "identifier": named(E)}, headers=theirs)
    assert answer.status_code == 404
    assert running.client.headers["X-Tenant-Id"] == TENANT


async def test_a_refusal_says_for_programs_which_rule_it_was(running):
    await each(running, tie("B", E))
    assert await refused(running, "link", canonicalId="A", identifiers=[E]) == (409, "link_refused", "unique_type")
    answer = await tried(running, "link", canonicalId="A", identifiers=[E])
    assert answer.headers["content-type"] == "application/problem+json"
    assert WORDS[Reason.UNIQUE_TYPE] in answer.json()["detail"]
    other = await tried(running, "merge", targetId="A", sourceId="A")
    assert "reason" not in other.json()
