"""The service's own pages: how to authenticate, and a working example of every operation."""

import json
import os
import re
import subprocess
import urllib.request
from base64 import b64encode
from hashlib import sha256
from html import unescape

import pytest

from docs.pages import ROOT
from harness import TENANT, portrait, server
from portrait.api.identity_actions import ACTIONS

SAMPLE = ROOT / "src" / "portrait" / "cli" / "sample.jsonl"
PAGES = ("/", "/docs")


@pytest.fixture
async def document(running):
    return (await running.client.get("/openapi.json")).json()


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_answered_without_a_key_and_runs_nothing(guarded, path):
    answer = await guarded.client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = dict(directive.split(" ", 1) for directive in answer.headers["content-security-policy"].split("; "))
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    assert policy == {
        "default-src": "'none'", "style-src": f"'sha256-{allowed}'", "base-uri": "'none'", "form-action": "'none'",
        "frame-ancestors": "'none'",
    }  # fmt: skip
    assert re.findall(r"<script|<img|<link|\sstyle=|\son\w+=", answer.text) == []
    head = await guarded.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert (await guarded.client.post(path)).status_code == 405


async def test_the_start_page_leads_on(running):
    page = (await running.client.get("/")).text
    links = re.findall(r'href="([^"]+)"', page)
    assert {"/docs", "/openapi.json"} <= set(links)
    assert [(await running.client.get(link)).status_code for link in links] == [200] * len(links)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_says_first_how_to_get_in(running, path):
    page = (await running.client.get(path)).text
    authentication = page.partition("<h2>Authentication</h2>")[2]
    assert "Authorization: Bearer" in authentication
    assert "X-Tenant-Id" in authentication
    assert "portrait key create" in authentication
    assert "<h3" not in page.partition("<h2>Authentication</h2>")[0], "no operation stands before it"


def samples(document):
    """Return every example's command by its operation and name; deletions come last."""
    commands = {
        (operation["operationId"], sample["label"]): sample["source"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for sample in operation["x-codeSamples"]
    }
    return dict(sorted(commands.items(), key=lambda sample: sample[0][0].startswith("delete_")))


async def test_every_operation_and_every_action_has_an_example_on_the_page(running, document):
    commands = samples(document)
    operations = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}
    assert {name for name, _ in commands} == operations
    assert {label for name, label in commands if name == "act_on_identity"} == ACTIONS.keys()
    page = unescape((await running.client.get("/docs")).text)
    assert [name for name, source in commands.items() if f"<pre>{source}</pre>" not in page] == []


def test_every_example_works_as_it_stands_on_the_sample(tmp_path):
    database = tmp_path / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=database).returncode == 0
    assert portrait("load", str(SAMPLE), "--tenant", TENANT, database=database).returncode == 0
    key = portrait("key", "create", "--tenant", TENANT, "--role", "admin", database=database).stdout.strip()
    platform = portrait("key", "create", "--platform", database=database).stdout.strip()
    failed = {}
    with server(database) as (url, _):
        with urllib.request.urlopen(f"{url}/openapi.json", timeout=30) as answer:
            document = json.load(answer)
        environment = {**os.environ, "PORTRAIT": url, "KEY": key, "PLATFORM_KEY": platform}
        for name, source in samples(document).items():
            # As a reader would paste it, except that a refusal is an error.
            script = f'set -euo pipefail\ncurl() {{ command curl --fail-with-body "$@"; }}\n{source}'
            done = subprocess.run(
                ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            if done.returncode:
                failed[name] = (source, done.stdout)
    assert failed == {}
