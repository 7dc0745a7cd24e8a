"""Identifiers that are stored under an older form, and hashes that are not told yet: found, and put right."""

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from portrait import projection
from portrait.identity import rules
from portrait.identity.graph import Profile
from portrait.identity.rules import Reason, Rules
from portrait.model.identifier import Identifier, length_fault
from portrait.model.time import Clock
from portrait.sections.links import LINKS, ends_of
from portrait.sections.registry import Registry
from portrait.storage.contract import Store, Transaction
from portrait.writes.effects import Effects
from portrait.writes.linking import opened
from portrait.writes.unit_of_work import UnitOfWork

CHUNK = 500
"""How many identifiers are gone through at once."""


class Rekeyed(NamedTuple):
    """What became of one identifier."""

    identifier: Identifier
    """As it is stored."""
    form: Identifier
    """In its form of now."""
    before: tuple[Profile, ...]
    after: tuple[Profile, ...]
    reason: Reason | None
    """Why its two forms are not one person, and wait for review; None: nothing is against it."""

    @property
    def is_changed(self) -> bool:
        """Whether anything became of it."""
        return self.before != self.after


class Rekeying:
    """Puts identifiers under their forms of now, each in a transaction of its own.

    A run that is cut off is begun again: what was done stays as it is.
    """

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._effects = Effects(store, registry, clock)
        self._sections = {section.name: section for section in registry.all_stored()}

    async def tenants(self) -> AsyncIterator[str]:
        """Yield the ids of all tenants."""
        after = None
        while page := await self._store.tenants(after, CHUNK):
            for tenant in page:
                yield tenant.id
            after = page[-1].id

    async def run(
        self, tenant: str, progress: Callable[[int], None] | None = None, *, dry: bool = False
    ) -> AsyncIterator[Rekeyed]:
        """Yield what becomes of each identifier of a tenant that is stored under an older form, or lacks its hashes.

        Args:
            tenant: the tenant.
            progress: is given how many identifiers were gone through.
            dry: whether to write nothing, and only tell what would be; each is judged by itself.
        """
        row = await self._store.tenant(tenant)
        policy = rules.read(row.rules if row else None)
        done, after = 0, None
        while page := await self._store.fact_identifiers(tenant, after, CHUNK):
            concerned = [identifier for identifier in page if _is_concerned(policy, identifier)]
            states = await projection.load_states(self._store, tenant, LINKS, concerned) if concerned else {}
            for identifier in concerned:
                known = ends_of(states[identifier], identifier).keys()
                if policy.forms.of(*identifier) != identifier or not known >= {*policy.hashes(identifier)}:
                    yield await self._put(tenant, policy, identifier, dry=dry)
            after, done = page[-1], done + len(page)
            if progress:
                progress(done)

    async def _put(self, tenant: str, policy: Rules, identifier: Identifier, *, dry: bool) -> Rekeyed:
        """Put one identifier under its form of now, and tell its hashes."""
        form = policy.forms.of(*identifier)
        wanted = list(dict.fromkeys((identifier, form, *policy.hashes(form))))
        reasons: list[Reason] = []

        async def put(tx: Transaction) -> UnitOfWork:
            known = (await tx.resolve(tenant, wanted)).keys()
            mentioned = [each for each in wanted if each not in known]
            async with opened(tx, tenant, self._clock(), self._sections, known, mentioned) as (unit, linker):
                await linker.rekey(self._sections[LINKS.document], identifier, form)
                reasons[:] = linker.refused_forms()
            return unit

        effect = await self._effects.of(tenant, wanted, put, {"dry": dry})
        return Rekeyed(identifier, form, effect.before, effect.after, next(iter(reasons), None))


def _is_concerned(policy: Rules, identifier: Identifier) -> bool:
    """Tell whether an identifier may have another form now, or hashes."""
    form = policy.forms.of(*identifier)
    if length_fault(form.value) or not policy.knows(identifier.type) or policy.blocks(form, identifier.value):
        return False
    return form != identifier or identifier.type in policy.hashed
