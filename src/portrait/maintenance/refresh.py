"""Rendering anew what time or newer code has overtaken, beside everything else that goes on.

Several processes may do so over one database. No process reserves a document, so none waits for what a dead process
had reserved: each takes some of the oldest at random, and looks under the customer's lock whether another was faster.
"""

import asyncio
import logging
import random
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from portrait import projection
from portrait.model.document import STALE, Document, stale
from portrait.model.errors import SectionFailed, Unavailable
from portrait.model.time import Clock
from portrait.sections.base import StoredSection
from portrait.sections.links import shown_by
from portrait.sections.registry import Registry
from portrait.storage.contract import Changes, Store, Transaction

_log = logging.getLogger("portrait.upkeep")
LOOK = 500
"""How many documents that are due are looked at, to choose from."""
STEP = 100
"""How many documents are rendered before what is due is looked at anew."""
WIDTH = 4
"""How many documents are rendered at once: on SQLite they share a commit, on PostgreSQL each takes a connection."""

DocumentKey = tuple[str, str, str]
"""A document: tenant, customer id, section."""


class Refresher:
    """Renders documents anew, as long as there are any to render."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, overtaken: projection.Overtaken) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._overtaken = overtaken

    async def refresh(self) -> int:
        """Render anew what reads found overtaken, then all that is due; return how many documents were rendered.

        Half of the time is left to others. What a section's code fails at is set aside: stored as stale, it is not due
        any more, and a read renders it for its answer or shows the section's error. What the database was too busy for
        is passed over until the next time.

        Raises:
            Unavailable: the database cannot write now; what is left is due still.
        """
        sections = [section.name for section in self._registry.all_stored()]
        this = _Round(self._store, self._registry, self._clock)
        noted: deque[DocumentKey] = deque()
        try:
            while True:
                noted.extend(self._overtaken.take())
                if overtaken := this.left(noted.popleft() for _ in range(min(STEP, len(noted)))):
                    await this.step(overtaken)
                due = this.left(await self._store.due(sections, self._clock(), LOOK))
                if due:
                    await this.step(random.sample(due, min(STEP, len(due))))
                elif not overtaken and not noted:
                    return this.rendered
        finally:
            this.log_failures()


class _Round:
    """What one call of `refresh` does, and what became of it."""

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self.rendered = 0
        self._passed: set[DocumentKey] = set()
        self._failed: dict[str, tuple[int, str]] = {}
        """By section: how many were set aside, and why the first was."""

    def left(self, due: Iterable[DocumentKey]) -> list[DocumentKey]:
        """Return the documents that were not passed over."""
        return [key for key in due if key not in self._passed]

    async def step(self, keys: Sequence[DocumentKey]) -> None:
        """Render some documents, then leave as much time to others.

        Raises:
            Unavailable: the database could write none of them.
        """
        began = time.monotonic()
        waiting = iter(keys)
        errors: list[Unavailable] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(WIDTH):
                group.create_task(self._render_each(waiting, errors))
        if errors and len(errors) == len(keys):
            raise errors[0]
        await asyncio.sleep(time.monotonic() - began)

    def log_failures(self) -> None:
        """Write to the log what was set aside: a line a section."""
        for section, (count, why) in self._failed.items():
            _log.error("%d documents of section %s were not refreshed and are set aside: %s", count, section, why)

    async def _render_each(self, waiting: Iterator[DocumentKey], errors: list[Unavailable]) -> None:
        for key in waiting:
            try:
                await self._render(key)
            except Unavailable as error:
                self._passed.add(key)
                errors.append(error)

    async def _render(self, key: DocumentKey) -> None:
        tenant, customer_id, name = key
        section = self._registry.stored(name)
        now = self._clock()
        try:
            done = await self._store.write(tenant, lambda tx: rendered(tx, tenant, customer_id, section, now))
            self.rendered += done
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # what one document fails at must not keep the others waiting
            count, why = self._failed.get(name, (0, _cause(error)))
            self._failed[name] = count + 1, why
            self._passed.add(key)
            await self._set_aside(tenant, customer_id, name)

    async def _set_aside(self, tenant: str, customer_id: str, name: str) -> None:
        try:
            await self._store.write(tenant, lambda tx: set_aside(tx, tenant, customer_id, name))
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  # it is passed over in this round, and the next one begins elsewhere
            _log.exception("a document of section %s cannot be set aside", name)


async def rendered(tx: Transaction, tenant: str, customer_id: str, section: StoredSection, now: int) -> bool:
    """Render a stored document anew where it is overtaken, and tell whether it was.

    Where the customer has no state in a section, its document is removed.

    Raises:
        SectionFailed: the section's own code raised an error, or renders what is overtaken at once.
    """
    head = (await tx.lock(tenant, [customer_id]))[customer_id]
    stored = await _stored(tx, tenant, customer_id, section.name)
    if stored is None:
        return False
    source = shown_by(section)
    now = max(now, head.updated_at if head else 0)
    if stored.version == source.version and not stored.is_due(now):
        return False
    members = () if head is None or head.merged_into is not None else head.identifiers(customer_id)
    states = await tx.states(tenant, [(identifier, source.name) for identifier in members])
    if not states:
        await tx.apply(tenant, Changes(documents={(customer_id, section.name): None}))
        return True
    older = [identifier for (identifier, _), state in states.items() if projection.read_state(source, state) is None]
    anew = await projection.load_states(tx, tenant, source, older) if older else {}
    folded = {(identifier, source.name): projection.store_state(source, state) for identifier, state in anew.items()}
    fresh = projection.render(source, await projection.load_joined(tx, tenant, source, members, now), now)
    if fresh.is_due(now):
        raise SectionFailed.of(section.name)
    await tx.apply(tenant, Changes(states=folded, documents={(customer_id, section.name): fresh}))
    return True


async def set_aside(tx: Transaction, tenant: str, customer_id: str, name: str) -> None:
    """Store a stale document in place of one that cannot be rendered, so that it is not due any more."""
    await tx.lock(tenant, [customer_id])
    stored = await _stored(tx, tenant, customer_id, name)
    if stored is not None and stored.version != STALE:
        await tx.apply(tenant, Changes(documents={(customer_id, name): stale(name)}))


async def _stored(tx: Transaction, tenant: str, customer_id: str, name: str) -> Document | None:
    """Return a stored document without its body."""
    documents = (Document(*row) for row in await tx.hashes(tenant, customer_id, [name]))
    return next((document for document in documents if document.section == name), None)


def _cause(error: Exception) -> str:
    """Return what an error was and where, without its text, which may repeat what was recorded."""
    cause = error.__cause__ if isinstance(error, SectionFailed) and error.__cause__ else error
    frames = traceback.extract_tb(cause.__traceback__)
    return f"{type(cause).__name__} in {frames[-1].name}, line {frames[-1].lineno}" if frames else type(cause).__name__
