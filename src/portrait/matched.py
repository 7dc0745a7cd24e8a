"""What matching in batch takes and gives: what is held of customers, and links that can be taken back as one."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from portrait import folding
from portrait.identity.rules import Rule
from portrait.linking import Stated, opened
from portrait.model.identifier import Identifier, customer
from portrait.model.time import Clock
from portrait.sections.links import LINKS, ends_of
from portrait.sections.registry import Registry
from portrait.storage.contract import Store, Transaction

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

    async def suggest(self, tenant: str, pairs: Sequence[Suggested], by: str) -> dict[str, int]:
        """Take what matching found: link what is sure enough, and have the rest wait for review.

        Args:
            tenant: the tenant.
            pairs: pairs of customers.
            by: the source that they are told by, and by which they can be taken back; see `forget`.

        Returns:
            How many pairs were `linked`, and how many wait by reason; those with an unknown customer are `unknown`.
        """
        counted: Counter[str] = Counter()
        for place in range(0, len(pairs), CHUNK):
            for some in await self._store.write(partial(self._suggested, tenant, pairs[place : place + CHUNK], by)):
                counted[some] += 1
        return dict(counted)

    async def _suggested(self, tenant: str, pairs: Sequence[Suggested], by: str, tx: Transaction) -> list[str]:
        wanted = {customer(name) for one in pairs for name in (one.left, one.right)}
        known = (await tx.resolve(tenant, wanted)).keys()
        found = ["unknown" for one in pairs if not {customer(one.left), customer(one.right)} <= known]
        if known:
            batch, linker = await opened(tx, tenant, self._clock(), self._sections, known)
            for one in pairs:
                a, b = customer(one.left), customer(one.right)
                if {a, b} <= known:
                    stated = Stated(one.probability, by, Rule.MATCH)
                    reason = await linker.suggest(a, b, stated, links=one.links)
                    found.append("linked" if reason is None else reason.value)
            await batch.finish()
        return found

    async def forget(self, tenant: str, by: str) -> int:
        """Take back every link that one source told, and what waits for review of it; return how many.

        All identifiers are gone through, a few at a time; a run that is cut off can be started again.
        """
        done = 0
        after: Identifier | None = None
        while page := await self._store.fact_identifiers(tenant, after, CHUNK):
            states = await folding.load_states(self._store, tenant, LINKS, page)
            for one in page:
                if any(told.source == by for every in ends_of(states[one], one).values() for told in every):
                    done += await self._store.write(partial(self._forgotten, tenant, one, by))
            after = page[-1]
        return done

    async def _forgotten(self, tenant: str, identifier: Identifier, by: str, tx: Transaction) -> int:
        (state,) = (await folding.load_states(tx, tenant, LINKS, [identifier])).values()
        others = ends_of(state, identifier)
        known = (await tx.resolve(tenant, {identifier, *others})).keys()
        if identifier not in known:
            return 0
        batch, linker = await opened(tx, tenant, self._clock(), self._sections, known)
        done = await linker.forget(identifier, by)
        await batch.finish()
        return done

    async def attributes(self, tenant: str, sections: Sequence[str]) -> AsyncIterator[dict[str, str]]:
        """Yield what is held of each customer for matching: `id`, `email`, `phone`, and fields of some sections.

        Args:
            tenant: the tenant.
            sections: names of stored sections, of whose first record the fields are taken, in snake_case.

        Raises:
            UnknownSection: one is not stored.
        """
        wanted = [self._registry.stored(name).name for name in sections]
        after: str | None = None
        while page := await self._store.customers(tenant, after, CHUNK):
            documents = await self._store.all_documents(tenant, [name for name, _ in page])
            for name, _ in page:
                held = {one.section: msgspec.json.decode(one.body) for one in documents[name] if one.section}
                row = {"id": name}
                for one in held.get("identities", ()):
                    row.setdefault(one["type"], one["value"])
                for section in wanted:
                    row |= {
                        _snake(field): str(value)
                        for record in held.get(section, ())[:1]
                        for field, value in record.items()
                        if isinstance(value, str | int)
                    }
                yield row
            after = page[-1][0]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
