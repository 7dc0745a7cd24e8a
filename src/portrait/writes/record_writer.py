"""Records become facts, inside one transaction: what repeats is passed over, what ends is ended, links are decided."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from portrait.identity import rules
from portrait.identity.normalise import Forms
from portrait.identity.rules import WORDS, Rules
from portrait.model.errors import CustomerNotFound, PortraitError, Unavailable
from portrait.model.fact import Fact, Op
from portrait.model.identifier import Identifier
from portrait.model.time import Clock
from portrait.model.warning import RecordWarning
from portrait.sections.base import StoredSection
from portrait.sections.identities import Identity, identifier_of
from portrait.sections.links import LINKS
from portrait.serving.failures import Failures
from portrait.storage.contract import FactsAsked, Transaction
from portrait.writes.ending import Ended, not_held, record_ended
from portrait.writes.evidence import Said, ended_pairs, pairs_of
from portrait.writes.incoming import Incoming
from portrait.writes.judging import Judge
from portrait.writes.linking import Linker
from portrait.writes.naming import Naming, depends_on_rules
from portrait.writes.repetition import Taken, novelty
from portrait.writes.unit_of_work import UnitOfWork
from portrait.writes.working_set import StateKey

Known = dict[FactsAsked, list[Fact]]
Result = Taken | PortraitError
"""What became of one record, or why it was refused."""


class Unnamed(Exception):  # no error: the records are recorded again, without those
    """Some records cannot be named as they say, under the rules that hold now.

    Args:
        why: by their indexes among those that are recorded together, for what reason.
    """

    def __init__(self, why: Mapping[int, PortraitError]) -> None:
        self.why = why


class ByHand(NamedTuple):
    """Somebody's own word, as against a source's records."""

    credential: str | None
    """The id of the credential that acts; None: none does, or all are let in."""


class RecordWriter:
    """Records in a transaction that others begin.

    Args:
        clock: what time it is.
        sections: every stored section there is.
    """

    def __init__(self, clock: Clock, sections: Iterable[StoredSection]) -> None:
        self._clock = clock
        self._sections = {section.name: section for section in sections}

    async def record(
        self,
        tx: Transaction,
        tenant: str,
        incoming: Sequence[Incoming],
        suspected: Mapping[StateKey, PortraitError] | None,
        failures: Failures | None,
        *,
        atomic: bool,
        by_hand: ByHand | None = None,
    ) -> tuple[UnitOfWork, list[Result]]:
        """Record what can be recorded; return the unit of work, and what became of each record.

        Args:
            tx: the transaction.
            tenant: the tenant.
            incoming: the records.
            suspected: by identifier and section, why sections cannot be shown with all of the records: these are tried
                one by one. None: whatever becomes of what sections show.
            failures: logs what sections' code raises at records; None: whoever waits for a record does.
            atomic: whether to take all or none.
            by_hand: whose own word the records are; None: they are their sources'.

        Raises:
            Unfit: a section to which records were added cannot be shown, and is not suspected yet.
            Unnamed: records cannot be named under the rules that hold now.
            LinkRefused, SelfLink: somebody links two by hand, and a rule refuses it.
            InvalidRequest, Conflict: the first record refused, where all are to be taken or none.
        """
        incoming = await _renamed(tx, tenant, incoming, atomic=atomic)
        async with UnitOfWork(tx, tenant, self._clock(), self._sections) as unit:
            judge = Judge(unit, suspected or {})
            put = {record.identifier: record for record in incoming if record.op is Op.PUT}
            named = [record.named for record in put.values()]
            mentioned = [record.identifier for record in incoming if record.op is Op.DELETE]
            mentioned += [record.linked.named.identifier for record in incoming if record.linked is not None]
            await unit.open(named, mentioned, claim=True)
            results = await self.add(tx, tenant, unit, judge, incoming, failures, atomic=atomic, by_hand=by_hand)
            unfit = await unit.derive()
            if suspected is not None:
                judge.check()
            logged = failures or Failures(tenant, None)
            for error in unfit.values():
                logged.log(error)
        return unit, results

    async def add(
        self,
        tx: Transaction,
        tenant: str,
        unit: UnitOfWork,
        judge: Judge,
        incoming: Sequence[Incoming],
        failures: Failures | None,
        *,
        atomic: bool,
        by_hand: ByHand | None = None,
    ) -> list[Result]:
        """Add the facts of records to a unit of work that has their customers; see `record`."""
        asked = [record.asked for record in incoming]
        known = await _known(tx, tenant, unit, incoming, asked)
        ends = any(record.op is Op.DELETE and _names(record) for record in incoming)
        forms = (await _rules(tx, tenant)).forms if ends else None
        results, ended = await _taken(unit, judge, incoming, asked, known, failures, forms, atomic=atomic)
        if ended or any(record.linked or record.has_hashes for record in incoming):
            await self._link(tx, tenant, unit, incoming, results, ended, known, by_hand)
        return results

    async def end(self, tx: Transaction, tenant: str, end: Incoming) -> None:
        """End a record, for every identifier of the customer that has it.

        Raises:
            CustomerNotFound, RecordNotFound: there is no such customer, or no record under the key, live or ahead.
            InvalidRecord: what ends at once would end too far ahead.
        """
        async with UnitOfWork(tx, tenant, self._clock(), self._sections) as unit:
            if not await unit.open([end.named], claim=False):
                raise CustomerNotFound
            known = await unit.known([end], [end.asked])
            ended = record_ended(unit, end, known)
            if not ended:
                raise not_held()
            await self._link(tx, tenant, unit, [], [], ended, known, None)

    async def _link(
        self,
        tx: Transaction,
        tenant: str,
        unit: UnitOfWork,
        incoming: Sequence[Incoming],
        results: list[Result],
        ended: Sequence[Ended],
        known: Mapping[FactsAsked, Sequence[Fact]],
        by_hand: ByHand | None,
    ) -> None:
        """Decide anew on what is claimed of the identifiers that records, or ends of records, name.

        Raises:
            LinkRefused, SelfLink: somebody links two by hand, and a rule refuses it.
        """
        section = self._sections.get(LINKS.document)
        if section is None:
            return
        policy = await _rules(tx, tenant)
        linker = Linker(unit, policy, self._clock())
        accepted = [index for index, result in enumerate(results) if isinstance(result, Taken)]
        taken = [index for index in accepted if incoming[index].linked]
        pairs = ended_pairs(ended, known, policy.forms) | pairs_of([incoming[index] for index in taken])
        clear = _clear(policy, [incoming[index] for index in accepted]) if policy.hashed else {}
        hashes = [other for identifier in clear for other in policy.hashes(identifier)]
        await linker.load([*(identifier for pair in pairs for identifier in pair), *clear, *hashes])
        await linker.follow(section, pairs)
        if clear:
            linker.tell_hashes(clear)
        linker.decide()
        if by_hand is not None:
            linker.link([incoming[index] for index in taken], by_hand.credential)
        for index in taken:
            reason, _ = linker.outcome(incoming[index], by_hand=by_hand is not None)
            result = results[index]
            assert isinstance(result, Taken)
            if reason is not None:
                warning = RecordWarning(reason.value, WORDS[reason])
                results[index] = result._replace(warnings=(*result.warnings, warning))
        await linker.apply()


def _clear(policy: Rules, incoming: Iterable[Incoming]) -> dict[Identifier, str]:
    """Return the clear identifiers that records name, as they were given, of which the tenant has a type of hashes."""
    puts = [record for record in incoming if record.op is Op.PUT]
    named = [given for record in puts for given in (record.named, *([record.linked.named] if record.linked else ()))]
    return {identifier: value for identifier, value in named if identifier.type in policy.hashed}


async def _known(
    tx: Transaction, tenant: str, unit: UnitOfWork, incoming: Sequence[Incoming], asked: Sequence[FactsAsked]
) -> Known:
    """Load what deciding on records takes."""
    known = await unit.known(incoming, asked)
    # Evidence that says what counts now: whether its own source said so is seen by its facts.
    repeated = {
        question
        for record, question in zip(incoming, asked, strict=True)
        if record.linked is not None
        and record.moment is None
        and unit.live_body(record.identifier, record.section, record.parsed.key) == record.parsed.body
    }
    return known | (await tx.known(tenant, repeated) if repeated else {})


async def _taken(
    unit: UnitOfWork,
    judge: Judge,
    incoming: Sequence[Incoming],
    asked: Sequence[FactsAsked],
    known: Known,
    failures: Failures | None,
    forms: Forms | None,
    *,
    atomic: bool,
) -> tuple[list[Result], list[Ended]]:
    """Add the facts of records; return what became of each, and what was ended.

    Args:
        unit: the working set.
        judge: judges what sections can show.
        incoming: the records.
        asked: what each may repeat or end.
        known: the facts that are known.
        failures: logs what sections' code raises.
        forms: the forms in which the tenant's identifiers match; needed where an end names evidence by its fields.
        atomic: whether to take all or none.
    """
    results: list[Result] = []
    ended: list[Ended] = []
    for record, question in zip(incoming, asked, strict=True):
        try:
            if record.op is Op.DELETE:
                ends = [end for each in _as_stored(unit, record, forms) for end in record_ended(unit, each, known)]
                ended += ends
                results.append(Taken(bool(ends)))
            else:
                results.append(await _take(unit, judge, record, question, known))
        except Unavailable:
            raise
        except PortraitError as error:
            if failures is not None:
                failures.log(error)
            if atomic:
                raise error.of_record(record.at) from None
            results.append(error)
    return results, ended


def _names(record: Incoming) -> Identity | None:
    """Return the evidence that an end names by its fields, or None."""
    named_by = record.parsed.named_by
    return named_by if isinstance(named_by, Identity) else None


def _as_stored(unit: UnitOfWork, end: Incoming, forms: Forms | None) -> list[Incoming]:
    """Return an end of a record under every key under which it is stored; the forms of then may have made others."""
    evidence = _names(end)
    if evidence is None or forms is None or not unit.is_known(end.identifier):
        return [end]
    members = unit.members_of(end.identifier)
    states = {member: unit.state((end.section.name, member)) for member in members}
    stored = Said(end.section, forms, states)
    other = identifier_of(evidence, forms)
    keys = dict.fromkeys(key for member in members for key in stored.keys(member, other))
    live = [key for key in keys if any(unit.has_record(member, end.section, key) for member in members)]
    return [end._replace(parsed=end.parsed._replace(key=key)) for key in live] or [end]


async def _take(unit: UnitOfWork, judge: Judge, record: Incoming, question: FactsAsked, known: Known) -> Taken:
    """Add a record's fact if it is new, and tell whether it is."""
    fact = unit.fact(record)
    is_new, warnings = novelty(unit, record, fact, known.get(question, ()))
    if is_new:
        await judge.add(record, fact)
        known.setdefault(question, []).append(fact)
        if question.moment is not None:
            known.setdefault(FactsAsked(*question[:3], None), []).append(fact)
    return Taken(is_new, record.warnings + warnings)


async def _renamed(tx: Transaction, tenant: str, incoming: Sequence[Incoming], *, atomic: bool) -> Sequence[Incoming]:
    """Return records with identifiers in the forms that the tenant's rules give them, which nobody changes meanwhile.

    What parsed them may not have heard yet of a region or a form that was set.

    Raises:
        Unnamed: records cannot be named under the rules that hold now, and not all are to be recorded or none.
    """
    if not any(map(depends_on_rules, incoming)):
        return incoming
    row = await tx.hold_rules(tenant)
    if row is None:
        return incoming
    naming = Naming(row)
    renamed: list[Incoming] = []
    wrong: dict[int, PortraitError] = {}
    for index, record in enumerate(incoming):
        try:
            renamed.append(naming.anew(record) if depends_on_rules(record) else record)
        except PortraitError as error:
            if atomic:
                raise (error if len(incoming) == 1 else error.of_record(record.at)) from None
            wrong[index] = error
    if wrong:
        raise Unnamed(wrong)
    return renamed


async def _rules(tx: Transaction, tenant: str) -> Rules:
    """Return a tenant's rules as they are now, whichever process changed them."""
    row = await tx.tenant(tenant)
    return rules.read(row.rules if row else None)
