"""`portrait identity rekey`: identifiers that are stored under an older form, put under their form of now."""

import sys
from collections import Counter
from typing import Any

import click

from portrait.app import Services
from portrait.cli.options import DATA, known_tenant, run, takes, tenant_option
from portrait.cli.printing import say, say_again
from portrait.identity.graph import Profile
from portrait.identity.rules import WORDS
from portrait.writes.rekeying import Rekeyed

LISTED = 100
"""The most identifiers that are printed one by one."""


@click.command("rekey")
@click.option("--preview", is_flag=True, help="Only show what would change; change nothing.")
@tenant_option("The tenant.")
@takes(*DATA)
def rekey(*, preview: bool, tenant_id: str, **options: Any) -> None:
    """Put identifiers that are stored under an older form under their form of now.

    Needed after `region` or a type's `form` or `of` was set; portrait db upgrade does it for all tenants after an
    upgrade. A run that is cut off can be started again; one that is repeated changes nothing. What a rule refuses waits
    for review. What was joined is parted by portrait identity unlink or unmerge, and all of it by portrait identity
    forget rekey.
    """

    async def work(services: Services) -> Counter[str]:
        tenant = await known_tenant(services, tenant_id)
        return await rekey_tenant(services, tenant.id, preview=preview, listed=LISTED)

    say(counted(run(options, work), preview=preview), err=True)


async def rekey_tenant(services: Services, tenant: str, *, preview: bool, listed: int) -> Counter[str]:
    """Re-key the identifiers of a tenant, print the first of them, and return how many there are by outcome."""
    outcomes: Counter[str] = Counter()
    async for rekeyed in services.rekeying.run(tenant, _report_progress, dry=preview):
        outcome = "waits" if rekeyed.reason else "changed" if rekeyed.is_changed else None
        if outcome is None:
            continue
        outcomes[outcome] += 1
        if outcomes.total() <= listed:
            say(_line(rekeyed))
        elif listed and outcomes.total() == listed + 1:
            say("…")
    return outcomes


async def rekey_all(services: Services, *, preview: bool) -> Counter[str]:
    """Re-key the identifiers of all tenants, and return how many there are by outcome."""
    outcomes: Counter[str] = Counter()
    async for tenant in services.rekeying.tenants():
        outcomes += await rekey_tenant(services, tenant, preview=preview, listed=0)
    return outcomes


def counted(outcomes: Counter[str], *, preview: bool) -> str:
    """Return how many identifiers were re-keyed, for people."""
    would = "would be" if preview else "were"
    return f"{outcomes['changed']:,} {would} put under their form of now, {outcomes['waits']:,} wait for review."


def _line(rekeyed: Rekeyed) -> str:
    names = f"{rekeyed.identifier.type} {rekeyed.identifier.value}"
    if rekeyed.form != rekeyed.identifier:
        names += f" -> {rekeyed.form.value}"
    if rekeyed.reason is not None:
        return f"{names}: waits for review: {rekeyed.reason.value}. {WORDS[rekeyed.reason]}"
    return f"{names}: {', '.join(_label(profile) for profile in rekeyed.after)}"


def _label(profile: Profile) -> str:
    return profile.customer_id or "nobody's"


def _report_progress(done: int) -> None:
    if sys.stderr.isatty():
        say_again(f"{done:,} identifiers   ", last=False)
