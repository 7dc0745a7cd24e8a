"""Loads: the load generator's plan and its result. `fire` runs it, as a process of its own."""

import subprocess
import sys

import msgspec

from bench.process import ROOT, Failure

GRACE = 10.0
"""How long answers are waited for after the last request, in seconds."""


class Plan(msgspec.Struct, kw_only=True):
    """What to send."""

    port: int
    requests: list[bytes]
    """Sent in this order, over and over."""
    once: bool = False
    """Whether each request is sent once only; the run may then end early."""
    connections: int = 32
    seconds: float = 3.0
    warmup: float = 0.5
    """Seconds before the measured ones, whose answers are checked and not counted."""
    rate: float | None = None
    """Requests a second, sent whatever the answers do (open loop); None: each connection sends when it was answered."""
    expected: int = 200
    refused: int | None = None
    """A status that may come instead, where more is asked for than can be answered: counted and timed apart."""
    every: int = 1
    """Of so many requests in a row one is timed: the others put back what it changes."""
    timed: int = 0
    """Which of them, from 0."""
    core: int | None = None


class Result(msgspec.Struct):
    """What came of a plan."""

    requests: int
    seconds: float
    p50: float
    """Milliseconds."""
    p95: float
    """Milliseconds."""
    p99: float
    """Milliseconds."""
    refused: int
    """How many were refused, as the plan allows; the latencies above are those of the others."""
    refused_p99: float
    """Milliseconds until they were."""
    statuses: dict[int, int]
    """How many answers had which status, the warm-up's included."""
    faults: dict[str, int]
    """What else went wrong, and how often."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def fire(plan: Plan) -> Result:
    """Run a plan in a process of its own.

    Raises:
        Failure: an answer had another status than expected, or something else went wrong.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.generator"],
            input=msgspec.msgpack.encode(plan),
            stdout=subprocess.PIPE,
            timeout=plan.warmup + plan.seconds + 3 * GRACE,
            cwd=ROOT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure("the load generator did not come to an end") from error
    if done.returncode:
        raise Failure(f"the load generator ended with {done.returncode}")
    result = msgspec.msgpack.decode(done.stdout, type=Result)
    wrong = {
        f"status {status}": count
        for status, count in result.statuses.items()
        if status not in {plan.expected, plan.refused}
    }
    if faults := wrong | result.faults:
        raise Failure(", ".join(f"{name}: {count}" for name, count in faults.items()))
    if not result.requests:
        raise Failure("no request was answered")
    return result
