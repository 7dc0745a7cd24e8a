"""What tests share: a service in this process, and a real server in another."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx

from portrait.app import Services, application, build
from portrait.model import time

SHARED = Path(__file__).parents[2] / "shared"
"""Published data and vectors, where they lie beside the checkout; tests that read them skip where they do not."""
TENANT = "my-tenant"
START = time.parse("2026-06-01T12:00:00Z")


LIMITED = """
import json, sys
from functools import partial
from portrait.cli import main, serve

serve.Limits = partial(serve.Limits, **json.loads(sys.argv.pop(1)))
if __name__ == "__main__":
    main()
"""
"""A program that serves with other limits; the processes that it starts get them too."""


class Clock:
    """A clock that goes forward by a microsecond at each reading, and otherwise only by `advance`."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        self.now += 1
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * time.SECOND)


class Service:
    """A service over a database of its own, and a client that speaks to its web application."""

    def __init__(self, services: Services, client: httpx.AsyncClient, clock: Any) -> None:
        self.services = services
        self.client = client
        self.clock = clock

    async def profile(self, customer_id: str = "c1", sections: str | None = None, **options: Any) -> httpx.Response:
        params = {} if sections is None else {"sections": sections}
        return await self.client.get(f"/api/v1/customers/{customer_id}/unified-profile", params=params, **options)

    async def section(self, name: str, customer_id: str = "c1") -> Any:
        """Return a section's data, as the profile shows it."""
        response = await self.profile(customer_id, name)
        assert response.status_code == 200, response.text
        return response.json()["sections"][0]["data"]

    async def record(self, section: str, body: Any, customer_id: str = "c1", **options: Any) -> httpx.Response:
        return await self.client.post(f"/api/v1/customers/{customer_id}/{section}", json=body, **options)

    async def recorded(self, section: str, body: Any, customer_id: str = "c1", **options: Any) -> Any:
        """Record, and assert that the record was taken."""
        response = await self.record(section, body, customer_id, **options)
        assert response.status_code == 201, response.text
        return response.json()

    async def listed(self, section: str, customer_id: str = "c1", **params: Any) -> Any:
        response = await self.client.get(f"/api/v1/customers/{customer_id}/{section}", params=params)
        assert response.status_code == 200, response.text
        return response.json()

    async def key(self, role: str, tenant: str = TENANT, **options: Any) -> str:
        """Mint an API key and return it in the clear."""
        return str((await self.services.access.create_key(tenant, role, **options)).key)

    async def checked(self) -> None:
        """Assert that everything derived agrees with the facts."""
        report = await self.services.upkeep.check()
        assert report.differences == []
        assert report.faults == []


@asynccontextmanager
async def service(
    directory: Path | None, *, auth: Any = "open", clock: Any = None, plugins: tuple[str, ...] = (),
    tenants: Any = (TENANT,), database: str | None = None, **options: Any,
) -> AsyncIterator[Service]:  # fmt: skip
    """Open a service with these tenants, on a database or on SQLite in a directory.

    Its client names the first tenant in X-Tenant-Id. Further options are those of `build`.
    """
    clock = clock or Clock()
    url = database or f"sqlite:///{directory}/portrait.db"
    services = build(url, plugins=plugins, auth=auth, clock=clock, installed=False, **options)
    try:
        for tenant in tenants:
            await services.access.create_tenant(tenant)
        transport = httpx.ASGITransport(application(services))
        headers = {"X-Tenant-Id": tenants[0]} if tenants and auth == "open" else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            yield Service(services, client, clock)
    finally:
        await services.close()


def portrait(*words: str, database: Path | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own and return what it printed."""
    return subprocess.run(
        command(*words, database=database), capture_output=True, text=True, timeout=120, check=False, **options
    )


def command(*words: str, database: Path | None = None) -> list[str]:
    where = [] if database is None else ["--database", f"sqlite:///{database}"]
    return [sys.executable, "-m", "portrait", *words, *where]


@contextmanager
def server(
    database: Path | None,
    *words: str,
    env: dict[str, str] | None = None,
    limits: dict[str, float] | None = None,
    log: list[str] | None = None,
    **options: Any,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve in a process of its own, on a free port; yield its URL and the process.

    Args:
        limits: those of its connections that are other than usual.
        log: the list that takes the server's log lines.
    """
    command_line = command("serve", "--port", "0", *words, database=database)
    if limits is not None:
        command_line = [sys.executable, "-c", LIMITED, json.dumps(limits), *command_line[3:]]
    with serving(command_line, env=env, log=log, **options) as running:
        yield running


@contextmanager
def serving(
    command_line: list[str], *, env: dict[str, str] | None = None, log: list[str] | None = None, **options: Any
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a command that serves and prints its URL on stderr; yield the URL and the process. See `server`."""
    process = subprocess.Popen(
        command_line,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        **options,
    )
    assert process.stderr is not None
    # A pipe that nobody reads fills, and then the server waits until it can say more.
    lines = iter(process.stderr)
    reading = threading.Thread(target=lambda: deque(lines, 0) if log is None else log.extend(lines))
    try:
        for line in lines:
            if log is not None:
                log.append(line)
            match = re.search(r"http://[\w.\[\]:]+", line)
            if match:
                reading.start()
                yield match[0], process
                break
        else:
            raise AssertionError(f"the server did not start: exit code {process.wait()}")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if reading.is_alive():
            reading.join()
        process.stderr.close()


def ndjson(lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def interaction(number: int, at: str = "2026-05-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"id": f"ih_{number:03}", "interactionType": "click", "timestamp": at, **more}
