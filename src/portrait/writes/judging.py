"""Which of several records makes a customer's section one that cannot be shown: each is tried when one is to blame."""

from collections import Counter
from collections.abc import Mapping

from portrait import projection
from portrait.model.errors import PortraitError, SectionTooLarge
from portrait.model.fact import Fact
from portrait.sections.base import STATE_TIMES, StoredSection
from portrait.sections.events import Events
from portrait.sections.fold import Latest
from portrait.sections.links import LINKS, shown_by
from portrait.writes.incoming import Incoming
from portrait.writes.unit_of_work import UnitOfWork
from portrait.writes.working_set import StateKey, too_many_keys

MAX_REFUSED = 100
"""So many records of one identifier and section are tried and refused; those that follow are refused untried."""
OVERHEAD = 1024
"""So many bytes, at the most, does a record take in a state beside its body: key, source, times and signs."""


class Unfit(Exception):  # no error: the records are recorded again, each tried where it may be to blame
    """Sections that records were added to cannot be shown.

    Args:
        why: by identifier and section, for what reason.
    """

    def __init__(self, why: Mapping[StateKey, PortraitError]) -> None:
        self.why = why


class Judge:
    """Adds facts to a unit of work; of sections that were found unfit before, only those with which they can be shown.

    Args:
        unit: the working set.
        suspected: by identifier and section, why a run without trying each record came to nothing.
    """

    def __init__(self, unit: UnitOfWork, suspected: Mapping[StateKey, PortraitError]) -> None:
        self._unit = unit
        self._suspected = suspected
        self._refused: Counter[StateKey] = Counter()
        self._room: dict[StateKey, int] = {}
        """How many bytes may come before a section is rendered again to know whether it is too large."""

    async def add(self, record: Incoming, fact: Fact) -> None:
        """Add a record's fact.

        Raises:
            TooManyKeys: it would add a key beyond the limit.
            SectionFailed: the section's own code raised an error.
            SectionTooLarge: the section would pass its limit of bytes.
        """
        key = record.section.name, record.identifier
        if key not in self._suspected:
            self._unit.add(record.section, fact)
            return
        if self._refused[key] >= MAX_REFUSED:
            raise self._suspected[key]
        saved = self._unit.checkpoint()
        try:
            self._unit.add(record.section, fact)
            await self._try(key, record.section, fact)
        except PortraitError:
            self._unit.restore(saved)
            self._refused[key] += 1
            raise

    async def _try(self, key: StateKey, section: StoredSection, fact: Fact) -> None:
        """Hold that the section can be shown with the fact that was added last."""
        growth = len(fact.body) + OVERHEAD
        is_size = isinstance(self._suspected[key], SectionTooLarge) and isinstance(section.fold, Latest | Events)
        if is_size and growth <= self._room.get(key, 0):
            self._room[key] -= growth
            return
        stored = projection.store_state(section, self._unit.state(key))
        if projection.is_state_too_large(section, stored):
            raise section.too_large()
        left = STATE_TIMES * section.max_bytes - len(stored.body)
        if self._unit.derivation.is_crowded(fact.identifier, section):
            raise too_many_keys(section)
        if shown_by(section) is section:
            rendered = await self._unit.derivation.rendered(fact.identifier, section)
            if projection.is_too_large(section, rendered):
                raise section.too_large()
            left = min(left, section.max_bytes - len(rendered.body))
        self._room[key] = left

    def check(self) -> None:
        """Hold that every section that got records can be shown, but where each record was tried.

        Raises:
            Unfit: it cannot; the records are to be tried.
        """
        why = {
            key: error
            for key in self._unit.touched
            if key[0] != LINKS.name and key not in self._suspected and (error := self._error(key)) is not None
        }
        if why:
            raise Unfit(why)

    def _error(self, key: StateKey) -> PortraitError | None:
        """Return why a section cannot be shown of the customer that an identifier belongs to."""
        return self._unit.derivation.unfit.get((key[0], self._unit.owners.get(key[1], "")))
