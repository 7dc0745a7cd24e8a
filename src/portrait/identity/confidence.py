"""How sure we are of a link for which several sources give evidence.

The weights of evidence add in log-odds, after Fellegi and Sunter (1969, "A Theory for Record Linkage") as Splink states
it: M = log2(λ / (1 - λ)) + Σ log2(m / u), p = 2^M / (1 + 2^M). With even prior odds (λ = ½) a single source that
states p keeps just that p.

One source's evidence is correlated, so each source counts once, by its newest evidence. Sources whose names differ in
digits only count as one: `crm-2026-11-29` and `crm-2026-11-30` are two nights of one export. Where there are other
sources too, a source counts for no more than `CAP`.
"""

import re
from collections.abc import Iterable
from math import log2
from typing import Protocol

CAP = 0.999
"""The highest confidence that counts where there are several sources; 1 - CAP is the lowest."""


class Weighed(Protocol):
    """The evidence of one source."""

    @property
    def confidence(self) -> float:
        """How sure it is, from 0 to 1."""
        ...

    @property
    def source(self) -> str | None:
        """Its name; None is a name too."""
        ...

    @property
    def at(self) -> int:
        """From when it holds, in microseconds."""
        ...

    @property
    def order(self) -> tuple[int, bytes]:
        """What evidence is sorted by: the later one counts."""
        ...


def family(source: str) -> str:
    """Return a source's name without its digits, under which it counts."""
    return _DIGITS.sub("", source)


_DIGITS = re.compile(r"\d+")


def combined(stated: Iterable[Weighed], now: int) -> float | None:
    """Return the confidence in a link at a moment; None where no source has given evidence yet.

    A link is certain where a source is certain of it. Rounded to 6 decimals, so that it is one text everywhere.
    """
    newest: dict[str | None, Weighed] = {}
    for statement in sorted(
        (statement for statement in stated if statement.at <= now), key=lambda statement: statement.order
    ):
        newest[None if statement.source is None else family(statement.source)] = statement
    confidences = [statement.confidence for statement in newest.values()]
    if not confidences:
        return None
    if len(confidences) == 1 or max(confidences) == 1.0:
        return max(confidences)
    weight = sum(
        log2(confidence / (1 - confidence)) for confidence in (min(max(p, 1 - CAP), CAP) for p in sorted(confidences))
    )
    return round(2**weight / (1 + 2**weight), 6)
