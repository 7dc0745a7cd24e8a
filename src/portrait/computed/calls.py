"""Where the functions of computed sections run: threads, and event loops that a call may hold that never yields."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

MAX_RUNNING = 32
"""The most calls of one section that run at once: calls that hang must not take all threads."""
MAX_LOOPS = 4
"""The most event loops of one section, including those that were abandoned because a call never yielded."""

END_SECONDS = 1.0
"""How long what a loop holds may take to let go when the loop ends, in seconds."""

Function = Callable[..., Any]
AtEnd = Callable[[], Coroutine[Any, Any, None]]
Outcome = tuple[Any, BaseException | None]
"""What a call returned or raised; raised errors are values here, since some errors have a meaning for futures."""
_Answer = concurrent.futures.Future[Outcome]


class Busy(Exception):  # no failure of the section's: it is answered as such
    """Too many earlier calls of the section have not ended."""


class Calls(Protocol):
    """Calls the function of one section."""

    async def call(self, context: object, until: float) -> Outcome:
        """Return what the function returns or raises.

        Args:
            context: the function's argument.
            until: the deadline, by the clock of the running event loop.

        Raises:
            TimeoutError: the function did neither by then.
            Busy: the function was not called.
        """
        ...

    def close(self) -> None:
        """Stop. Threads that hang are left to the end of the process."""
        ...


class Threads:
    """Calls a plain function, in a thread of the call's own.

    A daemon thread a call, not a pool's: a pool would wait at exit for a function that never ends.
    """

    def __init__(self, name: str, function: Function) -> None:
        self._name = name
        self._function = function
        self._running = _Count()

    async def call(self, context: object, until: float) -> Outcome:
        """See `Calls`."""
        self._running.up()
        answer: _Answer = concurrent.futures.Future()
        try:
            _thread(self._name, self._run, context, answer)
        except RuntimeError as error:  # no more threads, or the service is stopping
            self._running.down()
            return None, error
        async with asyncio.timeout_at(until):
            return await asyncio.wrap_future(answer)

    def close(self) -> None:
        """See `Calls`."""

    def _run(self, context: object, answer: _Answer) -> None:
        try:
            outcome: Outcome = self._function(context), None
        except BaseException as raised:  # noqa: BLE001  # whatever a plugin raises is its section's failure
            outcome = None, raised
        # A call that hangs counts as running until it is here, however long ago its caller left.
        self._running.down()
        _settle(answer, outcome)


class Loops:
    """Calls a coroutine function, on an event loop of the section's own.

    A call that never yields holds its loop. The other calls notice it, since they are not begun; and so does the call
    itself, if the loop has not come round by the call's deadline since it was asked to. Then the loop is abandoned,
    with its thread, and calls that were not begun go to another loop, up to `MAX_LOOPS`. An abandoned loop that comes
    round after all ends by itself.

    Args:
        name: the section's name.
        function: the section's function.
        report: called when a loop is abandoned, with the context of the call that noticed it and how many loops hang.
        at_end: run on each loop once the calls on it have ended, before it closes; None: nothing is.
    """

    def __init__(
        self, name: str, function: Function, report: Callable[[Any, int], None], at_end: AtEnd | None = None
    ) -> None:
        self._name = name
        self._function = function
        self._report = report
        self._at_end = at_end
        self._lock = threading.Lock()
        self._lane: _Lane | None = None
        self._abandoned: set[_Lane] = set()
        self._closed = False

    async def call(self, context: object, until: float) -> Outcome:
        """See `Calls`."""
        now = asyncio.get_running_loop().time()
        try:
            lane = self._current()
            call = lane.begin(context)
            if await call.is_done_by(now + (until - now) / 2):
                return call.outcome()
            heard = lane.asked()
            if call.withdrawn():
                self._abandon(lane, context)
                lane = self._current()
                call = lane.begin(context)
                heard = lane.asked()
        except RuntimeError as error:  # no more threads, or the service is stopping
            return None, error
        if await call.is_done_by(until):
            return call.outcome()
        call.cancel()
        if not heard.is_set():
            self._abandon(lane, context)
        raise TimeoutError

    def close(self) -> None:
        """See `Calls`."""
        with self._lock:
            self._closed = True
            lanes = [*self._abandoned, *([self._lane] if self._lane else [])]
        for lane in lanes:
            lane.stop()

    def _current(self) -> "_Lane":
        """Return the loop that calls go to now.

        Raises:
            Busy: as many loops as there may be are abandoned.
            RuntimeError: there are no more threads, or the service is stopping.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the sections' loops are closed")
            if self._lane is None:
                if len(self._abandoned) >= MAX_LOOPS:
                    raise Busy
                self._lane = _Lane(self._name, self._function, self._ended, self._at_end)
            return self._lane

    def _abandon(self, lane: "_Lane", context: object) -> None:
        with self._lock:
            if self._lane is not lane:  # another call noticed before
                return
            self._lane = None
            self._abandoned.add(lane)
            count = len(self._abandoned)
        lane.retire()
        self._report(context, count)

    def _ended(self, lane: "_Lane") -> None:
        with self._lock:
            self._abandoned.discard(lane)
            if self._lane is lane:  # a plugin has stopped it
                self._lane = None


