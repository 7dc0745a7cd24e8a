"""Computed sections at work: every call under its deadline, whatever the function does.

A coroutine function runs on an event loop of the section's own, in a thread of its own; a plain function runs in a
thread. So neither sleeping nor blocking code, in either, holds up the profile or another section.
"""

import asyncio
import concurrent.futures
import contextlib
import inspect
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from portrait.model.identifier import Identifier
from portrait.sections.base import ComputedSection

MAX_RUNNING = 32
"""The most calls of one section that run at once: what hangs must not take all threads there are."""
MAX_CACHED = 10_000
"""The most customers of one section whose answers are kept."""

_log = logging.getLogger("portrait.computed")
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
        """
        return await asyncio.wrap_future(self._submit(section))

    def read_sync(self, section: str) -> list[Any]:
        """Return what `read` does, for plain functions."""
        return self._submit(section).result()

    def _submit(self, section: str) -> "concurrent.futures.Future[list[Any]]":
        async def read() -> list[Any]:
            return await self._read(section)

        return asyncio.run_coroutine_threadsafe(read(), self._loop)


_Answer = concurrent.futures.Future[tuple[Any, BaseException | None]]
"""What a call returned or raised; raised errors are values here, for some mean something to the futures between."""


class Part(NamedTuple):
    """A computed section's answer."""

    body: bytes
    """A JSON array."""
    error: tuple[str, str] | None
    """Code and detail, where the section failed."""


class Computed:
    """Runs the computed sections of one service."""

    def __init__(self) -> None:
        self._runners: dict[str, _Runner] = {}

    async def run(self, sections: Sequence[ComputedSection], context: Context) -> list[Part]:
        """Return the answers of several sections, each within its deadline."""
        return await asyncio.gather(*(self._runner(section).run(context) for section in sections))

    def close(self) -> None:
        """Stop the sections' loops. Threads that hang are left to the end of the process."""
        for runner in self._runners.values():
            runner.close()

    def _runner(self, section: ComputedSection) -> "_Runner":
        if section.name not in self._runners:
            self._runners[section.name] = _Runner(section)
        return self._runners[section.name]


class _Runner:
    def __init__(self, section: ComputedSection) -> None:
        self._section = section
        self._running = 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.cache: OrderedDict[tuple[str, str], tuple[float, bytes]] = OrderedDict()
        if inspect.iscoroutinefunction(section.function):
            self._loop = asyncio.new_event_loop()
            self._thread(_run_loop, self._loop)

    async def run(self, context: Context) -> Part:
        key = (context.tenant_id, context.customer_id)
        cached = self.cache.get(key)
        if cached is not None and cached[0] > time.monotonic():
            return Part(cached[1], None)
        with self._lock:
            if self._running >= MAX_RUNNING:
                return _failed("section_busy", "Too many earlier calls of this section have not ended.")
            self._running += 1
        try:
            async with asyncio.timeout(self._section.timeout):
                result, error = await asyncio.wrap_future(self._start(context))
        except TimeoutError:
            _log.warning("section %s exceeded its deadline", self._section.name)
            detail = f"The section did not answer within {self._section.timeout:g} seconds."
            return _failed("deadline_exceeded", detail)
        try:
            body = _checked(result) if error is None else b""
        except Exception as wrong:  # noqa: BLE001  # whatever a plugin returns is its section's failure
            error = wrong
        if error is not None:
            # The error's text may hold personal data: it is for the operator's log of a plugin, not for the caller.
            _log.warning("section %s failed", self._section.name, exc_info=error)
            return _failed("section_failed", "The section failed.")
        if self._section.cache_seconds:
            self.cache[key] = (time.monotonic() + self._section.cache_seconds, body)
            self.cache.move_to_end(key)
            while len(self.cache) > MAX_CACHED:
                self.cache.popitem(last=False)
        return Part(body, None)

    def close(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # closed before
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _start(self, context: Context) -> _Answer:
        answer: _Answer = concurrent.futures.Future()
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._begin, context, answer)
            else:
                # A daemon thread a call, not a pool's: a pool would wait at exit for a function that never ends.
                self._thread(self._call, context, answer)
        except RuntimeError as error:  # no more threads, or the service is stopping
            self._end(answer, None, error)
        return answer

    def _begin(self, context: Context, answer: _Answer) -> None:
        """Start a coroutine function, on the section's loop."""
        task = asyncio.ensure_future(_caught(self._section.function, context))
        task.add_done_callback(lambda done: self._end(answer, *((None, None) if done.cancelled() else done.result())))
        answer.add_done_callback(lambda _: _cancel_if_pending(task))

    def _call(self, context: Context, answer: _Answer) -> None:
        """Call a plain function, in a thread of the call's own."""
        try:
            result, error = self._section.function(context), None
        except BaseException as raised:  # noqa: BLE001  # whatever a plugin raises is its section's failure
            result, error = None, raised
        self._end(answer, result, error)

    def _end(self, answer: _Answer, result: Any, error: BaseException | None) -> None:
        """Settle a call. One that hangs counts as running until it is here, however long ago its caller left."""
        with self._lock:
            self._running -= 1
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # its caller has left
            answer.set_result((result, error))

    def _thread(self, target: Callable[..., None], *args: object) -> None:
        name = f"portrait-section-{self._section.name}"
        threading.Thread(target=target, args=args, name=name, daemon=True).start()


async def _caught(function: Callable[..., Awaitable[Any]], context: Context) -> tuple[Any, BaseException | None]:
    """Call a coroutine function of a plugin's; whatever it raises, an exit too, is a value from here on."""
    try:
        return await function(context), None
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  # whatever a plugin raises is its section's failure
        return None, error


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Run a section's loop until it is stopped, then end what still runs on it."""
    try:
        loop.run_forever()
        if running := asyncio.all_tasks(loop):
            for task in running:
                task.cancel()
            loop.run_until_complete(asyncio.wait(running))
    finally:
        loop.close()


def _cancel_if_pending(task: "asyncio.Future[Any]") -> None:
    with contextlib.suppress(RuntimeError):  # its loop has closed
        task.get_loop().call_soon_threadsafe(task.cancel)


def _checked(result: Any) -> bytes:
    if not isinstance(result, list | tuple):
        raise TypeError("a computed section returns a list of records")
    return _encode(result)


def _failed(code: str, detail: str) -> Part:
    return Part(b"[]", (code, detail))
