"""`/api/v1/identity`: who is who, joining and parting, and why."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from portrait.access.service import READ, WRITE, Access
from portrait.api import pages
from portrait.api.bodies import chosen, one_of
from portrait.api.identity_actions import (
    ACTIONS,
    EXAMPLES,
    PREVIEWED,
    Accept,
    AllowLink,
    CannotLink,
    LinkIdentifiers,
    MergeCustomers,
    Move,
    Named,
    Preview,
    Reject,
    Resolve,
    Unlink,
    Unmerge,
)  # fmt: skip
from portrait.api.operation import MAX_BODY, Answer, Body, Call, Moment, Operation, Parameter, encode, json_answer
from portrait.api.records import SOURCE
from portrait.api.schemas import component
from portrait.identity.graph import Link, LinkRecord, Merge, Profile
from portrait.identity.rules import DEFAULT, WORDS, Reason, view
from portrait.ingest.records import Parser, check_source
from portrait.model import errors
from portrait.model.identifier import Identifier, name_fault
from portrait.model.time import rfc3339
from portrait.reads.identity import Apart, Candidate, Explainer, Explanation, Waiting, Why
from portrait.reads.owners import Owners
from portrait.sections.registry import Registry
from portrait.storage.contract import TenantRow
from portrait.writes.effects import Effect
from portrait.writes.identities import Identities
from portrait.writes.incoming import Incoming
from portrait.writes.naming import Naming
from portrait.writes.tenant_rules import TenantRules

ADMIN = frozenset({"admin"})
MAX_GONE_THROUGH = 2000
"""A page of candidates ends after a search of so many identifiers, however few candidates it has."""
MAX_EXPLAINED_BYTES = 2**20
"""A page of an explanation ends after so many bytes; it has at least one element of each list."""


class ShownIdentifier(msgspec.Struct):
    """An identifier of a customer's."""

    type: str
    value: str
    confidence: float


class Cluster(msgspec.Struct, rename="camel"):
    """A customer's identifiers, the surest first."""

    canonical_id: str
    identifiers: list[ShownIdentifier]


class ClusterAnswer(msgspec.Struct, rename="camel"):
    """A customer and its identifiers."""

    customer_id: str
    cluster: Cluster


class ShownProfile(msgspec.Struct, rename="camel"):
    """Identifiers that are one person; without a customer id they belong to nobody."""

    customer_id: str | None
    identifiers: list[Named]


class ShownEffect(msgspec.Struct, rename="camel"):
    """What an action does, or would do."""

    success: bool
    before: list[ShownProfile]
    after: list[ShownProfile]
    crossovers: list[str]
    """Experiments in which one customer has now had two variants: the first exposure counts."""


class Resolved(msgspec.Struct, rename="camel"):
    """The customer that an identifier belongs to."""

    canonical_id: str


Credential = str | None
"""The id of the key that acted; null for a record or matching, on the command line, and while all are let in."""


class Evidence(msgspec.Struct, rename="camel"):
    """What one source says of a link."""

    source: str | None
    credential: Credential
    rule: str
    confidence: float
    effective_at: Moment
    recorded_at: Moment


class ShownLink(msgspec.Struct, rename="camel"):
    """One link of a path."""

    identifiers: list[Named]
    confidence: float
    since: Moment
    evidence: list[Evidence]


class Reasoned(ShownIdentifier):
    """An identifier of a customer's, and the links that lead to it."""

    path: list[ShownLink]


class ShownMerge(msgspec.Struct, rename="camel"):
    """One time that two customers became one."""

    source_id: str
    target_id: str
    at: Moment
    rule: str
    source: str | None
    credential: Credential
    identifiers: list[Named]


class ShownApart(msgspec.Struct, rename="camel"):
    """Two identifiers that are not to be one person, and who said so."""

    identifiers: list[Named]
    rule: str
    source: str | None
    credential: Credential
    recorded_at: Moment


class ShownCandidate(msgspec.Struct, rename="camel"):
    """A link that a rule refused, or that matching is not sure of, waiting for review."""

    identifier: Named
    other: Named
    reason: str
    detail: str
    source: str | None
    confidence: float
    recorded_at: Moment


class ListedCandidate(ShownCandidate):
    """A candidate, and whose its two ends are; one that is nobody's has no customer id."""

    customer_id: str
    other_customer_id: str | None


class ExplanationAnswer(msgspec.Struct, rename="camel"):
    """Why a customer's identifiers are one person, and what is known beside."""

    customer_id: str
    identifiers: list[Reasoned]
    merges: list[ShownMerge]
    apart: list[ShownApart]
    candidates: list[ShownCandidate]
    crossovers: list[str]
    pagination: pages.Pagination


