"""One transaction's working set: the customers that it locks, their states, and the facts that it adds."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from portrait import folding
from portrait.identity.graph import Profile, aliases, first_owner
from portrait.identity.rules import Rule
from portrait.incoming import Incoming, Named
from portrait.model.document import HEAD, Document, Head, head_document, stale
from portrait.model.errors import PortraitError, SectionFailed, SectionTooLarge, TooManyKeys
from portrait.model.fact import Fact, Op, fact_id
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer, generated
from portrait.sections.base import MAX_KEYS, StoredSection
from portrait.sections.links import LINKS, Decision, LinksState, link_key, shown_by, told_at
from portrait.storage.contract import Asked, StoredState, Transaction

Place = tuple[str, Identifier]
"""Where a state is: its section's name and its identifier."""


class Batch:
    """One transaction's working set: the customers it locked, their states, and the facts it adds.

    Args:
        tx: the transaction.
        tenant: the tenant.
        now: the present moment.
        sections: every stored section by name: joining two customers renders all that either has.
    """

    def __init__(self, tx: Transaction, tenant: str, now: int, sections: Mapping[str, StoredSection]) -> None:
        self._tx = tx
        self._tenant = tenant
        self.now = now
        self._sections = {**sections, LINKS.name: LINKS}
        self._heads: dict[str, Head | None] = {}
        self._owners: dict[Identifier, str] = {}
        self._new: set[Identifier] = set()
        """Nothing was told of these before."""
        self._claimed: dict[Identifier, str] = {}
        """Of the new ones those that are registered already, for nobody else to take them, and as whose."""
        self._members: dict[str, Sequence[Identifier]] = {}
        self._merged: dict[str, str] = {}
        """Customers that were merged away, with those that stay."""
        self._regrouped: set[str] = set()
        """Customers whose identifiers are others now."""
        self._states: dict[Place, Any] = {}
        self._unreadable: dict[Place, PortraitError] = {}
        """States that the section's own code cannot fold."""
        self._touched: dict[Place, StoredSection] = {}
        self._facts: list[Fact] = []
        self._told: dict[str, int] = {}
        """Of each customer, the moment of the newest telling."""
        self.unfit: dict[tuple[str, str], PortraitError] = {}
        """Why sections cannot be shown, by their names and customer ids; known once all is derived."""

    async def open(self, told_of: Iterable[Named], mentioned: Iterable[Identifier] = (), *, claim: bool) -> bool:
        """Resolve and lock the customers of these identifiers; tell whether all are known.

        A merge in between shows under the lock, in the head: then they are resolved again, so that no fact goes to
        a customer that was merged away. With `claim`, an identifier that is not known yet makes its customer known.

        Args:
            told_of: whom something is told of.
            mentioned: other identifiers that are named; one that is new belongs to nobody until it is linked.
            claim: whether identifiers may be new.
        """
        subjects = dict(told_of)
        wanted = list(dict.fromkeys((*subjects, *mentioned)))
        made: dict[Identifier, str] = {}
        while True:
            resolved = await self._tx.resolve(self._tenant, wanted)
            owners = {one: owner for one, owner in resolved.items() if one not in self._claimed}
            new = [one for one in wanted if one not in owners]
            if new and not claim:
                return False
            own = [owner for one in new if (owner := first_owner(one)) is not None]
            needed = {*owners.values(), *own} - self._heads.keys()
            if needed:
                self._heads |= await self._tx.lock(self._tenant, sorted(needed))
                confirmed = all(self._confirms(one, owner) for one, owner in owners.items())
                if not confirmed or any(self._heads[owner] for owner in own):
                    continue
            unclaimed = {
                one: made.setdefault(one, generated().value)
                for one in new
                if one.type != CUSTOMER_ID and one not in self._claimed
            }
            taken = await self._tx.claim(self._tenant, unclaimed) if unclaimed else set()
            self._claimed |= {one: unclaimed[one] for one in taken}
            if len(taken) == len(unclaimed):
                break
        self._settle(owners, new, {*owners.values(), *own})
        unnamed = []
        for one in new:
            if one not in subjects:
                continue
            if one.type == CUSTOMER_ID:
                self._owners[one] = one.value
            else:
                unnamed.append(one)
        # One that was taken from its profile, and nobody had since, may still know from whom it is kept apart.
        await self._load(LINKS, unnamed)
        for one in unnamed:
            anchor = customer(made[one])
            self.regroup((), [Profile(anchor.value, tuple(sorted((anchor, one))))])
            self.found(Named(one, subjects[one]), anchor)
        return True

    def _settle(self, owners: Mapping[Identifier, str], new: Iterable[Identifier], concerned: Collection[str]) -> None:
        """Note whose identifiers are whose. Who is locked but not concerned was merged away while we waited for it."""
        self._new = set(new)
        self._states |= {(LINKS.name, one): LINKS.fold.empty() for one in self._new if one.type == CUSTOMER_ID}
        self._members = {
            owner: head.identifiers(owner) if (head := self._heads[owner]) else (customer(owner),)
            for owner in concerned
        }
        self._owners = dict(owners)
        self._owners |= {
            one: owner for owner, members in self._members.items() if self._heads[owner] for one in members
        }
        # Of each customer later than anything told before, whatever this machine's clock says.
        self._told = {owner: max(self.now, head.updated_at if head else 0) for owner, head in self._heads.items()}

    def found(self, first: Named, anchor: Identifier) -> None:
        """Give identifiers that no customer id names a customer id made for them, by a link from the first of them.

        Args:
            first: the identifier, of a profile whose customer id is the one made.
            anchor: the customer id.
        """
        self._heads[anchor.value] = None
        self._new.add(anchor)
        self._states[LINKS.name, anchor] = LINKS.fold.empty()
        self.link(first, Named(anchor, anchor.value), Decision(rule=Rule.FIRST_SEEN))

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

    def is_known(self, identifier: Identifier) -> bool:
        """Tell whether an identifier belongs to a customer."""
        return identifier in self._owners

    async def links(self, identifiers: Iterable[Identifier]) -> list[LinksState]:
        """Return the links of some identifiers of customers that are locked."""
        wanted = list(dict.fromkeys(identifiers))
        await self._load(LINKS, wanted)
        return [self._states[LINKS.name, one] for one in wanted]

    async def has_records(self, identifiers: Iterable[Identifier]) -> bool:
        """Tell whether anything but links was told of any of some identifiers."""
        wanted = set(identifiers)
        if any(fact.identifier in wanted and fact.section != LINKS.name for fact in self._facts):
            return True
        known = wanted - self._new
        states = await self._tx.states_of(self._tenant, known) if known else {}
        return any(section != LINKS.name for _, section in states)

    def link(
        self,
        a: Named,
        b: Named,
        decision: Decision,
        source: str | None = None,
        *,
        apart: bool = False,
        both: bool = True,
    ) -> None:
        """Add the facts that tell of a link what was decided, at both its ends.

        Args:
            a: one end, of a customer that is locked.
            b: the other.
            decision: what was decided; the value is filled in, and the times, where they are 0, with this moment.
            source: who says so.
            apart: whether it is a ban on linking them.
            both: whether to tell it at the other end too.
        """
        owner = self._owners[a.identifier]
        theirs = self._owners.get(b.identifier, owner)
        # Later than anything told of either: links are gone through as they came.
        self._told[owner] = self._told[theirs] = max(self._told[owner], self._told[theirs])
        held = decision
        for one, other in ((a, b), (b, a)) if both else ((a, b),):
            at = self._tick_of(self._owners.get(one.identifier, owner))
            held = msgspec.structs.replace(held, value=other.value, at=held.at or at, since=held.since or at)
            body = LINKS.shape.encode(held)
            name, version, key = LINKS.name, LINKS.version, link_key(other.identifier, apart=apart)
            self.apply(LINKS, Fact(one.identifier, name, key, Op.PUT, body, at, at, source, fact_id(at), version))

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

    async def known(self, incoming: Sequence[Incoming], asked: Sequence[Asked]) -> dict[Asked, list[Fact]]:
        """Load what deciding on records takes: the states, and the facts that they may repeat or end."""
        wanted: set[Asked] = set()
        sections: dict[str, StoredSection] = {}
        places: defaultdict[str, set[Identifier]] = defaultdict(set)
        for one, question in zip(incoming, asked, strict=True):
            if not self.is_known(one.identifier):
                continue
            section, is_end = one.section, one.op is Op.DELETE
            sections[section.name] = section
            # What they show is made of all their states: one look-up for both.
            whole = is_end or shown_by(section) is section
            places[section.name].update(self.members_of(one.identifier) if whole else [one.identifier])
            if is_end:
                wanted.update(question._replace(identifier=member) for member in self.members_of(one.identifier))
            elif section.kind == "events" or question.moment is not None or section.grants is not None:
                wanted.add(question)
        for name, identifiers in places.items():
            await self._load(sections[name], identifiers)
        wanted = {question for question in wanted if question.identifier not in self._new}
        return await self._tx.known(self._tenant, wanted) if wanted else {}

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
            is_over = held > MAX_KEYS and held > section.fold.keys(before)
        if is_over:
            what = "events ahead of now" if section.kind == "events" else "live keys"
            raise TooManyKeys(f"A customer's section holds at most {MAX_KEYS} {what}. Delete some first.")
        self._states[place] = after
        self._touched[place] = section
        self._facts.append(fact)

    def checkpoint(self) -> Mapping[str, Any]:
        """Return what `restore` goes back to."""
        return {name: value.copy() for name, value in vars(self).items() if isinstance(value, dict | set | list)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Forget all that was done since a checkpoint, which can be gone back to once."""
        vars(self).update(saved)

    async def finish(self, *, bounded: bool = False) -> None:
        """Derive what follows from the facts, and put all of it: at once, as reading is done.

        Raises:
            SectionTooLarge: a section would be too large, and is `bounded`; else it shows that it is.
        """
        await self.derive()
        if bounded:
            for error in self.unfit.values():
                if isinstance(error, SectionTooLarge):
                    raise error
        await self.put()

    async def derive(self) -> None:
        """Make the states, documents and heads that follow; `unfit` then says which sections cannot be shown."""
        await self._lock_aliases()
        self._is_appended = any(map(self._is_asked_for, self._facts))
        if self._is_appended:
            await self._tx.append(self._tenant, self._facts)
            await self._refill()
        self._documents = await self._derived()
        self._stored = {
            (place[1], place[0]): self._storable(place, section) for place, section in self._touched.items()
        }

    def _is_asked_for(self, fact: Fact) -> bool:
        """Tell whether facts are looked up for what a fact changes: what takes an end's room, what was told first."""
        is_event = self._touched[fact.section, fact.identifier].kind == "events"
        owner = self._owners.get(fact.identifier)
        return fact.op is Op.DELETE or (is_event and owner is not None and len(self._members[owner]) > 1)

    async def put(self) -> None:
        """Append the facts, and put what was derived from them."""
        if not self._is_appended:
            await self._tx.append(self._tenant, self._facts)
        await self._drop_documents(self._documents)
        await self._put_owners()
        await self._tx.put_states(self._tenant, self._stored)
        await self._tx.put_documents(self._tenant, self._documents)

    def unfit_records(self) -> Iterator[tuple[Place, PortraitError]]:
        """Yield where facts were added to a section that cannot be shown now, and why it cannot."""
        for place in dict.fromkeys((fact.section, fact.identifier) for fact in self._facts):
            error = self.unfit.get((place[0], self._owners.get(place[1], "")))
            if error is not None and place[0] != LINKS.name:
                yield place, error

    def _storable(self, place: Place, section: StoredSection) -> StoredState:
        stored = folding.store_state(section, self._states[place])
        if folding.is_state_too_large(section, stored) and place[1] in self._owners:
            self.unfit[section.name, self._owners[place[1]]] = section.too_large()
        return stored

    async def rendered(self, identifier: Identifier, section: StoredSection) -> Document:
        """Return what a section shows of the customer that an identifier belongs to, as things stand.

        Raises:
            SectionFailed: the section's own code raised an error.
        """
        owner = self._owners[identifier]
        members = self._members[owner]
        states = {member: self.state((section.name, member)) for member in members}
        if folding.may_clash(section, states.values()):
            settled = await folding.settled(self._tx, self._tenant, section, states, self._told[owner])
            return folding.render(section, settled, self._told[owner])
        state = folding.joined(section, states.values())
        if folding.needs_links(section, state):
            state = folding.linked(state, await self.links(members))
        return folding.render(section, state, self._told[owner])

    async def _derived(self) -> dict[str, list[Document]]:
        """Return the documents that change, heads among them, by customer id."""
        documents: defaultdict[str, list[Document]] = defaultdict(list)
        changed = await self._changed()
        for section in {one.name: one for one in changed.values() if one is not None}.values():
            owners = {customer_id for customer_id, name in changed if name == section.name}
            await self._load(section, {member for owner in owners for member in self._members[owner]})
        for (customer_id, name), known in changed.items():
            # Whoever knows a section renders it when it is read; so it is with one whose own code fails.
            made = stale(name if known is None else known.document)
            if known is not None:
                try:
                    made = await self.rendered(self._members[customer_id][0], known)
                    if folding.is_too_large(known, made):
                        self.unfit[name, customer_id] = known.too_large()
                except SectionFailed as error:
                    self.unfit[name, customer_id] = error
            documents[customer_id].append(made)
        heads = folding.new_heads(self._facts, self._owners, self._members, self._heads, self._merged)
        for customer_id, head in heads.items():
            documents[customer_id].append(head_document(head))
        return documents

    async def _put_owners(self) -> None:
        """Register the identifiers that are new or belong to another customer, and let go of those that nobody has."""
        told_of = {fact.identifier for fact in self._facts}
        moved = {one for owner in self._regrouped for one in self._members.get(owner, ())}
        put = {
            one: owner
            for one, owner in self._owners.items()
            if (one in moved or (one in self._new and one in told_of)) and self._claimed.get(one) != owner
        }
        await self._tx.put_identifiers(self._tenant, put)
        freed = (self._claimed.keys() | told_of) - self._owners.keys()
        if freed:
            await self._tx.drop_identifiers(self._tenant, freed)

    async def _changed(self) -> dict[tuple[str, str], StoredSection | None]:
        """Return whose documents are to be made anew, by customer id and the section whose states make them.

        Of customers whose identifiers changed that is every section of which anything was told, and None where it is
        not registered here: another process may know it.
        """
        changed: dict[tuple[str, str], StoredSection | None] = {
            (owner, name): section
            for (name, identifier), section in self._touched.items()
            if shown_by(section) is section and (owner := self._owners.get(identifier)) is not None
        }
        whole = {owner for owner in self._regrouped if owner in self._members and not self._only_gained(owner)}
        members = {one: owner for owner in whole for one in self._members[owner]}
        stored = await self._tx.states_of(self._tenant, known) if (known := members.keys() - self._new) else {}
        for identifier, name in (*stored, *((one, name) for name, one in self._touched)):
            section = self._sections.get(name)
            if identifier not in members or (section is not None and shown_by(section) is not section):
                continue
            changed[members[identifier], name] = section
            held = stored.get((identifier, name))
            if section is not None and held is not None and (name, identifier) not in self._states:
                state = folding.read_state(section, held)
                if state is not None:
                    self._states[name, identifier] = state
        return changed

    def _only_gained(self, owner: str) -> bool:
        """Tell whether a customer kept all its identifiers, and got none but such as nothing was told of before."""
        head = self._heads.get(owner)
        before = set(head.identifiers(owner)) if head else set()
        after = set(self._members.get(owner, ()))
        return not (head and head.merged_into) and before <= after and after - before <= self._new

    async def _lock_aliases(self) -> None:
        """Lock those that were or are merged away: their heads change, and who is told of them may hold theirs."""
        if unlocked := (self._regrouped | self._merged.keys()) - self._heads.keys():
            self._heads |= await self._tx.lock(self._tenant, sorted(unlocked))

    async def _drop_documents(self, kept: Mapping[str, Sequence[Any]]) -> None:
        """Remove what regrouped customers showed and show no more."""
        for customer_id in self._regrouped:
            if self._heads.get(customer_id) is None or self._only_gained(customer_id):
                continue  # it is new, and has shown nothing yet; or shows what it did
            shown = {row[0] for row in await self._tx.hashes(self._tenant, customer_id, None)} - {HEAD}
            if gone := shown - {document.section for document in kept.get(customer_id, ())}:
                await self._tx.drop_documents(self._tenant, customer_id, gone)

    async def _refill(self) -> None:
        """Give back to a window what a delete has made room for: of those that are due, the newest."""
        for identifier, name in {(fact.identifier, fact.section) for fact in self._facts if fact.op is Op.DELETE}:
            section = self._touched[name, identifier]
            if section.kind == "events":
                until, state = self._told[self._owners[identifier]], self._states[name, identifier]
                self._states[name, identifier] = await folding.refilled(
                    self._tx, self._tenant, section, identifier, state, until
                )

    async def _load(self, section: StoredSection, identifiers: Iterable[Identifier]) -> None:
        missing = [one for one in identifiers if (section.name, one) not in self._states]
        self._states.update({(section.name, one): section.fold.empty() for one in missing})
        # Of one that is new nothing was told; but from whom it is kept apart may be known still.
        if told_of := [one for one in missing if section is LINKS or one not in self._new]:
            states, unreadable = await folding.readable_states(self._tx, self._tenant, section, told_of)
            self._states.update({(section.name, one): state for one, state in states.items()})
            self._unreadable.update({(section.name, one): error for one, error in unreadable.items()})

    def _tick(self, identifier: Identifier) -> int:
        return self._tick_of(self._owners[identifier])

    def _tick_of(self, owner: str) -> int:
        self._told[owner] += 1
        return self._told[owner]
