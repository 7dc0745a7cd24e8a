"""What an action on the identity graph does to the profiles that it concerns; a preview does it without a write."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypedDict

from portrait.identity.graph import Profile
from portrait.model.identifier import Identifier
from portrait.model.time import Clock
from portrait.reads.identity import crossovers_of
from portrait.sections.registry import Registry
from portrait.storage.contract import Store, Transaction
from portrait.storage.preview import preview
from portrait.writes.unit_of_work import UnitOfWork

Action = Callable[[Transaction], Awaitable[UnitOfWork]]
"""Acts in a transaction, and returns the unit of work once it is committed."""


class How(TypedDict, total=False):
    """How an action is done."""

    credential: str | None
    """The id of the credential that acts; None: none does, or all are let in."""
    dry: bool
    """Whether to write nothing, and only tell what would be."""


class Effect(NamedTuple):
    """What an action does to the profiles that it concerns."""

    before: tuple[Profile, ...]
    after: tuple[Profile, ...]
    crossovers: tuple[str, ...]
    """Experiments in which one profile afterwards has had two variants: the first exposure counts."""


class Effects:
    """Runs actions and says what they do."""

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock

    async def of(self, tenant: str, identifiers: Sequence[Identifier], action: Action, how: How) -> Effect:
        """Run an action, and return what it does to the profiles of some identifiers.

        Args:
            tenant: the tenant.
            identifiers: the identifiers.
            action: the action.
            how: see `How`.
        """

        async def work(tx: Transaction) -> Effect:
            return await self._effect(tx, tenant, identifiers, await action(tx))

        if not how.get("dry"):
            return await self._store.write(tenant, work)
        async with self._store.snapshot() as reads:
            return await work(preview(reads))

    async def _effect(
        self, tx: Transaction, tenant: str, identifiers: Sequence[Identifier], unit: UnitOfWork
    ) -> Effect:
        before = _sorted(unit.profile_before(identifier) or _unowned(identifier) for identifier in identifiers)
        everyone = {*identifiers, *(member for profile in before for member in profile.members)}
        after = _sorted(unit.profile_after(identifier) or _unowned(identifier) for identifier in everyone)
        crossed = {
            name
            for profile in after
            for name in await crossovers_of(tx, tenant, self._registry, profile.members, self._clock())
        }
        return Effect(before, after, tuple(sorted(crossed)))


def _unowned(identifier: Identifier) -> Profile:
    return Profile(None, (identifier,))


def _sorted(profiles: Iterable[Profile]) -> tuple[Profile, ...]:
    return tuple(
        sorted(
            set(profiles), key=lambda profile: (profile.customer_id is None, profile.customer_id or "", profile.members)
        )
    )
