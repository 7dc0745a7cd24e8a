"""Goes over a database: all identifiers, in chunks, and of a chunk the sets that links connect."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping

from portrait import projection
from portrait.identity.rules import read
from portrait.maintenance.component import Component
from portrait.maintenance.report import Report
from portrait.model.fact import Fact
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer
from portrait.model.time import Clock
from portrait.sections.fold import LatestState
from portrait.sections.links import LINKS, LinksState, ends_of, graph_of, linked
from portrait.sections.registry import Registry
from portrait.storage.contract import Reads, Store, StoredState

CHUNK = 200
"""How many customers are compared in one snapshot or rebuilt in one transaction."""

Progress = Callable[[int], None]


class Walk:
    """Goes over all identifiers of a database.

    Args:
        store: the database.
        registry: the sections.
        clock: what time it is.
    """

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock

    async def each(self, work: Callable[[str, list[Identifier]], Awaitable[None]], progress: Progress | None) -> None:
        """Do work on all identifiers, tenant by tenant, a chunk at a time; progress is given how many are done."""
        done = 0
        async for tenant in self._tenants():
            async for identifiers in self._identifiers(tenant):
                await work(tenant, identifiers)
                done += len(identifiers)
                if progress:
                    progress(done)

    async def components(
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
                self._registry, tenant, now, report, forms=rules.forms,
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
        """Return the evidence at identifiers that are linked, or wait for it, where it can be folded."""
        section = self._registry.find_stored(LINKS.document)
        further = {
            other
            for members in components
            for identifier in members
            for other in ends_of(links[identifier], identifier)
        }
        if section is None or not further:
            return {}
        states, _ = await projection.readable_states(reads, tenant, section, further)
        return states

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
