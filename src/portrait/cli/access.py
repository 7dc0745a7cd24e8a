"""`portrait tenant …` and `portrait key …`."""

from collections.abc import Awaitable, Callable
from typing import Any

import click
from click.core import ParameterSource

from portrait.access import grants, keys
from portrait.access.descent import ended
from portrait.access.grants import COLLECTOR
from portrait.access.keys import ApiKey
from portrait.access.service import PLATFORM
from portrait.app import Services
from portrait.cli.options import DATA, known_tenant, run, takes, tenant_option
from portrait.cli.printing import say
from portrait.model import time
from portrait.model.errors import InvalidParameter
from portrait.sections.base import ROLES
from portrait.storage.contract import Credential

COMMAND_LINE = "command line"
REACH = (
    "The holder of this key can make keys of every tenant and role, and so reach every customer. Each tenant's list"
    " shows which keys the platform made."
)
"""The message that is printed when a key of the platform's is made."""

NO_REGION = (
    "The tenant has no region: phone numbers without + and a country code are not parsed, and link nobody. Set one,"
    " best before the first record: portrait identity rules --tenant {} --file FILE, where FILE holds"
    ' {{"region": "GB"}}'
)
"""The message that is printed when a tenant is made without a region."""


@click.group()
def tenant() -> None:
    """Make and list tenants."""


@tenant.command("create")
@click.argument("tenant_id")
@click.option("--name", help="The tenant's name for people. [default: its id]")
@click.option("--region", help="The country of phone numbers without + and a country code: ISO 3166-1, such as GB.")
@takes(*DATA)
def create_tenant(tenant_id: str, name: str | None, region: str | None, **options: Any) -> None:
    """Make a tenant.

    Without a region, phone numbers without + and a country code are not parsed: each is taken with a warning, is shown,
    and links nobody. A region that is set later is followed by portrait identity rekey.
    """

    async def work(services: Services) -> None:
        await services.access.create_tenant(tenant_id, name, region)

    run(options, work, create=True)
    say(f"Tenant {tenant_id} is made. Next: portrait key create --tenant {tenant_id} --role editor", err=True)
    say(
        NO_REGION.format(tenant_id) if region is None else f"Phone numbers without + are read as numbers of {region}.",
        err=True,
    )


@tenant.command("list")
@takes(*DATA)
def list_tenants(**options: Any) -> None:
    """List the tenants."""

    async def work(services: Services) -> None:
        after = None
        while page := await services.access.tenants(after, 100):
            for row in page:
                say(row.id, row.name, time.rfc3339(row.created_at))
            after = page[-1].id

    run(options, work)


@click.group()
def key() -> None:
    """Make, list and revoke API keys."""


def _owner(tenant_id: str | None, *, platform: bool) -> str | None:
    """Return the tenant that a command is about; None: the platform. A flag goes before the environment."""
    source = click.get_current_context().get_parameter_source("tenant_id")
    if platform and source is ParameterSource.ENVIRONMENT:
        return None
    if platform == (tenant_id is not None):
        raise click.UsageError("Name either --tenant or --platform.")
    return tenant_id


