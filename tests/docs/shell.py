"""Runs a page's code as a reader would: top to bottom, in one directory, against the real program.

The conventions, by what follows the opening fence:

    sh              run by bash; it must succeed
    sh background   left running until the next such block or the page's end; the page goes on once it answers
    … output        what the block above prints; … stands for any text, white space does not count
    … NAME.EXT      a file that the reader saves under this name

All else is shown only. Port 8080 is replaced by a free one.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

from docs.pages import ROOT, Block, blocks

PORT = "8080"
_SECONDS = 60


def run(page: Path, directory: Path) -> None:
    """Run a page in an empty directory that stands for the checkout."""
    for name in (".venv", "examples"):
        target = Path(sys.prefix) if name == ".venv" else ROOT / name
        (directory / name).symlink_to(target)
    reader = _Reader(page, directory)
    try:
        for block in blocks(page):
            reader.take(block)
    finally:
        reader.stop()


class _Reader:
    def __init__(self, page: Path, directory: Path) -> None:
        self._page = page
        self._directory = directory
        self._port = _free_port()
        self._state = directory / ".reader"
        self._state.write_text(f"cd {directory}\n")
        self._running: subprocess.Popen[bytes] | None = None
        self._printed = ""
        self._environment = {
            "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "COLUMNS": "120",
            "PORT": self._port,
            "PORTRAIT_PORT": self._port,
        }

    def take(self, block: Block) -> None:
        where = f"{self._page.name}:{block.line}"
        text = block.text.replace(PORT, self._port)
        if re.fullmatch(r"[\w-]+\.\w+", block.info):
            assert block.info in block.before, f"{where}: say above the block that it is {block.info}"
            (self._directory / block.info).write_text(text)
        elif block.info == "output":
            same = _same_json if block.language == "json" else _same_text
            assert same(text, self._printed), f"{where} says\n{text}\nbut there was\n{self._printed}"
        elif block.info == "background":
            self._start(text, where)
        elif block.language == "sh":
            assert not block.info, f"{where}: unknown mark {block.info}"
            self._run(text, where)

    def stop(self) -> None:
        """End the background process, as Ctrl-C would."""
        if self._running is None:
            return
        os.killpg(self._running.pid, signal.SIGINT)
        try:
            self._running.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()
        self._running = None

    def _run(self, text: str, where: str) -> None:
        script = f'source .reader\nset -euo pipefail\n{text}\n{{ export -p; echo "cd $PWD"; }} > {self._state}\n'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        self._printed = done.stdout
        assert done.returncode == 0, f"{where} fails\n{text}\n{done.stdout}{done.stderr}"

    def _start(self, text: str, where: str) -> None:
        self.stop()
        log = self._directory / "background.log"
        with log.open("wb") as output:
            self._running = subprocess.Popen(
                ["bash", "-c", f"source .reader\n{_shimmed(text)}"],
                cwd=self._directory,
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until = time.monotonic() + _SECONDS
        while not self._answers():
            assert self._running.poll() is None, f"{where} ended\n{log.read_text()}"
            assert time.monotonic() < until, f"{where} does not answer\n{log.read_text()}"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


def _same_text(expected: str, printed: str) -> bool:
    pattern = r"\s+".join(".*?".join(map(re.escape, word.split("…"))) for word in expected.split())
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def _same_json(expected: str, printed: str) -> bool:
    """Tell whether two texts have the same JSON values in the same order, with members in the same order."""
    return _matches(values(expected), values(printed))


def values(text: str) -> list[Any]:
    """The JSON values in a text, in order."""
    decoded = []
    text = text.strip()
    while text:
        value, end = json.JSONDecoder().raw_decode(text)
        decoded.append(value)
        text = text[end:].strip()
    return decoded


def _matches(expected: Any, printed: Any) -> bool:
    if isinstance(expected, str) and isinstance(printed, str):
        return _same_text(expected, printed) if expected else printed == ""
    if isinstance(expected, dict) and isinstance(printed, dict):
        return [*expected] == [*printed] and all(_matches(expected[name], printed[name]) for name in expected)
    if isinstance(expected, list) and isinstance(printed, list):
        return len(expected) == len(printed) and all(map(_matches, expected, printed))
    return type(expected) is type(printed) and expected == printed


def _shimmed(text: str) -> str:
    """The same, but `make` uses the checkout's Makefile and takes the installation as made."""
    stamps = "-o .venv/run.stamp -o .venv/dev.stamp"
    return f'make() {{ command make -f {ROOT / "Makefile"} {stamps} "$@"; }}\n{text}'


def _free_port() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return str(listening.getsockname()[1])
