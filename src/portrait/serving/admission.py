"""Which requests begin, and when: as many at once as are answered soon, tenants in turns, the rest refused in time.

Below capacity nothing waits here. Above it a queue would grow without end, and everybody would wait for all of it. So a
tenant's requests wait in the order in which they came, since a burst passes; but where that lasts, or where too many
wait, the newest comes first and the oldest is refused: who is served at all is served at once, and who is not hears so.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from portrait.model.errors import Overloaded
from portrait.serving import request
from portrait.serving.leaving import may_leave
from portrait.serving.turns import Turns

BURST_SECONDS = 0.5
"""A tenant's requests wait in the order in which they came for so long, in seconds: a burst passes."""
LATE_SECONDS = 0.1
"""A burst is over once a tenant's oldest has waited for less than this, in seconds: a lasting queue is no burst."""
SHED_SECONDS = 0.01
"""After that, how long a request waits until it gives way to newer ones, in seconds."""
LOOK_SECONDS = 0.01
"""How often waiting requests are looked at, in seconds; only while there are any."""
MOST_WAITING = 1024
"""The most requests of one kind that wait in one process."""
SHED_WAITING = 12
"""The most requests of a tenant that wait then: more are refused at once."""
READS_A_TURN = 32
"""So many reads begin in one turn of the event loop; then the loop sees to what has come meanwhile."""
READS_A_SHORT_TURN = 8
"""So many reads begin in a turn where too many wait: the newest is to be seen soon."""
MOST_WRITES = 256
"""The most writes under way in one process."""
LEAST_WRITES = 24
"""So many writes are let in, however slow they are."""
WRITE_SECONDS = 0.2
"""Beyond these, as many writes as are answered within this time, in seconds, at the rate of the last answers."""
TIMES_ALONE = 3.0
"""Where too many wait: as many writes as are answered within so many times the duration of a write nearly alone."""
RATE_SECONDS = 0.1
"""Over how long the rate of answers is taken, in seconds."""
MOST_LONG = 32
"""The most long requests, such as bulks, under way in one process."""
MOST_LONG_OF_ONE = 8
"""The most long requests of one tenant under way in one process."""
TELL_SECONDS = 10.0
"""How often the log tells of refusals, in seconds."""

_log = logging.getLogger("portrait.admission")


class Waiter:
    """A request that waits to begin."""

    __slots__ = ("since", "turn")

    def __init__(self, turn: "asyncio.Future[None]", since: float) -> None:
        self.turn = turn
        self.since = since


