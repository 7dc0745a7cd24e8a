"""Results to words: docs/explanation/identity-measured.md, and a summary for the terminal."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bench import machine
from bench.identity import shares
from bench.identity.run import Result, refusals
from bench.identity.stream import Event
from bench.process import ROOT
from bench.report import fill, table

PAGE = ROOT / "docs" / "explanation" / "identity-measured.md"
_SHOWN = ("cores", "processor", "memory", "kernel", "Python", "SQLite", "Portrait")
_MEASURED = "precision | recall | of the attainable | F1 | profiles of several people | largest (in truth)"


class Options(NamedTuple):
    """What was measured."""

    events: int
    seed: int
    chunk: int


def write(
    results: Sequence[Result], streams: Sequence[Result], events: Sequence[Event], options: Options, page: Path = PAGE
) -> None:
    """Put results into the page's marked places.

    Args:
        results: what each set of rules made of the hardest stream, the usual ones first.
        streams: what the usual rules made of each stream: that of the goal first, the hardest last.
        events: the hardest stream.
        options: what was measured.
        page: the page to write.
    """
    fill(
        page,
        {
            "machine": _machine(options),
            "goals": _goals(streams[0], streams[-1]),
            "rules": table(f"rules | {_MEASURED}", map(_cells, results)),
            "refused": _refused(results),
            "streams": table(f"stream | {_MEASURED}", map(_cells, streams)),
            "stream": _stream(events, results[0]),
            "shares": table("share | is | of", shares.table(shares.Shares())),
        },
    )


def summary(results: Sequence[Result]) -> str:
    """Return the results of a run, for the terminal."""
    return table(f"rules | {_MEASURED}", map(_cells, results))


def _cells(result: Result) -> list[str]:
    fit = result.fit
    measured = (fit.precision, fit.recall, fit.recall / result.attainable, fit.f1)
    return [
        result.name,
        *(f"{share:.4f}" for share in measured),
        f"{fit.mixed:,} ({100 * fit.false_merges:.2f} %)",
        f"{result.largest} ({result.most})",
    ]


def _machine(options: Options) -> str:
    described = machine.describe()
    details = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: described[name] for name in _SHOWN},
        "run": f"{options.events:,} events, seed {options.seed}, {options.chunk} events in one transaction",
    }
    return table("what | on this run", details.items())


def _goals(usual: Result, hardest: Result) -> str:
    rows = (
        ("precision", "≥ 0.999", *(_measured(result.fit.precision, 0.999) for result in (usual, hardest))),
        (
            "recall, of what deterministic evidence can give",
            "≥ 0.95",
            *(_measured(result.fit.recall / result.attainable, 0.95) for result in (usual, hardest)),
        ),
        (
            "largest profile, in identifiers, against the most of one person",
            "≤ twice",
            *(
                f"{result.largest} of {result.most}: {_met(result.largest <= 2 * result.most)}"
                for result in (usual, hardest)
            ),
        ),
    )
    return table(f"by default | goal | {usual.name} | {hardest.name}", rows)


def _measured(figure: float, least: float) -> str:
    return f"{figure:.4f}: {_met(figure >= least)}"


def _met(met: bool) -> str:  # noqa: FBT001  # the value itself is shown
    return "met" if met else "**missed**"


def _refused(results: Sequence[Result]) -> str:
    reasons = refusals(results)
    rows = ([result.name, *(f"{result.refused.get(reason, 0):,}" for reason in reasons)] for result in results)
    return table(" | ".join(["rules", *(f"`{reason}`" for reason in reasons)]), rows)


def _stream(events: Sequence[Event], usual: Result) -> str:
    kinds = Counter(event.kind for event in events)
    details = {
        "events": f"{len(events):,}: {', '.join(f'{count:,} `{kind}`' for kind, count in kinds.most_common())}",
        "records": f"{sum(len(event.records) for event in events):,}",
        "people who were there": f"{len({event.person for event in events} - {None}):,}",
        "identifiers of one person, at most": f"{usual.most}",
        "recall that deterministic evidence can give": f"{usual.attainable:.4f}",
    }
    return table("what | is", details.items())
