"""The way in for what clients of other makers send: texts become events, events records; what is refused is kept."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from portrait.access.cache import Cache
from portrait.access.grants import WriteKey
from portrait.collecting import lenient, reading, rules
from portrait.collecting.event import ClientEvent, Kind
from portrait.collecting.families import Family, form_of, of_form
from portrait.collecting.known_links import KnownLinks
from portrait.collecting.reading import MILLISECOND
from portrait.collecting.records import Circumstances, EventRecord, records_of
from portrait.collecting.rules import CollectingRules
from portrait.ingest.records import Parser, chunks
from portrait.model.errors import Defect, InvalidRequest, PortraitError, SectionFailed, Unavailable
from portrait.model.identifier import Identifier, customer
from portrait.model.time import Clock
from portrait.sections.links import LINKS
from portrait.sections.registry import Registry
from portrait.serving import request
from portrait.storage.contract import RefusedEvent, Store, TenantRow
from portrait.writes.incoming import Incoming
from portrait.writes.naming import Naming
from portrait.writes.recording import MAX_CHUNK, Outcome, Recorder, Refusal

_log = logging.getLogger("portrait.collecting")
MAX_KEPT = 2**18
"""The most bytes of a refused event that are kept."""
KEPT_AT_ONCE = 500
"""So many refused events are kept in one transaction."""
MANY = 20
"""From so many events on they are read in a thread: they must not keep other requests waiting."""
Read = ClientEvent | PortraitError
"""An event, or why it cannot be read."""
Link = tuple[str, str, tuple[str, str], bytes]
"""Of a link the tenant, the source, the identifier that it is told of, and the record."""


class Collected(msgspec.Struct):
    """What became of a request's events."""

    success: bool = True
    received: int = 0
    refused: int = 0
    """Kept apart, each with its reason."""


