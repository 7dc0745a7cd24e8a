"""Which test failed without which guard the last time: mutants/killers.json."""

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from threading import Lock

from mutants.find import Mutant
from mutants.near import ROOT, Stage
from mutants.run import SOURCE, Verdict

KILLERS = Path(__file__).with_name("killers.json")


def read() -> dict[str, dict[str, str]]:
    """Return the test that failed for each guard the last time: by the file, then by the mutant's id."""
    by_file: dict[str, dict[str, str]] = json.loads(KILLERS.read_text()) if KILLERS.exists() else {}
    return by_file


def by_id(by_file: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the test of each mutant, by its id alone."""
    return {id_: test for tests in by_file.values() for id_, test in tests.items()}


def collected(tests: Collection[str]) -> set[str]:
    """Return those of some tests that exist: pytest collects the files that they are in."""
    files = sorted({test.partition("::")[0] for test in tests})
    words = [
        sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider",
        *(file for file in files if Path(ROOT, file).exists()),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    return {*tests} & {*done.stdout.splitlines()}


class Killers:
    """What is known of tests that fail, while guards are taken away.

    Args:
        guards: every guard that there is.
    """

    def __init__(self, guards: Sequence[Mutant]) -> None:
        self._guards = guards
        self._lock = Lock()
        by_file = read()
        ids = {mutant.id for mutant in guards}
        present = collected(by_id(by_file).values())
        self._tests = {id_: test for id_, test in by_id(by_file).items() if id_ in ids and test in present}
        self._of_file: dict[str, dict[str, None]] = {}
        """The tests that failed for guards of each file."""
        self._of_room: dict[str, dict[str, None]] = {}
        """The tests that failed for guards of each room that are gone: most often a guard has only another name now."""
        for file, tests in by_file.items():
            for id_, test in tests.items():
                if test in present:
                    self._of_file.setdefault(file, {})[test] = None
                    if id_ not in ids:
                        self._of_room.setdefault(_room(file), {})[test] = None

    def is_known(self, mutant: Mutant) -> bool:
        """Tell whether a test that exists failed without a guard."""
        return mutant.id in self._tests

    def stages(self, mutant: Mutant) -> list[Stage]:
        """Return the runs of tests that are likeliest to fail: that which did, or else those of guards beside it."""
        if test := self._tests.get(mutant.id):
            return [(test,)]
        beside = {**self._of_room.get(_room(mutant.file), {}), **self._of_file.get(mutant.file, {})}
        return [tuple(beside)] if beside else []

    def keep(self, verdict: Verdict) -> None:
        """Keep which test failed for a guard, or that none did."""
        with self._lock:
            by_file = read()
            tests = by_file.setdefault(verdict.mutant.file, {})
            tests.pop(verdict.mutant.id, None)
            if verdict.killer is not None:
                tests[verdict.mutant.id] = verdict.killer
            _write(by_file)

    def prune(self) -> None:
        """Keep what is known of those guards alone that are there: by file, in their order."""
        tests = by_id(read())
        by_file: dict[str, dict[str, str]] = {}
        for mutant in self._guards:
            if test := tests.get(mutant.id):
                by_file.setdefault(mutant.file, {})[mutant.id] = test
        _write(by_file)


def _write(by_file: Mapping[str, Mapping[str, str]]) -> None:
    KILLERS.write_text(json.dumps(by_file, indent=1) + "\n")


def _room(file: str) -> str:
    return "/".join(file.split("/")[:2])
