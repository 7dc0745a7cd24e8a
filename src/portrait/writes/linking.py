"""Joining and parting: what a transaction does to the identity graph, under the tenant's rules.

Load what concerns some identifiers; say what is claimed, taken back or banned; decide; apply. Decisions are pure: see
`identity.decisions`.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from portrait.identity.decisions import counted
from portrait.identity.graph import LINKED, RETRACTED, Profile, survivor
from portrait.identity.rules import OF_FORMS, WORDS, Reason, Rule, Rules, read
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
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer
from portrait.sections.base import StoredSection
from portrait.sections.links import Decision, link_key
from portrait.storage.contract import Transaction
from portrait.writes.claims import Key, key_of
from portrait.writes.evidence import Concerned
from portrait.writes.incoming import GivenIdentifier, Incoming
from portrait.writes.neighbourhood import Stated
from portrait.writes.regrouping import Regrouping
from portrait.writes.unit_of_work import UnitOfWork


class Linker(Regrouping):
    """Does what somebody decides.

    Args:
        unit: the working set.
        rules: the tenant's rules.
        now: the present moment.
    """

    def __init__(self, unit: UnitOfWork, rules: Rules, now: int) -> None:
        super().__init__(unit, rules, now)
        self._formed: set[Key] = set()
        """The claims by forms that were made now."""

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

    def _ban(self, a: Identifier, b: Identifier, stated: Stated, status: str) -> None:
        decision = Decision(rule=stated.rule, status=status, credential=stated.credential)
        (_, own_value), (_, their) = self.as_given(a, b)
        ends = [
            (identifier, other, msgspec.structs.replace(decision, value=value))
            for identifier, other, value in ((a, b, their), (b, a, own_value))
            if self._unit.is_known(identifier) or identifier.type != CUSTOMER_ID
        ]
        self._unit.add_decisions(ends, stated.source, apart=True)
        if status == LINKED:
            self._bans.add(frozenset((a, b)))
        else:
            self._bans.discard(frozenset((a, b)))

    def tell_hashes(self, clear: Mapping[Identifier, str]) -> None:
        """Claim that clear identifiers and their hashes are one, where that is not claimed yet.

        Args:
            clear: the identifiers, with their values as they were given.
        """
        for identifier, value in clear.items():
            for other in self._rules.hashes(identifier):
                named = GivenIdentifier(identifier, value), GivenIdentifier(other, other.value)
                self._state_form(*named, Rule.HASH)

    async def rekey(self, section: StoredSection, old: Identifier, new: Identifier) -> None:
        """Have what is known of an identifier under an older form be known under its form of now.

        Evidence says what it says in the forms of now. Bans hold for the new form too. Where the older one is still
        somebody's, because records are of it or somebody linked it, the two are claimed to be one. So are a clear one
        and its hashes.

        Args:
            section: the section of evidence.
            old: the identifier as it is stored.
            new: the same in its form of now, which may be the form that it has.
        """
        await self.load((old, new, *self._rules.hashes(new)))
        if old != new:
            await self._renew(section, old, new)
        self.tell_hashes({new: self._given(old)})
        self.decide()
        await self.apply()

    async def _renew(self, section: StoredSection, old: Identifier, new: Identifier) -> None:
        others = {other for word in self._words.values() if old in word.pair for other in word.pair} - {old}
        renewed = {self._rules.forms.of(*other) for other in others} - {new}
        await self.load((*others, *renewed))
        self._carry_bans(old, new)
        ends = [(a, b) for a in (old, new) for b in others | renewed if a != b]
        pairs = {(a, b) if a < b else (b, a): Concerned(set(), {}) for a, b in ends}
        await self.follow(section, pairs)
        if any(old in word.pair for word in self._words.values()) or await self._unit.with_records([old]):
            self._state_form(GivenIdentifier(old, self._given(old)), GivenIdentifier(new, self._given(old)), Rule.REKEY)

    def _carry_bans(self, old: Identifier, new: Identifier) -> None:
        """Keep an identifier's form of now apart from what its older form is kept apart from."""
        stated = Stated(1.0, Rule.REKEY, Rule.CANNOT_LINK)
        for pair in [pair for pair in self._bans if old in pair]:
            (other,) = pair - {old}
            for end in {other, self._rules.forms.of(*other)} - {new}:
                if not self._was_banned(end, new):
                    self._ban(end, new, stated, LINKED)

    def _was_banned(self, a: Identifier, b: Identifier) -> bool:
        """Tell whether two were ever kept apart: a ban that somebody lifted does not come back."""
        ends = ((a, b), (b, a))
        return any(
            link_key(other) in self._states[end].bans.get(end.tag, {}) for end, other in ends if end in self._states
        )

    def refused_forms(self) -> list[Reason]:
        """Return for what reasons claims by the forms of identifiers that were made now are refused."""
        return [
            Reason(word.status)
            for key, word in self._words.items()
            if word.rule in OF_FORMS and word.status != LINKED and key in self._formed
        ]

    def _state_form(self, a: GivenIdentifier, b: GivenIdentifier, rule: Rule) -> None:
        """Claim that two are one by their forms, where that is not claimed yet."""
        key = key_of(a.identifier, b.identifier, rule, by_hand=False)
        if key not in self._words:
            self.state(a, b, Stated(1.0, rule, rule))
            self._formed.add(key)

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
