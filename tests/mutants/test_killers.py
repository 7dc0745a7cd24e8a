"""What is kept of tests that fail without guards is of guards and tests that exist: a rename drops no entry."""

import pytest

from mutants import killers
from mutants.find import Mutant, mutants
from mutants.killers import Killers
from mutants.run import SOURCE, Verdict


def guard(id_, file="portrait/writes/a.py"):
    return Mutant(id_, file, "", "", 1, 0, 0, "", "")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Return what keeps killers in a file of its own, which knows of two guards; one is there no more."""
    monkeypatch.setattr(killers, "KILLERS", tmp_path / "killers.json")
    killers.KILLERS.write_text(
        '{"portrait/writes/b.py": {"was": "tests/b"}, "portrait/writes/a.py": {"is": "tests/a"}}'
    )
    monkeypatch.setattr(killers, "collected", set)
    return Killers([guard("is"), guard("new"), guard("other", "portrait/api/a.py")])


def test_every_killer_is_kept_for_a_guard_that_exists():
    files = {mutant.id: mutant.file for mutant in mutants(SOURCE)}
    stale = {
        id_: test for file, tests in killers.read().items() for id_, test in tests.items() if files.get(id_) != file
    }
    assert stale == {}, "run `python -m mutants --new`: it looks for these tests first"


def test_every_killer_exists():
    tests = set(killers.by_id(killers.read()).values())
    assert tests - killers.collected(tests) == set(), "run `python -m mutants --new`"


def test_a_test_that_does_not_exist_is_not_collected():
    present = "tests/mutants/test_killers.py::test_every_killer_exists"
    assert killers.collected([present, f"{present}_any_more", "tests/gone.py::test_gone"]) == {present}


def test_tests_of_guards_that_are_gone_or_beside_it_run_first_for_a_guard_without_one(kept):
    assert kept.stages(guard("is")) == [("tests/a",)]
    assert kept.stages(guard("new")) == [("tests/b", "tests/a")]
    assert kept.stages(guard("other", "portrait/api/a.py")) == []


def test_what_is_kept_of_guards_that_are_gone_stays_until_the_end_of_a_run(kept):
    kept.keep(Verdict(guard("new"), "tests/new", 1.0, finished=True))
    assert killers.by_id(killers.read()) == {"was": "tests/b", "is": "tests/a", "new": "tests/new"}
    kept.keep(Verdict(guard("is"), None, 1.0, finished=True))
    kept.prune()
    assert killers.read() == {"portrait/writes/a.py": {"new": "tests/new"}}
