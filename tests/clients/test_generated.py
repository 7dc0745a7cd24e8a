"""Clients that others generate from the OpenAPI document compile, and work against a running service."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

import pytest

from docs.pages import ROOT
from harness import portrait, server

pytestmark = [pytest.mark.registries, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
PLUGINS = [str(path) for path in sorted(ROOT.glob("examples/plugins/*.py"))]
SECONDS = 400
NDJSON = "Unsupported content type application/x-ndjson"


def did(*words, **options):
    """Run a command that must succeed, and return what it printed."""
    done = subprocess.run(
        [str(one) for one in words], capture_output=True, text=True, timeout=SECONDS, check=False, **options
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture
def running(tmp_path):
    """Serve a tenant of one's own, with the examples' plugins; give what a client needs to know."""
    database = tmp_path / "portrait.db"
    assert portrait("tenant", "create", "my-tenant", database=database).returncode == 0
    key = portrait("key", "create", "--tenant", "my-tenant", "--role", "admin", database=database).stdout.strip()
    with server(database, *[word for path in PLUGINS for word in ("--plugin", path)]) as (url, _):
        document = tmp_path / "openapi.json"
        with urllib.request.urlopen(f"{url}/openapi.json", timeout=30) as answer:
            document.write_bytes(answer.read())
        yield document, {**os.environ, "PORTRAIT_URL": url, "PORTRAIT_KEY": key}


def test_a_typescript_client_compiles_strictly_and_works(running, tmp_path):
    document, environment = running
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on this machine")
    place = tmp_path / "typescript"
    shutil.copytree(HERE / "typescript", place)
    did(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", cwd=place)
    tools = place / "node_modules" / ".bin"
    did(tools / "openapi-typescript", document, "--output", "schema.d.ts", cwd=place)
    did(tools / "tsc", "--project", ".", cwd=place)
    assert "typescript: done" in did("node", "out/client.js", cwd=place, env=environment)


def test_a_python_client_is_generated_whole_keeps_strict_types_and_works(running, tmp_path):
    document, environment = running
    place = tmp_path / "python"
    venv.create(place / "env", with_pip=True)
    python = place / "env" / "bin" / "python"
    pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes")
    did(*pip, "-r", ROOT / "requirements" / "clients.txt")
    settings = place / "settings.json"
    settings.write_text(json.dumps({"post_hooks": []}))
    command = ("-m", "openapi_python_client", "generate", "--meta", "none", "--config", settings)
    said = did(python, *command, "--path", document, "--output-path", place / "portrait_client", cwd=place)
    warnings = [line for line in said.splitlines() if "WARNING" in line or line.startswith("Unsupported")]
    assert warnings == ["WARNING parsing POST /api/v1/records within records.", NDJSON], said
    shutil.copy(HERE / "client.py", place)
    checked = ("-m", "mypy", "--strict", "--no-incremental", "--python-executable", python, "client.py")
    assert did(sys.executable, *checked, cwd=place).startswith("Success")
    assert "python: done" in did(python, "client.py", cwd=place, env=environment)
