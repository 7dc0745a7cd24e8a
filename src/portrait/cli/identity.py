"""`portrait identity …`: who is who, and why."""

import heapq
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from portrait import matching
from portrait.app import Services
from portrait.cli.customers import resolve_customer
from portrait.cli.options import DATA, known_tenant, run, takes, tenant_option
from portrait.cli.printing import say, say_again
from portrait.cli.rekey import rekey
from portrait.cli.rules import rules_command
from portrait.identity.graph import LINKED, Link, LinkRecord
from portrait.identity.rules import WORDS, view
from portrait.ingest.records import Parser, check_source
from portrait.model.errors import InvalidRecord
from portrait.model.identifier import Identifier, name_fault
from portrait.model.time import rfc3339
from portrait.reads.identity import Candidate, Explanation
from portrait.storage.contract import TenantRow
from portrait.writes.effects import Effect
from portrait.writes.incoming import Incoming
from portrait.writes.match_links import Suggested
from portrait.writes.naming import Naming

SOURCE = "command"
"""The source of what a command decides."""


def _name(_: click.Context, parameter: click.Parameter, customer_id: str) -> str:
    """Return a customer id that paths can carry.

    Raises:
        InvalidRecord: it breaks the rule of names.
    """
    if fault := name_fault(customer_id):
        raise InvalidRecord(f"{parameter.human_readable_name} {fault}.")
    return customer_id


def _text(_: click.Context, parameter: click.Parameter, text: str) -> str:
    """Return a text; bytes that are not UTF-8 come in from the shell as lone surrogates.

    Raises:
        InvalidRecord: the text holds a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRecord(f"{parameter.human_readable_name} must be valid Unicode.") from None
    return text


def _text_or_none(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    return None if text is None else _text(context, parameter, text)


def _source(context: click.Context, parameter: click.Parameter, source: str) -> str:
    """Return the name of a source.

    Raises:
        InvalidRecord: the name is no valid text, or too short or too long.
    """
    check_source(_text(context, parameter, source))
    return source


def _pair(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the two ends of a link, as `review` prints them."""

    @click.argument("type_", metavar="TYPE", callback=_text)
    @click.argument("value", callback=_text)
    @click.argument("other_type", callback=_text)
    @click.argument("other_value", callback=_text)
    @wraps(command)
    def taking(*, type_: str, value: str, other_type: str, other_value: str, **options: Any) -> None:
        command(pair=(type_, value, other_type, other_value), **options)

    return taking


_tenant = tenant_option("The tenant.")
_preview = click.option("--preview", is_flag=True, help="Only show the effect; change nothing.")


@click.group()
def identity() -> None:
    """Show, join and part customers' identifiers."""


@identity.command("explain")
@click.argument("customer_id", metavar="CUSTOMER", callback=_text)
@_tenant
@takes(*DATA)
def explain(customer_id: str, tenant_id: str, **options: Any) -> None:
    """Say why a customer's identifiers are one person.

    CUSTOMER is a customer id, or an identifier of any type that one customer has, such as an e-mail address.
    """

    async def work(services: Services) -> Explanation:
        tenant = await known_tenant(services, tenant_id)
        return await services.explainer.explain(tenant.id, await resolve_customer(services, tenant, customer_id))

    explanation = run(options, work)
    say(f"customer {explanation.customer_id}")
    for why in explanation.why:
        say(f"  {why.identified.identifier.type} {why.identified.record.value}  {why.identified.record.confidence:g}")
        for link in why.path:
            say(f"    {_link(link)}")
    for merge in explanation.merges:
        say(
            f"merged: {merge.source} into {merge.into}, {rfc3339(merge.link.since)}, by {_teller(merge.first_evidence)}"
        )
    for apart in explanation.apart:
        say(f"kept apart: {_label(apart.a)} and {_label(apart.b)}: {_decision(apart.record.rule, apart.record)}")
    for candidate in explanation.candidates:
        reason = candidate.reason
        say(f"waits for review: {_label(candidate.a)} and {_label(candidate.b)}: {reason.value}. {WORDS[reason]}")
    for experiment in explanation.crossovers:
        say(f"experiment {experiment}: two variants were seen; the first counts")


