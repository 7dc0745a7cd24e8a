"""From records to candidates, on DuckDB, and on Spark where it is there."""

import contextlib
import csv
import importlib
import importlib.util
import json
import re
import shutil
import socket
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet
import pytest

from matching.people import population
from portrait.matching import Settings, match
from portrait.matching.model import comparisons, named
from portrait.matching.prepare import prepare
from portrait.model.errors import InputRefused, InvalidSetting, StartRefused
from portrait.serving import distribution

SPARK = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None, reason="needs pyspark and java"
)


def pairs_of(truth):
    people = {}
    for record, person in truth.items():
        people.setdefault(person, []).append(record)
    return {(a, b) for records in people.values() for a in records for b in records if a < b}


def pairs_in(candidates):
    """Return the pairs that links imply."""
    group = {}
    for candidate in candidates:
        if candidate.links:
            joined = group.get(candidate.left, {candidate.left}) | group.get(candidate.right, {candidate.right})
            group |= dict.fromkeys(joined, joined)
    return {(a, b) for records in group.values() for a in records for b in records if a < b}


@pytest.fixture(scope="module")
def sample():
    return population()


@pytest.fixture(scope="module")
def baseline(sample, tmp_path_factory):
    return match(sample[0], work=tmp_path_factory.mktemp("work"))


def test_matching_finds_the_people(sample, baseline):
    truth, linked = pairs_of(sample[1]), pairs_in(baseline.candidates)
    assert len(linked & truth) >= 0.95 * len(linked)
    assert len(linked & truth) >= 0.9 * len(truth)
    assert baseline.records == len(sample[0])


def test_a_run_leaves_its_results_readable_by_its_user_alone(sample, tmp_path):
    work = tmp_path / "work"
    match(sample[0][:100], work=work)
    left = {path.name for path in work.iterdir()}
    assert left == {
        "candidates.parquet", "keys.parquet", "manifest.json", "model.json", "pairs-0000.parquet", "records.parquet",
    }  # fmt: skip
    assert work.stat().st_mode & 0o077 == 0


def test_a_candidate_between_the_thresholds_waits_for_review(sample, tmp_path):
    strict = Settings(link_at=0.999, review_at=0.6)
    candidates = match(sample[0], work=tmp_path, settings=strict).candidates
    assert any(candidate.probability < 0.7 for candidate in candidates)
    for candidate in candidates:
        assert candidate.probability >= 0.6
        assert not candidate.links or candidate.probability >= 0.999
        assert candidate.probability >= 0.999 or candidate.reason in {"between", "implied"}


def test_another_order_of_records_gives_the_same_matches(sample, baseline, tmp_path):
    again = match(iter(sorted(sample[0], key=lambda record: record["id"])), work=tmp_path)
    assert again == baseline
    kept = pa.parquet.read_table(tmp_path / "candidates.parquet").to_pylist()
    assert [(row["left"], row["right"], row["links"]) for row in kept] == [
        (candidate.left, candidate.right, candidate.links) for candidate in baseline.candidates
    ]


def test_matching_in_chunks_gives_the_same_matches(sample, baseline, tmp_path):
    chunked = match(sample[0], work=tmp_path, settings=Settings(chunk=2_000))
    assert len(list(tmp_path.glob("pairs-*.parquet"))) > 1
    assert chunked.candidates == baseline.candidates


@SPARK
def test_spark_gives_the_same_matches(sample, baseline, tmp_path):
    assert match(sample[0], work=tmp_path, engine="spark") == baseline


def test_between_two_tables_each_record_has_one_partner_of_the_other(sample, tmp_path):
    records, truth = sample
    ours = [record for record in records if record["id"].endswith("-0")]
    theirs = [record for record in records if not record["id"].endswith("-0")]
    candidates = match(ours, theirs, work=tmp_path).candidates
    linked = [candidate for candidate in candidates if candidate.links]
    assert all(candidate.left.endswith("-0") and not candidate.right.endswith("-0") for candidate in candidates)
    assert (
        len({candidate.left for candidate in linked}) == len({candidate.right for candidate in linked}) == len(linked)
    )
    assert sum(truth[candidate.left] == truth[candidate.right] for candidate in linked) >= 0.97 * len(linked)
    assert len(linked) >= 0.9 * len({truth[record["id"]] for record in theirs})


