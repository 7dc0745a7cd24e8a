"""Gates, in a time that goes on only where somebody waits or works: the same on every machine.

What is accepted is answered soon and the rest is refused soon, however much more than can be answered is asked for; and
whoever asks for little does not notice.
"""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import virtual
from portrait.model.errors import Overloaded
from portrait.serving import admission, leaving
from portrait.serving.admission import Admission, Gate, Pace, Places

PARSED, READ, REFUSED = 20e-6, 50e-6, 15e-6
"""The cost of a request to arrive, to be answered, and to be refused, in seconds."""


class Load:
    """Requests that come at fixed moments, whatever the outcome of earlier ones."""

    def __init__(self, answer):
        self.answer = answer
        self.accepted, self.refused = {}, {}
        """How long each took, by tenant and the moment at which it was due."""
        self.waited = Counter()

    async def request(self, tenant, due):
        loop = asyncio.get_running_loop()
        try:
            await self.answer(tenant)
            self.accepted[tenant, due] = loop.time() - due
        except Overloaded:
            loop.work(REFUSED)
            self.refused[tenant, due] = loop.time() - due

    async def run(self, seconds, **rates):
        """Send so many requests a second of each tenant."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        due = sorted((index / rate, tenant) for tenant, rate in rates.items() for index in range(int(rate * seconds)))
        tasks = []
        for moment, tenant in due:
            if loop.time() < begun + moment or len(tasks) % 64 == 0:
                await asyncio.sleep(max(0.0, begun + moment - loop.time()))
            loop.work(PARSED)
            tasks.append(asyncio.ensure_future(self.request(tenant, begun + moment)))
        await asyncio.gather(*tasks)

    def of(self, durations, tenant, after):
        return sorted(took for (owner, due), took in durations.items() if owner == tenant and due >= after)


def part(values, share):
    return values[int(len(values) * share)]


def reads(gate):
    async def answer(tenant):
        if not gate.enter():
            await gate.wait(tenant)
        gate.leave()
        asyncio.get_running_loop().work(READ)
        gate.nudge()

    return answer


@pytest.mark.parametrize("times", [1.1, 1.5])
def test_reads_beyond_what_can_be_answered_are_answered_soon_or_refused_soon(times):
    async def scenario():
        admitted = Admission(lambda: False)
        load = Load(reads(admitted.reads))
        await load.run(2.0, a=times / (PARSED + READ))
        accepted, refused = load.of(load.accepted, "a", 1.0), load.of(load.refused, "a", 1.0)
        assert accepted
        assert refused
        assert part(accepted, 0.99) <= 0.01
        assert refused[-1] <= 0.1
        assert admitted.reads.waiting == 0

    virtual.run(scenario())


def test_below_what_can_be_answered_nothing_is_refused():
    async def scenario():
        load = Load(reads(Admission(lambda: False).reads))
        await load.run(1.0, a=0.9 / (PARSED + READ))
        assert load.refused == {}

    virtual.run(scenario())


def test_a_burst_is_waited_out_in_the_order_in_which_it_came():
    async def scenario():
        load = Load(reads(Admission(lambda: False).reads))
        await asyncio.gather(*(load.request("a", number) for number in range(1000)))
        assert load.refused == {}
        assert list(load.accepted) == [("a", number) for number in range(1000)]

    virtual.run(scenario())


def test_a_tenant_far_above_what_can_be_answered_takes_nothing_from_another():
    async def scenario():
        load = Load(reads(Admission(lambda: False).reads))
        capacity = 1 / (PARSED + READ)
        await load.run(2.0, flood=1.4 * capacity, other=0.05 * capacity)
        assert [due for tenant, due in load.refused if tenant == "other" and due >= 1.0] == []
        assert load.of(load.accepted, "other", 1.0)[-1] <= 0.01

    virtual.run(scenario())


class Narrow:
    """A gate for three, with room for five to wait, and the requests that were let in until they end."""

    def __init__(self):
        self.gate = Gate("things", lambda _: 3, most=5)
        self.inside = []
        self.tasks = []

    async def _come(self, tenant):
        if not self.gate.enter():
            await self.gate.wait(tenant)
        self.inside.append(tenant)
        assert len(self.inside) <= 3

    def come(self, tenant):
        self.tasks.append(asyncio.ensure_future(self._come(tenant)))

    def go(self):
        if self.inside:
            self.inside.pop()
            self.gate.leave()

    def give_up(self):
        if self.tasks:
            leaving.leave(self.tasks[len(self.tasks) // 2])


STEPS = st.lists(st.tuples(st.sampled_from(["come", "go", "give up", "turn"]), st.sampled_from("ab")), max_size=80)


@given(STEPS)
def test_requests_under_way_are_bounded_and_no_slot_is_lost(steps):
    async def scenario():
        narrow = Narrow()
        acts = {"come": narrow.come, "go": lambda _: narrow.go(), "give up": lambda _: narrow.give_up()}
        for what, tenant in steps:
            acts.get(what, lambda _: None)(tenant)
            await asyncio.sleep(0)
            assert narrow.gate.waiting <= 5
        while narrow.gate.waiting or narrow.inside:
            narrow.go()
            await asyncio.sleep(0)
        results = await asyncio.gather(*narrow.tasks, return_exceptions=True)
        assert {type(result) for result in results} <= {type(None), Overloaded, leaving.Left, asyncio.CancelledError}
        narrow.go()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert narrow.gate.under_way == len(narrow.inside)
        assert [narrow.gate.enter() for _ in range(4 - len(narrow.inside))][-2:] == [True, False]

    virtual.run(scenario())


def test_a_caller_that_leaves_while_waiting_is_given_up_and_nothing_is_begun_for_it():
    async def scenario():
        gate = Gate("things", lambda _: 1)
        assert gate.enter()
        begun = []

        async def come(name):
            await gate.wait("a")
            begun.append(name)
            gate.leave()

        gone, stays = asyncio.ensure_future(come("gone")), asyncio.ensure_future(come("stays"))
        await asyncio.sleep(0)
        leaving.leave(gone)
        await asyncio.sleep(0)
        assert gate.waiting == 1
        gate.leave()
        await asyncio.wait([gone, stays])
        assert gone.cancelled()
        assert begun == ["stays"]

    virtual.run(scenario())


def test_a_caller_that_left_before_waiting_does_not_wait():
    async def scenario():
        gate = Gate("things", lambda _: 0)
        ready = asyncio.Event()

        async def come():
            await ready.wait()
            await gate.wait("a")

        task = asyncio.ensure_future(come())
        await asyncio.sleep(0)
        leaving.leave(task)
        assert leaving.has_left(task)
        await asyncio.sleep(0)
        assert not task.done(), "what cannot be given up goes on"
        ready.set()
        await asyncio.wait([task])
        assert task.cancelled()
        assert gate.waiting == 0
        await asyncio.sleep(0)
        assert not leaving.has_left(task), "who is done is forgotten"

    virtual.run(scenario())


def writing(admitted, disk, seconds):
    """Return the function that answers a write: all writes that wait for the disk share its next commit."""
    waiting = []

    async def commits():
        while waiting:
            taken, waiting[:] = waiting[:], []
            await asyncio.sleep(disk + seconds * len(taken))
            for future in taken:
                future.set_result(None)

    async def answer(tenant):
        loop = asyncio.get_running_loop()
        admitted.writes.refuse_if_full(tenant)
        request = admitted.write(tenant)
        await request.begin()
        done = loop.create_future()
        waiting.append(done)
        if len(waiting) == 1 and not answer.busy:
            answer.busy = asyncio.ensure_future(commits())
            answer.busy.add_done_callback(lambda _: setattr(answer, "busy", None))
        await done
        request.end(answered=True)

    answer.busy = None
    return answer


@pytest.mark.parametrize("disk", [0.001, 0.005, 0.02])
def test_writes_beyond_what_can_be_committed_are_answered_soon_or_refused_soon(disk, monkeypatch):
    async def scenario():
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(admission, "time", loop)
        loop.monotonic = loop.time
        admitted = Admission(lambda: False)
        admitted._pace = Pace(loop.time)
        admitted.writes = Gate("writes", admitted._pace.limit)
        load = Load(writing(admitted, disk, 200e-6))
        capacity = 32 / (disk + 32 * 200e-6)
        await load.run(1.0, a=capacity / 2)
        half = part(load.of(load.accepted, "a", 0.5), 0.99)
        assert load.refused == {}
        load.accepted.clear()
        begun = loop.time()
        await load.run(2.5, a=3 * capacity)
        accepted, refused = load.of(load.accepted, "a", begun + 1.5), load.of(load.refused, "a", begun + 1.5)
        assert part(accepted, 0.99) <= 4 * half
        assert (refused or [0.0])[-1] <= 0.1
        assert len(accepted) >= 0.6 * capacity

    virtual.run(scenario())


async def test_long_requests_under_way_are_bounded_in_all_and_per_tenant():
    places = Places(most=3, most_of_one=2)
    with places.hold("a"), places.hold("a"):
        with pytest.raises(Overloaded):
            places.hold("a").__enter__()
        with places.hold("b"), pytest.raises(Overloaded):
            places.hold("c").__enter__()
        with places.hold("c"):
            pass
    assert not places._taken


def test_a_waiting_request_begins_soon_once_there_is_room_without_a_signal():
    async def scenario():
        room = [0]
        gate = Gate("things", lambda _: room[0])
        waits = asyncio.ensure_future(gate.wait("a"))
        await asyncio.sleep(5 * admission.LOOK_SECONDS)
        room[0] = 1
        await asyncio.wait_for(waits, 2 * admission.LOOK_SECONDS)
        assert gate.under_way == 1

    virtual.run(scenario())


def test_a_request_that_waited_longer_than_a_burst_is_refused_though_few_wait():
    async def scenario():
        gate = Gate("things", lambda _: 0)
        begun = asyncio.get_running_loop().time()
        with pytest.raises(Overloaded):
            await asyncio.wait_for(gate.wait("a"), 10 * admission.BURST_SECONDS)
        assert asyncio.get_running_loop().time() - begun >= admission.BURST_SECONDS

    virtual.run(scenario())


async def served(gate):
    """Be served by a gate's one server, which serves a hundred before a request behind them is late."""
    if not gate.enter():
        await gate.wait("a")
    await asyncio.sleep(admission.LATE_SECONDS / 100)
    gate.leave()


