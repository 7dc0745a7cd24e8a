"""How well profiles fit people, by pairs of identifiers."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

from portrait.model.identifier import Identifier


class Fit(NamedTuple):
    """How well some sets of identifiers fit the people whose they are."""

    precision: float
    """Of the pairs of identifiers in one profile, the share that are one person's; 1 where there is none."""
    recall: float
    """Of the pairs of identifiers of one person, the share that are in one profile; 1 where there is none."""
    false_merges: float
    """Of the profiles, the share that hold identifiers of more than one person."""
    mixed: int
    """How many profiles those are."""

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def fit(profiles: Mapping[Identifier, Hashable], owner: Mapping[Identifier, str]) -> Fit:
    """Return how well sets fit people.

    Args:
        profiles: by identifier, its set; an identifier without one is a set of its own.
        owner: by identifier, whose it is; others are not counted.
    """
    cells = Counter((profiles.get(identifier, identifier), person) for identifier, person in owner.items())
    sets: Counter[Hashable] = Counter()
    people: Counter[str] = Counter()
    people_in_set: Counter[Hashable] = Counter()
    for (profile, person), count in cells.items():
        sets[profile] += count
        people[person] += count
        people_in_set[profile] += 1
    right = _pairs(cells.values())
    mixed = sum(count > 1 for count in people_in_set.values())
    return Fit(
        _share(right, _pairs(sets.values())),
        _share(right, _pairs(people.values())),
        mixed / max(len(people_in_set), 1),
        mixed,
    )


def _pairs(sizes: Iterable[int]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
