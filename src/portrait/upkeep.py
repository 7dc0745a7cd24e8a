"""Upkeep of what is derived: check it against the facts, rebuild it from them, refresh what time has overtaken."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from portrait import folding
from portrait.identity.graph import first_owner
from portrait.model.document import HEAD, Document, content_hash, head_document
from portrait.model.fact import Fact
from portrait.model.identifier import Identifier, customer
from portrait.model.time import Clock
from portrait.recording import Recorder
from portrait.sections.registry import Registry
from portrait.storage.contract import Reads, Store, StoredState, Transaction

_log = logging.getLogger("portrait.upkeep")
CHUNK = 200
"""How many customers are compared in one snapshot or rebuilt in one transaction."""

Progress = Callable[[int], None]


class Difference(NamedTuple):
    """One place where what is held is not what the facts say."""

    tenant: str
    kind: Literal["document", "state", "identifier", "head"]
    section: str
    reason: Literal["missing", "different", "unfounded"]


class Report(msgspec.Struct):
    """What a check or a rebuild found."""

    customers: int = 0
    facts: int = 0
    differences: list[Difference] = []
    unregistered: dict[str, int] = {}
    """Facts of sections that no longer are registered, by section: kept, and left out of documents."""
    faults: list[str] = []
    """What the database's own check of its files found."""


