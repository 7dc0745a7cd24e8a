"""Where a peer's own dependencies go: environments of their own, outside of the checkout."""

import hashlib
import shutil
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"


def run(command: Sequence[str | Path], directory: Path | None = None, text: str = "") -> str:
    """Run a command of a peer's setting up, with a text as its standard input, and return what it prints.

    Raises:
        RuntimeError: it failed; the text is the end of its messages.
    """
    done = subprocess.run(  # noqa: S603 - every command is put together in this package, from constants and paths
        command, cwd=directory, input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def home_of(directory: Path, name: str, *locks: Path) -> Path:
    """Return where the environment made from these lock files belongs; other locks give another place."""
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    return directory / f"{name}-{digest[:12]}"


def python(directory: Path, name: str) -> Path:
    """Return the interpreter of an environment that holds what `requirements/<name>.txt` lists.

    It is made under the directory, unless it is there already for the same lock.
    """
    lock = REQUIREMENTS / f"{name}.txt"
    home = home_of(directory, name, lock).absolute()
    interpreter = home / "bin" / "python"
    ready = home / "ready"
    if not ready.exists():
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        options = ("-q", "--disable-pip-version-check", "--require-hashes")
        run([interpreter, "-m", "pip", "install", *options, "-r", lock])
        ready.touch()
    return interpreter
