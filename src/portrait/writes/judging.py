"""Which of several records makes a customer's section one that cannot be shown: each is tried when one is to blame."""

from collections import Counter
from collections.abc import Mapping

from portrait import projection
from portrait.model.errors import PortraitError, SectionTooLarge
from portrait.model.fact import Fact
from portrait.sections.base import STATE_TIMES, StoredSection
from portrait.sections.fold import Events, Latest
from portrait.sections.links import shown_by
from portrait.writes.incoming import Incoming
from portrait.writes.unit_of_work import Batch
from portrait.writes.working_set import Place, too_many_keys

MAX_REFUSED = 100
"""So many records of one identifier and section are tried and refused; those that follow are refused untried."""
OVERHEAD = 1024
"""So many bytes, at the most, does a record take in a state beside its body: key, source, times and signs."""


class Unfit(Exception):  # no error: the records are recorded again, each tried where it may be to blame
    """Sections that records were added to cannot be shown.

    Args:
        why: by identifier and section, for what reason.
    """

    def __init__(self, why: Mapping[Place, PortraitError]) -> None:
        self.why = why


class Judge:
    """Adds facts to a batch; of sections that were found unfit before, only those with which they can be shown.

    Args:
        batch: the working set.
        suspected: by identifier and section, why a run without trying each record came to nothing.
    """

    def __init__(self, batch: Batch, suspected: Mapping[Place, PortraitError]) -> None:
        self._batch = batch
        self._suspected = suspected
        self._refused: Counter[Place] = Counter()
        self._room: dict[Place, int] = {}
        """How many bytes may come before a section is rendered again to know whether it is too large."""

    async def add(self, one: Incoming, fact: Fact) -> None:
        """Add a record's fact.

        Raises:
            TooManyKeys: it would add a key beyond the limit.
            SectionFailed: the section's own code raised an error.
            SectionTooLarge: the section would pass its limit of bytes.
        """
        place = one.section.name, one.identifier
        if place not in self._suspected:
            self._batch.apply(one.section, fact)
            return
        if self._refused[place] >= MAX_REFUSED:
            raise self._suspected[place]
        saved = self._batch.checkpoint()
        try:
            self._batch.apply(one.section, fact)
            await self._try(place, one.section, fact)
        except PortraitError:
            self._batch.restore(saved)
            self._refused[place] += 1
            raise

    async def _try(self, place: Place, section: StoredSection, fact: Fact) -> None:
        """Hold that the section can be shown with the fact that was added last."""
        growth = len(fact.body) + OVERHEAD
        is_size = isinstance(self._suspected[place], SectionTooLarge) and isinstance(section.fold, Latest | Events)
        if is_size and growth <= self._room.get(place, 0):
            self._room[place] -= growth
            return
        stored = projection.store_state(section, self._batch.state(place))
        if projection.is_state_too_large(section, stored):
            raise section.too_large()
        left = STATE_TIMES * section.max_bytes - len(stored.body)
        if self._batch.is_crowded(fact.identifier, section):
            raise too_many_keys(section)
        if shown_by(section) is section:
            rendered = await self._batch.rendered(fact.identifier, section)
            if projection.is_too_large(section, rendered):
                raise section.too_large()
            left = min(left, section.max_bytes - len(rendered.body))
        self._room[place] = left

    def check(self) -> None:
        """Hold that what the batch derived can be shown, but where each record was tried.

        Raises:
            Unfit: it cannot; the records are to be tried.
        """
        if why := {place: error for place, error in self._batch.unfit_records() if place not in self._suspected}:
            raise Unfit(why)
