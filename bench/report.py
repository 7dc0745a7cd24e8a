"""Results to words: docs/benchmarks.md, its charts, and a summary for the terminal."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.against import Compared, Comparison
from bench.chart import Bar, bars
from bench.measure import Series, spread
from bench.process import ROOT
from bench.rows import Outcome
from bench.run import Results, Run

PAGE = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"
NOTES = ROOT / "bench" / "notes.toml"
_BLOCK = re.compile(r"(<!-- measured: ([\w-]+) -->\n)(.*?)(<!-- /measured -->)", re.DOTALL)
_WIDE = 132
"""So many letters a line of the comparison needs, where the terminal does not tell or is narrower."""
_NOTHING = "Not measured yet.\n"


def write(results: Results, page: Path = PAGE, images: Path = IMAGES) -> None:
    """Put results into the page's marked places, and draw its charts."""
    fill(page, blocks(results))
    for name, picture in charts(results.usual).items():
        (images / name).write_text(picture)


def fill(page: Path, texts: Mapping[str, str]) -> None:
    """Put texts into a page's marked places, by their names."""
    page.write_text(_BLOCK.sub(lambda match: match[1] + texts[match[2]] + match[4], page.read_text()))


def blocks(results: Results) -> dict[str, str]:
    """Return what stands in the page's marked places, by their names."""
    usual, overload, large = results.usual, results.overload, results.large
    notes = tomllib.loads(NOTES.read_text())
    return {
        "machine": _machine(usual) if usual else _NOTHING,
        "rows": _rows(usual.rows) if usual else _NOTHING,
        "overload": _rows(overload.rows) + "\n" + _machine(overload) if overload else _NOTHING,
        "large": _rows(large.rows) + "\n" + _machine(large) if large else _NOTHING,
        "missed": _missed([row for run in (usual, overload, large) if run for row in run.rows], notes)
        if usual
        else _NOTHING,
        "series": _series(usual.series) if usual else _NOTHING,
    }


def charts(run: Run | None) -> dict[str, str]:
    """Return the page's charts, by file name; empty ones where nothing was measured."""
    served = {id_: series for id_, series in (run.series if run else {}).items() if series.value and _is_full(id_)}
    drawn = [_bar(series, _kind(id_)) for id_, series in served.items()]
    return {"requests.svg": bars(f"Full profiles a second{', one process on one core' if drawn else ': none'}", drawn)}


def _is_full(id_: str) -> bool:
    if id_.startswith("peer."):
        return not id_.endswith(".collect")
    return id_.endswith(".full") or id_ in {"floor.static", "floor.sqlite", "floor.postgres"}


def _bar(series: Series, kind: str) -> Bar:
    figures = spread(series.value)
    return Bar(series.title, figures.median, figures.least, figures.most, kind)


def _kind(id_: str) -> str:
    first = id_.partition(".")[0]
    return first if first in {"floor", "peer"} else "ours"


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown; its head's cells stand between bars."""
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1), *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n"


def _machine(run: Run) -> str:
    options = run.options
    sizes = [options.large_customers] if any(row.id.startswith("large-") for row in run.rows) else []
    customers = " and ".join(f"{size:,}" for size in [*sizes, options.customers])
    details = {
        "measured": run.at,
        **run.machine,
        "run": f"{customers} customers, {options.rounds} rounds of {options.seconds:g} s, "
        f"{options.connections} connections",
    }
    return table("what | on this run", details.items())


def _rows(rows: Iterable[Outcome]) -> str:
    return table("row | goal | measured | rounds | met", (_cells(row) for row in rows))


def _cells(row: Outcome) -> Iterator[str]:
    yield f"{row.title} <sub>`{row.id}`</sub>"
    yield row.goal or "reported"
    measured = row.measured
    if measured is None:
        yield from ("failed" if row.failed else "skipped", row.failed or row.skipped, "no" if row.failed else "")
        return
    yield f"**{_number(measured.median)}** {row.unit}"
    yield f"{_number(measured.least)} to {_number(measured.most)}"
    yield "" if row.met is None else "yes" if row.met else "**no**"


def _missed(rows: Iterable[Outcome], notes: dict[str, dict[str, str]]) -> str:
    missed = [row for row in rows if row.met is False]
    if not missed:
        return "None.\n"
    return table(
        "row | what bounds it | what would move it",
        (
            (f"`{row.id}`", *(notes.get(row.id, {}).get(part, "not known yet") for part in ("bounds", "moves")))
            for row in missed
        ),
    )


def _series(series: dict[str, Series]) -> str:
    return table("what | median | rounds | p50 | p99", (_measured(probe_series) for probe_series in series.values()))


def _measured(series: Series) -> Iterator[str]:
    yield series.title
    if not series.value:
        yield from ("failed" if series.failed else "skipped", series.failed or series.skipped, "", "")
        return
    figures = spread(series.value)
    yield f"{_number(figures.median)} {series.unit}"
    yield f"{_number(figures.least)} to {_number(figures.most)}"
    for latencies in (series.p50, series.p99):
        yield f"{_number(spread(latencies).median)} ms" if latencies else ""


def _number(value: float) -> str:
    """Return a number to three digits, or whole where it is larger."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def comparison(run: Comparison) -> None:
    """Print what the working tree came to beside a revision."""
    table = Table(
        "row", "this", "base", "this/base", "base/base", "beyond the noise",
        title=f"Working tree beside {run.against[:12]}, {run.options.rounds} rounds",
    )  # fmt: skip
    for row in run.rows:
        table.add_row(row.id, *_compared(row))
    Console(width=max(Console().width, _WIDE)).print(table)


def _compared(row: Compared) -> Iterator[str]:
    if row.this is None or row.base is None or row.ratio is None or row.noise is None:
        yield f"failed: {row.failed}" if row.failed else f"skipped: {row.skipped}"
        return
    yield f"{_number(row.this.median)} {row.unit}"
    yield f"{_number(row.base.median)} {row.unit}"
    for figures in (row.ratio.spread, row.noise.spread):
        yield f"{figures.median:.2f} ({figures.least:.2f} to {figures.most:.2f})"
    yield row.beyond


def summary(run: Run) -> None:
    """Print the results of a run."""
    table = Table("row", "goal", "measured", "rounds", "met", title=f"{run.options.rounds} rounds")
    for row in run.rows:
        _, *cells = _cells(row)
        table.add_row(row.id, *(cell.replace("*", "") for cell in cells))
    Console().print(table)
