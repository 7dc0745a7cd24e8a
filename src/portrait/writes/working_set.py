"""What one transaction knows: customers, whose identifiers are whose, states, and the facts that it adds. No I/O."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from portrait.identity.graph import Profile, aliases, first_owner
from portrait.identity.rules import Rule
from portrait.model.document import Head
from portrait.model.errors import PortraitError, TooManyKeys
from portrait.model.fact import Fact, Op, fact_id
from portrait.model.identifier import Identifier
from portrait.sections.base import MAX_KEYS, StoredSection
from portrait.sections.links import LINKS, Decision, link_key, told_at
from portrait.writes.incoming import GivenIdentifier, Incoming

Place = tuple[str, Identifier]
"""Where a state is: its section's name and its identifier."""


class WorkingSet:
    """The customers that a transaction has locked, their identifiers and states, and the facts that it adds.

    Args:
        now: the present moment.
        sections: every stored section by name: joining two customers renders all that either has.
    """

    def __init__(self, now: int, sections: Mapping[str, StoredSection]) -> None:
        self.now = now
        self._sections = {**sections, LINKS.name: LINKS}
        self._heads: dict[str, Head | None] = {}
        self._owners: dict[Identifier, str] = {}
        self._new: set[Identifier] = set()
        """Nothing was told of these before."""
        self._claimed: dict[Identifier, str] = {}
        """Of the new ones those that are registered already, for nobody else to take them, and as whose."""
        self._made: dict[Identifier, str] = {}
        """The customer ids that are made for those."""
        self._members: dict[str, Sequence[Identifier]] = {}
        self._before: dict[Identifier, Profile] = {}
        """The profiles as they were when they were locked."""
        self._merged: dict[str, str] = {}
        """Customers that were merged away, with those that stay."""
        self._regrouped: set[str] = set()
        """Customers whose identifiers are others now."""
        self._states: dict[Place, Any] = {}
        self._unreadable: dict[Place, PortraitError] = {}
        """States that the section's own code cannot fold."""
        self._touched: dict[Place, StoredSection] = {}
        self._relinked: set[Identifier] = set()
        """Identifiers of which it changed since when they are one person's with others."""
        self._grown: dict[Place, int] = {}
        """How many keys states hold that got further ones."""
        self._facts: list[Fact] = []
        self._told: dict[str, int] = {}
        """Of each customer, the moment of the newest telling."""
        self.unfit: dict[tuple[str, str], PortraitError] = {}
        """Why sections cannot be shown, by their names and customer ids; known once all is derived."""

    def found(self, first: GivenIdentifier, anchor: Identifier) -> None:
        """Give identifiers that no customer id names a customer id made for them, by a link from the first of them.

        Args:
            first: the identifier, of a profile whose customer id is the one made.
            anchor: the customer id.
        """
        self._heads[anchor.value] = None
        self._new.add(anchor)
        self._states[LINKS.name, anchor] = LINKS.fold.empty()
        one = first.identifier
        decision = Decision(rule=Rule.FIRST_SEEN)
        self.tell(
            (
                (one, anchor, msgspec.structs.replace(decision, value=anchor.value)),
                (anchor, one, msgspec.structs.replace(decision, value=first.value)),
            ),
            None,
            apart=False,
        )

    def _confirms(self, identifier: Identifier, owner: str) -> bool:
        """Tell whether a customer's head, now that it is locked, says that an identifier is the customer's."""
        head = self._heads[owner]
        return head is not None and head.merged_into is None and identifier in head.identifiers(owner)

    def members_of(self, identifier: Identifier) -> Sequence[Identifier]:
        """Return all identifiers of the customer that an identifier belongs to."""
        return self._members[self._owners[identifier]]

    def profile_of(self, identifier: Identifier) -> Profile:
        """Return the profile that an identifier belongs to; one of its own where it belongs to nobody yet."""
        owner = self._owners.get(identifier)
        if owner is None:
            return Profile(first_owner(identifier), (identifier,))
        return Profile(owner, tuple(self._members[owner]))

    def profiles_of(self, identifiers: Iterable[Identifier]) -> list[Profile]:
        """Return the profiles that some identifiers belong to, each once."""
        owners: dict[str, Identifier] = {}
        nobodys = []
        for one in identifiers:
            owner = self._owners.get(one)
            if owner is None:
                nobodys.append(one)
            else:
                owners.setdefault(owner, one)
        return [self.profile_of(one) for one in (*owners.values(), *nobodys)]

    def told_at(self, identifier: Identifier) -> int:
        """Return when anything was told of an identifier's customer last, in microseconds; not before now."""
        return self._told.get(self._owners.get(identifier, ""), self.now)

    def was(self, identifier: Identifier) -> Profile | None:
        """Return the profile that an identifier belonged to when it was locked; None: to none, or it is not here."""
        return self._before.get(identifier)

    def becomes(self, identifier: Identifier) -> Profile | None:
        """Return the profile that an identifier belongs to from now on; None: it is nobody's, or is not here."""
        return self.profile_of(identifier) if identifier in self._owners else None

    def is_here(self, identifier: Identifier) -> bool:
        """Tell whether an identifier's customer is locked, or it is nobody's and kept from others."""
        return identifier in self._owners or identifier in self._new

    def is_known(self, identifier: Identifier) -> bool:
        """Tell whether an identifier belongs to a customer."""
        return identifier in self._owners

    def tell(self, ends: Iterable[tuple[Identifier, Identifier, Decision]], source: str | None, *, apart: bool) -> None:
        """Add the facts that tell of a link, or of a ban, what was decided.

        Args:
            ends: at which end, of which other, and what; of its times those that are 0 are filled in with this moment.
            source: who says so.
            apart: whether it is a ban on linking the two.
        """
        facts = list(ends)
        owners = {owner for one, *_ in facts if (owner := self._owners.get(one)) is not None}
        # Later than anything told of either: links are gone through as they came.
        at = max(
            self.now,
            *(self._told[owner] for owner in owners),
            *(told_at(self._states[LINKS.name, one]) for one, *_ in facts if one not in self._owners),
        )
        for number, (one, other, decision) in enumerate(facts, 1):
            recorded_at = at + number
            held = msgspec.structs.replace(decision, at=decision.at or at + 1, since=decision.since or at + 1)
            body = LINKS.shape.encode(held)
            key = link_key(other, apart=apart)
            self.apply(
                LINKS,
                Fact(
                    one,
                    LINKS.name,
                    key,
                    Op.PUT,
                    body,
                    recorded_at,
                    recorded_at,
                    source,
                    fact_id(recorded_at),
                    LINKS.version,
                ),
            )
        self._told |= dict.fromkeys(owners, at + len(facts))

    def regroup(self, before: Iterable[Profile], after: Sequence[Profile]) -> None:
        """Have identifiers belong to other profiles from now on.

        Args:
            before: the profiles as they were, of customers that are locked.
            after: the profiles that the same identifiers form; those without a customer id belong to nobody.
        """
        known = [owner for profile in before if (owner := profile.customer_id) is not None]
        freed = [one for profile in after for one in profile.members if one not in self._owners]
        told = max(
            self.now,
            *(self._told.get(owner, 0) for owner in known),
            *(told_at(state) for one in freed if (state := self._states.get((LINKS.name, one))) is not None),
        )
        for owner in known:
            self._members.pop(owner, None)
        self._regrouped.update(known)
        for profile in after:
            owner = profile.customer_id
            for one in profile.members:
                if owner is None:
                    self._owners.pop(one, None)
                else:
                    self._owners[one] = owner
            if owner is not None:
                self._members[owner] = profile.members
                self._told[owner] = max(told, self._told.get(owner, 0))
                self._regrouped.add(owner)
                self._merged.pop(owner, None)
                self._merged |= dict.fromkeys(aliases(profile), owner)

    def relink(self, identifiers: Iterable[Identifier]) -> None:
        """Note that it may have changed since when some identifiers are one person's with others."""
        self._relinked.update(identifiers)

    def holds(self, identifier: Identifier, section: StoredSection, key: str) -> bool:
        """Tell whether a record under a key is live, or lies ahead, in a loaded state."""
        if self.current(identifier, section, key) is not None:
            return True
        now, state = self._told[self._owners[identifier]], self.state((section.name, identifier))
        with section.own_code():
            return any(held.key == key for held in section.state_fold.upcoming(state, now))

    def current(self, identifier: Identifier, section: StoredSection, key: str) -> bytes | None:
        """Return the body that counts now for a key of a loaded state section, or None."""
        now, state = self._told[self._owners[identifier]], self.state((section.name, identifier))
        with section.own_code():
            return section.state_fold.current(state, key, now)

    def state(self, place: Place) -> Any:
        """Return a state that is loaded.

        Raises:
            SectionFailed: the section's own code cannot fold it.
        """
        if place in self._unreadable:
            raise self._unreadable[place]
        return self._states[place]

    def fact(self, one: Incoming, identifier: Identifier | None = None) -> Fact:
        """Return the fact that a record, or an end, becomes at the next moment, of its identifier or another one."""
        told_of = identifier or one.identifier
        recorded_at, at = self._tick(told_of), one.moment
        return Fact(
            told_of, one.section.name, one.parsed.key, one.op, one.parsed.body,
            recorded_at if at is None else at, recorded_at, one.source, fact_id(recorded_at), one.section.version,
        )  # fmt: skip

    def apply(self, section: StoredSection, fact: Fact) -> None:
        """Add a fact and fold it.

        Raises:
            TooManyKeys: it would add a key beyond the limit.
            SectionFailed: the section's own code raised an error.
        """
        place = section.name, fact.identifier
        before = self.state(place)
        with section.own_code():
            after = section.fold.apply(before, fact)
            held = section.fold.keys(after)
            is_more = held > section.fold.keys(before)
        if is_more and held > MAX_KEYS:
            raise too_many_keys(section)
        if is_more:
            self._grown[place] = held
        self._states[place] = after
        self._touched[place] = section
        self._facts.append(fact)

    def checkpoint(self) -> Mapping[str, Any]:
        """Return what `restore` goes back to."""
        return {name: value.copy() for name, value in vars(self).items() if isinstance(value, dict | set | list)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Forget all that was done since a checkpoint, which can be gone back to once."""
        vars(self).update(saved)

    def _is_asked_for(self, fact: Fact) -> bool:
        """Tell whether facts are looked up for what a fact changes: what takes an end's room, what was told first."""
        is_event = self._touched[fact.section, fact.identifier].kind == "events"
        owner = self._owners.get(fact.identifier)
        return fact.op is Op.DELETE or (is_event and owner is not None and len(self._members[owner]) > 1)

    def unfit_records(self) -> Iterator[tuple[Place, PortraitError]]:
        """Yield where facts were added to a section that cannot be shown now, and why it cannot."""
        for place in dict.fromkeys((fact.section, fact.identifier) for fact in self._facts):
            error = self.unfit.get((place[0], self._owners.get(place[1], "")))
            if error is not None and place[0] != LINKS.name:
                yield place, error

    def _only_gained(self, owner: str) -> bool:
        """Tell whether a customer kept all its identifiers, and got none but such as nothing was told of before."""
        head = self._heads.get(owner)
        before = set(head.identifiers(owner)) if head else set()
        after = set(self._members.get(owner, ()))
        return not (head and head.merged_into) and before <= after and after - before <= self._new

    def _tick(self, identifier: Identifier) -> int:
        owner = self._owners[identifier]
        self._told[owner] += 1
        return self._told[owner]


def too_many_keys(section: StoredSection) -> TooManyKeys:
    """Return the error that says that a customer's section is full."""
    what = "events ahead of now" if section.kind == "events" else "live keys"
    return TooManyKeys(f"A customer's section holds at most {MAX_KEYS} {what}. Delete some first.")