class IdentityResource:
    """Answers the routes of identity."""

    def __init__(
        self,
        owners: Owners,
        identities: Identities,
        rules: TenantRules,
        explainer: Explainer,
        access: Access,
        registry: Registry,
    ) -> None:
        self._owners = owners
        self._identities = identities
        self._rules = rules
        self._explainer = explainer
        self._access = access
        self._section = registry.stored("identities")

    async def cluster(self, call: Call) -> Answer:
        """Show a customer's identifiers."""
        customer_id = _asked(call)
        survivor, members = await self._explainer.cluster(call.tenant.id, customer_id)
        identifiers = [ShownIdentifier(**msgspec.structs.asdict(member.record)) for member in members]
        return json_answer(ClusterAnswer(customer_id, Cluster(survivor, identifiers)))

    async def act(self, call: Call) -> Answer:
        """Act on the graph, or tell what an action would do."""
        asked = await one_of(call, "action", ACTIONS)
        if isinstance(asked, Resolve):
            identifier = _identifier(call.tenant, asked.identifier)
            return json_answer(Resolved(await self._owners.of(call.tenant.id, identifier)))
        if isinstance(asked, Preview):
            return json_answer(_effect(await self._do(call, chosen(asked.of, "action", PREVIEWED), dry=True)))
        return json_answer(_effect(await self._do(call, asked, dry=False)))

    async def _do(self, call: Call, asked: Any, *, dry: bool) -> Effect:
        check_source(asked.source)
        tenant, by = call.tenant, asked.source or SOURCE
        more: Any = {"credential": call.caller.key_id, "dry": dry}
        match asked:
            case LinkIdentifiers():
                incoming = self._evidence(tenant, by, "canonicalId", asked.canonical_id, asked, asked.identifiers)
                return await self._identities.link(tenant.id, incoming, **more)
            case Move():
                incoming = self._evidence(tenant, by, "targetId", asked.target_id, asked, [asked.identifier])
                return await self._identities.move(tenant.id, asked.source_id, asked.target_id, incoming, by, **more)
            case Unlink():
                identifier = _identifier(tenant, asked.identifier)
                return await self._identities.unlink(tenant.id, asked.canonical_id, identifier, by, **more)
            case MergeCustomers():
                return await self._identities.merge(tenant.id, asked.target_id, asked.source_id, by, **more)
            case Unmerge():
                return await self._identities.unmerge(tenant.id, asked.target_id, asked.source_id, by, **more)
            case _:
                a, b = (_identifier(tenant, named) for named in (asked.identifier, asked.other))
                decide = {
                    Accept: self._identities.accept,
                    Reject: self._identities.reject,
                    CannotLink: self._identities.keep_apart,
                    AllowLink: self._identities.allow,
                }[type(asked)]
                return await decide(tenant.id, a, b, by, **more)

    def _evidence(
        self,
        tenant: TenantRow,
        by: str,
        field: str,
        customer_id: str,
        asked: LinkIdentifiers | Move,
        named: Sequence[Named],
    ) -> Sequence[Incoming]:
        """Return the identity records that an action makes of a customer."""
        if fault := name_fault(customer_id):
            raise errors.InvalidRecord(f"Field `{field}` {fault}.")
        records = [
            {"type": identifier.type, "value": identifier.value, "confidence": asked.confidence} for identifier in named
        ]
        return Parser(tenant, by).records(msgspec.json.encode(records), customer_id, self._section)

    async def explain(self, call: Call) -> Answer:
        """Show why a customer's identifiers are one person."""
        begin, limit = pages.position(call, pages.Offset) or 0, call.limit()
        explanation = await self._explainer.explain(call.tenant.id, _asked(call))
        return json_answer(_explained(explanation, begin, limit))

    async def candidates(self, call: Call) -> Answer:
        """List what waits for review."""
        limit = call.limit()
        waiting: list[Waiting] = []
        cursor: tuple[str, int, bytes] | None = None
        gone_through = 0
        async for some in self._explainer.waiting(call.tenant.id, pages.position(call, tuple[str, pages.Int64, bytes])):
            waiting += some.waiting
            gone_through += some.identifiers
            cursor = waiting[limit - 1].cursor if len(waiting) > limit else (some.last, 2**63 - 1, b"")
            if len(waiting) > limit or gone_through >= MAX_GONE_THROUGH:
                break
        else:
            cursor = None
        return json_answer(pages.up_to(cursor, [_listed(candidate) for candidate in waiting[:limit]]))

    async def rules(self, call: Call) -> Answer:
        """Show the tenant's rules."""
        return json_answer(view(await self._rules.get(call.tenant.id)))

    async def set_rules(self, call: Call) -> Answer:
        """Set the tenant's rules."""
        call.media_type("application/json")
        made = await self._rules.set(call.tenant.id, await call.body())
        self._access.changed(call.tenant.id)
        return json_answer(view(made))

    def operations(self) -> list[Operation]:
        """Return the operations' declarations."""
        body_fails = (
            errors.MalformedJson, errors.UnsupportedMediaType, errors.BodyTooLarge, errors.BodyTooSlow,
            errors.InvalidRecord, errors.InvalidParameter,
        )  # fmt: skip
        email = {"type": "email", "value": "john@example.com"}
        profile = {"customerId": "CUST001", "identifiers": [{"type": "customer_id", "value": "CUST001"}, email]}
        effect = {"success": True, "before": [profile], "after": [profile], "crossovers": []}
        actions = [{"$type": action} for action in ACTIONS.values()]
        rules = view(DEFAULT)
        return [
            Operation(
                id="get_identity", method="GET", path="/api/v1/identity", tag="identity", handler=self.cluster,
                roles=READ, summary="Show a customer's identifiers, the surest first", success=200,
                answer=ClusterAnswer, parameters=(_CUSTOMER,), fails=(errors.InvalidParameter, errors.CustomerNotFound),
                example={"customerId": "CUST001",
                         "cluster": {"canonicalId": "CUST001", "identifiers": [{**email, "confidence": 1.0}]}},
            ),
            Operation(
                id="act_on_identity", method="POST", path="/api/v1/identity", tag="identity", handler=self.act,
                roles=WRITE, success=200,
                summary="Resolve, link, unlink, move, merge, unmerge, accept, reject, keep apart, or preview one",
                description="`action` names the action. The answer has the profiles before and after; `preview` "
                "gives the same answer and changes nothing. If a rule of the tenant refuses a link, the answer is 409 "
                f"and its `reason` names the rule. A body has at most {MAX_BODY} bytes.",
                answer={"anyOf": [{"$type": kind} for kind in (ShownEffect, Resolved)]}, example=effect,
                body=Body({"application/json": {"anyOf": actions}},
                          {"application/json": EXAMPLES["link"].value}, EXAMPLES),
                fails=(*body_fails, errors.CustomerNotFound, errors.IdentifierNotFound, errors.LinkRefused,
                       errors.SectionTooLarge, errors.NotMerged, errors.StillMerged, errors.SelfLink,
                       errors.BlockedIdentifier, errors.UnknownIdentifierType),
            ),
            Operation(
                id="explain_identity", method="GET", path="/api/v1/identity/explain", tag="identity",
                handler=self.explain, roles=READ, summary="Say why a customer's identifiers are one person",
                description="For each identifier the surest path of links to it, with the evidence for each link; "
                "the merges that hold; the bans, and who set them; the links that wait for review. A page has "
                "up to `limit` items of each list, and fewer where the lists are long.",
                success=200, answer=ExplanationAnswer, parameters=(_CUSTOMER, *pages.PARAMETERS),
                fails=(errors.InvalidParameter, errors.CustomerNotFound),
                example={"customerId": "CUST001", "identifiers": [], "merges": [], "apart": [], "candidates": [],
                         "crossovers": [], "pagination": {"cursor": None, "hasMore": False}},
            ),
            Operation(
                id="list_candidates", method="GET", path="/api/v1/identity/candidates", tag="identity",
                handler=self.candidates, roles=READ, summary="List the links that wait for review", success=200,
                description="For all customers, by customer id, the oldest first. A page ends after about "
                f"{MAX_GONE_THROUGH} identifiers: it may have few links, or none, although `hasMore` is true.",
                answer=pages.Page[ListedCandidate], parameters=pages.PARAMETERS,
                fails=(errors.InvalidParameter,),
                example={
                    "data": [{"identifier": {"type": "customer_id", "value": "CUST001"}, "other": email,
                              "reason": Reason.UNIQUE_TYPE, "detail": WORDS[Reason.UNIQUE_TYPE], "source": "crm",
                              "confidence": 1.0, "recordedAt": "2026-03-28T10:30:02Z", "customerId": "CUST001",
                              "otherCustomerId": "CUST002"}],
                    "pagination": {"cursor": None, "hasMore": False},
                },
            ),
            Operation(
                id="get_identity_rules", method="GET", path="/api/v1/identity/rules", tag="identity",
                handler=self.rules, roles=READ, summary="Show the tenant's identity rules", success=200,
                answer=_RULES, example=rules,
            ),
            Operation(
                id="set_identity_rules", method="PUT", path="/api/v1/identity/rules", tag="identity",
                handler=self.set_rules, roles=ADMIN, summary="Set the tenant's identity rules", success=200,
                description="Rules that are left out have their defaults. New rules apply to records from now on; "
                "earlier decisions stay.", answer=_RULES, example=rules,
                body=Body({"application/json": _RULES},
                          {"application/json": {"types": {"loyalty_card": {"priority": 15, "limit": 3}}}}),
                fails=(errors.UnsupportedMediaType, errors.BodyTooLarge, errors.BodyTooSlow, errors.InvalidRules,
                       errors.MalformedJson),
            ),
        ]  # fmt: skip


