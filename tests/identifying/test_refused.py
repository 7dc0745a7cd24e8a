"""Refusals over HTTP and by command: each has a code of its own, changes nothing and names no value anywhere."""

import asyncio
import json
import logging
import sys

import pytest

from harness import TENANT
from identifying.acting import each, named, rules, stored_state, tie
from portrait.cli import main

RULES = {
    "blockedValues": ["secret-blocked", "SECRET@blocked.example.org"],
    "maxIdentifiers": 4,
    "types": {type_: {"limit": 4} for type_ in ("email", "phone")}
    | {type_: {"weak": True, "limit": 4} for type_ in ("device_id", "cookie_id", "anonymous_id")},
}
A, B = "secret-a", "secret-b"
MAIL, OTHER, NEW = (f"email:{name}@secret.example.org" for name in ("first", "second", "third"))
CONTRADICTIONS = {
    "a limit beyond the cap": {"maxIdentifiers": 3, "types": {"email": {"limit": 4}}, "blockedValues": ["secret"]},
    "unique and weak": {"types": {"email": {"unique": True, "weak": True}}, "blockedPatterns": ["secret"]},
    "unique and several": {"types": {"email": {"unique": True, "limit": 2}}, "blockedValues": ["secret"]},
    "a window of no limit": {"types": {"loyalty": {"windowDays": 2}}, "blockedValues": ["secret"]},
    "a weak customer id": {"types": {"customer_id": {"weak": True}}, "blockedValues": ["secret"]},
    "a pattern that is none": {"blockedPatterns": ["(secret"]},
    "a region that is none": {"region": "secret"},
    "a form of a built-in type": {"types": {"email": {"form": "lower"}}, "blockedValues": ["secret"]},
    "hashes in another form": {"types": {"hash": {"form": "lower", "of": "email"}}, "blockedValues": ["secret"]},
    "what no rule is called": {"secret": 1},
}


@pytest.fixture
async def people(running):
    await rules(running, RULES)
    await each(running, tie(A, MAIL), tie(A, "phone:+4930901820"), tie(B, OTHER), tie(B, "device_id:secret-device"))
    await each(running, tie(B, MAIL, source="secret source"))
    return running


async def everything(running):
    """Return every document, owner and fact, and the rules."""
    store = running.services.store
    facts = await store.facts(TENANT, await store.fact_identifiers(TENANT, None, 10_000))
    return await stored_state(running), sorted(facts, key=lambda fact: fact.id), (await store.tenant(TENANT)).rules


async def command(directory, monkeypatch, capsys, *words):
    """Run a command in this process, on the same database; return its exit code and its output."""
    monkeypatch.setattr(
        sys,
        "argv",
        ["portrait", "identity", *words, "--tenant", TENANT, "--database", f"sqlite:///{directory}/portrait.db"],
    )

    def run():
        try:
            main()
        except SystemExit as end:
            return end.code or 0
        return 0

    code = await asyncio.to_thread(run)
    return code, *capsys.readouterr()


def pair(a, b):
    return {"identifier": named(a), "other": named(b)}


def typed(tag):
    return tuple(named(tag).values())


def linking(*tags, to=A):
    return {"canonicalId": to, "identifiers": [named(tag) for tag in tags]}


