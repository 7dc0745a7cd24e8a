"""Who is who: the direct actions on the identity graph, and why identifiers are one person."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from portrait import folding
from portrait.batch import Batch
from portrait.identity import rules
from portrait.identity.graph import LINKED, RETRACTED, Link, Merge, Profile, Told
from portrait.identity.rules import Reason, Rule, Rules
from portrait.incoming import Incoming
from portrait.linking import Linker, Stated, opened
from portrait.model.document import Head, known_head, read_head
from portrait.model.errors import CustomerNotFound, IdentifierNotFound, InvalidRules, NotMerged, SelfLink
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer
from portrait.model.time import Clock
from portrait.recording import Recorder
from portrait.sections.experiments import crossovers
from portrait.sections.fold import LatestState
from portrait.sections.links import LINKS, Identified, LinksState, bans_of, ends_of, graph_of, identified, told_of
from portrait.sections.registry import Registry
from portrait.storage.contract import Reads, Store, Transaction

T = TypeVar("T")
CHUNK = 200
"""How many customers are gone through at once for what waits for review."""


class Effect(NamedTuple):
    """What an action does to the profiles that it concerns."""

    before: tuple[Profile, ...]
    after: tuple[Profile, ...]
    crossovers: tuple[str, ...]
    """Experiments in which one profile afterwards has had two variants: the first exposure counts."""


class Candidate(NamedTuple):
    """A link that a rule refused, or that matching is not sure of, waiting for review."""

    a: Identifier
    b: Identifier
    told: Told

    @property
    def reason(self) -> Reason:
        """Why it was refused."""
        return Reason.SHARED_IDENTIFIER if self.told.status == RETRACTED else Reason(self.told.status)


class Waiting(NamedTuple):
    """A candidate, and whose its two ends are."""

    customer_id: str
    other_id: str | None
    """None: the other end is nobody's yet."""
    candidate: Candidate

    @property
    def place(self) -> tuple[str, int, bytes]:
        """Where it stands among all of its tenant's."""
        return self.customer_id, self.candidate.told.recorded_at, self.candidate.told.id


class Why(NamedTuple):
    """One identifier of a customer's, and the path of links that says so."""

    shown: Identified
    path: tuple[Link, ...]


class Apart(NamedTuple):
    """Two identifiers that are not to be one person."""

    a: Identifier
    b: Identifier
    told: Told
    """Who said so, when, and by what."""


class Explanation(NamedTuple):
    """Why identifiers are one person, and what is known beside."""

    customer_id: str
    why: tuple[Why, ...]
    merges: tuple[Merge, ...]
    apart: tuple[Apart, ...]
    candidates: tuple[Candidate, ...]
    crossovers: tuple[str, ...]


