"""The load generator: a process of its own, on a core of its own, that sends prepared requests and times the answers.

It reads a `Plan` from stdin and writes a `Result` to stdout. Of an answer it looks at the status and Content-Length and
counts the other bytes, so that it costs a fraction of what any server spends.
"""

import asyncio
import gc
import math
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from itertools import cycle

import msgspec
import uvloop

from bench.load import GRACE, Plan, Result
from bench.ticks import timer
from bench.wire import Connection


class ClosedLoop:
    """Each connection sends its next request as soon as its last was answered."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.requests: Iterator[bytes] = iter(plan.requests) if plan.once else cycle(plan.requests)
        self.latencies: list[float] = []
        self.refusals: list[float] = []
        self.statuses: dict[int, int] = {}
        self.faults: dict[str, int] = {}
        self.under_way = self.sent = 0
        self.begins = self.ends = self.last = 0.0
        self._done = asyncio.Event()

    async def run(self) -> Result:
        """Open the connections, send for as long as is planned, and wait for what is under way."""
        loop = asyncio.get_running_loop()
        opened = [
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.plan.port)
            for _ in range(self.plan.connections)
        ]
        now = time.perf_counter()
        self.begins = now + self.plan.warmup
        self.ends = self.begins + self.plan.seconds
        self.start([connection for _, connection in opened], now)
        loop.call_later(self.plan.warmup + self.plan.seconds + GRACE, self._done.set)
        await self._done.wait()
        for what, count in self.left().items():
            self.fault(what, count)
        result = self._result()
        for transport, _ in opened:
            transport.abort()
        return result

    def left(self) -> Counter[str]:
        """Return what was waited for in vain."""
        return +Counter({"requests without an answer": self.under_way})

    def start(self, connections: list[Connection], now: float) -> None:
        """Send the first requests."""
        for connection in connections:
            self.proceed(connection, now)

    def answered(self, connection: Connection) -> None:
        """Take note of an answer, and go on."""
        now = time.perf_counter()
        self.under_way -= 1
        self.statuses[connection.status] = self.statuses.get(connection.status, 0) + 1
        if connection.since >= self.begins and self.counts(now):
            taken = self.refusals if connection.status == self.plan.refused else self.latencies
            taken.append(now - connection.since)
            self.last = now
        self.proceed(connection, now)

    def counts(self, now: float) -> bool:
        """Tell whether an answer that came now is one of those measured."""
        return not self.is_over(now)

    def is_over(self, now: float) -> bool:
        """Tell whether the time is over: never before one answer was measured, however slow the server is."""
        return now > self.ends and bool(self.latencies)

    def proceed(self, connection: Connection, now: float) -> None:
        """Use a connection that has nothing under way."""
        request = None if self.is_over(now) else next(self.requests, None)
        if request is not None:
            self.send(connection, request, now)
        elif not self.under_way:
            self._done.set()

    def send(self, connection: Connection, request: bytes, since: float) -> None:
        """Send a request whose time counts from a moment; one that is not timed, as from before all that is."""
        is_timed = self.sent % self.plan.every == self.plan.timed
        self.sent += 1
        self.under_way += 1
        connection.send(request, since if is_timed else -math.inf)

    def fault(self, what: str, count: int = 1) -> None:
        """Take note of something that went wrong; nothing is sent any more."""
        self.faults[what] = self.faults.get(what, 0) + count
        self._done.set()

    def _result(self) -> Result:
        ordered = sorted(self.latencies) or [0.0]
        refused = sorted(self.refusals) or [0.0]
        # Where the requests ran out, time stopped with the last answer; where none came in time, with the first.
        ran_out = self.plan.once and next(self.requests, None) is None
        seconds = self.last - self.begins if ran_out else max(self.plan.seconds, self.last - self.begins)
        return Result(
            requests=len(self.latencies),
            seconds=seconds,
            p50=ordered[len(ordered) // 2] * 1000,
            p95=ordered[len(ordered) * 95 // 100] * 1000,
            p99=ordered[len(ordered) * 99 // 100] * 1000,
            refused=len(self.refusals),
            refused_p99=refused[len(refused) * 99 // 100] * 1000,
            statuses=dict(self.statuses),
            faults=dict(self.faults),
        )


class OpenLoop(ClosedLoop):
    """Requests are due at a fixed rate, whatever the answers do, and their time counts from when they were due."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._step = 1 / (plan.rate or 1.0)
        self._next = 0.0
        self._due: deque[float] = deque()
        # The one that waited longest is used first: none is idle for so long that the server closes it.
        self._idle: deque[Connection] = deque()
        self._timer = timer(self._step)

    def left(self) -> Counter[str]:
        """Return what was waited for in vain: where some never had a connection, the others may have just begun."""
        return super().left() + Counter({"requests for which no connection came free": len(self._due)})

    def start(self, connections: list[Connection], now: float) -> None:
        """Start the timer."""
        self._idle.extend(connections)
        self._next = now
        asyncio.get_running_loop().add_reader(self._timer, self._tick)

    def counts(self, now: float) -> bool:
        """Every answer counts, however late: it was due in time."""
        del now
        return True

    def proceed(self, connection: Connection, now: float) -> None:
        """Send what is overdue, or wait for what will be due."""
        del now
        self._idle.append(connection)
        self._send_due()
        self._finish()

    def _tick(self) -> None:
        os.read(self._timer, 8)
        now = time.perf_counter()
        while self._next <= now and self._next < self.ends:
            self._due.append(self._next)
            self._next += self._step
        self._send_due()
        if now >= self.ends:
            asyncio.get_running_loop().remove_reader(self._timer)
            self._finish()

    def _finish(self) -> None:
        """End the run once all that was to be sent has been answered."""
        if self._next >= self.ends and not self._due and not self.under_way:
            self._done.set()

    def _send_due(self) -> None:
        while self._due and self._idle:
            self.send(self._idle.popleft(), next(self.requests), self._due.popleft())


def main() -> None:
    """Run the plan that stdin holds."""
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    if plan.core is not None:
        os.sched_setaffinity(0, {plan.core})
    gc.freeze()
    gc.disable()

    async def run() -> Result:
        return await (ClosedLoop(plan) if plan.rate is None else OpenLoop(plan)).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run())
    sys.stdout.buffer.write(msgspec.msgpack.encode(result))


if __name__ == "__main__":
    main()
