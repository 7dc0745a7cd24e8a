"""What came of it: for people, for the page on security, and for the next run."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from mutants.find import KINDS, Mutant
from mutants.near import ROOT
from mutants.run import Verdict

KILLERS = Path(__file__).with_name("killers.json")
PAGE = ROOT / "docs" / "explanation" / "security.md"
_BLOCK = re.compile(r"(<!-- measured: mutants -->\n).*?(<!-- /measured -->)", re.DOTALL)


def line(mutant: Mutant) -> str:
    """Return a mutant in one line."""
    before = " ".join(mutant.before.split())
    shown = before if len(before) <= 60 else before[:57] + "…"
    return f"{mutant.id} {mutant.file}:{mutant.line} {mutant.function or 'module'}: {shown}"


def killers() -> dict[str, str]:
    """Return the test that failed for each guard the last time, by the mutant's id."""
    known: dict[str, dict[str, str]] = json.loads(KILLERS.read_text()) if KILLERS.exists() else {}
    return {id_: test for tests in known.values() for id_, test in tests.items()}


def keep_killer(found: Sequence[Mutant], lock: Lock, verdict: Verdict) -> None:
    """Keep which test failed for a guard, or that none did; by file, of those guards alone that are there."""
    with lock:
        tests: dict[str, str | None] = {**killers(), verdict.mutant.id: verdict.killer}
        by_file: dict[str, dict[str, str]] = {}
        for one in found:
            if test := tests.get(one.id):
                by_file.setdefault(one.file, {})[one.id] = test
        KILLERS.write_text(json.dumps(by_file, indent=1) + "\n")


def write_page(found: Sequence[Mutant], reasons: Mapping[str, str], commit: str) -> None:
    """Write the table into the page, of what is kept of every guard's last judgement."""
    shown = table(found, killers(), reasons, commit)
    PAGE.write_text(_BLOCK.sub(lambda match: match[1] + shown + match[2], PAGE.read_text()))


def table(found: Sequence[Mutant], tests: Mapping[str, str], reasons: Mapping[str, str], commit: str) -> str:
    """Return the table: of each kind how many guards there are, and what came of taking them away."""
    rows = []
    for kind in KINDS:
        ids = {one.id for one in found if one.kind == kind}
        excepted, noticed = ids & reasons.keys(), ids & tests.keys()
        left = len(ids - excepted - noticed)
        rows.append(f"| {kind} | {len(ids)} | {len(noticed)} | {len(excepted)} | {left} |\n")
    head = "| guard | taken away | a test failed | no test can tell | no test failed yet |\n|---|---|---|---|---|\n"
    return f"{head}{''.join(rows)}\n`make mutants`, at commit {commit}.\n"
