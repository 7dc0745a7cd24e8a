"""A queue of several tenants that take turns: only a tenant with much waiting waits for that."""

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Turns(Generic[Item]):
    """Items that wait, a queue for each tenant; the tenants have turns, an item each.

    An item waits for the items of its own tenant that are before it; and for each of these, and for itself, it waits
    for one item at most of every other tenant.

    Args:
        most: the most items that are to wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._queues: dict[str | None, OrderedDict[Item, None]] = {}
        """In the order of the next turns. A tenant without items has no queue."""
        self.size = 0
        """How many items wait."""

    @property
    def tenants(self) -> Collection[str | None]:
        """The tenants that have items waiting."""
        return self._queues.keys()

    @property
    def is_too_long(self) -> bool:
        """Whether more items wait than are to wait."""
        return self.size > self._most

    @property
    def longest(self) -> str | None:
        """The tenant with most items waiting: the first to give way."""
        return max(self._queues, key=lambda tenant: len(self._queues[tenant]), default=None)

    def add(self, tenant: str | None, item: Item) -> None:
        """Let an item wait behind the others of its tenant."""
        self._queues.setdefault(tenant, OrderedDict())[item] = None
        self.size += 1

    def take(self, newest_of: Collection[str | None] = ()) -> Item | None:
        """Return the oldest item of the tenant whose turn it is, of some tenants the newest; None: nothing waits."""
        for tenant in self._queues:
            item = self.take_of(tenant, newest=tenant in newest_of)
            if (queue := self._queues.pop(tenant, None)) is not None:
                self._queues[tenant] = queue  # its next turn comes after everybody else's
            return item
        return None

    def take_of(self, tenant: str | None, *, newest: bool) -> Item:
        """Return a tenant's oldest or newest item, whosever turn it is.

        Raises:
            KeyError: the tenant has no item.
        """
        queue = self._queues[tenant]
        item, _ = queue.popitem(last=newest)
        self._removed(tenant, queue)
        return item

    def remove(self, tenant: str | None, item: Item) -> bool:
        """Remove an item that waits no longer; tell whether it was there."""
        queue = self._queues.get(tenant)
        if queue is None or item not in queue:
            return False
        del queue[item]
        self._removed(tenant, queue)
        return True

    def count(self, tenant: str | None) -> int:
        """Return how many items of a tenant wait."""
        return len(self._queues.get(tenant, ()))

    def first(self, tenant: str | None) -> Item | None:
        """Return a tenant's oldest item, which goes on waiting; None where it has no item."""
        return next(iter(self._queues.get(tenant, ())), None)

    def oldest(self) -> Iterator[tuple[str | None, Item]]:
        """Yield each tenant's oldest item, as they wait now."""
        for tenant, queue in list(self._queues.items()):
            yield tenant, next(iter(queue))

    def _removed(self, tenant: str | None, queue: OrderedDict[Item, None]) -> None:
        self.size -= 1
        if not queue:
            del self._queues[tenant]
