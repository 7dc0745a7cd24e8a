"""`portrait serve` and `portrait demo`."""

import contextlib
import errno
import gc
import ipaddress
import logging.config
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import uvicorn

from portrait.api.application import Application
from portrait.api.connections import Limits
from portrait.api.wire import protocol
from portrait.app import Services, application
from portrait.cli import logs
from portrait.cli.descriptors import BACKLOG, room_for
from portrait.cli.load import load_stream
from portrait.cli.options import DATA, known_tenant, open_services, run, takes
from portrait.cli.printing import say, say_lines
from portrait.cli.workers import Supervisor, started
from portrait.model.errors import InvalidSetting, TenantExists
from portrait.settings import check

DEMO_TENANT = "my-tenant"
DEMO_DATABASE = "sqlite:///portrait-demo.db"
STOP_SECONDS = 25
"""How long requests may go on after a stop was asked for, in seconds."""

_SERVING = (
    "host", "port", "auth", "workers", "connections", "keep_alive_seconds", "refresh_seconds", "collect_url",
    "reject_days", "log_level",
)  # fmt: skip


@click.command()
@takes(*DATA, *_SERVING)
def serve(**options: Any) -> None:
    """Serve the API."""
    _serve(options, lambda url: say(f"Portrait serves {url} (docs: {url}/docs)", err=True))


@click.command()
@click.option(
    "--database", "sample", default=DEMO_DATABASE, show_default=True, help="The sample's own database, and no other."
)
@takes(*(name for name in (*DATA, *_SERVING) if name not in {"database", "auth"}))
def demo(sample: str, **options: Any) -> None:
    """Load the sample tenant and serve it, open to this machine, with calls to try."""
    # Not a setting: a database that the environment or a file names is a real one, and not for samples.
    options |= {"database": sample, "auth": "open"}

    async def fill(services: Services) -> None:
        if any(row.id != DEMO_TENANT for row in await services.access.tenants(None, 2)):
            raise InvalidSetting("This database has other tenants: the demo would open them to everybody.")
        with contextlib.suppress(TenantExists):
            await services.access.create_tenant(DEMO_TENANT, "The sample tenant")
        tenant = await known_tenant(services, DEMO_TENANT)
        with files("portrait.cli").joinpath("sample.jsonl").open("rb") as stream:
            await load_stream(services, tenant, stream)  # type: ignore[arg-type]  # a file's binary stream

    listening = _listen(options["host"], options["port"], options["auth"])
    run(options, fill, create=True)
    _serve(options, lambda url: say_lines(_calls(url, str(options["database"]))), listening)


def _calls(url: str, database: str) -> str:
    base = f"{url}/api/v1/customers"
    return f"""
Portrait serves {url} with the sample tenant {DEMO_TENANT}. Try:

# Full profile
curl {base}/CUST001/unified-profile \\
  -H "X-Tenant-Id: {DEMO_TENANT}"

# Selective sections
curl "{base}/CUST001/unified-profile?sections=identities,interactions" \\
  -H "X-Tenant-Id: {DEMO_TENANT}"

# Record an interaction, then read it
curl {base}/CUST001/interactions \\
  -H "X-Tenant-Id: {DEMO_TENANT}" -H "Content-Type: application/json" \\
  -d '{{"id": "ih_002", "interactionType": "click", "timestamp": "2026-03-29T09:00:00Z"}}'

# A fuller portrait, in the terminal
{_command()} show CUST002 --tenant {DEMO_TENANT} --database {database}

Docs: {url}/docs    Stop: Ctrl-C
"""


def _command() -> str:
    """Return how this program was called, so that what is printed can be called too."""
    called = Path(sys.argv[0])
    return "python -m portrait" if called.name == "__main__.py" else str(called)


def _serve(options: dict[str, Any], ready: Callable[[str], None], listening: socket.socket | None = None) -> None:
    listening = listening or _listen(options["host"], options["port"], options["auth"])
    check(options)
    logging_config = logs.config(options["log_level"])
    logging.config.dictConfig(logging_config)
    limits = Limits(room_for(options["connections"]), options["keep_alive_seconds"])
    app = partial(_application, options)
    alone = options["workers"] == 1
    if not alone:
        run(
            options, _nothing, create=True, secrets=True
        )  # a failure to start is reported once and here, not by every worker
    config = uvicorn.Config(
        app() if alone else app,
        factory=not alone,
        workers=options["workers"],
        http=protocol(limits),
        ws="none",
        loop="auto",
        lifespan="on",
        log_config=logging_config,
        log_level=options["log_level"],
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    host, port = listening.getsockname()[:2]
    ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    if alone:
        with contextlib.suppress(KeyboardInterrupt):  # it has stopped as it was asked to
            uvicorn.Server(config).run(sockets=[listening])
    else:
        Supervisor(config, sockets=[listening]).run()


def _application(options: dict[str, Any]) -> Application:
    """Return the web application that the options describe: in this process, or in a worker's."""
    logs.take_stray()
    services = started(lambda: open_services(options, auth=options["auth"], secrets=True))
    made = application(
        services,
        refresh_seconds=options["refresh_seconds"],
        collect_url=options["collect_url"] or None,
        reject_days=options["reject_days"],
    )
    gc.collect()
    gc.freeze()  # objects that live as long as the service are not scanned again and again
    return made


async def _nothing(services: Services) -> None:
    """Do nothing with services that could be opened."""
    del services


def _listen(host: str, port: int, auth: str) -> socket.socket:
    """Return a socket that listens.

    Raises:
        InvalidSetting: the port cannot be opened, or is open to other machines while everybody is let in.
    """
    if auth == "open" and not _is_loopback(host):
        raise InvalidSetting(
            f"--auth open lets everybody in, so it serves this machine only. Use --host 127.0.0.1 instead of {host}, "
            "or --auth keys."
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        fault = f"cannot be opened: {os.strerror(error.errno or 0)}"
        reason = "is in use: name another port with --port" if taken else fault
        raise InvalidSetting(f"Port {port} of {host} {reason}.") from error
    except OverflowError as error:
        raise InvalidSetting("A port is a number from 0 to 65535.") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
