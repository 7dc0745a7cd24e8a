"""The service's log and the output of commands: no foreign text forges a line or steers a terminal."""

import json
import logging
import os
import re
import sys
import unicodedata

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import TENANT, portrait, server
from portrait.cli import printing
from portrait.cli.logs import FORMAT, Lines
from portrait.cli.printing import plain

NASTY = "a\n2026-01-01 00:00:00,000 ERROR portrait: forged\r\x1b[31m\x07\x9b31m\x7f\u202egnp.exe\u2066\u2028b\x85c"
BEGIN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ \S+: ")
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
texts = st.text(st.characters(codec=None) | st.sampled_from(NASTY), max_size=40) | st.just(NASTY)


def steering(text, allowed="\n"):
    """Return the characters of a text that are no part of any script."""
    return [
        character
        for character in text
        if character not in allowed
        and (
            unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"} or unicodedata.bidirectional(character) in BIDI
        )
    ]


@given(texts)
def test_a_text_is_plain_in_one_line_and_otherwise_as_it_is(text):
    assert steering(plain(text), allowed="") == []
    if not steering(text, allowed=""):
        assert plain(plain(text)) == plain(text)
    assert plain("Zoë 日本 👩‍👧 عربي") == "Zoë 日本 👩‍👧 عربي"


def _raise(text):
    raise KeyError(text)


def raised(text, cause):
    """Return the exc_info of an exception with a cause, each with a text of its own."""
    try:
        try:
            _raise(cause)
        except KeyError as error:
            error.add_note(cause)
            raise type(text or "E", (Exception,), {})(text) from error
    except Exception:  # noqa: BLE001  # the kinds of exceptions are made here
        return sys.exc_info()


@given(texts, texts, texts, st.booleans())
def test_a_log_record_is_a_line_with_its_time_and_indented_lines(message, name, failed, fails):
    caught = raised(failed.replace("\0", "") if fails else failed, message) if fails else None
    record = logging.LogRecord(name, logging.ERROR, "p", 1, "%s: %s", (message, "x"), caught, sinfo=failed)
    first, *below = Lines(FORMAT).format(record).split("\n")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR ", first)
    assert all(line.startswith("    ") for line in below)
    assert steering("".join([first, *below])) == []


def test_a_message_that_cannot_be_formatted_is_still_one_line(capsys):
    class Loud:
        def __str__(self):
            raise ValueError(NASTY)

    record = logging.LogRecord("portrait", logging.INFO, "p", 1, "%s %d", (NASTY, Loud()), None)
    assert Lines(FORMAT).format(record).count("\n") == 0


PLUGIN = f"""
import threading
import warnings

from portrait import register_profile_section

NASTY = {NASTY!r}


@register_profile_section("failing")
def failing(context):
    '''Fails.'''
    warnings.warn(NASTY)
    thread = threading.Thread(target=_raise)
    thread.start()
    thread.join()
    _raise()


def _raise():
    raise RuntimeError(NASTY)
"""


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=path).returncode == 0
    return path


def test_a_plugins_exception_forges_no_line_of_the_servers_log(database, tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    log = []
    record = {"id": "i", "interactionType": "click", "timestamp": "2026-05-01T00:00:00Z"}
    options = {"headers": {"X-Tenant-Id": TENANT}, "timeout": 60}
    with server(database, "--auth", "open", "--plugin", str(tmp_path / "plugin.py"), log=log) as (url, _):
        customer = f"{url}/api/v1/customers/c1"
        assert httpx.post(f"{customer}/interactions", json=record, **options).status_code == 201
        [section] = httpx.get(f"{customer}/unified-profile?sections=failing", **options).json()["sections"]
        assert section["error"]["code"] == "section_failed"
    lines = [line.removesuffix("\n") for line in log[1:]]
    assert all(BEGIN.match(line) or line.startswith("    ") for line in lines)
    assert (
        sum(line.startswith("    2026-01-01 00:00:00,000 ERROR portrait: forged\\r") for line in lines) >= 2
    )  # the section's, and its thread's
    assert any("py.warnings" in line for line in lines)
    assert steering("".join(lines)) == []


VALUES = {
    "interactions": {"id": "i1", "interactionType": NASTY, "timestamp": "2026-05-01T00:00:00Z", "more": {"a": NASTY}},
    "segments": {"segmentId": NASTY, "segmentName": NASTY, "memberSince": "2026-01-01T00:00:00Z"},
    "consent": {"kind": "preference", "key": NASTY, "value": [NASTY], "updatedAt": "2026-01-01T00:00:00Z"},
    "identities": {"type": "email", "value": "a@example.org\u2028", "confidence": 1.0},
}


def test_no_stored_value_steers_the_terminal(database, tmp_path):
    lines = [
        {"customerId": "c\u202e1", "section": section, "record": record, "source": f"crm{NASTY}"}
        for section, record in VALUES.items()
    ]
    file = tmp_path / f"records{NASTY}.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"no": "record"}\n')
    asked = (
        ("load", str(file), "--tenant", TENANT),
        ("show", "c\u202e1", "--tenant", TENANT),
        ("show", "c\u202e1", "--tenant", TENANT, "--json"),
        ("identity", "explain", "c\u202e1", "--tenant", TENANT),
        ("identity", "review", "--tenant", TENANT),
        ("identity", "rules", "--tenant", TENANT),
        ("tenant", "list"),
        ("key", "list", "--tenant", TENANT),
        ("show", "c", "--tenant", NASTY),
        ("key", "list", "--tenant", NASTY),
        ("load", str(file), "--tenant", NASTY),
        ("serve", "--database", f"sqlite:///{NASTY}/x.db"),
    )
    wide = {**os.environ, "COLUMNS": "400"}
    printed = [portrait(*words, database=None if "--database" in words else database, env=wide) for words in asked]
    for process in printed:
        assert steering(process.stdout + process.stderr, allowed="\n\t") == [], process.args
        assert "\n2026" not in process.stdout + process.stderr
    profile, as_json, explained = printed[1:4]
    assert (profile.returncode, as_json.returncode, explained.returncode) == (0, 0, 0)
    assert r"a\n2026-01-01 00:00:00,000 ERROR portrait: forged\r\x1b" in profile.stdout
    [interactions] = [
        section for section in json.loads(as_json.stdout)["sections"] if section["name"] == "interactions"
    ]
    assert interactions["data"][0]["interactionType"] == NASTY


def test_json_is_printed_value_for_value(capsys):
    printing.say_json(json.dumps({"a": [NASTY, "Zoë"]}, ensure_ascii=False, indent=2))
    output = capsys.readouterr().out
    assert steering(output) == []
    assert json.loads(output) == {"a": [NASTY, "Zoë"]}
    assert "Zoë" in output
