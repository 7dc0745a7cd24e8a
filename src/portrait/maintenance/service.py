"""What may be asked of upkeep, over one database."""

from portrait import projection
from portrait.maintenance.foresight import Foresight
from portrait.maintenance.refresh import Refresher
from portrait.maintenance.repair import Repair
from portrait.maintenance.report import Outlook, Report
from portrait.maintenance.walk import Progress, Walk
from portrait.model.identifier import Identifier
from portrait.model.time import Clock
from portrait.sections.registry import Registry
from portrait.storage.contract import Store


class Upkeep:
    """Checks, rebuilds and refreshes one database."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, overtaken: projection.Overtaken) -> None:
        self._store = store
        self._walk = Walk(store, registry, clock)
        self._repair = Repair(registry, clock, self._walk)
        self._foresight = Foresight(store, self._walk, self._repair)
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
            repaired = await self._store.write(tenant, lambda tx: self._repair.chunk(tx, tenant, identifiers))
            report.add(repaired.report)

        await self._walk.each(repair, progress)
        return report

    async def foresee(self, progress: Progress | None = None) -> tuple[Outlook, Report]:
        """Return which customers this version makes otherwise, at which occasion, and what a check finds.

        Nothing is written; a service may go on serving.
        """
        return await self._foresight.outlook(progress)

    async def refresh(self) -> int:
        """Render anew the documents whose moment has come, or that reads found overtaken; return how many.

        Raises:
            Unavailable: the database cannot write now; the remaining documents are due still.
        """
        return await self._refresher.refresh()
