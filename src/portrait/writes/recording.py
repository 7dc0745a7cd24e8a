"""The way in: validated records become facts, and the documents they change are rendered, in one transaction."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import msgspec

from portrait.identity import rules
from portrait.identity.rules import WORDS, Rule, Rules
from portrait.model.errors import (
    CustomerNotFound,
    Defect,
    PortraitError,
    SectionFailed,
    Unavailable,
)
from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier, customer
from portrait.model.time import Clock
from portrait.model.warning import RecordWarning
from portrait.sections.base import Parsed, StoredSection
from portrait.sections.links import LINKS
from portrait.serving import request
from portrait.serving.failures import Failures
from portrait.storage.contract import FactsAsked, Store, Transaction
from portrait.writes.ending import Ended, not_held, record_ended
from portrait.writes.evidence import ended_pairs, pairs_of
from portrait.writes.group_commit import Together
from portrait.writes.incoming import Incoming
from portrait.writes.judging import Judge, Unfit
from portrait.writes.linking import Linker
from portrait.writes.naming import Naming, depends_on_region
from portrait.writes.repetition import Taken, novelty
from portrait.writes.unit_of_work import Batch
from portrait.writes.working_set import Place

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


Result = Taken | PortraitError
"""What became of one record, or why it was refused."""


class _Unnamed(Exception):  # no error: the records are recorded again, without those
    """Some records cannot be named as they say, under the rules that hold now.

    Args:
        why: by their places among those that are recorded together, for what reason.
    """

    def __init__(self, why: Mapping[int, PortraitError]) -> None:
        self.why = why


class Recorder:
    """Takes records in.

    Args:
        store: where to.
        clock: what time it is.
        sections: every stored section there is.
        patience: how long a single record waits for its transaction to begin, in seconds.
    """

    def __init__(
        self, store: Store, clock: Clock, sections: Iterable[StoredSection], *, patience: float = math.inf
    ) -> None:
        self._store = store
        self._clock = clock
        self._sections = {section.name: section for section in sections}
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

    async def link_all(
        self,
        tx: Transaction,
        tenant: str,
        incoming: Sequence[Incoming],
        failures: Failures,
        credential: str | None = None,
    ) -> Batch:
        """Take identity records as somebody's own word, all or none; return the working set.

        Raises:
            LinkRefused, SelfLink: a link cannot be; the detail says why.
            InvalidRequest, Conflict: the first record refused.
        """
        batch, _ = await self._record(
            tx, tenant, incoming, None, failures, atomic=True, rule=Rule.LINK, credential=credential
        )
        return batch

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
            result if isinstance(result, PortraitError) else _outcome([one], [result])
            for one, result in zip(incoming, await self._each(tenant, incoming, None), strict=True)
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
                return [error if isinstance(error, PortraitError) else Defect("An error of the service's own.")]
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
        suspected: dict[Place, PortraitError] = {}
        refused: dict[int, PortraitError] = {}
        while True:
            rest = [one for place, one in enumerate(incoming) if place not in refused]
            work = partial(
                self._record,
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
            except _Unnamed as error:
                places = [place for place in range(len(incoming)) if place not in refused]
                refused |= {places[place]: why for place, why in error.why.items()}
            else:
                taken = iter(results)
                return [refused[place] if place in refused else next(taken) for place in range(len(incoming))]

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
        await self._store.write(tenant, lambda tx: self._delete(tx, tenant, end))

    async def _record(
        self,
        tx: Transaction,
        tenant: str,
        incoming: Sequence[Incoming],
        suspected: Mapping[Place, PortraitError] | None,
        failures: Failures | None,
        *,
        atomic: bool,
        rule: Literal[Rule.RECORD, Rule.LINK] = Rule.RECORD,
        credential: str | None = None,
    ) -> tuple[Batch, list[Result]]:
        """Record what can be recorded; return the working set, and what became of each record.

        Args:
            tx: the transaction.
            tenant: the tenant.
            incoming: the records.
            suspected: by identifier and section, why sections cannot be shown with all of the records: these are tried
                one by one. None: whatever becomes of what sections show.
            failures: logs what sections' code raises at records; None: whoever waits for a record does.
            atomic: whether to take all or none.
            rule: whether the records are a source's, or somebody's own word.
            credential: the id of the credential that acts, where they are that.

        Raises:
            Unfit: a section to which records were added cannot be shown, and is not suspected yet.
            _Unnamed: records cannot be named under the rules that hold now.
        """
        incoming = await _named_anew(tx, tenant, incoming, atomic=atomic)
        batch = self._batch(tx, tenant)
        judge = Judge(batch, suspected or {})
        linked = [one for one in incoming if one.linked is not None]
        told_of = [one.named for one in incoming if one.op is Op.PUT]
        ending = [one.identifier for one in incoming if one.op is Op.DELETE]
        await batch.open(told_of, [*map(_mentioned, linked), *ending], claim=True)
        asked = [one.asked for one in incoming]
        known = await batch.known(incoming, asked)
        known |= await self._evidence(tx, tenant, batch, linked)
        taken: list[Result] = []
        ended: list[Ended] = []
        for one in incoming:
            try:
                if one.op is Op.DELETE:
                    ends = record_ended(batch, one, known)
                    ended += ends
                    taken.append(Taken(bool(ends)))
                else:
                    taken.append(await self._take(batch, judge, one, known))
            except Unavailable:
                raise
            except PortraitError as error:
                if failures is not None:
                    failures.log(error)
                if atomic:
                    raise error.of_record(one.at) from None
                taken.append(error)
        if linked or ended:
            await self._link(tx, tenant, batch, incoming, taken, ended, known, rule, credential)
        await batch.derive()
        if suspected is not None:
            judge.check()
        failures = failures or Failures(tenant, None)
        for why in batch.unfit.values():
            failures.log(why)
        await batch.put()
        return batch, taken

    @staticmethod
    async def _take(batch: Batch, judge: Judge, one: Incoming, known: dict[FactsAsked, list[Fact]]) -> Taken:
        """Add a record's fact if it is new, and tell whether it is."""
        fact, question = batch.fact(one), one.asked
        taken = novelty(batch, one, fact, known.get(question, ()))
        if taken.is_new:
            await judge.add(one, fact)
            for repeated in {question, question._replace(moment=None)}:
                known.setdefault(repeated, []).append(fact)
        return taken._replace(warnings=(*one.warnings, *taken.warnings))

    async def _link(
        self,
        tx: Transaction,
        tenant: str,
        batch: Batch,
        incoming: Sequence[Incoming],
        results: list[Result],
        ended: Sequence[Ended],
        known: Mapping[FactsAsked, Sequence[Fact]],
        rule: Rule,
        credential: str | None,
    ) -> None:
        """Decide anew on what is claimed of the identifiers that records, or ends of records, name.

        Raises:
            LinkRefused, SelfLink: somebody links two by hand, and a rule refuses it.
        """
        section = self._sections.get(LINKS.document)
        if section is None:
            return
        rules = await _rules(tx, tenant)
        linker = Linker(batch, rules, self._clock())
        taken = [place for place, one in enumerate(incoming) if one.linked and isinstance(results[place], Taken)]
        pairs = ended_pairs(ended, known, rules.region) | pairs_of([incoming[place] for place in taken])
        await linker.load(one for pair in pairs for one in pair)
        await linker.follow(section, pairs)
        linker.decide()
        if rule is Rule.LINK:
            linker.link([incoming[place] for place in taken], credential)
        for place in taken:
            reason, _ = linker.outcome(incoming[place], by_hand=rule is Rule.LINK)
            result = results[place]
            assert isinstance(result, Taken)
            if reason is not None:
                warning = RecordWarning(reason.value, WORDS[reason])
                results[place] = result._replace(warnings=(*result.warnings, warning))
        await linker.apply()

    def _batch(self, tx: Transaction, tenant: str) -> Batch:
        return Batch(tx, tenant, self._clock(), self._sections)

    @staticmethod
    async def _evidence(
        tx: Transaction, tenant: str, batch: Batch, linked: Sequence[Incoming]
    ) -> dict[FactsAsked, list[Fact]]:
        """Load what was told before of evidence that says what counts now: whether its own source said so."""
        repeated = {
            one.asked
            for one in linked
            if one.moment is None and batch.current(one.identifier, one.section, one.parsed.key) == one.parsed.body
        }
        return await tx.known(tenant, repeated) if repeated else {}

    async def _delete(self, tx: Transaction, tenant: str, end: Incoming) -> None:
        batch = self._batch(tx, tenant)
        if not await batch.open([end.named], claim=False):
            raise CustomerNotFound
        known = await batch.known([end], [end.asked])
        ended = record_ended(batch, end, known)
        if not ended:
            raise not_held()
        await self._link(tx, tenant, batch, [], [], ended, known, Rule.RECORD, None)
        await batch.finish()


