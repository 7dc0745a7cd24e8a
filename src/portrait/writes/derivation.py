"""What follows from a working set's facts: states, documents, heads and owners."""

from collections.abc import Mapping
from typing import Any

from portrait import projection
from portrait.model.document import HEAD, Document, Head, head_document, stale
from portrait.model.errors import InvalidRequest, PortraitError, SectionFailed
from portrait.model.fact import Op
from portrait.model.identifier import Identifier
from portrait.sections.base import MAX_KEYS, StoredSection
from portrait.sections.links import shown_by
from portrait.storage.contract import Changes, StoredState
from portrait.writes.loaded_set import LoadedSet
from portrait.writes.working_set import StateKey, too_many_keys

DocumentKey = tuple[str, str]
"""Names a document: its customer id and its section."""


class Derivation:
    """Derives what follows from a working set's facts: first it loads what that takes, then it derives, without I/O.

    Args:
        loaded: the working set.
    """

    def __init__(self, loaded: LoadedSet) -> None:
        self._set = loaded
        self._tx = loaded.tx
        self._tenant = loaded.tenant
        self._is_appended = False
        """Whether the facts are applied already, as what follows from them takes reading events back."""
        self._changed: dict[DocumentKey, StoredSection | None] = {}
        """Whose documents are made anew, and the section whose states make them; None: it is not registered here."""
        self._shown: dict[DocumentKey, Any] = {}
        """The joined states that documents are rendered from, by customer id and the name of the states' section."""
        self._gone: set[DocumentKey] = set()
        """The stored documents of customers whose identifiers are others now."""
        self.unfit: dict[tuple[str, str], PortraitError] = {}
        """Why sections cannot be shown, by their names and customer ids; known once all is derived."""

    async def load(self) -> None:
        """Load what deriving takes."""
        await self._refill()
        self._changed = await self._load_changed()
        sections = {section.name: section for section in self._changed.values() if section is not None}
        for section in sections.values():
            owners = {owner for owner, name in self._changed if name == section.name}
            await self._set.load(section, {member for owner in owners for member in self._set.members[owner]})
        for (owner, _), known in self._changed.items():
            if known is not None:
                try:
                    await self._load_shown(owner, known)
                except (SectionFailed, InvalidRequest) as error:
                    self.unfit[known.name, owner] = error
        await self._load_gone()

    def changes(self) -> Changes:
        """Return what follows from the facts, and the facts; `unfit` then says which sections cannot be shown."""
        documents: dict[DocumentKey, Document | None] = dict.fromkeys(self._gone)
        for (owner, name), section in self._changed.items():
            # A process that knows a section renders it when it is read; so it is with a section whose own code fails.
            document = stale(name) if section is None else self._document(owner, section)
            documents[owner, document.section] = document
        for owner, head in self._heads().items():
            documents[owner, HEAD] = head_document(head)
        for (name, identifier), section in self._set.grown.items():
            customer_id = self._set.owners.get(identifier)
            if customer_id is None or (name, customer_id) in self.unfit:
                continue
            if self.is_crowded(identifier, section):
                self.unfit[name, customer_id] = too_many_keys(section)
        states = {(key[1], key[0]): self._stored(key, section) for key, section in self._set.touched.items()}
        return Changes(() if self._is_appended else self._set.facts, self._owners(), states, documents)

    def is_crowded(self, identifier: Identifier, section: StoredSection) -> bool:
        """Tell whether all identifiers of a customer together hold more keys than there may be, in a section they show.

        Raises:
            SectionFailed: the section's own code raised an error.
        """
        members = self._set.members_of(identifier)
        if len(members) < 2 or shown_by(section) is not section:
            return False
        with section.own_code():
            state = projection.joined(section, (self._set.state((section.name, member)) for member in members))
            return bool(section.fold.keys(state) > MAX_KEYS)

    async def rendered(self, identifier: Identifier, section: StoredSection) -> Document:
        """Return what a section shows of the customer that an identifier belongs to, as things stand.

        Raises:
            SectionFailed: the section's own code raised an error.
        """
        owner = self._set.owners[identifier]
        await self._load_shown(owner, section)
        return self._rendered(owner, section)

    async def _load_shown(self, owner: str, section: StoredSection) -> None:
        """Load the one state that a section shows of a customer, and what else showing it takes.

        Raises:
            SectionFailed: the section's own code raised an error.
        """
        states = {member: self._set.state((section.name, member)) for member in self._set.members[owner]}
        if projection.may_clash(section, states.values()):
            await self._append()
            now = self._set.recorded_at_of(owner)
            state = await projection.settled(self._tx, self._tenant, section, states, now)
        else:
            state = projection.joined(section, states.values())
            if projection.needs_links(section, state):
                state = projection.linked(state, await self._set.links(states))
        self._shown[owner, section.name] = state

    def _rendered(self, owner: str, section: StoredSection) -> Document:
        return projection.render(section, self._shown[owner, section.name], self._set.recorded_at_of(owner))

    def _document(self, owner: str, section: StoredSection) -> Document:
        """Return a customer's document in a section; where it cannot be shown, one that says so."""
        if (section.name, owner) not in self.unfit:
            try:
                document = self._rendered(owner, section)
            except (SectionFailed, InvalidRequest) as error:
                self.unfit[section.name, owner] = error
            else:
                if projection.is_too_large(section, document):
                    self.unfit[section.name, owner] = section.too_large()
                return document
        return stale(section.document)

    def _stored(self, key: StateKey, section: StoredSection) -> StoredState:
        stored = projection.store_state(section, self._set.state(key))
        if projection.is_state_too_large(section, stored) and key[1] in self._set.owners:
            self.unfit[section.name, self._set.owners[key[1]]] = section.too_large()
        return stored

    def _heads(self) -> Mapping[str, Head]:
        known = self._set
        return projection.new_heads(known.facts, known.owners, known.members, known.heads, known.merged)

    def _owners(self) -> dict[Identifier, str | None]:
        """Return the owners of identifiers that are new or belong to another customer; None: to nobody any more."""
        known = self._set
        with_facts = {fact.identifier for fact in known.facts}
        moved = {member for owner in known.regrouped for member in known.members.get(owner, ())}
        owners: dict[Identifier, str | None] = dict.fromkeys(
            (known.claimed.keys() | with_facts | known.before.keys()) - known.owners.keys()
        )
        return owners | {
            identifier: owner
            for identifier, owner in known.owners.items()
            if (identifier in moved or (identifier in known.new and identifier in with_facts))
            and known.claimed.get(identifier) != owner
        }

    async def _load_changed(self) -> dict[DocumentKey, StoredSection | None]:
        """Return whose documents are made anew, and the section whose states make them.

        Of customers whose identifiers changed these are all sections that have states, and None where a section is not
        registered here: another process may know it.
        """
        known = self._set
        changed: dict[DocumentKey, StoredSection | None] = {
            (owner, name): section
            for (name, identifier), section in known.touched.items()
            if shown_by(section) is section and (owner := known.owners.get(identifier)) is not None
        }
        whole = {owner for owner in known.regrouped if owner in known.members and not known.only_gained(owner)}
        members = {member: owner for owner in whole for member in known.members[owner]}
        old = members.keys() - known.new
        stored = await self._tx.states_of(self._tenant, old) if old else {}
        for identifier, name in (*stored, *((identifier, name) for name, identifier in known.touched)):
            section = known.sections.get(name)
            if identifier not in members or (section is not None and shown_by(section) is not section):
                continue
            changed[members[identifier], name] = section
            if section is not None and (identifier, name) in stored and not known.has_state((name, identifier)):
                state = projection.read_state(section, stored[identifier, name])
                if state is not None:
                    known.put_state((name, identifier), state)
        await self._add_relinked(changed)
        return changed

    async def _add_relinked(self, changed: dict[DocumentKey, StoredSection | None]) -> None:
        """Add sections to which it matters since when histories are one, of customers of whom that may have changed."""
        known = self._set
        owners = {owner for identifier in known.relinked if (owner := known.owners.get(identifier)) is not None}
        members = {owner: known.members[owner] for owner in owners if known.heads.get(owner) is not None}
        everyone = [identifier for group in members.values() if len(group) > 1 for identifier in group]
        for name, section in known.sections.items() if everyone else ():
            if projection.is_by_join(section):
                await self._set.load(section, everyone)
                empty = section.fold.empty()
                for owner, group in members.items():
                    keys = [(name, identifier) for identifier in group]
                    if sum(known.state(key) != empty for key in keys if known.has_state(key)) > 1:
                        changed[owner, name] = section

    async def _load_gone(self) -> None:
        """Find what regrouped customers showed, and may show no more."""
        for owner in self._set.regrouped:
            if self._set.heads.get(owner) is None or self._set.only_gained(owner):
                continue  # it is new, and has shown nothing yet; or shows what it did
            rows = await self._tx.hashes(self._tenant, owner, None)
            self._gone.update((owner, section) for section, *_ in rows if section != HEAD)

    async def _append(self) -> None:
        """Apply the facts ahead of what follows from them, for reads to see them."""
        if self._set.is_final and not self._is_appended:
            self._is_appended = True
            await self._tx.apply(self._tenant, Changes(facts=self._set.facts))

    async def _refill(self) -> None:
        """Give back to a window what a delete has made room for: of the events that are due, the newest."""
        known = self._set
        for identifier, name in {(fact.identifier, fact.section) for fact in known.facts if fact.op is Op.DELETE}:
            section = known.touched[name, identifier]
            if section.kind == "events":
                await self._append()
                until, state = known.recorded_at(identifier), known.state((name, identifier))
                refilled = await projection.refilled(self._tx, self._tenant, section, identifier, state, until)
                known.put_state((name, identifier), refilled)