@identity.command("resolve")
@click.argument("type_", metavar="TYPE", callback=_text)
@click.argument("value", callback=_text)
@_tenant
@takes(*DATA)
def resolve(type_: str, value: str, tenant_id: str, **options: Any) -> None:
    """Print the customer that an identifier belongs to."""

    async def work(services: Services) -> str:
        tenant = await known_tenant(services, tenant_id)
        return await services.owners.of(tenant.id, _identifier(tenant, type_, value))

    say(run(options, work))


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

    async def work(services: Services, tenant: TenantRow) -> Effect:
        incoming = _evidence(services, tenant, customer_id, type_, value, confidence)
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
    """Unlink an identifier from a customer, and keep the two apart."""

    async def work(services: Services, tenant: TenantRow) -> Effect:
        identifier = _identifier(tenant, type_, value)
        return await services.identities.unlink(tenant.id, customer_id, identifier, SOURCE, dry=preview)

    _act(tenant_id, options, work, preview=preview)


@identity.command("move")
@click.argument("source_id", callback=_name)
@click.argument("target_id", callback=_name)
@click.argument("type_", metavar="TYPE", callback=_text)
@click.argument("value", callback=_text)
@_preview
@_tenant
@takes(*DATA)
def move(
    *, source_id: str, target_id: str, type_: str, value: str, preview: bool, tenant_id: str, **options: Any
) -> None:
    """Take an identifier from one customer, the first, and give it to another."""

    async def work(services: Services, tenant: TenantRow) -> Effect:
        incoming = _evidence(services, tenant, target_id, type_, value, 1.0)
        return await services.identities.move(tenant.id, source_id, target_id, incoming, SOURCE, dry=preview)

    _act(tenant_id, options, work, preview=preview)


@identity.command("merge")
@click.argument("target_id", callback=_name)
@click.argument("source_id", callback=_name)
@_preview
@_tenant
@takes(*DATA)
def merge(*, target_id: str, source_id: str, preview: bool, tenant_id: str, **options: Any) -> None:
    """Merge two customers: the target's id stays."""

    async def work(services: Services, tenant: TenantRow) -> Effect:
        return await services.identities.merge(tenant.id, target_id, source_id, SOURCE, dry=preview)

    _act(tenant_id, options, work, preview=preview)


@identity.command("unmerge")
@click.argument("target_id", callback=_name)
@click.argument("source_id", callback=_name)
@_preview
@_tenant
@takes(*DATA)
def unmerge(*, target_id: str, source_id: str, preview: bool, tenant_id: str, **options: Any) -> None:
    """Unmerge two customers: each gets its identifiers and records back."""

    async def work(services: Services, tenant: TenantRow) -> Effect:
        return await services.identities.unmerge(tenant.id, target_id, source_id, SOURCE, dry=preview)

    _act(tenant_id, options, work, preview=preview)


@identity.command("review")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="The number of links to print."
)
@click.option("--skip", type=click.IntRange(min=0), default=0, show_default=True, help="The number of links to skip.")
@click.option("--source", "by", callback=_text_or_none, help="Only links of this source. [default: all]")
@_tenant
@takes(*DATA)
def review(*, limit: int, skip: int, by: str | None, tenant_id: str, **options: Any) -> None:
    """Print the links that wait for review, the surest first."""

    async def work(services: Services) -> tuple[int, list[Candidate]]:
        tenant = await known_tenant(services, tenant_id)
        count, surest = 0, list[Candidate]()
        async for gone_through in services.explainer.waiting(tenant.id):
            waiting = gone_through.waiting
            some = [pending.candidate for pending in waiting if by is None or pending.candidate.record.source == by]
            count += len(some)
            surest = heapq.nsmallest(
                skip + limit, [*surest, *some], key=lambda candidate: (-candidate.record.confidence, candidate)
            )
        return count, surest[skip:]

    count, surest = run(options, work)
    for candidate in surest:
        decision = _decision(candidate.reason, candidate.record)
        say(f"{candidate.record.confidence:g}  {_label(candidate.a)}  {_label(candidate.b)}  {decision}")
    say(f"{count:,} wait for review.", err=True)


