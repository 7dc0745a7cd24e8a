"""An event loop whose time advances only by waits and by announced work, so it is the same on every machine."""

import asyncio
import selectors


class _Selector(selectors.DefaultSelector):
    """A selector that does not wait: the time of a wait passes at once."""

    def __init__(self):
        super().__init__()
        self.now = 0.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout is not None:
            self.now += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop over virtual time, in seconds."""

    def __init__(self):
        self._clock = _Selector()
        super().__init__(self._clock)
        self._clock_resolution = 1e-9

    def time(self):
        return self._clock.now

    def work(self, seconds):
        """Keep the processor in use for so many seconds."""
        self._clock.now += seconds


def run(main):
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
