"""Joining and parting: what a transaction does to the identity graph, under the tenant's rules."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from portrait.batch import Batch
from portrait.identity.graph import LINKED, RETRACTED, Graph, Link, Profile, Told, groups_without, survivor
from portrait.identity.rules import WORDS, Proposal, Reason, Rule, Rules, decided, naming, read
from portrait.incoming import Named
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
from portrait.model.identifier import Identifier, customer, generated
from portrait.sections.base import MAX_KEYS, StoredSection
from portrait.sections.links import Decision, LinksState, ends_of, ends_with, graph_of, told_of
from portrait.storage.contract import Transaction

_LOOKED_UP = 20
"""How many of the ends of an identifier's refused links are looked up, to tell whether they are one person's."""

_UNASKED = frozenset({Rule.RECORD, Rule.MATCH})
"""The rules of links that nobody made by hand."""


class Stated(NamedTuple):
    """What is said of a link."""

    confidence: float
    source: str | None
    rule: Rule
    at: int = 0
    """From when it holds, in microseconds; 0: from now on."""
    credential: str | None = None
    """The id of the credential that acted, where somebody decided it by the API."""


class Decided(NamedTuple):
    """What became of a link that a source told."""

    reason: Reason | None
    """What a rule has against it; None: nothing."""
    holds: bool
    """Whether it holds nevertheless: the rule only warns."""


class Linker:
    """Links and unlinks within one batch.

    Args:
        batch: the working set; the customers concerned are locked in it.
        rules: the tenant's rules.
        now: the present moment.
    """

    def __init__(self, batch: Batch, rules: Rules, now: int) -> None:
        self._batch = batch
        self._rules = rules
        self._now = now

    async def link(self, a: Named, b: Named, stated: Stated, *, anew: bool = False) -> Decided:
        """Link two identifiers if the rules let them.

        A refusal is recorded too, at each end that is known: it waits there for review, and shows what is shared.

        Args:
            a: the one, of a customer that is locked.
            b: the other.
            stated: what is said of the link.
            anew: whether it was told before: then only a refusal is decided on again, since rules may have changed.
        """
        one, other = a.identifier, b.identifier
        if one == other:
            return Decided(Reason.SELF_LINK, holds=False)
        x, y = self._batch.profile_of(one), self._batch.profile_of(other)
        states = await self._batch.links(dict.fromkeys((*x.members, *y.members)))
        ends = _ends(states, one)
        before = next((told for told in ends.get(other, ()) if told.source == stated.source), None)
        is_held = before is not None and before.status == LINKED
        # What the source said last goes back less far.
        is_older = is_held and before is not None and 0 < stated.at < before.at
        # What somebody said by hand is not taken back by what the same source's records say.
        is_weaker = is_held and before is not None and stated.rule in _UNASKED and before.rule not in _UNASKED
        if is_older or is_weaker or (anew and (before is None or before.status in {LINKED, RETRACTED})):
            return Decided(None, holds=is_held)
        if other not in ends and max(len(ends), len(_ends(states, other))) >= MAX_KEYS:
            return Decided(Reason.COMPONENT_CAP, holds=False)
        graph = graph_of(states)
        sure = self._rules.is_sure(stated.rule, stated.confidence)
        people = {
            one: await self._people(one, ends, other if sure else None, graph),
            other: await self._people(other, _ends(states, other), one if sure else None, graph),
        }
        proposal = Proposal(one, other, stated.confidence, (x, y), graph, people, stated.rule, given=(a.value, b.value))
        reason, gives_way = decided(self._rules, proposal, self._now)
        shared = [each for each in (one, other) if self._rules.is_shared(each, people[each])]
        if reason is not None and is_held:
            return Decided(reason, holds=True)  # rules that came later undo nothing
        if reason is not None:
            if before is None or (before.status, before.confidence) != (reason.value, stated.confidence):
                known = self._batch.is_known(other)
                self._batch.link(a, b, _decision(stated, reason.value, before), stated.source, both=known)
                if reason is Reason.SHARED_IDENTIFIER and self._rules.shared == "split":
                    await self._split_off(shared)
            return Decided(reason, holds=False)
        if gives_way:
            await self._give_way(gives_way, {x, y})
            x, y = self._batch.profile_of(one), self._batch.profile_of(other)
            graph = await self._graph(x, y)
        await self._join(a, b, stated, (x, y), graph, before)
        return Decided(Reason.SHARED_IDENTIFIER if shared and x != y else None, holds=True)

    async def merge(self, target: Identifier, source: Identifier, stated: Stated) -> None:
        """Make one customer of two, whatever the rules but the cap; the target's id stays.

        Raises:
            LinkRefused: the profile would have too many identifiers.
        """
        x, y = self._batch.profile_of(target), self._batch.profile_of(source)
        assert x.customer_id is not None
        assert y.customer_id is not None
        a, b = (target, source) if x == y else (customer(x.customer_id), customer(y.customer_id))
        await self.join(Named(a, a.value), Named(b, b.value), stated, into=x.customer_id)

    async def join(self, a: Named, b: Named, stated: Stated, *, into: str | None = None) -> None:
        """Link two identifiers by somebody's word, whatever the rules but the cap, and whoever set them apart before.

        Two that are one already are so from now on by this word too: it stands where the others are taken back.

        Args:
            a: the one.
            b: the other.
            stated: what is said of the link.
            into: the customer id that stays; None: as for any link.

        Raises:
            LinkRefused: the profile would have too many identifiers.
        """
        x, y = self._batch.profile_of(a.identifier), self._batch.profile_of(b.identifier)
        if x == y:
            graph = await self._graph(x)
            between = [link.told for link in graph.links if {link.a, link.b} == {a.identifier, b.identifier}]
            before = next((told for every in between for told in every if told.source == stated.source), None)
            if before is None or before.rule in _UNASKED:
                await self._join(a, b, stated, (x, y), graph, before)
            return
        if len(x.members) + len(y.members) > self._rules.max_identifiers:
            raise refused(Reason.COMPONENT_CAP)
        graph = await self._graph(x, y)
        for pair in graph.parts(x, y):
            await self._ban(*_both(pair), stated, RETRACTED)
        await self._join(a, b, stated, (x, y), graph, None, into=into)

    async def suggest(self, a: Identifier, b: Identifier, stated: Stated, *, links: bool) -> Reason | None:
        """Link two identifiers that matching found alike, or have the link wait for review; return why it waits.

        Matching weighs what is said of people, so the rules that weigh identifiers do not ask; the cap and those set
        apart do.
        """
        x, y = self._batch.profile_of(a), self._batch.profile_of(b)
        if x == y:
            return None
        graph = await self._graph(x, y)
        reason = None if links else Reason.REVIEW
        if graph.parts(x, y):
            reason = Reason.CANNOT_LINK
        elif len(x.members) + len(y.members) > self._rules.max_identifiers:
            reason = Reason.COMPONENT_CAP
        if reason is None:
            await self._join(*await self.as_given(a, b), stated, (x, y), graph, None)
        else:
            self._batch.link(*await self.as_given(a, b), _decision(stated, reason.value, None), stated.source)
        return reason

    async def forget(self, identifier: Identifier, source: str) -> int:
        """Take back what one source says of an identifier's links, as though it had never said it; return how much."""
        profile = self._batch.profile_of(identifier)
        (state,) = await self._batch.links((identifier,))
        told = [
            (other, each)
            for other, every in ends_of(state, identifier).items()
            for each in every
            if each.source == source and each.status != RETRACTED
        ]
        await self._batch.links(other for other, _ in told)
        for other, each in told:
            decision = Decision(rule=Rule.UNLINK, at=each.at, since=each.since, status=RETRACTED)
            known = self._batch.is_known(other)
            self._batch.link(*await self.as_given(identifier, other, source), decision, source, both=known)
        if told:
            await self._regroup(profile)
        return len(told)

    async def part(self, a: Identifier, b: Identifier, stated: Stated) -> list[Profile]:
        """Take back every link that makes two identifiers one person, and keep them apart; return what they become.

        Raises:
            NotMerged: they are not one person.
        """
        x = self._batch.profile_of(a)
        if b not in x.members:
            raise NotMerged("The two are not one person: there is nothing to take back.")
        graph = await self._graph(x)
        await self._retract(graph.crossing(a, b), stated.rule, stated.credential)
        await self._ban(a, b, stated, LINKED)
        return await self._regroup(x)

    async def retract(self, a: Identifier, b: Identifier, rules: Collection[Rule]) -> None:
        """Take back the link between two identifiers as far as it came to be by some rules, by whomever it was told."""
        x = self._batch.profile_of(a)
        links = [
            link._replace(told=told)
            for link in (await self._graph(x)).links
            if {link.a, link.b} == {a, b} and (told := tuple(one for one in link.told if one.rule in rules))
        ]
        if links:
            await self._retract(links, Rule.RECORD)
            await self._regroup(x)

    async def lift(self, a: Identifier, b: Identifier, stated: Stated) -> None:
        """Let two identifiers be linked again, which were set apart."""
        x, y = self._batch.profile_of(a), self._batch.profile_of(b)
        if frozenset((a, b)) in (await self._graph(x, y)).apart:
            await self._ban(a, b, stated, RETRACTED)

    async def ban(self, a: Identifier, b: Identifier, stated: Stated) -> None:
        """Keep two identifiers apart from now on.

        Raises:
            StillMerged: they are one person.
        """
        if self._batch.profile_of(a) == self._batch.profile_of(b):
            raise StillMerged("The two are one person: unmerge them, or unlink the identifier.")
        await self._ban(a, b, stated, LINKED)

    async def _people(
        self, identifier: Identifier, ends: Mapping[Identifier, Sequence[Told]], other: Identifier | None, graph: Graph
    ) -> int:
        """Return with how many people an identifier was seen, by sure words; 0 where it is too few to ask.

        What remains connected without it is one person's. Of groups that hold nothing of one type two may be one
        person's still, an address here and a number there; so it is the most groups that hold one type of what names
        people. An end that is of neither profile counts with what it is linked with, for the first `_LOOKED_UP`.
        """
        most = self._rules.of(identifier.type).shared_from
        seen = {one for one, told in ends.items() if any(map(self._is_seen, told))} | ({other} if other else set())
        if most is None or len(seen) < most:
            return 0
        elsewhere = sorted(seen - graph.identifiers)
        states = await self._batch.links(elsewhere[:_LOOKED_UP])
        ties: list[tuple[Identifier, Identifier]] = [
            (link.a, link.b) for link in graph.links if any(map(self._is_tie, link.told))
        ]
        for one, state in zip(elsewhere, states, strict=False):
            ties += [(one, end) for end, told in ends_of(state, one).items() if any(map(self._is_tie, told))]
        groups = groups_without(identifier, {*graph.identifiers, *elsewhere}, ties)
        counted = Counter(
            type_ for group in groups if not seen.isdisjoint(group) for type_ in naming(self._rules, group)
        )
        return max(counted.values(), default=0)

    def _is_tie(self, told: Told) -> bool:
        """Tell whether a word makes two identifiers one person's, and is none that gives way."""
        return told.status == LINKED and self._rules.is_sure(told.rule, told.confidence)

    def _is_seen(self, told: Told) -> bool:
        """Tell whether a word shows two identifiers together: none that is unsure, or taken back but for a split."""
        if told.status == RETRACTED:
            return told.rule == Rule.SPLIT and self._rules.is_sure(Rule.RECORD, told.confidence)
        return self._rules.is_sure(told.rule, told.confidence)

    async def _graph(self, *profiles: Profile) -> Graph:
        members = [one for profile in profiles for one in profile.members]
        return graph_of(await self._batch.links(members), members)

    async def _join(
        self,
        a: Named,
        b: Named,
        stated: Stated,
        profiles: tuple[Profile, Profile],
        graph: Graph,
        before: Told | None,
        *,
        into: str | None = None,
    ) -> None:
        x, y = profiles
        stays = None
        if x != y:
            stays = into or survivor(x, y, graph.links)
        both = x.customer_id is not None and y.customer_id is not None
        members = tuple(sorted({*x.members, *y.members}))
        if x != y:
            # First, for the link to be told after whatever was told of an identifier that nobody had any more.
            self._batch.regroup(profiles, [Profile(stays, members)])
        self._batch.link(a, b, _decision(stated, LINKED, before, into=stays if both else None), stated.source)
        if x != y:
            await self._settle(members)

    async def _settle(self, members: Sequence[Identifier]) -> None:
        """Let links hold that were refused for joining two profiles, now that they are one."""
        everyone = set(members)
        refused_once = [
            (one, other, told)
            for state in await self._batch.links(members)
            for one, other, told in ends_with(state, _ABOUT_TWO)
            if other in everyone
        ]
        for one, other, told in refused_once:
            stated = Stated(told.confidence, told.source, Rule(told.rule), told.at, told.credential)
            decision = _decision(stated, LINKED, None)
            self._batch.link(*await self.as_given(one, other, told.source), decision, told.source)

    async def _retract(self, links: Iterable[Link], rule: Rule, credential: str | None = None) -> None:
        for link in links:
            for told in link.told:
                decision = Decision(
                    rule=rule,
                    at=told.at,
                    since=told.since,
                    confidence=told.confidence,
                    status=RETRACTED,
                    credential=credential,
                )
                self._batch.link(*await self.as_given(link.a, link.b, told.source), decision, told.source)

    async def _give_way(self, links: Iterable[Link], profiles: Iterable[Profile]) -> None:
        """Have unsure links wait for review, as though they had been refused, and part what they held together."""
        for link in links:
            (state,) = await self._batch.links((link.a,))
            for told in ends_of(state, link.a)[link.b]:
                if told.status == LINKED:
                    stated = Stated(told.confidence, told.source, Rule(told.rule), told.at, told.credential)
                    decision = _decision(stated, Reason.LOW_CONFIDENCE.value, None)
                    self._batch.link(*await self.as_given(link.a, link.b, told.source), decision, told.source)
        for profile in profiles:
            await self._regroup(profile)

    async def _ban(self, a: Identifier, b: Identifier, stated: Stated, status: str) -> None:
        one, other = (a, b) if self._batch.is_known(a) else (b, a)
        decision = Decision(rule=stated.rule, status=status, credential=stated.credential)
        known = self._batch.is_known(other)
        self._batch.link(*await self.as_given(one, other), decision, stated.source, apart=True, both=known)

    async def as_given(self, a: Identifier, b: Identifier, source: str | None = None) -> tuple[Named, Named]:
        """Return two identifiers as they were given last where they were linked: by a source, if it told of them."""
        return await self._given(a, b, source), await self._given(b, a, source)

    async def _given(self, one: Identifier, other: Identifier | None = None, source: str | None = None) -> Named:
        told = await self._told_of(one, () if other is None else (other,))
        if not told:  # then as any other link gave it
            (state,) = await self._batch.links((one,))
            told = await self._told_of(one, sorted(ends_of(state, one)))
        newest = max(told, key=lambda each: (each.source == source, each.at, each.order), default=None)
        return Named(one, one.value if newest is None else newest.value)

    async def _told_of(self, one: Identifier, ends: Collection[Identifier]) -> list[Told]:
        """Return what is told of an identifier at the other ends of its links."""
        held = await self._batch.links(ends)
        return [told for end, state in zip(ends, held, strict=True) for told in told_of(state, end, one)]

    async def _split_off(self, shared: Sequence[Identifier]) -> None:
        """Take back the links of shared identifiers, but for those told by hand and to an id made for them."""
        kept = {Rule.LINK, Rule.ACCEPTED, Rule.FIRST_SEEN}
        for one in shared:
            profile = self._batch.profile_of(one)
            theirs = [link for link in (await self._graph(profile)).links if one in {link.a, link.b}]
            if gone := [link for link in theirs if not any(told.rule in kept for told in link.told)]:
                await self._retract(gone, Rule.SPLIT)
                await self._regroup(profile)

    async def _regroup(self, before: Profile) -> list[Profile]:
        """Group a profile's identifiers by the links that remain, and give a profile to what has records of its own."""
        after = []
        founded = []
        for profile in (await self._graph(before)).profiles():
            if profile.customer_id is None and await self._batch.has_records(profile.members):
                anchor = generated()
                founded.append((profile.members[0], anchor))
                after.append(Profile(anchor.value, tuple(sorted((*profile.members, anchor)))))
            else:
                after.append(profile)
        self._batch.regroup([before], after)
        for first, anchor in founded:
            self._batch.found(await self._given(first), anchor)
        return after


