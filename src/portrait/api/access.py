"""Tenants and API keys."""

from typing import Annotated, Literal

import msgspec

from portrait.access import grants
from portrait.access.grants import COLLECTOR, EVENTS_PER_SECOND, MAX_EVENTS_PER_SECOND
from portrait.access.service import ADMIN_OR_PLATFORM, PLATFORM, PLATFORM_ONLY, TENANT_ID, Access
from portrait.api import pages
from portrait.api.bodies import decoded
from portrait.api.operation import (
    DEFAULT_LIMIT,
    Answer,
    AnswerField,
    Body,
    Call,
    Moment,
    Operation,
    Parameter,
    Step,
    json_answer,
)
from portrait.model import errors, time
from portrait.model.identifier import name_fault
from portrait.storage.contract import Credential
from portrait.storage.contract import TenantRow as StoredTenant


class NewTenant(msgspec.Struct, forbid_unknown_fields=True):
    """A tenant to make."""

    id: Annotated[str, msgspec.Meta(pattern=f"^{TENANT_ID.pattern}$", examples=["my-tenant"])]
    name: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    region: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$", examples=["GB"])] | None = None
    """Where phone numbers without + and a country's code are from; it can be set only before the first record."""


class Tenant(msgspec.Struct, rename="camel"):
    """A tenant: one company's space."""

    id: str
    name: str
    created_at: Moment


