"""Who is who: the direct actions on the identity graph."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Unpack

from portrait.identity.rules import Rule
from portrait.model.errors import IdentifierNotFound, NotMerged, SelfLink
from portrait.model.identifier import Identifier, customer
from portrait.model.time import Clock
from portrait.reads.identity import head_of, refused
from portrait.sections.links import told_of
from portrait.sections.registry import Registry
from portrait.serving import request
from portrait.serving.failures import Failures
from portrait.storage.contract import Store, Transaction
from portrait.writes.effects import Effect, Effects, How
from portrait.writes.incoming import Incoming
from portrait.writes.judging import Judge
from portrait.writes.linking import Linker, opened
from portrait.writes.neighbourhood import Stated
from portrait.writes.record_writer import ByHand, RecordWriter
from portrait.writes.unit_of_work import UnitOfWork

_Opened = AbstractAsyncContextManager[tuple[UnitOfWork, Linker]]
_Opening = AsyncIterator[tuple[UnitOfWork, Linker]]
_Begin = Callable[[Transaction, str, Identifier, Identifier], _Opened]


class Identities:
    """Acts on the identity graph."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, writer: RecordWriter) -> None:
        self._writer = writer
        self._effects = Effects(store, registry, clock)
        self._clock = clock
        self._sections = {section.name: section for section in registry.all_stored()}

    async def link(self, tenant: str, incoming: Sequence[Incoming], **how: Unpack[How]) -> Effect:
        """Link identifiers to a customer by somebody's own word: all or none.

        Args:
            tenant: the tenant.
            incoming: identity records.
            how: see `How`.

        Raises:
            LinkRefused: a rule refuses a link; the detail says which and why.
            SelfLink: an identifier is to be linked with itself.
        """
        failures = Failures(tenant, request.current())

        async def link(tx: Transaction) -> UnitOfWork:
            unit, _ = await self._writer.record(
                tx, tenant, incoming, None, failures, atomic=True, by_hand=ByHand(how.get("credential"))
            )
            return unit

        pairs = ((record.identifier, record.linked.named.identifier) for record in incoming if record.linked)
        named = [identifier for pair in pairs for identifier in pair]
        return await self._effects.of(tenant, list(dict.fromkeys(named)), link, how)

    async def merge(self, tenant: str, target: str, source: str, by: str | None, **how: Unpack[How]) -> Effect:
        """Make one customer of two; the target's id stays. Two that are one already stay so.

        Args:
            tenant: the tenant.
            target: the customer id that stays.
            source: the customer id that goes, and leads to the target from then on.
            by: the source of the decision, as the caller names it.
            how: see `How`.

        Raises:
            SelfLink: the two are the same.
            CustomerNotFound: one of them is not known.
            LinkRefused: the profile would have too many identifiers.
            SectionTooLarge: a section of both together would pass its limit of bytes.
        """
        a, b = customer(target), customer(source)
        if a == b:
            raise SelfLink("A customer cannot be merged with itself: name two customers.")

        stated = _stated(by, Rule.MERGE, how)
        return await self._decide(tenant, a, b, how, lambda linker: linker.merge(a, b, stated), bounded=True)

    async def unmerge(self, tenant: str, target: str, source: str, by: str | None, **how: Unpack[How]) -> Effect:
        """Part two customers that were merged: each is again what it was, and they stay apart.

        What was told since goes with the identifier that it was told of; an identifier that came later is with the side
        that its claims give it to.

        Raises:
            SelfLink: the two are the same.
            CustomerNotFound: one of them is not known.
            NotMerged: they are not one person.
        """
        a, b = customer(target), customer(source)
        if a == b:
            raise SelfLink("A customer cannot be parted from itself: name two customers.")
        return await self._part(tenant, a, b, _stated(by, Rule.UNMERGE, how), how)

    async def unlink(
        self, tenant: str, customer_id: str, identifier: Identifier, by: str | None, **how: Unpack[How]
    ) -> Effect:
        """Take an identifier from a customer, with what hangs on it, and keep it from coming back by itself.

        Raises:
            SelfLink: the identifier is the customer's own id.
            CustomerNotFound: the customer is not known.
            NotMerged: the identifier is not the customer's.
        """
        a = customer(customer_id)
        if a == identifier:
            raise SelfLink("A customer's own id cannot be unlinked: name another identifier of the customer.")
        return await self._part(tenant, a, identifier, _stated(by, Rule.UNLINK, how), how, self._theirs)

    async def accept(self, tenant: str, a: Identifier, b: Identifier, by: str | None, **how: Unpack[How]) -> Effect:
        """Make a link that a rule refused, and that waits for review, hold.

        Raises:
            NotMerged: no such link waits.
            LinkRefused: the profile would have too many identifiers.
        """
        # A person's word, and so certain, whatever it was that they had before them.
        stated = _stated(by, Rule.ACCEPTED, how)
        return await self._decide(tenant, a, b, how, lambda linker: linker.accept(a, b, stated), self._reviewed)

    async def reject(self, tenant: str, a: Identifier, b: Identifier, by: str | None, **how: Unpack[How]) -> Effect:
        """Reject a link that waits for review, and keep the two apart.

        Raises:
            NotMerged: no such link waits.
            StillMerged: they are one person.
        """
        stated = _stated(by, Rule.REJECTED, how)
        return await self._decide(tenant, a, b, how, lambda linker: linker.ban(a, b, stated), self._reviewed)

    async def keep_apart(self, tenant: str, a: Identifier, b: Identifier, by: str | None, **how: Unpack[How]) -> Effect:
        """Keep two identifiers from being one person, until just these two are merged, accepted, linked or allowed.

        Raises:
            SelfLink: the two are the same.
            IdentifierNotFound: one of them belongs to nobody.
            StillMerged: they are one person.
        """
        if a == b:
            raise SelfLink("An identifier cannot be kept apart from itself: name two identifiers.")
        stated = _stated(by, Rule.CANNOT_LINK, how)
        return await self._decide(tenant, a, b, how, lambda linker: linker.ban(a, b, stated), self._known)

    async def allow(self, tenant: str, a: Identifier, b: Identifier, by: str | None, **how: Unpack[How]) -> Effect:
        """Let two identifiers be one person again, which somebody set apart; what waited for that holds.

        Raises:
            NotMerged: nobody set just these two apart.
            IdentifierNotFound: neither belongs to anybody.
        """
        stated = _stated(by, Rule.ALLOW_LINK, how)
        return await self._decide(tenant, a, b, how, lambda linker: linker.allow(a, b, stated), self._either)

    async def move(
        self, tenant: str, source: str, target: str, incoming: Sequence[Incoming], by: str | None, **how: Unpack[How]
    ) -> Effect:
        """Take an identifier from one customer and give it to another, as somebody's old number that is another's now.

        Args:
            tenant: the tenant.
            source: the customer id that it is taken from.
            target: the customer id that gets it.
            incoming: the identity record of the target that names it.
            by: the source of the decision, as the caller names it.
            how: see `How`.

        Raises:
            SelfLink: both customers are the same, or the identifier is one of their own ids.
            CustomerNotFound: one of them is not known.
            NotMerged: the identifier is not the first customer's.
            LinkRefused: a rule refuses the link with the second.
        """
        (record,) = incoming
        assert record.linked is not None
        a, b, moved = customer(source), customer(target), record.linked.named.identifier
        if a == b or moved in {a, b}:
            raise SelfLink("Name two customers, and an identifier that is not the id of either.")
        failures = Failures(tenant, request.current())

        async def move(tx: Transaction) -> UnitOfWork:
            async with self._theirs(tx, tenant, a, b, moved) as (unit, linker):
                await linker.part(a, moved, _stated(by, Rule.UNLINK, how))
                unit.level()
                hand = ByHand(how.get("credential"))
                await self._writer.add(tx, tenant, unit, Judge(unit, {}), incoming, failures, atomic=True, by_hand=hand)
            return unit

        return await self._effects.of(tenant, (a, b, moved), move, how)

    async def _part(
        self, tenant: str, a: Identifier, b: Identifier, stated: Stated, how: How, begin: _Begin | None = None
    ) -> Effect:
        return await self._decide(tenant, a, b, how, lambda linker: linker.part(a, b, stated), begin)

    async def _decide(
        self,
        tenant: str,
        a: Identifier,
        b: Identifier,
        how: How,
        act: Callable[[Linker], Awaitable[None]],
        begin: _Begin | None = None,
        *,
        bounded: bool = False,
    ) -> Effect:
        """Have something decided on two identifiers.

        Args:
            tenant: the tenant.
            a: the one.
            b: the other.
            how: see `How`.
            act: decides.
            begin: takes both into the working set; None: both must belong to a customer.
            bounded: whether it is refused where a section would be too large.
        """

        async def decide(tx: Transaction) -> UnitOfWork:
            async with (begin or self._both)(tx, tenant, a, b) as (unit, linker):
                await act(linker)
                await unit.commit(bounded=bounded)
            return unit

        return await self._effects.of(tenant, (a, b), decide, how)

    def _both(self, tx: Transaction, tenant: str, *identifiers: Identifier) -> _Opened:
        return opened(tx, tenant, self._clock(), self._sections, identifiers)

    @asynccontextmanager
    async def _theirs(self, tx: Transaction, tenant: str, *identifiers: Identifier) -> _Opening:
        """Open customers and, the last, an identifier that is to be taken from one of them."""
        if len(await tx.resolve_for_update(tenant, identifiers)) < len(identifiers):
            for named in identifiers[:-1]:
                await head_of(tx, tenant, named.value)
            raise NotMerged("This identifier does not belong to the customer: there is nothing to unlink.")
        async with self._both(tx, tenant, *identifiers) as both:
            yield both

    @asynccontextmanager
    async def _known(self, tx: Transaction, tenant: str, *identifiers: Identifier) -> _Opening:
        if len(await tx.resolve_for_update(tenant, identifiers)) < len(identifiers):
            raise IdentifierNotFound
        async with self._both(tx, tenant, *identifiers) as both:
            yield both

    @asynccontextmanager
    async def _either(self, tx: Transaction, tenant: str, *identifiers: Identifier) -> _Opening:
        known = await tx.resolve_for_update(tenant, identifiers)
        if not known:
            raise IdentifierNotFound
        async with self._both(tx, tenant, *known) as both:
            yield both

    @asynccontextmanager
    async def _reviewed(self, tx: Transaction, tenant: str, *identifiers: Identifier) -> _Opening:
        """Give what is needed to decide on a link that waits for review.

        Raises:
            NotMerged: none waits between these two.
        """
        a, b = identifiers
        if not await tx.resolve_for_update(tenant, [a]):
            raise _nothing_waits()
        async with opened(tx, tenant, self._clock(), self._sections, [a], [b]) as (unit, linker):
            await linker.load((a, b))
            (state,) = await unit.links((a,))
            one_person = unit.profile_of(a) == unit.profile_of(b)
            if refused(told_of(state, a, b), one_person=one_person) is None:
                raise _nothing_waits()
            yield unit, linker


def _stated(by: str | None, rule: Rule, how: How) -> Stated:
    return Stated(1.0, by, rule, credential=how.get("credential"))


def _nothing_waits() -> NotMerged:
    return NotMerged("No link between these two waits for review. See the customer's candidates.")