class Upkeep:
    """Checks, rebuilds and refreshes one database."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, overtaken: folding.Overtaken) -> None:
        self._store = store
        self._overtaken = overtaken
        self._registry = registry
        self._clock = clock

    async def check(self, progress: Progress | None = None) -> Report:
        """Derive everything anew beside what is held, compare, and report; nothing is written."""
        report = Report(faults=await self._store.faults())
        now = self._clock()

        async def compare(tenant: str, customers: list[str]) -> None:
            async with self._store.snapshot() as reads:
                for one in await self._customers_held(reads, tenant, customers, now, report):
                    one.compare()

        await self._each(compare, progress)
        return report

    async def rebuild(self, progress: Progress | None = None) -> Report:
        """Derive everything anew, report what was held otherwise, and put it right, a few customers at a time.

        A service may go on serving: each customer is locked while it is compared and replaced.
        """
        report = Report()

        async def repair(tenant: str, customers: list[str]) -> None:
            found = await self._store.write(lambda tx: self._repair(tx, tenant, customers))
            report.customers += found.customers
            report.facts += found.facts
            report.differences += found.differences
            for section, count in found.unregistered.items():
                report.unregistered[section] = report.unregistered.get(section, 0) + count

        await self._each(repair, progress)
        return report

    async def refresh(self, limit: int = 500) -> int:
        """Render anew the documents whose moment has come, or that reads found overtaken; return how many."""
        recorder = Recorder(self._store, self._clock)
        names = [section.name for section in self._registry.all_stored()]
        due = dict.fromkeys([*await self._store.due(names, self._clock(), limit), *self._overtaken.take()])
        for tenant, customer_id, name in due:
            try:
                await recorder.refresh(tenant, customer_id, self._registry.stored(name))
            except Exception:  # noqa: BLE001  # one that a plugin's fold fails at must not keep the others waiting
                _log.exception("a document of section %s was not refreshed", name)
        return len(due)

    async def _repair(self, tx: Transaction, tenant: str, customers: list[str]) -> Report:
        await tx.lock(tenant, customers)
        report = Report()
        held = await self._customers_held(tx, tenant, customers, self._clock(), report)
        for one in held:
            one.compare()
            await one.drop(tx)
        # All that is unfounded goes before anything is put: what one customer holds wrongly may be another's.
        await tx.put_documents(tenant, {one.id: one.documents for one in held})
        await tx.put_states(tenant, {pair: state for one in held for pair, state in one.states.items()})
        await tx.put_identifiers(tenant, {identifier: one.id for one in held for identifier in one.owners})
        return report

    async def _customers_held(
        self, reads: Reads, tenant: str, customers: list[str], now: int, report: Report
    ) -> "list[_Customer]":
        """Return customers with all that is told and all that is held of them, read together."""
        members = await reads.members(tenant, customers)
        identifiers = {customer(one) for one in customers} | {one for held in members.values() for one in held}
        facts: dict[Identifier, list[Fact]] = {}
        for fact in await reads.facts(tenant, identifiers):
            facts.setdefault(fact.identifier, []).append(fact)
        documents = await reads.all_documents(tenant, customers)
        states: dict[Identifier, dict[str, StoredState]] = {}
        for (identifier, section), state in (await reads.states_of(tenant, identifiers)).items():
            states.setdefault(identifier, {})[section] = state
        return [
            _Customer(
                self._registry, tenant, one, now, report,
                facts=facts.get(customer(one), []),
                members=members.get(one, []),
                documents=documents.get(one, []),
                states={
                    (identifier, section): state
                    for identifier in {customer(one), *members.get(one, ())}
                    for section, state in states.get(identifier, {}).items()
                },
            )
            for one in customers
        ]  # fmt: skip

    async def _each(self, work: Callable[[str, list[str]], Awaitable[None]], progress: Progress | None) -> None:
        done = 0
        async for tenant in self._tenants():
            async for customers in self._customers(tenant):
                await work(tenant, customers)
                done += len(customers)
                if progress:
                    progress(done)

    async def _tenants(self) -> AsyncIterator[str]:
        after = None
        while page := await self._store.tenants(after, CHUNK):
            for tenant in page:
                yield tenant.id
            after = page[-1].id

    async def _customers(self, tenant: str) -> AsyncIterator[list[str]]:
        """Yield all customers in chunks: those that facts speak of, then those that only derived rows know."""
        known: Identifier | None = None
        while page := await self._store.fact_identifiers(tenant, known, CHUNK):
            yield [owner for one in page if (owner := first_owner(one)) is not None]
            known = page[-1]
        after: str | None = None
        while names := await self._store.derived_customers(tenant, after, CHUNK):
            yield await self._strays(tenant, map(customer, names))
            after = names[-1]
        known = None
        while page := await self._store.derived_identifiers(tenant, known, CHUNK):
            yield await self._strays(tenant, page)
            known = page[-1]

    async def _strays(self, tenant: str, identifiers: Iterable[Identifier]) -> list[str]:
        wanted = list(identifiers)
        founded = await self._store.with_facts(tenant, wanted)
        return [owner for one in wanted if one not in founded and (owner := first_owner(one)) is not None]


class _Customer:
    """One customer: what the facts say, beside what is held."""

    def __init__(
        self,
        registry: Registry,
        tenant: str,
        customer_id: str,
        now: int,
        report: Report,
        *,
        facts: list[Fact],
        members: list[Identifier],
        documents: list[Document],
        states: dict[tuple[Identifier, str], StoredState],
    ) -> None:
        self._registry = registry
        self._tenant = tenant
        self.id = customer_id
        self._report = report
        self._held_documents = {document.section: document for document in documents}
        self._held_owners = dict.fromkeys(members, customer_id)
        self._held_states = {pair: state for pair, state in states.items() if registry.find_stored(pair[1])}
        head = folding.head_of(facts)
        self._now = max(now, head.updated_at if head else 0)
        self.owners = {customer(customer_id): customer_id} if head else {}
        self._by_section = {HEAD: head_document(head)} if head else {}
        self.states: dict[tuple[Identifier, str], StoredState] = {}
        report.customers += 1
        report.facts += len(facts)
        self._derive(facts)

    def _derive(self, facts: list[Fact]) -> None:
        """Make from the facts, beside what is held, what should be held."""
        by_section: dict[str, list[Fact]] = {}
        for fact in facts:
            by_section.setdefault(fact.section, []).append(fact)
        for name, told in by_section.items():
            section = self._registry.find_stored(name)
            if section is None:
                self._report.unregistered[name] = self._report.unregistered.get(name, 0) + len(told)
                continue
            state = folding.fold_facts(section, told)
            self.states[customer(self.id), name] = folding.store_state(section, state)
            self._by_section[name] = folding.render(section, [state], self._now)

    async def drop(self, tx: Transaction) -> None:
        """Remove what is held and has no ground in the facts."""
        registered = {HEAD, *(section.name for section in self._registry.all_stored())}
        stray = [name for name in self._held_documents if name in registered and name not in self._by_section]
        if stray:
            await tx.drop_documents(self._tenant, self.id, stray)
        if states := self._held_states.keys() - self.states.keys():
            await tx.drop_states(self._tenant, states)
        if owners := self._held_owners.keys() - self.owners.keys():
            await tx.drop_identifiers(self._tenant, owners)

    @property
    def documents(self) -> list[Document]:
        """The head and the documents that the facts lead to."""
        return list(self._by_section.values())

    def compare(self) -> None:
        """Report how what is held differs from what the facts say."""
        self._compare("identifier", {"": self.owners}, {"": self._held_owners}, lambda a, b, _: a == b)
        self._compare(
            "state",
            {name: state for (_, name), state in self.states.items()},
            {name: state for (_, name), state in self._held_states.items()},
            self._same_state,
        )
        self._compare("document", self._by_section, self._held_documents, self._same_document)

    def _compare(
        self,
        kind: Any,
        derived: Mapping[str, Any],
        held: Mapping[str, Any],
        same: Callable[[Any, Any, str], bool],
    ) -> None:
        for name in sorted(derived.keys() | held.keys()):
            if name not in held:
                reason: Any = "missing"
            elif name not in derived:
                if name != HEAD and self._registry.find_stored(name) is None:
                    continue
                reason = "unfounded"
            elif same(derived[name], held[name], name):
                continue
            else:
                reason = "different"
            shown: Any = "head" if kind == "document" and name == HEAD else kind
            self._report.differences.append(Difference(self._tenant, shown, name, reason))

    def _same_state(self, derived: StoredState, held: StoredState, name: str) -> bool:
        section = self._registry.stored(name)
        if held.version != derived.version:
            return True  # folded by older code: the next use folds it anew
        ours, theirs = folding.read_state(section, derived), folding.read_state(section, held)
        # Joined with itself a state lets go of all that can no longer count: how much of that it still holds depends on
        # the order in which it was told.
        return theirs is not None and bool(section.fold.join(ours, ours) == section.fold.join(theirs, theirs))

    def _same_document(self, derived: Document, held: Document, _: str) -> bool:
        if held.version != derived.version or (held.valid_until is not None and held.valid_until <= self._now):
            return True  # overtaken by newer code or by time: a read renders it anew from the state, compared too
        if held.section != HEAD and content_hash(held.body) != held.hash:
            return False
        return held == derived
