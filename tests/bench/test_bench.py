"""The whole bench with tiny numbers, SQLite only: what it promises to write."""

import json
from contextlib import ExitStack

import msgspec
import pytest
from click.testing import CliRunner

from bench import report
from bench.__main__ import main
from bench.measure import Probe, Taken, measure
from bench.rows import ROWS
from bench.run import Results, read
from bench.serving import Serving
from bench.workshop import Options, Workshop
from docs.pages import DOCS

TINY = ("--customers", "4", "--rounds", "1", "--seconds", "0.2", "--history", "40", "--bulk", "60",
        "--identifiers", "1000")  # fmt: skip
# Too much cannot be asked for with so little: those rows fail where nothing is refused.
SQLITE = [row for row in ROWS if row.id.endswith("-sqlite") and not row.id.startswith(("feast", "overload"))]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bench")
    path = directory / "results.json"
    only = [word for row in SQLITE for word in ("--only", row.id)]
    done = CliRunner().invoke(main, [*TINY, *only, "--directory", str(directory), "--results", str(path)])
    assert done.exit_code == 0, done.output
    return path


def test_results_have_the_promised_shape(results):
    stored = json.loads(results.read_bytes())
    assert set(stored) == {"usual"}
    run = stored["usual"]
    assert set(run) == {"at", "machine", "options", "rows", "series"}
    assert {"cores", "processor", "memory", "kernel", "Python", "SQLite", "libraries"} <= set(run["machine"])
    assert [row["id"] for row in run["rows"]] == [row.id for row in SQLITE]
    for row in run["rows"]:
        assert set(row["measured"]) == {"median", "least", "most"}, row
        assert len(row["rounds"]) == 1
        assert ("met" in row) == bool(row.get("goal"))
    for series in run["series"].values():
        assert len(series["value"]) == 1


def test_the_page_is_made_of_results(results, tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text((DOCS / "benchmarks.md").read_text())
    report.write(read(results), page, tmp_path)
    text = page.read_text()
    assert all(f"`{row.id}`" in text for row in SQLITE)
    assert str(tmp_path.parent) not in text
    assert (tmp_path / "requests.svg").read_text().startswith("<svg")


def test_the_page_says_what_was_measured(tmp_path):
    results = report.ROOT / "bench" / "results.json"
    page = tmp_path / "benchmarks.md"
    page.write_text(report.PAGE.read_text())
    report.write(read(results) if results.exists() else Results(), page, tmp_path)
    assert page.read_text() == report.PAGE.read_text(), "run python -m bench report"


def test_a_wrong_status_fails_the_row(tmp_path):
    workshop = Workshop(tmp_path, Options(customers=2, rounds=1, seconds=0.2, history=30), lambda _: None)
    with ExitStack() as stack:
        serving = Serving(workshop, stack, lambda: workshop.filled("sqlite"))
        nobody = serving.subject.get(99)
        measured = measure([Probe("a", "", "", lambda: Taken(serving.fire([nobody]).rate))], 1, lambda _: None)
    assert "status 404" in measured["a"].failed


def test_a_wrong_answer_fails_before_anything_is_measured(tmp_path):
    workshop = Workshop(tmp_path, Options(customers=2, rounds=1, seconds=0.2, history=30), lambda _: None)
    portrait = workshop.filled("sqlite")
    with pytest.raises(ValueError, match="sections"):
        portrait.check(0, msgspec.json.encode({"sections": []}))


def test_an_unknown_row_is_refused():
    done = CliRunner().invoke(main, ["--only", "nothing"])
    assert done.exit_code == 2
    assert "floor-sqlite" in done.output
