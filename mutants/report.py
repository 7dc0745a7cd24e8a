"""What came of it: for people, and for the page on security."""

import re
from collections.abc import Mapping, Sequence

from mutants import killers
from mutants.find import KINDS, Mutant
from mutants.near import ROOT

PAGE = ROOT / "docs" / "explanation" / "security.md"
_BLOCK = re.compile(r"(<!-- measured: mutants -->\n).*?(<!-- /measured -->)", re.DOTALL)


def line(mutant: Mutant) -> str:
    """Return a mutant in one line."""
    before = " ".join(mutant.before.split())
    shown = before if len(before) <= 60 else before[:57] + "…"
    return f"{mutant.id} {mutant.file}:{mutant.line} {mutant.function or 'module'}: {shown}"


def write_page(found: Sequence[Mutant], reasons: Mapping[str, str], commit: str) -> None:
    """Write the table into the page, of what is kept of every guard's last judgement."""
    shown = table(found, killers.by_id(killers.read()), reasons, commit)
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
    return f"{head}{''.join(rows)}\nBy the last run of each guard; the newest was at commit {commit}.\n"
