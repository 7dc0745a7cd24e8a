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
from functools import partial
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


_Answer = concurrent.futures.Future[Any]


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

    def forget(self, tenant: str, customer_id: str) -> None:
        """Drop what is kept of a customer."""
        for runner in self._runners.values():
            runner.cache.pop((tenant, customer_id), None)

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
        started = self._start(context)
        try:
            async with asyncio.timeout(self._section.timeout) as deadline:
                body = _checked(await asyncio.wrap_future(started))
        except Exception:  # noqa: BLE001  # whatever a plugin raises is its section's failure
            if deadline.expired():
                detail = f"The section did not answer within {self._section.timeout:g} seconds."
                return _failed("deadline_exceeded", detail)
            # The exception's text may hold personal data: it is for the operator's log of a plugin, not the caller.
            _log.warning("section %s failed", self._section.name, exc_info=True)
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
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin, context, answer)
        else:
            # A daemon thread a call, not a pool's: a pool would wait at exit for a function that never ends.
            self._thread(self._call, context, answer)
        return answer

    def _begin(self, context: Context, answer: _Answer) -> None:
        """Start a coroutine function, on the section's loop."""
        task = asyncio.ensure_future(_contained(self._section.function, context))
        task.add_done_callback(lambda done: self._end(answer, done.result))
        answer.add_done_callback(lambda _: _cancel_if_pending(task))

    def _call(self, context: Context, answer: _Answer) -> None:
        """Call a plain function, in a thread of the call's own."""
        self._end(answer, lambda: self._section.function(context))

    def _end(self, answer: _Answer, result: Callable[[], Any]) -> None:
        """Settle a call. One that hangs counts as running until it is here, however long ago its caller left."""
        try:
            settle: Callable[[], None] = partial(answer.set_result, result())
        except Exception as error:  # noqa: BLE001  # whatever a plugin raises is its section's failure
            settle = partial(answer.set_exception, error)
        except BaseException as error:  # noqa: BLE001  # a cancellation or exit of its own is not the service's
            settle = partial(answer.set_exception, RuntimeError(type(error).__name__))
        with self._lock:
            self._running -= 1
        if not answer.cancelled():
            with contextlib.suppress(concurrent.futures.InvalidStateError):  # cancelled this moment
                settle()

    def _thread(self, target: Callable[..., None], *args: object) -> None:
        name = f"portrait-section-{self._section.name}"
        threading.Thread(target=target, args=args, name=name, daemon=True).start()


async def _contained(function: Callable[..., Awaitable[Any]], context: Context) -> Any:
    """Call a coroutine function of a plugin's; an exit that it asks for must not end its loop."""
    try:
        return await function(context)
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(type(error).__name__) from error


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
