"""Who is calling, for which tenant, in which role; and the tenants and keys behind that."""

import asyncio
import contextlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Collection, Hashable
from hashlib import blake2b
from typing import Literal, NamedTuple, TypeVar

import msgspec

from portrait.access import descent, keys
from portrait.access.strangers import Strangers
from portrait.identity.normalise import region_fault
from portrait.model.errors import (
    InvalidParameter,
    KeyNotFound,
    RoleForbidden,
    TenantExists,
    TenantForbidden,
    TenantRequired,
    Unauthenticated,
    Unavailable,
)
from portrait.model.time import HOUR, Clock
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
NOTED_EVERY = HOUR // 6
"""How exactly a key's last use is known, in microseconds: a key's uses cost at most one write in this time."""
REMEMBERED_SECONDS = 0.5
"""How long a valid credential, or a tenant, is taken without asking the database, in seconds: the most that a
revocation is late."""
MAX_REMEMBERED = 10_000
"""So many credentials, so many refused ones, and so many tenants are remembered."""
MAX_NAME = 200

_SEND = "Send one as `Authorization: Bearer <key>` or `X-API-Key: <key>`."
_EMPTY = f"No API key in the form that is asked for: behind `Authorization` come the word Bearer and the key. {_SEND}"
_MALFORMED = (
    f"What was sent is no whole API key: it begins with `{keys.PREFIX}_` and is sent as it was printed. {_SEND}"
)
_ANOTHER = "Ask an administrator of your tenant for another."

