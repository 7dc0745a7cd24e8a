"""Folds: how the facts of one section become a state, and a state the records to show.

Pure functions. `apply` may be given facts in any order, `join` is commutative, associative and idempotent, so a state
depends on which facts were told, not on the order in which they arrived.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec

from portrait.model.fact import Fact, Op
from portrait.sections.record import Record, Shape

S = TypeVar("S")
_effective_at = attrgetter("effective_at")


class Fold(Protocol[S]):
    """What a section does with its facts. A section of a kind gets one of those below; a plugin may bring its own."""

    state: type[S]
    """The state's type: anything that msgspec writes and reads."""
    window: int | None
    """Of events: how many of the newest a state keeps, where it does not keep all that count. After a delete the
    newest are applied again; where None, all are folded anew."""

    def empty(self) -> S:
        """Return the state before any fact."""
        ...

    def apply(self, state: S, fact: Fact) -> S:
        """Return the state after one more fact.

        Of events, a key's put comes once; a delete may be ignored by a fold without a window.
        """
        ...

    def join(self, a: S, b: S) -> S:
        """Return the state of two identifiers that are one person."""
        ...

    def render(self, state: S, now: int) -> tuple[list[Any], int | None]:
        """Return the records to show at a moment, in order, and when time alone changes them."""
        ...

    def keys(self, state: S) -> int:
        """Return how many keys the state holds that are live or lie ahead; of events, only those ahead."""
        ...


@runtime_checkable
class StateFold(Fold[S], Protocol[S]):
    """What a fold of kind `state` does beyond: it can tell what counts for a key."""

    def current(self, state: S, key: str, now: int) -> bytes | None:
        """Return the body that counts for a key at a moment in any history, or None."""
        ...

    def live(self, state: S, now: int) -> "list[Held]":
        """Return the records that count at a moment, hidden ones too."""
        ...


