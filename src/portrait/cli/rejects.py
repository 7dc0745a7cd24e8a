"""`portrait rejects …`: events that clients sent and that were refused."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from portrait.app import Services
from portrait.cli.options import DATA, known_tenant, run, takes, tenant_option
from portrait.cli.printing import say
from portrait.collecting.rejects import AT_ONCE, RejectsWanted
from portrait.model.time import rfc3339
from portrait.storage.contract import TenantRow
from portrait.writes.naming import Naming

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def rejects() -> None:
    """List, replay or drop events that clients sent and that were refused."""


def _which(command: F) -> F:
    """Give a command the options that say which refused events are meant."""
    for option in (
        click.option("--identifier", nargs=2, metavar="TYPE VALUE", help="Only events that name this identifier."),
        click.option("--code", help="Only events that were refused for this reason."),
        click.option("--source", help="Only events of this source, as the list prints it."),
    ):
        command = option(command)
    return command


def _wanted(
    tenant: TenantRow, source: str | None, code: str | None, identifier: tuple[str, str] | None
) -> RejectsWanted:
    return RejectsWanted(source, code, Naming(tenant).named(*identifier).identifier if identifier else None)


@rejects.command("list")
@tenant_option("The tenant whose refused events to list.")
@_which
@click.option("--events", is_flag=True, help="Print each event, and not only how many there are.")
@takes(*DATA)
def list_rejects(
    *,
    tenant_id: str,
    source: str | None,
    code: str | None,
    identifier: tuple[str, str] | None,
    events: bool,
    **options: Any,
) -> None:
    """List refused events by source and reason: how many there are, and how many bytes they take.

    With --events, or where a person is named, each event: its id, when it was received, source, reason, what is wrong,
    and the event as it was sent.
    """

    async def work(services: Services) -> None:
        tenant = await known_tenant(services, tenant_id)
        wanted = _wanted(tenant, source, code, identifier)
        if not events and identifier is None:
            for count in await services.rejects.counts(tenant_id):
                if source in {None, count.source} and code in {None, count.code}:
                    say(*count)
            return
        after = None
        while page := await services.rejects.listed(tenant_id, wanted, after, AT_ONCE):
            for one in page:
                event = one.body.decode("utf-8", "replace")
                say(one.id.hex(), rfc3339(one.received_at), one.source, one.code, one.detail, event)
            after = page[-1].id

    run(options, work)


@rejects.command("replay")
@tenant_option("The tenant whose refused events to take again.")
@_which
@takes(*DATA)
def replay_rejects(
    *, tenant_id: str, source: str | None, code: str | None, identifier: tuple[str, str] | None, **options: Any
) -> None:
    """Take refused events again, as of when they were received, once what was wrong with them is mended."""

    async def work(services: Services) -> None:
        tenant = await known_tenant(services, tenant_id)
        done = await services.rejects.replay(tenant, _wanted(tenant, source, code, identifier))
        say(f"{done.taken:,} taken, {done.refused:,} refused again", err=True)

    run(options, work)


@rejects.command("drop")
@tenant_option("The tenant whose refused events to drop.")
@_which
@takes(*DATA)
def drop_rejects(
    *, tenant_id: str, source: str | None, code: str | None, identifier: tuple[str, str] | None, **options: Any
) -> None:
    """Remove refused events. There is no way back."""

    async def work(services: Services) -> None:
        tenant = await known_tenant(services, tenant_id)
        dropped = await services.rejects.drop(tenant_id, _wanted(tenant, source, code, identifier))
        say(f"{dropped:,} dropped", err=True)

    run(options, work)
