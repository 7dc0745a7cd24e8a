"""Joining and parting: what a transaction does to the identity graph, under the tenant's rules.

Load what concerns some identifiers; say what is claimed, taken back or banned; decide; apply. Decisions are pure: see
`identity.decisions`.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from portrait.identity.decisions import counted
from portrait.identity.graph import LINKED, RETRACTED, Profile, survivor
from portrait.identity.rules import WORDS, Reason, Rule, read
from portrait.model.errors import (
    BlockedIdentifier,
    CustomerNotFound,
    LinkRefused,
    NotMerged,
    PortraitError,
    SelfLink,
    StillMerged,
    UnknownIdentifierType,
)
from portrait.model.identifier import Identifier, customer
from portrait.sections.base import StoredSection
from portrait.storage.contract import Transaction
from portrait.writes.claims import key_of
from portrait.writes.form_claims import FormClaims
from portrait.writes.incoming import GivenIdentifier, Incoming
from portrait.writes.neighbourhood import Stated
from portrait.writes.unit_of_work import UnitOfWork


class Linker(FormClaims):
    """Does what somebody decides."""

    def link(self, incoming: Sequence[Incoming], credential: str | None) -> None:
        """Claim by hand what records are evidence of, if no rule refuses it; a ban on just the two of one is lifted.

        Raises:
            SelfLink, UnknownIdentifierType, BlockedIdentifier, LinkRefused: a rule refuses one; the detail says which.
        """
        joined: list[tuple[Profile, Profile, Stated]] = []
        for record in incoming:
            assert record.linked is not None
            a, b = record.identifier, record.linked.named.identifier
            stated = Stated(record.linked.confidence, record.source, Rule.LINK, record.effective_at or 0, credential)
            if a != b:
                self.lift(a, b, stated)
                self.state(record.named, record.linked.named, stated, tried=True)
                joined.append((self._unit.profile_of(a), self._unit.profile_of(b), stated))
        self.decide()
        for record in incoming:
            reason, holds = self.outcome(record, by_hand=True)
            if reason is not None and not holds:
                error = refused(reason)
                raise error if len(incoming) == 1 else error.of_record(record.at)
        self._tried.clear()
        self.decide()
        for left, right, stated in joined:
            self._keep_whole(left, right, stated)

    async def merge(self, target: Identifier, source: Identifier, stated: Stated) -> None:
        """Make one customer of two, whatever the rules but the cap; the target's id stays.

        Raises:
            LinkRefused: the profile would have too many identifiers, or two in it were set apart.
        """
        await self.load((target, source))
        left, right = self._unit.profile_of(target), self._unit.profile_of(source)
        assert left.customer_id is not None
        assert right.customer_id is not None
        self.lift(target, source, stated)
        named = GivenIdentifier(target, target.value), GivenIdentifier(source, source.value)
        await self._join(*named, stated, into=left.customer_id)

    async def accept(self, a: Identifier, b: Identifier, stated: Stated) -> None:
        """Have a link that waits for review hold, by somebody's word.

        Raises:
            LinkRefused: the profile would have too many identifiers, or two in it were set apart.
        """
        self.lift(a, b, stated)
        await self._join(*self.as_given(a, b), stated, into=None)

    async def _join(self, a: GivenIdentifier, b: GivenIdentifier, stated: Stated, *, into: str | None) -> None:
        """Link two by somebody's word. Two that are one already are so from now on by this word too."""
        left, right = self._unit.profile_of(a.identifier), self._unit.profile_of(b.identifier)
        if left != right and counted((*left.members, *right.members)) > self._rules.max_identifiers:
            raise refused(Reason.COMPONENT_CAP)
        if left != right and any(
            len(pair & {*left.members}) == len(pair & {*right.members}) == 1 for pair in self._bans
        ):
            raise refused(Reason.CANNOT_LINK)
        key = key_of(a.identifier, b.identifier, stated.source, by_hand=True)
        earlier = self._words.get(key)
        if left == right and earlier is not None and earlier.status == LINKED:
            return
        both = left != right and left.customer_id is not None and right.customer_id is not None
        stays = (into or survivor(left, right, self.graph(self._loaded).links)) if both else None
        self.state(a, b, stated, into=stays)
        self.decide()
        if (word := self._words[key]).status != LINKED:
            raise refused(Reason(word.status))
        self._keep_whole(left, right, stated, stays)
        await self.apply()

    def _keep_whole(self, left: Profile, right: Profile, stated: Stated, into: str | None = None) -> None:
        """Claim that two customers are one, where a link of theirs alone would part what belonged to either."""
        find = self.decisions.sets.find
        if (
            len({find(identifier) for identifier in (*left.members, *right.members)}) > 1
            and left.customer_id
            and right.customer_id
        ):
            a, b = customer(left.customer_id), customer(right.customer_id)
            self.state(GivenIdentifier(a, a.value), GivenIdentifier(b, b.value), stated, into=into)
            self.decide()

    async def part(self, a: Identifier, b: Identifier, stated: Stated) -> None:
        """Take back what people said that makes two identifiers one person, and keep them apart.

        Raises:
            NotMerged: they are not one person.
        """
        await self.load((a, b))
        if b not in self._unit.profile_of(a).members:
            raise NotMerged("The two are not one person: there is nothing to part.")
        self._ban(a, b, stated, LINKED)
        self.decide()
        for key, word in list(self._words.items()):
            if key[2] and word.status == Reason.CANNOT_LINK:
                self._retract(key, stated.rule, stated.credential)
        await self.apply()

    def lift(self, a: Identifier, b: Identifier, stated: Stated) -> None:
        """Let two identifiers be linked again, which were set apart."""
        if frozenset((a, b)) in self._bans:
            self._ban(a, b, stated, RETRACTED)

    async def allow(self, a: Identifier, b: Identifier, stated: Stated) -> None:
        """Let two identifiers be one person again, which somebody set apart; what waited for that holds.

        Raises:
            NotMerged: nobody set just these two apart.
        """
        await self.load((a, b))
        if frozenset((a, b)) not in self._bans:
            raise NotMerged("These two are not kept apart: there is no ban to lift.")
        self.lift(a, b, stated)
        self.decide()
        await self.apply()

    async def ban(self, a: Identifier, b: Identifier, stated: Stated) -> None:
        """Keep two identifiers apart from now on.

        Raises:
            StillMerged: they are one person.
        """
        await self.load((a, b))
        if self._unit.profile_of(a) == self._unit.profile_of(b):
            raise StillMerged("The two are one person: unmerge them, or unlink the identifier.")
        self._ban(a, b, stated, LINKED)
        self.decide()
        await self.apply()

    def suggest(self, a: Identifier, b: Identifier, probability: float, source: str, *, links: bool) -> None:
        """Claim that matching found two alike; without `links` that waits for review. Said again it is no news."""
        key = key_of(a, b, source, by_hand=False)
        earlier = self._words.get(key)
        if earlier is not None and earlier.rule == Rule.MATCH:
            is_same = earlier.confidence == probability and not (links and earlier.status == Reason.REVIEW)
            if earlier.status == LINKED or is_same:
                return
        self.state(*self.as_given(a, b), Stated(probability, source, Rule.MATCH))
        if not links:
            self._words[key] = msgspec.structs.replace(self._words[key], status=Reason.REVIEW.value)

    def found_alike(self, a: Identifier, b: Identifier, source: str) -> Reason | None:
        """Return why two that matching found alike are not linked by that; None: they are one person."""
        word = self._words[key_of(a, b, source, by_hand=False)]
        return None if word.status == LINKED or self._is_one(a, b) else Reason(word.status)

    def _is_one(self, a: Identifier, b: Identifier) -> bool:
        return self.decisions.sets.find(a) == self.decisions.sets.find(b)

    def forget(self, source: str) -> int:
        """Take back what matching or somebody said in a source's name; return how much that was. Its records stand."""
        keys = [key for key, word in self._words.items() if key[3] == source and word.rule != Rule.RECORD]
        for key in keys:
            self._retract(key, Rule.UNLINK)
        return len(keys)


