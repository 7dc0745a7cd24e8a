"""The way in: validated records become facts, and the documents they change are rendered, in one transaction."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from portrait import folding
from portrait.identity.graph import first_owner
from portrait.model.document import Head, head_document
from portrait.model.errors import (
    CustomerNotFound,
    EventConflict,
    InvalidRecord,
    NotSupported,
    PortraitError,
    RecordNotFound,
    TooManyKeys,
)
from portrait.model.fact import Fact, Op, fact_id
from portrait.model.identifier import Identifier, customer
from portrait.model.time import Clock
from portrait.sections.base import MAX_AHEAD, MAX_KEYS, Parsed, StoredSection
from portrait.sections.registry import Registry
from portrait.storage.contract import Store, Transaction

MAX_CHUNK = 1000
"""The most records in one transaction of a bulk."""


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


class Refusal(NamedTuple):
    """One record that was not taken."""

    at: int
    code: str
    detail: str


class Warned(NamedTuple):
    """One record that was taken, with something to know about it."""

    at: int
    code: str


class Outcome(msgspec.Struct):
    """What became of the records of a request."""

    recorded: int = 0
    duplicates: int = 0
    refused: list[Refusal] = []
    warnings: list[Warned] = []


class Recorder:
    """Takes records in."""

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock

    async def record_all(self, tenant: str, incoming: Sequence[Incoming]) -> Outcome:
        """Take all records or none.

        Raises:
            InvalidRequest, Conflict: the first record refused; the detail says which and why.
            Unavailable: the database cannot write now.
        """
        return await self._store.write(lambda tx: self._record(tx, tenant, incoming, atomic=True))

    async def record_each(self, tenant: str, incoming: Sequence[Incoming]) -> Outcome:
        """Take every record that can be taken, and say why each of the others was refused.

        Raises:
            Unavailable: the database cannot write now; none was taken.
        """
        return await self._store.write(lambda tx: self._record(tx, tenant, incoming, atomic=False))

    async def delete(self, tenant: str, customer_id: str, section: StoredSection, key: str, source: str | None) -> None:
        """End a record, for every identifier of the customer that holds it.

        Raises:
            CustomerNotFound, RecordNotFound: there is no such customer, or no live record under the key.
            Unavailable: the database cannot write now.
        """
        await self._store.write(lambda tx: self._delete(tx, tenant, customer_id, section, key, source))

    async def refresh(self, tenant: str, customer_id: str, section: StoredSection) -> None:
        """Render a document anew that time or a newer version of the section has overtaken."""

        async def work(tx: Transaction) -> None:
            batch = _Batch(tx, tenant, self._clock())
            if await batch.open([customer(customer_id)], claim=False):
                await batch.finish([(customer_id, section)])

        await self._store.write(work)

    async def _record(self, tx: Transaction, tenant: str, incoming: Sequence[Incoming], *, atomic: bool) -> Outcome:
        outcome = Outcome()
        batch = _Batch(tx, tenant, self._clock())
        await batch.open(dict.fromkeys(one.identifier for one in incoming), claim=True)
        groups: dict[tuple[Identifier, str], list[Incoming]] = defaultdict(list)
        for one in incoming:
            groups[one.identifier, one.section.name].append(one)
        for (identifier, _), group in groups.items():
            section = group[0].section
            known = await batch.known(identifier, section, group)
            for one in group:
                fact = batch.fact(one)
                try:
                    if self._is_duplicate(batch, one, fact, known):
                        outcome.duplicates += 1
                        continue
                    batch.apply(section, fact)
                except PortraitError as error:
                    if atomic:
                        raise _at_index(error, one.at, len(incoming)) from error
                    outcome.refused.append(Refusal(one.at, error.code, error.detail))
                    continue
                known.setdefault((fact.key, _moment_asked(one)), []).append(fact)
                outcome.recorded += 1
        await batch.finish()
        outcome.refused.sort()
        return outcome

    @staticmethod
    def _is_duplicate(
        batch: "_Batch", one: Incoming, fact: Fact, known: dict[tuple[str, int | None], list[Fact]]
    ) -> bool:
        """Tell whether a record says what is known already.

        Raises:
            EventConflict: the key is known with another body.
            InvalidRecord: an event lies too far ahead.
        """
        section = one.section
        same_key = [section.bring_forward(other) for other in known.get((fact.key, _moment_asked(one)), ())]
        ahead = max(fact.effective_at, one.parsed.effective_at or 0)
        if section.kind == "events" and ahead > fact.recorded_at + MAX_AHEAD:
            raise InvalidRecord("An event must not lie more than 24 hours ahead of us.")
        if section.kind == "events":
            bodies = {other.body for other in same_key if other.op is Op.PUT}
            if bodies and fact.body not in bodies:
                raise EventConflict(
                    "An event with this key was recorded with another body. Events never change: use a new key."
                )
            return bool(bodies)
        if _moment_asked(one) is None:
            return batch.current(one.identifier, section, fact.key) == fact.body
        return any(other.op is Op.PUT and other.body == fact.body for other in same_key)

    async def _delete(
        self,
        tx: Transaction,
        tenant: str,
        customer_id: str,
        section: StoredSection,
        key: str,
        source: str | None,
    ) -> None:
        batch = _Batch(tx, tenant, self._clock())
        if not await batch.open([customer(customer_id)], claim=False):
            raise CustomerNotFound
        ended = 0
        for identifier in batch.members_of(customer(customer_id)):
            if await batch.holds(identifier, section, key):
                batch.end(identifier, section, key, source)
                ended += 1
        if not ended:
            raise RecordNotFound("No live record of this customer has this key in this section.")
        await batch.finish()


def _moment_asked(one: Incoming) -> int | None:
    """Return the moment that tells a record from others of its key: none for events, whose key alone does."""
    if one.section.kind == "events":
        return None
    return one.parsed.effective_at if one.effective_at is None else one.effective_at


def _at_index(error: PortraitError, index: int, count: int) -> PortraitError:
    if count > 1:
        error = type(error)(f"Record {index}: {error.detail}")
    if isinstance(error, InvalidRecord):
        error.index = index
    return error


class _Batch:
    """One transaction's working set: the customers it locked, their states, and the facts it adds."""

    def __init__(self, tx: Transaction, tenant: str, now: int) -> None:
        self._tx = tx
        self._tenant = tenant
        self._now = now
        self._heads: dict[str, Head | None] = {}
        self._owners: dict[Identifier, str] = {}
        self._claimed: dict[Identifier, str] = {}
        self._members: dict[str, list[Identifier]] = {}
        self._states: dict[tuple[str, Identifier], Any] = {}
        self._touched: dict[tuple[str, Identifier], StoredSection] = {}
        self._facts: list[Fact] = []

    async def open(self, identifiers: Iterable[Identifier], *, claim: bool) -> bool:
        """Resolve and lock the customers of these identifiers; tell whether all are known.

        Resolving again under the locks is what loses no fact to a merge in between. With `claim`, an identifier
        that is not known yet makes its customer known.
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
        if len(owners) + len(claimed) < len(wanted):
            if claim:
                raise NotSupported("Records can be told of customers by their customerId only.")
            return False
        self._owners, self._claimed = owners | claimed, claimed
        self._members = await self._tx.members(self._tenant, set(owners.values()))
        for identifier, owner in claimed.items():
            self._members.setdefault(owner, []).append(identifier)
        # Later than anything told of these customers before, whatever this machine's clock says.
        self._now = max(self._now, *(head.updated_at + 1 for head in self._heads.values() if head), 0)
        return True

    def members_of(self, identifier: Identifier) -> list[Identifier]:
        """Return all identifiers of the customer that an identifier belongs to."""
        return self._members.get(self._owners[identifier], [])

    async def known(
        self, identifier: Identifier, section: StoredSection, group: Sequence[Incoming]
    ) -> dict[tuple[str, int | None], list[Fact]]:
        """Load what deciding on a group of records takes: the state, and facts that they may repeat."""
        if identifier in self._claimed:
            self._states[section.name, identifier] = section.fold.empty()
            return {}
        await self._load(section, [identifier])
        wanted = {
            (one.parsed.key, moment)
            for one in group
            if (moment := _moment_asked(one)) is not None or section.kind == "events"
        }
        if not wanted:
            return {}
        return dict(await self._tx.known(self._tenant, identifier, section.name, wanted))

    async def holds(self, identifier: Identifier, section: StoredSection, key: str) -> bool:
        """Tell whether an identifier holds a live record under a key."""
        await self._load(section, [identifier])
        if section.kind == "events":
            facts = (await self._tx.known(self._tenant, identifier, section.name, [(key, None)])).get((key, None), [])
            return bool(facts) and all(fact.op is Op.PUT for fact in facts)
        return self.current(identifier, section, key) is not None

    def current(self, identifier: Identifier, section: StoredSection, key: str) -> bytes | None:
        """Return the body that counts now for a key of a loaded state section, or None."""
        return section.state_fold.current(self._states[section.name, identifier], key, self._now)

    def fact(self, one: Incoming) -> Fact:
        """Return the fact that a record becomes, told at the next moment."""
        recorded_at = self._tick()
        at = one.parsed.effective_at if one.effective_at is None else one.effective_at
        return Fact(
            one.identifier, one.section.name, one.parsed.key, Op.PUT, one.parsed.body,
            recorded_at if at is None else at, recorded_at, one.source, fact_id(recorded_at), one.section.version,
        )  # fmt: skip

    def end(self, identifier: Identifier, section: StoredSection, key: str, source: str | None) -> None:
        """Add the fact that ends a record."""
        at = self._tick()
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
        if section.fold.keys(after) > max(MAX_KEYS, section.fold.keys(before)):
            what = "events ahead of now" if section.kind == "events" else "live keys"
            raise TooManyKeys(f"A customer's section holds at most {MAX_KEYS} {what}. Delete some first.")
        self._states[place] = after
        self._touched[place] = section
        self._facts.append(fact)

    async def finish(self, also: Iterable[tuple[str, StoredSection]] = ()) -> None:
        """Append the facts, then write states, documents and heads that follow from them."""
        await self._tx.append(self._tenant, self._facts)
        await self._refill()
        owners = {self._owners_of(identifier) for _, identifier in self._touched}
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
        changed = {
            (self._owners_of(identifier), name): section for (name, identifier), section in self._touched.items()
        }
        changed.update({(customer_id, section.name): section for customer_id, section in also})
        for (customer_id, name), section in changed.items():
            members = self._members[customer_id]
            await self._load(section, members)
            states = [self._states[name, member] for member in members]
            documents[customer_id].append(folding.render(section, states, self._now))
        for customer_id, head in self._new_heads().items():
            documents[customer_id].append(head_document(head))
        await self._tx.put_documents(self._tenant, documents)

    async def _refill(self) -> None:
        """Give back to a window what a delete has made room for."""
        for identifier, name in {(fact.identifier, fact.section) for fact in self._facts if fact.op is Op.DELETE}:
            section = self._touched[name, identifier]
            if section.kind == "state":
                continue
            if section.fold.window is None:
                facts = await self._tx.facts(self._tenant, identifier)
                self._states[name, identifier] = folding.fold_facts(section, facts)
            else:
                newest = await self._tx.events(self._tenant, [identifier], name, None, section.fold.window)
                self._states[name, identifier] = folding.fold_facts(section, newest, self._states[name, identifier])

    async def _load(self, section: StoredSection, identifiers: Iterable[Identifier]) -> None:
        missing = [one for one in identifiers if (section.name, one) not in self._states]
        if missing:
            states = await folding.load_states(self._tx, self._tenant, section, missing)
            self._states.update({(section.name, one): state for one, state in states.items()})

    def _new_heads(self) -> dict[str, Head]:
        heads: dict[str, Head] = {}
        for fact in self._facts:
            owner = self._owners_of(fact.identifier)
            head = heads.get(owner) or self._heads[owner] or Head(fact.id, fact.recorded_at, 0)
            heads[owner] = msgspec.structs.replace(head, updated_at=max(head.updated_at, fact.recorded_at))
        return heads

    def _owners_of(self, identifier: Identifier) -> str:
        owner = self._owners.get(identifier)
        if owner is not None:
            return owner
        return next(owner for owner, members in self._members.items() if identifier in members)

    def _tick(self) -> int:
        self._now += 1
        return self._now
