"""What matching in batch takes and gives: what is held of customers, and links that can be taken back as one."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from portrait import projection
from portrait.identity.graph import LINKED, RETRACTED, Profile
from portrait.identity.rules import Rule, read
from portrait.model.document import records_of
from portrait.model.identifier import Identifier, customer, name_fault
from portrait.model.time import Clock
from portrait.sections.links import LINKS, LinksState, bans_of, ends_of
from portrait.sections.registry import Registry
from portrait.storage.contract import Store, Transaction
from portrait.writes.claims import decided_words, graph_of_words, state_of, words_of
from portrait.writes.linking import opened

CHUNK = 200
"""How many identifiers are gone through, or pairs decided on, at once."""


class Suggested(NamedTuple):
    """Two customers that matching found alike."""

    left: str
    right: str
    probability: float
    links: bool
    """Whether it is sure enough to link them; else it waits for review."""


class Matches:
    """Gives out what customers are matched by, and takes in what was found alike."""

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._sections = {section.name: section for section in registry.all_stored()}

    async def suggest(
        self,
        tenant: str,
        pairs: Sequence[Suggested],
        by: str,
        progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005  # the names say what is told
    ) -> dict[str, int]:
        """Take what matching found: link what is sure enough, and have the rest wait for review.

        Pairs are committed a few at a time. Told again, by a run that was cut off or that is repeated, a pair changes
        nothing: one that is one person already is, and what was refused stays refused until it is forgotten.

        Args:
            tenant: the tenant.
            pairs: pairs of customers.
            by: the source that they are told by, and by which they can be taken back; see `forget`.
            progress: told how many pairs are committed, and of how many.

        Returns:
            How many pairs were `linked`, and how many wait by reason; those with an unknown customer are `unknown`.
        """
        counted: Counter[str] = Counter()
        for begin in range(0, len(pairs), CHUNK):
            some = pairs[begin : begin + CHUNK]
            counted.update(await self._store.write(tenant, partial(self._suggested, tenant, some, by)))
            progress(begin + len(some), len(pairs))
        return dict(counted)

    async def _suggested(self, tenant: str, pairs: Sequence[Suggested], by: str, tx: Transaction) -> list[str]:
        # What a file calls an id may be none that a store can hold.
        wanted = {customer(name) for pair in pairs for name in (pair.left, pair.right) if name_fault(name) is None}
        known = (await tx.resolve(tenant, wanted)).keys()
        results = ["unknown" for pair in pairs if not {customer(pair.left), customer(pair.right)} <= known]
        if known:
            async with opened(tx, tenant, self._clock(), self._sections, known) as (_, linker):
                await linker.load(known)
                pairs = [pair for pair in pairs if {customer(pair.left), customer(pair.right)} <= known]
                for pair in pairs:
                    linker.suggest(customer(pair.left), customer(pair.right), pair.probability, by, links=pair.links)
                linker.decide()
                for pair in pairs:
                    reason = linker.found_alike(customer(pair.left), customer(pair.right), by)
                    results.append(LINKED if reason is None else reason.value)
                await linker.apply()
        return results

    async def forget(self, tenant: str, by: str) -> int:
        """Take back every link that one source told, and what waits for review of it; return how many.

        Profiles are then as though the source had never spoken: see `_unsaid`. All identifiers are gone through, a few
        at a time; a run that is cut off can be started again.
        """
        done = 0
        after: Identifier | None = None
        while page := await self._store.fact_identifiers(tenant, after, CHUNK):
            states = await projection.load_states(self._store, tenant, LINKS, page)
            for identifier in page:
                if any(
                    record.source == by and record.status != RETRACTED and record.rule != Rule.RECORD
                    for every in ends_of(states[identifier], identifier).values()
                    for record in every
                ):
                    done += await self._store.write(tenant, partial(self._forgotten, tenant, identifier, by))
            after = page[-1]
        return done

    async def _forgotten(self, tenant: str, identifier: Identifier, by: str, tx: Transaction) -> int:
        if identifier not in await tx.resolve(tenant, [identifier]):
            return 0
        async with opened(tx, tenant, self._clock(), self._sections, [identifier]) as (_, linker):
            await linker.load([identifier])
            done = linker.forget(by)
            linker.decide()
            await linker.apply()
        return done

    async def attributes(self, tenant: str, sections: Sequence[str], by: str) -> AsyncIterator[dict[str, str]]:
        """Yield what is held of each customer for matching: `id`, `email`, `phone`, and fields of some sections.

        Customers that a source has joined are told apart as though it had never spoken, so that a run that is cut off,
        or repeated, sees what the first saw.

        Args:
            tenant: the tenant.
            sections: names of stored sections, of whose first record the fields are taken, in snake_case.
            by: the source that matching tells its links by.

        Raises:
            UnknownSection: one is not stored.
        """
        wanted = [self._registry.stored(name).name for name in sections]
        held_tenant = await self._store.tenant(tenant)
        rules = read(held_tenant.rules if held_tenant else None)
        after: str | None = None
        while page := await self._store.customers(tenant, after, CHUNK):
            heads = {name: head.identifiers(name) for name, head in page}
            documents = await self._store.all_documents(tenant, heads)
            links = await projection.load_states(
                self._store, tenant, LINKS, [identifier for members in heads.values() for identifier in members]
            )
            for name, members in heads.items():
                words = words_of({identifier: links[identifier] for identifier in members})
                rest = [word for word in words.values() if not (word.source == by and word.rule != Rule.RECORD)]
                if len(rest) == len(words):
                    records = {
                        document.section: records_of(document.body) for document in documents[name] if document.section
                    }
                    yield _row(name, records, wanted)
                    continue
                bans = [frozenset(pair) for pair in bans_of(links[identifier] for identifier in members)]
                rest = decided_words(rest, bans, members, rules)
                for profile in graph_of_words(rest, members).profiles():
                    if profile.customer_id is not None:
                        records = await self._shown(tenant, profile, state_of(rest, profile.members), wanted)
                        yield _row(profile.customer_id, records, wanted)
            after = page[-1][0]

    async def _shown(self, tenant: str, profile: Profile, links: LinksState, wanted: Sequence[str]) -> dict[str, Any]:
        """Return what some sections, and `identities`, would show of a profile with these links."""
        now = self._clock()
        documents = [projection.render(LINKS, links, now)]
        for name in wanted:
            section = self._registry.stored(name)
            if section.document != LINKS.document:
                state = await projection.load_joined(self._store, tenant, section, profile.members, now)
                documents.append(projection.render(section, state, now))
        return {document.section: records_of(document.body) for document in documents}


def _row(name: str, records: Mapping[str, Any], sections: Sequence[str]) -> dict[str, str]:
    row: dict[str, str] = {}
    for identity in records.get("identities", ()):
        row.setdefault(identity["type"], identity["value"])
    for section in sections:
        row |= {
            _snake(field): str(value)
            for record in records.get(section, ())[:1]
            for field, value in record.items()
            if isinstance(value, str | int)
        }
    return row | {"id": name}  # last: a record may have an id of its own


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
