"""Links that were recorded lately: browsers say the same link with every event, and it is no news."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from time import monotonic

KNOWN_SECONDS = 600.0
"""How long a link is known, in seconds. It is recorded again after that, should its evidence have gone meanwhile."""
MAX_LINKS = 100_000
"""The most links that are known."""


class KnownLinks:
    """Knows which links were recorded, in one process.

    Args:
        clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def __contains__(self, link: Hashable) -> bool:
        """Tell whether a link was recorded lately."""
        return self._until.get(link, 0.0) > self._clock()

    def note(self, links: Iterable[Hashable]) -> None:
        """Take note of links that are recorded; of too many those go that were noted longest ago."""
        until = self._clock() + KNOWN_SECONDS
        for link in links:
            self._until[link] = until
            self._until.move_to_end(link)
        while len(self._until) > MAX_LINKS:
            self._until.popitem(last=False)
