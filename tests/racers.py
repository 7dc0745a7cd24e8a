"""Processes that begin at the same moment: each says "ready" on stdout, and waits for a line on stdin."""

import subprocess
import sys


def begin(*words, **more):
    """Start Python with these words; its output is captured, and it waits for `together`."""
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more,
    )  # fmt: skip


def together(processes, seconds=200):
    """Let waiting processes begin at once; assert that each exits with 0 and prints no error."""
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n", process.communicate(timeout=20)[1]
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            _, stderr = process.communicate(timeout=seconds)
            assert (process.returncode, stderr) == (0, "")
    finally:
        for process in processes:
            process.kill()
            process.communicate()
