"""`portrait identity …`: who is who, and why."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from portrait import matching
from portrait.app import Services
from portrait.cli.options import DATA, known_tenant, run, takes
from portrait.identifying import Effect, Explanation
from portrait.identity.graph import Link
from portrait.identity.rules import WORDS, Reason, shown
from portrait.ingest.records import Parser
from portrait.matched import Suggested
from portrait.model.errors import InvalidRecord
from portrait.model.identifier import Identifier, name_fault
from portrait.model.time import rfc3339
from portrait.storage.contract import Tenant

SOURCE = "command"
"""The source of what is decided here."""


def _name(_: click.Context, parameter: click.Parameter, given: str) -> str:
    """Return a customer id that paths can carry.

    Raises:
        InvalidRecord: it breaks the rule of names.
    """
    if fault := name_fault(given):
        raise InvalidRecord(f"{parameter.human_readable_name} {fault}.")
    return given


def _text(_: click.Context, parameter: click.Parameter, given: str) -> str:
    """Return a text; bytes that are none come in from the shell as lone surrogates.

    Raises:
        InvalidRecord: it is none.
    """
    try:
        given.encode()
    except UnicodeEncodeError:
        raise InvalidRecord(f"{parameter.human_readable_name} must be valid Unicode.") from None
    return given


_tenant = click.option("--tenant", "tenant_id", required=True, help="The tenant.")
_preview = click.option("--preview", is_flag=True, help="Only tell what would be; change nothing.")


@click.group()
def identity() -> None:
    """Show, join and part customers' identifiers."""


@identity.command("explain")
@click.argument("customer_id", callback=_name)
@_tenant
@takes(*DATA)
def explain(customer_id: str, tenant_id: str, **options: Any) -> None:
    """Say why a customer's identifiers are one person."""

    async def work(services: Services) -> Explanation:
        tenant = await known_tenant(services, tenant_id)
        return await services.identities.explain(tenant.id, customer_id)

    found = run(options, work)
    click.echo(f"customer {found.customer_id}")
    for one in found.why:
        click.echo(f"  {one.shown.identifier.type} {one.shown.record.value}  {one.shown.record.confidence:g}")
        for link in one.path:
            click.echo(f"    {_link(link)}")
    for merge in found.merges:
        click.echo(f"merged: {merge.source} into {merge.into}, {rfc3339(merge.link.since)}")
    for a, b in found.apart:
        click.echo(f"kept apart: {_shown(a)} and {_shown(b)}")
    for candidate in found.candidates:
        reason = Reason(candidate.told.status)
        click.echo(
            f"waits for review: {_shown(candidate.a)} and {_shown(candidate.b)}: {reason.value}. {WORDS[reason]}"
        )
    for experiment in found.crossovers:
        click.echo(f"experiment {experiment}: two variants were seen; the first counts")


@identity.command("resolve")
@click.argument("type_", metavar="TYPE", callback=_text)
@click.argument("value", callback=_text)
@_tenant
@takes(*DATA)
def resolve(type_: str, value: str, tenant_id: str, **options: Any) -> None:
    """Print the customer that an identifier belongs to."""

    async def work(services: Services) -> str:
        tenant = await known_tenant(services, tenant_id)
        return await services.identities.resolve(tenant.id, _identifier(tenant, type_, value))

    click.echo(run(options, work))


@identity.command("link")
@click.argument("customer_id", callback=_name)
@click.argument("type_", metavar="TYPE", callback=_text)
@click.argument("value", callback=_text)
@click.option("--confidence", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="How sure it is.")
@_preview
@_tenant
@takes(*DATA)
def link(
    *,
    customer_id: str,
    type_: str,
    value: str,
    confidence: float,
    preview: bool,
    tenant_id: str,
    **options: Any,
) -> None:
    """Link an identifier to a customer."""

    async def work(services: Services, tenant: Tenant) -> Effect:
        record = msgspec.json.encode({"type": type_, "value": value, "confidence": confidence})
        section = services.registry.stored("identities")
        incoming = Parser(tenant, SOURCE).records(record, customer_id, section)
        return await services.identities.link(tenant.id, incoming, dry=preview)

    _act(tenant_id, options, work, preview=preview)


@identity.command("unlink")
@click.argument("customer_id", callback=_name)
@click.argument("type_", metavar="TYPE", callback=_text)
@click.argument("value", callback=_text)
@_preview
@_tenant
@takes(*DATA)
def unlink(
    *,
    customer_id: str,
    type_: str,
    value: str,
    preview: bool,
    tenant_id: str,
    **options: Any,
) -> None:
    """Take an identifier from a customer, and keep it from coming back by itself."""

    async def work(services: Services, tenant: Tenant) -> Effect:
        identifier = _identifier(tenant, type_, value)
        return await services.identities.unlink(tenant.id, customer_id, identifier, SOURCE, dry=preview)

    _act(tenant_id, options, work, preview=preview)


@identity.command("merge")
@click.argument("target_id", callback=_name)
@click.argument("source_id", callback=_name)
@_preview
@_tenant
@takes(*DATA)
def merge(*, target_id: str, source_id: str, preview: bool, tenant_id: str, **options: Any) -> None:
    """Make one customer of two: the target's id stays."""

    async def work(services: Services, tenant: Tenant) -> Effect:
        return await services.identities.merge(tenant.id, target_id, source_id, SOURCE, dry=preview)

    _act(tenant_id, options, work, preview=preview)


