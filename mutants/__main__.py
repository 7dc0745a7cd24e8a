"""`python -m mutants`: takes every guard away, one at a time; ends with 0 where a test failed for each.

At the end all tests that failed run once more while every guard stands, and must pass.

`--short` takes a tenth of those for which a test is known to fail, another tenth at each commit. Any other run writes
which test failed for which guard into mutants/killers.json, where it is the first to run the next time, and the table
into docs/explanation/security.md.
"""

import argparse
import queue
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

from mutants import report
from mutants.find import Mutant, mutants
from mutants.killers import Killers
from mutants.near import ROOT
from mutants.run import SOURCE, Verdict, Workshop, workshops

EXCEPTIONS = Path(__file__).with_name("exceptions.toml")
SHARE = 10
SHORT_SECONDS = 270
"""How long the short form looks for tests, in seconds; what it has not come to by then it says."""


def main() -> int:
    """Run; return the exit code."""
    options = _options()
    commit = _commit()
    found = mutants(SOURCE)
    reasons = tomllib.loads(EXCEPTIONS.read_text())
    if stale := reasons.keys() - {one.id for one in found}:
        print(f"{EXCEPTIONS.name} excepts what is not there: {', '.join(sorted(stale))}")
        return 2
    killers = Killers(found)
    chosen = [one for one in found if one.id not in reasons and _is_named(one, options.only)]
    if options.short:
        chosen = [one for one in chosen if killers.is_known(one) and _share(one, commit)]
    if options.new:
        chosen = [one for one in chosen if not killers.is_known(one)]
    if options.list:
        print("\n".join(report.line(one) for one in chosen))
        return 0
    until = time.monotonic() + SHORT_SECONDS if options.short else None
    with workshops(options.workers) as places:
        verdicts = _judged(chosen, killers, places, options.seconds, until)
        broken = places[0].failing({one.killer for one in verdicts if one.killer is not None})
    if broken:
        print("FAILS WHILE EVERY GUARD STANDS", broken)
    survivors = [one for one in verdicts if one.killer is None]
    for one in survivors:
        print("SURVIVES" if one.finished else "NO TEST FAILED IN TIME", report.line(one.mutant))
    print(
        f"{len(verdicts)} of {len(found)} guards taken away, {len(verdicts) - len(survivors)} noticed,"
        f" {len(survivors)} not; {len(reasons)} excepted; {len(chosen) - len(verdicts)} left for want of time"
    )
    if not options.short:
        killers.prune()
        report.write_page(found, reasons, commit)
    return 1 if survivors or broken else 0


def _judged(
    chosen: list[Mutant],
    killers: Killers,
    places: list[Workshop],
    seconds: float,
    until: float | None,
) -> list[Verdict]:
    """Judge mutants side by side, each in a copy of the source that is free; keep what came of it, if there is time."""
    free: queue.Queue[Workshop] = queue.Queue()
    for place in places:
        free.put(place)

    def judge(mutant: Mutant) -> Verdict | None:
        left = seconds if until is None else min(seconds, until - time.monotonic())
        if left <= 0:
            return None
        place = free.get()
        try:
            verdict = place.judge(mutant, killers.stages(mutant), left)
        finally:
            free.put(place)
        if until is None:
            killers.keep(verdict)
        print(f"{verdict.seconds:6.1f} s  {report.line(mutant)}  {verdict.killer or 'NOT NOTICED'}", flush=True)
        return verdict

    with ThreadPoolExecutor(len(places)) as workers:
        return [one for one in workers.map(judge, chosen) if one is not None]


def _is_named(mutant: Mutant, texts: Sequence[str]) -> bool:
    """Tell whether one of some texts names a mutant; where there are none, all are meant."""
    return not texts or any(text in f"{mutant.file}:{mutant.function}:{mutant.id}" for text in texts)


def _commit() -> str:
    words = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603  # fixed words
    return done.stdout.strip()


def _share(mutant: Mutant, commit: str) -> bool:
    """Tell whether a mutant is among a commit's tenth."""
    return int.from_bytes(blake2b(f"{commit} {mutant.id}".encode(), digest_size=4).digest(), "big") % SHARE == 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--short", action="store_true", help="a tenth, within a few minutes")
    parser.add_argument("--only", nargs="+", default=(), help="those whose file, function or id holds such a text")
    parser.add_argument("--new", action="store_true", help="those for which no test has failed yet")
    parser.add_argument("--list", action="store_true", help="say which, and run nothing")
    parser.add_argument("--workers", type=int, default=2, help="how many at once")
    parser.add_argument("--seconds", type=float, default=600, help="how long to look for a test for one")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