Mode = Literal["keys", "open"]
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


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
        self._credentials: OrderedDict[bytes, tuple[float, Credential]] = OrderedDict()
        """Valid credentials, by the hash of the key as presented: no key in the clear is kept. A credential whose time
        is over is looked up again, but not as a stranger's."""
        self._refused: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        """Until when wrong keys are refused without asking the database, and why, by the key's hash."""
        self._strangers = Strangers()
        self._asking: dict[bytes, asyncio.Event] = {}
        """Keys that are being looked up: a call that presents such a key meanwhile waits for the same answer."""
        self._noted: OrderedDict[str, int] = OrderedDict()
        """When a key's use was last noted here, or tried to be, by the key's id."""
        self._noting: set[asyncio.Task[None]] = set()
        self._revoked = 0
        """How many revocations this process made: a lookup from before the latest is not remembered after it."""
        self._tenants: OrderedDict[str, tuple[float, TenantRow]] = OrderedDict()
        """Tenants by id: another process may have changed a tenant's rules, so no tenant is remembered for long."""

    async def close(self) -> None:
        """Finish noting which keys were used."""
        await asyncio.gather(*self._noting)

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
            raise Unauthenticated(f"No API key. {_SEND}")
        known_as = _hash(presented)
        # Nearly every call presents a key that is remembered: no coroutine is made for it.
        credential = self._remembered(known_as) or await self._credential(presented, known_as)
        if credential.expires_at is not None and descent.ended(credential, self._clock()):
            raise Unauthenticated(f"The API key has expired. {_ANOTHER}")
        bound = credential.tenant
        if bound is not None and tenant_id not in {None, "", bound}:
            raise TenantForbidden
        wanted = bound or tenant_id
        tenant = (self._remembered_tenant(wanted) or await self._tenant(wanted)) if wanted else None
        if wanted and tenant is None:
            raise TenantForbidden
        return self._for(tenant, credential.role, credential.id, needs_tenant=needs_tenant)

    def known(self, presented: str | None, tenant_id: str | None) -> str | None:
        """Return the tenant that a call seems to be for, without asking the database: for turns, it lets nobody in.

        None: the caller, or the tenant that is named, was not seen here lately.
        """
        if self._mode == "keys":
            remembered = None if presented is None else self._credentials.get(_hash(presented))
            if remembered is None:
                return None
            tenant_id = remembered[1].tenant or tenant_id
        return tenant_id if tenant_id in self._tenants else None

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
        self._tenants.pop(tenant_id, None)

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
    ) -> Minted:
        """Mint a key of a tenant's, or of the platform's (None).

        Args:
            tenant_id: whose key it is.
            role: what it may do.
            name: what it is for, for people.
            expires_at: when it ends; None: with the key that mints it, or never where no key does.
            minted_by: the id of the key that mints it; None: no key does.

        Raises:
            InvalidParameter: the role does not fit, or the expiry is past or later than that of the key that mints it.
            TenantForbidden: there is no such tenant.
            Unauthenticated: the key that mints it has ended meanwhile.
        """
        allowed = ROLES if tenant_id is not None else (PLATFORM,)
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
            key.id, tenant_id, role, name, key.secret_hash, key.last_four, now, expires_at, None, minted_by
        )
        if minted_by is None:
            await self._store.write(tenant_id, lambda tx: tx.put_credential(credential))
            self._refused.clear()
            return Minted(key, credential)
        stored = await descent.put(self._store, credential, self._clock)
        if stored is None:
            raise Unauthenticated(f"The API key that is to make it was revoked meanwhile, or has expired. {_ANOTHER}")
        self._refused.clear()
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
                "No live key has this id here, and none that it made is live. Those there are: GET /api/v1/keys, or"
                " portrait key list."
            )
        self._revoked += 1
        for known_as, (_, credential) in self._credentials.items():
            self._credentials[known_as] = (0.0, credential)

    async def _credential(self, presented: str, known_as: bytes) -> Credential:
        """Return the credential of a key that is not remembered."""
        credential = None
        while credential is None:
            if (asking := self._asking.get(known_as)) is None:
                credential = await self._looked_up(presented, known_as)
            else:
                await asking.wait()
                credential = self._remembered(known_as)
        return credential

    def _remembered(self, known_as: bytes) -> Credential | None:
        """Return the credential of a key that was valid lately; None where that is not known.

        Raises:
            Unauthenticated: the key was wrong lately.
        """
        now = time.monotonic()
        if (remembered := self._credentials.get(known_as)) is not None and remembered[0] > now:
            return remembered[1]
        if (refused := self._refused.get(known_as)) is not None and refused[0] > now:
            raise Unauthenticated(refused[1])
        return None

    async def _looked_up(self, presented: str, known_as: bytes) -> Credential:
        """Ask the database for a key, and remember its answer; for strangers no more often than is allowed."""
        key = keys.parse(presented)
        if key is None:
            raise Unauthenticated(_MALFORMED if presented else _EMPTY)
        revoked = self._revoked
        self._asking[known_as] = asked = asyncio.Event()
        try:
            if known_as in self._credentials:
                credential = await self._store.credential(key.id)
            else:
                async with self._strangers.look_up():
                    credential = await self._store.credential(key.id)
        finally:
            del self._asking[known_as]
            asked.set()
        if credential is None or not keys.matches(key, credential.secret_hash) or credential.revoked_at is not None:
            self._credentials.pop(known_as, None)
            # Whoever has the secret may know what became of the key.
            is_wrong = credential is None or not keys.matches(key, credential.secret_hash)
            why = f"The API key {'is wrong' if is_wrong else 'was revoked'}. {_ANOTHER}"
            _remember(self._refused, known_as, (time.monotonic() + REMEMBERED_SECONDS, why))
            raise Unauthenticated(why)
        self._consider_use(credential)
        if revoked == self._revoked:
            _remember(self._credentials, known_as, (time.monotonic() + REMEMBERED_SECONDS, credential))
        return credential

    def _remembered_tenant(self, tenant_id: str) -> TenantRow | None:
        remembered = self._tenants.get(tenant_id)
        return remembered[1] if remembered is not None and remembered[0] > time.monotonic() else None

    def _consider_use(self, credential: Credential) -> None:
        """Note that a key is used, unless that was done lately; no request waits for the note."""
        now = self._clock()
        last = max(credential.last_used_at or 0, self._noted.get(credential.id, 0))
        if now - last >= NOTED_EVERY and not descent.ended(credential, now):
            _remember(self._noted, credential.id, now)
            task = asyncio.create_task(self._note_use(credential, now))
            self._noting.add(task)
            task.add_done_callback(self._noting.discard)

    async def _note_use(self, credential: Credential, now: int) -> None:
        with contextlib.suppress(Unavailable):  # then its next use is noted
            await self._store.write(credential.tenant, lambda tx: tx.note_use(credential.id, now))

    async def _tenant(self, tenant_id: str) -> TenantRow | None:
        if (remembered := self._remembered_tenant(tenant_id)) is not None:
            return remembered
        if not TENANT_ID.fullmatch(tenant_id):
            return None
        tenant = await self._store.tenant(tenant_id)
        if tenant is not None:
            _remember(self._tenants, tenant_id, (time.monotonic() + REMEMBERED_SECONDS, tenant))
        return tenant


def _remember(cache: "OrderedDict[K, V]", name: K, value: V) -> None:
    """Keep a value; of too many values the one that was set longest ago goes."""
    cache[name] = value
    cache.move_to_end(name)
    if len(cache) > MAX_REMEMBERED:
        cache.popitem(last=False)


def _hash(presented: str) -> bytes:
    return blake2b(presented.encode(), digest_size=32).digest()


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidParameter(f"A name has at most {MAX_NAME} characters, all printable.")
