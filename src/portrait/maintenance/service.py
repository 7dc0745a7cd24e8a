"""What may be asked of upkeep, over one database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from portrait import projection
from portrait.identity.rules import read
from portrait.maintenance.component import Component
from portrait.maintenance.refresh import Refresher
from portrait.maintenance.report import Report
from portrait.model.document import Document
from portrait.model.fact import Fact
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer
from portrait.model.time import Clock
from portrait.sections.fold import LatestState
from portrait.sections.links import LINKS, LinksState, ends_of, graph_of, linked
from portrait.sections.registry import Registry
from portrait.storage.contract import Changes, Reads, Store, StoredState, Transaction
from portrait.writes.evidence import Concerned, Pair
from portrait.writes.linking import opened

CHUNK = 200
"""How many customers are compared in one snapshot or rebuilt in one transaction."""

K = TypeVar("K")
V = TypeVar("V")
Progress = Callable[[int], None]


class Upkeep:
    """Checks, rebuilds and refreshes one database."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, overtaken: projection.Overtaken) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._refresher = Refresher(store, registry, clock, overtaken)

    async def check(self, progress: Progress | None = None) -> Report:
        """Derive everything anew, compare it with what is stored, and report; nothing is written.

        A service may go on serving: each customer is judged as it stands at one moment.
        """
        report = Report(faults=await self._store.faults())

        async def compare(tenant: str, identifiers: list[Identifier]) -> None:
            async with self._store.snapshot() as reads:
                components = await self._components(reads, tenant, identifiers, report)
            for component in components:
                component.compare()

        await self._each(compare, progress)
        return report

    async def rebuild(self, progress: Progress | None = None) -> Report:
        """Derive everything anew, report what was stored otherwise, and put it right, a few customers at a time.

        A service may go on serving: each customer is locked while it is compared and replaced.
        """
        report = Report()

        async def repair(tenant: str, identifiers: list[Identifier]) -> None:
            report.add(await self._store.write(tenant, lambda tx: self._repair(tx, tenant, identifiers)))

        await self._each(repair, progress)
        return report

    async def refresh(self) -> int:
        """Render anew the documents whose moment has come, or that reads found overtaken; return how many.

        Raises:
            Unavailable: the database cannot write now; the remaining documents are due still.
        """
        return await self._refresher.refresh()

    async def _repair(self, tx: Transaction, tenant: str, identifiers: list[Identifier]) -> Report:
        locked: set[str] = set()
        while True:
            report = Report()
            components = await self._components(tx, tenant, identifiers, report)
            needed = {customer_id for component in components for customer_id in component.customer_ids} - locked
            if not needed:
                break
            await tx.lock(tenant, sorted(needed))
            locked |= needed
        for component in components:
            component.compare()
        await tx.apply(tenant, _together([component.changes for component in components]))
        if pairs := {pair for component in components for pair in component.pairs}:
            await self._decide(tx, tenant, pairs)
        return report

    async def _decide(self, tx: Transaction, tenant: str, pairs: Collection[Pair]) -> None:
        """Decide anew on the claims of some pairs."""
        ends = {identifier for pair in pairs for identifier in pair}
        known = (await tx.resolve(tenant, ends)).keys()
        sections = {section.name: section for section in self._registry.all_stored()}
        async with opened(tx, tenant, self._clock(), sections, known, ends - known) as (_, linker):
            await linker.load(ends)
            await linker.follow(self._registry.stored(LINKS.document), {pair: Concerned(set(), {}) for pair in pairs})
            linker.decide()
            await linker.apply()

    async def _components(
        self, reads: Reads, tenant: str, identifiers: list[Identifier], report: Report
    ) -> list[Component]:
        """Return the connected sets of some identifiers, with all their facts and all that is stored of them.

        A set is returned with the first of its identifiers only: each set comes once, however many identifiers it has.
        """
        facts: dict[Identifier, list[Fact]] = {}
        links: dict[Identifier, LinksState] = {}
        components = []
        ahead = {identifier: {identifier} for identifier in identifiers}
        while ahead:
            missing = {identifier for members in ahead.values() for identifier in members} - facts.keys()
            facts |= {identifier: [] for identifier in missing}
            for fact in await reads.facts(tenant, missing):
                facts[fact.identifier].append(fact)
            links |= {identifier: projection.fold_facts(LINKS, facts[identifier]) for identifier in missing}
            for first, members in list(ahead.items()):
                wider = members | {link for identifier in members for link in linked(links[identifier], identifier)}
                if min(wider) < first:
                    del ahead[first]
                elif wider == members:
                    del ahead[first]
                    components.append(members)
                else:
                    ahead[first] = wider
        everyone = {identifier for members in components for identifier in members}
        names = {identifier.value for identifier in everyone if identifier.type == CUSTOMER_ID}
        owners = await reads.resolve(tenant, everyone)
        registered = await reads.members(tenant, names)
        documents = await reads.all_documents(tenant, names)
        states: dict[Identifier, dict[str, StoredState]] = {}
        for (identifier, section), state in (await reads.states_of(tenant, everyone)).items():
            states.setdefault(identifier, {})[section] = state
        evidence = await self._evidence(reads, tenant, links, components)
        row = await reads.tenant(tenant)
        rules = read(row.rules if row else None)
        now = self._clock()  # once all is read: every stored document was rendered before
        return [
            Component(
                self._registry, tenant, now, report, region=rules.region,
                evidence={identifier: state for identifier, state in evidence.items() if identifier not in members},
                facts={identifier: facts[identifier] for identifier in sorted(members)},
                graph=graph_of((links[identifier] for identifier in members), members),
                owners={identifier: owners[identifier] for identifier in members if identifier in owners}
                | {
                    other: identifier.value
                    for identifier in members if identifier.type == CUSTOMER_ID
                    for other in registered.get(identifier.value, ())
                },
                documents={
                    (identifier.value, document.section): document
                    for identifier in members if identifier.type == CUSTOMER_ID
                    for document in documents.get(identifier.value, ())
                },
                states={
                    (identifier, section): state
                    for identifier in members
                    for section, state in states.get(identifier, {}).items()
                },
            )
            for members in components
        ]  # fmt: skip

    async def _evidence(
        self, reads: Reads, tenant: str, links: Mapping[Identifier, LinksState], components: Collection[set[Identifier]]
    ) -> dict[Identifier, LatestState]:
        """Return the stored evidence at identifiers that are linked, or wait for it, where it can be read."""
        section = self._registry.find_stored(LINKS.document)
        further = {
            other
            for members in components
            for identifier in members
            for other in ends_of(links[identifier], identifier)
        }
        if section is None or not further:
            return {}
        stored = await reads.states(tenant, [(identifier, section.name) for identifier in further])
        states = {identifier: projection.read_state(section, state) for (identifier, _), state in stored.items()}
        unread = {identifier for identifier, state in states.items() if state is None}
        none = dict.fromkeys(further - unread, section.fold.empty())
        return none | {identifier: state for identifier, state in states.items() if state is not None}

    async def _each(self, work: Callable[[str, list[Identifier]], Awaitable[None]], progress: Progress | None) -> None:
        done = 0
        async for tenant in self._tenants():
            async for identifiers in self._identifiers(tenant):
                await work(tenant, identifiers)
                done += len(identifiers)
                if progress:
                    progress(done)

    async def _tenants(self) -> AsyncIterator[str]:
        after = None
        while page := await self._store.tenants(after, CHUNK):
            for tenant in page:
                yield tenant.id
            after = page[-1].id

    async def _identifiers(self, tenant: str) -> AsyncIterator[list[Identifier]]:
        """Yield all identifiers in chunks: those with facts, then those that only derived rows have."""
        known: Identifier | None = None
        while page := await self._store.fact_identifiers(tenant, known, CHUNK):
            yield page
            known = page[-1]
        after: str | None = None
        while names := await self._store.derived_customers(tenant, after, CHUNK):
            yield await self._strays(tenant, map(customer, names))
            after = names[-1]
        known = None
        while page := await self._store.derived_identifiers(tenant, known, CHUNK):
            yield await self._strays(tenant, page)
            known = page[-1]

    async def _strays(self, tenant: str, identifiers: Iterable[Identifier]) -> list[Identifier]:
        wanted = list(identifiers)
        founded = await self._store.with_facts(tenant, wanted)
        return [identifier for identifier in wanted if identifier not in founded]


def _together(changes: Sequence[Changes]) -> Changes:
    """Return several changes as one: a row that one component removes may be set by another."""
    owners: dict[Identifier, str | None] = {}
    states: dict[tuple[Identifier, str], StoredState | None] = {}
    documents: dict[tuple[str, str], Document | None] = {}
    for each in changes:
        _merge(owners, each.owners)
        _merge(states, each.states)
        _merge(documents, each.documents)
    return Changes((), owners, states, documents)


def _merge(into: dict[K, V | None], further: Mapping[K, V | None]) -> None:
    for key, row in further.items():
        if row is not None or key not in into:
            into[key] = row
