"""What a storage engine promises. Small roles; each method's docstring is its contract, held by `conformance/`.

Three things hold for every method. The tenant comes first and bounds everything: no row of another tenant is read,
written or locked; the few methods without a tenant say so. Text compares by its UTF-8 bytes. Methods are coroutines,
whether or not an engine needs to wait.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol, TypeVar

from portrait.model.document import Document, Head
from portrait.model.fact import Fact
from portrait.model.identifier import Identifier

T = TypeVar("T")


class StoredState(NamedTuple):
    """A fold's state as stored."""

    body: bytes
    version: int
    """The version of the section's code that folded it."""


DocumentRow = tuple[str, bytes, bytes, int | None, int]
"""A `Document` as its fields, to be unpacked by their names: a profile has seven, and each is read once."""


class Changes(NamedTuple):
    """What a transaction changes of customers; None removes."""

    facts: Sequence[Fact] = ()
    """Each has an id of its own."""
    owners: Mapping[Identifier, str | None] = {}
    """The customer id of each identifier."""
    states: Mapping[tuple[Identifier, str], StoredState | None] = {}
    """By identifier and section."""
    documents: Mapping[tuple[str, str], Document | None] = {}
    """By customer id and section, `HEAD` among them."""


class Cursor(NamedTuple):
    """Where a page of facts ended: the next page begins just below it."""

    effective_at: int
    id: bytes


class FactsAsked(NamedTuple):
    """Asks for the facts of one key: those effective at just one moment, or all."""

    identifier: Identifier
    section: str
    key: str
    moment: int | None
    """In microseconds; None: all."""


class TenantRow(NamedTuple):
    """One company's space; nothing crosses from one to another."""

    id: str
    name: str
    created_at: int
    key_secret: bytes
    """Keys the hashes by which personal records are named in URLs."""
    rules: bytes | None = None
    """The tenant's identity rules as JSON; None: all as by default."""


class Credential(NamedTuple):
    """An API key as it is stored: its secret's hash, never the secret."""

    id: str
    tenant: str | None
    """None: the platform's own, which makes tenants and tenants' keys."""
    role: str
    name: str
    secret_hash: bytes
    last_four: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    minted_by: str | None = None
    """The id of the credential that minted it; None: it was made on the command line."""
    last_used_at: int | None = None
    """The last use that was noted; None: no use was noted yet."""
    grant: bytes | None = None
    """Of a write key what it takes in, as JSON: see `access.grants`."""


class RefusedEvent(NamedTuple):
    """One event that a client sent and that was refused, kept so that it can be looked at and taken after all."""

    id: bytes
    """16 bytes, the same for the same event of a source."""
    source: str
    form: str
    """The name of the family of clients that writes events so."""
    code: str
    """Why it was refused, for programs."""
    detail: str
    """The same for people."""
    received_at: int
    """In microseconds."""
    identifiers: tuple[Identifier, ...]
    """Those that could be read from it, each once."""
    body: bytes
    """The event as it was sent."""


class RejectCount(NamedTuple):
    """How many refused events of one source and for one reason are kept."""

    source: str
    code: str
    events: int
    bytes: int
    """Of their bodies."""


