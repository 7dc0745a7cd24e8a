"""The working tree beside another revision: what is compared, what is shown, and what a revision is made of."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import __main__ as command
from bench import revision
from bench.against import OURS, compared, measures
from bench.measure import Series
from bench.process import Failure
from bench.revision import build
from bench.rows import LARGE, ROWS

TINY = ("--customers", "4", "--rounds", "2", "--seconds", "0.2", "--history", "30")
ROW = ("--only", "floor-sqlite")
OLDER = """
import sys
from portrait.cli import main
if "tenant" in sys.argv:
    sys.exit("Error: No such command 'tenant'.")
main()
"""


def tell(text):
    pass


def installed(checkout):
    """Stand for an environment that is there already: this interpreter runs the revision's own files."""
    return Path(sys.executable)


def series(this, base, again, **more):
    subjects = {"this": this, "base_a": base, "base_b": again}
    return {f"{name}/sqlite.full": Series("a title", "requests/s", values, **more) for name, values in subjects.items()}


@pytest.fixture
def against(tmp_path, monkeypatch):
    """Run the command against HEAD, and return its answer and its results."""
    results = tmp_path / "results.json"

    def run(install=installed):
        monkeypatch.setattr(command, "build", partial(build, install=install))
        arguments = ["--against", "HEAD", *TINY, *ROW, "--directory", str(tmp_path), "--results", str(results)]
        done = CliRunner().invoke(command.main, arguments)
        return done, json.loads(results.read_bytes())

    return run


def test_each_row_has_a_ratio_and_the_noise_beside_it(against, tmp_path):
    done, results = against()
    assert done.exit_code == 0, done.output
    assert [row["id"] for row in results["rows"]] == ["sqlite.full"]
    row = results["rows"][0]
    assert set(row) >= {"this", "base", "ratio", "noise", "unit"}
    for part in ("ratio", "noise"):
        assert len(row[part]["rounds"]) == 2
        assert row[part]["spread"]["least"] <= row[part]["spread"]["median"] <= row[part]["spread"]["most"]
    assert "this/base" in done.output
    assert "base/base" in done.output
    assert "sqlite.full" in done.output
    files = {path.name for path in (tmp_path / "run").glob("*.db")}
    assert files == {f"portrait_{subject}_population.db" for subject in ("this", "base_a", "base_b")}


def test_a_revision_that_lacks_a_command_is_skipped_and_says_why(against):
    def older(checkout):
        (checkout / "src" / "portrait" / "__main__.py").write_text(OLDER)
        return installed(checkout)

    done, results = against(older)
    assert done.exit_code == 0, done.output
    row = results["rows"][0]
    assert row["skipped"] == "the revision: portrait tenant ended with 1: Error: No such command 'tenant'."
    assert "ratio" not in row
    assert len(results["series"]["this/sqlite.full"]["value"]) == 2


def test_an_unknown_revision_is_refused(tmp_path):
    done = CliRunner().invoke(command.main, ["--against", "no-such-revision", *ROW, "--directory", str(tmp_path)])
    assert done.exit_code == 1
    assert "git knows no revision no-such-revision" in done.output


def test_what_no_row_compares_is_refused():
    done = CliRunner().invoke(command.main, ["--against", "HEAD", "--only", "floor.static"])
    assert done.exit_code == 2


def test_the_noise_is_the_revision_by_itself():
    row = compared("sqlite.full", series([90.0, 80.0], [100.0, 100.0], [110.0, 100.0]))
    assert (row.ratio.rounds, row.noise.rounds) == ([0.9, 0.8], [1.1, 1.0])
    assert (row.this.median, row.base.most, row.unit) == (85.0, 110.0, "requests/s")


@pytest.mark.parametrize(
    ("least", "most", "beyond"),
    [(111.0, 113.0, "higher"), (80.0, 98.0, "lower"), (98.0, 101.0, ""), (109.0, 112.0, "")],
)
def test_a_row_is_beyond_the_noise_where_no_round_reaches_into_it(least, most, beyond):
    this, base, again = [least, *[most] * 4], [100.0] * 5, [99.0, *[110.0] * 4]
    assert compared("sqlite.full", series(this, base, again)).beyond == beyond
    assert compared("sqlite.full", series(this[:4], base[:4], again[:4])).beyond == ""


def test_latencies_are_compared_in_milliseconds():
    measured = series([1.0], [1.0], [1.0], p50=[2.0], p99=[8.0])
    row = compared("sqlite.full:p99", measured)
    assert (row.unit, row.this.median) == ("ms", 8.0)


@pytest.mark.parametrize(
    ("this", "base", "again"), [([1.0], [0.0], [1.0]), ([1.0, 1.0], [1.0], [1.0]), ([], [], []), ([1.0], [], [1.0])]
)
def test_what_has_no_ratio_is_skipped(this, base, again):
    row = compared("sqlite.full", series(this, base, again))
    assert row.skipped == "a round has no figure, or 0"
    assert row.ratio is None


@pytest.mark.parametrize(("subject", "failed"), [("this", True), ("base_a", False), ("base_b", False)])
def test_a_working_tree_fails_and_a_revision_is_skipped(subject, failed):
    measured = series([1.0], [1.0], [1.0])
    measured[f"{subject}/sqlite.full"].failed = "broken"
    row = compared("sqlite.full", measured)
    assert (row.failed, row.skipped) == (("broken", "") if failed else ("", "the revision: broken"))
    assert row.ratio is None


def test_every_measure_of_ours_is_compared_once():
    for rows in (ROWS, LARGE):
        names = [name for row in rows for name in (row.over, row.under) if name.startswith(OURS)]
        assert measures(rows) == list(dict.fromkeys(names))
    assert {"sqlite.half-load:p99", "postgres.load", "sqlite.not-modified", "postgres.batches"} <= set(measures(ROWS))


def test_measures_are_chosen_by_a_rows_id_or_by_their_own():
    assert measures(ROWS, ["tail-sqlite"]) == ["sqlite.half-load:p99", "sqlite.half-load:p50"]
    assert measures(ROWS, ["postgres.half-load"]) == ["postgres.half-load:p99", "postgres.half-load:p50"]
    assert measures(ROWS, ["tail-static"]) == []


def test_a_revision_has_its_own_files_and_is_kept(tmp_path):
    first = build("HEAD", tmp_path, tell, installed)
    assert first.program.source == tmp_path / first.commit / "src"
    assert (first.program.source / "portrait" / "__init__.py").exists()
    mark = tmp_path / first.commit / "mark"
    mark.touch()
    assert build("HEAD", tmp_path, tell, installed) == first
    assert mark.exists()
    assert [path.name for path in tmp_path.iterdir()] == [first.commit]


def test_an_environment_is_made_by_the_revisions_makefile_or_the_files_go(tmp_path, monkeypatch):
    checkout = tmp_path / "commit"
    checkout.mkdir()
    (checkout / "Makefile").write_text(".venv/dev.stamp:\n\tmkdir .venv && echo $(PYTHON) > $@\n")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert revision._make(checkout) == checkout / ".venv" / "bin" / "python"
    assert (checkout / ".venv" / "dev.stamp").read_text().strip() == sys.executable
    (checkout / ".venv" / "dev.stamp").unlink()
    with pytest.raises(Failure, match=r"dev\.stamp"):
        revision._make(checkout)
    assert not checkout.exists()
