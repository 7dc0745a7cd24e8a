"""`GET /api/v1/customers/{customerId}/unified-profile`: the call that all else is for.

It is answered without a framework in between: `Profiles.answer` is called by the application for this one path
directly, and by the ordinary route for what the short way does not match (HEAD, say).
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import msgspec

from portrait.access.service import READ, Access
from portrait.api.operation import Answer, Call, Operation, Parameter, check_query, decoded, flag_in, lines, query_of
from portrait.api.schemas import component
from portrait.model import errors
from portrait.model.time import Clock
from portrait.reads.profiles import Plan, Reader
from portrait.sections.base import Section, StoredSection
from portrait.sections.registry import Registry

PREFIX = "/api/v1/customers/"
SUFFIX = "/unified-profile"
MAX_PLANS = 1000
MAX_KEPT = 1024
"""The longest query whose plan is kept, in bytes: a query may name a section as often as fits."""

_ALWAYS = lines({"cache-control": "private, no-cache", "vary": "X-Tenant-Id, Authorization, X-API-Key"})
_ALWAYS_JSON = _ALWAYS + lines({"content-type": "application/json"})


def presented_key(headers: Mapping[str, str]) -> str | None:
    """Return the API key that a request presents; an empty key where `Authorization` does not say Bearer."""
    authorization = headers.get("authorization")
    if authorization is None:
        return headers.get("x-api-key")
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


class SectionError(msgspec.Struct):
    """Why a section is not shown: `data` is empty then."""

    code: str
    """`section_failed`, `source_failed`, `deadline_exceeded`, `circuit_open`, `section_busy` or `too_large`."""
    detail: str


class Profiles:
    """Answers unified profiles."""

    def __init__(self, access: Access, reader: Reader, registry: Registry, clock: Clock) -> None:
        self._access = access
        self._reader = reader
        self._registry = registry
        self._clock = clock
        self._plans: dict[tuple[str, bytes], Plan] = {}

    async def answer(self, segment: str, query_string: bytes, headers: Mapping[str, str]) -> Answer:
        """Answer a request.

        Args:
            segment: the customer id as it stands in the path.
            query_string: the query as sent.
            headers: the request's headers, names in lower case.
        """
        caller = await self._access.caller(presented_key(headers), headers.get("x-tenant-id"))
        self._access.require(caller, READ)
        assert caller.tenant is not None
        customer_id = decoded(segment, "customerId")
        tenant, secret = caller.tenant.id, caller.tenant.key_secret
        plan = self._plan(caller.role, query_string)
        if (known := headers.get("if-none-match")) is not None:
            unchanged = await self._reader.unchanged(tenant, customer_id, plan)
            if unchanged is not None and _matches(known, tag := _etag(unchanged[1], secret)):
                return Answer(304, b"", always=_ALWAYS + _lines(customer_id, unchanged[0], tag))
        profile = await self._reader.profile(tenant, customer_id, plan)
        etag = None if profile.contents is None else _etag(profile.contents, secret)
        sent = _lines(customer_id, profile.customer_id, etag)
        if known is not None and etag is not None and _matches(known, etag):
            return Answer(304, b"", always=_ALWAYS + sent)
        return Answer(200, profile.json(self._clock()), always=_ALWAYS_JSON + sent)

    async def handle(self, call: Call) -> Answer:
        """Answer a request that came by the ordinary route."""
        return await self.answer(call.raw_path("customerId"), call.query_string, call.headers)

    def _plan(self, role: str, query_string: bytes) -> Plan:
        plan = self._plans.get((role, query_string))
        if plan is None:
            check_query(query_string, ("sections", "losers"))
            query = query_of(query_string)
            asked = [value for name, value in query if name == "sections"]
            names = [name.strip() for value in asked for name in value.split(",")] if asked else None
            if names is not None and not all(names):
                raise errors.UnknownSection(
                    f"Query parameter `sections` holds an empty name. Valid names: {', '.join(self._registry.names())}."
                )
            plan = self._reader.plan(role, names, losers=flag_in(query, "losers"))
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            if len(query_string) <= MAX_KEPT:
                self._plans[role, query_string] = plan
        return plan

    def operations(self) -> list[Operation]:
        """Return the operation's declaration."""
        names = self._registry.names()
        return [
            Operation(
                id="get_unified_profile",
                method="GET",
                path=f"{PREFIX}{{customerId}}{SUFFIX}",
                summary="Return everything known about one customer, in named sections",
                description="Selective: only the requested sections are loaded. A section that fails, exceeds its "
                "deadline or is too large carries `error`; the others are whole.",
                tag="profile",
                handler=self.handle,
                roles=READ,
                success=200,
                answer=schema_of(self._registry),
                example=EXAMPLE,
                parameters=(
                    CUSTOMER_ID,
                    Parameter(
                        "sections", "query",
                        f"Comma-separated names of the sections to include, in the order wanted: {', '.join(names)}. "
                        "By default all are included.",
                        {"type": "string", "minLength": 1}, example=",".join(names[:2]),
                    ),
                    Parameter(
                        "losers", "query",
                        "Whether attributes also have `losers`: what other sources say last, the most preferred first. "
                        "Slower: rendered for this answer, without an ETag.",
                        {"type": "boolean", "default": False},
                    ),
                    Parameter(
                        "If-None-Match", "header", "The ETag of an earlier answer: 304 if the profile still has it.",
                        {"type": "string"},
                    ),
                ),
                fails=(
                    errors.InvalidParameter, errors.UnknownSection, errors.CustomerNotFound, errors.SectionForbidden,
                ),
                headers={
                    "ETag": "Weak; changes with the contents, and is keyed per tenant. Absent if a section is "
                    "computed or failed, or shows losers.",
                    "Content-Location": "The path of the surviving customer, if the requested id was merged away.",
                },
                also={304: "The profile still has the ETag of If-None-Match."},
            )
        ]  # fmt: skip


