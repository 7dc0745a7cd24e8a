"""Options that commands share, made from the settings; and where their values come from."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from portrait.app import Services, build
from portrait.cli.printing import plain
from portrait.model.errors import TenantForbidden
from portrait.settings import SETTINGS, check, from_file
from portrait.storage.contract import Tenant

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

DATA = ("database", "plugin", "busy_seconds", "pool_size", "prepared", "max_section_bytes")
"""The settings of every command that touches data."""


class Group(click.Group):
    """The top command: reads the settings file before the commands read their options."""

    def invoke(self, ctx: click.Context) -> Any:
        """Give the file's values to every command as its defaults, then run the command."""
        config = ctx.params.get("config")
        values = from_file(Path(config) if config else None)
        ctx.default_map = _everywhere(self, values)
        return super().invoke(ctx)


def _everywhere(group: click.Group, values: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = dict(values)
    for name, command in group.commands.items():
        nested[name] = _everywhere(command, values) if isinstance(command, click.Group) else dict(values)
    return nested


def takes(*names: str) -> Callable[[F], F]:
    """Return the decorator that gives a command the options of these settings."""

    def decorate(function: F) -> F:
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


async def known_tenant(services: Services, tenant_id: str) -> Tenant:
    """Return a tenant, or end with words that say how to make it."""
    try:
        return await services.access.tenant(tenant_id)
    except TenantForbidden:
        shown = plain(tenant_id)
        raise click.ClickException(f"There is no tenant {shown}. Make it: portrait tenant create {shown}") from None
