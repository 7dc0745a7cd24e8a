"""Refused events: looked at, taken after all once what was wrong is mended, or dropped."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from portrait.collecting.collector import Collector, SentEvents
from portrait.model.identifier import Identifier
from portrait.model.time import DAY, Clock
from portrait.storage.contract import RefusedEvent, RejectCount, Store, TenantRow, Transaction

AT_ONCE = 100
"""So many refused events are taken or dropped in one transaction."""


class RejectsWanted(NamedTuple):
    """Which refused events are meant: all for which each part holds that is given."""

    source: str | None = None
    code: str | None = None
    identifier: Identifier | None = None


class Replayed(msgspec.Struct):
    """What became of refused events that were taken again."""

    taken: int = 0
    refused: int = 0


class Rejects:
    """The refused events of tenants.

    Args:
        store: where they are.
        collector: takes them again.
        clock: what time it is.
    """

    def __init__(self, store: Store, collector: Collector, clock: Clock) -> None:
        self._store = store
        self._collector = collector
        self._clock = clock

    async def listed(self, tenant: str, wanted: RejectsWanted, after: bytes | None, limit: int) -> list[RefusedEvent]:
        """Return up to `limit` refused events with ids above `after`, by id."""
        return await self._store.rejects(tenant, after, limit, **wanted._asdict())

    async def counts(self, tenant: str) -> list[RejectCount]:
        """Return how many are kept, by source and reason."""
        return await self._store.count_rejects(tenant)

    async def replay(self, tenant: TenantRow, wanted: RejectsWanted) -> Replayed:
        """Take refused events again, as of when they were received. What is refused again stays, with the new reason.

        Raises:
            Unavailable: the database cannot write now. What was not taken stays.
        """
        outcome = Replayed()
        after: bytes | None = None
        while page := await self.listed(tenant.id, wanted, after, AT_ONCE):
            after = page[-1].id
            for together, some in groupby(sorted(page, key=_together), key=_together):
                await self._replay(tenant, *together, list(some), outcome)
        return outcome

    async def _replay(
        self, tenant: TenantRow, source: str, form: str, received_at: int, some: list[RefusedEvent], outcome: Replayed
    ) -> None:
        sent = SentEvents(tenant, source, form, [one.body for one in some], received_at)
        again = await self._collector.recorded(sent)

        async def settle(tx: Transaction) -> None:
            await tx.remove_rejects(tenant.id, [one.id for one in some])
            await tx.put_rejects(tenant.id, list(again.values()))

        await self._store.write(tenant.id, settle)
        outcome.taken += len(some) - len(again)
        outcome.refused += len(again)

    async def drop(self, tenant: str, wanted: RejectsWanted) -> int:
        """Remove refused events, and return how many there were."""
        dropped = 0
        while page := await self.listed(tenant, wanted, None, AT_ONCE):
            dropped += await self._remove(tenant, page)
        return dropped

    async def _remove(self, tenant: str, page: Sequence[RefusedEvent]) -> int:
        ids = [one.id for one in page]
        return await self._store.write(tenant, lambda tx: tx.remove_rejects(tenant, ids))

    async def expire(self, days: float) -> None:
        """Remove what was received more than so many days ago, of every tenant."""
        before = self._clock() - int(days * DAY)
        while await self._store.write(None, lambda tx: tx.remove_rejects_before(before, AT_ONCE)) == AT_ONCE:
            pass


def _together(one: RefusedEvent) -> tuple[str, str, int]:
    return one.source, one.form, one.received_at
