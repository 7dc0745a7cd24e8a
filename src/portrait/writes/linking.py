"""Joining and parting: what a transaction does to the identity graph, under the tenant's rules.

Load what concerns some identifiers; say what is claimed, taken back or banned; decide; apply. Decisions are pure: see
`identity.decisions`.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from portrait.identity.decisions import FINAL, counted
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
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer, generated, is_generated
from portrait.sections.base import StoredSection
from portrait.sections.links import Decision
from portrait.storage.contract import Transaction
from portrait.writes.claims import Word, key_of
from portrait.writes.incoming import GivenIdentifier, Incoming
from portrait.writes.neighbourhood import Neighbourhood, Stated
from portrait.writes.unit_of_work import UnitOfWork

MOST_WAITING = 1000
"""How many claims wait at an identifier that others name: further ones wait at their other ends alone."""


class Linker(Neighbourhood):
    """Does what somebody decides, and tells what was decided: facts, and whose identifiers are whose from now on."""

    async def apply(self) -> None:
        """Tell what was decided, and group the identifiers by it."""
        changed = [(key, word) for key, word in self._words.items() if self._stored.get(key) != word]
        gone, come = self._regrouped()
        founded: list[tuple[Identifier, Identifier]] = []
        nameless = [identifier for profile in come if profile.customer_id is None for identifier in profile.members]
        with_records = await self._unit.with_records(nameless) if nameless else set()
        for index, profile in enumerate(come):
            first = next(filter(with_records.__contains__, profile.members), None)
            if profile.customer_id is None and first is not None:
                anchor = generated()
                founded.append((first, anchor))
                come[index] = Profile(anchor.value, tuple(sorted((*profile.members, anchor))))
        regrouped = {identifier for profile in come for identifier in profile.members}
        come += [Profile(identifier.value, (identifier,)) for identifier in self._named() - regrouped]
        if gone or come:
            self._unit.regroup(gone, come)
        for word, rule, credential in self._retracted.values():
            self._tell(msgspec.structs.replace(word, rule=rule, status=RETRACTED, credential=credential, into=None))
            self._unit.relinked.update(word.pair)
        for key, word in changed:
            self._tell(word)
            before = self._stored.get(key)
            if before is None or (before.status, before.since, before.follows) != (
                word.status,
                word.since,
                word.follows,
            ):
                self._unit.relinked.update(word.pair)
        for first, anchor in founded:
            self._unit.found_customer(GivenIdentifier(first, self._given(first)), anchor)
        self._stored = dict(self._words)
        self._retracted = {}

    def _regrouped(self) -> tuple[list[Profile], list[Profile]]:
        """Return the profiles that are no more, and those that are instead, as far as the claims say."""
        before = self._unit.profiles_of(self._loaded)
        members = {frozenset(profile.members): profile for profile in before}
        chosen = {
            identifier for word in self._words.values() if word.into is not None for identifier in (word.a, word.b)
        }
        open_: set[Identifier] = set()
        for _, group in self.decisions.sets.all():
            profile = members.get(frozenset(group))
            if profile is None or not (chosen.isdisjoint(group) and _is_plain(profile)):
                open_.update(group)
        after = self.graph(open_ & self._loaded).profiles()
        concerned = [profile for profile in before if not open_.isdisjoint(profile.members)]
        stays = {*map(_mark, concerned)} & {*map(_mark, after)}
        return (
            [profile for profile in concerned if _mark(profile) not in stays],
            [profile for profile in after if _mark(profile) not in stays],
        )

    def _named(self) -> set[Identifier]:
        """Return the customer ids that nobody knew and evidence names, whatever became of it: each is a customer's."""
        words = (*self._words.values(), *(word for word, *_ in self._retracted.values()))
        ends = {identifier for word in words if word.status not in FINAL for identifier in (word.a, word.b)}
        return {
            identifier
            for identifier in ends
            if identifier.type == CUSTOMER_ID and identifier in self._loaded and not self._unit.is_known(identifier)
        }

    def _tell(self, word: Word) -> None:
        decision = Decision(
            rule=word.rule, at=word.at, since=word.since, confidence=word.confidence, status=word.status,
            into=word.into, credential=word.credential, timed=word.timed, policy=word.policy,
            follows=word.follows,
        )  # fmt: skip
        ends = [
            (identifier, other, msgspec.structs.replace(decision, value=value))
            for identifier, other, value in (
                (word.a, word.b, word.given_values[1]),
                (word.b, word.a, word.given_values[0]),
            )
            if self._keeps(identifier, word)
        ]
        self._unit.add_decisions(ends, word.source, apart=False)

    def _keeps(self, identifier: Identifier, word: Word) -> bool:
        """Tell whether a word is told at one of its ends: at one that is somebody's, or that others will ask about."""
        if self._unit.is_known(identifier):
            return True
        is_about_two = word.status not in {Reason.UNKNOWN_TYPE, Reason.BLOCKED_VALUE}
        return (
            identifier in self._loaded
            and identifier.type != CUSTOMER_ID
            and is_about_two
            and self._waiting.get(identifier, 0) < MOST_WAITING
        )

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
            raise NotMerged("The two are not one person: there is nothing to take back.")
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
            raise NotMerged("These two are not kept apart: there is nothing to take back.")
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


def _is_plain(profile: Profile) -> bool:
    """Tell whether a profile can have but one customer id: the company's only one, or none at all."""
    names = [identifier.value for identifier in profile.members if identifier.type == CUSTOMER_ID]
    own = [name for name in names if not is_generated(name)]
    return own == [profile.customer_id] or not names


def _mark(profile: Profile) -> tuple[str | None, frozenset[Identifier]]:
    return profile.customer_id, frozenset(profile.members)


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