@asynccontextmanager
async def opened(
    tx: Transaction,
    tenant: str,
    now: int,
    sections: Mapping[str, StoredSection],
    known: Iterable[Identifier],
    mentioned: Collection[Identifier] = (),
) -> AsyncIterator[tuple[UnitOfWork, Linker]]:
    """Give a unit of work and a linker for some identifiers, under the tenant's rules; the unit commits at the end.

    Args:
        tx: the transaction.
        tenant: the tenant.
        now: the present moment, in microseconds.
        sections: every stored section by name.
        known: identifiers that must belong to customers.
        mentioned: other identifiers, which may be new.

    Raises:
        CustomerNotFound: one of the first does not.
    """
    async with UnitOfWork(tx, tenant, now, sections) as unit:
        named = (GivenIdentifier(identifier, identifier.value) for identifier in known)
        if not await unit.open(named, mentioned, claim=bool(mentioned)):
            raise CustomerNotFound
        row = await tx.tenant(tenant)
        yield unit, Linker(unit, read(row.rules if row else None), now)


def refused(reason: Reason) -> PortraitError:
    """Return the error that says why a link is refused."""
    direct = {
        Reason.SELF_LINK: SelfLink, Reason.UNKNOWN_TYPE: UnknownIdentifierType, Reason.BLOCKED_VALUE: BlockedIdentifier,
    }  # fmt: skip
    if reason in direct:
        return direct[reason](WORDS[reason])
    return LinkRefused(WORDS[reason], reason=reason.value)
