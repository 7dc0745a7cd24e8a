"""Workers that cannot start: a log line for each try, growing pauses between tries, and service goes on."""

import os
import re
import signal
import time
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx

from harness import TENANT, portrait, server
from portrait.cli.workers import MOST_PAUSE, STEADY_SECONDS, Supervisor, pause_after

PATIENCE = 120


def test_pauses_grow_up_to_a_bound():
    pauses = [pause_after(deaths) for deaths in range(1, 2000)]
    assert pauses[:4] == [0, 1, 2, 4]
    assert all(pause <= next_ <= MOST_PAUSE for pause, next_ in pairwise(pauses))
    assert pauses[-1] == MOST_PAUSE


class Dead:
    """A worker's process that has ended."""

    pid = exitcode = 1

    def __init__(self):
        self.process = self

    def kill(self):
        pass

    join = is_alive = kill


def test_early_deaths_are_counted_until_a_worker_has_lived_long():
    supervisor = object.__new__(Supervisor)
    supervisor._dead, supervisor._deaths = {}, 0
    deaths = []
    for lived in (0, 0, 0, STEADY_SECONDS, 0):
        supervisor._bury(Dead(), time.monotonic() - lived)
        deaths.append(supervisor._deaths)
    assert deaths == [1, 2, 3, 1, 2]


def children(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def until(condition):
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < PATIENCE, "it did not come about"
        time.sleep(0.1)


def test_a_worker_that_dies_is_a_line_of_the_log_at_the_level_warning_too(tmp_path):
    database, log = tmp_path / "portrait.db", []
    assert portrait("tenant", "create", TENANT, database=database).returncode == 0
    with server(database, "--auth", "open", "--workers", "2", "--log-level", "warning", log=log) as (url, process):
        until(lambda: len(children(process.pid)) == 2)
        assert httpx.get(f"{url}/health/live", timeout=PATIENCE).status_code == 200
        first, _ = children(process.pid)
        os.kill(first, signal.SIGKILL)
        until(lambda: any("portrait.workers" in line for line in log))
    [line] = [line for line in log if "portrait.workers" in line]
    assert line.endswith(f"ERROR portrait.workers: worker {first} died, exit code -9; it is replaced\n")


class Hanging(Dead):
    """A worker's process that runs but does not answer."""

    def is_alive(self):
        return True


def test_a_worker_that_was_ended_for_not_answering_is_not_reported_as_dead(caplog):
    supervisor = object.__new__(Supervisor)
    supervisor._dead, supervisor._deaths = {}, 0
    supervisor._bury(Hanging(), time.monotonic())
    assert caplog.messages == ["worker 1 did not answer and was ended; it is replaced"]


def test_a_worker_that_cannot_start_is_a_line_a_try_in_growing_pauses(tmp_path):
    database, aside, log = tmp_path / "portrait.db", tmp_path / "aside", []
    assert portrait("tenant", "create", TENANT, database=database).returncode == 0

    def refusals():
        return [line for line in log if "a worker cannot start" in line]

    with server(database, "--auth", "open", "--workers", "2", log=log) as (url, process):
        until(lambda: sum("startup complete" in line for line in log) == 2)
        first, second = children(process.pid)
        aside.mkdir()
        for file in tmp_path.glob("portrait.db*"):
            file.rename(aside / file.name)
        database.write_bytes(b"not a database, but long enough to be looked at as one " * 20)
        os.kill(first, signal.SIGKILL)
        until(lambda: len(refusals()) >= 3)
        assert httpx.get(f"{url}/health/live", timeout=PATIENCE).status_code == 200
        assert second in children(process.pid)
        for file in aside.iterdir():
            file.rename(tmp_path / file.name)
        until(lambda: sum("startup complete" in line for line in log) == 3)
    assert all(
        re.search(r"portrait\.workers: .* is not an SQLite database\. .* It is tried again\.$", line)
        for line in refusals()
    )
    assert not [line for line in log if "Traceback" in line or line.startswith(" ")]
    times = [datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f") for line in refusals()]  # noqa: DTZ007  # a log's own
    for deaths, (before, after) in enumerate(pairwise(times), start=2):
        assert after - before >= timedelta(seconds=pause_after(deaths))
