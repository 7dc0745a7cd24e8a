"""Profiles by any identifier, without personal data in addresses; and in the shape of `/profiles`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from portrait.access.service import READ
from portrait.api.bodies import converted, taken, value
from portrait.api.errors import Problem, problem
from portrait.api.identity_actions import Named
from portrait.api.operation import Answer, Body, Call, Example, Operation, encode, json_answer
from portrait.api.profile import CUSTOMER_ID, EXAMPLE, SectionError, schema_of
from portrait.api.schemas import component
from portrait.model import errors
from portrait.model.identifier import Identifier, customer, name_fault
from portrait.model.time import Clock
from portrait.reads import several
from portrait.reads.owners import Owners
from portrait.reads.profiles import Plan, ProfileAnswer, Reader
from portrait.sections.registry import BUILT_IN, Registry
from portrait.writes.naming import Naming

PREFIX = "/api/v1/profiles/"
MAX_PROFILES = 100
"""The most profiles of one request."""
_JSON = {"content-type": "application/json"}


class Wanted(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Asks for the profile of whom an identifier belongs to; named by either `identifier` or `customerId`."""

    identifier: Named | msgspec.UnsetType = msgspec.UNSET
    customer_id: str | msgspec.UnsetType = msgspec.UNSET
    sections: list[str] | None = None
    """The sections to include, in the order wanted; all where left out."""


