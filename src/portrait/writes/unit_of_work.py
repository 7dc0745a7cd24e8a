"""One transaction's work: it locks customers, loads what deciding takes, and applies all that follows, once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from types import TracebackType
from typing import Self

from portrait.identity.graph import Profile, first_owner
from portrait.model.errors import PortraitError, SectionTooLarge
from portrait.model.fact import Fact, Op
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer
from portrait.sections.base import StoredSection
from portrait.sections.links import LINKS, shown_by
from portrait.storage.contract import Changes, FactsAsked, Transaction
from portrait.writes.derivation import Derivation
from portrait.writes.incoming import GivenIdentifier, Incoming
from portrait.writes.loaded_set import LoadedSet


class _Phase(Enum):
    OPEN = auto()
    DERIVED = auto()
    COMMITTED = auto()


class UnitOfWork(LoadedSet):
    """One transaction's working set, with the transaction: it loads, and commits once.

    As a context it commits at its end, unless that was done before or an error ends it.
    """

    def __init__(self, tx: Transaction, tenant: str, now: int, sections: Mapping[str, StoredSection]) -> None:
        super().__init__(tx, tenant, now, sections)
        self._phase = _Phase.OPEN
        self._changes = Changes()
        self.derivation = Derivation(self)

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, unless that was done or an error ends the work."""
        if error is None and self._phase is not _Phase.COMMITTED:
            await self.commit()

    async def open(
        self, named: Iterable[GivenIdentifier], mentioned: Iterable[Identifier] = (), *, claim: bool
    ) -> bool:
        """Resolve and lock the customers of some identifiers; tell whether all are known.

        A merge in between shows under the lock, in the head: then they are resolved again, so that no fact goes to
        a customer that was merged away. With `claim`, an identifier that is not known yet makes its customer known.

        Args:
            named: the identifiers that get facts.
            mentioned: other identifiers that are named; one that is new belongs to nobody until it is linked.
            claim: whether identifiers may be new.
        """
        values = dict(named)
        wanted = list(dict.fromkeys((*values, *mentioned)))
        new = await self._enter(wanted, claim=claim)
        if new is None:
            return False
        if len(wanted) > len(values):
            # A decision on two is later than all facts of either: which came first is seen by that.
            self.level()
        unnamed = []
        for identifier in new:
            if identifier not in values:
                continue
            if identifier.type == CUSTOMER_ID:
                self.adopt(identifier)
            else:
                unnamed.append(identifier)
        # An unlinked, unowned identifier may still carry bans.
        await self.load(LINKS, unnamed)
        for identifier in unnamed:
            anchor = customer(self.made_for(identifier))
            self.regroup((), [Profile(anchor.value, tuple(sorted((anchor, identifier))))])
            self.found_customer(GivenIdentifier(identifier, values[identifier]), anchor)
        return True

    async def reach(self, identifiers: Iterable[Identifier]) -> None:
        """Lock the customers of further identifiers; an identifier of nobody's is kept from others until the end.

        A customer id that has no facts is passed over.
        """
        missing = [identifier for identifier in dict.fromkeys(identifiers) if not self.is_here(identifier)]
        unseen = [identifier for identifier in missing if identifier.type == CUSTOMER_ID]
        known = await self.tx.resolve_for_update(self.tenant, unseen) if unseen else {}
        missing = [identifier for identifier in missing if identifier.type != CUSTOMER_ID or identifier in known]
        if missing:
            await self._enter(missing, claim=True)

    async def _enter(self, wanted: Sequence[Identifier], *, claim: bool) -> list[Identifier] | None:
        """Resolve and lock the customers of identifiers, and return those that are new; None: some are, unclaimed."""
        while True:
            resolved = await self.tx.resolve_for_update(self.tenant, wanted)
            owners = {identifier: owner for identifier, owner in resolved.items() if identifier not in self.claimed}
            new = [identifier for identifier in wanted if identifier not in owners]
            if new and not claim:
                return None
            own = [owner for identifier in new if (owner := first_owner(identifier)) is not None]
            needed = {*owners.values(), *own} - self.heads.keys()
            if needed:
                self.heads |= await self.tx.lock(self.tenant, sorted(needed))
                confirmed = all(self.confirms(identifier, owner) for identifier, owner in owners.items())
                if not confirmed or any(self.heads[owner] for owner in own):
                    continue
            unclaimed = {
                identifier: self.made_for(identifier)
                for identifier in new
                if identifier.type != CUSTOMER_ID and identifier not in self.claimed
            }
            taken = await self.tx.claim(self.tenant, unclaimed) if unclaimed else set()
            self.claimed |= {identifier: unclaimed[identifier] for identifier in taken}
            if len(taken) == len(unclaimed):
                break
        for identifier in new:
            if identifier.type == CUSTOMER_ID:
                self.put_state((LINKS.name, identifier), LINKS.fold.empty())
        self.settle(owners, new, {*owners.values(), *own})
        return new

    async def with_records(self, identifiers: Iterable[Identifier]) -> set[Identifier]:
        """Return those of some identifiers that have facts of any section but links."""
        wanted = set(identifiers)
        added = {fact.identifier for fact in self.facts if fact.section != LINKS.name} & wanted
        known = wanted - added - self.new
        states = await self.tx.states_of(self.tenant, known) if known else {}
        return added | {identifier for identifier, section in states if section != LINKS.name}

    async def known(self, incoming: Sequence[Incoming], asked: Sequence[FactsAsked]) -> dict[FactsAsked, list[Fact]]:
        """Load what deciding on records takes: the states, and the facts that they may repeat or end."""
        wanted: set[FactsAsked] = set()
        sections: dict[str, StoredSection] = {}
        needed: defaultdict[str, set[Identifier]] = defaultdict(set)
        for record, question in zip(incoming, asked, strict=True):
            if not self.is_known(record.identifier):
                continue
            section = record.section
            sections[section.name] = section
            needed[section.name].add(record.identifier)
            if record.op is Op.DELETE:
                members = self.members_of(record.identifier)
                needed[section.name].update(members)
                wanted.update(question._replace(identifier=member) for member in members if member not in self.new)
            elif record.identifier in self.new:
                continue  # it has no facts
            elif section.kind == "events" or question.moment is not None or section.grants is not None:
                wanted.add(question)
        for name, identifiers in needed.items():
            section = sections[name]
            if shown_by(section) is section:  # the document is made of all members' states: one look-up for both
                identifiers.update([member for identifier in identifiers for member in self.members_of(identifier)])
            await self.load(section, identifiers)
        return await self.tx.known(self.tenant, wanted) if wanted else {}

    async def derive(self) -> Mapping[tuple[str, str], PortraitError]:
        """Derive what follows from the facts, after which none are added; return why sections cannot be shown.

        The errors are by section and customer id.
        """
        assert self._phase is _Phase.OPEN, "a unit of work is derived once"
        self._phase, self.is_final = _Phase.DERIVED, True
        await self._lock_aliases()
        await self.derivation.load()
        self._changes = self.derivation.changes()
        return self.derivation.unfit

    async def commit(self, *, bounded: bool = False) -> None:
        """Apply the facts, and all that follows from them: at once, as reading is done.

        Args:
            bounded: whether a section that would be too large is refused; else it shows that it is.

        Raises:
            SectionTooLarge: a section would be too large, and is `bounded`.
        """
        if self._phase is _Phase.OPEN:
            await self.derive()
        assert self._phase is _Phase.DERIVED, "a unit of work is committed once"
        for error in self.derivation.unfit.values() if bounded else ():
            if isinstance(error, SectionTooLarge):
                raise error
        self._phase = _Phase.COMMITTED
        await self.tx.apply(self.tenant, self._changes)

    async def _lock_aliases(self) -> None:
        """Lock customers that were or are merged away: their heads change, and writers of theirs may hold them."""
        if unlocked := (self.regrouped | self.merged.keys()) - self.heads.keys():
            self.heads |= await self.tx.lock(self.tenant, sorted(unlocked))
