"""The way in for what clients of other makers send: texts become events, events records; what is refused is kept."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from portrait.access.grants import Writer
from portrait.collecting import reading
from portrait.collecting.event import Event, Kind
from portrait.collecting.families import Family
from portrait.collecting.reading import MILLISECOND
from portrait.collecting.records import Said, said
from portrait.ingest.records import Parser, chunks
from portrait.model.errors import InvalidRequest, PortraitError, SectionFailed, Unavailable
from portrait.model.identifier import Identifier, customer
from portrait.model.time import Clock
from portrait.sections.registry import Registry
from portrait.storage.contract import Reject, Store, TenantRow
from portrait.writes.incoming import Incoming
from portrait.writes.naming import Naming
from portrait.writes.recording import MAX_CHUNK, Outcome, Recorder, Refusal

MAX_KEPT = 2**18
"""The most bytes of a refused event that are kept."""
MANY = 20
"""From so many events on they are read in a thread: they must not keep other requests waiting."""
_NAMES = ("userId", "anonymousId")


class Collected(msgspec.Struct):
    """What became of a request's events."""

    success: bool = True
    received: int = 0
    refused: int = 0
    """Kept apart, each with its reason."""


class _Read(NamedTuple):
    """One event as it was read, or why it was not."""

    text: bytes
    event: Event | None
    error: PortraitError | None


class Collector:
    """Takes events in.

    Args:
        store: where refused events are kept.
        recorder: takes records in.
        registry: the sections.
        clock: what time it is.
    """

    def __init__(self, store: Store, recorder: Recorder, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._recorder = recorder
        self._registry = registry
        self._clock = clock

    async def take(self, writer: Writer, family: Family, texts: Sequence[bytes], kind: str | None) -> Collected:
        """Take in what can be taken of a request, and keep the rest apart; when this returns, all of it is durable.

        Args:
            writer: who sends it.
            family: how it is written.
            texts: its events.
            kind: their type, where the path says it.

        Raises:
            Unavailable: the database cannot write now. Some events may be recorded; sent again, they are not doubled.
        """
        received_at = self._clock()
        if len(texts) < MANY:
            read = [_read(family, text, kind) for text in texts]
        else:
            read = await asyncio.to_thread(lambda: [_read(family, text, kind) for text in texts])
        tenant, source = writer.tenant, writer.grant.source
        known = await self._known(tenant, read)
        refused: dict[int, Refusal] = {}
        parser = Parser(tenant, source, is_export=True)
        parts = chunks(self._incoming(parser, read, source, received_at, known, refused), MAX_CHUNK)
        while (
            chunk := await asyncio.to_thread(next, parts, None) if len(texts) >= MANY else next(parts, None)
        ) is not None:
            outcome = await self._record(tenant, chunk.incoming)
            for refusal in (*chunk.refused, *outcome.refused):
                refused.setdefault(refusal.at, refusal)
        if refused:
            await self._keep(
                tenant, source, family, [(read[at], why) for at, why in sorted(refused.items())], received_at
            )
        return Collected(received=len(texts), refused=len(refused))

    async def _known(self, tenant: TenantRow, read: Sequence[_Read]) -> frozenset[str]:
        """Return the earlier ids of aliases that are known people's."""
        previous = {
            one.event.previous_id
            for one in read
            if one.event is not None and one.event.kind is Kind.ALIAS and one.event.previous_id is not None
        }
        if not previous:
            return frozenset()
        return frozenset(
            owned.value for owned in await self._store.resolve(tenant.id, [customer(id_) for id_ in previous])
        )

    def _incoming(
        self,
        parser: Parser,
        read: Sequence[_Read],
        source: str,
        received_at: int,
        known: frozenset[str],
        refused: dict[int, Refusal],
    ) -> Iterator[Incoming | Refusal]:
        """Yield the records of events, in order, and a refusal for each event of which nothing or not all is taken."""
        places: Counter[int | None] = Counter()
        links: set[bytes] = set()
        for index, one in enumerate(read):
            if one.event is None:
                assert one.error is not None
                refused[index] = Refusal(index, one.error.code, one.error.detail)
                continue
            place = places[one.event.at] if one.event.at is not None and one.event.at % MILLISECOND == 0 else 0
            places[one.event.at] += 1
            try:
                for record in said(one.event, source, received_at, min(place, MILLISECOND - 1), known):
                    if record.section == "identities" and _is_repeated(record, links):
                        continue
                    made = self._record_of(parser, index, record)
                    if made is not None:
                        yield made
            except (InvalidRequest, SectionFailed) as error:
                refused.setdefault(index, Refusal(index, error.code, error.detail))

    def _record_of(self, parser: Parser, index: int, record: Said) -> Incoming | Refusal | None:
        section = self._registry.find_stored(record.section)
        if section is None:
            return None
        try:
            return parser.told(index, record.subject, section, msgspec.json.encode(record.record), record.at)
        except (InvalidRequest, SectionFailed) as error:
            return Refusal(index, error.code, error.detail)

    async def _record(self, tenant: TenantRow, incoming: list[Incoming]) -> Outcome:
        """Record a chunk; a single record shares its transaction with those of other requests."""
        if len(incoming) != 1:
            return await self._recorder.record_each(tenant.id, incoming)
        try:
            return await self._recorder.record_all(tenant.id, incoming)
        except Unavailable:
            raise
        except PortraitError as error:
            return Outcome(refused=[Refusal(incoming[0].at, error.code, error.detail)])

    async def _keep(
        self, tenant: TenantRow, source: str, family: Family, refused: Sequence[tuple[_Read, Refusal]], received_at: int
    ) -> None:
        naming = Naming(tenant)
        rejects = [
            Reject(
                blake2b(f"{source}\0{family.name}\0".encode() + one.text, digest_size=16).digest(), source,
                family.name, why.code, why.detail, received_at, _named(naming, one), one.text[:MAX_KEPT],
            )
            for one, why in refused
        ]  # fmt: skip
        await self._store.write(tenant.id, lambda tx: tx.put_rejects(tenant.id, rejects))


def _read(family: Family, text: bytes, kind: str | None) -> _Read:
    try:
        return _Read(text, family.read(text, kind), None)
    except InvalidRequest as error:
        return _Read(text, None, error)


def _is_repeated(record: Said, links: set[bytes]) -> bool:
    """Tell whether the same link was said before; if not, note it."""
    key = msgspec.json.encode((record.subject, record.record))
    if key in links:
        return True
    links.add(key)
    return False


def _named(naming: Naming, one: _Read) -> tuple[Identifier, ...]:
    """Return the identifiers that can be read from an event, whatever else is wrong with it."""
    given: list[tuple[str, str | None]] = []
    if one.event is not None:
        event = one.event
        given = [
            ("customer_id", event.user_id),
            ("anonymous_id", event.anonymous_id),
            ("customer_id", event.previous_id),
        ]
        given += [(name, reading.text_id(event.traits.get(name))) for name in ("email", "phone")]
    found: dict[Identifier, None] = {}
    for type_, value in given:
        if value is None:
            continue
        try:
            found[naming.named(type_, value).identifier] = None
        except InvalidRequest:
            continue
    return tuple(found)
