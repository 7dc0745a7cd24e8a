"""Another revision of the project, beside the working tree: its files, and an environment from its own lock files."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.ours import Program
from bench.process import ROOT, Failure

ENVIRONMENT = ".venv/dev.stamp"
"""What a revision's own Makefile makes: an environment with all that its lock files name, and their hashes."""
_OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "PYTHONPATH")


class Revision(NamedTuple):
    """A commit that can be run."""

    commit: str
    program: Program


def build(
    name: str, directory: Path, tell: Callable[[str], None], install: Callable[[Path], Path] | None = None
) -> Revision:
    """Build a revision, or take up what was built of the same commit before.

    Args:
        name: the revision, as git understands it.
        directory: where revisions are kept, each in a directory called by its commit.
        tell: hears what is going on.
        install: makes the environment of a directory of files, and returns its interpreter; the revision's own
            Makefile unless given.

    Raises:
        Failure: there is no such revision, or it cannot be built.
    """
    try:
        commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except Failure as error:
        raise Failure(f"git knows no revision {name}") from error
    checkout = directory / commit
    if not checkout.exists():
        tell(f"take the files of {commit}")
        _unpack(commit, checkout)
    tell(f"make the environment of {commit}, unless it is there")
    return Revision(commit, Program((install or _make)(checkout), checkout / "src"))


def _unpack(commit: str, checkout: Path) -> None:
    """Put a commit's files into a directory, all or none."""
    part = checkout.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit))) as archive:
        archive.extractall(part, filter="data")
    part.rename(checkout)


def _make(checkout: Path) -> Path:
    """Make the environment of a directory of files. What was begun and not ended is no use to the next run."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_MAKE}
    command = ("make", "--directory", str(checkout), f"PYTHON={sys.executable}", ENVIRONMENT)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, checkout, ignore_errors=True)
        done = subprocess.run(command, env=inherited, stdout=sys.__stderr__, check=False)  # noqa: S603  # paths of ours
        if done.returncode:
            raise Failure(f"`make {ENVIRONMENT}` of the revision ended with {done.returncode}; what it said is above")
        stack.pop_all()
    return checkout / ".venv" / "bin" / "python"


def _git(*arguments: str) -> bytes:
    command = ("git", *arguments)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)  # noqa: S603  # git; a name is no option
    if done.returncode:
        raise Failure(f"git {arguments[0]} ended with {done.returncode}")
    return done.stdout
