"""The clients under test, installed by their lock files, and a server for each test."""

import shutil
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients.commands import did, packages
from clients.sdks.collector import Collector, prepared
from clients.sdks.driver import Page, Program
from docs.pages import ROOT

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Client:
    """One client, and how it treats what it could not send."""

    name: str
    runs_in: str
    """`python`, `node` or `browser`."""
    tries_again: bool = True
    """Whether it sends an event until it is taken, through a restart that takes some seconds."""

    has_alias: bool = True

    @property
    def is_in_browser(self):
        return self.runs_in == "browser"


CLIENTS = [
    Client("segment", "python"),
    Client("rudderstack", "python"),
    Client("segment", "node"),
    Client("rudderstack", "node", tries_again=False),  # 4 times within 2 seconds
    Client("segment", "browser"),
    Client("rudderstack", "browser"),
    Client("hightouch", "browser", tries_again=False),  # only where nothing at all is answered, a few times
    Client("jitsu", "browser", tries_again=False, has_alias=False),  # never
]


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    """Return the interpreter of an environment with the clients for Python."""
    directory = tmp_path_factory.mktemp("python")
    venv.create(directory / "env", with_pip=True)
    interpreter = directory / "env" / "bin" / "python"
    pip = (interpreter, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes")
    did(*pip, "-r", ROOT / "requirements" / "sdks.txt")
    return interpreter


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """Return a directory with the clients for Node and browsers."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on this machine")
    directory = tmp_path_factory.mktemp("node") / "sdks"
    shutil.copytree(HERE, directory, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    packages(npm, directory)
    return directory


@pytest.fixture(scope="session")
def browser():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium on this machine: install the package `chromium`")
    return path


@pytest.fixture(scope="session")
def script(node):
    """Return a function that bundles the page of a client."""
    bundles = {}

    def bundled(name):
        if name not in bundles:
            target = node / "out" / f"{name}.js"
            words = ("--bundle", "--format=esm", "--target=es2022", f"--alias:client=./pages/{name}.js")
            did("node", "node_modules/esbuild/bin/esbuild", "pages/page.js", *words, f"--outfile={target}", cwd=node)
            bundles[name] = target.read_bytes()
        return bundles[name]

    return bundled


@pytest.fixture(scope="session")
def origin(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("origin"))


@pytest.fixture
def collector(origin, tmp_path):
    collector = Collector(origin, tmp_path)
    collector.start()
    yield collector
    collector.close()


@pytest.fixture(params=CLIENTS, ids=lambda client: f"{client.name}-{client.runs_in}")
def client(request):
    return request.param


@pytest.fixture
def sender(request, client, collector, tmp_path):
    """Run the client against the server."""
    where = (collector.url, collector.key)
    if client.runs_in == "python":
        words = (request.getfixturevalue("python"), HERE / "program.py", client.name, *where)
        running = Program(words, tmp_path)
    elif client.runs_in == "node":
        words = ("node", request.getfixturevalue("node") / "program.mjs", client.name, *where)
        running = Program(words, tmp_path)
    else:
        browser = request.getfixturevalue("browser")
        patience = 10 if client.tries_again else 2
        settings = {"url": collector.url, "key": collector.key, "patience": patience}
        running = Page(browser, request.getfixturevalue("script")(client.name), settings, tmp_path)
    yield running
    running.close()
