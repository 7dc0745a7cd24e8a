"""`portrait demo` and `portrait serve`: the printed commands work."""

import json
import re
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager

import apsw
import pytest

from harness import command, portrait


@contextmanager
def demo(directory, *words):
    """Run the demo; yield its output once it listens."""
    process = subprocess.Popen(
        command("demo", "--port", "0", *words),
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        assert "Ctrl-C" in printed, printed
        yield printed
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def calls(printed):
    """Return the curl calls printed, as a shell would take them."""
    return re.findall(r"^curl (?:.*\\\n)*.*$", printed, re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_demos_printed_calls_work_and_a_second_start_reuses_its_database(tmp_path):
    with demo(tmp_path) as printed:
        full, selective, record_call = calls(printed)

        def called(call):
            done = subprocess.run(
                ["sh", "-c", f"{call} --silent --fail --retry 20 --retry-connrefused --retry-delay 1"],
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            return json.loads(done.stdout)

        answer = called(full)
        assert (answer["customerId"], answer["tenantId"]) == ("CUST001", "my-tenant")
        assert len(answer["sections"]) == 6
        assert [section["name"] for section in called(selective)["sections"]] == ["identities", "interactions"]
        assert called(record_call) == {"recorded": 1, "duplicates": 0}
        assert [record["id"] for record in called(selective)["sections"][1]["data"]] == ["ih_002", "ih_001"]
        [show] = re.findall(r"^python -m portrait (show .*)$", printed, re.MULTILINE)
        completed = portrait(*show.split(), cwd=tmp_path)
        assert completed.returncode == 0, completed.stderr
        assert "CUST002" in completed.stdout
    files = [path.name for path in tmp_path.iterdir() if path.suffix == ".db"]
    assert files == ["portrait-demo.db"]
    with apsw.Connection(str(tmp_path / files[0])) as connection:
        before = connection.execute("SELECT count(*) FROM facts").get
    with demo(tmp_path) as printed:
        _, _, record_call = calls(printed)
        assert called(record_call) == {"recorded": 0, "duplicates": 1}
    with apsw.Connection(str(tmp_path / files[0])) as connection:
        assert connection.execute("SELECT count(*) FROM facts").get == before


@pytest.mark.parametrize("name", ["serve", "demo"])
def test_a_taken_port_is_reported_in_one_line(tmp_path, name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = portrait(name, "--port", port, cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert re.fullmatch(rf"portrait: .*\b{port}\b.* is in use: name another port with --port\.\n", refused.stderr)


@pytest.mark.parametrize(
    "words", [("--port", "70000"), ("--host", "192.0.2.1"), ("--auth", "open", "--host", "0.0.0.0")]
)
def test_a_wrong_address_is_reported_in_one_line(tmp_path, words):
    refused = portrait("serve", "--port", "0", *words, cwd=tmp_path)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stderr.startswith("portrait: ")
