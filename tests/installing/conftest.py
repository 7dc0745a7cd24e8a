"""One environment that holds what the wheel brings, outside the checkout, for all tests of what is installed."""

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
    """An environment with Portrait's wheel and nothing else, in a directory that knows no checkout."""

    def __init__(self, place):
        self.place = place
        self.python = place / "env" / "bin" / "python"
        self.portrait = place / "env" / "bin" / "portrait"
        self.variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PORTRAIT_", "VIRTUAL_ENV"))
        }

    def run(self, *words, cwd=None):
        return subprocess.run(
            [str(one) for one in words], cwd=cwd or self.place, env=self.variables, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip

    def did(self, *words, **options):
        """Run a command that must succeed, and return what it printed."""
        done = self.run(*words, **options)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout

    def pip(self, *words):
        return self.did(self.python, "-m", "pip", "--disable-pip-version-check", *words)


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Return an environment into which pip installed the built wheel; the packages beside it are the locked ones."""
    one = Environment(tmp_path_factory.mktemp("installed"))
    built = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", one.place, ".")
    one.did(sys.executable, *built, cwd=ROOT)
    (one.wheel,) = one.place.glob("*.whl")
    venv.create(one.place / "env", with_pip=True)
    one.pip("install", "-q", "--require-hashes", "-r", ROOT / "requirements" / "run.txt")
    # Without an index: what the lock lacks and the wheel needs is an error here.
    one.pip("install", "-q", "--no-index", f"./{one.wheel.name}")
    yield one
    assert not list(Path(one.place).glob("*.db")), "a test left its database in the shared directory"
