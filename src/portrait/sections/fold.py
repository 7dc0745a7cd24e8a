"""Folds: how the facts of one section become a state, and a state the records to show.

Pure functions. A state's facts are applied as they were told, events in any order; `join` is commutative, associative
and idempotent.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import combinations
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec

from portrait.model import time
from portrait.model.fact import Fact, Op
from portrait.sections.record import Record, Shape

S = TypeVar("S")


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

        Of a state, facts come as they were told. Of events they come in any order, a key's put once; a delete may be
        ignored by a fold without a window.
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

    def upcoming(self, state: S, now: int) -> "list[Held]":
        """Return the records that will count after a moment, as they will be; each entry says from when on."""
        ...


class Lapse(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """What a record becomes by itself, and when."""

    at: int
    rank: int
    body: bytes


class Entry(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One fact of a key, as a state holds it. Entries order by what decides which counts."""

    effective_at: int
    rank: int
    recorded_at: int
    id: bytes
    source: str | None
    body: bytes | None
    """None: the key was ended."""
    lapse: Lapse | None = None

    @property
    def since(self) -> int:
        """From when on the entry is as it stands."""
        if self.lapse is None or self.body != self.lapse.body:
            return self.effective_at
        return max(self.effective_at, self.lapse.at)

    def at(self, now: int) -> "Entry":
        """Return the entry as it stands at a moment."""
        if self.lapse is None or now < self.lapse.at:
            return self
        return msgspec.structs.replace(self, rank=self.lapse.rank, body=self.lapse.body)


def ends(end: Entry, entry: Entry) -> bool:
    """Tell whether an end or a withdrawal also ends an entry that was told before it and lies ahead.

    It lies ahead of when we were told of the end; or of the moment of the end, at which it had been told already.
    """
    return (
        entry.recorded_at < end.recorded_at
        and entry.effective_at > end.effective_at
        and (entry.effective_at > end.recorded_at or entry.recorded_at <= end.effective_at)
    )


class Held(NamedTuple):
    """One live record of a state."""

    key: str
    history: str
    """The identifier, as one text, whose history the record stands in."""
    record: Record
    entry: Entry
    joined: Mapping[str, int] = {}
    """By the tag of each other history since when the two are one person's, in microseconds; where that is known."""


class History(msgspec.Struct, frozen=True, array_like=True):
    """What one identifier was told, as far as it counts now or will."""

    told_at: int = 0
    """When it was told last, in microseconds."""
    entries: dict[str, list[Entry]] = {}
    """Of each key, in order."""


class LatestState(msgspec.Struct, frozen=True, array_like=True):
    """The history of each identifier, by its tag."""

    histories: dict[str, History] = {}

    @property
    def told_at(self) -> int:
        """When any of the identifiers was told last, in microseconds; 0: never."""
        return max((history.told_at for history in self.histories.values()), default=0)


class JoinedState(LatestState, frozen=True, array_like=True):
    """A state of several identifiers, with since when they are one person's. It is made to render, and not stored."""

    joined: dict[str, dict[str, int]] = {}


Combine = Callable[[Sequence[Held]], Iterable[Held]]
"""Chooses among the live records of several histories; given in a fixed order, whatever the order of joining."""
Order = Callable[[Record], Any]
"""Gives what records are shown by, the highest first."""
Becomes = Callable[[Record, datetime], tuple[datetime, Record] | None]
"""Tells what a record that is true from a moment on becomes by itself, and when; None: it stays what it is."""
Prefers = Callable[[Sequence[Entry]], Entry]
"""Chooses among what each source said last of a key since its last end, as it stands at a moment: one or several."""


def newest(held: Sequence[Held]) -> Held:
    """Return the record that was true last."""
    return max(held, key=lambda live: live.entry)


def per_key(choose: Callable[[Sequence[Held]], Held]) -> Combine:
    """Return the rule that chooses for each key apart."""

    def combine(held: Sequence[Held]) -> Iterator[Held]:
        by_key: dict[str, list[Held]] = {}
        for live in held:
            by_key.setdefault(live.key, []).append(live)
        for same in by_key.values():
            yield same[0] if len(same) == 1 else choose(same)

    return combine