_RULES = component("IdentityRules", {"type": "object", "description": "A tenant's rules: see the reference."})

_CUSTOMER = Parameter(
    "customerId", "query", "The customer's id: up to 256 bytes of UTF-8 without control characters.",
    {"type": "string", "minLength": 1, "maxLength": 256}, required=True, example="CUST001",
)  # fmt: skip


def _asked(call: Call) -> str:
    customer_id = call.query("customerId")
    fault = "is required" if customer_id is None else name_fault(customer_id)
    if customer_id is None or fault:
        raise errors.InvalidParameter(f"Query parameter `customerId` {fault}.")
    return customer_id


def _identifier(tenant: TenantRow, named: Named) -> Identifier:
    return Naming(tenant).named(named.type, named.value).identifier


def _effect(effect: Effect) -> ShownEffect:
    return ShownEffect(
        success=True,
        before=[_profile(profile) for profile in effect.before],
        after=[_profile(profile) for profile in effect.after],
        crossovers=list(effect.crossovers),
    )


def _profile(profile: Profile) -> ShownProfile:
    return ShownProfile(profile.customer_id, [Named(*member) for member in profile.members])


def _explained(explanation: Explanation, begin: int, limit: int) -> ExplanationAnswer:
    """Return a page: up to `limit` elements of each list from `begin` on, fewer where they are too long together."""
    lists: dict[str, tuple[Sequence[Any], Callable[[Any], Any]]] = {
        "identifiers": (explanation.why, _reasoned), "merges": (explanation.merges, _merge),
        "apart": (explanation.apart, _apart), "candidates": (explanation.candidates, _candidate),
        "crossovers": (explanation.crossovers, str),
    }  # fmt: skip
    page: dict[str, list[Any]] = {name: [] for name in lists}
    end, size = begin, 0
    while end < begin + limit:
        row = {name: [show(part) for part in some[end : end + 1]] for name, (some, show) in lists.items()}
        size += len(encode(row))
        if end > begin and size > MAX_EXPLAINED_BYTES:
            break
        for name, items in row.items():
            page[name] += items
        end += 1
    more = any(len(some) > end for some, _ in lists.values())
    return ExplanationAnswer(explanation.customer_id, **page, pagination=pages.ended(end if more else None))