class _Lane:
    """One event loop in a thread of its own, and the calls on it."""

    def __init__(self, name: str, function: Function, ended: "Callable[[_Lane], None]", at_end: AtEnd | None) -> None:
        self._function = function
        self._ended = ended
        self._at_end = at_end
        self._running = _Count()
        self._loop = asyncio.new_event_loop()
        try:
            _thread(name, self._run)
        except RuntimeError:
            self._loop.close()
            raise

    def begin(self, context: object) -> "_Call":
        """Give a call to the loop."""
        self._running.up()
        call = _Call(self._loop, self._running)
        try:
            self._loop.call_soon_threadsafe(call.begin, self._function, context)
        except RuntimeError:
            self._running.down()
            raise
        return call

    def asked(self) -> threading.Event:
        """Return an event that is set when the loop has come round."""
        heard = threading.Event()
        with contextlib.suppress(RuntimeError):  # it has ended: nothing waits for it
            self._loop.call_soon_threadsafe(heard.set)
        return heard

    def retire(self) -> None:
        """End the loop once it comes round and the calls on it have ended."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._last()))

    def stop(self) -> None:
        """End the loop once it comes round."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)

    async def _last(self) -> None:
        others = asyncio.all_tasks(self._loop) - {asyncio.current_task(self._loop)}
        if others:
            await asyncio.wait(others)
        self._loop.stop()

    def _run(self) -> None:
        """Run the loop until it is stopped, then end the calls that still run on it."""
        try:
            self._loop.run_forever()
            if running := asyncio.all_tasks(self._loop):
                for task in running:
                    task.cancel()
                self._loop.run_until_complete(asyncio.wait(running))
            if self._at_end is not None:
                with contextlib.suppress(Exception):  # nobody is left who could be told
                    self._loop.run_until_complete(asyncio.wait_for(self._at_end(), END_SECONDS))
        finally:
            self._loop.close()
            self._ended(self)


class _Call:
    """One call on its way to a loop, or on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, running: "_Count") -> None:
        self._loop = loop
        self._running = running
        self._lock = threading.Lock()
        self._begun = False
        self._withdrawn = False
        self._task: asyncio.Task[Outcome] | None = None
        self._answer: _Answer = concurrent.futures.Future()

    def begin(self, function: Function, context: object) -> None:
        """Start the function: run by the loop."""
        self._task = self._loop.create_task(self._run(function, context))
        self._task.add_done_callback(self._end)

    async def _run(self, function: Function, context: object) -> Outcome:
        # Only here the call has begun: several calls may have come to the loop before the first of them got its turn.
        with self._lock:
            if self._withdrawn:
                return None, None
            self._begun = True
        outcome = await _caught(function, context)
        _settle(self._answer, outcome)  # at once: the next call may hold the loop
        return outcome

    def withdrawn(self) -> bool:
        """Take the call back, and tell whether that could be done: a call that has begun stays."""
        with self._lock:
            self._withdrawn = not self._begun
            return self._withdrawn

    async def is_done_by(self, moment: float) -> bool:
        """Tell whether the call has ended, once it has, or at a moment of the running loop's clock."""
        waiting = asyncio.wrap_future(self._answer)
        try:
            await asyncio.wait({waiting}, timeout=max(0.0, moment - asyncio.get_running_loop().time()))
        except asyncio.CancelledError:  # the caller has left
            self.cancel()
            raise
        return waiting.done()

    def outcome(self) -> Outcome:
        """Return the outcome of the call, once it has ended."""
        return self._answer.result()

    def cancel(self) -> None:
        """End the call once its loop comes round."""
        with contextlib.suppress(RuntimeError):  # its loop has closed
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self, done: "asyncio.Task[Outcome]") -> None:
        self._running.down()
        _settle(self._answer, (None, None) if done.cancelled() else done.result())


class _Count:
    """How many calls run; several threads change it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0

    def up(self) -> None:
        """Count a call.

        Raises:
            Busy: too many calls run.
        """
        with self._lock:
            if self._running >= MAX_RUNNING:
                raise Busy
            self._running += 1

    def down(self) -> None:
        """Count a call no more."""
        with self._lock:
            self._running -= 1


async def _caught(function: Callable[..., Awaitable[Any]], context: object) -> Outcome:
    """Call a coroutine function of a plugin's; whatever it raises, an exit too, is a value from here on."""
    try:
        return await function(context), None
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  # whatever a plugin raises is its section's failure
        return None, error


def _settle(answer: _Answer, outcome: Outcome) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):  # its caller has left
        answer.set_result(outcome)


def _thread(name: str, target: Callable[..., None], *args: object) -> None:
    threading.Thread(target=target, args=args, name=f"portrait-section-{name}", daemon=True).start()
