"""The customers that a transaction has locked: their heads, and whose identifiers are whose. No I/O."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from portrait.identity.graph import Profile, aliases, first_owner
from portrait.model.document import Head
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer, generated


class LockedCustomers:
    """Customers that are locked, as they were and as they will be.

    Args:
        now: the present moment, in microseconds.
    """

    def __init__(self, now: int) -> None:
        self.now = now
        self.heads: dict[str, Head | None] = {}
        """As they were when they were locked; None: of a customer that is new."""
        self.owners: dict[Identifier, str] = {}
        self.members: dict[str, Sequence[Identifier]] = {}
        self.new: set[Identifier] = set()
        """Identifiers that belonged to nobody when they were looked up."""
        self.claimed: dict[Identifier, str] = {}
        """Of the new ones those that are registered already, for nobody else to take them, and as whose."""
        self.merged: dict[str, str] = {}
        """Customers that were merged away, with those that stay."""
        self.regrouped: set[str] = set()
        """Customers whose identifiers are others now."""
        self._made: dict[Identifier, str] = {}
        """The customer ids that are made for new identifiers."""
        self.before: dict[Identifier, Profile] = {}
        """The profiles as they were when they were locked."""
        self._latest: dict[str, int] = {}
        """The latest moment at which a fact of each customer was recorded, in microseconds; not before now."""

    def made_for(self, identifier: Identifier) -> str:
        """Return the customer id that is made for an identifier that belongs to nobody: always the same."""
        return self._made.setdefault(identifier, generated().value)

    def confirms(self, identifier: Identifier, owner: str) -> bool:
        """Tell whether a customer's head, now that it is locked, says that an identifier is the customer's."""
        head = self.heads[owner]
        return head is not None and head.merged_into is None and identifier in head.identifiers(owner)

    def settle(self, owners: Mapping[Identifier, str], new: Iterable[Identifier], concerned: Collection[str]) -> None:
        """Note whose identifiers are whose.

        Args:
            owners: the owner of each identifier that has one.
            new: the identifiers that belong to nobody.
            concerned: the customers that are meant; others that are locked were merged away meanwhile.
        """
        self.new.update(new)
        for owner in concerned - self.members.keys():
            head = self.heads[owner]
            self.members[owner] = members = head.identifiers(owner) if head else (customer(owner),)
            if head:
                self.owners |= dict.fromkeys(members, owner)
                self.before |= dict.fromkeys(members, Profile(owner, tuple(members)))
        self.owners |= owners
        # A customer's next fact is recorded later than its latest, whatever this machine's clock says.
        for owner, head in self.heads.items():
            self._latest.setdefault(owner, max(self.now, head.updated_at if head else 0))

    def level(self) -> None:
        """Let all customers' next facts be recorded after the latest of any of them."""
        if self._latest:
            self._latest = dict.fromkeys(self._latest, max(self._latest.values()))

    def adopt(self, identifier: Identifier) -> None:
        """Let a customer id that is new be the customer's own."""
        assert identifier.type == CUSTOMER_ID
        self.owners[identifier] = identifier.value

    def is_here(self, identifier: Identifier) -> bool:
        """Tell whether an identifier's customer is locked, or it belongs to nobody and is kept from others."""
        return identifier in self.owners or identifier in self.new or identifier in self.before

    def is_known(self, identifier: Identifier) -> bool:
        """Tell whether an identifier belongs to a customer."""
        return identifier in self.owners

    def members_of(self, identifier: Identifier) -> Sequence[Identifier]:
        """Return all identifiers of the customer that an identifier belongs to."""
        return self.members[self.owners[identifier]]

    def profile_of(self, identifier: Identifier) -> Profile:
        """Return the profile that an identifier belongs to; one of its own where it belongs to nobody yet."""
        owner = self.owners.get(identifier)
        if owner is None:
            return Profile(first_owner(identifier), (identifier,))
        return Profile(owner, tuple(self.members[owner]))

    def profiles_of(self, identifiers: Iterable[Identifier]) -> list[Profile]:
        """Return the profiles that some identifiers belong to, each profile once."""
        first_of: dict[str, Identifier] = {}
        unowned = []
        for identifier in identifiers:
            owner = self.owners.get(identifier)
            if owner is None:
                unowned.append(identifier)
            else:
                first_of.setdefault(owner, identifier)
        return [self.profile_of(identifier) for identifier in (*first_of.values(), *unowned)]

    def profile_before(self, identifier: Identifier) -> Profile | None:
        """Return the profile that an identifier belonged to when it was locked; None: to none, or it is not here."""
        return self.before.get(identifier)

    def profile_after(self, identifier: Identifier) -> Profile | None:
        """Return the profile that an identifier belongs to from now on; None: to none, or it is not here."""
        return self.profile_of(identifier) if identifier in self.owners else None

    def recorded_at(self, identifier: Identifier) -> int:
        """Return when the latest fact of an identifier's customer was recorded, in microseconds; not before now."""
        return self._latest.get(self.owners.get(identifier, ""), self.now)

    def recorded_at_of(self, owner: str) -> int:
        """Return when a customer's latest fact was recorded, in microseconds; not before now."""
        return self._latest.get(owner, self.now)

    def advance(self, owners: Iterable[str], moment: int) -> None:
        """Note that a fact of some customers was recorded at a moment."""
        self._latest |= dict.fromkeys(owners, moment)

    def tick(self, identifier: Identifier) -> int:
        """Return the moment at which the next fact of an identifier's customer is recorded."""
        owner = self.owners[identifier]
        self._latest[owner] += 1
        return self._latest[owner]

    def regroup(self, before: Iterable[Profile], after: Sequence[Profile], not_before: int = 0) -> None:
        """Have identifiers belong to other profiles from now on.

        Args:
            before: the profiles as they were, of customers that are locked.
            after: the profiles that the same identifiers form; those without a customer id belong to nobody.
            not_before: the next fact of each profile is recorded after this moment, in microseconds.
        """
        known = [owner for profile in before if (owner := profile.customer_id) is not None]
        latest = max(self.now, not_before, *(self._latest.get(owner, 0) for owner in known))
        for owner in known:
            self.members.pop(owner, None)
        self.regrouped.update(known)
        for profile in after:
            new_owner = profile.customer_id
            for identifier in profile.members:
                if new_owner is None:
                    self.owners.pop(identifier, None)
                else:
                    self.owners[identifier] = new_owner
            if new_owner is not None:
                self.members[new_owner] = profile.members
                self._latest[new_owner] = max(latest, self._latest.get(new_owner, 0))
                self.regrouped.add(new_owner)
                self.merged.pop(new_owner, None)
                self.merged |= dict.fromkeys(aliases(profile), new_owner)

    def only_gained(self, owner: str) -> bool:
        """Tell whether a customer kept all its identifiers, and gained only identifiers that have no facts yet."""
        head = self.heads.get(owner)
        before = set(head.identifiers(owner)) if head else set()
        after = set(self.members.get(owner, ()))
        return not (head and head.merged_into) and before <= after and after - before <= self.new