@identity.command("unmerge")
@click.argument("target_id", callback=_name)
@click.argument("source_id", callback=_name)
@_preview
@_tenant
@takes(*DATA)
def unmerge(*, target_id: str, source_id: str, preview: bool, tenant_id: str, **options: Any) -> None:
    """Part two customers that were merged: each is again what it was."""

    async def work(services: Services, tenant: Tenant) -> Effect:
        return await services.identities.unmerge(tenant.id, target_id, source_id, SOURCE, dry=preview)

    _act(tenant_id, options, work, preview=preview)


@identity.command("match")
@click.option("--engine", type=click.Choice(["duckdb", "spark"]), default="duckdb", show_default=True, help="Where.")
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False),
    help="Match the records of this file, whose ids are customer ids: .csv, .parquet, .jsonl. [default: what is held]",
)
@click.option("--section", "sections", multiple=True, help="A section whose first record's fields are compared too.")
@click.option("--work", type=click.Path(file_okay=False), required=True, help="Where the run keeps what is finished.")
@click.option("--link-at", type=float, default=0.95, show_default=True, help="From this probability on a pair links.")
@click.option("--review-at", type=float, default=0.5, show_default=True, help="From here on it waits for review.")
@click.option("--source", default="match", show_default=True, help="The source of the links, to take them back by.")
@_tenant
@takes(*DATA)
def match(
    *, engine: Any, file: str | None, sections: tuple[str, ...], work: str, link_at: float, review_at: float,
    source: str, tenant_id: str, **options: Any,
) -> None:  # fmt: skip
    """Find customers that are one person by what is said of them, and link them or have them wait for review.

    A run that is cut off goes on where it was when it is started again. The work directory holds personal data:
    delete it afterwards.
    """
    settings = matching.Settings(link_at=link_at, review_at=review_at)

    async def read(services: Services) -> list[dict[str, str]]:
        tenant = await known_tenant(services, tenant_id)
        return [row async for row in services.matches.attributes(tenant.id, sections)]

    async def write(services: Services) -> dict[str, int]:
        return await services.matches.suggest(tenant_id, pairs, source)

    table = Path(file) if file else run(options, read)
    found = matching.match(table, work=Path(work), engine=engine, settings=settings, progress=_told)
    pairs = [
        Suggested(one.left, one.right, one.probability, one.links)
        for one in found.candidates
        if one.reason != "implied"
    ]
    for name, count in sorted(run(options, write).items()):
        click.echo(f"{count:,} {name}")


@identity.command("forget")
@click.argument("source")
@_tenant
@takes(*DATA)
def forget(source: str, tenant_id: str, **options: Any) -> None:
    """Take back every link that a source told."""

    async def work(services: Services) -> int:
        tenant = await known_tenant(services, tenant_id)
        return await services.matches.forget(tenant.id, source)

    click.echo(f"{run(options, work):,} links taken back")


def _told(stage: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{stage}: {done:,} of {total:,}   ", nl=done == total, err=True)


@identity.command("rules")
@click.option(
    "--file", "file", type=click.Path(exists=True, dir_okay=False), help="Set the rules that this file holds."
)
@click.option("--default", "default", is_flag=True, help="Set the rules to the default.")
@_tenant
@takes(*DATA)
def rules(*, file: str | None, default: bool, tenant_id: str, **options: Any) -> None:
    """Print the tenant's identity rules as JSON, after setting them where that is asked for."""
    if file and default:
        raise click.UsageError("Give either --file or --default.")

    raw = Path(file).read_bytes() if file else None

    async def work(services: Services) -> Any:
        tenant = await known_tenant(services, tenant_id)
        if file or default:
            return shown(await services.identities.set_rules(tenant.id, raw))
        return shown(await services.identities.rules(tenant.id))

    click.echo(msgspec.json.format(msgspec.json.encode(run(options, work)), indent=2))


def _act(
    tenant_id: str, options: dict[str, Any], work: Callable[[Services, Tenant], Awaitable[Effect]], *, preview: bool
) -> None:
    async def whole(services: Services) -> Effect:
        return await work(services, await known_tenant(services, tenant_id))

    effect = run(options, whole)
    if effect.before == effect.after:
        click.echo("Nothing changes." if preview else "Nothing changed.", err=True)
    for profile in effect.after:
        name = profile.customer_id or "nobody's"
        click.echo(f"{name}: {', '.join(map(_shown, profile.members))}")
    for experiment in effect.crossovers:
        click.echo(f"experiment {experiment}: two variants were seen; the first counts", err=True)


def _identifier(tenant: Tenant, type_: str, value: str) -> Identifier:
    return Parser(tenant, SOURCE).named(type_, value).identifier


def _shown(identifier: Identifier) -> str:
    return f"{identifier.type} {identifier.value}"


def _link(link: Link) -> str:
    told = "; ".join(
        f"{one.rule} by {one.source or 'nobody named'}, {one.confidence:g}, {rfc3339(one.recorded_at)}"
        for one in link.told
    )
    return f"{_shown(link.a)} - {_shown(link.b)}: {told}"
