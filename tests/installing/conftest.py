"""An environment outside the checkout with the installed wheel, for all tests of the installation."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from docs.pages import ROOT

SECONDS = 400
"""How long one command may take, in seconds: a download among them."""


class Environment:
    """An environment with only Portrait's wheel and its dependencies, in a directory outside the checkout."""

    def __init__(self, directory):
        self.directory = directory
        self.python = directory / "env" / "bin" / "python"
        self.portrait = directory / "env" / "bin" / "portrait"
        self.variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PORTRAIT_", "VIRTUAL_ENV"))
        }

    def run(self, *words, cwd=None):
        return subprocess.run(
            [str(word) for word in words], cwd=cwd or self.directory, env=self.variables,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    def did(self, *words, **options):
        """Run a command that must succeed, and return its stdout."""
        done = self.run(*words, **options)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout

    def pip(self, *words):
        return self.did(self.python, "-m", "pip", "--disable-pip-version-check", *words)


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Return an environment into which pip installed the built wheel and the locked packages."""
    environment = Environment(tmp_path_factory.mktemp("installed"))
    built = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", environment.directory, ".")
    environment.did(sys.executable, *built, cwd=ROOT)
    (environment.wheel,) = environment.directory.glob("*.whl")
    venv.create(environment.directory / "env", with_pip=True)
    environment.pip("install", "-q", "--require-hashes", "-r", ROOT / "requirements" / "run.txt")
    # Without an index: a package that the wheel needs and the lock lacks is an error here.
    environment.pip("install", "-q", "--no-index", f"./{environment.wheel.name}")
    yield environment
    assert not list(Path(environment.directory).glob("*.db")), "a test left its database in the shared directory"
