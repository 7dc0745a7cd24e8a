"""Computed sections at work: every call under its deadline, whatever the function does.

A coroutine function runs on an event loop of the section's own, in a thread of its own; a plain function runs in a
thread. So neither sleeping nor blocking code, in either, holds up the profile or another section.
"""

import asyncio
import concurrent.futures
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from portrait.computed import calls
from portrait.computed.calls import Busy, Calls, Loops, Threads
from portrait.computed.circuits import Circuits
from portrait.computed.kept import Kept, Key
from portrait.computed.reports import Reports
from portrait.model.errors import SourceFailed
from portrait.model.identifier import Identifier
from portrait.sections.base import MAX_SECTION_BYTES, ComputedSection

__all__ = ["FAILED", "Computed", "Context", "Deadlines", "Part", "Reports"]

FAILED = ("section_failed", "The section failed.")
"""Code and detail of a section whose code raised an error. What it raised is for the operator's log alone."""
_BUSY = ("section_busy", "Too many earlier calls of this section have not ended.")
_OPEN = (
    "circuit_open",
    "The section failed several times in a row. It is not asked for a while, and then tried again.",
)
_encode = msgspec.json.Encoder(order="deterministic").encode

ReadSection = Callable[[str], Awaitable[list[Any]]]


@dataclass(frozen=True)
class Context:
    """What a computed section is told."""

    tenant_id: str
    customer_id: str
    identifiers: tuple[Identifier, ...]
    _read: ReadSection
    _loop: asyncio.AbstractEventLoop

    async def read(self, section: str) -> list[Any]:
        """Return the records of a stored section of this customer, as the profile shows them.

        Raises:
            UnknownSection: there is no such stored section.
            SectionFailed: the section cannot be shown: its own code failed, or it has too many bytes.
        """
        return await asyncio.wrap_future(self._submit(section))

    def read_sync(self, section: str) -> list[Any]:
        """Return what `read` does, for plain functions."""
        return self._submit(section).result()

    def _submit(self, section: str) -> "concurrent.futures.Future[list[Any]]":
        async def read() -> list[Any]:
            return await self._read(section)

        return asyncio.run_coroutine_threadsafe(read(), self._loop)


class Part(NamedTuple):
    """A computed section's answer."""

    body: bytes
    """A JSON array."""
    error: tuple[str, str] | None
    """Code and detail, where the section failed."""


class Deadlines:
    """The deadline of each section, for all profiles of one request together: it runs from the section's first call."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def of(self, section: ComputedSection, now: float) -> float:
        """Return a section's deadline, by the same clock as `now`."""
        return self._until.setdefault(section.name, now + section.timeout)


class Computed:
    """Runs the computed sections of one service.

    Args:
        reports: where what goes wrong with a section is logged.
        max_bytes: the most bytes of one section's answer.
    """

    def __init__(self, reports: Reports, max_bytes: int = MAX_SECTION_BYTES) -> None:
        self._reports = reports
        self._max_bytes = max_bytes
        self._runners: dict[str, _Runner] = {}

    async def run(self, sections: Sequence[ComputedSection], context: Context, deadlines: Deadlines) -> list[Part]:
        """Return the answers of several sections, each within its deadline."""
        return await asyncio.gather(*(self._runner(section).run(context, deadlines) for section in sections))

    def close(self) -> None:
        """Stop the sections' loops. Threads that hang are left to the end of the process."""
        for runner in self._runners.values():
            runner.close()

    def _runner(self, section: ComputedSection) -> "_Runner":
        if section.name not in self._runners:
            self._runners[section.name] = _Runner(section, self._reports, self._max_bytes)
        return self._runners[section.name]


class _Runner:
    def __init__(self, section: ComputedSection, reports: Reports, max_bytes: int) -> None:
        self._section = section
        self._reports = reports
        self._max_bytes = max_bytes
        self._kept = Kept()
        self._circuits = Circuits(section.breaker)
        name, function = section.name, section.function
        self._calls: Calls = (
            Loops(name, function, self._report, section.ended)
            if inspect.iscoroutinefunction(function)
            else Threads(name, function)
        )

    async def run(self, context: Context, deadlines: Deadlines) -> Part:
        tenant = context.tenant_id
        key = _key(context) if self._section.cache_seconds else None
        if key is not None and (kept := self._kept.get(key)) is not None:
            return Part(kept, None)
        clock = asyncio.get_running_loop().time
        now = clock()
        until = deadlines.of(self._section, now)
        if until <= now:  # the profiles before have used it up
            return self._late(tenant)
        alone = self._circuits.begin(tenant, now)
        if alone is None:
            return Part(b"[]", _OPEN)
        failed = None
        try:
            part, failed = await self._call(context, until)
        finally:
            if self._circuits.end(tenant, clock(), alone=alone, failed=failed):
                self._warn(tenant, "circuit", "failed several times in a row, and is not asked for a while")
        if key is not None and part.error is None:
            self._kept.put(key, part.body, self._section.cache_seconds)
        return part

    async def _call(self, context: Context, until: float) -> tuple[Part, bool | None]:
        """Return the answer, and whether the call failed; None: it was not made."""
        tenant = context.tenant_id
        try:
            result, error = await self._calls.call(context, until)
        except TimeoutError:
            return self._late(tenant), True
        except Busy:
            self._warn(tenant, "busy", "has too many calls that have not ended")
            return Part(b"[]", _BUSY), None
        try:
            body = _checked(result) if error is None else b""
        except Exception as wrong:  # noqa: BLE001  # whatever a plugin returns is its section's failure
            error = wrong
        if isinstance(error, SourceFailed):
            self._warn(tenant, f"failed: {error.log_text}", f"failed: {error.log_text}")
            return Part(b"[]", (error.code, error.detail)), True
        if error is not None:
            self._warn(tenant, "failed", "failed", error)
            return Part(b"[]", FAILED), True
        if len(body) > self._max_bytes:
            self._warn(tenant, "too large", "is too large")
            return Part(b"[]", ("too_large", f"The section has more than {self._max_bytes} bytes.")), False
        return Part(body, None), False

    def _late(self, tenant: str) -> Part:
        self._warn(tenant, "deadline", "exceeded its deadline")
        detail = f"The section did not answer within {self._section.timeout:g} seconds."
        return Part(b"[]", ("deadline_exceeded", detail))

    def close(self) -> None:
        self._calls.close()

    def _report(self, context: Context, hanging: int) -> None:
        """Log that a loop was abandoned; the context is that of the call that noticed it."""
        text = "has a call that never yields: its event loop was abandoned. A coroutine function must not block"
        last = hanging >= calls.MAX_LOOPS
        if last:
            text += f"; with {hanging} hanging loops the section is busy until one of them returns"
        self._warn(context.tenant_id, "all loops" if last else "loop", text)

    def _warn(self, tenant: str, kind: str, text: str, error: BaseException | None = None) -> None:
        self._reports.warn(self._section.name, tenant, kind, text, error)


def _key(context: Context) -> Key:
    identifiers_hash = blake2b(msgspec.msgpack.encode(context.identifiers), digest_size=16)
    return context.tenant_id, context.customer_id, identifiers_hash.digest()


def _checked(result: Any) -> bytes:
    if not isinstance(result, list | tuple):
        raise TypeError("a computed section returns a list of records")
    return _encode(result)
