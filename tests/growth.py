"""How the cost of some work grows with its input: a ratio within one run, never a time."""

import time


def growth(work, shape, size=10_000):
    """Return how many times as long eight times as much takes: 8 where it is linear, 64 where it is quadratic.

    It measures this thread's own time, since others share the machine, and takes the quickest run.
    """
    small, large = shape(size), shape(8 * size)
    return _seconds(work, large) / _seconds(work, small)


LINEAR = 32
"""The most growth that may still be linear: caches and memory make large inputs slower by themselves."""


def _seconds(work, data):
    taken = []
    for _ in range(10):
        begun = time.thread_time()
        work(data)
        taken.append(time.thread_time() - begun)
    return max(min(taken), 1e-6)
