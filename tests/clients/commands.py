"""Commands of others' tools, which must succeed."""

import subprocess

SECONDS = 400
"""How long one command may take, in seconds: a download among them."""


def did(*words, **options):
    """Run a command that must succeed, and return what it printed."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=SECONDS, check=False, **options
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def packages(npm, directory):
    """Install what the lock file in a directory names; no package runs a script of its own."""
    did(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", cwd=directory)
