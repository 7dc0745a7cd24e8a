"""Who is calling, for which tenant, in which role; and the tenants and keys behind that."""

import re
import secrets
from collections.abc import Collection
from typing import Literal, NamedTuple

import msgspec

from portrait.access import descent, grants, keys
from portrait.access.cache import Cache
from portrait.access.credentials import ASK_FOR_ANOTHER, SEND_ONE, Credentials
from portrait.access.grants import COLLECTOR, Grant, WriteKey
from portrait.identity.phones import region_fault
from portrait.model.errors import (
    InvalidParameter,
    KeyNotFound,
    RoleForbidden,
    TenantExists,
    TenantForbidden,
    TenantRequired,
    Unauthenticated,
)
from portrait.model.time import Clock
from portrait.sections.base import ROLES, one_of_roles
from portrait.storage.contract import Credential, Store, TenantRow, Transaction

PLATFORM = "platform"
"""The role of the platform's own keys: they make tenants and tenants' keys, of every role. They read no customer; a key
that they make may."""
READ = frozenset(ROLES)
WRITE = frozenset({"editor", "admin"})
ADMIN_OR_PLATFORM = frozenset({"admin", PLATFORM})
PLATFORM_ONLY = frozenset({PLATFORM})

TENANT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_NAME = 200

Mode = Literal["keys", "open"]


class Caller(NamedTuple):
    """Who is calling."""

    tenant: TenantRow | None
    """The tenant that the call is for; None where the call needs no tenant and named none."""
    role: str
    key_id: str | None
    """The API key's id; None where all are let in."""


class Minted(NamedTuple):
    """A new key, in the clear this once, and the credential that is stored."""

    key: keys.ApiKey
    credential: Credential


