"""One transaction's work: it locks customers, loads what is needed, and puts what follows from the facts it adds."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from portrait import projection
from portrait.identity.graph import Profile, first_owner
from portrait.model.document import HEAD, Document, head_document, stale
from portrait.model.errors import SectionFailed, SectionTooLarge
from portrait.model.fact import Fact, Op
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer, generated
from portrait.sections.base import MAX_KEYS, StoredSection
from portrait.sections.links import LINKS, LinksState, shown_by
from portrait.storage.contract import FactsAsked, StoredState, Transaction
from portrait.writes.incoming import GivenIdentifier, Incoming
from portrait.writes.working_set import Place, WorkingSet, too_many_keys


class Batch(WorkingSet):
    """One transaction's working set, with the transaction: what it loads, and what it puts in the end.

    Args:
        tx: the transaction.
        tenant: the tenant.
        now: the present moment.
        sections: every stored section by name.
    """

    def __init__(self, tx: Transaction, tenant: str, now: int, sections: Mapping[str, StoredSection]) -> None:
        super().__init__(now, sections)
        self._tx = tx
        self._tenant = tenant

    async def open(
        self, told_of: Iterable[GivenIdentifier], mentioned: Iterable[Identifier] = (), *, claim: bool
    ) -> bool:
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
        new = await self._enter(wanted, claim=claim)
        if new is None:
            return False
        if len(wanted) > len(subjects) and self._told:
            # What is said of two is later than all that was told of either: which came first is seen by that.
            self._told = dict.fromkeys(self._told, max(self._told.values()))
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
            anchor = customer(self._made[one])
            self.regroup((), [Profile(anchor.value, tuple(sorted((anchor, one))))])
            self.found(GivenIdentifier(one, subjects[one]), anchor)
        return True

    async def reach(self, identifiers: Iterable[Identifier]) -> None:
        """Take the customers of other identifiers in; one that is nobody's is kept from others until the end.

        A customer id of which nothing was ever told is passed over.
        """
        missing = [one for one in dict.fromkeys(identifiers) if one not in self._owners and one not in self._new]
        unseen = [one for one in missing if one.type == CUSTOMER_ID]
        known = await self._tx.resolve(self._tenant, unseen) if unseen else {}
        if missing := [one for one in missing if one.type != CUSTOMER_ID or one in known]:
            await self._enter(missing, claim=True)

    async def _enter(self, wanted: Sequence[Identifier], *, claim: bool) -> list[Identifier] | None:
        """Resolve and lock the customers of identifiers, and return those that are new; None: some are, unclaimed."""
        while True:
            resolved = await self._tx.resolve(self._tenant, wanted)
            owners = {one: owner for one, owner in resolved.items() if one not in self._claimed}
            new = [one for one in wanted if one not in owners]
            if new and not claim:
                return None
            own = [owner for one in new if (owner := first_owner(one)) is not None]
            needed = {*owners.values(), *own} - self._heads.keys()
            if needed:
                self._heads |= await self._tx.lock(self._tenant, sorted(needed))
                confirmed = all(self._confirms(one, owner) for one, owner in owners.items())
                if not confirmed or any(self._heads[owner] for owner in own):
                    continue
            unclaimed = {
                one: self._made.setdefault(one, generated().value)
                for one in new
                if one.type != CUSTOMER_ID and one not in self._claimed
            }
            taken = await self._tx.claim(self._tenant, unclaimed) if unclaimed else set()
            self._claimed |= {one: unclaimed[one] for one in taken}
            if len(taken) == len(unclaimed):
                break
        self._settle(owners, new, {*owners.values(), *own})
        return new

    def _settle(self, owners: Mapping[Identifier, str], new: Iterable[Identifier], concerned: Collection[str]) -> None:
        """Note whose identifiers are whose. Who is locked but not concerned was merged away while we waited for it."""
        self._new.update(new)
        self._states |= {(LINKS.name, one): LINKS.fold.empty() for one in new if one.type == CUSTOMER_ID}
        for owner in concerned - self._members.keys():
            head = self._heads[owner]
            self._members[owner] = members = head.identifiers(owner) if head else (customer(owner),)
            if head:
                self._owners |= dict.fromkeys(members, owner)
                self._before |= dict.fromkeys(members, Profile(owner, tuple(members)))
        self._owners |= owners
        # Of each customer later than anything told before, whatever this machine's clock says.
        for owner, head in self._heads.items():
            self._told.setdefault(owner, max(self.now, head.updated_at if head else 0))

    async def links(self, identifiers: Iterable[Identifier]) -> list[LinksState]:
        """Return the links of some identifiers of customers that are locked."""
        return list((await self.states(LINKS, identifiers)).values())

    async def states(self, section: StoredSection, identifiers: Iterable[Identifier]) -> dict[Identifier, Any]:
        """Return the states of some identifiers of customers that are locked.

        Raises:
            SectionFailed: the section's own code cannot fold one.
        """
        wanted = dict.fromkeys(identifiers)
        await self._load(section, wanted)
        return {one: self.state((section.name, one)) for one in wanted}

    async def with_records(self, identifiers: Iterable[Identifier]) -> set[Identifier]:
        """Return those of some identifiers of which anything but links was told."""
        wanted = set(identifiers)
        found = {fact.identifier for fact in self._facts if fact.section != LINKS.name} & wanted
        known = wanted - found - self._new
        states = await self._tx.states_of(self._tenant, known) if known else {}
        return found | {identifier for identifier, section in states if section != LINKS.name}

    async def known(self, incoming: Sequence[Incoming], asked: Sequence[FactsAsked]) -> dict[FactsAsked, list[Fact]]:
        """Load what deciding on records takes: the states, and the facts that they may repeat or end."""
        wanted: set[FactsAsked] = set()
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
        for name, identifier in self._grown:
            section, owner = self._touched[name, identifier], self._owners.get(identifier)
            if owner is not None and (name, owner) not in self.unfit and self.is_crowded(identifier, section):
                self.unfit[name, owner] = too_many_keys(section)
        self._stored = {
            (place[1], place[0]): self._storable(place, section) for place, section in self._touched.items()
        }

    async def put(self) -> None:
        """Append the facts, and put what was derived from them."""
        if not self._is_appended:
            await self._tx.append(self._tenant, self._facts)
        await self._drop_documents(self._documents)
        await self._put_owners()
        await self._tx.put_states(self._tenant, self._stored)
        await self._tx.put_documents(self._tenant, self._documents)

    def _storable(self, place: Place, section: StoredSection) -> StoredState:
        stored = projection.store_state(section, self._states[place])
        if projection.is_state_too_large(section, stored) and place[1] in self._owners:
            self.unfit[section.name, self._owners[place[1]]] = section.too_large()
        return stored

    def is_crowded(self, identifier: Identifier, section: StoredSection) -> bool:
        """Tell whether all identifiers of a customer together hold more keys than there may be, in a section they show.

        Raises:
            SectionFailed: the section's own code raised an error.
        """
        members = self.members_of(identifier)
        if len(members) < 2 or shown_by(section) is not section:
            return False
        with section.own_code():
            state = projection.joined(section, (self.state((section.name, one)) for one in members))
            return bool(section.fold.keys(state) > MAX_KEYS)

    async def rendered(self, identifier: Identifier, section: StoredSection) -> Document:
        """Return what a section shows of the customer that an identifier belongs to, as things stand.

        Raises:
            SectionFailed: the section's own code raised an error.
        """
        owner = self._owners[identifier]
        members = self._members[owner]
        states = {member: self.state((section.name, member)) for member in members}
        if projection.may_clash(section, states.values()):
            settled = await projection.settled(self._tx, self._tenant, section, states, self._told[owner])
            return projection.render(section, settled, self._told[owner])
        state = projection.joined(section, states.values())
        if projection.needs_links(section, state):
            state = projection.linked(state, await self.links(members))
        return projection.render(section, state, self._told[owner])

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
                    if projection.is_too_large(known, made):
                        self.unfit[name, customer_id] = known.too_large()
                except SectionFailed as error:
                    self.unfit[name, customer_id] = error
            documents[customer_id].append(made)
        heads = projection.new_heads(self._facts, self._owners, self._members, self._heads, self._merged)
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
                state = projection.read_state(section, held)
                if state is not None:
                    self._states[name, identifier] = state
        await self._add_relinked(changed)
        return changed

    async def _add_relinked(self, changed: dict[tuple[str, str], StoredSection | None]) -> None:
        """Add sections to which it matters since when histories are one, of customers of whom that may have changed."""
        owners = {owner for one in self._relinked if (owner := self._owners.get(one)) is not None}
        members = {owner: self._members[owner] for owner in owners if self._heads.get(owner) is not None}
        everyone = [one for some in members.values() if len(some) > 1 for one in some]
        for name, section in self._sections.items():
            if everyone and projection.is_by_join(section):
                await self._load(section, everyone)
                empty = section.fold.empty()
                for owner, some in members.items():
                    if sum(self._states[name, one] != empty for one in some if (name, one) in self._states) > 1:
                        changed[owner, name] = section

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
                self._states[name, identifier] = await projection.refilled(
                    self._tx, self._tenant, section, identifier, state, until
                )

    async def _load(self, section: StoredSection, identifiers: Iterable[Identifier]) -> None:
        missing = [one for one in identifiers if (section.name, one) not in self._states]
        self._states.update({(section.name, one): section.fold.empty() for one in missing})
        # Of one that is new nothing was told; but from whom it is kept apart may be known still.
        if told_of := [one for one in missing if section is LINKS or one not in self._new]:
            states, unreadable = await projection.readable_states(self._tx, self._tenant, section, told_of)
            self._states.update({(section.name, one): state for one, state in states.items()})
            self._unreadable.update({(section.name, one): error for one, error in unreadable.items()})
