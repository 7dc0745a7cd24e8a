"""Where the time of a profile read goes: a flame graph of the SQLite server under load."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.flames import drawn, tree
from bench.process import ROOT, Failure
from bench.serving import Serving
from bench.workshop import Options, Workshop

PICTURE = ROOT / "docs" / "images" / "hot-path.svg"
MARK = "portrait/"
RATE = 500
"""Samples a second."""
BELOW = "Runner.run"
"""What the picture begins with: all of the server's event loop, and not the writer's thread, which waits."""


def record(directory: Path, customers: int, seconds: float, tell: Callable[[str], None]) -> None:
    """Draw the picture, with py-spy from the bench's requirements.

    Raises:
        Failure: py-spy is not there, or may not look.
    """
    spy = Path(sys.executable).parent / "py-spy"
    if not spy.exists():
        raise Failure("py-spy is not installed; it is in the bench's requirements")
    options = Options(customers=customers, rounds=1, seconds=seconds + 2, history=30)
    workshop = Workshop(directory, options, tell)
    stacks = workshop.directory / "stacks.txt"
    with ExitStack() as stack:
        serving = Serving(workshop, stack, partial(workshop.filled, "sqlite"))
        command = (
            spy, "record", "--format", "raw", "--function", "--output", stacks, "--rate", str(RATE),
            "--duration", f"{seconds:.0f}", "--pid", str(serving.server.pid),
        )  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as looking:  # noqa: S603  # py-spy
            result = serving.fire([serving.subject.request(index) for index in workshop.indexes()])
            _, errors = looking.communicate()
        if looking.returncode or not stacks.exists():
            raise Failure(f"py-spy ended with {looking.returncode}: {errors.strip()}")
    calls = tree(stacks.read_text().splitlines(), BELOW, MARK)
    PICTURE.write_text(drawn(calls, "Where the time of a full profile on SQLite goes, in blue: Portrait", MARK))
    tell(f"{PICTURE.name}: {result.rate:,.0f} requests/s while it was looked at")
