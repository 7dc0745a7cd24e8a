"""Which key minted which: a key ends no later than its minter, and can be taken back along with it."""

from collections import defaultdict

from portrait.model import time
from portrait.model.errors import InvalidParameter
from portrait.model.time import Clock
from portrait.storage.contract import Credential, Store, Transaction

AT_ONCE = 10_000
"""How many keys are looked at and taken back by one statement."""


async def put(store: Store, credential: Credential, clock: Clock) -> Credential | None:
    """Store a key that another key minted and return it as stored; None, and store nothing, if the minter has ended.

    The minter is read in the same transaction, which keeps it from being revoked meanwhile.

    Raises:
        InvalidParameter: the key would end later than its minter.
    """

    async def work(tx: Transaction) -> Credential | None:
        minter = await tx.hold_credential(credential.minted_by or "")
        if minter is None or minter.revoked_at is not None or ended(minter, clock()):
            return None
        made = credential._replace(expires_at=_end(credential, minter))
        await tx.put_credential(made)
        return made

    return await store.write(credential.tenant, work)


def ended(credential: Credential, now: int) -> bool:
    """Tell whether a key's time is over."""
    return credential.expires_at is not None and credential.expires_at <= now


def _end(credential: Credential, minter: Credential) -> int | None:
    if minter.expires_at is None:
        return credential.expires_at
    if credential.expires_at is None:
        return minter.expires_at
    if credential.expires_at > minter.expires_at:
        raise InvalidParameter(
            "A key cannot outlive the key that mints it. Give an expiry up to"
            f" {time.rfc3339(minter.expires_at)}, or no expiry: then both keys end together."
        )
    return credential.expires_at


async def take_along(tx: Transaction, tenant_id: str | None, key_id: str, now: int) -> int:
    """Take back the keys that a revoked key minted, and their own in turn; return how many were live until now.

    Args:
        tx: a transaction that has tried to revoke the key, so that the key mints nothing meanwhile.
        tenant_id: whose key it is; nothing is taken back for another tenant's key. None: the platform's.
        key_id: its id.
        now: the moment of revocation.
    """
    key = await tx.credential(key_id)
    if key is None or key.tenant != tenant_id:
        return 0
    taken, after = 0, None
    while page := await tx.descendants(tenant_id, key_id, after, AT_ONCE):
        after = page[-1].id
        owned: defaultdict[str | None, list[str]] = defaultdict(list)
        for credential in page:
            owned[credential.tenant].append(credential.id)
        for owner, ids in owned.items():
            taken += len(await tx.revoke_credentials(owner, ids, now))
    return taken
