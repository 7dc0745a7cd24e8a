"""A working set that loads the states that it is asked for."""

from collections.abc import Iterable, Mapping
from typing import Any

from portrait import projection
from portrait.model.identifier import Identifier
from portrait.sections.base import StoredSection
from portrait.sections.links import LINKS, LinksState
from portrait.storage.contract import Transaction
from portrait.writes.working_set import WorkingSet


class LoadedSet(WorkingSet):
    """A working set, with the transaction that its states are loaded in.

    Args:
        tx: the transaction.
        tenant: the tenant.
        now: the present moment, in microseconds.
        sections: every stored section by name.
    """

    def __init__(self, tx: Transaction, tenant: str, now: int, sections: Mapping[str, StoredSection]) -> None:
        super().__init__(now, sections)
        self.tx = tx
        self.tenant = tenant

    async def load(self, section: StoredSection, identifiers: Iterable[Identifier]) -> None:
        """Load the states of some identifiers of customers that are locked."""
        missing = [identifier for identifier in identifiers if not self.has_state((section.name, identifier))]
        # A new identifier has no facts; but from whom it is kept apart may be known still.
        stored = [identifier for identifier in missing if section is LINKS or identifier not in self.new]
        states: Mapping[Identifier, Any] = {}
        if stored:
            states, unreadable = await projection.readable_states(self.tx, self.tenant, section, stored)
            for identifier, error in unreadable.items():
                self.put_unreadable((section.name, identifier), error)
        for identifier in missing:
            state = states[identifier] if identifier in states else section.fold.empty()
            self.put_state((section.name, identifier), state)

    async def links(self, identifiers: Iterable[Identifier]) -> list[LinksState]:
        """Return the links of some identifiers of customers that are locked."""
        return list((await self.states(LINKS, identifiers)).values())

    async def states(self, section: StoredSection, identifiers: Iterable[Identifier]) -> dict[Identifier, Any]:
        """Return the states of some identifiers of customers that are locked.

        Raises:
            SectionFailed: the section's own code cannot fold one.
        """
        wanted = dict.fromkeys(identifiers)
        await self.load(section, wanted)
        return {identifier: self.state((section.name, identifier)) for identifier in wanted}
