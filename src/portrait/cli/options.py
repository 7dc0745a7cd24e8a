"""Options that commands share, made from the settings; and where their values come from."""

import asyncio
import difflib
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import click

from portrait.app import Services, build
from portrait.cli.printing import say
from portrait.model.errors import TenantForbidden
from portrait.settings import ENVIRONMENT_PREFIX, SETTINGS, check, from_file
from portrait.storage.contract import TenantRow

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

DATA = ("database", "plugin", "declared", "busy_seconds", "pool_size", "prepared", "max_section_bytes")
"""The settings of every command that touches data."""


TENANT_VARIABLE = f"{ENVIRONMENT_PREFIX}_TENANT"
"""The environment variable that names a tenant where no flag does."""
LISTED = 20
"""The most names that a message lists."""
_OURS = re.compile(rf"{ENVIRONMENT_PREFIX}_(?!TEST_|BENCH_)\w+")


class CommandRefused(click.ClickException):
    """A command cannot do what it is asked to; printed in the form of all refusals."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the refusal in one line."""
        del file
        say(f"portrait: {self.message}", err=True)


class Stopped(CommandRefused):
    """A command was stopped by Ctrl-C."""

    exit_code = 130


class CommandGroup(click.Group):
    """The top command: reads the settings file before the commands read their options."""

    def invoke(self, ctx: click.Context) -> Any:
        """Give the file's values to every command as its defaults, then run the command.

        Raises:
            Stopped: somebody pressed Ctrl-C.
        """
        config = ctx.params.get("config")
        values = from_file(Path(config) if config else None)
        ctx.default_map = _everywhere(self, values)
        _warn_of_variables()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if sys.stderr.isatty():
                say("", err=True)  # the terminal has written ^C
            raise Stopped("Stopped. Records that were committed stay.") from None


def _warn_of_variables() -> None:
    """Name the environment's variables that look like settings and are not: they change nothing."""
    known = {TENANT_VARIABLE, *(setting.variable for setting in SETTINGS.values())}
    for name in sorted(name for name in os.environ if _OURS.fullmatch(name) and name not in known):
        near = difflib.get_close_matches(name, sorted(known), 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        say(f"portrait: {name} is not a setting and has no effect.{meant} See portrait settings.", err=True)


def _read_config(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Give a command the values of the settings file that is named after it, as its defaults."""
    if path is not None:
        ctx.default_map = from_file(Path(path))


def _everywhere(group: click.Group, values: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = dict(values)
    for name, command in group.commands.items():
        nested[name] = _everywhere(command, values) if isinstance(command, click.Group) else dict(values)
    return nested


def takes(*names: str) -> Callable[[F], F]:
    """Return the decorator that gives a command the options of these settings."""

    def decorate(function: F) -> F:
        function = click.option(
            "--config",
            type=click.Path(dir_okay=False),
            is_eager=True,  # before the options whose defaults it gives
            expose_value=False,
            callback=_read_config,
            help="A TOML file with settings.",
        )(function)
        for name in reversed(names):
            setting = SETTINGS[name]
            kind: Any = click.Choice(setting.kind) if isinstance(setting.kind, tuple) else setting.kind
            function = click.option(
                f"--{name.replace('_', '-')}",
                name,
                type=kind,
                default=setting.default,
                multiple=setting.many,
                envvar=setting.variable,
                show_envvar=True,
                # Not what a file gives: a database's URL may hold a password.
                show_default=False if setting.many else str(setting.default),
                help=setting.help,
            )(function)
        return function

    return decorate


def run(options: dict[str, Any], work: Callable[[Services], Awaitable[T]], *, create: bool = False, **more: Any) -> T:
    """Run work over the services that a command's options name, and close them.

    A database that is not there is made only with `create`: elsewhere a wrong name must show.
    """

    async def whole() -> T:
        services = open_services(options, create=create, **more)
        try:
            return await work(services)
        finally:
            await services.close()

    return asyncio.run(whole())


def open_services(options: dict[str, Any], **more: Any) -> Services:
    """Return the services that a command's options name."""
    check(options)
    chosen = {name: options[name] for name in DATA if name not in {"database", "plugin"}}
    return build(options["database"], plugins=options["plugin"], **chosen, **more)


async def known_tenant(services: Services, tenant_id: str) -> TenantRow:
    """Return a tenant, or end with a message that lists the tenants that there are."""
    try:
        return await services.access.tenant(tenant_id)
    except TenantForbidden:
        there = [tenant.id for tenant in await services.access.tenants(None, LISTED + 1)]
        near = difflib.get_close_matches(tenant_id, there, 1)
        words = [f"There is no tenant {tenant_id}."]
        words += [f"Did you mean {near[0]}?"] if near else []
        more = ", …" if len(there) > LISTED else ""
        words += [f"Tenants: {', '.join(there[:LISTED])}{more}."] if there else ["There are no tenants yet."]
        words += ["Create a tenant with portrait tenant create."]
        raise CommandRefused(" ".join(words)) from None


def tenant_option(help_: str, *, required: bool = True) -> Callable[[F], F]:
    """Return the decorator that gives a command the option that names its tenant."""
    return click.option(
        "--tenant", "tenant_id", required=required, envvar=TENANT_VARIABLE, show_envvar=True, help=help_
    )
