"""`portrait collecting …`: rules for what clients of other makers send."""

import codecs
from pathlib import Path
from typing import Any

import click
import msgspec

from portrait.app import Services
from portrait.cli.options import DATA, known_tenant, run, takes, tenant_option
from portrait.cli.printing import say_json


@click.group()
def collecting() -> None:
    """Show or set rules for what clients of other makers send."""


@collecting.command("rules")
@click.option("--file", "file", type=click.Path(exists=True, dir_okay=False), help="Set the rules in this file.")
@click.option("--default", "default", is_flag=True, help="Set the rules to the default.")
@tenant_option("The tenant of the rules.")
@takes(*DATA)
def rules(*, file: str | None, default: bool, tenant_id: str, **options: Any) -> None:
    """Print the tenant's rules for collecting as JSON, after setting them where that is asked for."""
    if file and default:
        raise click.UsageError("Give either --file or --default.")
    raw = Path(file).read_bytes().removeprefix(codecs.BOM_UTF8) if file else None

    async def work(services: Services) -> Any:
        tenant = await known_tenant(services, tenant_id)
        if file or default:
            return await services.collector.set_rules(tenant.id, raw)
        return await services.collector.rules(tenant.id)

    say_json(msgspec.json.format(msgspec.json.encode(run(options, work)), indent=2).decode())
