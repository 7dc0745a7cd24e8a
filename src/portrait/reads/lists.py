"""The way out, in pages: a section's records, the facts of one, the customers."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from portrait import projection
from portrait.computed import Reports
from portrait.model.document import Head
from portrait.model.errors import SectionFailed, Unavailable
from portrait.model.fact import Fact
from portrait.model.identifier import Identifier
from portrait.model.time import Clock
from portrait.reads.identity import head_of
from portrait.sections.base import StoredSection
from portrait.sections.fold import Held
from portrait.storage.contract import Cursor, Store

T = TypeVar("T")
_key = attrgetter("key")


class Listed(NamedTuple):
    """One record, and when and by whom it was recorded."""

    key: str
    body: bytes
    effective_at: int
    recorded_at: int
    source: str | None
    id: bytes


class Some(NamedTuple, Generic[T]):
    """A page's items, and whether others follow."""

    items: Sequence[T]
    more: bool


class Lists:
    """Answers lists."""

    def __init__(self, store: Store, clock: Clock, reports: Reports) -> None:
        self._store = store
        self._clock = clock
        self._reports = reports

    async def states(
        self, tenant: str, customer_id: str, section: StoredSection, after: str | None, limit: int
    ) -> Some[Listed]:
        """Return up to `limit` records of a state section that count now, by key, with keys above `after`.

        A key is never parted: where a plugin shows several records of one, the page holds all of them.

        Raises:
            CustomerNotFound: the tenant knows no such customer.
            SectionFailed: the section's own code failed.
        """
        state, now = await self._state(tenant, customer_id, section)
        with self._own_code(tenant, section):
            live = section.state_fold.live(state, now)
            return _page(section, sorted(live, key=lambda row: (row.key, row.history)), _key, after, limit)

    async def upcoming(
        self, tenant: str, customer_id: str, section: StoredSection, after: tuple[int, str] | None, limit: int
    ) -> Some[Listed]:
        """Return up to `limit` records of a state section that will count, the soonest first.

        Each record has the moment from which it counts; `after` is the moment and the key with which a page ended.

        Raises:
            CustomerNotFound: the tenant knows no such customer.
            SectionFailed: the section's own code failed.
        """
        state, now = await self._state(tenant, customer_id, section)
        with self._own_code(tenant, section):
            ahead = section.state_fold.upcoming(state, now)
            return _page(section, sorted(ahead, key=lambda row: (*_due(row), row.history)), _due, after, limit)

    async def events(
        self,
        tenant: str,
        customer_id: str,
        section: StoredSection,
        before: Cursor | None,
        limit: int,
        *,
        upcoming: bool = False,
    ) -> Some[Listed]:
        """Return up to `limit` events that were not deleted, newest first, below `before`.

        With `upcoming` only the events that lie ahead.

        Raises:
            CustomerNotFound: the tenant knows no such customer.
            SectionFailed: the section's own code failed.
        """
        survivor, head = await head_of(self._store, tenant, customer_id)
        facts = await self._visible(tenant, section, head.identifiers(survivor), before, limit + 1)
        if upcoming:
            now = self._now(head)
            facts = [fact for fact in facts if fact.effective_at > now]
        return Some(
            [
                Listed(fact.key, fact.body, fact.effective_at, fact.recorded_at, fact.source, fact.id)
                for fact in self._brought_forward(tenant, section, facts[:limit])
            ],
            len(facts) > limit,
        )

    async def _visible(
        self, tenant: str, section: StoredSection, members: Sequence[Identifier], before: Cursor | None, limit: int
    ) -> list[Fact]:
        """Return up to `limit` events that a customer shows, newest first, below `before`."""
        facts: list[Fact] = []
        while page := await self._store.events(tenant, members, section.name, before, limit):
            with self._own_code(tenant, section):
                facts += await projection.first_recorded(self._store, tenant, section, members, page)
            before = Cursor(page[-1].effective_at, page[-1].id)
            if len(facts) >= limit or len(page) < limit:
                break
        return facts[:limit]

    async def history(
        self, tenant: str, customer_id: str, section: StoredSection, key: str, before: Cursor | None, limit: int
    ) -> Some[Fact]:
        """Return up to `limit` facts of a record's key, newest first, below `before`.

        Raises:
            CustomerNotFound: the tenant knows no such customer.
            SectionFailed: the section's own code failed.
        """
        survivor, head = await head_of(self._store, tenant, customer_id)
        members = head.identifiers(survivor)
        facts = await self._store.history(tenant, members, section.name, key, before, limit + 1)
        told = [section.as_told(fact) for fact in self._brought_forward(tenant, section, facts[:limit])]
        return Some(told, len(facts) > limit)

    async def customers(self, tenant: str, after: str | None, limit: int) -> Some[tuple[str, Head]]:
        """Return up to `limit` customers with ids above `after`, by id."""
        customers = await self._store.customers(tenant, after, limit + 1)
        return Some(customers[:limit], len(customers) > limit)

    async def _state(self, tenant: str, customer_id: str, section: StoredSection) -> tuple[Any, int]:
        """Return a customer's state in a section, and the present moment.

        Raises:
            CustomerNotFound: the tenant knows no such customer.
            SectionFailed: the section's own code failed.
        """
        survivor, head = await head_of(self._store, tenant, customer_id)
        now = self._now(head)
        with self._own_code(tenant, section):
            return await projection.load_joined(self._store, tenant, section, head.identifiers(survivor), now), now

    def _now(self, head: Head) -> int:
        """Return the present moment: never before the last recording, whatever the clock says."""
        return max(self._clock(), head.updated_at)

    def _brought_forward(self, tenant: str, section: StoredSection, facts: Sequence[Fact]) -> list[Fact]:
        with self._own_code(tenant, section):
            return [section.bring_forward(fact) for fact in facts]

    @contextmanager
    def _own_code(self, tenant: str, section: StoredSection) -> Iterator[None]:
        """Name the section where its own code fails; what an `upgrade` returned wrongly is no fault of the request's.

        Raises:
            SectionFailed: the section's own code failed.
        """
        try:
            yield
        except Unavailable:
            raise
        except Exception as error:
            self._reports.warn(section.name, tenant, "failed", "failed", error)
            raise SectionFailed.of(section.name) from error


def _due(row: Held) -> tuple[int, str]:
    """Return from when on a record counts, and its key."""
    return row.entry.since, row.key


def _page(
    section: StoredSection, ordered: Sequence[Held], cursor: Callable[[Held], Any], after: Any, limit: int
) -> Some[Listed]:
    """Return up to `limit` records above the cursor `after`; records with the same cursor stay on one page."""
    begin = 0 if after is None else bisect_right(ordered, after, key=cursor)
    end = begin + limit
    while begin < end < len(ordered) and cursor(ordered[end]) == cursor(ordered[end - 1]):
        end += 1
    items = [
        Listed(
            row.key, section.shape.encode(row.record), row.entry.since, row.entry.recorded_at, row.entry.source,
            row.entry.id,
        )
        for row in ordered[begin:end]
    ]  # fmt: skip
    return Some(items, end < len(ordered))
