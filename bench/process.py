"""Servers as processes: started on their core, waited for, weighed, stopped."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

ROOT = Path(__file__).parents[1]
_THERE = os.sched_getaffinity(0)
START_SECONDS = 60.0
"""How long a server may take until its first good answer."""
STOP_SECONDS = 30.0


class Failure(Exception):
    """Something to be measured did not work; the text says what, for the page."""


class Cores(NamedTuple):
    """Which core is whose."""

    server: int
    load: int
    database: int


def cores() -> Cores:
    """Return which core is whose: with two, the database shares the load generator's, for all that is measured."""
    there = sorted(_THERE)
    load = there[1 % len(there)]
    return Cores(there[0], load, there[2] if len(there) > 2 else load)


def environment(additions: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without Portrait's own settings, and with additions."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PORTRAIT_")}
    return {**mine, **(additions or {})}


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def output(
    name: str, command: Sequence[str], additions: Mapping[str, str] | None = None, *, visible: bool = False
) -> str:
    """Run a command, and return its output; its messages go to the terminal where they are to be visible.

    Raises:
        Failure: it ended with an error, whose last line stands in the text.
    """
    done = subprocess.run(  # noqa: S603  # the project's own commands
        command,
        env=environment(additions),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=None if visible else subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stderr or "", file=sys.stderr)
        raise Failure(f"{name} ended with {done.returncode}{_last_line(done.stderr or '')}")
    return done.stdout


def _last_line(text: str) -> str:
    """Return the last line of a process's messages, to stand behind other words; nothing where there are none."""
    return "".join(f": {line.strip()}" for line in text.strip().splitlines()[-1:])


class Server:
    """A server's process; a context manager that stops it."""

    def __init__(
        self, command: Sequence[str], additions: Mapping[str, str], port: int, log: Path, pinned: set[int]
    ) -> None:
        self.port = port
        self.start_seconds = 0.0
        """From the process's beginning to the first good answer."""
        self._log = log.open("ab+")
        self._since = self._log.seek(0, os.SEEK_END)
        self._begun = time.perf_counter()
        with on_cores(pinned):  # from the first instruction: a thread that is there already would not follow
            self._process = subprocess.Popen(  # noqa: S603  # the subjects' own commands
                command,
                env=environment(additions),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait(self, request: bytes) -> bytes:
        """Wait for the first good answer to a request, and return its body.

        Raises:
            Failure: none came.
        """
        until = time.perf_counter() + START_SECONDS
        status, body = 0, b""
        while time.perf_counter() < until:
            if self._process.poll() is not None:
                self._log.seek(self._since)
                reason = _last_line(self._log.read().decode(errors="replace"))
                raise Failure(f"the server ended with {self._process.returncode} before it answered{reason}")
            with contextlib.suppress(OSError):
                status, _, body = ask(self.port, request)
                if status in {200, 201}:
                    self.start_seconds = time.perf_counter() - self._begun
                    return body
            time.sleep(0.005)
        raise Failure(f"no good answer within {START_SECONDS:g} s; the last had status {status}")

    def memory(self) -> int:
        """Return the process's resident set, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Failure("the server has no memory any more")

    def stop(self) -> None:
        """Stop it, and whatever it started."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, 9)
        self._process.wait()
        self._log.close()


def ask(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send one request on a connection of its own, and return the answer's status, headers and body.

    Raises:
        OSError: the server cannot be reached, or the answer is cut off.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            status = answer.readline().split(b" ")
            lines = iter(lambda: answer.readline().strip().decode("latin-1"), "")
            parts = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in parts}
            length = int(headers.get("content-length", 0))
            body = answer.read(length)
    if len(status) < 2 or len(body) < length:
        raise OSError("the answer is cut off")
    return int(status[1]), headers, body


@contextlib.contextmanager
def on_cores(wanted: set[int]) -> Iterator[None]:
    """Let what is started meanwhile run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
