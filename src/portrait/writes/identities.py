"""Who is who: the direct actions on the identity graph, and whom an identifier belongs to."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from portrait.identity import rules
from portrait.identity.rules import Rule, Rules
from portrait.model.errors import CustomerNotFound, IdentifierNotFound, InvalidRules, NotMerged, SelfLink
from portrait.model.identifier import Identifier, customer
from portrait.model.time import Clock
from portrait.reads.identity import head_of, refused
from portrait.sections.links import told_of
from portrait.sections.registry import Registry
from portrait.serving import request
from portrait.serving.failures import Failures
from portrait.storage.contract import Store, Transaction
from portrait.writes.effects import Effect, Effects
from portrait.writes.incoming import Incoming
from portrait.writes.judging import Judge
from portrait.writes.linking import Linker, opened
from portrait.writes.neighbourhood import Stated
from portrait.writes.record_writer import ByHand, RecordWriter
from portrait.writes.unit_of_work import UnitOfWork

_Opened = AbstractAsyncContextManager[tuple[UnitOfWork, Linker]]
_Begin = Callable[[Transaction, str, Identifier, Identifier], _Opened]


class Identities:
    """Acts on the identity graph."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, writer: RecordWriter) -> None:
        self._store = store
        self._writer = writer
        self._effects = Effects(store, registry, clock)
        self._clock = clock
        self._sections = {section.name: section for section in registry.all_stored()}

    async def resolve(self, tenant: str, identifier: Identifier) -> str:
        """Return the customer id of the profile that an identifier belongs to.

        Raises:
            IdentifierNotFound: it belongs to none.
        """
        found = await self._store.resolve(tenant, [identifier])
        try:
            return found[identifier]
        except KeyError:
            raise IdentifierNotFound from None

    async def owners(self, tenant: str, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        """Return the customer id of the profile that each of some identifiers belongs to; of nobody's, none."""
        return await self._store.resolve(tenant, identifiers) if identifiers else {}

    async def link(
        self, tenant: str, incoming: Sequence[Incoming], *, credential: str | None = None, dry: bool = False
    ) -> Effect:
        """Link identifiers to a customer by somebody's own word: all or none.

        Args:
            tenant: the tenant.
            incoming: identity records.
            credential: the id of the credential that acts; None: none does, or all are let in.
            dry: whether to change nothing, and only tell what would be.

        Raises:
            LinkRefused: a rule refuses a link; the detail says which and why.
            SelfLink: an identifier is to be linked with itself.
        """
        failures = Failures(tenant, request.current())

        async def link(tx: Transaction) -> UnitOfWork:
            unit, _ = await self._writer.record(
                tx, tenant, incoming, None, failures, atomic=True, by_hand=ByHand(credential)
            )
            return unit

        named = [
            identifier
            for record in incoming
            if record.linked
            for identifier in (record.identifier, record.linked.named.identifier)
        ]
        return await self._effects.of(tenant, list(dict.fromkeys(named)), link, dry=dry)

    async def merge(
        self, tenant: str, target: str, source: str, by: str | None, *, credential: str | None = None, dry: bool = False
    ) -> Effect:
        """Make one customer of two; the target's id stays. Two that are one already stay so.

        Args:
            tenant: the tenant.
            target: the customer id that stays.
            source: the customer id that goes, and leads to the target from then on.
            by: the source of the decision, as the caller names it.
            credential: the id of the credential that acts; None: none does, or all are let in.
            dry: whether to change nothing, and only tell what would be.

        Raises:
            SelfLink: the two are the same.
            CustomerNotFound: one of them is not known.
            LinkRefused: the profile would have too many identifiers.
            SectionTooLarge: a section of both together would pass its limit of bytes.
        """
        a, b = customer(target), customer(source)
        if a == b:
            raise SelfLink("A customer cannot be merged with itself: name two customers.")

        stated = Stated(1.0, by, Rule.MERGE, credential=credential)
        return await self._decide(tenant, a, b, lambda linker: linker.merge(a, b, stated), bounded=True, dry=dry)

    async def unmerge(
        self, tenant: str, target: str, source: str, by: str | None, *, credential: str | None = None, dry: bool = False
    ) -> Effect:
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
        return await self._part(tenant, a, b, Stated(1.0, by, Rule.UNMERGE, credential=credential), dry=dry)

    async def unlink(
        self,
        tenant: str,
        customer_id: str,
        identifier: Identifier,
        by: str | None,
        *,
        credential: str | None = None,
        dry: bool = False,
    ) -> Effect:
        """Take an identifier from a customer, with what hangs on it, and keep it from coming back by itself.

        Raises:
            SelfLink: the identifier is the customer's own id.
            CustomerNotFound: the customer is not known.
            NotMerged: the identifier is not the customer's.
        """
        a = customer(customer_id)
        if a == identifier:
            raise SelfLink("A customer's own id cannot be taken from it: name another identifier of the customer.")
        try:
            return await self._part(tenant, a, identifier, Stated(1.0, by, Rule.UNLINK, credential=credential), dry=dry)
        except CustomerNotFound:
            await head_of(self._store, tenant, customer_id)
            raise NotMerged(_NOT_THEIRS) from None

    async def accept(
        self,
        tenant: str,
        a: Identifier,
        b: Identifier,
        by: str | None,
        *,
        credential: str | None = None,
        dry: bool = False,
    ) -> Effect:
        """Make a link that a rule refused, and that waits for review, hold.

        Raises:
            NotMerged: no such link waits.
            LinkRefused: the profile would have too many identifiers.
        """
        # A person's word, and so certain, whatever it was that they had before them.
        stated = Stated(1.0, by, Rule.ACCEPTED, credential=credential)
        return await self._decide(tenant, a, b, lambda linker: linker.accept(a, b, stated), self._reviewed, dry=dry)

    async def reject(
        self,
        tenant: str,
        a: Identifier,
        b: Identifier,
        by: str | None,
        *,
        credential: str | None = None,
        dry: bool = False,
    ) -> Effect:
        """Turn a link down that waits for review, and keep the two apart.

        Raises:
            NotMerged: no such link waits.
            StillMerged: they are one person.
        """
        stated = Stated(1.0, by, Rule.REJECTED, credential=credential)
        return await self._decide(tenant, a, b, lambda linker: linker.ban(a, b, stated), self._reviewed, dry=dry)

    async def keep_apart(
        self,
        tenant: str,
        a: Identifier,
        b: Identifier,
        by: str | None,
        *,
        credential: str | None = None,
        dry: bool = False,
    ) -> Effect:
        """Keep two identifiers from being one person, until just these two are merged, accepted, linked or allowed.

        Raises:
            SelfLink: the two are the same.
            IdentifierNotFound: one of them belongs to nobody.
            StillMerged: they are one person.
        """
        if a == b:
            raise SelfLink("An identifier cannot be kept apart from itself: name two.")
        stated = Stated(1.0, by, Rule.CANNOT_LINK, credential=credential)
        return await self._decide(tenant, a, b, lambda linker: linker.ban(a, b, stated), self._known, dry=dry)

    async def allow(
        self,
        tenant: str,
        a: Identifier,
        b: Identifier,
        by: str | None,
        *,
        credential: str | None = None,
        dry: bool = False,
    ) -> Effect:
        """Let two identifiers be one person again, which somebody set apart; what waited for that holds.

        Raises:
            NotMerged: nobody set just these two apart.
            IdentifierNotFound: neither belongs to anybody.
        """
        stated = Stated(1.0, by, Rule.ALLOW_LINK, credential=credential)
        return await self._decide(tenant, a, b, lambda linker: linker.allow(a, b, stated), self._either, dry=dry)

    async def move(
        self,
        tenant: str,
        source: str,
        target: str,
        incoming: Sequence[Incoming],
        by: str | None,
        *,
        credential: str | None = None,
        dry: bool = False,
    ) -> Effect:
        """Take an identifier from one customer and give it to another, as somebody's old number that is another's now.

        Args:
            tenant: the tenant.
            source: the customer id that it is taken from.
            target: the customer id that gets it.
            incoming: the identity record of the target that names it.
            by: the source of the decision, as the caller names it.
            credential: the id of the credential that acts; None: none does, or all are let in.
            dry: whether to change nothing, and only tell what would be.

        Raises:
            SelfLink: both customers are the same, or the identifier is one of their own ids.
            CustomerNotFound: one of them is not known.
            NotMerged: the identifier is not the first customer's.
            LinkRefused: a rule refuses the link with the second.
        """
        (one,) = incoming
        assert one.linked is not None
        a, b, moved = customer(source), customer(target), one.linked.named.identifier
        if a == b or moved in {a, b}:
            raise SelfLink("Name two customers, and an identifier that is neither's own id.")
        failures = Failures(tenant, request.current())

        async def move(tx: Transaction) -> UnitOfWork:
            try:
                async with opened(tx, tenant, self._clock(), self._sections, (a, b, moved)) as (unit, linker):
                    await linker.part(a, moved, Stated(1.0, by, Rule.UNLINK, credential=credential))
                    unit.level()
                    await self._writer.add(
                        tx, tenant, unit, Judge(unit, {}), incoming, failures, atomic=True, by_hand=ByHand(credential)
                    )
            except CustomerNotFound:
                for name in (source, target):
                    await head_of(tx, tenant, name)
                raise NotMerged(_NOT_THEIRS) from None
            return unit

        return await self._effects.of(tenant, (a, b, moved), move, dry=dry)

    async def rules(self, tenant: str) -> Rules:
        """Return a tenant's rules."""
        found = await self._store.tenant(tenant)
        return rules.read(found.rules if found else None)

    async def set_rules(self, tenant: str, raw: bytes | None) -> Rules:
        """Set a tenant's rules; None: as by default. What was decided under the old ones stays as it was decided.

        Raises:
            InvalidRules: they break their schema or contradict each other, or would match identifiers that are known
                otherwise from now on.
        """
        made = rules.DEFAULT if raw is None else rules.parse(raw)

        async def work(tx: Transaction) -> None:
            held = await tx.hold_rules(tenant, alone=True)
            before = rules.read(held.rules if held else None)
            if made.region != before.region and await tx.fact_identifiers(tenant, None, 1):
                raise InvalidRules(
                    "`region` decides in what form phone numbers are matched: it can be set only while the tenant has "
                    "no records."
                )
            await tx.set_rules(tenant, raw)

        await self._store.write(tenant, work)
        return made

    async def _part(self, tenant: str, a: Identifier, b: Identifier, stated: Stated, *, dry: bool) -> Effect:
        return await self._decide(tenant, a, b, lambda linker: linker.part(a, b, stated), dry=dry)

    async def _decide(
        self,
        tenant: str,
        a: Identifier,
        b: Identifier,
        act: Callable[[Linker], Awaitable[None]],
        begin: _Begin | None = None,
        *,
        bounded: bool = False,
        dry: bool,
    ) -> Effect:
        """Have something decided on two identifiers.

        Args:
            tenant: the tenant.
            a: the one.
            b: the other.
            act: decides.
            begin: takes both into the working set; None: both must belong to a customer.
            bounded: whether it is refused where a section would be too large.
            dry: whether to change nothing, and only tell what would be.
        """

        async def decide(tx: Transaction) -> UnitOfWork:
            async with (begin or self._both)(tx, tenant, a, b) as (unit, linker):
                await act(linker)
                await unit.commit(bounded=bounded)
            return unit

        return await self._effects.of(tenant, (a, b), decide, dry=dry)

    def _both(self, tx: Transaction, tenant: str, a: Identifier, b: Identifier) -> _Opened:
        return opened(tx, tenant, self._clock(), self._sections, (a, b))

    @asynccontextmanager
    async def _known(
        self, tx: Transaction, tenant: str, a: Identifier, b: Identifier
    ) -> AsyncIterator[tuple[UnitOfWork, Linker]]:
        if len(await tx.resolve_for_update(tenant, (a, b))) < 2:
            raise IdentifierNotFound
        async with self._both(tx, tenant, a, b) as both:
            yield both

    @asynccontextmanager
    async def _either(
        self, tx: Transaction, tenant: str, a: Identifier, b: Identifier
    ) -> AsyncIterator[tuple[UnitOfWork, Linker]]:
        known = await tx.resolve_for_update(tenant, (a, b))
        if not known:
            raise IdentifierNotFound
        async with opened(tx, tenant, self._clock(), self._sections, known) as either:
            yield either

    @asynccontextmanager
    async def _reviewed(
        self, tx: Transaction, tenant: str, a: Identifier, b: Identifier
    ) -> AsyncIterator[tuple[UnitOfWork, Linker]]:
        """Give what is needed to decide on a link that waits for review.

        Raises:
            NotMerged: none waits between these two.
        """
        if not await tx.resolve_for_update(tenant, [a]):
            raise _nothing_waits()
        async with opened(tx, tenant, self._clock(), self._sections, [a], [b]) as (unit, linker):
            await linker.load((a, b))
            (state,) = await unit.links((a,))
            one_person = unit.profile_of(a) == unit.profile_of(b)
            if refused(told_of(state, a, b), one_person=one_person) is None:
                raise _nothing_waits()
            yield unit, linker


_NOT_THEIRS = "This identifier is not the customer's: there is nothing to take back."


def _nothing_waits() -> NotMerged:
    return NotMerged("No link between these two waits for review. See the customer's candidates.")