async def _named_anew(
    tx: Transaction, tenant: str, incoming: Sequence[Incoming], *, atomic: bool
) -> Sequence[Incoming]:
    """Return records with phones in the form that the tenant's region gives them, which nobody changes meanwhile.

    What parsed them may not have heard yet of a region that was set; a form that is stored stays as it is for good.

    Raises:
        _Unnamed: records cannot be named under the rules that hold now, and not all are to be recorded or none.
    """
    if not any(map(depends_on_region, incoming)):
        return incoming
    held = await tx.hold_rules(tenant)
    if held is None:
        return incoming
    naming = Naming(held)
    found: list[Incoming] = []
    wrong: dict[int, PortraitError] = {}
    for place, one in enumerate(incoming):
        try:
            found.append(naming.anew(one) if depends_on_region(one) else one)
        except PortraitError as error:
            if atomic:
                raise (error if len(incoming) == 1 else error.of_record(one.at)) from None
            wrong[place] = error
    if wrong:
        raise _Unnamed(wrong)
    return found


async def _rules(tx: Transaction, tenant: str) -> Rules:
    """Return a tenant's rules as they are now, whichever process changed them."""
    found = await tx.tenant(tenant)
    return rules.read(found.rules if found else None)


def _mentioned(one: Incoming) -> Identifier:
    assert one.linked is not None
    return one.linked.named.identifier


def _outcome(incoming: Sequence[Incoming], results: Sequence[Result]) -> Outcome:
    outcome = Outcome()
    for one, result in zip(incoming, results, strict=True):
        if isinstance(result, PortraitError):
            outcome.refused.append(Refusal(one.at, result.code, result.detail))
            continue
        outcome.recorded += result.is_new
        outcome.duplicates += not result.is_new
        outcome.warnings += [RecordWarned(one.at, *warning) for warning in result.warnings]
    return outcome