def test_where_families_share_addresses_another_given_name_waits_for_review(tmp_path):
    """However low the thresholds: a sister is as probable as the address and the surname make her."""
    records, truth = population(360, families=True, seed=2)
    called = {truth[record["id"]]: record["first_name"] for record in records if record["id"].endswith("-0")}
    outcome = match(records, work=tmp_path, settings=Settings(link_at=0.1, review_at=0.05, agreement=0.0))
    assert outcome.model.families > 1 / 3
    assert sum(candidate.reason == "apart" for candidate in outcome.candidates) > 50
    for candidate in outcome.candidates:
        assert not candidate.links or called[truth[candidate.left]] == called[truth[candidate.right]]


def test_without_families_no_candidate_waits_for_a_given_name(baseline):
    assert baseline.model.families < 1 / 3
    assert not any(candidate.reason == "apart" for candidate in baseline.candidates)


class CutOff(Exception):
    """The error that a test raises to cut a run off."""


def test_a_run_cut_off_goes_on_where_it_was(sample, baseline, tmp_path):
    """Cut five times, each time further: finished steps are not repeated, and the result is the same."""
    settings = Settings(chunk=2_000)
    kept = {}
    for stage, done in (("train", 2), ("compare", 0), ("compare", 2), ("choose", 0), (None, 0)):
        steps = []

        def progress(*step, cut=(stage, done), steps=steps):
            steps.append(step)
            if step[:2] == cut:
                raise CutOff

        with pytest.raises(CutOff) if stage else contextlib.nullcontext():
            outcome = match(iter(sample[0]), work=tmp_path, settings=settings, progress=progress)
        assert {path: path.stat().st_mtime_ns for path in kept} == kept
        unfinished = {name for name, finished, total in steps if finished < total}
        if kept:
            assert ("train" in unfinished) == (not any(path.name == "model.json" for path in kept))
            there = sum(path.name.startswith("pairs-") for path in kept)
            assert [step for step in steps if step[0] == "compare"][:1] in (
                [],
                [("compare", there, len(chunks(steps)))],
            )
        paths = [*tmp_path.glob("pairs-*.parquet"), *tmp_path.glob("model.json"), tmp_path / "keys.parquet"]
        kept = {path: path.stat().st_mtime_ns for path in paths}
    assert outcome.candidates == baseline.candidates
    assert {path.name for path in kept} >= {"model.json", "pairs-0002.parquet"}


def chunks(steps):
    return range(next(total for name, _, total in steps if name == "compare"))


@pytest.mark.parametrize("change", ["input", "settings"])
def test_another_input_or_setting_starts_anew(sample, tmp_path, change):
    records = sample[0][:100]
    match(records, work=tmp_path)
    other = [*records[1:], {**records[0], "city": "Elsewhere"}] if change == "input" else records
    steps = []
    settings = Settings(review_at=0.4) if change == "settings" else None
    match(other, work=tmp_path, settings=settings, progress=lambda *step: steps.append(step))
    assert "train" in {name for name, finished, total in steps if finished < total}


def test_a_half_written_file_of_a_run_is_not_used(sample, tmp_path):
    """A file has another name while it is written; one left behind by a cut changes nothing."""
    (tmp_path / "pairs-0000.parquet.new").write_bytes(b"half")
    (tmp_path / "manifest.json").write_bytes(b"{")
    assert match(sample[0][:100], work=tmp_path).candidates


def _write_csv(path, records):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def _write_parquet(path, records):
    pa.parquet.write_table(pa.Table.from_pylist(records), path)


def _write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


WRITERS = [("csv", _write_csv), ("parquet", _write_parquet), ("jsonl", _write_lines), ("ndjson", _write_lines)]


@pytest.mark.parametrize(("ending", "write"), WRITERS)
def test_a_file_says_what_its_records_say(sample, tmp_path, ending, write):
    records = sample[0][:100]
    path = tmp_path / f"people.{ending}"
    write(path, records)
    work = tmp_path / "work"
    work.mkdir()
    assert prepare((path,), work, "id", {}) == prepare((records,), work, "id", {})


def test_a_file_that_was_read_is_not_read_again(sample, tmp_path):
    path = tmp_path / "people.csv"
    _write_csv(path, sample[0][:100])
    first = match(path, work=tmp_path / "work")
    then = (tmp_path / "work" / "records.parquet").stat().st_mtime_ns
    steps = []
    assert match(path, work=tmp_path / "work", progress=lambda *step: steps.append(step)) == first
    assert (tmp_path / "work" / "records.parquet").stat().st_mtime_ns == then
    assert {name for name, finished, total in steps if finished < total} == {"prepare", "choose"}


