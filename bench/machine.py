"""On what the figures were measured."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import apsw

from bench.process import ROOT
from portrait.serving import distribution

LIBRARIES = ("uvicorn", "uvloop", "httptools", "asyncpg", "apsw")


def describe() -> dict[str, str]:
    """Return the machine and the versions, by what they are called on the page."""
    processors = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", processors, re.MULTILINE)
    memory = re.search(r"^MemTotal: *(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    kernel = re.match(r"\d+(\.\d+)*", platform.release())
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": model[1] if model else platform.machine(),
        "memory": f"{int(memory[1]) / 2**20:.0f} GB" if memory else "unknown",
        "kernel": f"{platform.system()} {kernel[0] if kernel else ''}".strip(),
        "Python": platform.python_version(),
        "SQLite": apsw.sqlite_lib_version(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "Portrait": f"{distribution.version()}, commit {_commit()}",
    }


def _commit() -> str:
    """Return the commit that is checked out, and whether files differ from it."""
    command = ("git", "describe", "--always", "--dirty", "--exclude=*")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  # constants
    return done.stdout.strip() or "unknown"
