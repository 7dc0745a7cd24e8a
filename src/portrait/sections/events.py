"""Events: the fold of what never changes, the newest of which are shown."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from portrait.model.fact import Fact, Op

_effective_at = attrgetter("effective_at")


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
        return self.apply_all(state, (fact,))

    def apply_all(self, state: EventsState, facts: Iterable[Fact]) -> EventsState:
        """Return the state after several facts, the same as after one by one: what is newer leaves older ones out."""
        told_at, events = state.told_at, state.events.copy()
        for fact in facts:
            if fact.op is Op.DELETE:  # it gives back no event that was left out before it
                events = [event for event in self._newest(events, told_at) if event.key != fact.key]
            else:
                event = Event(fact.effective_at, fact.key, fact.body)
                index = bisect_left(events, event)
                if events[index : index + 1] != [event]:  # the same again takes its own place
                    events.insert(index, event)
            told_at = max(told_at, fact.recorded_at)
        return EventsState(told_at, self._newest(events, told_at))

    def join(self, a: EventsState, b: EventsState) -> EventsState:
        """Return the state of two identifiers: all events of both, by time."""
        told_at = max(a.told_at, b.told_at)
        return EventsState(told_at, self._newest(sorted({*a.events, *b.events}), told_at))

    def render(self, state: EventsState, now: int) -> tuple[list[Any], int | None]:
        """Return the newest events at a moment, newest first, and when the next one ahead is due."""
        due = _due(state.events, now)
        ahead = state.events[due].effective_at if due < len(state.events) else None
        return [msgspec.Raw(event.body) for event in reversed(state.events[max(0, due - self._size) : due])], ahead

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
