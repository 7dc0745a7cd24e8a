"""`portrait collecting …`: rules for what clients of other makers send."""

import click

from portrait.cli.rules import rules_command


@click.group()
def collecting() -> None:
    """Show or set rules for what clients of other makers send."""


collecting.add_command(
    rules_command(
        "rules for collecting",
        lambda services, tenant: services.collector.rules(tenant),
        lambda services, tenant, raw: services.collector.set_rules(tenant, raw),
    )
)