class Gate:
    """Lets requests of one kind begin.

    Args:
        kind: what the requests are, for the log.
        limit: returns how many may be under way now, given the gate.
        most: the most requests that wait; beyond, the tenant with most of them has its oldest refused.
    """

    def __init__(self, kind: str, limit: Callable[["Gate"], int], most: int = MOST_WAITING) -> None:
        self._kind = kind
        self._limit = limit
        self._waiting: Turns[Waiter] = Turns(most)
        self._shedding: dict[str | None, float] = {}
        """Tenants whose newest requests come first, with the moment of the last refusal for each."""
        self._late: dict[str | None, float] = {}
        """Tenants whose oldest request is late, with the moment at which the first of the late requests came."""
        self._most = limit(self)
        """How many may be under way, computed in each turn of the event loop that lets waiting requests begin."""
        self._under_way = 0
        """How many are under way, or were until this turn of the event loop."""
        self._ended = 0
        self._turning = False
        self._looking = False
        self._refused = 0
        self._reported_at = -TELL_SECONDS

    @property
    def under_way(self) -> int:
        """How many are under way."""
        return self._under_way - self._ended

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting.size

    def enter(self) -> bool:
        """Tell whether a request may begin at once; it is under way then, until it leaves. If not, it has to wait."""
        if self._waiting.size or self._under_way >= self._most:
            return False
        self._under_way += 1
        return True

    def refuse_if_full(self, tenant: str | None) -> None:
        """Refuse a request of a tenant that has too many requests waiting already.

        Raises:
            Overloaded: its turn would come too late, as that of others did.
        """
        if self.refuses(tenant):
            raise overloaded()

    def refuses(self, tenant: str | None) -> bool:
        """Tell whether a request of a tenant is refused, as too many wait already; it counts as refused then."""
        if tenant not in self._shedding or self._waiting.count(tenant) < SHED_WAITING:
            return False
        self._shedding[tenant] = asyncio.get_running_loop().time()
        self._refused += 1
        return True

    @property
    def is_shedding(self) -> bool:
        """Whether too many requests of some tenant wait."""
        return bool(self._shedding)

    async def wait(self, tenant: str | None) -> None:
        """Wait until a request may begin; it is under way then, until it leaves.

        Args:
            tenant: whose request it is; None: no known tenant's.

        Raises:
            Overloaded: its turn would come too late.
            Left: the caller has left.
        """
        self.refuse_if_full(tenant)
        loop = asyncio.get_running_loop()
        waiter = Waiter(loop.create_future(), loop.time())
        self._waiting.add(tenant, waiter)
        if self._waiting.is_too_long:
            longest = self._waiting.longest
            self._shedding[longest] = loop.time()
            self._refuse(self._waiting.take_of(longest, newest=False))
        self._turn_soon()
        if not self._looking:
            self._looking = True
            loop.call_later(LOOK_SECONDS, self._look, loop)
        try:
            with may_leave():
                await waiter.turn
        except asyncio.CancelledError:
            waits = self._waiting.remove(tenant, waiter)
            if not waits and not waiter.turn.cancelled() and waiter.turn.exception() is None:
                self.leave()  # its turn came in the same moment
            raise

    def leave(self) -> None:
        """End a request that is under way: a waiting request begins at the next turn of the event loop."""
        self._ended += 1
        self._turn_soon()

    def nudge(self) -> None:
        """Check whether a waiting request may begin now."""
        if self._waiting.size:
            self._turn_soon()

    def _turn_soon(self) -> None:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn, context=request.NONE)

    def _turn(self) -> None:
        self._turning = False
        self._under_way -= self._ended
        self._ended = 0
        self._most = self._limit(self)
        while self._waiting.size and self._under_way < self._most:
            waiter = self._waiting.take(self._shedding)
            if waiter is not None and not waiter.turn.done():
                self._under_way += 1
                waiter.turn.set_result(None)
        if self._shedding:
            self._shed(asyncio.get_running_loop().time())

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Find the tenants with too many requests waiting, and let other requests begin if they may."""
        now = loop.time()
        # A tenant that was refused nothing for as long as a burst may last is served in order again.
        self._shedding = {tenant: last for tenant, last in self._shedding.items() if now - last < BURST_SECONDS}
        self._late = {
            tenant: self._late.get(tenant, oldest.since)
            for tenant, oldest in self._waiting.oldest()
            if now - oldest.since >= LATE_SECONDS
        }
        self._shedding |= {tenant: now for tenant, since in self._late.items() if now - since >= BURST_SECONDS}
        self._turn_soon()
        self._tell(now)
        self._looking = self._waiting.size > 0
        if self._looking:
            loop.call_later(LOOK_SECONDS, self._look, loop)

    def _shed(self, now: float) -> None:
        """Refuse requests that have waited too long, of tenants with too many requests waiting."""
        for tenant in self._shedding:
            while (waiter := self._waiting.first(tenant)) is not None and now - waiter.since >= SHED_SECONDS:
                self._refuse(self._waiting.take_of(tenant, newest=False))
                self._shedding[tenant] = now

    def _refuse(self, waiter: Waiter) -> None:
        if not waiter.turn.done():
            self._refused += 1
            waiter.turn.set_exception(overloaded())

    def _tell(self, now: float) -> None:
        if self._refused and now >= self._reported_at + TELL_SECONDS:
            _log.warning("overloaded: %d %s were refused", self._refused, self._kind)
            self._refused, self._reported_at = 0, now


class Pace:
    """How many writes may be under way: where too many wait, as many as are answered soon."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._answered = 0
        self._most = 0
        self._rate = 0.0
        self._alone = 0.0
        self._shortest = float("inf")

    def limit(self, gate: Gate) -> int:
        """Return how many may be under way now.

        Many writes together share transactions: more of them are answered in a second, each of them later. So where too
        many wait, and some are refused in any case, fewer are under way, and these are answered soon.
        """
        within = TIMES_ALONE * self._alone if gate.is_shedding else WRITE_SECONDS
        return min(MOST_WRITES, max(LEAST_WRITES, int(self._rate * within)))

    def answered(self, seconds: float, under_way: int) -> None:
        """Take note of an answer.

        Args:
            seconds: what the write took, from when it began.
            under_way: how many were under way with it.
        """
        self._answered += 1
        self._most = max(self._most, under_way)
        self._shortest = min(self._shortest, seconds)
        passed = self._clock() - self._since
        if passed < RATE_SECONDS:
            return
        self._rate = (self._rate + self._answered / passed) / 2
        # Where many writes are under way, each waits for others, and takes longer than it would alone.
        if self._most < LEAST_WRITES or (not self._alone and self._most <= 4 * LEAST_WRITES):
            self._alone = self._shortest
        elif self._alone:
            self._alone = min(self._alone, self._shortest)
        self._since += passed
        self._answered = self._most = 0
        self._shortest = float("inf")