class SentEvents(NamedTuple):
    """Events of one source, as they were sent."""

    tenant: TenantRow
    source: str
    form: str
    """See `families.form_of`."""
    texts: Sequence[bytes]
    received_at: int
    """In microseconds."""

    def read(self) -> list[Read]:
        """Return the events, each as it was read."""
        return [self._read(text) for text in self.texts]

    def _read(self, text: bytes) -> Read:
        family, kind = of_form(self.form)
        try:
            return family.read(text, kind)
        except Exception as error:  # noqa: BLE001  # whatever one event raises refuses that one alone
            return self.refused(error)

    def refused(self, error: Exception) -> PortraitError:
        """Return why an event is refused that raised an error, foreseen or not."""
        if isinstance(error, InvalidRequest | SectionFailed):
            return error
        _log.error(
            "an event could not be read (%s)", request.concerning(self.tenant.id, request.current()), exc_info=error
        )
        return Defect("The service failed at this event; the log has the cause.")


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
        self._links = KnownLinks()
        self._rules: Cache[str, CollectingRules] = Cache()
        """By tenant: another process may have changed them, so none are taken for long."""

    async def take(self, writer: WriteKey, family: Family, texts: Sequence[bytes], kind: str | None) -> Collected:
        """Take in what can be taken of a request, and keep the rest apart; when this returns, all of it is durable.

        Args:
            writer: who sends it.
            family: how it is written.
            texts: its events.
            kind: their type, where the path says it.

        Raises:
            Unavailable: the database cannot write now. Some events may be recorded; sent again, they are not doubled.
        """
        tenant = writer.tenant
        sent = SentEvents(tenant, writer.grant.source, form_of(family, kind), texts, self._clock())
        rejects = list((await self.recorded(sent)).values())
        for begin in range(0, len(rejects), KEPT_AT_ONCE):
            await self._keep(tenant.id, rejects[begin : begin + KEPT_AT_ONCE])
        return Collected(received=len(texts), refused=len(rejects))

    async def _keep(self, tenant: str, rejects: Sequence[RefusedEvent]) -> None:
        await self._store.write(tenant, lambda tx: tx.put_rejects(tenant, rejects))

    async def recorded(self, sent: SentEvents) -> dict[int, RefusedEvent]:
        """Record what can be recorded of events; return by place those of which nothing is, or not all, as to be kept.

        Raises:
            Unavailable: see `take`.
        """
        is_many = len(sent.texts) >= MANY
        read = await asyncio.to_thread(sent.read) if is_many else sent.read()
        refused: dict[int, Refusal] = {}
        known, own = await self._known(sent.tenant, read), await self.rules(sent.tenant.id)
        given = Circumstances(sent.source, sent.received_at, known, own)
        links: dict[Link, int] = {}
        parts = chunks(self._incoming(sent, read, given, links), MAX_CHUNK)
        while (chunk := await asyncio.to_thread(next, parts, None) if is_many else next(parts, None)) is not None:
            outcome = await self._record(sent.tenant, chunk.incoming)
            for refusal in (*chunk.refused, *outcome.refused):
                refused.setdefault(refusal.at, refusal)
        self._links.note(link for link, at in links.items() if at not in refused)
        naming = Naming(sent.tenant)
        return {at: _reject(sent, at, refused[at], naming) for at in sorted(refused)}

    async def rules(self, tenant: str) -> CollectingRules:
        """Return a tenant's rules; those that another process has set take effect within half a second."""
        if (own := self._rules.fresh(tenant)) is None:
            own = rules.read(await self._store.collecting_rules(tenant))
            self._rules.put(tenant, own)
        return own

    async def set_rules(self, tenant: str, raw: bytes | None) -> CollectingRules:
        """Set a tenant's rules; None: as by default. What was recorded under the old ones stays as it was recorded.

        Raises:
            MalformedJson, InvalidRules: they break their schema; the detail says where.
        """
        own = rules.DEFAULT if raw is None else rules.parse(raw, self._registry)
        await self._store.write(tenant, lambda tx: tx.set_collecting_rules(tenant, raw))
        self._rules.put(tenant, own)
        return own

    async def _known(self, tenant: TenantRow, read: Sequence[Read]) -> frozenset[str]:
        """Return the earlier ids of aliases that are known people's."""
        previous = {
            event.previous_id
            for event in read
            if isinstance(event, ClientEvent) and event.kind is Kind.ALIAS and event.previous_id is not None
        }
        if not previous:
            return frozenset()
        owners = await self._store.resolve(tenant.id, [customer(id_) for id_ in previous])
        return frozenset(identifier.value for identifier in owners)

    def _incoming(
        self, sent: SentEvents, read: Sequence[Read], given: Circumstances, links: dict[Link, int]
    ) -> Iterator[Incoming | Refusal]:
        """Yield the records of events, in order, and a refusal for each event of which nothing or not all is taken.

        Links that are said for the first time are put among `links`, with the place of the event that says so.
        """
        parser = Parser(sent.tenant, sent.source, is_export=True)
        places: Counter[int | None] = Counter()
        for index, event in enumerate(read):
            if not isinstance(event, ClientEvent):
                yield Refusal(index, event.code, event.detail)
                continue
            # Clients date events by the millisecond: those of one are told apart by their order.
            place = places[event.at] if event.at is not None and event.at % MILLISECOND == 0 else 0
            places[event.at] += 1
            try:
                for record in records_of(event, given, min(place, MILLISECOND - 1)):
                    text = msgspec.json.encode(record.record)
                    if record.section == LINKS.document:
                        link = sent.tenant.id, sent.source, record.subject, text
                        if link in links or link in self._links:
                            continue
                        links[link] = index
                    yield from self._told(sent, parser, index, record, text)
            except Exception as error:  # noqa: BLE001  # whatever one event raises refuses that one alone
                why = sent.refused(error)
                yield Refusal(index, why.code, why.detail)

    def _told(
        self, sent: SentEvents, parser: Parser, index: int, record: EventRecord, text: bytes
    ) -> Iterator[Incoming | Refusal]:
        """Yield a record, or why it is refused; nothing where its section is not registered."""
        section = self._registry.find_stored(record.section)
        if section is not None:
            try:
                yield parser.told(index, record.subject, section, text, record.at)
            except Exception as error:  # noqa: BLE001  # the event's other records are taken
                why = sent.refused(error)
                yield Refusal(index, why.code, why.detail)

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


def _reject(sent: SentEvents, at: int, why: Refusal, naming: Naming) -> RefusedEvent:
    text = sent.texts[at]
    id_ = blake2b(f"{sent.source}\0{sent.form}\0".encode() + text, digest_size=16).digest()
    family, _ = of_form(sent.form)
    return RefusedEvent(
        id_, sent.source, sent.form, why.code, why.detail, sent.received_at, _named(family, text, naming),
        text[:MAX_KEPT],
    )  # fmt: skip


def _named(family: Family, text: bytes, naming: Naming) -> tuple[Identifier, ...]:
    """Return the identifiers that stand anywhere in an event, whatever is wrong with it."""
    found: dict[Identifier, None] = {}
    try:
        value = lenient.decode(text)
    except InvalidRequest:
        return ()
    for type_, given in reading.identifiers(value, family.ids):
        try:
            found[naming.named(type_, given).identifier] = None
        except InvalidRequest:
            continue
    return tuple(found)