class ProfileReads(Protocol):
    """What a profile is answered from."""

    async def documents(self, tenant: str, customer_id: str, sections: Collection[str] | None) -> Sequence[DocumentRow]:
        """Return a customer's head (section `HEAD`) and documents, in one range scan.

        `sections` None: all; else only those, and the rows of others are not fetched. Order is free. An unknown
        customer has no rows.
        """
        ...

    async def hashes(self, tenant: str, customer_id: str, sections: Collection[str] | None) -> Sequence[DocumentRow]:
        """Return what `documents` returns, but the head alone with its body: others' are not read, and empty."""
        ...

    async def resolve(self, tenant: str, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        """Return the customer id of each identifier that has one."""
        ...

    async def all_documents(self, tenant: str, customer_ids: Collection[str]) -> dict[str, list[Document]]:
        """Return all documents of several customers, heads among them; a customer without documents is absent."""
        ...

    async def states(
        self, tenant: str, wanted: Collection[tuple[Identifier, str]]
    ) -> dict[tuple[Identifier, str], StoredState]:
        """Return the states that are stored of the (identifier, section) pairs wanted."""
        ...

    async def customers(self, tenant: str, after: str | None, limit: int) -> list[tuple[str, Head]]:
        """Return up to `limit` customers with ids above `after`, by id, without merged ones."""
        ...


class FactReads(Protocol):
    """The facts themselves. Orders are by (effective_at, id), which is (effective_at, recorded_at, id)."""

    async def events(
        self, tenant: str, identifiers: Collection[Identifier], section: str, before: Cursor | None, limit: int
    ) -> list[Fact]:
        """Return up to `limit` puts below `before` whose key their identifier has not deleted, newest first.

        The cost grows with `limit` and the deletes passed over, not with the history.
        """
        ...

    async def history(
        self,
        tenant: str,
        identifiers: Collection[Identifier],
        section: str,
        key: str,
        before: Cursor | None,
        limit: int,
    ) -> list[Fact]:
        """Return up to `limit` facts of a key below `before`, newest first.

        The cost grows with `limit`, not with the history of the key or the section.
        """
        ...

    async def known(self, tenant: str, wanted: Collection[FactsAsked]) -> dict[FactsAsked, list[Fact]]:
        """Return the facts that each question asks for, in no order; a question without facts is absent."""
        ...

    async def facts(self, tenant: str, identifiers: Collection[Identifier]) -> list[Fact]:
        """Return all facts of some identifiers: of each section of each deletes first, then oldest first."""
        ...


class AccessReads(Protocol):
    """Tenants and credentials."""

    async def tenant(self, tenant: str) -> TenantRow | None:
        """Return a tenant by id."""
        ...

    async def tenants(self, after: str | None, limit: int) -> list[TenantRow]:
        """Return up to `limit` tenants with ids above `after`, by id."""
        ...

    async def credential(self, credential_id: str) -> Credential | None:
        """Return a credential by its public id."""
        ...

    async def credentials(self, tenant: str | None, after: str | None, limit: int) -> list[Credential]:
        """Return up to `limit` credentials of a tenant (None: the platform's) with ids above `after`, by id."""
        ...

    async def descendants(
        self, tenant: str | None, credential_id: str, after: str | None, limit: int
    ) -> list[Credential]:
        """Return up to `limit` credentials that a credential minted, directly or in turn, by id, above `after`.

        Of a tenant only its own credentials, connected through its own alone. None: credentials of all tenants, for a
        key of the platform's.
        """
        ...


class CollectingReads(Protocol):
    """Rules for what clients send, and events of theirs that were refused."""

    async def collecting_rules(self, tenant: str) -> bytes | None:
        """Return a tenant's rules for collecting as JSON; None: all as by default."""
        ...

    async def rejects(
        self,
        tenant: str,
        after: bytes | None,
        limit: int,
        *,
        source: str | None = None,
        code: str | None = None,
        identifier: Identifier | None = None,
    ) -> list[RefusedEvent]:
        """Return up to `limit` refused events with ids above `after`, by id.

        Only those of one source, for one reason, or that name one identifier, where these are given.
        """
        ...

    async def count_rejects(self, tenant: str) -> list[RejectCount]:
        """Return how many refused events are kept, by source and reason, in order."""
        ...


class UpkeepReads(Protocol):
    """What rebuilding, checking and refreshing walk over."""

    async def fact_identifiers(self, tenant: str, after: Identifier | None, limit: int) -> list[Identifier]:
        """Return up to `limit` identifiers above `after` that have facts, in order."""
        ...

    async def members(self, tenant: str, customer_ids: Collection[str]) -> dict[str, list[Identifier]]:
        """Return the identifiers registered to each customer, ordered; a customer without any is absent.

        A profile's own identifiers stand in its head; this is what the register says, to compare.
        """
        ...

    async def with_facts(self, tenant: str, identifiers: Collection[Identifier]) -> set[Identifier]:
        """Return the identifiers, among these, that have facts."""
        ...

    async def derived_customers(self, tenant: str, after: str | None, limit: int) -> list[str]:
        """Return up to `limit` customer ids above `after` that have any document, head or identifier, in order."""
        ...

    async def derived_identifiers(self, tenant: str, after: Identifier | None, limit: int) -> list[Identifier]:
        """Return up to `limit` identifiers above `after` that are registered or have states, in order."""
        ...

    async def states_of(
        self, tenant: str, identifiers: Collection[Identifier]
    ) -> dict[tuple[Identifier, str], StoredState]:
        """Return every state that is stored of some identifiers, by identifier and section."""
        ...

    async def due(self, sections: Collection[str], now: int, limit: int) -> list[tuple[str, str, str]]:
        """Return up to `limit` (tenant, customer id, section) whose documents' `valid_until` has come, oldest first.

        Only of the sections named. This alone goes over all tenants: it is the service's own, for no caller.
        """
        ...


class Reads(ProfileReads, FactReads, AccessReads, CollectingReads, UpkeepReads, Protocol):
    """Everything that can be read."""


class FactWrites(Protocol):
    """What recording does, inside a transaction."""

    async def resolve_for_update(self, tenant: str, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        """Return what `resolve` does. The customers are locked next: an engine may lock them here already."""
        ...

    async def lock(self, tenant: str, customer_ids: Sequence[str]) -> dict[str, Head | None]:
        """Lock customers until the transaction ends, in byte order, and return their heads.

        A customer without a head is locked too (an engine may store an empty head for it) and is returned as None.
        Where this transaction has locked other customers already and another transaction has locked one of these, the
        work may be run again, with all of them locked before it begins.
        """
        ...

    async def claim(self, tenant: str, owners: Mapping[Identifier, str]) -> set[Identifier]:
        """Set the customer id of the identifiers that have none, and return these identifiers.

        Another transaction that claims one of them waits until this one ends.
        """
        ...

    async def apply(self, tenant: str, changes: Changes) -> None:
        """Append facts, and set or remove owners, states and documents.

        What is removed goes first; to remove what is not there is no error. What is asked for afterwards is as changed.
        """
        ...


class AccessWrites(Protocol):
    """What access does, inside a transaction."""

    async def put_tenant(self, tenant: TenantRow) -> bool:
        """Add a tenant; False, and nothing done, where its id is taken."""
        ...

    async def hold_rules(self, tenant: str, *, alone: bool = False) -> TenantRow | None:
        """Return a tenant by id, whose rules nobody sets until this transaction ends.

        Args:
            tenant: the tenant.
            alone: whether no other transaction may hold the rules: whoever sets them then sees all that was recorded
                under them.
        """
        ...

    async def set_rules(self, tenant: str, rules: bytes | None) -> None:
        """Set a tenant's identity rules, which this transaction holds alone; None: all as by default."""
        ...

    async def put_credential(self, credential: Credential) -> None:
        """Add a credential."""
        ...

    async def hold_credential(self, credential_id: str) -> Credential | None:
        """Return a credential by its public id; nobody revokes it, or any other, until this transaction ends.

        Whoever mints asks so for the minter: a transaction that has revoked any then sees all that was ever minted.
        """
        ...

    async def note_use(self, credential_id: str, at: int) -> None:
        """Note that a credential, of whichever tenant, was used; a later use that is noted stays."""
        ...

    async def revoke_credentials(self, tenant: str | None, credential_ids: Collection[str], at: int) -> set[str]:
        """Revoke the credentials of a tenant (None: of the platform) that are not revoked yet; return their ids."""
        ...


class CollectingWrites(Protocol):
    """What collecting does, inside a transaction, besides recording."""

    async def set_collecting_rules(self, tenant: str, rules: bytes | None) -> None:
        """Set a tenant's rules for collecting; None: all as by default."""
        ...

    async def put_rejects(self, tenant: str, rejects: Sequence[RefusedEvent]) -> None:
        """Keep refused events. One whose id is there already stays as it is."""
        ...

    async def remove_rejects(self, tenant: str, ids: Collection[bytes]) -> int:
        """Remove refused events, and return how many were there."""
        ...

    async def remove_rejects_before(self, moment: int, limit: int) -> int:
        """Remove up to `limit` refused events that were received before a moment, and return how many.

        This goes over all tenants: it is the service's own, for no caller.
        """
        ...


class Transaction(Reads, FactWrites, AccessWrites, CollectingWrites, Protocol):
    """Reads and writes that are seen by others all at once or never."""


Work = Callable[[Transaction], Awaitable[T]]
"""What is done in a transaction. It may be run more than once, so it changes nothing but through the transaction, and
it awaits nothing but the transaction's methods."""


class Store(Reads, Protocol):
    """One database. Reads outside a transaction see everything that was acknowledged before they began."""

    async def write(self, tenant: str | None, work: Work[T]) -> T:
        """Run work in a transaction and return its result once it is durable.

        Works of different tenants that wait have their turns one after another. A work whose caller stops waiting
        before it begins is not run.

        Args:
            tenant: whose work it is; None: the platform's.
            work: what is done.

        Raises:
            Unavailable: the database is busy, full, failing or closing, or too much waits; nothing of the work was
                kept.
            Exception: what the work raised; nothing of the work was kept.
        """
        ...

    @property
    def is_crowded(self) -> bool:
        """Whether so many reads wait for the database already that a further read would wait for long."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Reads]:
        """Return reads that all see one moment."""
        ...

    async def ready(self) -> None:
        """Return when the database answers.

        Raises:
            Unavailable: it does not.
        """
        ...

    async def revision(self) -> str:
        """Return the revision of the database's schema: see `storage.migrations`."""
        ...

    async def faults(self) -> list[str]:
        """Return what the database's own check of its files finds wrong; nothing where it is sound or has none."""
        ...

    async def close(self) -> None:
        """Finish the writes that were accepted, then let go of the database. Closing again does nothing."""
        ...