class Places:
    """Bounds how many long requests are under way, in all and of one tenant.

    Args:
        most: the most in all.
        most_of_one: the most of one tenant.
    """

    def __init__(self, most: int = MOST_LONG, most_of_one: int = MOST_LONG_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._taken: Counter[str | None] = Counter()

    @contextmanager
    def hold(self, tenant: str | None) -> Iterator[None]:
        """Hold a place.

        Raises:
            Overloaded: no place is free.
        """
        if self._taken.total() >= self._most or self._taken[tenant] >= self._most_of_one:
            raise overloaded()
        self._taken[tenant] += 1
        try:
            yield
        finally:
            self._taken[tenant] -= 1
            if not self._taken[tenant]:
                del self._taken[tenant]


class Request:
    """One request on its way through a gate.

    Args:
        gate: the gate.
        tenant: whose request it is.
        pace: learns how long the request took; None: the request keeps no other from beginning, once it has begun.
    """

    __slots__ = ("_gate", "_pace", "_since", "_tenant")

    def __init__(self, gate: Gate, tenant: str | None, pace: Pace | None) -> None:
        self._gate = gate
        self._tenant = tenant
        self._pace = pace
        self._since: float | None = None

    async def begin(self) -> None:
        """Wait until the request may begin.

        Raises:
            Overloaded: its turn would come too late.
            Left: the caller has left.
        """
        if not self._gate.enter():
            await self._gate.wait(self._tenant)
        self._since = time.monotonic()
        if self._pace is None:
            self._gate.leave()

    def end(self, *, answered: bool) -> None:
        """Let other requests begin, if this request began; `answered` tells whether it was answered."""
        if self._pace is None:
            self._gate.nudge()
        elif self._since is not None:
            if answered:
                self._pace.answered(time.monotonic() - self._since, self._gate.under_way)
            self._gate.leave()


class Admission:
    """What one process lets in.

    Args:
        is_crowded: tells whether so many wait for the database that no further read is to begin.
        most: the most reads, and the most writes, that wait.
    """

    def __init__(self, is_crowded: Callable[[], bool], most: int = MOST_WAITING) -> None:
        self._pace = Pace()
        self._is_crowded = is_crowded
        self.reads = Gate("reads", self._reads, most)
        self.writes = Gate("writes", self._pace.limit, most)
        self.long = Places()

    def _reads(self, gate: Gate) -> int:
        if self._is_crowded():
            return 0
        return READS_A_SHORT_TURN if gate.is_shedding else READS_A_TURN

    def read(self, tenant: str | None) -> Request:
        """Return a read's way in."""
        return Request(self.reads, tenant, None)

    def write(self, tenant: str | None) -> Request:
        """Return a write's way in."""
        return Request(self.writes, tenant, self._pace)


def overloaded() -> Overloaded:
    """Return the error for a request that cannot be served in time."""
    return Overloaded("The service is overloaded; nothing was done. Try again soon.")