@identity.command("accept")
@_pair
@_preview
@_tenant
@takes(*DATA)
def accept(*, pair: tuple[str, str, str, str], preview: bool, tenant_id: str, **options: Any) -> None:
    """Accept a link that waits for review."""

    async def work(services: Services, tenant: TenantRow) -> Effect:
        a, b = _identifier(tenant, *pair[:2]), _identifier(tenant, *pair[2:])
        return await services.identities.accept(tenant.id, a, b, SOURCE, dry=preview)

    _act(tenant_id, options, work, preview=preview)


@identity.command("reject")
@_pair
@_tenant
@takes(*DATA)
def reject(*, pair: tuple[str, str, str, str], tenant_id: str, **options: Any) -> None:
    """Reject a link that waits for review, and keep the two apart."""

    async def work(services: Services) -> None:
        tenant = await known_tenant(services, tenant_id)
        a, b = _identifier(tenant, *pair[:2]), _identifier(tenant, *pair[2:])
        await services.identities.reject(tenant.id, a, b, SOURCE)

    run(options, work)
    say("The link is rejected, and the two are kept apart.")


@identity.command("cannot-link")
@_pair
@_tenant
@takes(*DATA)
def cannot_link(*, pair: tuple[str, str, str, str], tenant_id: str, **options: Any) -> None:
    """Keep two identifiers from being one person, until somebody merges, accepts, links or allows just these two."""

    async def work(services: Services) -> None:
        tenant = await known_tenant(services, tenant_id)
        a, b = _identifier(tenant, *pair[:2]), _identifier(tenant, *pair[2:])
        await services.identities.keep_apart(tenant.id, a, b, SOURCE)

    run(options, work)
    say("The two are kept apart.")


@identity.command("allow-link")
@_pair
@_preview
@_tenant
@takes(*DATA)
def allow_link(*, pair: tuple[str, str, str, str], preview: bool, tenant_id: str, **options: Any) -> None:
    """Lift a ban: let two identifiers be linked again."""

    async def work(services: Services, tenant: TenantRow) -> Effect:
        a, b = _identifier(tenant, *pair[:2]), _identifier(tenant, *pair[2:])
        return await services.identities.allow(tenant.id, a, b, SOURCE, dry=preview)

    _act(tenant_id, options, work, preview=preview)


@identity.command("match")
@click.option("--engine", type=click.Choice(["duckdb", "spark"]), default="duckdb", show_default=True, help="Where.")
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False),
    help="Match the records of this file, whose ids are customer ids: .csv, .parquet, .jsonl. [default: the stored "
    "customers]",
)
@click.option("--section", "sections", multiple=True, help="A section whose first record's fields are compared too.")
@click.option(
    "--work", type=click.Path(file_okay=False), required=True, help="The directory for the finished steps of the run."
)
@click.option(
    "--link-at", type=float, default=0.95, show_default=True, help="The least probability at which a pair is linked."
)
@click.option(
    "--review-at",
    type=float,
    default=0.5,
    show_default=True,
    help="The least probability at which a pair waits for review.",
)
@click.option(
    "--source",
    callback=_source,
    default="match",
    show_default=True,
    help="The source of the links, by which they can be forgotten.",
)
@_tenant
@takes(*DATA)
def match(
    *, engine: Any, file: str | None, sections: tuple[str, ...], work: str, link_at: float, review_at: float,
    source: str, tenant_id: str, **options: Any,
) -> None:  # fmt: skip
    """Find customers that are one person by what is said of them, and link them or have them wait for review.

    A run that is cut off goes on where it was when it is started again; one that is repeated changes nothing. The work
    directory holds personal data: delete it afterwards.
    """
    settings = matching.Settings(link_at=link_at, review_at=review_at)

    async def read(services: Services) -> list[dict[str, str]]:
        tenant = await known_tenant(services, tenant_id)
        return [] if file else [row async for row in services.matches.attributes(tenant.id, sections, source)]

    async def write(services: Services) -> dict[str, int]:
        return await services.matches.suggest(tenant_id, pairs, source, partial(_report_progress, "write"))

    rows = run(options, read)
    table = Path(file) if file else rows
    matches = matching.match(table, work=Path(work), engine=engine, settings=settings, progress=_report_progress)
    pairs = [
        Suggested(pair.left, pair.right, pair.probability, pair.links)
        for pair in matches.candidates
        if pair.reason != "implied"
    ]
    counted = run(options, write)
    linked, unknown = counted.pop(LINKED, 0), counted.pop("unknown", 0)
    say(f"{linked:,} linked, {sum(counted.values()):,} wait for review, {unknown:,} of unknown customers")