async def crowd(gate, clients, seconds):
    """Let clients come, each again once it was served, or a while after a refusal; return the moments of refusals."""
    loop = asyncio.get_running_loop()
    refused = []

    async def client():
        while loop.time() < seconds:
            try:
                await served(gate)
            except Overloaded:
                refused.append(loop.time())
                await asyncio.sleep(admission.LATE_SECONDS)

    await asyncio.gather(*(client() for _ in range(clients)))
    return refused


def test_a_queue_that_stays_long_is_overload_though_each_wait_is_shorter_than_a_burst():
    async def scenario():
        refused = await crowd(Gate("things", lambda _: 1), 200, 2 * admission.BURST_SECONDS)
        assert refused
        assert refused[0] >= admission.BURST_SECONDS

    virtual.run(scenario())


def test_a_queue_that_stays_short_is_no_overload():
    async def scenario():
        assert await crowd(Gate("things", lambda _: 1), 50, 4 * admission.BURST_SECONDS) == []

    virtual.run(scenario())


def test_separate_short_bursts_are_no_overload():
    async def scenario():
        loop, gate = asyncio.get_running_loop(), Gate("things", lambda _: 1)
        while loop.time() < 4 * admission.BURST_SECONDS:
            await asyncio.gather(*(served(gate) for _ in range(200)))
            await asyncio.sleep(admission.LATE_SECONDS)

    virtual.run(scenario())