REFUSED = {
    "a blocked value": (
        "link",
        linking(NEW, "cookie_id:secret-blocked"),
        "blocked_identifier",
        (A, "cookie_id", "secret-blocked"),
    ),
    "a blocked value in other letters": (
        "link",
        linking("email:Secret@BLOCKED.example.org"),
        "blocked_identifier",
        (A, "email", "Secret@BLOCKED.example.org"),
    ),
    "a blocked customer id": (
        "link",
        linking(NEW, to="SECRET-blocked"),
        "blocked_identifier",
        ("SECRET-blocked", *typed(NEW)),
    ),
    "an empty value": ("link", linking("email:"), "invalid_record", (A, "email", "")),
    "a value of nothing that shows": (
        "link",
        linking(NEW, "phone:\u200b \u200b"),
        "blocked_identifier",
        (A, "phone", "\u200b \u200b"),
    ),
    "a type that nobody knows": (
        "link",
        linking(NEW, "secret_type:secret"),
        "unknown_identifier_type",
        (A, "secret_type", "secret"),
    ),
    "a link with itself": ("link", linking(NEW, A), "self_link", (A, "customer_id", A)),
    "a link of another's": ("link", linking(NEW, OTHER), "link_refused", (A, *typed(OTHER))),
    "a link past the cap": ("link", linking(NEW, "phone:+4930901821"), "link_refused", None),
    "an unlink of a customer's own id": (
        "unlink",
        {"canonicalId": A, "identifier": named(A)},
        "self_link",
        (A, "customer_id", A),
    ),
    "an unlink of another's": (
        "unlink",
        {"canonicalId": A, "identifier": named(OTHER)},
        "not_merged",
        (A, *typed(OTHER)),
    ),
    "an unlink of a blocked value": (
        "unlink",
        {"canonicalId": A, "identifier": named("cookie_id:secret-blocked")},
        "blocked_identifier",
        (A, "cookie_id", "secret-blocked"),
    ),
    "an unlink of a type that nobody knows": (
        "unlink",
        {"canonicalId": A, "identifier": named("secret_type:secret")},
        "unknown_identifier_type",
        (A, "secret_type", "secret"),
    ),
    "a merge with itself": ("merge", {"targetId": A, "sourceId": A}, "self_link", (A, A)),
    "a merge with nobody": (
        "merge",
        {"targetId": A, "sourceId": "secret-nobody"},
        "customer_not_found",
        (A, "secret-nobody"),
    ),
    "a merge past the cap": ("merge", {"targetId": A, "sourceId": B}, "link_refused", (A, B)),
    "an unmerge from itself": ("unmerge", {"targetId": A, "sourceId": A}, "self_link", (A, A)),
    "an unmerge of what was never merged": ("unmerge", {"targetId": A, "sourceId": B}, "not_merged", (A, B)),
    "accept what does not wait": ("accept", pair(A, OTHER), "not_merged", (*typed(A), *typed(OTHER))),
    "accept past the cap": ("accept", pair(B, MAIL), "link_refused", (*typed(B), *typed(MAIL))),
    "accept a blocked value": (
        "accept",
        pair(A, "cookie_id:secret-blocked"),
        "blocked_identifier",
        (*typed(A), "cookie_id", "secret-blocked"),
    ),
    "reject what does not wait": ("reject", pair(A, OTHER), "not_merged", (*typed(A), *typed(OTHER))),
    "keep apart who are one": ("cannot-link", pair(A, MAIL), "still_merged", (*typed(A), *typed(MAIL))),
    "keep apart from itself": ("cannot-link", pair(A, A), "self_link", (*typed(A), *typed(A))),
    "keep apart from nobody": (
        "cannot-link",
        pair(A, "email:secret@nobody.example.org"),
        "identifier_not_found",
        (*typed(A), "email", "secret@nobody.example.org"),
    ),
    "reject an empty value": ("reject", pair(A, "email: "), "blocked_identifier", (*typed(A), "email", " ")),
}


@pytest.mark.parametrize(("action", "fields", "code", "words"), REFUSED.values(), ids=REFUSED)
async def test_a_refusal_changes_nothing_and_names_no_value(
    people, action, fields, code, words, monkeypatch, capsys, caplog, tmp_path
):
    caplog.set_level(logging.DEBUG)
    before = await everything(people)
    asked = {"action": action, **fields}
    for body in (asked, {"action": "preview", "of": asked}):
        answer = await people.client.post("/api/v1/identity", json=body)
        assert (answer.json()["code"], answer.headers["content-type"]) == (code, "application/problem+json")
        assert 400 <= answer.status_code < 500
        assert "secret" not in answer.text.lower()
        assert await everything(people) == before
    previewed = ((),) if action in {"reject", "cannot-link"} else ((), ("--preview",))
    for options in () if words is None else previewed:
        returned, out, err = await command(tmp_path, monkeypatch, capsys, action, *words, *options)
        assert (returned, out) == (1, "")
        assert err.startswith("portrait: ")
        assert len(err.splitlines()) == 1
        assert "secret" not in err.lower()
        assert await everything(people) == before
    assert "secret" not in caplog.text.lower()
    await people.checked()


@pytest.mark.parametrize("made", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
async def test_rules_that_cannot_be_change_nothing(people, made, monkeypatch, capsys, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    before = await everything(people)
    answer = await people.client.put("/api/v1/identity/rules", json=made)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rules")
    assert "secret" not in answer.text
    (tmp_path / "rules.json").write_text(json.dumps(made))
    code, out, err = await command(tmp_path, monkeypatch, capsys, "rules", "--file", str(tmp_path / "rules.json"))
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "secret" not in err
    assert "secret" not in caplog.text
    assert await everything(people) == before


async def test_a_record_of_an_impossible_identifier_is_refused_or_taken_unlinked(people, caplog):
    """Facts about a blocked identifier are refused; evidence that names one is stored, and shown nowhere."""
    caplog.set_level(logging.DEBUG)
    before = (await stored_state(people))[0]
    lines = [
        {"identifier": identifier, "section": "segments", "record": {}}
        for identifier in (named("email:secret@blocked.example.org"), named("email:"), named("secret_type:secret"))
    ]
    answer = await people.client.post("/api/v1/records", json=lines)
    assert [refusal["code"] for refusal in answer.json()["refused"]] == [
        "blocked_identifier", "blocked_identifier", "unknown_identifier_type"]  # fmt: skip
    ties = [tie(A, tag) for tag in ("email:secret@blocked.example.org", "email:\u200b", "secret_type:secret", A)]
    taken = await people.client.post("/api/v1/records", json=ties)
    assert [warning["code"] for warning in taken.json()["warnings"]] == [
        "blocked_value", "blocked_value", "unknown_type", "self_link"]  # fmt: skip
    after = (await stored_state(people))[0]
    for name, documents in before.items():
        assert [document for document in after[name] if document.section] == [
            document for document in documents if document.section
        ]
    for text in (answer.text, taken.text, caplog.text):
        assert "secret" not in text.lower()