async def opened(
    tx: Transaction,
    tenant: str,
    now: int,
    sections: Mapping[str, StoredSection],
    told_of: Iterable[Identifier],
    mentioned: Collection[Identifier] = (),
) -> tuple[Batch, Linker]:
    """Return the working set and the linker for some identifiers, under the tenant's rules.

    Args:
        tx: the transaction.
        tenant: the tenant.
        now: the present moment.
        sections: every stored section by name.
        told_of: identifiers that are known.
        mentioned: others, which may be new.

    Raises:
        CustomerNotFound: one of the first is not known.
    """
    batch = Batch(tx, tenant, now, sections)
    if not await batch.open((Named(one, one.value) for one in told_of), mentioned, claim=bool(mentioned)):
        raise CustomerNotFound
    found = await tx.tenant(tenant)
    return batch, Linker(batch, read(found.rules if found else None), now)


_ABOUT_TWO = frozenset(one.value for one in Reason if one not in {Reason.BLOCKED_VALUE, Reason.UNKNOWN_TYPE})
"""The reasons that are about two profiles, and fall away where these are one."""


def refused(reason: Reason) -> PortraitError:
    """Return the error that says why a link is refused."""
    direct = {
        Reason.SELF_LINK: SelfLink, Reason.UNKNOWN_TYPE: UnknownIdentifierType, Reason.BLOCKED_VALUE: BlockedIdentifier,
    }  # fmt: skip
    if reason in direct:
        return direct[reason](WORDS[reason])
    return LinkRefused(WORDS[reason], reason=reason.value)


def _decision(stated: Stated, status: str, before: Told | None, *, into: str | None = None) -> Decision:
    unbroken = before is not None and before.status == status == LINKED
    since = before.since if unbroken and before is not None else 0
    into = before.into if unbroken and before is not None and into is None else into
    return Decision(
        rule=stated.rule, at=stated.at, since=since, confidence=stated.confidence, status=status, into=into,
        credential=stated.credential,
    )  # fmt: skip


def _ends(states: Iterable[LinksState], identifier: Identifier) -> dict[Identifier, list[Told]]:
    return next((ends_of(state, identifier) for state in states if identifier.tag in state.ends), {})


def _both(pair: frozenset[Identifier]) -> tuple[Identifier, Identifier]:
    one, other = sorted(pair)
    return one, other