class Entry(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One fact of a key, as a state holds it. Entries order by what decides which counts."""

    effective_at: int
    rank: int
    recorded_at: int
    id: bytes
    source: str | None
    body: bytes | None
    """None: the key was ended."""


class Held(NamedTuple):
    """One live record of a state."""

    key: str
    history: str
    """The identifier, as one text, whose history the record stands in."""
    record: Record
    entry: Entry
    joined: Mapping[str, int] = {}
    """By the tag of each other history since when the two are one person's, in microseconds; where that is known."""


class LatestState(msgspec.Struct, frozen=True, array_like=True):
    """Per history (an identifier) and key, the entries that count now or will."""

    told_at: int = 0
    histories: dict[str, dict[str, list[Entry]]] = {}


class JoinedState(LatestState, frozen=True, array_like=True):
    """A state of several identifiers, with since when they are one person's. It is made to render, and not stored."""

    joined: dict[str, dict[str, int]] = {}


Combine = Callable[[Sequence[Held]], Iterable[Held]]
"""Chooses among the live records of several histories; given in a fixed order, whatever the order of joining."""
Order = Callable[[Record], Any]
"""Gives what records are shown by, the highest first."""


def newest(held: Sequence[Held]) -> Held:
    """Return the record that was true last."""
    return max(held, key=lambda one: one.entry)


def per_key(choose: Callable[[Sequence[Held]], Held]) -> Combine:
    """Return the rule that chooses for each key apart."""

    def combine(held: Sequence[Held]) -> Iterator[Held]:
        by_key: dict[str, list[Held]] = {}
        for one in held:
            by_key.setdefault(one.key, []).append(one)
        for same in by_key.values():
            yield same[0] if len(same) == 1 else choose(same)

    return combine


class PerJoin:
    """The rule that chooses, for each key apart, between two histories at a time, as they became one person's."""

    def __init__(self, choose: Callable[[Held, Held, int | None], Held]) -> None:
        self._choose = choose

    def __call__(self, held: Sequence[Held]) -> Iterator[Held]:
        """Combine records; the rule is told since when the two histories are one, None where that is not known."""
        yield from per_key(self._chosen)(held)

    def _chosen(self, held: Sequence[Held]) -> Held:
        chosen = {one.history: one for one in held}
        group = {one.history: one.history for one in held}
        pairs = ((one.joined.get(other.history), one.history, other.history) for one, other in combinations(held, 2))
        for at, a, b in sorted(pairs, key=lambda pair: (pair[0] is None, *pair)):
            one, other = group[a], group[b]
            if one != other:
                chosen[one] = self._choose(chosen[one], chosen.pop(other), at)
                group = {history: one if of == other else of for history, of in group.items()}
        return next(iter(chosen.values()))


newest_per_key: Combine = per_key(newest)
"""The rule that chooses of each key the record that was true last."""


class Latest:
    """The fold of kind `state`: of each key the newest fact counts, and a delete is a fact too."""

    state = LatestState
    window: int | None = None

    def __init__(
        self,
        shape: Shape,
        sort_key: Callable[[Record], tuple[str, ...]],
        *,
        combine: Combine = newest_per_key,
        order: Order | None = None,
        shown: Callable[[Record], bool] | None = None,
        rank: Callable[[Record], int] | None = None,
    ) -> None:
        self._shape = shape
        self._sort_key = sort_key
        self._combine = combine
        self._order = order
        self._shown = shown
        self._rank = rank

    @property
    def by_join(self) -> bool:
        """Whether it matters since when histories are one person's."""
        return isinstance(self._combine, PerJoin)

    def empty(self) -> LatestState:
        """Return the state before any fact."""
        return LatestState()

    def apply(self, state: LatestState, fact: Fact) -> LatestState:
        """Return the state after one more fact."""
        tag = fact.identifier.tag
        told_at = max(state.told_at, fact.recorded_at)
        entry = self._entry(fact)
        history = state.histories.get(tag, {})
        entries = _prune([*history.get(fact.key, ()), entry], told_at)
        return LatestState(told_at, state.histories | {tag: history | {fact.key: entries}})

    def join(self, a: LatestState, b: LatestState) -> LatestState:
        """Return the state of two identifiers: their histories side by side, chosen among when shown."""
        told_at = max(a.told_at, b.told_at)
        return LatestState(
            told_at,
            {
                tag: {
                    key: _prune([*ours.get(key, ()), *theirs.get(key, ())], told_at)
                    for key in sorted(ours.keys() | theirs.keys())
                }
                for tag in sorted(a.histories.keys() | b.histories.keys())
                for ours, theirs in [(a.histories.get(tag, {}), b.histories.get(tag, {}))]
            },
        )

    def live(self, state: LatestState, now: int) -> list[Held]:
        """Return the records that hold at a moment, hidden ones too; several histories already combined."""
        held = self.each(state, now)
        return held if len(state.histories) < 2 else list(self._combine(held))

    def each(self, state: LatestState, now: int) -> list[Held]:
        """Return the records that hold at a moment in each history by itself."""
        joined = state.joined if isinstance(state, JoinedState) else {}
        return [
            Held(key, tag, self._shape.decode(entry.body), entry, joined.get(tag, {}))
            for tag, history in sorted(state.histories.items())
            for key, entries in sorted(history.items())
            if (entry := _at(entries, now)) is not None and entry.body is not None
        ]

    def render(self, state: LatestState, now: int) -> tuple[list[Any], int | None]:
        """Return the records to show at a moment, in order, and when time alone changes them."""
        held = [one for one in self.live(state, now) if self._shown is None or self._shown(one.record)]
        held.sort(key=lambda one: self._sort_key(one.record))
        order = self._order
        held.sort(key=lambda one: one.entry.effective_at if order is None else order(one.record), reverse=True)
        upcoming = (
            entry.effective_at
            for history in state.histories.values()
            for entries in history.values()
            for entry in entries
            if entry.effective_at > now
        )
        return [one.record for one in held], min(upcoming, default=None)

    def current(self, state: LatestState, key: str, now: int) -> bytes | None:
        """Return the body that counts for a key at a moment in any history, or None."""
        for history in state.histories.values():
            entry = _at(history.get(key, ()), now)
            if entry is not None and entry.body is not None:
                return entry.body
        return None

    def keys(self, state: LatestState) -> int:
        """Return how many keys are live or will be, or how many changes lie ahead, whichever is more."""
        live = set()
        ahead = 0
        for history in state.histories.values():
            for key, entries in history.items():
                if entries[-1].body is not None:
                    live.add(key)
                if len(entries) > 1:
                    ahead += sum(entry.effective_at > state.told_at for entry in entries)
        return max(len(live), ahead)

    def _entry(self, fact: Fact) -> Entry:
        if fact.op is Op.DELETE:
            return Entry(fact.effective_at, 0, fact.recorded_at, fact.id, fact.source, None)
        rank = self._rank(self._shape.decode(fact.body)) if self._rank else 0
        return Entry(fact.effective_at, rank, fact.recorded_at, fact.id, fact.source, fact.body)


def _prune(entries: list[Entry], told_at: int) -> list[Entry]:
    """Return what can still count once that moment has come: the entry in force then, and those after it."""
    if len(entries) == 1:
        return entries
    ordered = sorted({entry.id: entry for entry in entries}.values())
    in_force = 0
    for place, entry in enumerate(ordered):
        if entry.effective_at <= told_at:
            in_force = place
    return ordered[in_force:]


def _at(entries: Sequence[Entry], now: int) -> Entry | None:
    current = None
    for entry in entries:
        if entry.effective_at <= now:
            current = entry
    return current


class Event(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One event as a state holds it, ordered as it is shown."""

    effective_at: int
    key: str
    body: bytes


class EventsState(msgspec.Struct, frozen=True, array_like=True):
    """The newest events, and all that lie ahead, in order."""

    told_at: int = 0
    events: list[Event] = []


class Events:
    """The fold of kind `events`: immutable by key, the newest `window` shown, newest first."""

    state = EventsState
    window: int | None

    def __init__(self, window: int = 20) -> None:
        self.window = self._size = window

    def empty(self) -> EventsState:
        """Return the state before any fact."""
        return EventsState()

    def apply(self, state: EventsState, fact: Fact) -> EventsState:
        """Return the state after one more fact."""
        told_at = max(state.told_at, fact.recorded_at)
        if fact.op is Op.DELETE:
            return EventsState(told_at, [event for event in state.events if event.key != fact.key])
        event = Event(fact.effective_at, fact.key, fact.body)
        place = bisect_left(state.events, event)
        after = place + (state.events[place : place + 1] == [event])  # the same again takes its own place
        return EventsState(told_at, self._newest([*state.events[:place], event, *state.events[after:]], told_at))

    def join(self, a: EventsState, b: EventsState) -> EventsState:
        """Return the state of two identifiers: all events of both, by time."""
        told_at = max(a.told_at, b.told_at)
        return EventsState(told_at, self._newest(sorted({*a.events, *b.events}), told_at))

    def render(self, state: EventsState, now: int) -> tuple[list[Any], int | None]:
        """Return the newest events at a moment, newest first, and when the next one ahead is due."""
        due = _due(state.events, now)
        shown = state.events[max(0, due - self._size) : due]
        ahead = state.events[due].effective_at if due < len(state.events) else None
        return [msgspec.Raw(event.body) for event in reversed(shown)], ahead

    def keys(self, state: EventsState) -> int:
        """Return how many events still lie ahead: the others do not add up in the state."""
        return len(state.events) - _due(state.events, state.told_at)

    def _newest(self, ordered: list[Event], told_at: int) -> list[Event]:
        if len(ordered) <= self._size:
            return ordered
        return ordered[max(0, _due(ordered, told_at) - self._size) :]


def _due(ordered: Sequence[Event], now: int) -> int:
    """Return how many events, which come in order, have happened at a moment."""
    if not ordered or ordered[-1].effective_at <= now:  # nearly always
        return len(ordered)
    return bisect_right(ordered, now, key=_effective_at)
