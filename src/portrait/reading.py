"""The way out: documents to one JSON answer, spliced as bytes; computed sections beside them."""

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from portrait import folding
from portrait.computed import Computed, Context, Part
from portrait.model.document import HEAD, Document, Head, content_hash, read_head
from portrait.model.errors import CustomerNotFound, SectionForbidden, UnknownSection
from portrait.model.fact import Fact
from portrait.model.identifier import Identifier
from portrait.model.time import Clock, rfc3339_millis
from portrait.sections.base import ComputedSection, StoredSection
from portrait.sections.links import shown_by
from portrait.sections.registry import Registry
from portrait.storage.contract import Place, Store

_encode_json = msgspec.json.Encoder().encode
_EMPTY = b"[]"
_EMPTY_HASH = content_hash(_EMPTY)


class Planned(NamedTuple):
    """One section of an answer."""

    name: str
    opening: bytes
    """The JSON between the section before, or the head, and this one's data."""
    section: StoredSection | ComputedSection
    version: int | None
    """The version that a stored document must have; None: the section is computed."""


class Plan(NamedTuple):
    """Which sections an answer holds, worked out once per role and query."""

    parts: tuple[Planned, ...]
    names: tuple[str, ...] | None
    """The documents to fetch; None: all."""
    computed: tuple[ComputedSection, ...]
    identity: bytes
    """Tells the ETags of one selection from those of another."""


class Profile(NamedTuple):
    """A unified profile, ready to send but for its moment."""

    customer_id: str
    """The surviving id, where the one asked for was merged away."""
    etag: str | None
    """Weak, quoted; None where a computed section is included."""
    parts: tuple[bytes, ...]
    """The JSON up to the end of the last section's data, in pieces."""

    def json(self, now: int) -> bytes:
        """Return the answer's body, computed at this moment."""
        return b"".join((*self.parts, b'}],"computedAt":"%b"}' % rfc3339_millis(now).encode()))


class Listed(NamedTuple):
    """One record with what is known of its telling."""

    key: str
    body: bytes
    effective_at: int
    recorded_at: int
    source: str | None
    id: bytes


