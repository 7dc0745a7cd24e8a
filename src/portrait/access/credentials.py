"""Which credential a presented key has: looked up once, and remembered for a while."""

import asyncio
import contextlib
from hashlib import blake2b

from portrait.access import descent, keys
from portrait.access.cache import Cache
from portrait.access.strangers import Strangers
from portrait.model.errors import Unauthenticated, Unavailable
from portrait.model.time import HOUR, Clock
from portrait.storage.contract import Credential, Store

NOTED_EVERY = HOUR // 6
"""How exactly a key's last use is known, in microseconds: a key's uses cost at most one write in this time."""
SEND_ONE = "Send a key as `Authorization: Bearer <key>` or `X-API-Key: <key>`."
_EMPTY = f"The header `Authorization` must have the word Bearer and the API key. {SEND_ONE}"
_MALFORMED = f"This is not a whole API key: a key begins with `{keys.PREFIX}_`. Send it as it was printed. {SEND_ONE}"
ASK_FOR_ANOTHER = "Ask an administrator of your tenant for a new key."


class Credentials:
    """Looks credentials up by the keys that callers present.

    Args:
        store: where they are.
        clock: what time it is.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._credentials: Cache[bytes, Credential] = Cache()
        """Valid credentials, by the hash of the key as presented: no key in the clear is kept. A credential whose time
        is over is looked up again, but not as a stranger's."""
        self._refused: Cache[bytes, str] = Cache()
        """Why wrong keys are refused without asking the database, by the key's hash."""
        self._strangers = Strangers()
        self._asking: dict[bytes, asyncio.Event] = {}
        """Keys that are being looked up: a call that presents such a key meanwhile waits for the same answer."""
        self._noted: Cache[str, int] = Cache()
        """When a key's use was last noted here, or tried to be, by the key's id."""
        self._noting: set[asyncio.Task[None]] = set()
        self._revoked = 0
        """How many revocations this process made: a lookup from before the latest is not remembered after it."""

    async def look_up(self, presented: str) -> Credential:
        """Return the credential of a key that is not remembered.

        Raises:
            Unauthenticated: the key is wrong, revoked or none at all; the detail says which.
            Overloaded: too many keys that were never seen here are to be looked up.
        """
        known_as = _hash(presented)
        credential = None
        while credential is None:
            if (asking := self._asking.get(known_as)) is None:
                credential = await self._looked_up(presented, known_as)
            else:
                await asking.wait()
                credential = self._remembered(known_as)
        return credential

    def remembered(self, presented: str) -> Credential | None:
        """Return the credential of a key that was valid lately; None where that is not known.

        Raises:
            Unauthenticated: the key was wrong lately.
        """
        known_as = _hash(presented)
        return self._credentials.fresh(known_as) or self._remembered(known_as)

    def seen(self, presented: str) -> Credential | None:
        """Return the credential of a key that was valid when it was looked up last; None: it was not seen here."""
        return self._credentials.get(_hash(presented))

    def forget_refusals(self) -> None:
        """Look up anew what was refused: a key was made."""
        self._refused.clear()

    def look_up_all_anew(self) -> None:
        """Look up anew what was valid: a key was revoked."""
        self._revoked += 1
        self._credentials.expire()

    async def close(self) -> None:
        """Finish noting which keys were used."""
        await asyncio.gather(*self._noting)

    def _remembered(self, known_as: bytes) -> Credential | None:
        if (credential := self._credentials.fresh(known_as)) is not None:
            return credential
        if (why := self._refused.fresh(known_as)) is not None:
            raise Unauthenticated(why)
        return None

    async def _looked_up(self, presented: str, known_as: bytes) -> Credential:
        """Ask the database for a key, and remember its answer; for strangers no more often than is allowed."""
        key = keys.parse(presented)
        if key is None:
            raise Unauthenticated(_MALFORMED if presented else _EMPTY)
        revoked = self._revoked
        self._asking[known_as] = asked = asyncio.Event()
        try:
            if self._credentials.get(known_as) is not None:
                credential = await self._store.credential(key.id)
            else:
                async with self._strangers.look_up():
                    credential = await self._store.credential(key.id)
        finally:
            del self._asking[known_as]
            asked.set()
        if credential is None or not keys.matches(key, credential.secret_hash) or credential.revoked_at is not None:
            self._credentials.remove(known_as)
            # Whoever has the secret may know what became of the key.
            is_wrong = credential is None or not keys.matches(key, credential.secret_hash)
            why = f"The API key {'is wrong' if is_wrong else 'was revoked'}. {ASK_FOR_ANOTHER}"
            self._refused.put(known_as, why)
            raise Unauthenticated(why)
        self._consider_use(credential)
        if revoked == self._revoked:
            self._credentials.put(known_as, credential)
        return credential

    def _consider_use(self, credential: Credential) -> None:
        """Note that a key is used, unless that was done lately; no request waits for the note."""
        now = self._clock()
        last = max(credential.last_used_at or 0, self._noted.get(credential.id) or 0)
        if now - last >= NOTED_EVERY and not descent.ended(credential, now):
            self._noted.put(credential.id, now)
            task = asyncio.create_task(self._note_use(credential, now))
            self._noting.add(task)
            task.add_done_callback(self._noting.discard)

    async def _note_use(self, credential: Credential, now: int) -> None:
        with contextlib.suppress(Unavailable):  # then its next use is noted
            await self._store.write(credential.tenant, lambda tx: tx.note_use(credential.id, now))


def _hash(presented: str) -> bytes:
    return blake2b(presented.encode(), digest_size=32).digest()
