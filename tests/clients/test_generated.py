"""Clients that others generate from the OpenAPI document compile, and work against a running service."""

import json
import os
import shutil
import sys
import urllib.request
import venv
from pathlib import Path

import pytest

from clients.commands import did, packages
from docs.pages import ROOT
from harness import portrait, server

pytestmark = [pytest.mark.registries, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
PLUGINS = [str(path) for path in sorted(ROOT.glob("examples/plugins/*.py"))]
NDJSON = "Unsupported content type application/x-ndjson"


@pytest.fixture
def running(tmp_path):
    """Serve a new tenant with the examples' plugins; yield the OpenAPI document and a client's environment."""
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
    directory = tmp_path / "typescript"
    shutil.copytree(HERE / "typescript", directory)
    packages(npm, directory)
    tools = directory / "node_modules" / ".bin"
    did(tools / "openapi-typescript", document, "--output", "schema.d.ts", cwd=directory)
    did(tools / "tsc", "--project", ".", cwd=directory)
    assert "typescript: done" in did("node", "out/client.js", cwd=directory, env=environment)


def test_a_python_client_is_generated_whole_keeps_strict_types_and_works(running, tmp_path):
    document, environment = running
    directory = tmp_path / "python"
    venv.create(directory / "env", with_pip=True)
    python = directory / "env" / "bin" / "python"
    pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes")
    did(*pip, "-r", ROOT / "requirements" / "clients.txt")
    settings = directory / "settings.json"
    settings.write_text(json.dumps({"post_hooks": []}))
    command = ("-m", "openapi_python_client", "generate", "--meta", "none", "--config", settings)
    output = did(python, *command, "--path", document, "--output-path", directory / "portrait_client", cwd=directory)
    warnings = [line for line in output.splitlines() if "WARNING" in line or line.startswith("Unsupported")]
    assert warnings == ["WARNING parsing POST /api/v1/records within records.", NDJSON], output
    shutil.copy(HERE / "client.py", directory)
    checked = ("-m", "mypy", "--strict", "--no-incremental", "--python-executable", python, "client.py")
    assert did(sys.executable, *checked, cwd=directory).startswith("Success")
    assert "python: done" in did(python, "client.py", cwd=directory, env=environment)
