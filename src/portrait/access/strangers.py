"""Keys that were never seen: looked up few at a time, so that made-up keys take the database from nobody."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from portrait.serving.admission import Gate

AT_ONCE = 8
"""So many keys are looked up at once."""
A_SECOND = 500.0
"""And so many in a second."""


class Strangers:
    """Bounds how many keys that were never seen are looked up: at once, and in a second.

    Args:
        clock: the time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._allowed = A_SECOND
        self._since = clock()
        self._gate = Gate("keys never seen", self._limit)

    @asynccontextmanager
    async def look_up(self) -> AsyncIterator[None]:
        """Look a key up inside.

        Raises:
            Overloaded: too many other keys wait to be looked up.
        """
        if not self._gate.enter():
            await self._gate.wait(None)
        self._allowed -= 1
        try:
            yield
        finally:
            self._gate.leave()

    def _limit(self, gate: Gate) -> int:
        del gate
        now = self._clock()
        self._allowed = min(A_SECOND, self._allowed + (now - self._since) * A_SECOND)
        self._since = now
        return AT_ONCE if self._allowed >= 1 else 0
