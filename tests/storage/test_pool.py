"""The pool of connections: none lost, none over, none lent twice, whatever fails and whichever caller stops waiting."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.model.errors import Overloaded, StorageBusy, StorageFailed
from portrait.serving import leaving
from portrait.storage.postgres.pool import Pool


class Connection:
    """The part of a connection that the pool uses."""

    def __init__(self):
        self.closed = self.busy = False
        self.lent = 0
        self._protocol = self

    def _is_cancelling(self):
        return self.busy

    def is_closed(self):
        return self.closed

    def is_in_transaction(self):
        return False

    def terminate(self):
        self.closed = True

    async def close(self, **_):
        self.closed = True


class Server:
    """Makes connections, or refuses to."""

    def __init__(self):
        self.made = []
        self.away = False

    async def connect(self):
        await asyncio.sleep(0)
        if self.away:
            raise OSError("refused")
        self.made.append(Connection())
        return self.made[-1]

    @property
    def alive(self):
        return [connection for connection in self.made if not connection.closed]


async def use(pool, ends="well"):
    async with pool.connection() as connection:
        connection.lent += 1
        assert connection.lent == 1, "lent twice at once"
        try:
            await asyncio.sleep(0)
            if ends == "closed":
                connection.terminate()
            elif ends == "busy":
                connection.busy = True
            elif ends == "badly":
                raise ValueError
        finally:
            connection.lent -= 1


ENDS = st.sampled_from(["well", "well", "badly", "closed", "busy", "given up", "given up at once", "refused"])


@given(st.lists(st.tuples(ENDS, st.integers(0, 5)), max_size=40), st.integers(1, 4))
def test_the_pool_stays_whole_after_any_sequence(uses, size):
    async def scenario():
        server = Server()
        pool = Pool(server.connect, size=size, patience=30)
        tasks = []
        for ends, pause in uses:
            server.away = ends == "refused"
            task = asyncio.create_task(use(pool, ends))
            tasks.append(task)
            for _ in range(pause):
                await asyncio.sleep(0)
                assert len(server.alive) <= size
            if ends.startswith("given up"):
                if ends == "given up":
                    await asyncio.sleep(0)
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} <= {type(None), ValueError, OSError, asyncio.CancelledError}
        server.away = False
        await asyncio.gather(*(use(pool) for _ in range(3 * size)))
        assert 0 < len(server.alive) <= size
        await pool.close()
        assert server.alive == []

    asyncio.run(scenario())


async def test_the_longest_waiting_caller_is_first_and_waits_no_longer_than_allowed():
    server = Server()
    pool = Pool(server.connect, size=1, patience=0.05)
    connection = await pool.take()
    with pytest.raises(StorageBusy):
        await pool.take()
    patient = Pool(server.connect, size=1, patience=30)
    first = await patient.take()
    order = []

    async def wait(number):
        async with patient.connection():
            order.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in range(5)]
    await asyncio.sleep(0)
    patient.give(first)
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2, 3, 4]
    pool.give(connection)
    assert await pool.take() is connection


async def test_a_connection_that_was_idle_for_long_is_made_anew(monkeypatch):
    server = Server()
    pool = Pool(server.connect, size=1, patience=1)
    await use(pool)
    await use(pool)
    assert len(server.made) == 1
    monkeypatch.setattr("portrait.storage.postgres.pool.IDLE_SECONDS", 0.0)
    await use(pool)
    assert (len(server.made), len(server.alive)) == (2, 1)


async def test_a_closed_pool_lends_nothing_and_closes_what_comes_back():
    server = Server()
    pool = Pool(server.connect, size=2, patience=1)
    connection = await pool.take()
    await pool.close()
    with pytest.raises(StorageFailed):
        await pool.take()
    pool.give(connection)
    assert server.alive == []


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(1, 3))
def test_tenants_that_wait_have_turns(tenants, size):
    async def scenario():
        pool = Pool(Server().connect, size=size, patience=30)
        connections = [await pool.take(None) for _ in range(size)]
        order = []

        async def wait(tenant):
            async with pool.connection(tenant):
                order.append(tenant)

        waiting = [asyncio.create_task(wait(tenant)) for tenant in tenants]
        await asyncio.sleep(0)
        assert pool.waiting == len(tenants)
        for connection in connections:
            pool.give(connection)
        await asyncio.gather(*waiting)
        rounds = max(map(tenants.count, tenants))
        expected = [
            tenant for turn in range(rounds) for tenant in dict.fromkeys(tenants) if tenants.count(tenant) > turn
        ]
        assert order == expected

    asyncio.run(scenario())


async def test_of_too_many_waiting_callers_those_of_the_busiest_tenant_are_refused():
    pool = Pool(Server().connect, size=1, patience=30, most_waiting=4)
    connection = await pool.take()
    tasks = {
        (tenant, number): asyncio.create_task(use_as(pool, tenant))
        for tenant, number in [*(("flood", number) for number in range(9)), ("other", 0), ("other", 1)]
    }
    await asyncio.sleep(0)
    assert pool.waiting == 4
    pool.give(connection)
    results = dict(zip(tasks, await asyncio.gather(*tasks.values(), return_exceptions=True), strict=True))
    assert {tenant for tenant, result in results.items() if result is None} == {
        ("flood", 0), ("flood", 1), ("other", 0), ("other", 1),
    }  # fmt: skip
    assert {type(result) for result in results.values()} == {type(None), Overloaded}


async def use_as(pool, tenant):
    async with pool.connection(tenant):
        await asyncio.sleep(0)


async def test_a_caller_that_left_waits_for_no_connection():
    pool = Pool(Server().connect, size=1, patience=30)
    connection = await pool.take()
    task = asyncio.create_task(use_as(pool, "a"))
    await asyncio.sleep(0)
    leaving.leave(task)
    await asyncio.wait([task])
    assert task.cancelled()
    assert pool.waiting == 0
    pool.give(connection)
    assert await pool.take() is connection
