"""Answers that a computed section lets be kept for some time."""

import time
from collections import OrderedDict

MAX_CACHED = 10_000
"""The most answers of one section that are kept."""
MAX_CACHED_BYTES = 64 * 2**20
"""The most bytes that the kept answers of one section have together."""

Key = tuple[str, str, bytes]
"""Tenant, customer id, and a hash of the customer's identifiers: an answer is about a person, not about an id."""


class Kept:
    """The answers of one section: the oldest go first where they are too many or too large."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Key, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> bytes | None:
        """Return the kept answer; None where there is no answer, or its time is over."""
        kept = self._answers.get(key)
        return kept[1] if kept is not None and kept[0] > time.monotonic() else None

    def put(self, key: Key, body: bytes, seconds: float) -> None:
        """Keep an answer for so many seconds."""
        self._bytes -= len(self._answers.pop(key, (0.0, b""))[1])
        self._answers[key] = time.monotonic() + seconds, body
        self._bytes += len(body)
        while len(self._answers) > MAX_CACHED or self._bytes > MAX_CACHED_BYTES:
            self._bytes -= len(self._answers.popitem(last=False)[1][1])
