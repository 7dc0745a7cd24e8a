"""Processes that are measured: what is said of those that end too soon."""

import os
import sys

import pytest

from bench.process import Failure, Server, free_port, output

ENDS = [sys.executable, "-c", "import sys; print('first', file=sys.stderr); sys.exit('Error: no such option')"]


def test_what_a_command_prints_is_returned():
    assert output("it", [sys.executable, "-c", "print('so')"]) == "so\n"


def test_a_command_that_ends_with_an_error_says_its_last_line():
    with pytest.raises(Failure, match=r"^it ended with 1: Error: no such option$"):
        output("it", ENDS)


def test_a_server_that_ends_says_its_last_line_and_not_an_earlier_ones(tmp_path):
    log, port = tmp_path / "servers.log", free_port()
    log.write_text("an earlier server's line\n")
    with (
        Server(ENDS, {}, port, log, os.sched_getaffinity(0)) as server,
        pytest.raises(Failure, match=r"ended with 1 before it answered: Error: no such option$"),
    ):
        server.wait(b"")
    with (
        Server([sys.executable, "-c", "import sys; sys.exit(3)"], {}, port, log, os.sched_getaffinity(0)) as server,
        pytest.raises(Failure, match=r"ended with 3 before it answered$"),
    ):
        server.wait(b"")
    assert log.read_text().startswith("an earlier server's line\nfirst\n")
