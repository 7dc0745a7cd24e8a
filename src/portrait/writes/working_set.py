"""What one transaction knows: its customers, the states of their identifiers, and the facts that it adds. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from portrait.identity.graph import Profile
from portrait.identity.rules import Rule
from portrait.model.errors import PortraitError, TooManyKeys
from portrait.model.fact import Fact, Op, fact_id
from portrait.model.identifier import Identifier
from portrait.sections.base import MAX_KEYS, StoredSection
from portrait.sections.events import Events
from portrait.sections.fold import Latest
from portrait.sections.links import LINKS, Decision, link_key, told_at
from portrait.writes.customers import LockedCustomers
from portrait.writes.incoming import GivenIdentifier, Incoming

StateKey = tuple[str, Identifier]
"""Names a state: its section's name and its identifier."""


class WorkingSet(LockedCustomers):
    """Customers that are locked, the states of their identifiers, and the facts that are added.

    Args:
        now: the present moment, in microseconds.
        sections: every stored section by name: joining two customers renders all that either has.
    """

    def __init__(self, now: int, sections: Mapping[str, StoredSection]) -> None:
        super().__init__(now)
        self.sections = {**sections, LINKS.name: LINKS}
        self.facts: list[Fact] = []
        self.is_final = False
        """Whether no more facts are added: what follows from them is derived."""
        self.touched: dict[StateKey, StoredSection] = {}
        """The sections of the states to which facts were added."""
        self.grown: dict[StateKey, StoredSection] = {}
        """The sections of the states that gained keys."""
        self.relinked: set[Identifier] = set()
        """Identifiers for which it may have changed since when they are one person's with others."""
        self._states: dict[StateKey, Any] = {}
        self._unfolded: dict[StateKey, list[Fact]] = {}
        """Events that are folded together once their state is asked for."""
        self._unreadable: dict[StateKey, PortraitError] = {}
        """Why the section's own code cannot fold some states."""

    def put_state(self, key: StateKey, state: Any) -> None:
        """Take a state in, or replace it."""
        self._states[key] = state

    def put_unreadable(self, key: StateKey, error: PortraitError) -> None:
        """Note why the section's own code cannot fold a state."""
        self._unreadable[key] = error

    def has_state(self, key: StateKey) -> bool:
        """Tell whether a state is loaded and can be read."""
        return key in self._states

    def is_loaded(self, key: StateKey) -> bool:
        """Tell whether a state is loaded, and be it that it cannot be read."""
        return key in self._states or key in self._unreadable

    def state(self, key: StateKey) -> Any:
        """Return a state that is loaded.

        Raises:
            SectionFailed: the section's own code cannot fold it.
        """
        if key in self._unreadable:
            raise self._unreadable[key]
        if facts := self._unfolded.pop(key, None):
            fold = self.touched[key].fold
            assert isinstance(fold, Events)
            self._states[key] = fold.apply_all(self._states[key], facts)
        return self._states[key]

    def live_body(self, identifier: Identifier, section: StoredSection, key: str) -> bytes | None:
        """Return the body that counts now for a key of a loaded state section, or None."""
        now, state = self.recorded_at(identifier), self.state((section.name, identifier))
        with section.own_code():
            return section.state_fold.current(state, key, now)

    def said(self, identifier: Identifier, section: StoredSection, key: str, source: str | None) -> bytes | None:
        """Return the body of what a source said last of a key of a loaded section that goes by sources, or None."""
        now, state = self.recorded_at(identifier), self.state((section.name, identifier))
        assert isinstance(section.fold, Latest)
        with section.own_code():
            return section.fold.said(state, key, source, now)

    def has_record(self, identifier: Identifier, section: StoredSection, key: str) -> bool:
        """Tell whether a record under a key is live, or lies ahead, in a loaded state."""
        if self.live_body(identifier, section, key) is not None:
            return True
        now, state = self.recorded_at(identifier), self.state((section.name, identifier))
        with section.own_code():
            return any(upcoming.key == key for upcoming in section.state_fold.upcoming(state, now))

    def fact(self, incoming: Incoming, identifier: Identifier | None = None) -> Fact:
        """Return the fact that a record, or an end, becomes at the next moment, which this takes.

        Args:
            incoming: the record.
            identifier: whose fact it is; None: the record's own identifier's.
        """
        owner = identifier or incoming.identifier
        recorded_at, moment = self.tick(owner), incoming.moment
        return Fact(
            owner, incoming.section.name, incoming.parsed.key, incoming.op, incoming.parsed.body,
            recorded_at if moment is None else moment, recorded_at, incoming.source, fact_id(recorded_at),
            incoming.section.version,
        )  # fmt: skip

    def add(self, section: StoredSection, fact: Fact) -> None:
        """Add a fact and fold it, at once or when its state is asked for.

        Raises:
            TooManyKeys: it would add a key beyond the limit.
            SectionFailed: the section's own code raised an error.
        """
        assert not self.is_final, "facts are added before what follows from them is derived"
        key = section.name, fact.identifier
        if _can_wait(section, fact):
            if key not in self._unfolded:
                self.state(key)  # it may be one that cannot be read
            self._unfolded.setdefault(key, []).append(fact)
        else:
            self._fold(key, section, fact)
        self.touched[key] = section
        self.facts.append(fact)

    def _fold(self, key: StateKey, section: StoredSection, fact: Fact) -> None:
        before = self.state(key)
        with section.own_code():
            after = section.fold.apply(before, fact)
            count = section.fold.keys(after)
            is_more = count > section.fold.keys(before)
        if is_more and count > MAX_KEYS:
            raise too_many_keys(section)
        if is_more:
            self.grown[key] = section
        self._states[key] = after

    def add_decisions(
        self, ends: Iterable[tuple[Identifier, Identifier, Decision]], source: str | None, *, apart: bool
    ) -> None:
        """Add the facts that record what was decided of a link, or of a ban.

        Args:
            ends: at which end, about which other, and what; of its times those that are 0 become this moment.
            source: whose word it is.
            apart: whether it is a ban on linking the two.
        """
        decisions = list(ends)
        owners = {owner for identifier, *_ in decisions if (owner := self.owners.get(identifier)) is not None}
        # After every fact of either end: links are gone through as they came.
        moment = max(
            self.now,
            *map(self.recorded_at_of, owners),
            *(
                told_at(self._states[LINKS.name, identifier])
                for identifier, *_ in decisions
                if identifier not in self.owners
            ),
        )
        for number, (identifier, other, decision) in enumerate(decisions, 1):
            recorded_at = moment + number
            dated = msgspec.structs.replace(decision, at=decision.at or moment + 1, since=decision.since or moment + 1)
            self.add(
                LINKS,
                Fact(
                    identifier, LINKS.name, link_key(other, apart=apart), Op.PUT, LINKS.shape.encode(dated),
                    recorded_at, recorded_at, source, fact_id(recorded_at), LINKS.version,
                ),
            )  # fmt: skip
        self.advance(owners, moment + len(decisions))

    def found_customer(self, first: GivenIdentifier, anchor: Identifier) -> None:
        """Give identifiers that no customer id names a customer id made for them, by a link from the first of them.

        Args:
            first: the identifier, of a profile whose customer id is the one made.
            anchor: the customer id.
        """
        self.heads[anchor.value] = None
        self.new.add(anchor)
        self._states[LINKS.name, anchor] = LINKS.fold.empty()
        identifier = first.identifier
        self.add_decisions(
            (
                (identifier, anchor, Decision(rule=Rule.FIRST_SEEN, value=anchor.value)),
                (anchor, identifier, Decision(rule=Rule.FIRST_SEEN, value=first.value)),
            ),
            None,
            apart=False,
        )

    def regroup(self, before: Iterable[Profile], after: Sequence[Profile], not_before: int = 0) -> None:
        """Have identifiers belong to other profiles from now on; see `LockedCustomers.regroup`."""
        unowned = {identifier for profile in after for identifier in profile.members} - self.owners.keys()
        keys = ((LINKS.name, identifier) for identifier in unowned)
        moments = (told_at(self._states[key]) for key in keys if key in self._states)
        super().regroup(before, after, max(not_before, 0, *moments))

    def checkpoint(self) -> Mapping[str, Any]:
        """Return what `restore` goes back to."""
        for key in list(self._unfolded):
            self.state(key)
        return {name: value.copy() for name, value in vars(self).items() if isinstance(value, dict | set | list)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Forget all that was done since a checkpoint, which can be gone back to once."""
        vars(self).update(saved)


def _can_wait(section: StoredSection, fact: Fact) -> bool:
    """Tell whether a fact can be folded later, with others: then it adds no key, and folding it cannot fail."""
    is_event = type(section.fold) is Events  # a fold made from that may do anything
    return is_event and fact.op is Op.PUT and fact.effective_at <= fact.recorded_at


def too_many_keys(section: StoredSection) -> TooManyKeys:
    """Return the error that says that a customer's section is full."""
    what = "events in the future" if section.kind == "events" else "live keys"
    return TooManyKeys(f"A customer's section holds at most {MAX_KEYS} {what}. Delete some first.")
