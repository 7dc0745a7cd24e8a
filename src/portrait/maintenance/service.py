"""What may be asked of upkeep, over one database."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from portrait import projection
from portrait.maintenance.refresh import Refresher
from portrait.maintenance.report import Report
from portrait.maintenance.walk import Progress, Walk
from portrait.model.document import Document
from portrait.model.identifier import Identifier
from portrait.model.time import Clock
from portrait.sections.links import LINKS
from portrait.sections.registry import Registry
from portrait.storage.contract import Changes, Store, StoredState, Transaction
from portrait.writes.evidence import Concerned, Pair
from portrait.writes.linking import opened

K = TypeVar("K")
V = TypeVar("V")


class Upkeep:
    """Checks, rebuilds and refreshes one database."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, overtaken: projection.Overtaken) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._walk = Walk(store, registry, clock)
        self._refresher = Refresher(store, registry, clock, overtaken)

    async def check(self, progress: Progress | None = None) -> Report:
        """Derive everything anew, compare it with what is stored, and report; nothing is written.

        A service may go on serving: each customer is judged as it stands at one moment.
        """
        report = Report(faults=await self._store.faults())

        async def compare(tenant: str, identifiers: list[Identifier]) -> None:
            async with self._store.snapshot() as reads:
                components = await self._walk.components(reads, tenant, identifiers, report)
            for component in components:
                component.compare()

        await self._walk.each(compare, progress)
        return report

    async def rebuild(self, progress: Progress | None = None) -> Report:
        """Derive everything anew, report what was stored otherwise, and put it right, a few customers at a time.

        A service may go on serving: each customer is locked while it is compared and replaced.
        """
        report = Report()

        async def repair(tenant: str, identifiers: list[Identifier]) -> None:
            report.add(await self._store.write(tenant, lambda tx: self._repair(tx, tenant, identifiers)))

        await self._walk.each(repair, progress)
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
            components = await self._walk.components(tx, tenant, identifiers, report)
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