def _answer_schema(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of one profile, or of several, each with a status of its own."""
    outcome = component(
        "Found",
        {
            "type": "object",
            "description": "One of several requested profiles: the profile, or the problem.",
            "properties": {"status": {"type": "integer"}, "profile": profile, "problem": {"$type": Problem}},
            "required": ["status"],
        },
    )
    outcomes = component(
        "FoundAll",
        {
            "type": "object",
            "description": "Profiles, in the order of the request.",
            "properties": {"data": {"type": "array", "items": outcome}},
            "required": ["data"],
        },
    )
    return {"anyOf": [profile, outcomes]}


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
    errors: dict[str, SectionError] | msgspec.UnsetType = msgspec.UNSET
    """Why a section is not shown, by its name; absent where all sections are shown."""


class _Sought(NamedTuple):
    """A profile that is asked for: the identifier, and the sections."""

    identifier: Identifier
    plan: Plan
    by_id: bool
    """Whether it was named by its customer id."""

    def unknown(self) -> errors.PortraitError:
        """Return the error for an identifier that is nobody's."""
        return errors.CustomerNotFound() if self.by_id else errors.IdentifierNotFound()


class Lookup:
    """Answers profiles by any identifier."""

    def __init__(self, owners: Owners, reader: Reader, registry: Registry, clock: Clock) -> None:
        self._owners = owners
        self._reader = reader
        self._registry = registry
        self._clock = clock

    async def find(self, call: Call) -> Answer:
        """Answer one profile, or several, each with a status of its own."""
        call.media_type("application/json")
        sought = await taken(await call.body(), partial(self._read, call))
        if isinstance(sought, list):
            return await self._several(call, sought)
        tenant = call.tenant.id
        named = sought.identifier.value if sought.by_id else await self._owners.of(tenant, sought.identifier)
        profile = await self._reader.profile(tenant, named, sought.plan)
        return Answer(200, profile.json(self._clock()), _JSON)

    def _read(self, call: Call, body: bytes) -> "_Sought | list[_Sought | errors.PortraitError]":
        asked = value(body)
        if not isinstance(asked, list):
            return self._sought(call, asked)
        if not 1 <= len(asked) <= MAX_PROFILES:
            raise errors.InvalidRecord(f"An array names 1 to {MAX_PROFILES} profiles.")
        return [self._sought_or_wrong(call, request) for request in asked]

    async def _several(self, call: Call, sought: "Sequence[_Sought | errors.PortraitError]") -> Answer:
        wanted = [request for request in sought if isinstance(request, _Sought)]
        owners = await self._owners.of_each(call.tenant.id, {request.identifier for request in wanted})
        known = [
            several.ProfileAsked(owners[request.identifier], request.plan)
            for request in wanted
            if request.identifier in owners
        ]
        profiles = iter(await several.profiles(self._reader, call.tenant.id, known, several.MAX_ANSWER_BYTES))
        pieces: list[bytes] = []
        for request in sought:
            outcome: several.Outcome | errors.PortraitError | _Sought = request
            if isinstance(outcome, _Sought):
                outcome = next(profiles) if outcome.identifier in owners else outcome.unknown()
            pieces.append(b"," if pieces else b'{"data":[')
            if isinstance(outcome, ProfileAnswer):
                pieces += (b'{"status":200,"profile":', *outcome.pieces(self._clock()), b"}")
            else:
                status, _, body = problem(outcome, call.request_id)
                pieces.append(encode({"status": status, "problem": msgspec.Raw(body)}))
        return Answer(200, b"".join((*pieces, b"]}")), _JSON)

    def _sought_or_wrong(self, call: Call, asked: Any) -> "_Sought | errors.PortraitError":
        try:
            return self._sought(call, asked)
        except errors.PortraitError as error:
            return error

    def _sought(self, call: Call, asked: Any) -> "_Sought":
        wanted = converted(asked, Wanted)
        plan = self._reader.plan(call.caller.role, wanted.sections)
        if (wanted.identifier is msgspec.UNSET) == (wanted.customer_id is msgspec.UNSET):
            raise errors.InvalidRecord("Name a profile by either `identifier` or `customerId`.")
        if wanted.customer_id is not msgspec.UNSET:
            if fault := name_fault(wanted.customer_id):
                raise errors.InvalidRecord(f"Field `customerId` {fault}.")
            return _Sought(customer(wanted.customer_id), plan, by_id=True)
        assert wanted.identifier is not msgspec.UNSET
        named = Naming(call.tenant).named(wanted.identifier.type, wanted.identifier.value)
        return _Sought(named.identifier, plan, by_id=False)

    async def flat(self, call: Call) -> Answer:
        """Answer one profile in short."""
        plan = self._reader.plan(call.caller.role, None)
        asked = call.path("customerId")
        profile = await self._reader.profile(call.tenant.id, asked, plan)
        survivor = profile.customer_id
        located = {} if survivor == asked else {"content-location": f"{PREFIX}{quote(survivor, safe='')}"}
        whole = msgspec.json.decode(profile.json(self._clock()))
        data: Mapping[str, list[dict[str, Any]]] = {section["name"]: section["data"] for section in whole["sections"]}
        identities: dict[str, str] = {}
        for identity in data.get("identities", []):
            identities.setdefault(identity["type"], identity["value"])
        answer = json_answer(
            FlatProfile(
                whole["customerId"],
                {name: records[0] for name, records in data.items() if name not in BUILT_IN and records},
                [segment["segmentName"] for segment in data.get("segments", [])],
                [
                    RecentInteraction(interaction["offerId"], interaction["interactionType"], interaction["timestamp"])
                    for interaction in data.get("interactions", [])
                ],
                identities,
                {
                    section["name"]: SectionError(**section["error"])
                    for section in whole["sections"]
                    if "error" in section
                }
                or msgspec.UNSET,
            )
        )
        return answer._replace(headers={**answer.headers, **located})

    def operations(self) -> list[Operation]:
        """Return the operations' declarations."""
        named = {"identifier": {"type": "email", "value": "john@example.com"}, "sections": ["identities"]}
        array = {"type": "array", "minItems": 1, "maxItems": MAX_PROFILES, "items": {"$type": Wanted}}
        fails = (
            errors.MalformedJson, errors.UnsupportedMediaType, errors.BodyTooLarge, errors.BodyTooSlow,
            errors.InvalidRecord, errors.UnknownSection, errors.SectionForbidden, errors.CustomerNotFound,
            errors.IdentifierNotFound, errors.BlockedIdentifier, errors.UnknownIdentifierType,
        )  # fmt: skip
        return [
            Operation(
                id="find_unified_profile", method="POST", path="/api/v1/unified-profile", tag="profile",
                handler=self.find, roles=READ, success=200, fails=fails,
                summary="Return everything known about the customer of an identifier",
                description="The answer is that of the unified profile. Identifiers go in the body, so that no "
                f"address holds personal data. An array of up to {MAX_PROFILES} is answered in order, each with its "
                "own status and either `profile` or `problem`. The profiles of one answer have at most "
                f"{several.MAX_ANSWER_BYTES} bytes together: each profile beyond that is answered with "
                "`answer_too_large`; request it separately. The deadline of a computed section counts for all "
                "profiles of an answer together.",
                answer=_answer_schema(schema_of(self._registry)), example=EXAMPLE,
                body=Body({"application/json": {"anyOf": [{"$type": Wanted}, array]}}, {"application/json": named},
                          {"one": Example(named), "several": Example([named, {"customerId": "CUST002"}])}),
            ),
            Operation(
                id="get_profile", method="GET", path=f"{PREFIX}{{customerId}}", tag="profile",
                handler=self.flat, roles=READ, success=200, answer=FlatProfile, parameters=(CUSTOMER_ID,),
                summary="Return a short profile of a customer",
                description="The surest identifier of each type, the segments' names, the newest interactions, and "
                "of each further section its first record.",
                example={"customerId": "CUST001", "schemas": {}, "segments": ["High Value"],
                         "recentInteractions": [{"offerId": "off_001", "interactionType": "impression",
                                                 "timestamp": "2026-03-28T10:30:00Z"}],
                         "identities": {"email": "john@example.com"}},
                headers={
                    "Content-Location": "The path of the surviving customer, if the requested id was merged away.",
                },
                fails=(errors.InvalidParameter, errors.CustomerNotFound),
            ),
        ]  # fmt: skip
