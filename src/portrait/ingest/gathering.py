"""Lines of a file that wait for others of the same customer: what meets in one transaction is folded and shown once."""

from collections.abc import Callable, Collection, Mapping
from heapq import heappop, heappush
from operator import attrgetter
from typing import NamedTuple

from portrait.ingest.records import Chunk
from portrait.model.identifier import Identifier
from portrait.writes.incoming import Incoming
from portrait.writes.recording import Refusal

_index = attrgetter("at")


def identifiers_of(record: Incoming) -> set[Identifier]:
    """Return the identifiers that a record names or links."""
    linked = record.linked
    return {record.identifier} if linked is None else {record.identifier, linked.named.identifier}


class Gathered(NamedTuple):
    """Records that leave together."""

    chunk: Chunk
    regrouped: Mapping[Identifier, frozenset[Identifier]]
    """The identifiers that these records may join or part: by each of them all that are concerned with it."""


class _Group:
    """Records that keep their order among each other."""

    __slots__ = ("first", "identifiers", "is_mixed", "records", "regroups")

    def __init__(self, first: int) -> None:
        self.first = first
        """The index of the first line that waits."""
        self.records: list[Incoming] = []
        self.is_mixed = False
        """Whether records may be out of order."""
        self.identifiers: set[Identifier] = set()
        self.regroups = False
        """Whether any record joins or parts identifiers."""

    def take_in(self, other: "_Group") -> None:
        """Take in another group."""
        self.first = min(self.first, other.first)
        self.records += other.records
        self.is_mixed = True
        self.identifiers |= other.identifiers
        self.regroups |= other.regroups

    def leave(self, weight: int) -> list[Incoming]:
        """Take out and return what came first, of about this weight."""
        if self.is_mixed:
            self.records.sort(key=_index)
            self.is_mixed = False
        count = 0
        while weight > 0 and count < len(self.records):
            weight -= self.records[count].weight
            count += 1
        leaving, self.records = self.records[:count], self.records[count:]
        if self.records:
            self.first = self.records[0].at
        return leaving


class Gathering:
    """Records of many customers, on their way into chunks.

    Those that concern one customer leave in the order in which they came. Of all customers the one of the first line
    that waits leaves first, with all that waits of it.
    """

    def __init__(self) -> None:
        self._groups: dict[Identifier, _Group] = {}
        self._by_first: dict[int, _Group] = {}
        """By the indexes of the first lines that wait."""
        self._firsts: list[int] = []
        """A heap of these indexes, and of some of groups that are gone."""
        self._refused: list[Refusal] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._by_first and not self._refused

    @property
    def first(self) -> int | None:
        """The index of a line before which no record waits; None: none waits at all."""
        while self._firsts and self._firsts[0] not in self._by_first:
            heappop(self._firsts)
        return self._firsts[0] if self._firsts else None

    def __contains__(self, identifier: Identifier) -> bool:
        """Tell whether a record waits that concerns an identifier."""
        return identifier in self._groups

    def add(self, read: Incoming | Refusal, kin: Callable[[Identifier], Collection[Identifier]] = lambda _: ()) -> None:
        """Add what became of a line, which comes after those before it.

        Args:
            read: the record, or why there is none.
            kin: returns the identifiers that are one customer's with one of which nothing waits yet.
        """
        if isinstance(read, Refusal):
            self._refused.append(read)
            return
        group = self._groups.get(read.identifier)
        if group is None or read.linked is not None:
            named = identifiers_of(read)
            group = self._group(read.at, named.union(*(kin(each) for each in named if each not in self._groups)))
        group.records.append(read)
        group.regroups |= read.weight > 1

    def _group(self, index: int, identifiers: set[Identifier]) -> _Group:
        """Return the group of some identifiers; those that have any of them become one."""
        known = {id(group): group for identifier in identifiers if (group := self._groups.get(identifier)) is not None}
        group = max(known.values(), key=lambda each: len(each.records), default=None) or _Group(index)
        moved = identifiers - group.identifiers
        group.identifiers |= identifiers
        for other in known.values():
            del self._by_first[other.first]
        for other in known.values():
            if other is not group:
                moved |= other.identifiers
                group.take_in(other)
        self._put(group)
        self._groups.update(dict.fromkeys(moved, group))
        return group

    def _put(self, group: _Group) -> None:
        self._by_first[group.first] = group
        heappush(self._firsts, group.first)

    def take(self, weight: int) -> Gathered:
        """Return a chunk of those that came first, which costs about `weight`, in the order in which they came."""
        chunk = Chunk()
        for refusal in self._refused:
            chunk.add(refusal)
        self._refused = []
        leaving: list[Incoming] = []
        regrouped: dict[Identifier, frozenset[Identifier]] = {}
        left = weight - chunk.weight
        while left > 0 and (first := self.first) is not None:
            group = self._by_first.pop(first)
            records = group.leave(left)
            left -= sum(record.weight for record in records)
            leaving += records
            if group.regroups:
                kin = frozenset(group.identifiers)
                regrouped |= dict.fromkeys(kin, kin)
            if group.records:
                self._put(group)
            else:
                for identifier in group.identifiers:
                    del self._groups[identifier]
        for record in sorted(leaving, key=_index):
            chunk.add(record)
        return Gathered(chunk, regrouped)
