"""Every event that a client sends is there once, however often it was sent and whatever was killed meanwhile."""

import asyncio
import base64
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from harness import TENANT, Clock
from portrait.access.grants import grant_of
from portrait.app import build
from portrait.model.identifier import customer

MESSAGES, COPIES, BATCH, USERS = 1000, 5, 10, 50
CONNECTIONS = 4
KILLS = 3
PATIENCE = 60


class Killed:
    """A server of two workers on one port, that may be killed with all its processes, and starts again."""

    def __init__(self, database):
        self._database = database
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._start()

    def _start(self):
        words = ["serve", "--port", str(self.port), "--workers", "2", "--database", self._database]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "portrait", *words], stderr=subprocess.DEVNULL, start_new_session=True
        )

    def kill(self):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def restart(self):
        self.kill()
        self._start()


async def prepared(database):
    """Make the tenant and a write key; return the key."""
    services = build(database, installed=False, upgrade=True)
    try:
        await services.access.create_tenant(TENANT)
        grant = grant_of("app", private=True, events_per_second=100_000)
        return str((await services.access.create_key(TENANT, "collector", grant=grant)).key)
    finally:
        await services.close()


def batches():
    """Return every copy of every message, in batches and in no order."""
    chance = random.Random(13)
    copies = [number for number in range(MESSAGES) for _ in range(COPIES)]
    chance.shuffle(copies)
    at = "2026-06-01T11:00:{:02}.{:03}Z"
    events = [
        {
            "type": "track", "messageId": f"m{number}", "userId": f"u{number % USERS}", "event": "Seen",
            "timestamp": at.format(number // 1000, number % 1000), "_metadata": {"retryCount": chance.randrange(9)},
        }
        for number in copies
    ]  # fmt: skip
    return [events[begin : begin + BATCH] for begin in range(0, len(events), BATCH)]


def send(killed, key, work, acked):
    """Send batches, each until it is acknowledged."""
    headers = {"authorization": f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{killed.port}", headers=headers, timeout=PATIENCE) as client:
        while work:
            try:
                batch = work.pop()
            except IndexError:
                return
            until = time.monotonic() + PATIENCE
            while True:
                try:
                    answer = client.post("/v1/batch", json={"batch": batch})
                except httpx.TransportError:
                    answer = None
                if answer is not None and answer.status_code == 200:
                    acked.append(len(batch))
                    break
                assert time.monotonic() < until, "no acknowledgement in time"
                time.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """Return the URL of an empty database."""
    return f"sqlite:///{tmp_path}/portrait.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def send_all(database, key):
    """Send every batch over some connections, while all servers are killed now and then; return how much was acked."""
    killed, work, acked = Killed(database), batches(), []
    total = len(work)
    senders = [threading.Thread(target=send, args=(killed, key, work, acked)) for _ in range(CONNECTIONS)]
    try:
        for sender in senders:
            sender.start()
        for kill in range(KILLS):
            while len(work) > total * (KILLS - kill) / (KILLS + 1):
                time.sleep(0.01)
            killed.restart()
        for sender in senders:
            sender.join()
    finally:
        killed.kill()
    return sum(acked)


async def test_a_thousand_messages_sent_five_times_while_servers_are_killed_are_a_thousand_facts(database):
    key = await prepared(database)
    assert await asyncio.to_thread(send_all, database, key) == MESSAGES * COPIES
    services = build(database, installed=False, clock=Clock())
    try:
        for user in range(USERS):
            facts = await services.store.facts(TENANT, [customer(f"u{user}")])
            keys = sorted(fact.key for fact in facts)
            assert keys == sorted(f"app:m{number}" for number in range(user, MESSAGES, USERS))
        assert (await services.upkeep.check()).differences == []
        assert await services.store.rejects(TENANT, None, 1) == []
    finally:
        await services.close()