class NewKey(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """An API key to make. Without `expiresAt` it ends with the key that makes it."""

    role: Literal["viewer", "editor", "admin", "collector"]
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    expires_at: Moment | None = None
    source: str | msgspec.UnsetType = msgspec.UNSET
    """Of a write key, whose role is `collector`: the name of its source."""
    private: bool | msgspec.UnsetType = msgspec.UNSET
    """Of a write key: whether it stays on servers; if not, its word counts least, and its source gets `public:`."""
    origins: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Of a write key: the origins of the web pages that may send with it; any where left out."""
    events_per_second: Annotated[int, msgspec.Meta(ge=1, le=MAX_EVENTS_PER_SECOND)] | msgspec.UnsetType = msgspec.UNSET
    """Of a write key: the most events a second and process; 1000 where left out."""


class Key(msgspec.Struct, rename="camel"):
    """An API key, without its secret."""

    id: str
    role: str
    name: str
    last_four: str
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    minted_by: str | None
    """The id of the key that made it; `platform` for a key of the platform's; null where no key made it."""
    last_used_at: Moment | None
    """The last use that was noted; uses are noted every 10 minutes at most. Null where no use was noted."""
    source: str | msgspec.UnsetType = msgspec.UNSET
    """Of a write key: the name of its source, as facts have it."""
    origins: list[str] | msgspec.UnsetType = msgspec.UNSET
    events_per_second: int | msgspec.UnsetType = msgspec.UNSET


class NewKeyAnswer(Key, rename="camel", kw_only=True):
    """An API key, in the clear this once."""

    key: str


class AccessResources:
    """Answers the routes of tenants and keys."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def operations(self) -> list[Operation]:
        """Return the operations' declarations."""
        body_fails = (
            errors.MalformedJson, errors.UnsupportedMediaType, errors.BodyTooLarge, errors.BodyTooSlow,
            errors.InvalidRecord, errors.InvalidParameter,
        )  # fmt: skip
        tenant = {"id": "shop", "name": "The shop", "createdAt": "2026-01-01T00:00:00Z"}
        key = {
            "id": "4kXo2Qm7Ra1Z", "role": "viewer", "name": "website", "lastFour": "x8Qf",
            "createdAt": "2026-01-01T00:00:00Z", "expiresAt": None, "revokedAt": None,
            "mintedBy": "9fTb3Wc8Kd2Y", "lastUsedAt": "2026-03-01T12:00:00Z",
        }  # fmt: skip
        last = {"cursor": None, "hasMore": False}
        return [
            Operation(
                id="create_tenant", method="POST", path="/api/v1/tenants", summary="Make a tenant", tag="access",
                handler=self.create_tenant, roles=PLATFORM_ONLY, needs_tenant=False, success=201, answer=Tenant,
                example=tenant, fails=(*body_fails, errors.TenantExists),
                body=Body({"application/json": {"$type": NewTenant}},
                          {"application/json": {"id": "shop", "name": "The shop"}}),
                description="With a key of the platform's (`portrait key create --platform`).",
            ),
            Operation(
                id="list_tenants", method="GET", path="/api/v1/tenants", summary="List the tenants, by id",
                tag="access", handler=self.list_tenants, roles=PLATFORM_ONLY, needs_tenant=False, success=200,
                answer=pages.Page[Tenant], example={"data": [tenant], "pagination": last},
                parameters=pages.PARAMETERS, fails=(errors.InvalidParameter,),
            ),
            Operation(
                id="create_key", method="POST", path="/api/v1/keys", summary="Make an API key", tag="access",
                handler=self.create_key, roles=ADMIN_OR_PLATFORM, success=201, answer=NewKeyAnswer,
                example={**key, "key": "portrait_4kXo2Qm7Ra1Z_…"}, fails=body_fails,
                body=Body({"application/json": {"$type": NewKey}}, {"application/json": {"role": "viewer"}}),
                description="The key is shown this once; only a hash of it is kept. It cannot outlive the key that"
                " makes it: without `expiresAt` both end together, and a later `expiresAt` is refused. A platform key"
                " may make keys of every tenant and role, and so gives its holder access to every tenant's customers; a"
                " tenant's list shows which of its keys the platform made.",
            ),
            Operation(
                id="list_keys", method="GET", path="/api/v1/keys", summary="List the tenant's API keys, by id",
                tag="access", handler=self.list_keys, roles=ADMIN_OR_PLATFORM, success=200, answer=pages.Page[Key],
                example={"data": [key], "pagination": last},
                parameters=(
                    *pages.PARAMETERS,
                    Parameter("mintedBy", "query",
                              "A key's id: list only the keys that it minted, directly or in turn.",
                              {"type": "string", "minLength": 1}, example="9fTb3Wc8Kd2Y"),
                ),
                fails=(errors.InvalidParameter,),
            ),
            Operation(
                id="revoke_key", method="DELETE", path="/api/v1/keys/{keyId}", summary="Revoke an API key",
                tag="access", handler=self.revoke_key, roles=ADMIN_OR_PLATFORM, success=200, answer=pages.Page[Key],
                example={"data": [{**key, "mintedBy": "4kXo2Qm7Ra1Z", "id": "2pLs6Vn1Hg4X"}], "pagination": last},
                parameters=(
                    Parameter("keyId", "path", "The key's id.", {"type": "string", "minLength": 1}, required=True,
                              example="4kXo2Qm7Ra1Z",
                              answer_field=AnswerField(Step("/api/v1/keys", {"role": "viewer"}), "id")),
                    Parameter("descendants", "query", "Whether to revoke the keys that it minted too, directly or in"
                              " turn.", {"type": "string", "enum": ["true", "false"], "default": "false"}),
                ),
                fails=(errors.InvalidParameter, errors.KeyNotFound),
                description="Answers with the keys that this key minted, directly or in turn: the first page of the"
                " list with `mintedBy`. They stay live unless `descendants` is `true`. To revoke them later, call again"
                " with it.",
            ),
        ]  # fmt: skip

    async def create_tenant(self, call: Call) -> Answer:
        """Make a tenant."""
        asked = await decoded(call, NewTenant)
        return json_answer(_tenant(await self._access.create_tenant(asked.id, asked.name, asked.region)), 201)

    async def list_tenants(self, call: Call) -> Answer:
        """List tenants."""
        limit = call.limit()
        items = await self._access.tenants(pages.position(call, str), limit + 1)
        return json_answer(pages.page(items, limit, _tenant, lambda tenant: tenant.id))

    async def create_key(self, call: Call) -> Answer:
        """Make a key of the tenant's."""
        asked = await decoded(call, NewKey)
        try:
            expires_at = None if asked.expires_at is None else time.parse(asked.expires_at)
        except errors.InvalidParameter as error:
            raise errors.InvalidRecord(f"Field `expiresAt` {error.detail}.") from None
        minted = await self._access.create_key(
            call.tenant.id, asked.role, name=asked.name, expires_at=expires_at, minted_by=call.caller.key_id,
            grant=_grant(asked),
        )  # fmt: skip
        key = _key(minted.credential)
        return json_answer(NewKeyAnswer(**msgspec.structs.asdict(key), key=str(minted.key)), 201)

    async def list_keys(self, call: Call) -> Answer:
        """List the tenant's keys."""
        limit = call.limit()
        after, minter = pages.position(call, str), call.query("mintedBy")
        if minter is None:
            items = await self._access.keys(call.tenant.id, after, limit + 1)
        else:
            items = await self._access.descendants(call.tenant.id, _minter(minter), after, limit + 1)
        return json_answer(await self._page(call, items, limit))

    async def revoke_key(self, call: Call) -> Answer:
        """Take a key of the tenant's back."""
        descendants = call.query("descendants") or "false"
        if descendants not in {"true", "false"}:
            raise errors.InvalidParameter("Query parameter `descendants` must be true or false.")
        key_id = call.path("keyId")
        await self._access.revoke_key(call.tenant.id, key_id, descendants=descendants == "true")
        items = await self._access.descendants(call.tenant.id, key_id, None, DEFAULT_LIMIT + 1)
        return json_answer(await self._page(call, items, DEFAULT_LIMIT))

    async def _page(self, call: Call, items: list[Credential], limit: int) -> pages.Page[Key]:
        """Return a page of keys. A tenant's own callers are not given the ids of the platform's keys."""
        hidden: set[str] = set()
        if call.caller.role != PLATFORM:
            hidden = await self._access.platform_minters(call.tenant.id, items[:limit])

        def visible_key(credential: Credential) -> Key:
            return _key(credential._replace(minted_by=PLATFORM) if credential.minted_by in hidden else credential)

        return pages.page(items, limit, visible_key, lambda credential: credential.id)


def _tenant(tenant: StoredTenant) -> Tenant:
    return Tenant(tenant.id, tenant.name, time.rfc3339(tenant.created_at))


def _grant(asked: NewKey) -> grants.Grant | None:
    """Return what a write key is to take in; None: it is to be none.

    Raises:
        InvalidRecord: fields of a write key are missing, or stand where none is asked for.
        InvalidParameter: one of them breaks its rule.
    """
    own = {
        name: value
        for name in ("source", "private", "origins", "events_per_second")
        if (value := getattr(asked, name)) is not msgspec.UNSET
    }
    if asked.role != COLLECTOR:
        if own:
            raise errors.InvalidRecord(
                "Fields `source`, `private`, `origins` and `eventsPerSecond` go with the role collector."
            )
        return None
    if "source" not in own:
        raise errors.InvalidRecord("Field `source` is required: it names what the write key's events come from.")
    return grants.grant_of(
        own["source"],
        private=own.get("private", False),
        origins=tuple(own.get("origins", ())),
        events_per_second=own.get("events_per_second", EVENTS_PER_SECOND),
    )


def _minter(key_id: str) -> str:
    fault = name_fault(key_id)
    if fault:
        raise errors.InvalidParameter(f"Query parameter `mintedBy` {fault}.")
    return key_id


def _key(credential: Credential) -> Key:
    def optional_moment(moment: int | None) -> str | None:
        return None if moment is None else time.rfc3339(moment)

    grant = None if credential.grant is None else grants.read(credential.grant)
    return Key(
        credential.id, credential.role, credential.name, credential.last_four, time.rfc3339(credential.created_at),
        optional_moment(credential.expires_at), optional_moment(credential.revoked_at), credential.minted_by,
        optional_moment(credential.last_used_at),
        *(() if grant is None else (grant.source, list(grant.origins), grant.events_per_second)),
    )  # fmt: skip