class Identities:
    """Acts on the identity graph, and explains it."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder
        self._registry = registry
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

    async def link(self, tenant: str, incoming: Sequence[Incoming], *, dry: bool = False) -> Effect:
        """Link identifiers to a customer by somebody's own word: all or none.

        Args:
            tenant: the tenant.
            incoming: identity records.
            dry: whether to change nothing, and only tell what would be.

        Raises:
            LinkRefused: a rule refuses a link; the detail says which and why.
            SelfLink: an identifier is to be linked with itself.
        """

        async def work(tx: Transaction) -> None:
            await self._recorder.link_all(tx, tenant, incoming)

        named = [each for one in incoming if one.linked for each in (one.identifier, one.linked.named.identifier)]
        return await self._act(tenant, list(dict.fromkeys(named)), work, dry=dry)

    async def merge(self, tenant: str, target: str, source: str, by: str | None, *, dry: bool = False) -> Effect:
        """Make one customer of two; the target's id stays. Two that are one already stay so.

        Args:
            tenant: the tenant.
            target: the customer id that stays.
            source: the customer id that goes, and leads to the target from then on.
            by: the source of the decision.
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

        async def work(tx: Transaction) -> None:
            batch, linker = await opened(tx, tenant, self._clock(), self._sections, (a, b))
            await linker.merge(a, b, self._stated(Rule.MERGE, by))
            await batch.finish(bounded=True)

        return await self._act(tenant, (a, b), work, dry=dry)

    async def unmerge(self, tenant: str, target: str, source: str, by: str | None, *, dry: bool = False) -> Effect:
        """Part two customers that were merged: each is again what it was, and they stay apart.

        What was told since goes with the identifier that it was told of; an identifier that came later stays with the
        side that it was linked to first.

        Raises:
            SelfLink: the two are the same.
            CustomerNotFound: one of them is not known.
            NotMerged: they are not one person.
        """
        a, b = customer(target), customer(source)
        if a == b:
            raise SelfLink("A customer cannot be parted from itself: name two customers.")
        return await self._part(tenant, a, b, Rule.UNMERGE, by, dry=dry)

    async def unlink(
        self, tenant: str, customer_id: str, identifier: Identifier, by: str | None, *, dry: bool = False
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
            return await self._part(tenant, a, identifier, Rule.UNLINK, by, dry=dry)
        except CustomerNotFound:
            await self._head(tenant, customer_id)
            raise NotMerged("This identifier is not the customer's: there is nothing to take back.") from None

    async def accept(self, tenant: str, a: Identifier, b: Identifier, by: str | None, *, dry: bool = False) -> Effect:
        """Make a link that a rule refused, and that waits for review, hold.

        Raises:
            NotMerged: no such link waits.
            LinkRefused: the profile would have too many identifiers.
        """

        async def work(tx: Transaction) -> None:
            batch, linker = await self._reviewed(tx, tenant, a, b)
            # A person's word, and so certain, whatever it was that they had before them.
            await linker.join(*await linker.as_given(a, b), self._stated(Rule.ACCEPTED, by))
            await batch.finish()

        return await self._act(tenant, (a, b), work, dry=dry)

    async def reject(self, tenant: str, a: Identifier, b: Identifier, by: str | None, *, dry: bool = False) -> Effect:
        """Turn a link down that waits for review, and keep the two apart.

        Raises:
            NotMerged: no such link waits.
            StillMerged: they are one person.
        """

        async def work(tx: Transaction) -> None:
            batch, linker = await self._reviewed(tx, tenant, a, b)
            await linker.ban(a, b, self._stated(Rule.REJECTED, by))
            await batch.finish()

        return await self._act(tenant, (a, b), work, dry=dry)

    async def keep_apart(
        self, tenant: str, a: Identifier, b: Identifier, by: str | None, *, dry: bool = False
    ) -> Effect:
        """Keep two identifiers from being one person, until they are merged, accepted or linked by hand.

        Raises:
            SelfLink: the two are the same.
            IdentifierNotFound: one of them belongs to nobody.
            StillMerged: they are one person.
        """
        if a == b:
            raise SelfLink("An identifier cannot be kept apart from itself: name two.")

        async def work(tx: Transaction) -> None:
            try:
                batch, linker = await opened(tx, tenant, self._clock(), self._sections, (a, b))
            except CustomerNotFound:
                raise IdentifierNotFound from None
            await linker.ban(a, b, self._stated(Rule.CANNOT_LINK, by))
            await batch.finish()

        return await self._act(tenant, (a, b), work, dry=dry)

    async def waiting(
        self, tenant: str, after: tuple[str, int, bytes] | None = None
    ) -> AsyncIterator[tuple[str, list[Waiting]]]:
        """Yield what waits for review, some customers at a time: the last customer id gone through, and what was found.

        By customer, of each what was told first; a link that waits at two customers' ends is the lower one's.

        Args:
            tenant: the tenant.
            after: the place after which to begin; None: at the start.
        """
        name = None
        if after is not None:
            name, *told = after
            head = await _known_head(self._store, tenant, name)
            if head is not None and head.merged_into is None:
                found = await self._waiting(tenant, {name: head.identifiers(name)})
                yield name, [one for one in found if one.place[1:] > tuple(told)]
        while page := await self._store.customers(tenant, name, CHUNK):
            name = page[-1][0]
            yield name, await self._waiting(tenant, {one: head.identifiers(one) for one, head in page})

    async def _waiting(self, tenant: str, members: Mapping[str, Sequence[Identifier]]) -> list[Waiting]:
        """Return what waits for review at some customers, in order."""
        links = await folding.load_states(
            self._store, tenant, LINKS, [one for held in members.values() for one in held]
        )
        candidates = {
            name: _candidates(folding.joined(LINKS, (links[one] for one in held)), held)
            for name, held in members.items()
        }
        others = {one.b for found in candidates.values() for one in found}
        owners = await self._store.resolve(tenant, others) if others else {}
        below = {
            (name, one): owners[one.b]
            for name, found in candidates.items()
            for one in found
            if one.b in owners and owners[one.b] < name
        }
        theirs = await folding.load_states(self._store, tenant, LINKS, {one.b for _, one in below})
        return sorted(
            (
                Waiting(name, owners.get(one.b), one)
                for name, found in candidates.items()
                for one in found
                if (name, one) not in below or _refused(ends_of(theirs[one.b], one.b).get(one.a, ())) is None
            ),
            key=lambda one: one.place,
        )

    async def cluster(self, tenant: str, customer_id: str) -> tuple[str, list[Identified]]:
        """Return a customer's surviving id and its identifiers, the surest first.

        Raises:
            CustomerNotFound: the customer is not known.
        """
        survivor, head = await self._head(tenant, customer_id)
        return survivor, identified(await self._links(tenant, head.identifiers(survivor)), self._now(head))

    async def explain(self, tenant: str, customer_id: str) -> Explanation:
        """Return why a customer's identifiers are one person.

        Raises:
            CustomerNotFound: the customer is not known.
        """
        survivor, head = await self._head(tenant, customer_id)
        members = head.identifiers(survivor)
        state = await self._links(tenant, members)
        graph, now = graph_of([state]), self._now(head)
        paths = graph.confidences(customer(survivor), now)
        return Explanation(
            survivor,
            # One that was taken from the customer between the two reads has no path any more.
            tuple(Why(one, paths[one.identifier][1]) for one in identified(state, now) if one.identifier in paths),
            tuple(graph.merges()),
            tuple(Apart(*pair, told) for pair, told in bans_of([state]).items()),
            _candidates(state, members),
            await self._crossovers(self._store, tenant, members),
        )

    async def _head(self, tenant: str, customer_id: str) -> tuple[str, Head]:
        """Return a customer's surviving id and head.

        Raises:
            CustomerNotFound: the customer is not known.
        """
        rows = await self._store.hashes(tenant, customer_id, ())
        if not rows or rows[0][1] is None:
            raise CustomerNotFound
        head = read_head(rows[0][1])
        if head.merged_into is not None:
            return await self._head(tenant, head.merged_into)
        return customer_id, head

    def _now(self, head: Head) -> int:
        """Return the present moment, for one customer: never before the last that was told, whatever the clock says."""
        return max(self._clock(), head.updated_at)

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
            held = await tx.tenant(tenant)
            before = rules.read(held.rules if held else None)
            if made.region != before.region and await tx.fact_identifiers(tenant, None, 1):
                raise InvalidRules(
                    "`region` decides in what form phone numbers are matched: it can be set only while the tenant has "
                    "no records."
                )
            await tx.set_rules(tenant, raw)

        await self._store.write(tenant, work)
        return made

    async def _part(
        self, tenant: str, a: Identifier, b: Identifier, rule: Rule, by: str | None, *, dry: bool
    ) -> Effect:
        async def work(tx: Transaction) -> None:
            batch, linker = await opened(tx, tenant, self._clock(), self._sections, (a, b))
            await linker.part(a, b, self._stated(rule, by))
            await batch.finish()

        return await self._act(tenant, (a, b), work, dry=dry)

    async def _act(
        self,
        tenant: str,
        identifiers: Sequence[Identifier],
        work: Callable[[Transaction], Awaitable[None]],
        *,
        dry: bool,
    ) -> Effect:
        """Do something to the profiles of some identifiers, and return what it does; with `dry` it is taken back."""

        async def whole(tx: Transaction) -> Effect:
            before = await _profiles(tx, tenant, identifiers)
            await work(tx)
            after = await _profiles(tx, tenant, {*identifiers, *(one for each in before for one in each.members)})
            crossed = {name for one in after for name in await self._crossovers(tx, tenant, one.members)}
            effect = Effect(before, after, tuple(sorted(crossed)))
            if dry:
                raise _Undone(effect)
            return effect

        try:
            return await self._store.write(tenant, whole)
        except _Undone as undone:
            return undone.effect

    async def _reviewed(self, tx: Transaction, tenant: str, a: Identifier, b: Identifier) -> tuple[Batch, Linker]:
        """Return what is needed to decide on a link that waits for review.

        Raises:
            NotMerged: none waits between these two.
        """
        if not await tx.resolve(tenant, [a]):
            raise _nothing_waits()
        batch, linker = await opened(tx, tenant, self._clock(), self._sections, [a], [b])
        (state,) = await batch.links((a,))
        one_person = batch.profile_of(a) == batch.profile_of(b)
        if _refused(told_of(state, a, b), one_person=one_person) is None:
            raise _nothing_waits()
        return batch, linker

    def _stated(self, rule: Rule, by: str | None) -> Stated:
        return Stated(1.0, by, rule)

    async def _links(self, tenant: str, members: Sequence[Identifier]) -> LinksState:
        states = await folding.load_states(self._store, tenant, LINKS, members)
        joined: LinksState = folding.joined(LINKS, states.values())
        return joined

    async def _crossovers(self, reads: Reads, tenant: str, members: Sequence[Identifier]) -> tuple[str, ...]:
        section = self._registry.find_stored("experiments")
        if section is None or len(members) < 2:
            return ()
        states = await folding.load_states(reads, tenant, section, members)
        state = folding.joined(section, states.values())
        told_at = state.told_at if isinstance(state, LatestState) else 0
        return crossovers(section, state, max(self._clock(), told_at))


class _Undone(Exception):  # no error: it takes a transaction back whose result was wanted only
    def __init__(self, effect: Effect) -> None:
        self.effect = effect


async def _profiles(reads: Reads, tenant: str, identifiers: Iterable[Identifier]) -> tuple[Profile, ...]:
    """Return the profiles of some identifiers, in order; one of nobody's is one without a customer id."""
    wanted = list(identifiers)
    # A customer's head says whose it is without a lock; resolving customer ids alone takes locks that a write needs,
    # and taken here, out of their order, they would only be in others' way.
    owners = await reads.resolve(tenant, [one for one in wanted if one.type != CUSTOMER_ID])
    for one in wanted:
        if one.type == CUSTOMER_ID and (head := await _known_head(reads, tenant, one.value)) is not None:
            owners[one] = head.merged_into or one.value
    members = await reads.members(tenant, set(owners.values()))
    found = {Profile(owner, tuple(held)) for owner, held in members.items()}
    found |= {Profile(None, (one,)) for one in wanted if one not in owners}
    return tuple(sorted(found, key=lambda one: (one.customer_id is None, one.customer_id or "", one.members)))


async def _known_head(reads: Reads, tenant: str, customer_id: str) -> Head | None:
    rows = await reads.hashes(tenant, customer_id, ())
    return known_head(rows[0][1]) if rows and rows[0][1] is not None else None


def _nothing_waits() -> NotMerged:
    return NotMerged("No link between these two waits for review. See the customer's candidates.")


def _refused(told: Sequence[Told], *, one_person: bool = False) -> Told | None:
    """Return the newest refusal of a link that no source's word made hold otherwise; None where there is none.

    What was split off was let through once, and is refused since: unless the two are one person for another reason, or
    somebody has taken the link back since.
    """
    if any(one.status == LINKED for one in told):
        return None
    back = [one.order for one in told if one.status == RETRACTED and one.rule != Rule.SPLIT]
    refused = (
        one
        for one in told
        if one.status != RETRACTED
        or (one.rule == Rule.SPLIT and not one_person and one.order > max(back, default=(0, b"")))
    )
    return max(refused, key=lambda one: one.order, default=None)


def _candidates(state: LinksState, members: Sequence[Identifier]) -> tuple[Candidate, ...]:
    apart, everyone = graph_of([state]).apart, set(members)
    return tuple(
        Candidate(one, other, told)
        for one in members
        for other, each in sorted(ends_of(state, one).items())
        if (told := _refused(each, one_person=other in everyone)) is not None
        and told.status not in {Reason.BLOCKED_VALUE, Reason.UNKNOWN_TYPE}
        and frozenset((one, other)) not in apart
    )  # fmt: skip
