"""Upkeep of what is derived: check it against the facts, rebuild it from them, refresh what time has overtaken."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from portrait import folding
from portrait.identity.graph import Graph, Profile, aliases
from portrait.model.document import HEAD, Document, Head, content_hash, head_document
from portrait.model.fact import Fact
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer
from portrait.model.time import Clock
from portrait.recording import Recorder
from portrait.sections.base import StoredSection
from portrait.sections.links import LINKS, LinksState, graph_of, linked, shown_by
from portrait.sections.registry import Registry
from portrait.storage.contract import Reads, Store, StoredState, Transaction

_log = logging.getLogger("portrait.upkeep")
CHUNK = 200
"""How many customers are compared in one snapshot or rebuilt in one transaction."""

Progress = Callable[[int], None]


class Difference(NamedTuple):
    """One place where what is held is not what the facts say."""

    tenant: str
    kind: Literal["document", "state", "identifier", "head"]
    section: str
    reason: Literal["missing", "different", "unfounded"]


class Report(msgspec.Struct):
    """What a check or a rebuild found."""

    customers: int = 0
    facts: int = 0
    differences: list[Difference] = []
    unregistered: dict[str, int] = {}
    """Facts of sections that no longer are registered, by section: kept, and left out of documents."""
    faults: list[str] = []
    """What the database's own check of its files found."""