def test_few_requests_of_a_flooding_tenant_wait_and_more_are_refused_at_once():
    async def scenario():
        gate = Gate("things", lambda _: 0, most=40)
        flood = [asyncio.ensure_future(gate.wait("a")) for _ in range(41)]
        await asyncio.wait(flood)
        flood = [asyncio.ensure_future(gate.wait("a")) for _ in range(40)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert gate.waiting == admission.SHED_WAITING
        assert len([request for request in flood if request.done()]) == 40 - admission.SHED_WAITING
        await asyncio.wait(flood)

    virtual.run(scenario())


def test_waiting_requests_of_a_flooding_tenant_are_refused_and_no_others():
    async def scenario():
        gate = Gate("things", lambda _: 0, most=5)
        flood = [asyncio.ensure_future(gate.wait("flood")) for _ in range(6)]
        other = asyncio.ensure_future(gate.wait("other"))
        await asyncio.sleep(admission.BURST_SECONDS / 2)
        assert [type(request.exception()) for request in flood if request.done()] == [Overloaded] * 6
        assert not other.done()
        other.cancel()

    virtual.run(scenario())


def test_after_a_flood_a_tenant_is_served_in_order_again():
    async def scenario():
        gate = Gate("things", lambda _: 0, most=5)
        await asyncio.gather(*(gate.wait("a") for _ in range(6)), return_exceptions=True)
        assert gate.is_shedding
        await asyncio.sleep(admission.BURST_SECONDS)
        waits = asyncio.ensure_future(gate.wait("b"))
        await asyncio.sleep(admission.BURST_SECONDS / 2)
        assert not gate.is_shedding
        waits.cancel()

    virtual.run(scenario())


def test_the_log_reports_refusals_at_intervals_and_not_each(caplog):
    async def scenario():
        gate = Gate("things", lambda _: 0)
        waiting = []
        while asyncio.get_running_loop().time() < 3.5 * admission.TELL_SECONDS:
            waiting.append(asyncio.ensure_future(gate.wait("a")))
            await asyncio.sleep(admission.TELL_SECONDS / 100)
        refused = len([request for request in waiting if request.done()])
        await asyncio.gather(*waiting, return_exceptions=True)
        assert refused > 100

    virtual.run(scenario())
    assert 3 <= len([message for message in caplog.messages if "were refused" in message]) <= 4


def test_writes_admitted_follow_the_rate_of_answers_down_to_a_minimum():
    now = [0.0]
    pace = Pace(lambda: now[0])
    gate = Gate("writes", pace.limit)
    assert pace.limit(gate) == admission.LEAST_WRITES
    for _ in range(1000):
        pace.answered(0.01, 10)
    assert pace.limit(gate) == admission.LEAST_WRITES, "no rate is taken over less than its time"
    now[0] = admission.RATE_SECONDS
    pace.answered(0.01, 10)
    assert pace.limit(gate) == admission.MOST_WRITES
