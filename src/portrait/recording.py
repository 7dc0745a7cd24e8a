"""The way in: validated records become facts, and the documents they change are rendered, in one transaction."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import msgspec

from portrait import request
from portrait.batch import Batch, Place
from portrait.ending import Ended, not_held, record_ended
from portrait.failures import Failures
from portrait.identity import rules
from portrait.identity.rules import WORDS, Rule, Rules
from portrait.incoming import Incoming
from portrait.judging import Judge, Unfit
from portrait.linking import Linker, Stated, refused
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
from portrait.naming import Naming, depends_on_region
from portrait.repetition import Taken, novelty
from portrait.sections.base import Parsed, StoredSection
from portrait.sections.identities import Identity, identifier_of
from portrait.sections.links import LINKS, shown_by
from portrait.storage.contract import Asked, Store, Transaction
from portrait.together import Together

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


class Warned(NamedTuple):
    """One record that was taken, with something to know about it."""

    at: int
    code: str
    detail: str


class Outcome(msgspec.Struct):
    """What became of the records of a request."""

    recorded: int = 0
    duplicates: int = 0
    refused: list[Refusal] = []
    warnings: list[Warned] = []


Result = Taken | PortraitError
"""What became of one record, or why it was refused."""


class _LeftOut(Exception):  # no error: the records are recorded again, without those
    """Some records cannot be recorded as they say.

    Args:
        why: by their places among those that are recorded together, for what reason.
    """

    def __init__(self, why: Mapping[int, PortraitError]) -> None:
        self.why = why


class _Unnamed(_LeftOut):
    """Records cannot be named as they say, under the rules that hold now."""


class _Unlinked(_LeftOut):
    """Records cannot be linked as they say, though no rule refuses it."""


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
    ) -> None:
        """Take identity records as somebody's own word, all or none: a link that a rule refuses refuses them all.

        Raises:
            LinkRefused, SelfLink: a link cannot be; the detail says why.
            InvalidRequest, Conflict: the first record refused.
        """
        await self._record(tx, tenant, incoming, None, failures, atomic=True, rule=Rule.LINK, credential=credential)

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
        is_careful = False
        while True:
            rest = [one for place, one in enumerate(incoming) if place not in refused]
            work = partial(
                self._record,
                tenant=tenant,
                incoming=rest,
                suspected=suspected,
                failures=failures,
                atomic=atomic,
                careful=is_careful,
            )
            try:
                taken = iter(await self._store.write(tenant, work))
            except Unfit as error:
                suspected |= error.why
            except _LeftOut as error:
                is_careful |= isinstance(error, _Unlinked)
                places = [place for place in range(len(incoming)) if place not in refused]
                refused |= {places[place]: why for place, why in error.why.items()}
            else:
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
        careful: bool = False,
        rule: Literal[Rule.RECORD, Rule.LINK] = Rule.RECORD,
        credential: str | None = None,
    ) -> list[Result]:
        """Record what can be recorded.

        Args:
            tx: the transaction.
            tenant: the tenant.
            incoming: the records.
            suspected: by identifier and section, why sections cannot be shown with all of the records: these are tried
                one by one. None: whatever becomes of what sections show.
            failures: logs what sections' code raises at records; None: whoever waits for a record does.
            atomic: whether to take all or none.
            careful: whether to go on after a record that cannot be linked, to find all of them: that costs every link.
            rule: whether the records are a source's, or somebody's own word.
            credential: the id of the credential that acts, where they are that.

        Raises:
            Unfit: a section to which records were added cannot be shown, and is not suspected yet.
            _Unnamed: records cannot be named under the rules that hold now.
            _Unlinked: records cannot be linked.
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
        if linked:
            await self._link(
                batch, await _rules(tx, tenant), incoming, taken, rule, credential, atomic=atomic, careful=careful
            )
        await self._unlink(tx, tenant, batch, ended)
        await batch.derive()
        if suspected is not None:
            judge.check()
        failures = failures or Failures(tenant, None)
        for why in batch.unfit.values():
            failures.log(why)
        await batch.put()
        return taken

    @staticmethod
    async def _take(batch: Batch, judge: Judge, one: Incoming, known: dict[Asked, list[Fact]]) -> Taken:
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
        batch: Batch,
        tenants: Rules,
        incoming: Sequence[Incoming],
        taken: list[Result],
        rule: Rule,
        credential: str | None,
        *,
        atomic: bool,
        careful: bool,
    ) -> None:
        """Link what records are evidence of, the strongest first, and note what the rules refuse.

        Raises:
            _Unlinked: records cannot be linked, and not all are to be recorded or none.
        """
        linker = Linker(batch, tenants, self._clock())

        def weakest(place: int) -> int:
            one = incoming[place]
            return max(tenants.of(one.identifier.type).priority, tenants.of(_mentioned(one).type).priority)

        told = [place for place, one in enumerate(incoming) if one.linked and isinstance(taken[place], Taken)]
        ends = [each for place in told for each in (incoming[place].identifier, _mentioned(incoming[place]))]
        await batch.links(member for one in ends for member in batch.profile_of(one).members)  # all at once
        unlinked: dict[int, PortraitError] = {}
        for place in sorted(told, key=weakest):
            saved = batch.checkpoint() if careful else {}
            try:
                await self._linked(linker, incoming[place], taken, place, rule, credential)
            except Unavailable:
                raise
            except PortraitError as error:
                if atomic:
                    raise (error if len(incoming) == 1 else error.of_record(incoming[place].at)) from None
                unlinked[place] = error
                if not careful:
                    break
                batch.restore(saved)
        if unlinked:
            raise _Unlinked(unlinked)

    @staticmethod
    async def _linked(
        linker: Linker, one: Incoming, results: list[Result], place: int, rule: Rule, credential: str | None
    ) -> None:
        """Link what one record is evidence of."""
        assert one.linked is not None
        by_hand = rule is Rule.LINK
        stated = Stated(one.linked.confidence, one.source, rule, one.effective_at or 0, credential)
        if by_hand:
            await linker.lift(one.identifier, _mentioned(one), stated)
        taken = results[place]
        assert isinstance(taken, Taken)
        anew = not taken.is_new and not by_hand
        reason, holds = await linker.link(one.named, one.linked.named, stated, anew=anew)
        if reason is not None and by_hand and not holds:
            raise refused(reason)
        if reason is not None:
            results[place] = taken._replace(warnings=(*taken.warnings, RecordWarning(reason.value, WORDS[reason])))

    def _batch(self, tx: Transaction, tenant: str) -> Batch:
        return Batch(tx, tenant, self._clock(), self._sections)

    @staticmethod
    async def _evidence(
        tx: Transaction, tenant: str, batch: Batch, linked: Sequence[Incoming]
    ) -> dict[Asked, list[Fact]]:
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
        await self._unlink(tx, tenant, batch, ended)
        await batch.finish()

    async def _unlink(self, tx: Transaction, tenant: str, batch: Batch, ended: Iterable[Ended]) -> None:
        """Take back the links that ended records were the evidence of; what somebody said by hand stays."""
        evidence = [
            (section, identifier, body)
            for section, identifier, key, body in ended
            if shown_by(section) is LINKS and body is not None
            if not batch.is_known(identifier) or batch.current(identifier, section, key) is None
        ]
        if not evidence:
            return
        tenants = await _rules(tx, tenant)
        linker = Linker(batch, tenants, self._clock())
        for section, identifier, body in evidence:
            record = section.shape.decode(body)
            assert isinstance(record, Identity)
            await linker.retract(identifier, identifier_of(record, tenants.region), {Rule.RECORD})


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
        outcome.warnings += [Warned(one.at, *warning) for warning in result.warnings]
    return outcome