class Access:
    """Tenants, keys, and the decision on each call."""

    def __init__(self, store: Store, clock: Clock, mode: Mode) -> None:
        self._store = store
        self._clock = clock
        self._mode = mode
        self._credentials = Credentials(store, clock)
        self._tenants: Cache[str, TenantRow] = Cache()
        """Tenants by id: another process may have changed a tenant's rules, so no tenant is remembered for long."""

    async def close(self) -> None:
        """Finish noting which keys were used."""
        await self._credentials.close()

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in."""
        return self._mode == "open"

    async def caller(self, presented: str | None, tenant_id: str | None, *, needs_tenant: bool = True) -> Caller:
        """Return who is calling.

        Args:
            presented: the API key as presented; None where there is none.
            tenant_id: the tenant named by the request; None where it names none.
            needs_tenant: whether the operation works on a tenant.

        Raises:
            Unauthenticated: no key, or a wrong, expired or revoked one; the detail says which.
            Overloaded: too many keys that were never seen here are to be looked up.
            TenantRequired: no tenant is named and the key is bound to no tenant.
            TenantForbidden: the tenant is unknown, or not the key's.
        """
        if self._mode == "open":
            tenant = await self._tenant(tenant_id) if tenant_id else None
            if tenant_id and tenant is None:
                raise TenantForbidden
            return self._for(tenant, "admin" if needs_tenant else PLATFORM, None, needs_tenant=needs_tenant)
        if presented is None:
            raise Unauthenticated(f"No API key. {SEND_ONE}")
        # Nearly every call presents a key that is remembered: no coroutine is made for it.
        credential = self._credentials.remembered(presented) or await self._credentials.look_up(presented)
        self._check_live(credential)
        bound = credential.tenant
        if bound is not None and tenant_id not in {None, "", bound}:
            raise TenantForbidden
        wanted = bound or tenant_id
        tenant = (self._tenants.fresh(wanted) or await self._tenant(wanted)) if wanted else None
        if wanted and tenant is None:
            raise TenantForbidden
        return self._for(tenant, credential.role, credential.id, needs_tenant=needs_tenant)

    def _check_live(self, credential: Credential) -> None:
        if credential.expires_at is not None and descent.ended(credential, self._clock()):
            raise Unauthenticated(f"The API key has expired. {ASK_FOR_ANOTHER}")

    async def writer(self, presented: str | None) -> WriteKey:
        """Return who presents a write key.

        Raises:
            Unauthenticated: no write key, or a wrong, expired or revoked one; the detail says which.
            Overloaded: too many keys that were never seen here are to be looked up.
        """
        if presented is None:
            raise Unauthenticated("No write key. Send one as the client does, by Basic authentication, say.")
        credential = self._credentials.remembered(presented) or await self._credentials.look_up(presented)
        self._check_live(credential)
        if credential.grant is None:
            raise Unauthenticated("This is no write key. `portrait key create --tenant T --source S` makes one.")
        assert credential.tenant is not None
        return WriteKey(credential.id, await self.tenant(credential.tenant), grants.read(credential.grant))

    def known(self, presented: str | None, tenant_id: str | None) -> str | None:
        """Return the tenant that a call seems to be for, without asking the database: for turns, it lets nobody in.

        None: the caller, or the tenant that is named, was not seen here lately.
        """
        if self._mode == "keys":
            credential = None if presented is None else self._credentials.seen(presented)
            if credential is None:
                return None
            tenant_id = credential.tenant or tenant_id
        return tenant_id if tenant_id and self._tenants.get(tenant_id) is not None else None

    @staticmethod
    def _for(tenant: TenantRow | None, role: str, key_id: str | None, *, needs_tenant: bool) -> Caller:
        if tenant is None and needs_tenant:
            raise TenantRequired("No tenant is named. Send its id in the header X-Tenant-Id.")
        return Caller(tenant, role, key_id)

    @staticmethod
    def require(caller: Caller, roles: Collection[str]) -> None:
        """Let the caller pass or not.

        Raises:
            RoleForbidden: the caller's role is not among those.
        """
        if caller.role not in roles:
            raise RoleForbidden(
                f"This credential's role is {caller.role}; this operation is for {one_of_roles(roles)}."
            )

    async def create_tenant(self, tenant_id: str, name: str | None = None, region: str | None = None) -> TenantRow:
        """Add a tenant.

        Args:
            tenant_id: its id.
            name: its name for people; None: its id.
            region: where its phone numbers without a country's prefix are from, as ISO 3166-1 alpha-2.

        Raises:
            InvalidParameter: the id, the name or the region breaks its rule.
            TenantExists: the id is taken.
        """
        if not TENANT_ID.fullmatch(tenant_id):
            raise InvalidParameter(f"A tenant's id must match {TENANT_ID.pattern}.")
        _check_name(name or tenant_id)
        if region is not None and (fault := region_fault(region)):
            raise InvalidParameter(f"A tenant's region {fault}.")
        rules = None if region is None else msgspec.json.encode({"region": region})
        tenant = TenantRow(tenant_id, name or tenant_id, self._clock(), secrets.token_bytes(32), rules)
        if not await self._store.write(None, lambda tx: tx.put_tenant(tenant)):
            raise TenantExists("A tenant with this id exists already.")
        return tenant

    async def tenant(self, tenant_id: str) -> TenantRow:
        """Return a tenant by id.

        Raises:
            TenantForbidden: there is no such tenant.
        """
        tenant = await self._tenant(tenant_id)
        if tenant is None:
            raise TenantForbidden
        return tenant

    def changed(self, tenant_id: str) -> None:
        """Look a tenant up anew: something of it has changed. Other processes do so within half a second."""
        self._tenants.remove(tenant_id)

    async def tenants(self, after: str | None, limit: int) -> list[TenantRow]:
        """Return up to `limit` tenants with ids above `after`, by id."""
        return await self._store.tenants(after, limit)

    async def create_key(
        self,
        tenant_id: str | None,
        role: str,
        *,
        name: str = "",
        expires_at: int | None = None,
        minted_by: str | None = None,
        grant: Grant | None = None,
    ) -> Minted:
        """Mint a key of a tenant's, or of the platform's (None).

        Args:
            tenant_id: whose key it is.
            role: what it may do.
            name: what it is for, for people.
            expires_at: when it ends; None: with the key that mints it, or never where no key does.
            minted_by: the id of the key that mints it; None: no key does.
            grant: of a write key what it takes in; its role is `collector`.

        Raises:
            InvalidParameter: the role does not fit, or the expiry is past or later than that of the key that mints it.
            TenantForbidden: there is no such tenant.
            Unauthenticated: the key that mints it has ended meanwhile.
        """
        allowed = (PLATFORM,) if tenant_id is None else ROLES if grant is None else (COLLECTOR,)
        if role not in allowed:
            raise InvalidParameter(f"The role must be one of: {', '.join(allowed)}.")
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise InvalidParameter("The expiry must lie in the future.")
        _check_name(name)
        if tenant_id is not None:
            await self.tenant(tenant_id)
        key = keys.mint()
        credential = Credential(
            key.id, tenant_id, role, name, key.secret_hash, key.last_four, now, expires_at, None, minted_by,
            grant=None if grant is None else grants.stored(grant),
        )  # fmt: skip
        if minted_by is None:
            await self._store.write(tenant_id, lambda tx: tx.put_credential(credential))
            self._credentials.forget_refusals()
            return Minted(key, credential)
        stored = await descent.put(self._store, credential, self._clock)
        if stored is None:
            raise Unauthenticated(f"The API key that mints this key was revoked or has expired. {ASK_FOR_ANOTHER}")
        self._credentials.forget_refusals()
        return Minted(key, stored)

    async def keys(self, tenant_id: str | None, after: str | None, limit: int) -> list[Credential]:
        """Return up to `limit` of a tenant's keys (None: the platform's) with ids above `after`, by id."""
        return await self._store.credentials(tenant_id, after, limit)

    async def descendants(self, tenant_id: str | None, key_id: str, after: str | None, limit: int) -> list[Credential]:
        """Return up to `limit` of the keys that a key minted, and that these minted in turn, by id, above `after`.

        Only the tenant's own keys; None: those of all tenants, for a key of the platform's.
        """
        return await self._store.descendants(tenant_id, key_id, after, limit)

    async def platform_minters(self, tenant_id: str, credentials: Collection[Credential]) -> set[str]:
        """Return the ids of the keys that minted some of a tenant's keys and are not the tenant's own."""
        minters = {credential.minted_by for credential in credentials if credential.minted_by is not None}
        stored = [await self._store.credential(minter) for minter in sorted(minters)]
        return minters - {
            credential.id for credential in stored if credential is not None and credential.tenant == tenant_id
        }

    async def revoke_key(self, tenant_id: str | None, key_id: str, *, descendants: bool = False) -> None:
        """Take a key back: this process refuses it from now on, every other process within half a second.

        Args:
            tenant_id: whose key it is; None: the platform's.
            key_id: its id.
            descendants: whether the keys that it minted are taken back too, and those that they minted in turn.

        Raises:
            KeyNotFound: the tenant has no such key, or there is nothing left to take back.
        """
        now = self._clock()

        async def work(tx: Transaction) -> int:
            taken = len(await tx.revoke_credentials(tenant_id, [key_id], now))
            if descendants:
                taken += await descent.take_along(tx, tenant_id, key_id, now)
            return taken

        if not await self._store.write(tenant_id, work):
            raise KeyNotFound(
                "No live key has this id, and no key that it minted is live. List keys with GET /api/v1/keys or"
                " portrait key list."
            )
        self._credentials.look_up_all_anew()

    async def _tenant(self, tenant_id: str) -> TenantRow | None:
        if (remembered := self._tenants.fresh(tenant_id)) is not None:
            return remembered
        if not TENANT_ID.fullmatch(tenant_id):
            return None
        tenant = await self._store.tenant(tenant_id)
        if tenant is not None:
            self._tenants.put(tenant_id, tenant)
        return tenant


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidParameter(f"A name has at most {MAX_NAME} characters, all printable.")