class Upkeep:
    """Checks, rebuilds and refreshes one database."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, overtaken: folding.Overtaken) -> None:
        self._store = store
        self._overtaken = overtaken
        self._registry = registry
        self._clock = clock

    async def check(self, progress: Progress | None = None) -> Report:
        """Derive everything anew beside what is held, compare, and report; nothing is written."""
        report = Report(faults=await self._store.faults())
        now = self._clock()

        async def compare(tenant: str, identifiers: list[Identifier]) -> None:
            async with self._store.snapshot() as reads:
                for one in await self._components_held(reads, tenant, identifiers, now, report):
                    one.compare()

        await self._each(compare, progress)
        return report

    async def rebuild(self, progress: Progress | None = None) -> Report:
        """Derive everything anew, report what was held otherwise, and put it right, a few customers at a time.

        A service may go on serving: each customer is locked while it is compared and replaced.
        """
        report = Report()

        async def repair(tenant: str, identifiers: list[Identifier]) -> None:
            found = await self._store.write(tenant, lambda tx: self._repair(tx, tenant, identifiers))
            report.customers += found.customers
            report.facts += found.facts
            report.differences += found.differences
            for section, count in found.unregistered.items():
                report.unregistered[section] = report.unregistered.get(section, 0) + count

        await self._each(repair, progress)
        return report

    async def refresh(self, limit: int = 500) -> int:
        """Render anew the documents whose moment has come, or that reads found overtaken; return how many."""
        recorder = Recorder(self._store, self._clock, self._registry.all_stored())
        names = [section.name for section in self._registry.all_stored()]
        due = dict.fromkeys([*await self._store.due(names, self._clock(), limit), *self._overtaken.take()])
        for tenant, customer_id, name in due:
            try:
                await recorder.refresh(tenant, customer_id, self._registry.stored(name))
            except Exception:  # noqa: BLE001  # one that a plugin's fold fails at must not keep the others waiting
                _log.exception("a document of section %s was not refreshed", name)
        return len(due)

    async def _repair(self, tx: Transaction, tenant: str, identifiers: list[Identifier]) -> Report:
        locked: set[str] = set()
        while True:
            report = Report()
            held = await self._components_held(tx, tenant, identifiers, self._clock(), report)
            needed = {customer_id for one in held for customer_id in one.customer_ids} - locked
            if not needed:
                break
            await tx.lock(tenant, sorted(needed))
            locked |= needed
        for one in held:
            one.compare()
            await one.drop(tx)
        # All that is unfounded goes before anything is put: what one customer holds wrongly may be another's.
        await tx.put_documents(tenant, {owner: found for one in held for owner, found in one.documents.items()})
        await tx.put_states(tenant, {pair: state for one in held for pair, state in one.states.items()})
        await tx.put_identifiers(
            tenant, {identifier: owner for one in held for identifier, owner in one.owners.items()}
        )
        return report

    async def _components_held(
        self, reads: Reads, tenant: str, identifiers: list[Identifier], now: int, report: Report
    ) -> "list[_Component]":
        """Return what is linked with some identifiers, with all that is told and all that is held of it.

        A connected set is returned with the first of its identifiers only: each is met once, however many it has.
        """
        facts: dict[Identifier, list[Fact]] = {}
        links: dict[Identifier, LinksState] = {}
        components = []
        ahead = {one: {one} for one in identifiers}
        while ahead:
            missing = {one for members in ahead.values() for one in members} - facts.keys()
            facts |= {one: [] for one in missing}
            for fact in await reads.facts(tenant, missing):
                facts[fact.identifier].append(fact)
            links |= {one: folding.fold_facts(LINKS, facts[one]) for one in missing}
            for first, members in list(ahead.items()):
                wider = members | {link for one in members for link in linked(links[one], one)}
                if min(wider) < first:
                    del ahead[first]
                elif wider == members:
                    del ahead[first]
                    components.append(members)
                else:
                    ahead[first] = wider
        everyone = {one for members in components for one in members}
        names = {one.value for one in everyone if one.type == CUSTOMER_ID}
        owners = await reads.resolve(tenant, everyone)
        registered = await reads.members(tenant, names)
        documents = await reads.all_documents(tenant, names)
        states: dict[Identifier, dict[str, StoredState]] = {}
        for (identifier, section), state in (await reads.states_of(tenant, everyone)).items():
            states.setdefault(identifier, {})[section] = state
        return [
            _Component(
                self._registry, tenant, now, report,
                facts={one: facts[one] for one in sorted(members)},
                graph=graph_of((links[one] for one in members), members),
                owners={one: owners[one] for one in members if one in owners}
                | {
                    other: one.value
                    for one in members if one.type == CUSTOMER_ID
                    for other in registered.get(one.value, ())
                },
                documents={
                    (one.value, document.section): document
                    for one in members if one.type == CUSTOMER_ID
                    for document in documents.get(one.value, ())
                },
                states={(one, section): state for one in members for section, state in states.get(one, {}).items()},
            )
            for members in components
        ]  # fmt: skip

    async def _each(self, work: Callable[[str, list[Identifier]], Awaitable[None]], progress: Progress | None) -> None:
        done = 0
        async for tenant in self._tenants():
            async for identifiers in self._identifiers(tenant):
                await work(tenant, identifiers)
                done += len(identifiers)
                if progress:
                    progress(done)

    async def _tenants(self) -> AsyncIterator[str]:
        after = None
        while page := await self._store.tenants(after, CHUNK):
            for tenant in page:
                yield tenant.id
            after = page[-1].id

    async def _identifiers(self, tenant: str) -> AsyncIterator[list[Identifier]]:
        """Yield all identifiers in chunks: those that facts speak of, then those that only derived rows know."""
        known: Identifier | None = None
        while page := await self._store.fact_identifiers(tenant, known, CHUNK):
            yield page
            known = page[-1]
        after: str | None = None
        while names := await self._store.derived_customers(tenant, after, CHUNK):
            yield await self._strays(tenant, map(customer, names))
            after = names[-1]
        known = None
        while page := await self._store.derived_identifiers(tenant, known, CHUNK):
            yield await self._strays(tenant, page)
            known = page[-1]

    async def _strays(self, tenant: str, identifiers: Iterable[Identifier]) -> list[Identifier]:
        wanted = list(identifiers)
        founded = await self._store.with_facts(tenant, wanted)
        return [one for one in wanted if one not in founded]


class _Component:
    """Identifiers that are linked: what the facts say of their customers, beside what is held."""

    def __init__(
        self,
        registry: Registry,
        tenant: str,
        now: int,
        report: Report,
        *,
        facts: Mapping[Identifier, list[Fact]],
        graph: Graph,
        owners: dict[Identifier, str],
        documents: dict[tuple[str, str], Document],
        states: dict[tuple[Identifier, str], StoredState],
    ) -> None:
        self._registry = registry
        self._tenant = tenant
        self._report = report
        self._now = now
        self._facts = facts
        self._held_owners = owners
        self._held_documents = documents
        self._held_states = {pair: state for pair, state in states.items() if registry.find_folded(pair[1])}
        self.customer_ids = {one.value for one in facts if one.type == CUSTOMER_ID} | set(owners.values())
        self.owners: dict[Identifier, str] = {}
        self.states: dict[tuple[Identifier, str], StoredState] = {}
        self._documents: dict[tuple[str, str], Document] = {}
        report.facts += sum(map(len, facts.values()))
        folded = {one: self._fold(one, told) for one, told in facts.items()}
        for profile in graph.profiles():
            if profile.customer_id is not None and facts[customer(profile.customer_id)]:
                report.customers += 1
                self._derive(profile, profile.customer_id, folded)

    def _fold(self, identifier: Identifier, facts: list[Fact]) -> dict[str, Any]:
        """Return the states that an identifier's facts lead to, by section."""
        by_section: dict[str, list[Fact]] = {}
        for fact in facts:
            by_section.setdefault(fact.section, []).append(fact)
        states = {}
        for name, told in by_section.items():
            section = self._registry.find_folded(name)
            if section is None:
                self._report.unregistered[name] = self._report.unregistered.get(name, 0) + len(told)
                continue
            states[name] = folding.fold_facts(section, told)
            self.states[identifier, name] = folding.store_state(section, states[name])
        return states

    def _derive(self, profile: Profile, owner: str, folded: Mapping[Identifier, dict[str, Any]]) -> None:
        """Make one customer's documents and heads from the facts, beside what is held."""
        told = [fact.recorded_at for one in profile.members for fact in self._facts[one]]
        now = max(self._now, *told)
        self.owners |= dict.fromkeys(profile.members, owner)
        for name in {name for one in profile.members for name in folded[one]}:
            section = self._registry.find_folded(name)
            assert section is not None
            if shown_by(section) is section:
                state = folding.joined(section, self._of_each(section, profile, folded))
                if folding.needs_links(section, state):
                    state = folding.linked(state, self._of_each(LINKS, profile, folded))
                self._put(owner, folding.render(section, state, now))
        own = profile.members == (customer(owner),)
        self._put(owner, head_document(self._head(owner, updated_at=max(told), members=() if own else profile.members)))
        for alias in aliases(profile):
            self._put(alias, head_document(self._head(alias, merged_into=owner)))

    @staticmethod
    def _of_each(section: StoredSection, profile: Profile, folded: Mapping[Identifier, dict[str, Any]]) -> list[Any]:
        return [folded[one].get(section.name, section.fold.empty()) for one in profile.members]

    def _head(self, customer_id: str, **changes: Any) -> Head:
        first = folding.head_of(self._facts[customer(customer_id)])
        assert first is not None
        return msgspec.structs.replace(first, **{"updated_at": first.created_at, **changes})

    def _put(self, customer_id: str, document: Document) -> None:
        self._documents[customer_id, document.section] = document

    async def drop(self, tx: Transaction) -> None:
        """Remove what is held and has no ground in the facts."""
        registered = {HEAD, *(section.name for section in self._registry.all_stored())}
        stray: dict[str, list[str]] = {}
        for owner, name in self._held_documents.keys() - self._documents.keys():
            if name in registered:
                stray.setdefault(owner, []).append(name)
        for owner, names in stray.items():
            await tx.drop_documents(self._tenant, owner, names)
        if states := self._held_states.keys() - self.states.keys():
            await tx.drop_states(self._tenant, states)
        if owners := self._held_owners.keys() - self.owners.keys():
            await tx.drop_identifiers(self._tenant, owners)

    @property
    def documents(self) -> dict[str, list[Document]]:
        """The heads and documents that the facts lead to, by customer id."""
        found: dict[str, list[Document]] = {}
        for (owner, _), document in self._documents.items():
            found.setdefault(owner, []).append(document)
        return found

    def compare(self) -> None:
        """Report how what is held differs from what the facts say."""
        self._compare(
            "identifier",
            {(one.tag, ""): owner for one, owner in self.owners.items()},
            {(one.tag, ""): owner for one, owner in self._held_owners.items()},
            lambda a, b, _: a == b,
        )
        self._compare(
            "state",
            {(one.tag, name): state for (one, name), state in self.states.items()},
            {(one.tag, name): state for (one, name), state in self._held_states.items()},
            self._same_state,
        )
        self._compare("document", self._documents, self._held_documents, self._same_document)

    def _compare(
        self,
        kind: Any,
        derived: Mapping[tuple[str, str], Any],
        held: Mapping[tuple[str, str], Any],
        same: Callable[[Any, Any, str], bool],
    ) -> None:
        for place in sorted(derived.keys() | held.keys()):
            name = place[1]
            if place not in held:
                reason: Any = "missing"
            elif place not in derived:
                if kind == "document" and name != HEAD and self._registry.find_stored(name) is None:
                    continue
                reason = "unfounded"
            elif same(derived[place], held[place], name):
                continue
            else:
                reason = "different"
            shown: Any = "head" if kind == "document" and name == HEAD else kind
            self._report.differences.append(Difference(self._tenant, shown, name, reason))

    def _same_state(self, derived: StoredState, held: StoredState, name: str) -> bool:
        section = self._registry.find_folded(name)
        assert section is not None
        if held.version != derived.version:
            return True  # folded by older code: the next use folds it anew
        ours, theirs = folding.read_state(section, derived), folding.read_state(section, held)
        # Joined with itself a state lets go of all that can no longer count: how much of that it still holds depends on
        # the order in which it was told.
        return theirs is not None and bool(section.fold.join(ours, ours) == section.fold.join(theirs, theirs))

    def _same_document(self, derived: Document, held: Document, _: str) -> bool:
        if held.version != derived.version or (held.valid_until is not None and held.valid_until <= self._now):
            return True  # overtaken by newer code or by time: a read renders it anew from the state, compared too
        if held.section != HEAD and content_hash(held.body) != held.hash:
            return False
        return held == derived
