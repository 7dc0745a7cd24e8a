"""What came of it: for people, for the page on security, and for the next run."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from mutants.find import KINDS, Mutant
from mutants.run import ROOT, Verdict

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


def write_page(found: Sequence[Mutant], verdicts: Sequence[Verdict], reasons: Mapping[str, str], commit: str) -> None:
    """Write the table into the page."""
    text = _BLOCK.sub(lambda match: match[1] + table(found, verdicts, reasons, commit) + match[2], PAGE.read_text())
    PAGE.write_text(text)


def table(found: Sequence[Mutant], verdicts: Sequence[Verdict], reasons: Mapping[str, str], commit: str) -> str:
    """Return the table of a whole run."""
    total = Counter(one.kind for one in found)
    excepted = Counter(one.kind for one in found if one.id in reasons)
    noticed = Counter(one.mutant.kind for one in verdicts if one.killer is not None)
    survived = Counter(one.mutant.kind for one in verdicts if one.killer is None)
    rows = [f"| {kind} | {total[kind]} | {noticed[kind]} | {survived[kind]} | {excepted[kind]} |\n" for kind in KINDS]
    return (
        "| guard | taken away | a test failed | survivors | no test could tell |\n|---|---|---|---|---|\n"
        + "".join(rows)
        + f"\n`make mutants`, at commit {commit}.\n"
    )