@identity.command("forget")
@click.argument("source", callback=_text)
@_tenant
@takes(*DATA)
def forget(source: str, tenant_id: str, **options: Any) -> None:
    """Take back every link that a source told, and what waits for review of it.

    A run that is cut off can be started again.
    """

    async def work(services: Services) -> int:
        tenant = await known_tenant(services, tenant_id)
        return await services.matches.forget(tenant.id, source)

    say(f"{run(options, work):,} taken back")


def _report_progress(stage: str, done: int, total: int) -> None:
    """Show how far a run is: on a terminal step by step, elsewhere each stage when it is finished."""
    if sys.stderr.isatty():
        say_again(f"{stage}: {done:,} of {total:,}   ", last=done == total)
    elif done == total:
        say(f"{stage}: {total:,} of {total:,}", err=True)


async def _get_rules(services: Services, tenant: str) -> Any:
    return view(await services.rules.get(tenant))


async def _set_rules(services: Services, tenant: str, raw: bytes | None) -> Any:
    before, after = await services.rules.get(tenant), await services.rules.set(tenant, raw)
    if (before.forms, before.hashed) != (after.forms, after.hashed):
        say(f"What is stored already keeps its form until portrait identity rekey --tenant {tenant}.", err=True)
    return view(after)


identity.add_command(rekey)
identity.add_command(rules_command("identity rules", _get_rules, _set_rules))


def _evidence(
    services: Services, tenant: TenantRow, customer_id: str, type_: str, value: str, confidence: float
) -> Sequence[Incoming]:
    """Return the identity record that names an identifier of a customer's."""
    record = msgspec.json.encode({"type": type_, "value": value, "confidence": confidence})
    return Parser(tenant, SOURCE).records(record, customer_id, services.registry.stored("identities"))


def _act(
    tenant_id: str, options: dict[str, Any], work: Callable[[Services, TenantRow], Awaitable[Effect]], *, preview: bool
) -> None:
    async def whole(services: Services) -> Effect:
        return await work(services, await known_tenant(services, tenant_id))

    effect = run(options, whole)
    same = effect.before == effect.after
    if preview:
        would = "would change nothing" if same else "would lead to this"
        say(f"A preview: nothing has changed. The action {would}:", err=True)
    elif same:
        say("Nothing changed.", err=True)
    for profile in effect.after:
        name = profile.customer_id or "nobody's"
        say(f"{name}: {', '.join(map(_label, profile.members))}")
    for experiment in effect.crossovers:
        say(f"experiment {experiment}: two variants were seen; the first counts", err=True)


def _identifier(tenant: TenantRow, type_: str, value: str) -> Identifier:
    return Naming(tenant).named(type_, value).identifier


def _label(identifier: Identifier) -> str:
    return f"{identifier.type} {identifier.value}"


def _decision(what: str, record: LinkRecord) -> str:
    return f"{what} by {_teller(record)}, {rfc3339(record.recorded_at)}"


def _teller(record: LinkRecord) -> str:
    """Return who recorded a link: the source that is named, and the key that acted."""
    key = f" (key {record.credential})" if record.credential else ""
    return f"{record.source or 'an unnamed source'}{key}"


def _link(link: Link) -> str:
    evidence = "; ".join(
        f"{record.rule} by {_teller(record)}, {record.confidence:g}, {rfc3339(record.recorded_at)}"
        for record in link.evidence
    )
    return f"{_label(link.a)} - {_label(link.b)}: {evidence}"