def schema_of(registry: Registry) -> dict[str, Any]:
    """Return the schema of a unified profile with a registry's sections."""
    return component(
        "UnifiedProfile",
        {
            "type": "object",
            "properties": {
                "customerId": {"type": "string"},
                "tenantId": {"type": "string"},
                "sections": {"type": "array", "items": {"oneOf": [_section_schema(section) for section in registry]}},
                "computedAt": {"type": "string", "format": "date-time"},
            },
            "required": ["customerId", "tenantId", "sections", "computedAt"],
            "additionalProperties": False,
        },
    )


def _section_schema(section: Section) -> dict[str, Any]:
    item: Any = section.shows if isinstance(section, StoredSection) else None
    properties: dict[str, Any] = {
        "name": {"type": "string", "const": section.name},
        "data": {"type": "array", "items": {"$type": item} if item is not None else {}},
        "error": {"$type": SectionError},
    }
    words = re.split("[_-]", section.name)
    return component(
        f"{''.join(word.capitalize() for word in words)}Section",
        {"type": "object", "properties": properties, "required": ["name", "data"], "additionalProperties": False},
    )


EXAMPLE = {
    "customerId": "CUST001",
    "tenantId": "my-tenant",
    "sections": [{"name": "identities", "data": [{"type": "email", "value": "john@example.com", "confidence": 1.0}]}],
    "computedAt": "2026-03-30T12:00:00.000Z",
}
"""A unified profile, as documentation shows one."""

CUSTOMER_ID = Parameter(
    "customerId", "path", "The customer's id, percent-encoded: up to 256 bytes of UTF-8 without control characters.",
    {"type": "string", "minLength": 1, "maxLength": 256}, required=True, example="CUST001",
)  # fmt: skip


def _etag(contents: bytes, secret: bytes) -> str:
    """Return the ETag of a profile's contents: keyed, so that nobody who sees it can test a guess."""
    return f'W/"{blake2b(contents, digest_size=16, key=secret, person=b"etag").hexdigest()}"'


def _lines(asked: str, survivor: str, etag: str | None) -> str:
    """Return the headers that depend on the profile, as `lines`."""
    tagged = "" if etag is None else f"etag: {etag}\r\n"
    if survivor == asked:
        return tagged
    return tagged + lines({"content-location": f"{PREFIX}{quote(survivor, safe='')}{SUFFIX}"})


def _matches(known: str, etag: str) -> bool:
    """Tell whether If-None-Match names an ETag, comparing weakly (RFC 9110, section 13.1.2)."""
    return known.strip() == "*" or etag.removeprefix("W/") in {
        tag.strip().removeprefix("W/") for tag in known.split(",")
    }
