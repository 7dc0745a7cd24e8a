"""The commands that show or set rules of a tenant's, whatever the rules are of."""

import codecs
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from portrait.app import Services
from portrait.cli.options import DATA, known_tenant, run, takes, tenant_option
from portrait.cli.printing import say_json


def rules_command(
    what: str,
    get: Callable[[Services, str], Awaitable[Any]],
    replace: Callable[[Services, str, bytes | None], Awaitable[Any]],
) -> click.Command:
    """Return the command `rules`.

    Args:
        what: what the rules are called.
        get: returns a tenant's rules.
        replace: sets them from JSON, or to the default (None), and returns them.
    """

    @click.command("rules", help=f"Print the tenant's {what} as JSON, after setting them where that is asked for.")
    @click.option("--file", "file", type=click.Path(exists=True, dir_okay=False), help="Set the rules in this file.")
    @click.option("--default", "default", is_flag=True, help="Set the rules to the default.")
    @tenant_option("The tenant.")
    @takes(*DATA)
    def rules(*, file: str | None, default: bool, tenant_id: str, **options: Any) -> None:
        if file and default:
            raise click.UsageError("Give either --file or --default.")
        raw = Path(file).read_bytes().removeprefix(codecs.BOM_UTF8) if file else None

        async def work(services: Services) -> Any:
            tenant = await known_tenant(services, tenant_id)
            if file or default:
                return await replace(services, tenant.id, raw)
            return await get(services, tenant.id)

        say_json(msgspec.json.format(msgspec.json.encode(run(options, work)), indent=2).decode())

    return rules
