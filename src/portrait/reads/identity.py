"""Why identifiers are one person, and what waits for somebody to decide whether they are."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from portrait import projection
from portrait.identity.graph import LINKED, RETRACTED, Link, LinkRecord, Merge
from portrait.identity.rules import Reason
from portrait.model.document import Document, Head, known_head, read_head
from portrait.model.errors import CustomerNotFound
from portrait.model.identifier import Identifier, customer
from portrait.model.time import Clock
from portrait.sections.experiments import crossovers
from portrait.sections.fold import LatestState
from portrait.sections.links import LINKS, Identified, LinksState, bans_of, ends_of, graph_of, identified, only_bans
from portrait.sections.registry import Registry
from portrait.storage.contract import Reads, Store

CUSTOMERS_AT_ONCE = 100
"""How many customers are looked up at once for what waits for review."""
IDENTIFIERS_AT_ONCE = 50
"""Of how many identifiers the links are loaded at once; between two such loads others have their turn."""


class Candidate(NamedTuple):
    """A link that a rule refused, or that matching is not sure of, waiting for review."""

    a: Identifier
    b: Identifier
    record: LinkRecord

    @property
    def reason(self) -> Reason:
        """Why it was refused."""
        return Reason.SHARED_IDENTIFIER if self.record.status == RETRACTED else Reason(self.record.status)


class Waiting(NamedTuple):
    """A candidate, and the customers that its two ends belong to."""

    customer_id: str
    other_id: str | None
    """None: the other end belongs to no customer yet."""
    candidate: Candidate

    @property
    def cursor(self) -> tuple[str, int, bytes]:
        """Where it stands among all waiting candidates of its tenant."""
        return self.customer_id, self.candidate.record.recorded_at, self.candidate.record.id


class Reviewed(NamedTuple):
    """The candidates that wait for review at some customers."""

    last: str
    """The last customer id."""
    waiting: list[Waiting]
    """The waiting candidates, in order."""
    identifiers: int
    """How many identifiers the customers have."""


class Why(NamedTuple):
    """One identifier of a customer's, and the path of links that makes it the customer's."""

    identified: Identified
    path: tuple[Link, ...]


class Apart(NamedTuple):
    """Two identifiers that are not to be one person."""

    a: Identifier
    b: Identifier
    record: LinkRecord
    """The record that keeps them apart."""


class Explanation(NamedTuple):
    """Why identifiers are one person, and what is known beside."""

    customer_id: str
    why: tuple[Why, ...]
    merges: tuple[Merge, ...]
    apart: tuple[Apart, ...]
    candidates: tuple[Candidate, ...]
    crossovers: tuple[str, ...]


class Explainer:
    """Explains the identity graph; changes nothing."""

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock

    async def waiting(self, tenant: str, after: tuple[str, int, bytes] | None = None) -> AsyncIterator[Reviewed]:
        """Yield what waits for review, some customers at a time.

        By customer, for each the earliest recorded first. A link that waits at two customers is listed at the lower id.

        Args:
            tenant: the tenant.
            after: the cursor after which to begin; None: at the start.
        """
        name = None
        if after is not None:
            name, *cursor = after
            head = await known_head_of(self._store, tenant, name)
            if head is not None and head.merged_into is None:
                some = await self._reviewed(tenant, {name: head.identifiers(name)})
                yield some._replace(waiting=[link for link in some.waiting if link.cursor[1:] > tuple(cursor)])
        while page := await self._store.customers(tenant, name, CUSTOMERS_AT_ONCE):
            members: dict[str, Sequence[Identifier]] = {}
            for name, head in page:
                members[name] = head.identifiers(name)
                if name == page[-1][0] or sum(map(len, members.values())) >= IDENTIFIERS_AT_ONCE:
                    yield await self._reviewed(tenant, members)
                    members = {}

    async def _reviewed(self, tenant: str, members: Mapping[str, Sequence[Identifier]]) -> Reviewed:
        """Go through some customers, in order, for what waits for review."""
        of = {identifier: name for name, identifiers in members.items() for identifier in identifiers}
        everyone = {name: frozenset(identifiers) for name, identifiers in members.items()}
        candidates: list[tuple[str, Candidate]] = []
        bans: dict[str, list[LinksState]] = {name: [] for name in members}
        async for identifier, state in self._links_of(tenant, of):
            candidates += ((of[identifier], each) for each in _refusals(state, identifier, everyone[of[identifier]]))
            bans[of[identifier]].append(only_bans(state))
        apart = {(name, frozenset(pair)) for name, some in bans.items() for pair in bans_of(some)}
        waiting = [
            (name, candidate)
            for name, candidate in candidates
            if (name, frozenset((candidate.a, candidate.b))) not in apart
        ]
        others = {candidate.b for _, candidate in waiting}
        owners = await self._store.resolve(tenant, others) if others else {}
        below = {
            (name, candidate) for name, candidate in waiting if candidate.b in owners and owners[candidate.b] < name
        }
        theirs = {
            identifier: state
            async for identifier, state in self._links_of(tenant, {candidate.b for _, candidate in below})
        }
        undecided = [
            Waiting(name, owners.get(candidate.b), candidate)
            for name, candidate in waiting
            if (name, candidate) not in below
            or refused(ends_of(theirs[candidate.b], candidate.b).get(candidate.a, ())) is None
        ]
        return Reviewed(max(members), sorted(undecided, key=lambda link: link.cursor), len(of))

    async def _links_of(
        self, tenant: str, identifiers: Collection[Identifier]
    ) -> AsyncIterator[tuple[Identifier, LinksState]]:
        """Yield the links of identifiers, each by itself; some are loaded at once, then others have their turn."""
        wanted = list(identifiers)
        for begin in range(0, len(wanted), IDENTIFIERS_AT_ONCE):
            some = wanted[begin : begin + IDENTIFIERS_AT_ONCE]
            for identifier, state in (await projection.load_states(self._store, tenant, LINKS, some)).items():
                yield identifier, state
            await asyncio.sleep(0)  # reading from SQLite gives nobody a turn

    async def cluster(self, tenant: str, customer_id: str) -> tuple[str, list[Identified]]:
        """Return a customer's surviving id and its identifiers, the surest first.

        Raises:
            CustomerNotFound: the customer is not known.
        """
        survivor, head = await head_of(self._store, tenant, customer_id)
        return survivor, identified(await self._links(tenant, head.identifiers(survivor)), self._now(head))

    async def explain(self, tenant: str, customer_id: str) -> Explanation:
        """Return why a customer's identifiers are one person.

        Raises:
            CustomerNotFound: the customer is not known.
        """
        survivor, head = await head_of(self._store, tenant, customer_id)
        members = head.identifiers(survivor)
        everyone = frozenset(members)
        state = await self._links(tenant, members)
        graph, now = graph_of([state]), self._now(head)
        paths = graph.confidences(customer(survivor), now)
        return Explanation(
            survivor,
            # An identifier that left the customer between the two reads has no path any more.
            tuple(
                Why(member, paths[member.identifier][1])
                for member in identified(state, now)
                if member.identifier in paths
            ),
            tuple(graph.merges()),
            tuple(Apart(*pair, record) for pair, record in bans_of([state]).items()),
            tuple(
                each
                for identifier in members
                for each in _refusals(state, identifier, everyone)
                if frozenset((identifier, each.b)) not in graph.apart
            ),
            await crossovers_of(self._store, tenant, self._registry, members, self._clock()),
        )

    def _now(self, head: Head) -> int:
        """Return the present moment, for one customer: never before its last recording, whatever the clock says."""
        return max(self._clock(), head.updated_at)

    async def _links(self, tenant: str, members: Sequence[Identifier]) -> LinksState:
        states = await projection.load_states(self._store, tenant, LINKS, members)
        joined: LinksState = projection.joined(LINKS, states.values())
        return joined


async def head_of(reads: Reads, tenant: str, customer_id: str) -> tuple[str, Head]:
    """Return a customer's surviving id and head.

    Raises:
        CustomerNotFound: the customer is not known.
    """
    rows = await reads.hashes(tenant, customer_id, ())
    if not rows:
        raise CustomerNotFound
    head = read_head(Document(*rows[0]).body)
    if head.merged_into is not None:
        return await head_of(reads, tenant, head.merged_into)
    return customer_id, head


async def known_head_of(reads: Reads, tenant: str, customer_id: str) -> Head | None:
    """Return the head that is stored under a customer id; None where there is none, or it is damaged."""
    rows = await reads.hashes(tenant, customer_id, ())
    return known_head(Document(*rows[0]).body) if rows else None


async def crossovers_of(
    reads: Reads, tenant: str, registry: Registry, members: Sequence[Identifier], now: int
) -> tuple[str, ...]:
    """Return the experiments in which a profile of these identifiers has had two variants."""
    section = registry.find_stored("experiments")
    if section is None or len(members) < 2:
        return ()
    states = await projection.load_states(reads, tenant, section, members)
    state = projection.joined(section, states.values())
    told_at = state.told_at if isinstance(state, LatestState) else 0
    return crossovers(section, state, max(now, told_at))


def refused(records: Sequence[LinkRecord], *, one_person: bool = False) -> LinkRecord | None:
    """Return the newest refused claim of a link; None where a claim holds or no claim was refused.

    What an earlier version split off is refused, unless the two are one person for another reason.
    """
    if any(record.status == LINKED for record in records):
        return None
    every = (record for record in records if record.status != RETRACTED or not one_person)
    return max(every, key=lambda record: (record.at, record.confidence, record.source or ""), default=None)


def _refusals(state: LinksState, identifier: Identifier, everyone: Collection[Identifier]) -> Iterator[Candidate]:
    """Yield the links of one of a profile's identifiers that were refused and may be decided on, bans aside."""
    for other, each in sorted(ends_of(state, identifier).items()):
        record = refused(each, one_person=other in everyone)
        if record is not None and record.status not in {Reason.BLOCKED_VALUE, Reason.UNKNOWN_TYPE}:
            yield Candidate(identifier, other, record)
