"""`portrait show`."""

from typing import Any

import click
import msgspec
from rich.console import Console

from portrait.app import Services
from portrait.cli import portrait_view
from portrait.cli.customers import resolve_customer
from portrait.cli.options import DATA, known_tenant, run, takes, tenant_option
from portrait.cli.printing import say, say_json
from portrait.model.document import HEAD


@click.command()
@click.argument("customer_id", metavar="CUSTOMER")
@tenant_option("The tenant of the customer.")
@click.option("--sections", "names", help="Comma-separated sections to show. [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON of the API's answer.")
@takes(*DATA)
def show(*, customer_id: str, tenant_id: str, names: str | None, as_json: bool, **options: Any) -> None:
    """Show a customer's portrait, for a person to read.

    CUSTOMER is a customer id, or an identifier of any type that one customer has, such as an e-mail address.
    """

    async def work(services: Services) -> bytes:
        tenant = await known_tenant(services, tenant_id)
        asked = None if names is None else [name.strip() for name in names.split(",")]
        plan = services.reader.plan("admin", asked)
        profile = await services.reader.profile(tenant.id, await resolve_customer(services, tenant, customer_id), plan)
        if asked is None:
            await _say_what_is_left_out(services, tenant.id, profile.customer_id)
        return profile.json(services.clock())

    answer = run(options, work)
    if as_json:
        say_json(answer.decode())
    else:
        portrait_view.show(msgspec.json.decode(answer), Console())


async def _say_what_is_left_out(services: Services, tenant_id: str, customer_id: str) -> None:
    """Name the sections that have stored documents and that the full profile does not show."""
    stored = {section for section, *_ in await services.store.hashes(tenant_id, customer_id, None)} - {HEAD}
    by_name = sorted(section.name for section in services.registry if not section.default and section.name in stored)
    unknown = sorted(stored - set(services.registry.names()))
    if by_name:
        say(f"Shown only with --sections: {', '.join(by_name)}.", err=True)
    if unknown:
        say(f"Not shown, because their plugins are not loaded (see --plugin): {', '.join(unknown)}.", err=True)
