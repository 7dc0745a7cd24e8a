"""The way in: validated records become facts, and the documents they change are rendered, in one transaction."""

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from portrait.model.errors import Defect, PortraitError, SectionFailed, Unavailable
from portrait.model.fact import Op
from portrait.model.identifier import customer
from portrait.sections.base import Parsed, StoredSection
from portrait.serving import request
from portrait.serving.failures import Failures
from portrait.storage.contract import Store
from portrait.writes.group_commit import Together
from portrait.writes.incoming import Incoming
from portrait.writes.judging import Unfit
from portrait.writes.record_writer import RecordWriter, Result, Unnamed
from portrait.writes.working_set import StateKey

_log = logging.getLogger("portrait.recording")
MAX_CHUNK = 1000
"""The most records in one transaction of a bulk."""
MAX_GROUP = 200
"""The most single records, each of a request of its own, that share a transaction."""


class Refusal(NamedTuple):
    """One record that was not taken."""

    at: int
    code: str
    detail: str


class RecordWarned(NamedTuple):
    """One record that was taken, with something to know about it."""

    at: int
    code: str
    detail: str


class Outcome(msgspec.Struct):
    """What became of the records of a request."""

    recorded: int = 0
    duplicates: int = 0
    refused: list[Refusal] = []
    warnings: list[RecordWarned] = []


class Recorder:
    """Takes records in.

    Args:
        store: where to.
        writer: records in a transaction.
        patience: how long a single record waits for its transaction to begin, in seconds.
    """

    def __init__(self, store: Store, writer: RecordWriter, *, patience: float = math.inf) -> None:
        self._store = store
        self._writer = writer
        self._together = Together(self._group, MAX_GROUP, patience=patience)

    async def record_all(self, tenant: str, incoming: Sequence[Incoming]) -> Outcome:
        """Take all records or none.

        Raises:
            InvalidRequest, Conflict: the first record refused; the detail says which and why.
            SectionFailed: the section's own code raised an error at a record.
            Unavailable: the database cannot write now.
        """
        failures = Failures(tenant, request.current())
        if len(incoming) > 1:
            return _outcome(incoming, await self._written(tenant, incoming, failures, atomic=True))
        try:
            return await self._together.do(tenant, incoming[0])
        except SectionFailed as error:
            failures.log(error)
            raise

    async def record_each(self, tenant: str, incoming: Sequence[Incoming]) -> Outcome:
        """Take every record that can be taken, and say why each of the others was refused.

        Raises:
            Unavailable: the database cannot write now. None was taken, but where an error of the service's own had the
                records recorded in parts.
        """
        return _outcome(incoming, await self._each(tenant, incoming, Failures(tenant, request.current())))

    async def _group(self, tenant: str, incoming: list[Incoming]) -> list[Outcome | Exception]:
        """Take single records of several requests in one transaction, and answer each by itself.

        What a section's code raises at a record is logged by whoever waits for it, who knows the request.
        """
        return [
            result if isinstance(result, PortraitError) else _outcome([record], [result])
            for record, result in zip(incoming, await self._each(tenant, incoming, None), strict=True)
        ]

    async def _each(self, tenant: str, incoming: Sequence[Incoming], failures: Failures | None) -> list[Result]:
        """Take every record that can be taken: whatever recording one raises refuses that one alone."""
        try:
            return await self._written(tenant, incoming, failures, atomic=False)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # nobody foresaw it: halves, in order, find out at whose record it comes
            if len(incoming) == 1:
                whom = request.concerning(tenant, None)
                _log.exception("a record of section %s could not be recorded (%s)", incoming[0].section.name, whom)
                return [
                    error
                    if isinstance(error, PortraitError)
                    else Defect("The service failed at this record; the log has the cause.")
                ]
        half = len(incoming) // 2
        return [
            *await self._each(tenant, incoming[:half], failures),
            *await self._each(tenant, incoming[half:], failures),
        ]

    async def _written(
        self, tenant: str, incoming: Sequence[Incoming], failures: Failures | None, *, atomic: bool
    ) -> list[Result]:
        """Record in one transaction; again where it shows in the end that a record cannot be, which then is left out.

        So what is recorded with a record that is refused is what would be recorded without it.
        """
        suspected: dict[StateKey, PortraitError] = {}
        refused: dict[int, PortraitError] = {}
        while True:
            rest = [record for index, record in enumerate(incoming) if index not in refused]
            work = partial(
                self._writer.record,
                tenant=tenant,
                incoming=rest,
                suspected=suspected,
                failures=failures,
                atomic=atomic,
            )
            try:
                _, results = await self._store.write(tenant, work)
            except Unfit as error:
                suspected |= error.why
            except Unnamed as error:
                places = [index for index in range(len(incoming)) if index not in refused]
                refused |= {places[index]: why for index, why in error.why.items()}
            else:
                taken = iter(results)
                return [refused[index] if index in refused else next(taken) for index in range(len(incoming))]

    async def delete(
        self,
        tenant: str,
        customer_id: str,
        section: StoredSection,
        key: str,
        source: str | None,
        effective_at: int | None = None,
    ) -> None:
        """End a record, for every identifier of the customer that holds it.

        Args:
            tenant: the tenant.
            customer_id: the customer.
            section: the section.
            key: the record's key.
            source: who says so.
            effective_at: when it ends, in microseconds; None: now.

        Raises:
            CustomerNotFound, RecordNotFound: there is no such customer, or no record under the key, live or ahead.
            InvalidRecord: what ends at once would end too far ahead.
            Unavailable: the database cannot write now.
        """
        parsed = Parsed(None, key, b"", None)
        end = Incoming(0, customer(customer_id), section, parsed, effective_at, source, op=Op.DELETE)
        await self._store.write(tenant, lambda tx: self._writer.end(tx, tenant, end))


def _outcome(incoming: Sequence[Incoming], results: Sequence[Result]) -> Outcome:
    outcome = Outcome()
    for record, result in zip(incoming, results, strict=True):
        if isinstance(result, PortraitError):
            outcome.refused.append(Refusal(record.at, result.code, result.detail))
            continue
        outcome.recorded += result.is_new
        outcome.duplicates += not result.is_new
        outcome.warnings += [RecordWarned(record.at, *warning) for warning in result.warnings]
    return outcome
