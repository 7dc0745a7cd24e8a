"""The way in: validated records become facts, and the documents they change are rendered, in one transaction."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from portrait.batch import Batch, Incoming
from portrait.model.errors import (
    CustomerNotFound,
    EventConflict,
    InvalidRecord,
    PortraitError,
    RecordNotFound,
    Unavailable,
)
from portrait.model.fact import Fact, Op
from portrait.model.identifier import customer
from portrait.model.time import Clock
from portrait.sections.base import MAX_AHEAD, StoredSection
from portrait.storage.contract import Store, Transaction
from portrait.together import Together

MAX_CHUNK = 1000
"""The most records in one transaction of a bulk."""
MAX_GROUP = 200
"""The most single records, each of a request of its own, that share a transaction."""


class Refusal(NamedTuple):
    """One record that was not taken."""

    at: int
    code: str
    detail: str


class Warned(NamedTuple):
    """One record that was taken, with something to know about it."""

    at: int
    code: str


class Outcome(msgspec.Struct):
    """What became of the records of a request."""

    recorded: int = 0
    duplicates: int = 0
    refused: list[Refusal] = []
    warnings: list[Warned] = []


Taken = bool | PortraitError
"""What became of one record: it is new, or it was known already; or why it was refused."""


class Recorder:
    """Takes records in."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._together = Together(self._group, MAX_GROUP)

    async def record_all(self, tenant: str, incoming: Sequence[Incoming]) -> Outcome:
        """Take all records or none.

        Raises:
            InvalidRequest, Conflict: the first record refused; the detail says which and why.
            Unavailable: the database cannot write now.
        """
        if len(incoming) == 1:
            return await self._together.do(tenant, incoming[0])
        taken = await self._store.write(lambda tx: self._record(tx, tenant, incoming, atomic=True))
        return _outcome(incoming, taken)

    async def record_each(self, tenant: str, incoming: Sequence[Incoming]) -> Outcome:
        """Take every record that can be taken, and say why each of the others was refused.

        Raises:
            Unavailable: the database cannot write now; none was taken.
        """
        taken = await self._store.write(lambda tx: self._record(tx, tenant, incoming, atomic=False))
        return _outcome(incoming, taken)

    async def _group(self, tenant: str, incoming: list[Incoming]) -> list[Outcome | Exception]:
        """Take single records of several requests in one transaction, and answer each by itself."""
        try:
            taken = await self._store.write(lambda tx: self._record(tx, tenant, incoming, atomic=False))
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # a plugin's fold, perhaps, on one customer: the others go on
            if len(incoming) == 1:
                return [error]
            return [result for one in incoming for result in await self._group(tenant, [one])]
        return [one if isinstance(one, PortraitError) else _outcome((), [one]) for one in taken]

    async def delete(self, tenant: str, customer_id: str, section: StoredSection, key: str, source: str | None) -> None:
        """End a record, for every identifier of the customer that holds it.

        Raises:
            CustomerNotFound, RecordNotFound: there is no such customer, or no live record under the key.
            Unavailable: the database cannot write now.
        """
        await self._store.write(lambda tx: self._delete(tx, tenant, customer_id, section, key, source))

    async def refresh(self, tenant: str, customer_id: str, section: StoredSection) -> None:
        """Render a document anew that time or a newer version of the section has overtaken."""

        async def work(tx: Transaction) -> None:
            batch = Batch(tx, tenant, self._clock())
            if await batch.open([customer(customer_id)], claim=False):
                for identifier in batch.members_of(customer(customer_id)):
                    await batch.touch(identifier, section)
                await batch.finish()

        await self._store.write(work)

    async def _record(self, tx: Transaction, tenant: str, incoming: Sequence[Incoming], *, atomic: bool) -> list[Taken]:
        batch = Batch(tx, tenant, self._clock())
        await batch.open(dict.fromkeys(one.identifier for one in incoming), claim=True)
        asked = [one.asked for one in incoming]
        known = await batch.known(incoming, asked)
        taken: list[Taken] = []
        for one, question in zip(incoming, asked, strict=True):
            fact = batch.fact(one)
            try:
                new = not self._is_duplicate(batch, one, fact, known.get(question, ()))
                if new:
                    batch.apply(one.section, fact)
                    known.setdefault(question, []).append(fact)
                taken.append(new)
            except PortraitError as error:
                if atomic:
                    raise error.of_record(one.at) from None
                taken.append(error)
        await batch.finish()
        return taken

    @staticmethod
    def _is_duplicate(batch: Batch, one: Incoming, fact: Fact, known: Sequence[Fact]) -> bool:
        """Tell whether a record says what is known already.

        Raises:
            EventConflict: the key is known with another body.
            InvalidRecord: an event lies too far ahead.
        """
        section = one.section
        same_key = [section.bring_forward(other) for other in known]
        if section.kind == "events":
            if max(fact.effective_at, one.parsed.effective_at or 0) > fact.recorded_at + MAX_AHEAD:
                raise InvalidRecord("An event must not lie more than 24 hours ahead of us.")
            bodies = {other.body for other in same_key if other.op is Op.PUT}
            if bodies and fact.body not in bodies:
                raise EventConflict(
                    "An event with this key was recorded with another body. Events never change: use a new key."
                )
            return bool(bodies)
        if one.moment is None:
            return batch.current(one.identifier, section, fact.key) == fact.body
        return any(other.op is Op.PUT and other.body == fact.body for other in same_key)

    async def _delete(
        self,
        tx: Transaction,
        tenant: str,
        customer_id: str,
        section: StoredSection,
        key: str,
        source: str | None,
    ) -> None:
        batch = Batch(tx, tenant, self._clock())
        if not await batch.open([customer(customer_id)], claim=False):
            raise CustomerNotFound
        ended = 0
        for identifier in batch.members_of(customer(customer_id)):
            if await batch.holds(identifier, section, key):
                batch.end(identifier, section, key, source)
                ended += 1
        if not ended:
            raise RecordNotFound("No live record of this customer has this key in this section.")
        await batch.finish()


def _outcome(incoming: Sequence[Incoming], taken: Sequence[Taken]) -> Outcome:
    return Outcome(
        recorded=taken.count(True),
        duplicates=taken.count(False),
        refused=[
            Refusal(one.at, result.code, result.detail)
            for one, result in zip(incoming, taken, strict=False)
            if isinstance(result, PortraitError)
        ],
    )
