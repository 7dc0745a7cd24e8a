"""Putting right what is stored of some customers, in one transaction."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, TypeVar

from portrait.maintenance.component import Component
from portrait.maintenance.report import Report
from portrait.maintenance.walk import Walk
from portrait.model.document import Document
from portrait.model.identifier import Identifier
from portrait.model.time import Clock
from portrait.sections.links import LINKS
from portrait.sections.registry import Registry
from portrait.storage.contract import Changes, StoredState, Transaction
from portrait.writes.evidence import Concerned, Pair
from portrait.writes.linking import opened

K = TypeVar("K")
V = TypeVar("V")


class Repaired(NamedTuple):
    """What was put right in a transaction."""

    report: Report
    components: list[Component]


class Repair:
    """Puts right what is stored.

    Args:
        registry: the sections.
        clock: what time it is.
        walk: finds the connected sets of identifiers.
    """

    def __init__(self, registry: Registry, clock: Clock, walk: Walk) -> None:
        self._registry = registry
        self._clock = clock
        self._walk = walk

    async def chunk(self, tx: Transaction, tenant: str, identifiers: list[Identifier]) -> Repaired:
        """Derive anew what is stored of the customers that some identifiers belong to, and replace it."""
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
            await self.decide(tx, tenant, {identifier for pair in pairs for identifier in pair}, pairs)
        return Repaired(report, components)

    async def decide(
        self, tx: Transaction, tenant: str, identifiers: Collection[Identifier], pairs: Collection[Pair] = ()
    ) -> None:
        """Decide anew on the claims about the profiles of some identifiers.

        Args:
            tx: the transaction.
            tenant: the tenant.
            identifiers: the identifiers, the ends of the pairs among them.
            pairs: the pairs of which live records claim something else than what was decided on.
        """
        wanted = set(identifiers)
        known = (await tx.resolve(tenant, wanted)).keys()
        sections = {section.name: section for section in self._registry.all_stored()}
        async with opened(tx, tenant, self._clock(), sections, known, wanted - known) as (_, linker):
            await linker.load(wanted)
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