class Reader:
    """Answers profiles and lists."""

    def __init__(
        self, store: Store, registry: Registry, clock: Clock, computed: Computed, overtaken: folding.Overtaken
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._computed = computed
        self._overtaken = overtaken

    def plan(self, role: str, names: Sequence[str] | None) -> Plan:
        """Return the plan for the sections asked for, or for the full profile (None).

        Raises:
            UnknownSection: none is named, or one that is not registered.
            SectionForbidden: one is named that the role may not read.
        """
        if names is None:
            sections = tuple(one for one in self._registry if one.default and role in one.roles)
        else:
            sections = tuple(self._asked(role, name) for name in dict.fromkeys(names))
            if not sections:
                raise self._registry.unknown()
        stored = tuple(one.name for one in sections if isinstance(one, StoredSection))
        parts = tuple(
            Planned(
                one.name,
                b'%b{"name":%b,"data":' % (b"}," if place else b"", _encode_json(one.name)),
                one,
                shown_by(one).version if isinstance(one, StoredSection) else None,
            )
            for place, one in enumerate(sections)
        )
        return Plan(
            parts,
            None if len(stored) == len(self._registry.all_stored()) else stored,
            tuple(one for one in sections if isinstance(one, ComputedSection)),
            b"".join(one.opening for one in parts),
        )

    def _asked(self, role: str, name: str) -> StoredSection | ComputedSection:
        section = self._registry.get(name)
        if role not in section.roles:
            raise SectionForbidden("This credential's role may not read a section that was asked for.")
        assert isinstance(section, StoredSection | ComputedSection)
        return section

    async def profile(self, tenant: str, customer_id: str, plan: Plan) -> Profile:
        """Return a customer's profile.

        Raises:
            CustomerNotFound: the tenant knows no such customer.
            Unavailable: the database does not answer.
        """
        rows = await self._store.documents(tenant, customer_id, plan.names)
        held = {row[0]: row for row in rows}
        head = held.get(HEAD)
        if head is None:
            raise CustomerNotFound
        known = read_head(head[1])
        if known.merged_into is not None:
            return await self.profile(tenant, known.merged_into, plan)
        now = self._now(known)
        computed = iter(await self._compute(tenant, customer_id, known, plan, now))
        shown = _encode_json(customer_id)
        parts = [b'{"customerId":%b,"tenantId":%b,"sections":[' % (shown, _encode_json(tenant))]
        hashes = [plan.identity, shown]
        for name, opening, section, version in plan.parts:
            parts.append(opening)
            if version is None:
                parts.append(_spliced(next(computed)))
            elif (row := held.get(name)) is None:
                parts.append(_EMPTY)
                hashes.append(_EMPTY_HASH)
            elif _holds(row, version, now):
                parts.append(row[1])
                hashes.append(row[2])
            else:
                # Overtaken by time or by newer code: rendered for this answer only, a read never writes.
                self._overtaken.note(tenant, customer_id, name)
                fresh = await self._render(tenant, known.identifiers(customer_id), section, now)
                parts.append(fresh.body)
                hashes.append(fresh.hash)
        return Profile(customer_id, None if plan.computed else _etag(hashes), tuple(parts))

    async def unchanged(self, tenant: str, customer_id: str, plan: Plan) -> tuple[str, str] | None:
        """Return a customer's surviving id and the ETag of the profile, without reading what it shows.

        None: that cannot be told without reading it, or there is no such customer.
        """
        held = {row[0]: row for row in await self._store.hashes(tenant, customer_id, plan.names)}
        head = held.get(HEAD)
        if plan.computed or head is None or head[1] is None:
            return None
        known = read_head(head[1])
        if known.merged_into is not None:
            return await self.unchanged(tenant, known.merged_into, plan)
        now = self._now(known)
        hashes = [plan.identity, _encode_json(customer_id)]
        for name, _, _, version in plan.parts:
            row = held.get(name)
            if row is not None and not _holds(row, version, now):
                return None
            hashes.append(_EMPTY_HASH if row is None else row[2])
        return customer_id, _etag(hashes)

    async def head(self, tenant: str, customer_id: str) -> tuple[str, Head]:
        """Return a customer's surviving id and head.

        Raises:
            CustomerNotFound: the tenant knows no such customer.
        """
        rows = await self._store.documents(tenant, customer_id, ())
        if not rows:
            raise CustomerNotFound
        head = read_head(rows[0][1])
        return (customer_id, head) if head.merged_into is None else await self.head(tenant, head.merged_into)

    async def records(
        self, tenant: str, customer_id: str, section: StoredSection, before: Place | None, limit: int
    ) -> list[Listed]:
        """Return up to `limit` records of a section below `before`, newest first.

        Of events all that were not deleted, of state those that count now.

        Raises:
            CustomerNotFound: the tenant knows no such customer.
        """
        survivor, head = await self.head(tenant, customer_id)
        members = head.identifiers(survivor)
        if section.kind == "state":
            state = await folding.load_joined(self._store, tenant, section, members)
            live = section.state_fold.live(state, self._now(head))
            listed = sorted(
                (
                    Listed(
                        one.key, section.shape.encode(one.record), one.entry.effective_at, one.entry.recorded_at,
                        one.entry.source, one.entry.id,
                    )
                    for one in live
                ),
                key=lambda one: (one.effective_at, one.id),
                reverse=True,
            )  # fmt: skip
            return [one for one in listed if before is None or (one.effective_at, one.id) < before][:limit]
        facts = await self._store.events(tenant, members, section.name, before, limit)
        return [
            Listed(one.key, one.body, one.effective_at, one.recorded_at, one.source, one.id)
            for one in map(section.bring_forward, facts)
        ]

    async def history(self, tenant: str, customer_id: str, section: StoredSection, key: str) -> list[Fact]:
        """Return every fact of a record's key, newest first; none where there are none.

        Raises:
            CustomerNotFound: the tenant knows no such customer.
        """
        survivor, head = await self.head(tenant, customer_id)
        facts = await self._store.history(tenant, head.identifiers(survivor), section.name, key)
        return [section.bring_forward(fact) for fact in facts]

    async def customers(self, tenant: str, after: str | None, limit: int) -> list[tuple[str, Head]]:
        """Return up to `limit` customers with ids above `after`, by id."""
        return await self._store.customers(tenant, after, limit)

    def _now(self, head: Head) -> int:
        """Return the present moment, for one customer: never before the last that was told, whatever the clock says."""
        return max(self._clock(), head.updated_at)

    async def _render(
        self, tenant: str, members: Sequence[Identifier], section: StoredSection | ComputedSection, now: int
    ) -> Document:
        assert isinstance(section, StoredSection)
        section = shown_by(section)
        return folding.render(section, await folding.load_joined(self._store, tenant, section, members), now)

    async def _compute(self, tenant: str, customer_id: str, head: Head, plan: Plan, now: int) -> list[Any]:
        if not plan.computed:
            return []
        members = head.identifiers(customer_id)

        async def read(name: str) -> list[Any]:
            section = self._registry.find_stored(name)
            if section is None:
                raise UnknownSection("A computed section can read stored sections only.")
            document = await self._render(tenant, members, section, now)
            records: list[Any] = msgspec.json.decode(document.body)
            return records

        identifiers = [*members, *(Identifier(one["type"], one["value"]) for one in await read("identities"))]
        context = Context(tenant, customer_id, tuple(dict.fromkeys(identifiers)), read, asyncio.get_running_loop())
        return await self._computed.run(plan.computed, context)


def _holds(row: tuple[str, bytes | None, bytes, int | None, int], version: int | None, now: int) -> bool:
    """Tell whether neither time nor newer code has overtaken a document."""
    return row[4] == version and (row[3] is None or row[3] > now)


def _spliced(part: Part) -> bytes:
    """Return a computed section's data, and its error where it failed."""
    if part.error is None:
        return part.body
    code, detail = part.error
    return b'%b,"error":%b' % (part.body, _encode_json({"code": code, "detail": detail}))


def _etag(parts: list[bytes]) -> str:
    return f'W/"{blake2b(b"".join(parts), digest_size=16).hexdigest()}"'
