"""One transaction's working set: the customers that it locks, their states, and the facts that it adds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from portrait import folding
from portrait.identity.graph import first_owner
from portrait.model.document import Head, head_document
from portrait.model.errors import NotSupported, TooManyKeys
from portrait.model.fact import Fact, Op, fact_id
from portrait.model.identifier import Identifier, customer
from portrait.sections.base import MAX_KEYS, Parsed, StoredSection
from portrait.storage.contract import Asked, Place, Transaction


class Incoming(NamedTuple):
    """One validated record on its way in."""

    at: int
    """Its place in the request, from 0."""
    identifier: Identifier
    section: StoredSection
    parsed: Parsed
    effective_at: int | None
    """As the sender gave it; None: the record says, or the moment we are told counts."""
    source: str | None

    @property
    def moment(self) -> int | None:
        """When it was true, by the sender's word or the record's own; None: from when we are told."""
        return self.parsed.effective_at if self.effective_at is None else self.effective_at

    @property
    def asked(self) -> Asked:
        """Asks for what it may repeat: its key, and the moment too where a key can be given anew (state)."""
        moment = None if self.section.kind == "events" else self.moment
        return Asked(self.identifier, self.section.name, self.parsed.key, moment)


class Batch:
    """One transaction's working set: the customers it locked, their states, and the facts it adds."""

    def __init__(self, tx: Transaction, tenant: str, now: int) -> None:
        self._tx = tx
        self._tenant = tenant
        self._now = now
        self._heads: dict[str, Head | None] = {}
        self._owners: dict[Identifier, str] = {}
        self._claimed: dict[Identifier, str] = {}
        self._members: dict[str, Sequence[Identifier]] = {}
        self._states: dict[tuple[str, Identifier], Any] = {}
        self._touched: dict[tuple[str, Identifier], StoredSection] = {}
        self._facts: list[Fact] = []
        self._told: dict[str, int] = {}
        """Of each customer, the moment of the newest telling."""

    async def open(self, identifiers: Iterable[Identifier], *, claim: bool) -> bool:
        """Resolve and lock the customers of these identifiers; tell whether all are known.

        A merge in between shows under the lock, in the head: then they are resolved again, so that no fact goes to
        a customer that was merged away. With `claim`, an identifier that is not known yet makes its customer known.
        """
        wanted = list(identifiers)
        while True:
            owners = await self._tx.resolve(self._tenant, wanted)
            claimed = (
                {one: owner for one in wanted if one not in owners and (owner := first_owner(one))} if claim else {}
            )
            needed = {*owners.values(), *claimed.values()} - self._heads.keys()
            if not needed:
                break
            self._heads |= await self._tx.lock(self._tenant, sorted(needed))
            if all(self._confirms(one, owner) for one, owner in owners.items()) and not any(
                self._heads[owner] for owner in claimed.values()
            ):
                break
        if len(owners) + len(claimed) < len(wanted):
            if claim:
                raise NotSupported("Records can be told of customers by their customerId only.")
            return False
        self._claimed = claimed
        self._members = {
            owner: head.identifiers(owner) if head else (customer(owner),) for owner, head in self._heads.items()
        }
        self._owners = {**owners, **claimed}
        self._owners |= {one: owner for owner, members in self._members.items() for one in members}
        # Of each customer later than anything told before, whatever this machine's clock says.
        self._told = {owner: max(self._now, head.updated_at if head else 0) for owner, head in self._heads.items()}
        return True

    def _confirms(self, identifier: Identifier, owner: str) -> bool:
        """Tell whether a customer's head, now that it is locked, says that an identifier is the customer's."""
        head = self._heads[owner]
        return head is not None and head.merged_into is None and identifier in head.identifiers(owner)

    def members_of(self, identifier: Identifier) -> Sequence[Identifier]:
        """Return all identifiers of the customer that an identifier belongs to."""
        return self._members[self._owners[identifier]]

    async def known(self, incoming: Sequence[Incoming], asked: Sequence[Asked]) -> dict[Asked, list[Fact]]:
        """Load what deciding on records takes: the states, and the facts that they may repeat."""
        places = {(one.section.name, one.identifier): one.section for one in incoming}
        for section in {name: section for (name, _), section in places.items()}.values():
            identifiers = {one for name, one in places if name == section.name}
            # Nothing was told yet of one that is claimed.
            self._states |= {(section.name, one): section.fold.empty() for one in identifiers & self._claimed.keys()}
            await self._load(section, identifiers - self._claimed.keys())
        wanted = {
            question
            for one, question in zip(incoming, asked, strict=True)
            if one.identifier not in self._claimed and (one.section.kind == "events" or question.moment is not None)
        }
        return await self._tx.known(self._tenant, wanted) if wanted else {}

    async def holds(self, identifier: Identifier, section: StoredSection, key: str) -> bool:
        """Tell whether an identifier holds a live record under a key."""
        await self._load(section, [identifier])
        if section.kind == "events":
            facts = await self._tx.history(self._tenant, [identifier], section.name, key)
            return bool(facts) and all(fact.op is Op.PUT for fact in facts)
        return self.current(identifier, section, key) is not None

    def current(self, identifier: Identifier, section: StoredSection, key: str) -> bytes | None:
        """Return the body that counts now for a key of a loaded state section, or None."""
        now = self._told[self._owners[identifier]]
        return section.state_fold.current(self._states[section.name, identifier], key, now)

    def fact(self, one: Incoming) -> Fact:
        """Return the fact that a record becomes, told at the next moment."""
        recorded_at = self._tick(one.identifier)
        at = one.moment
        return Fact(
            one.identifier, one.section.name, one.parsed.key, Op.PUT, one.parsed.body,
            recorded_at if at is None else at, recorded_at, one.source, fact_id(recorded_at), one.section.version,
        )  # fmt: skip

    def end(self, identifier: Identifier, section: StoredSection, key: str, source: str | None) -> None:
        """Add the fact that ends a record."""
        at = self._tick(identifier)
        self.apply(
            section,
            Fact(identifier, section.name, key, Op.DELETE, b"", at, at, source, fact_id(at), section.version),
        )

    def apply(self, section: StoredSection, fact: Fact) -> None:
        """Add a fact and fold it.

        Raises:
            TooManyKeys: it would add a key beyond the limit.
        """
        place = section.name, fact.identifier
        before = self._states[place]
        after = section.fold.apply(before, fact)
        held = section.fold.keys(after)
        if held > MAX_KEYS and held > section.fold.keys(before):
            what = "events ahead of now" if section.kind == "events" else "live keys"
            raise TooManyKeys(f"A customer's section holds at most {MAX_KEYS} {what}. Delete some first.")
        self._states[place] = after
        self._touched[place] = section
        self._facts.append(fact)

    async def touch(self, identifier: Identifier, section: StoredSection) -> None:
        """Have a state and what follows from it written anew, though no fact is added."""
        await self._load(section, [identifier])
        self._touched[section.name, identifier] = section

    async def finish(self) -> None:
        """Append the facts, then write states, documents and heads that follow from them."""
        await self._tx.append(self._tenant, self._facts)
        await self._refill()
        owners = {self._owners[identifier] for _, identifier in self._touched}
        await self._tx.put_identifiers(
            self._tenant, {one: owner for one, owner in self._claimed.items() if owner in owners}
        )
        await self._tx.put_states(
            self._tenant,
            {
                (identifier, name): folding.store_state(section, self._states[name, identifier])
                for (name, identifier), section in self._touched.items()
            },
        )
        documents = defaultdict(list)
        changed = {(self._owners[identifier], name): section for (name, identifier), section in self._touched.items()}
        for section in {section.name: section for section in changed.values()}.values():
            owners = {customer_id for customer_id, name in changed if name == section.name}
            await self._load(section, {member for owner in owners for member in self._members[owner]})
        for (customer_id, name), section in changed.items():
            members = self._members[customer_id]
            states = [self._states[name, member] for member in members]
            documents[customer_id].append(folding.render(section, states, self._told[customer_id]))
        for customer_id, head in self._new_heads().items():
            documents[customer_id].append(head_document(head))
        await self._tx.put_documents(self._tenant, documents)

    async def _refill(self) -> None:
        """Give back to a window what a delete has made room for: of those that are due, the newest."""
        for identifier, name in {(fact.identifier, fact.section) for fact in self._facts if fact.op is Op.DELETE}:
            section = self._touched[name, identifier]
            if section.kind == "state":
                continue
            if section.fold.window is None:
                facts = await self._tx.facts(self._tenant, [identifier])
                self._states[name, identifier] = folding.fold_facts(section, facts)
            else:
                newest = await self._newest(identifier, name, section.fold.window)
                self._states[name, identifier] = folding.fold_facts(section, newest, self._states[name, identifier])

    async def _newest(self, identifier: Identifier, name: str, window: int) -> list[Fact]:
        """Return the newest events that are due: `window` of them, and all that happened with the last of these.

        Among those of one moment the fold chooses by key, which is not the order in which they were told.
        """
        found: list[Fact] = []
        before = Place(self._told[self._owners[identifier]] + 1, b"")
        while page := await self._tx.events(self._tenant, [identifier], name, before, window):
            found += page
            before = Place(page[-1].effective_at, page[-1].id)
            if len(page) < window or before.effective_at < found[window - 1].effective_at:
                break
        return found

    async def _load(self, section: StoredSection, identifiers: Iterable[Identifier]) -> None:
        missing = [one for one in identifiers if (section.name, one) not in self._states]
        if missing:
            states = await folding.load_states(self._tx, self._tenant, section, missing)
            self._states.update({(section.name, one): state for one, state in states.items()})

    def _new_heads(self) -> dict[str, Head]:
        first: dict[str, Fact] = {}
        last: dict[str, Fact] = {}
        for fact in self._facts:
            owner = self._owners[fact.identifier]
            first.setdefault(owner, fact)
            last[owner] = fact  # told later than those before it
        return {
            owner: msgspec.structs.replace(head, updated_at=last[owner].recorded_at)
            if (head := self._heads[owner])
            else Head(fact.id, fact.recorded_at, last[owner].recorded_at)
            for owner, fact in first.items()
        }

    def _tick(self, identifier: Identifier) -> int:
        owner = self._owners[identifier]
        self._told[owner] += 1
        return self._told[owner]