@key.command("create")
@tenant_option("The tenant of the key.", required=False)
@click.option("--role", type=click.Choice(ROLES), help="The role of the key. [default: viewer]")
@click.option("--platform", is_flag=True, help="A platform key: it makes tenants, and any tenant's keys.")
@click.option("--name", default="", help="A note for people on the purpose of the key.")
@click.option("--expires", help="When the key ends: an RFC 3339 timestamp.")
@click.option("--source", help="A write key: it only takes in what clients of other makers send, as this source.")
@click.option("--private", is_flag=True, help="With --source: the key stays on servers, and its word counts in full.")
@click.option("--origin", "origins", multiple=True, help="With --source: only pages of this origin may send with it.")
@click.option("--events-per-second", type=int, help="With --source: the most, in each process. [default: 1000]")
@takes(*DATA)
def create_key(
    *,
    tenant_id: str | None,
    role: str | None,
    platform: bool,
    name: str,
    expires: str | None,
    source: str | None,
    private: bool,
    origins: tuple[str, ...],
    events_per_second: int | None,
    **options: Any,
) -> None:
    """Make an API key; it alone is printed on stdout, this once."""
    owner = _owner(tenant_id, platform=platform)
    if role and (platform or source):
        kind = "platform key" if platform else "write key"
        raise click.UsageError(f"A {kind} has no role of a tenant: leave out --role.")
    if source is None and (private or origins or events_per_second is not None):
        raise click.UsageError("--private, --origin and --events-per-second go with --source.")
    if platform and source:
        raise click.UsageError("A write key is a tenant's: leave out --platform.")
    grant = None
    if source is not None:
        rate = grants.EVENTS_PER_SECOND if events_per_second is None else events_per_second
        try:
            grant = grants.grant_of(source, private=private, origins=origins, events_per_second=rate)
        except InvalidParameter as error:
            raise click.UsageError(error.detail) from None
    try:
        expires_at = None if expires is None else time.parse(expires)
    except InvalidParameter as error:
        raise click.BadParameter(error.detail, param_hint="--expires") from None

    async def work(services: Services) -> ApiKey:
        if owner is not None:
            await known_tenant(services, owner)
        chosen = PLATFORM if platform else COLLECTOR if grant else role or "viewer"
        minted = await services.access.create_key(
            owner, chosen, name=name or source or "", expires_at=expires_at, grant=grant
        )
        return minted.key

    say(str(run(options, work)))
    if platform:
        say(REACH, err=True)


@key.command("list")
@tenant_option("The tenant whose keys to list.", required=False)
@click.option("--platform", is_flag=True, help="List the platform's keys.")
@takes(*DATA)
def list_keys(*, tenant_id: str | None, platform: bool, **options: Any) -> None:
    """List API keys: id, role, last four characters, state, name, the id of the key that made it; then three moments.

    These are: when it was made, when it ends, and when it was used last, which is noted every 10 minutes at most.
    """
    owner = _owner(tenant_id, platform=platform)

    async def work(services: Services) -> None:
        if owner is not None:
            await known_tenant(services, owner)
        await _show(services, lambda after: services.access.keys(owner, after, 100))

    run(options, work)


async def _show(
    services: Services, page_after: Callable[[str | None], Awaitable[list[Credential]]], *, tenants: bool = False
) -> None:
    """Print keys, a line each; with their tenants, where the keys may be of several."""
    after = None
    now = services.clock()
    while page := await page_after(after):
        for credential in page:
            state = "revoked" if credential.revoked_at is not None else "expired" if ended(credential, now) else "live"
            minter = credential.minted_by or COMMAND_LINE
            owner = [credential.tenant or PLATFORM] if tenants else []
            moments = (
                time.rfc3339(credential.created_at),
                _moment(credential.expires_at, "no end"),
                _moment(credential.last_used_at, "not used"),
            )
            say(
                credential.id,
                *owner,
                credential.role,
                f"…{credential.last_four}",
                state,
                credential.name,
                minter,
                *moments,
            )
        after = page[-1].id


def _moment(moment: int | None, otherwise: str) -> str:
    return otherwise if moment is None else time.rfc3339(moment)


@key.command("revoke")
@click.argument("key_id", metavar="KEY")
@tenant_option("The tenant of the key.", required=False)
@click.option("--platform", is_flag=True, help="Revoke a platform key.")
@click.option("--descendants", is_flag=True, help="Revoke the keys that it minted too, directly or in turn.")
@takes(*DATA)
def revoke_key(*, key_id: str, tenant_id: str | None, platform: bool, descendants: bool, **options: Any) -> None:
    """Revoke an API key: named by its id, or whole.

    What it made is listed, and what that made in turn: id, tenant, role, and what else `key list` prints.
    """
    owner = _owner(tenant_id, platform=platform)

    async def work(services: Services) -> None:
        if owner is not None:
            await known_tenant(services, owner)
        api_key = keys.parse(key_id)
        id_ = api_key.id if api_key else key_id
        await services.access.revoke_key(owner, id_, descendants=descendants)
        await _show(services, lambda after: services.access.descendants(owner, id_, after, 100), tenants=True)

    run(options, work)
    say("The key is revoked. The keys that it minted are listed on stdout, if any.", err=True)
