"""An event loop whose time goes on only where somebody waits or says that he has worked: the same on every machine."""

import asyncio
import selectors


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: the time that would be waited is over at once."""

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
        """Let the processor be in use for so long."""
        self._clock.now += seconds


def run(main):
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
