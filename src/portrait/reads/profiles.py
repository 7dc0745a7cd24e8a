"""The way out: documents to one JSON answer, spliced as bytes; computed sections beside them."""

import asyncio
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from portrait import projection
from portrait.computed import FAILED, Computed, Context, Deadlines, Part, Reports
from portrait.model.document import HEAD, Document, Head, content_hash, read_head
from portrait.model.errors import CustomerNotFound, SectionFailed, Unavailable, UnknownSection
from portrait.model.identifier import Identifier
from portrait.model.time import Clock, rfc3339_millis
from portrait.sections.attributes import has_losers
from portrait.sections.base import ComputedSection, StoredSection
from portrait.sections.links import LINKS, identified, shown_by
from portrait.sections.registry import Registry
from portrait.storage.contract import Store

_encode_json = msgspec.json.Encoder().encode
_EMPTY = b"[]"
_section, _body = itemgetter(Document._fields.index("section")), itemgetter(Document._fields.index("body"))
"""Return a field of a document's row: what is in rows is read on every page view."""
_EMPTY_HASH = content_hash(_EMPTY)
_END_BYTES = len(b'}],"computedAt":"2026-03-30T12:00:00.000Z"}')


class Planned(NamedTuple):
    """One section of an answer."""

    name: str
    opening: bytes
    """The JSON between the section before, or the head, and the data of this section."""
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
    losers: frozenset[str] = frozenset()
    """The sections that also show what does not count: no document has that, so they are rendered for the answer."""


class ProfileAnswer(NamedTuple):
    """A unified profile, ready to send but for its moment."""

    customer_id: str
    """The surviving id, where the customer asked for was merged away."""
    contents: bytes | None
    """What differs whenever the answer does, `computedAt` aside; None where a section was computed, or failed."""
    parts: tuple[bytes, ...]
    """The JSON up to the end of the last section's data, in pieces."""

    @property
    def size(self) -> int:
        """How many bytes it has as JSON."""
        return sum(map(len, self.parts)) + _END_BYTES

    def pieces(self, now: int) -> tuple[bytes, ...]:
        """Return the answer's body in pieces, computed at this moment."""
        return *self.parts, b'}],"computedAt":"%b"}' % rfc3339_millis(now).encode()

    def json(self, now: int) -> bytes:
        """Return the answer's body, computed at this moment."""
        return b"".join(self.pieces(now))


class Loaded(NamedTuple):
    """A profile whose computed sections are still to be computed."""

    tenant: str
    head: Head
    now: int
    profile: ProfileAnswer
    """Each computed section's data is an empty piece."""