class PerJoin:
    """The rule that chooses, for each key apart, between two histories at a time, as they became one person's."""

    def __init__(self, choose: Callable[[Held, Held, int | None], Held]) -> None:
        self._choose = choose

    def __call__(self, records: Sequence[Held]) -> Iterator[Held]:
        """Combine records; the rule is told since when the two histories are one, None where that is not known."""
        yield from per_key(self._chosen)(records)

    def _chosen(self, same: Sequence[Held]) -> Held:
        chosen = {live.history: live for live in same}
        group = {live.history: live.history for live in same}
        pairs = ((live.joined.get(peer.history), live.history, peer.history) for live, peer in combinations(same, 2))
        for at, a, b in sorted(pairs, key=lambda pair: (pair[0] is None, *pair)):
            kept, gone = group[a], group[b]
            if kept != gone:
                chosen[kept] = self._choose(chosen[kept], chosen.pop(gone), at)
                group = {history: kept if of == gone else of for history, of in group.items()}
        return next(iter(chosen.values()))


newest_per_key: Combine = per_key(newest)
"""The rule that chooses of each key the record that was true last."""


class Latest:
    """The fold of kind `state`: of each key the newest fact counts, and a delete is a fact too."""

    state = LatestState
    window: int | None = None
    shows: type[Record] | None = None
    """The schema of what is shown; None: the section's own."""

    def __init__(
        self,
        shape: Shape,
        sort_key: Callable[[Record], tuple[str, ...]],
        *,
        combine: Combine = newest_per_key,
        order: Order | None = None,
        shown: Callable[[Record], bool] | None = None,
        rank: Callable[[Record], int] | None = None,
        first: Order | None = None,
        becomes: Becomes | None = None,
        withdraws: Callable[[Record], bool] | None = None,
        prefers: Prefers | None = None,
    ) -> None:
        self._shape = shape
        self._sort_key = sort_key
        self._combine = combine
        self._order = order
        self._shown = shown
        self._rank = rank
        self._first = first
        self._becomes = becomes
        self._withdraws = withdraws
        self._prefers = prefers

    @property
    def by_source(self) -> bool:
        """Whether what each source said last is kept, and chosen among."""
        return self._prefers is not None

    @property
    def by_join(self) -> bool:
        """Whether it matters since when histories are one person's."""
        return isinstance(self._combine, PerJoin)

    def empty(self) -> LatestState:
        """Return the state before any fact."""
        return LatestState()

    def apply(self, state: LatestState, fact: Fact) -> LatestState:
        """Return the state after one more fact, told after those before it."""
        tag = fact.identifier.tag
        history = state.histories.get(tag) or History()
        told_at = max(history.told_at, fact.recorded_at)
        entry, withdraws = self._entry(fact)
        entries = history.entries.get(fact.key, [])
        if withdraws and entries:
            entries = [prior for prior in entries if not ends(entry, prior)]
        if entry.body is None and entries:  # entries of the same moment recorded before it end too, at any rank
            entries = [prior for prior in entries if prior.effective_at != entry.effective_at or prior.id == entry.id]
        kept = self._prune([*entries, entry], told_at) if entries else [entry]
        return LatestState(state.histories | {tag: History(told_at, history.entries | {fact.key: kept})})

    def join(self, a: LatestState, b: LatestState) -> LatestState:
        """Return the state of two identifiers: their histories side by side, chosen among when shown.

        Of one history that both hold the one that was told more counts, without what cannot count any more.
        """
        states = (a, b)
        return LatestState(
            {
                tag: self._pruned(
                    max((state.histories[tag] for state in states if tag in state.histories), key=attrgetter("told_at"))
                )
                for tag in sorted(a.histories.keys() | b.histories.keys())
            }
        )

    def live(self, state: LatestState, now: int) -> list[Held]:
        """Return the records that hold at a moment, hidden ones too; several histories already combined."""
        records = self.each(state, now)
        return records if len(state.histories) < 2 else list(self._combine(records))

    def each(self, state: LatestState, now: int) -> list[Held]:
        """Return the records that hold at a moment in each history by itself."""
        return [
            self._held(state, key, tag, entry)
            for tag, history in sorted(state.histories.items())
            for key, entries in sorted(history.entries.items())
            if (entry := self._counts(entries, now)) is not None and entry.body is not None
        ]

    def upcoming(self, state: LatestState, now: int) -> list[Held]:
        """Return the records that will count after a moment, as they will be; each entry says from when on."""
        moments: dict[str, set[int]] = {}
        for history in state.histories.values():
            for key, entries in history.entries.items():
                for entry in entries:
                    moments.setdefault(key, set()).update(at for at in _changes(entry) if at > now)
        return [
            live
            for key, ahead in sorted(moments.items())
            for at in sorted(ahead)
            for live in self.live(self._of_key(state, key), at)
            if live.entry.since == at
        ]

    def render(self, state: LatestState, now: int) -> tuple[list[Any], int | None]:
        """Return the records to show at a moment, in order, and when time alone changes them."""
        records = [live for live in self.live(state, now) if self._shown is None or self._shown(live.record)]
        records.sort(key=lambda live: self._sort_key(live.record))
        order = self._order
        records.sort(key=lambda live: live.entry.effective_at if order is None else order(live.record), reverse=True)
        ahead = [
            min(at for at in _changes(entry) if at > now)
            for history in state.histories.values()
            for entries in history.entries.values()
            for entry in entries
            if entry.effective_at > now or (entry.lapse is not None and entry.lapse.at > now)
        ]
        return [live.record for live in records], min(ahead, default=None)

    def current(self, state: LatestState, key: str, now: int) -> bytes | None:
        """Return the body that counts for a key at a moment in any history, or None."""
        for history in state.histories.values():
            entry = self._counts(history.entries.get(key, ()), now)
            if entry is not None and entry.body is not None:
                return entry.body
        return None

    def words(self, state: LatestState, now: int) -> list[Held]:
        """Return what each source said last in each history, of a fold by source."""
        return [
            self._held(state, key, tag, word)
            for tag, history in sorted(state.histories.items())
            for key, entries in sorted(history.entries.items())
            for word in _words(entries, now)
        ]

    def said(self, state: LatestState, key: str, source: str | None, now: int) -> bytes | None:
        """Return the body of what a source said last of a key since its last end, of a fold by source; or None."""
        for history in state.histories.values():
            for word in _words(history.entries.get(key, ()), now):
                if word.source == source:
                    return word.body
        return None

    def keys(self, state: LatestState) -> int:
        """Return how many keys are live or will be, or how many changes lie ahead, whichever is more."""
        live = set()
        ahead = 0
        for history in state.histories.values():
            for key, entries in history.entries.items():
                if len(entries) > 1:
                    ahead += sum(entry.effective_at > history.told_at for entry in entries)
                for entry in entries:
                    if entry.body is not None:
                        live.add(key)
                        break
        return max(len(live), ahead)

    def _entry(self, fact: Fact) -> tuple[Entry, bool]:
        """Return a fact as a state holds it, and whether it ends earlier entries that lie ahead."""
        if fact.op is Op.DELETE:
            return _entry(fact, _LOWEST, None), True
        if self._rank is None and self._becomes is None and self._withdraws is None:
            return _entry(fact, 0, fact.body), False
        record = self._shape.decode(fact.body)
        rank = self._rank or (lambda _: 0)
        lapse = None
        if self._becomes and (later := self._becomes(record, time.to_datetime(fact.effective_at))) is not None:
            lapse = Lapse(time.moment(later[0]), rank(later[1]), self._shape.encode(later[1]))
        withdraws = self._withdraws is not None and self._withdraws(record)
        return _entry(fact, rank(record), fact.body, lapse), withdraws

    def _held(self, state: LatestState, key: str, tag: str, entry: Entry) -> Held:
        assert entry.body is not None
        joined = state.joined.get(tag, {}) if isinstance(state, JoinedState) else {}
        return Held(key, tag, self._shape.decode(entry.body), entry, joined)

    @staticmethod
    def _of_key(state: LatestState, key: str) -> LatestState:
        histories = {
            tag: History(history.told_at, {key: history.entries[key]})
            for tag, history in state.histories.items()
            if key in history.entries
        }
        return msgspec.structs.replace(state, histories=histories)

    def _counts(self, entries: Sequence[Entry], now: int) -> Entry | None:
        """Return the entry that counts of a key at a moment, as it stands then, an end too; None: none does yet."""
        if len(entries) == 1:  # nearly always
            return entries[0].at(now) if entries[0].effective_at <= now else None
        if self._prefers is not None and (words := _words(entries, now)):
            return words[0] if len(words) == 1 else self._prefers(words)
        due = [entry.at(now) for entry in entries if entry.effective_at <= now]
        last = max(due, default=None)
        if self._first is None or last is None:
            return last
        ended = max((entry for entry in due if entry.body is None), default=None)
        return min((entry for entry in due if ended is None or entry > ended), key=self._precedence, default=ended)

    def _precedence(self, entry: Entry) -> tuple[Any, Entry]:
        assert self._first is not None
        assert entry.body is not None
        return self._first(self._shape.decode(entry.body)), entry

    def _pruned(self, history: History) -> History:
        return History(
            history.told_at,
            {key: self._prune(history.entries[key], history.told_at) for key in sorted(history.entries)},
        )

    def _prune(self, entries: list[Entry], told_at: int) -> list[Entry]:
        """Return what can still count once that moment has come: what counts then, and what comes after it."""
        if len(entries) == 1:
            return entries
        entries = list({entry.id: entry for entry in entries}.values())
        if self._prefers is None:
            return self._prune_line(entries, told_at)
        ended = [entry for entry in entries if entry.body is None]
        last = max((end for end in ended if end.effective_at <= told_at), default=None)
        # The last end stays: a late word from before it must not count, whoever spoke since.
        kept = {} if last is None else {last.id: last}
        for line in _by_source(entries) or ((),):
            kept |= {entry.id: entry for entry in self._prune_line([*ended, *line], told_at)}
        return sorted(kept.values())

    def _prune_line(self, entries: Iterable[Entry], told_at: int) -> list[Entry]:
        """Return what can still count of entries of which the newest does."""
        ordered = sorted(entries)
        due = [entry for entry in ordered if entry.effective_at <= told_at]
        ahead = ordered[len(due) :]
        if not due:
            return ahead
        if self._first is not None:  # a late entry before the last end must not count, nor what the end ends
            counts = self._counts(due, told_at), max((entry for entry in due if entry.body is None), default=None)
            ids = {entry.id for entry in (*counts, due[-1]) if entry is not None}
            return [entry for entry in due if entry.id in ids] + ahead
        # Of one moment another may count once one of them has lapsed.
        same = [entry for entry in due if entry.effective_at == due[-1].effective_at]
        moments = {told_at, *(entry.lapse.at for entry in same if entry.lapse and entry.lapse.at > told_at)}
        ids = {max(entry.at(moment) for entry in same).id for moment in moments}
        return [entry for entry in same if entry.id in ids] + ahead


_LOWEST = -(2**63)
"""The rank of an end: any later entry of the same moment counts instead."""


def _entry(fact: Fact, rank: int, body: bytes | None, lapse: Lapse | None = None) -> Entry:
    return Entry(fact.effective_at, rank, fact.recorded_at, fact.id, fact.source, body, lapse)


def _by_source(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return the entries of each source by themselves, without ends."""
    lines: dict[str | None, list[Entry]] = {}
    for entry in entries:
        if entry.body is not None:
            lines.setdefault(entry.source, []).append(entry)
    return list(lines.values())


def _words(entries: Iterable[Entry], now: int) -> list[Entry]:
    """Return what each source said last of a key since its last end, as it stands at a moment, in order."""
    due = [entry.at(now) for entry in entries if entry.effective_at <= now]
    end = max((entry for entry in due if entry.body is None), default=None)
    return sorted(max(line) for line in _by_source(entry for entry in due if end is None or entry > end))


def _changes(entry: Entry) -> Iterator[int]:
    """Yield when time changes what an entry says."""
    yield entry.effective_at
    if entry.lapse is not None and entry.lapse.at > entry.effective_at:
        yield entry.lapse.at
