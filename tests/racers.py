"""Processes that begin at the same moment: each says "ready" on stdout, and waits for a line on stdin."""

import subprocess
import sys


def begin(*words, **more):
    """Start Python with these words; what it says is held, and it waits for `together`."""
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more,
    )  # fmt: skip


def together(processes, seconds=200):
    """Let processes that wait begin at once; hold that each ends well and in silence."""
    try:
        for one in processes:
            assert one.stdout.readline() == "ready\n", one.communicate(timeout=20)[1]
        for one in processes:
            one.stdin.write("go\n")
            one.stdin.flush()
        for one in processes:
            _, said = one.communicate(timeout=seconds)
            assert (one.returncode, said) == (0, "")
    finally:
        for one in processes:
            one.kill()
            one.communicate()
