"""How much comes with each write key: so many events a second, and a while of it at once. A large one is several."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import monotonic

BURST_SECONDS = 10
"""So many seconds' events may come at once."""
EVENT_BYTES = 2**13
"""An event counts once more for each time that it has so many bytes."""
MAX_KEYS = 10_000
"""Of so many keys it is known what came with them lately."""
MAX_WAIT = 300
"""The longest time that a client is asked to wait, in seconds."""


class KeyLimits:
    """Counts the events that come with each key, in one process.

    A request is let in while anything is left; what it holds is counted once it is read, so that no batch is too large.

    Args:
        clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By key, how many events may come, and as of when."""

    def wait(self, key_id: str, rate: int) -> int:
        """Return for how many seconds a key is to send nothing; 0: it may send now."""
        left = self._now(key_id, rate)
        return 0 if left > 0 else min(MAX_WAIT, max(1, math.ceil(-left / rate)))

    def count(self, key_id: str, rate: int, events: Sequence[bytes]) -> None:
        """Count events that came with a key."""
        weight = sum(1 + len(event) // EVENT_BYTES for event in events)
        self._left[key_id] = self._now(key_id, rate) - weight, self._clock()
        self._left.move_to_end(key_id)
        if len(self._left) > MAX_KEYS:
            self._left.popitem(last=False)

    def _now(self, key_id: str, rate: int) -> float:
        most = float(rate * BURST_SECONDS)
        if key_id not in self._left:
            return most
        left, since = self._left[key_id]
        return min(most, left + (self._clock() - since) * rate)