def _reasoned(why: Why) -> Reasoned:
    return Reasoned(**msgspec.structs.asdict(why.identified.record), path=[_link(link) for link in why.path])


def _merge(merge: Merge) -> ShownMerge:
    named = [Named(*merge.link.a), Named(*merge.link.b)]
    evidence, since = merge.first_evidence, rfc3339(merge.link.since)
    return ShownMerge(merge.source, merge.into, since, evidence.rule, evidence.source, evidence.credential, named)


def _apart(apart: Apart) -> ShownApart:
    evidence = apart.record
    return ShownApart(
        [Named(*apart.a), Named(*apart.b)],
        evidence.rule,
        evidence.source,
        evidence.credential,
        rfc3339(evidence.recorded_at),
    )


def _link(link: Link) -> ShownLink:
    evidence = [_evidence(record) for record in link.evidence]
    return ShownLink([Named(*link.a), Named(*link.b)], float(link.confidence), rfc3339(link.since), evidence)


def _evidence(record: LinkRecord) -> Evidence:
    return Evidence(
        record.source,
        record.credential,
        record.rule,
        float(record.confidence),
        rfc3339(record.at),
        rfc3339(record.recorded_at),
    )


def _listed(waiting: Waiting) -> ListedCandidate:
    candidate = msgspec.structs.asdict(_candidate(waiting.candidate))
    return ListedCandidate(**candidate, customer_id=waiting.customer_id, other_customer_id=waiting.other_id)


def _candidate(candidate: Candidate) -> ShownCandidate:
    evidence = candidate.record
    return ShownCandidate(
        Named(*candidate.a), Named(candidate.b.type, evidence.value), candidate.reason, WORDS[candidate.reason],
        evidence.source, float(evidence.confidence), rfc3339(evidence.recorded_at),
    )  # fmt: skip
