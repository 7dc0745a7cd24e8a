"""What was looked up lately, and is taken without asking the database."""

import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
FRESH_SECONDS = 0.5
"""How long a value is taken without asking the database, in seconds: the most that a revocation is late."""
MAX_SIZE = 10_000
"""The most values that one cache keeps."""


class Cache(Generic[K, V]):
    """Values by name, each fresh for a while; of too many the value that was put longest ago goes."""

    def __init__(self) -> None:
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def put(self, name: K, value: V) -> None:
        """Keep a value, which is fresh now."""
        self._values[name] = time.monotonic() + FRESH_SECONDS, value
        self._values.move_to_end(name)
        if len(self._values) > MAX_SIZE:
            self._values.popitem(last=False)

    def fresh(self, name: K) -> V | None:
        """Return a value that is fresh still."""
        entry = self._values.get(name)
        return entry[1] if entry is not None and entry[0] > time.monotonic() else None

    def get(self, name: K) -> V | None:
        """Return a value, fresh or not."""
        entry = self._values.get(name)
        return None if entry is None else entry[1]

    def expire(self) -> None:
        """Keep all values, but none as fresh."""
        for name, (_, value) in self._values.items():
            self._values[name] = 0.0, value

    def remove(self, name: K) -> None:
        """Keep a value no longer, if there is one."""
        self._values.pop(name, None)

    def clear(self) -> None:
        """Keep nothing."""
        self._values.clear()

    def __len__(self) -> int:
        """Return how many values there are."""
        return len(self._values)

    def __iter__(self) -> Iterator[K]:
        """Return the names, the value that was put longest ago first."""
        return iter(self._values)