GOOD = [{"id": n, "surname": f"name{n}", "zip": f"{n}", "city": f"town{n}", "email": f"{n}@x.org"} for n in range(9)]


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([], "at least three columns"),
        ([{"id": n, "surname": f"n{n}", "city": "x"} for n in range(9)], "at least three columns"),
        ([{"id": n, "zip": f"{n}", "city": f"n{n}", "street": f"s{n}"} for n in range(9)], "of more than one kind"),
        ([{**record, "surname": None, "email": "same@x.org"} for record in GOOD], "at least three columns"),
        ([*GOOD, {**GOOD[0], "id": None}], "Record 9, counted from 0, has no value in the id column"),
        ([*GOOD, GOOD[3]], "Ids must be unique in a table: 1 records"),
    ],
)
def test_a_table_that_cannot_be_matched_is_refused(tmp_path, records, says):
    with pytest.raises(InputRefused, match=says):
        match(records, work=tmp_path)
    if says.startswith("Ids"):
        with pytest.raises(InputRefused, match=says):  # and again when the run is resumed
            match(records, work=tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.xlsx", b""), ("a.csv", b"\xff\xfe\x00"), ("a.jsonl", b"{"), ("a.parquet", b"no"), ("none.csv", None)],
)
def test_a_file_that_cannot_be_read_is_refused_without_its_content(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputRefused) as refused:
        match(tmp_path / name, work=tmp_path / "work")
    assert str(tmp_path) not in refused.value.detail


@pytest.mark.parametrize(
    "settings",
    [{"link_at": 0.4}, {"review_at": 0.0}, {"link_at": 1.1}, {"largest": 1}, {"agreement": 2.0}, {"block": 1}],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(InvalidSetting):
        Settings(**settings)


def test_columns_are_known_by_name_or_as_they_are_chosen():
    assert named(["First_Name", "LASTNAME", "Plz", "suburb"], {"postcode": "Plz"}) == {
        "given_name": "First_Name", "surname": "LASTNAME", "postcode": "Plz", "city": "suburb",
    }  # fmt: skip
    for chosen in ({"postcode": "nothing"}, {"shoe_size": "Plz"}):
        with pytest.raises(InputRefused) as refused:
            named(["Plz"], chosen)
        assert "nothing" not in refused.value.detail


def test_parts_of_an_address_are_one_comparison():
    made = comparisons(["given_name", "surname", "street", "street_number", "postcode", "city", "state", "email"])
    assert [comparison.name for comparison in made] == ["given_name", "surname", "address", "email"]
    assert all(abs(sum(comparison.m) - 1) < 0.05 for comparison in made)


def test_pairs_of_one_person_are_not_taken_for_chance(baseline):
    """Far fewer strangers than duplicates share an address."""
    address = baseline.model.chances["address"]
    assert address.u[0] < 0.02 * baseline.model.prior * address.m[0]


def test_where_splink_goes_astray_in_many_rounds_fewer_will_do(sample, baseline, tmp_path, monkeypatch):
    training = importlib.import_module("splink.internals.linker_components.training").LinkerTraining
    learn, calls = training.estimate_parameters_using_expectation_maximisation, []

    def refuse_every_other(self, *args, **named):
        calls.append(args)
        if len(calls) % 2:
            raise ValueError("m_probability value 3e-302 is below the minimum")
        return learn(self, *args, **named)

    monkeypatch.setattr(training, "estimate_parameters_using_expectation_maximisation", refuse_every_other)
    model = match(sample[0], work=tmp_path).model
    assert len(calls) == 4
    for name, chances in model.chances.items():
        assert chances.m == pytest.approx(baseline.model.chances[name].m, abs=0.02)


def test_two_levels_of_unlike_given_names_are_of_kin():
    (comparison,) = (
        comparison for comparison in comparisons(["given_name", "surname", "city"]) if comparison.name == "given_name"
    )
    unlike = [comparison.levels[len(comparison.levels) - level] for level in comparison.kin if level]
    assert unlike == [level for level in comparison.levels if level.kin]
    assert 0 in comparison.kin
    assert len(unlike) == 2


def test_matching_without_the_extra_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "splink", None)
    with pytest.raises(StartRefused, match=re.escape(distribution.command_for("match"))):
        match(GOOD, work=tmp_path)


def test_nothing_of_the_extra_is_imported_before_it_is_needed():
    code = "import sys, portrait.matching; print({'splink', 'duckdb', 'pyarrow', 'pyspark'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_matching_uses_no_network(sample, tmp_path, monkeypatch):
    """Python opens no connection; that DuckDB loads no extension by itself is a setting."""

    def refuse(*_):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert match(sample[0][:100], work=tmp_path).candidates
