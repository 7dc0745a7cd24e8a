"""Which candidates link: cluster-safe, and the same in whatever order the candidates come.

Best first: a candidate joins the clusters of its two records unless that would join what does not belong together.
Merging along single links alone would chain strangers through one bad record; here the pairs across two clusters must
agree on average (average linkage), so that one good link does not outvote many that contradict.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

Reason = Literal["", "between", "implied", "apart", "contradiction", "size", "taken"]
"""Why a candidate waits for review; "" where it links.

between        its probability is between the thresholds
implied        so it is, and links have joined its records already
apart          given names differ where families share addresses
contradiction  most pairs across the clusters that it would join disagree
size           the cluster would pass the cap
taken          one of its records has a better partner, where each has one at most
"""


class Pair(msgspec.Struct, frozen=True, order=True):
    """Two records that may be one person, the left one's id before the right one's."""

    left: str
    right: str
    probability: float
    apart: bool = False
    """Whether what it says keeps it from linking without review, however probable."""


class ChosenPair(msgspec.Struct, frozen=True, order=True):
    """A pair and what is to be done with it."""

    left: str
    right: str
    probability: float
    links: bool
    reason: Reason = ""


def choose(
    pairs: Iterable[Pair], *, link_at: float, largest: int, agreement: float, one_to_one: bool = False
) -> list[ChosenPair]:
    """Return a candidate for each pair, in order of the ids; those that link make no cluster of more than `largest`.

    `agreement` is the least average probability of the pairs across two clusters that a link joins; a pair that is not
    among the candidates counts as 0. Of a pair that comes twice the more probable counts. With `one_to_one` a record
    has one link at most. Ties go by the ids. Time grows as n log n, memory with n.
    """
    best = _once(pairs)
    ranked = sorted(best.values(), key=lambda pair: (-pair.probability, pair.left, pair.right))
    clusters = _Clusters(ranked, largest=1 if one_to_one else largest)
    if one_to_one:
        chosen = _partners(ranked, link_at)
    else:
        chosen = [(pair, clusters.join(pair, agreement) if pair.probability >= link_at else None) for pair in ranked]
    made = []
    for pair, reason in chosen:
        outcome: Reason = reason if reason is not None else ("implied" if clusters.joined(pair) else "between")
        made.append(ChosenPair(pair.left, pair.right, pair.probability, outcome == "", outcome))
    return sorted(made)


def _once(pairs: Iterable[Pair]) -> dict[tuple[str, str], Pair]:
    best: dict[tuple[str, str], Pair] = {}
    for candidate in pairs:
        pair = (
            candidate
            if candidate.left < candidate.right
            else Pair(candidate.right, candidate.left, candidate.probability, candidate.apart)
        )
        known = best.get((pair.left, pair.right))
        if pair.left != pair.right and (
            known is None or (pair.probability, pair.apart) > (known.probability, known.apart)
        ):
            best[pair.left, pair.right] = pair
    return best


def _partners(ranked: list[Pair], link_at: float) -> list[tuple[Pair, Reason | None]]:
    taken: set[str] = set()
    chosen: list[tuple[Pair, Reason | None]] = []
    for pair in ranked:
        if pair.probability < link_at:
            chosen.append((pair, None))
        elif pair.apart:
            chosen.append((pair, "apart"))
        elif pair.left in taken or pair.right in taken:
            chosen.append((pair, "taken"))
        else:
            taken |= {pair.left, pair.right}
            chosen.append((pair, ""))
    return chosen


class _Clusters:
    """Clusters of records, and between each two the sum of the probabilities across them.

    Of two joined clusters the one with fewer neighbours is added to the other: each sum moves log n times at most.
    """

    def __init__(self, pairs: list[Pair], *, largest: int) -> None:
        self._parent: dict[str, str] = {}
        self._size: dict[str, int] = {}
        self._between: dict[str, dict[str, float]] = {}
        self._largest = largest
        for pair in pairs:
            self._between.setdefault(pair.left, {})[pair.right] = pair.probability
            self._between.setdefault(pair.right, {})[pair.left] = pair.probability

    def joined(self, pair: Pair) -> bool:
        return self._root(pair.left) == self._root(pair.right)

    def join(self, pair: Pair, agreement: float) -> Reason:
        """Join the clusters of a pair, or return why not."""
        if pair.apart:
            return "apart"
        left, right = self._root(pair.left), self._root(pair.right)
        if left == right:
            return ""
        sizes = self._size.get(left, 1), self._size.get(right, 1)
        if sum(sizes) > self._largest:
            return "size"
        # What is added up in another order differs in the last bits: rounded, the order of the input changes nothing.
        if round(self._between[left].get(right, 0.0) / (sizes[0] * sizes[1]), 9) < agreement:
            return "contradiction"
        self._merge(left, right, sum(sizes))
        return ""

    def _merge(self, root: str, other: str, size: int) -> None:
        if (len(self._between[root]), root) < (len(self._between[other]), other):
            root, other = other, root
        kept, gone = self._between[root], self._between.pop(other)
        kept.pop(other, None)
        gone.pop(root, None)
        for neighbour, sum_across in gone.items():
            kept[neighbour] = kept.get(neighbour, 0.0) + sum_across
            beside = self._between[neighbour]
            beside.pop(other, None)
            beside[root] = kept[neighbour]
        self._parent[other] = root
        self._size[root] = size
        self._size.pop(other, None)

    def _root(self, record: str) -> str:
        root = record
        while (above := self._parent.get(root)) is not None:
            root = above
        while record != root:
            self._parent[record], record = root, self._parent[record]
        return root
