"""Profiles by any identifier, without personal data in addresses; and in the shape of `/profiles`."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from portrait.access.service import READ
from portrait.api.bodies import converted
from portrait.api.errors import Problem, problem
from portrait.api.identity import Named
from portrait.api.operation import Answer, Body, Call, Operation, json_answer
from portrait.api.profile import CUSTOMER_ID
from portrait.identifying import Identities
from portrait.ingest.records import Parser
from portrait.model import errors, strict_json
from portrait.model.identifier import name_fault
from portrait.model.time import Clock
from portrait.reading import Reader
from portrait.sections.registry import BUILT_IN, Registry

PREFIX = "/api/v1/profiles/"
MAX_PROFILES = 100
"""The most profiles of one request."""


class Wanted(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Asks for the profile of whom an identifier belongs to; named by either `identifier` or `customerId`."""

    identifier: Named | msgspec.UnsetType = msgspec.UNSET
    customer_id: str | msgspec.UnsetType = msgspec.UNSET
    sections: list[str] | None = None
    """The sections to include, in the order wanted; all where left out."""


class Found(msgspec.Struct):
    """One of several profiles asked for: the profile, or what was wrong."""

    status: int
    profile: dict[str, Any] | msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    problem: Problem | msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class FoundAll(msgspec.Struct):
    """Profiles, in the order in which they were asked for."""

    data: list[Found]


class RecentInteraction(msgspec.Struct, rename="camel"):
    """One of the newest interactions, in short."""

    offer_id: str | None
    interaction_type: str
    timestamp: str


class FlatProfile(msgspec.Struct, rename="camel"):
    """A customer in short: the surest identifier of each type, segments by name, and further sections by name."""

    customer_id: str
    schemas: dict[str, dict[str, Any]]
    segments: list[str]
    recent_interactions: list[RecentInteraction]
    identities: dict[str, str]