class Reader:
    """Answers profiles."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        computed: Computed,
        overtaken: projection.Overtaken,
        reports: Reports,
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._computed = computed
        self._overtaken = overtaken
        self._reports = reports

    def plan(self, role: str, names: Sequence[str] | None, *, losers: bool = False) -> Plan:
        """Return the plan for the sections asked for, or for the full profile (None).

        Args:
            role: the caller's role.
            names: the sections' names.
            losers: whether sections are to show, where they can, also what does not count.

        Raises:
            UnknownSection: no section is named, or a section that is not registered.
            SectionForbidden: a section is named that the role may not read.
        """
        if names is None:
            sections = tuple(section for section in self._registry if section.default and role in section.roles)
        else:
            sections = tuple(self._asked(role, name) for name in dict.fromkeys(names))
            if not sections:
                raise self._registry.unknown()
        stored = tuple(section.name for section in sections if isinstance(section, StoredSection))
        parts = tuple(
            Planned(
                section.name,
                b'%b{"name":%b,"data":' % (b"}," if index else b"", _encode_json(section.name)),
                section,
                shown_by(section).version if isinstance(section, StoredSection) else None,
            )
            for index, section in enumerate(sections)
        )
        others = [section for section in self._registry.all_stored() if section.name not in stored]
        # A full profile is read in one range: to look for each document costs more than to pass over one more.
        is_range = not others or (names is None and not any(section.default for section in others))
        return Plan(
            parts,
            None if is_range else stored,
            tuple(section for section in sections if isinstance(section, ComputedSection)),
            b"".join(part.opening for part in parts),
            frozenset(section.name for section in sections if losers and has_losers(section)),
        )

    def _asked(self, role: str, name: str) -> StoredSection | ComputedSection:
        section = self._registry.get(name)
        if role not in section.roles:
            raise section.forbidden(role)
        assert isinstance(section, StoredSection | ComputedSection)
        return section

    async def profile(self, tenant: str, customer_id: str, plan: Plan) -> ProfileAnswer:
        """Return a customer's profile.

        Raises:
            CustomerNotFound: the tenant knows no such customer.
            Unavailable: the database does not answer.
        """
        loaded = await self.load(tenant, customer_id, plan)
        return await self.complete(loaded, plan, Deadlines()) if plan.computed else loaded.profile

    async def load(self, tenant: str, customer_id: str, plan: Plan) -> Loaded:
        """Return a customer's profile without what is computed.

        Raises:
            CustomerNotFound: the tenant knows no such customer.
            Unavailable: the database does not answer.
        """
        rows = await self._store.documents(tenant, customer_id, plan.names)
        documents = dict(zip(map(_section, rows), rows, strict=True))
        head = documents.get(HEAD)
        if head is None:
            raise CustomerNotFound
        known = read_head(_body(head))
        if known.merged_into is not None:
            return await self.load(tenant, known.merged_into, plan)
        now = self._now(known)
        encoded_id = _encode_json(customer_id)
        parts = [b'{"customerId":%b,"tenantId":%b,"sections":[' % (encoded_id, _encode_json(tenant))]
        hashes = [plan.identity, encoded_id]
        whole = not plan.computed and not plan.losers
        for name, opening, section, version in plan.parts:
            parts.append(opening)
            if version is None:
                parts.append(b"")
            elif (row := documents.get(name)) is None:
                parts.append(_EMPTY)
                hashes.append(_EMPTY_HASH)
            else:
                _, body, content, valid_until, rendered_by = row
                if rendered_by != version or (valid_until is not None and valid_until <= now):
                    # Overtaken by time or by newer code: rendered for this answer only, a read never writes.
                    self._overtaken.note(tenant, customer_id, name)
                elif name not in plan.losers:
                    parts.append(body)
                    hashes.append(content)
                    continue
                members = known.identifiers(customer_id)
                fresh = await self._anew(tenant, members, section, now, losers=name in plan.losers)
                parts.append(_FAILED if fresh is None else fresh.body)
                if fresh is None:
                    whole = False
                else:
                    hashes.append(fresh.hash)
        return Loaded(tenant, known, now, ProfileAnswer(customer_id, b"".join(hashes) if whole else None, tuple(parts)))

    async def complete(self, loaded: Loaded, plan: Plan, deadlines: Deadlines) -> ProfileAnswer:
        """Return a profile with its computed sections.

        Args:
            loaded: the profile without them.
            plan: the plan that it was loaded by.
            deadlines: until when each section may take.
        """
        profile = loaded.profile
        computed = iter(await self._compute(loaded, plan, deadlines))
        parts = list(profile.parts)
        for index, (_, _, _, version) in enumerate(plan.parts):
            if version is None:
                parts[2 * index + 2] = _spliced(next(computed))
        return profile._replace(parts=tuple(parts))

    async def unchanged(self, tenant: str, customer_id: str, plan: Plan) -> tuple[str, bytes] | None:
        """Return a customer's surviving id and the profile's `contents`, without reading what it shows.

        None: the `contents` cannot be known without reading it, or there is no such customer.
        """
        rows = await self._store.hashes(tenant, customer_id, plan.names)
        documents = dict(zip(map(_section, rows), rows, strict=True))
        head = documents.get(HEAD)
        if plan.computed or plan.losers or head is None:
            return None
        known = read_head(_body(head))
        if known.merged_into is not None:
            return await self.unchanged(tenant, known.merged_into, plan)
        now = self._now(known)
        hashes = [plan.identity, _encode_json(customer_id)]
        for name, _, _, version in plan.parts:
            row = documents.get(name)
            if row is None:
                hashes.append(_EMPTY_HASH)
                continue
            _, _, content, valid_until, rendered_by = row
            if rendered_by != version or (valid_until is not None and valid_until <= now):
                return None
            hashes.append(content)
        return customer_id, b"".join(hashes)

    def _now(self, head: Head) -> int:
        """Return the present moment, for one customer: never before its last recording, whatever the clock says."""
        return max(self._clock(), head.updated_at)

    async def _render(
        self,
        tenant: str,
        members: Sequence[Identifier],
        section: StoredSection | ComputedSection,
        now: int,
        *,
        losers: bool,
    ) -> Document:
        assert isinstance(section, StoredSection)
        section = shown_by(section)
        state = await projection.load_joined(self._store, tenant, section, members, now)
        return projection.render(section, state, now, losers=losers)

    async def _anew(
        self,
        tenant: str,
        members: Sequence[Identifier],
        section: StoredSection | ComputedSection,
        now: int,
        *,
        losers: bool = False,
    ) -> Document | None:
        """Return a section's document, rendered now; None where the section's own code fails at it."""
        try:
            return await self._render(tenant, members, section, now, losers=losers)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a plugin raises is its section's failure
            self._reports.warn(section.name, tenant, "failed", "failed", error)
            return None

    async def _compute(self, loaded: Loaded, plan: Plan, deadlines: Deadlines) -> list[Part]:
        tenant, customer_id = loaded.tenant, loaded.profile.customer_id
        members = loaded.head.identifiers(customer_id)

        async def read(name: str) -> list[Any]:
            section = self._registry.find_stored(name)
            if section is None:
                raise UnknownSection("A computed section can read stored sections only.")
            document = await self._anew(tenant, members, section, loaded.now)
            if document is None or projection.is_too_large(shown_by(section), document):
                raise SectionFailed.of(name)
            records: list[Any] = msgspec.json.decode(document.body)
            return records

        links = await projection.load_joined(self._store, tenant, LINKS, members, loaded.now)
        linked = (Identifier(member.record.type, member.record.value) for member in identified(links, loaded.now))
        identifiers = tuple(dict.fromkeys([*members, *linked]))
        context = Context(tenant, customer_id, identifiers, read, asyncio.get_running_loop())
        return await self._computed.run(plan.computed, context, deadlines)


def _spliced(part: Part) -> bytes:
    """Return a section's data, and its error where it failed."""
    if part.error is None:
        return part.body
    code, detail = part.error
    return b'%b,"error":%b' % (part.body, _encode_json({"code": code, "detail": detail}))


_FAILED = _spliced(Part(_EMPTY, FAILED))