class Lookup:
    """Answers profiles by any identifier."""

    def __init__(self, identities: Identities, reader: Reader, registry: Registry, clock: Clock) -> None:
        self._identities = identities
        self._reader = reader
        self._registry = registry
        self._clock = clock

    async def find(self, call: Call) -> Answer:
        """Answer one profile, or several, each with a status of its own."""
        call.media_type("application/json")
        body = await call.body()
        strict_json.check(body)
        asked = strict_json.decode(body)
        if not isinstance(asked, list):
            return Answer(200, await self._profile(call, asked), {"content-type": "application/json"})
        if not 1 <= len(asked) <= MAX_PROFILES:
            raise errors.InvalidRecord(f"An array names 1 to {MAX_PROFILES} profiles.")
        return json_answer(FoundAll([await self._each(call, one) for one in asked]))

    async def _each(self, call: Call, asked: Any) -> Found:
        try:
            return Found(200, profile=msgspec.Raw(await self._profile(call, asked)))
        except errors.Unavailable:
            raise
        except errors.PortraitError as error:
            status, _, body = problem(error, call.request_id)
            return Found(status, problem=msgspec.Raw(body))

    async def _profile(self, call: Call, asked: Any) -> bytes:
        wanted = converted(asked, Wanted)
        plan = self._reader.plan(call.caller.role, wanted.sections)
        customer_id = await self._customer_id(call, wanted)
        return (await self._reader.profile(call.tenant.id, customer_id, plan)).json(self._clock())

    async def _customer_id(self, call: Call, wanted: Wanted) -> str:
        if (wanted.identifier is msgspec.UNSET) == (wanted.customer_id is msgspec.UNSET):
            raise errors.InvalidRecord("Name a profile by either `identifier` or `customerId`.")
        if wanted.customer_id is not msgspec.UNSET:
            if fault := name_fault(wanted.customer_id):
                raise errors.InvalidRecord(f"Field `customerId` {fault}.")
            return wanted.customer_id
        assert wanted.identifier is not msgspec.UNSET
        named = Parser(call.tenant, None).named(wanted.identifier.type, wanted.identifier.value)
        return await self._identities.resolve(call.tenant.id, named.identifier)

    async def flat(self, call: Call) -> Answer:
        """Answer one profile in short."""
        plan = self._reader.plan(call.caller.role, None)
        asked = call.path("customerId")
        profile = await self._reader.profile(call.tenant.id, asked, plan)
        survivor = profile.customer_id
        located = {} if survivor == asked else {"content-location": f"{PREFIX}{quote(survivor, safe='')}"}
        whole = msgspec.json.decode(profile.json(self._clock()))
        data: Mapping[str, list[dict[str, Any]]] = {one["name"]: one["data"] for one in whole["sections"]}
        identities: dict[str, str] = {}
        for one in data.get("identities", []):
            identities.setdefault(one["type"], one["value"])
        answer = json_answer(
            FlatProfile(
                whole["customerId"],
                {name: records[0] for name, records in data.items() if name not in BUILT_IN and records},
                [one["segmentName"] for one in data.get("segments", [])],
                [
                    RecentInteraction(one["offerId"], one["interactionType"], one["timestamp"])
                    for one in data.get("interactions", [])
                ],
                identities,
            )
        )
        return answer._replace(headers={**answer.headers, **located})

    def operations(self) -> list[Operation]:
        """Return the operations' declarations."""
        named = {"identifier": {"type": "email", "value": "john@example.com"}, "sections": ["identities"]}
        profile = {
            "customerId": "CUST001", "tenantId": "my-tenant", "computedAt": "2026-03-30T12:00:00.000Z",
            "sections": [{"name": "identities",
                          "data": [{"type": "email", "value": "john@example.com", "confidence": 1.0}]}],
        }  # fmt: skip
        several = {"type": "array", "minItems": 1, "maxItems": MAX_PROFILES, "items": {"$type": Wanted}}
        fails = (
            errors.MalformedJson, errors.UnsupportedMediaType, errors.BodyTooLarge, errors.BodyTooSlow,
            errors.InvalidRecord, errors.UnknownSection, errors.SectionForbidden, errors.CustomerNotFound,
            errors.IdentifierNotFound, errors.BlockedIdentifier, errors.UnknownIdentifierType,
        )  # fmt: skip
        return [
            Operation(
                id="find_unified_profile", method="POST", path="/api/v1/unified-profile", tag="profile",
                handler=self.find, roles=READ, success=200, fails=fails,
                summary="Return everything known about whom an identifier belongs to",
                description="The answer is that of the unified profile. Identifiers go in the body, so that no "
                f"address holds personal data. An array of up to {MAX_PROFILES} is answered in order, each with its "
                "own status and either `profile` or `problem`.",
                answer={"anyOf": [{"type": "object", "title": "UnifiedProfile"}, {"$type": FoundAll}]},
                example=profile,
                body=Body({"application/json": {"anyOf": [{"$type": Wanted}, several]}}, {"application/json": named}),
            ),
            Operation(
                id="get_profile", method="GET", path=f"{PREFIX}{{customerId}}", tag="profile",
                handler=self.flat, roles=READ, success=200, answer=FlatProfile, parameters=(CUSTOMER_ID,),
                summary="Return a customer in short",
                description="The surest identifier of each type, the segments' names, the newest interactions, and "
                "of each further section its first record.",
                example={"customerId": "CUST001", "schemas": {}, "segments": ["High Value"],
                         "recentInteractions": [{"offerId": "off_001", "interactionType": "impression",
                                                 "timestamp": "2026-03-28T10:30:00Z"}],
                         "identities": {"email": "john@example.com"}},
                headers={
                    "Content-Location": "The surviving customer's path, where the id asked for was merged away.",
                },
                fails=(errors.InvalidParameter, errors.CustomerNotFound),
            ),
        ]  # fmt: skip
