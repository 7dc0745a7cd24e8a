"""Settings out of range, passwords, wrong names and side files: reported in one line, and nothing is lost."""

import pytest

from harness import portrait
from portrait.model.urls import without_password


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "portrait.db"
    assert portrait("tenant", "create", "t", database=path).returncode == 0
    return path


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--busy-seconds", "nan"), ("--busy-seconds", "-1"), ("--pool-size", "0"), ("--busy-seconds", "inf")],
)
def test_a_number_that_makes_no_sense_is_refused(database, flag, value):
    refused = portrait("tenant", "list", flag, value, database=database)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"portrait: The setting {flag[2:].replace('-', '_')} must be a number, at least")


def test_a_file_with_a_number_of_the_wrong_kind_is_named(database, tmp_path):
    (tmp_path / "portrait.toml").write_text("port = 9.5\n")
    refused = portrait("settings", cwd=tmp_path)
    assert refused.stderr == "portrait: The settings file portrait.toml: port must be a whole number.\n"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@h/d",
        "postgresql://u:se/cr#et?@h:1/d?password=secret",
        "postgresql://u:[secret@h/d",
        "postgresql:///d?host=h&user=u&password=x@secret",
        "postgresql://h:1/d?user=u&password=x@secret",
        "postgresql://u@h:1/d?password=x@secret",
        "postgresql://u:x@secret?y@h/d",
        "postgresql://u:secret/d",
        "postgresql://u:secret",
        "postgresql:u:secret@h/d",
        "postgresql://h:1/d&password=secret",
        "postgresql://u@h/d&password=secret",
        "postgresql://u@h/d;password=secret",
        "postgresql://u;password=secret@h/d",
        "postgresql://h/d password=secret",
        "postgresql://u%3Asecret%40h/d",
        "u:secret@h/d",
        "host=h user=u password=secret dbname=d",
    ],
)
def test_a_password_is_never_shown(url, tmp_path):
    assert "secret" not in without_password(url)
    assert "cr#et" not in without_password(url)
    (tmp_path / "portrait.toml").write_text(f'database = "{url}"\n')
    for words in (("settings",), ("serve", "--help")):
        printed = portrait(*words, cwd=tmp_path)
        assert "secret" not in printed.stdout + printed.stderr
        assert "cr#et" not in printed.stdout + printed.stderr


@pytest.mark.parametrize(
    "words", [("db", "check"), ("db", "rebuild"), ("show", "c", "--tenant", "t"), ("key", "list", "--tenant", "t")]
)
def test_a_database_of_a_wrong_name_is_not_made(tmp_path, words):
    refused = portrait(*words, database=tmp_path / "typo.db")
    assert refused.returncode == 1
    assert "typo.db does not exist" in refused.stderr
    assert not (tmp_path / "typo.db").exists()


def test_a_side_file_never_replaces_another_file(database, tmp_path):
    lines = tmp_path / "lines.jsonl"
    lines.write_text("{}\n")
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    for side in (lines, notes):
        refused = portrait("load", str(lines), "--tenant", "t", "--refused", str(side), database=database)
        assert refused.returncode == 1
        assert "exists already" in refused.stderr
    assert (lines.read_text(), notes.read_text()) == ("{}\n", "mine")
    nowhere = portrait("load", str(lines), "--tenant", "t", "--refused", str(tmp_path / "no" / "x"), database=database)
    assert nowhere.returncode == 1
    assert "No file can be created" in nowhere.stderr


def test_the_demo_opens_no_database_of_somebodys_own(database):
    refused = portrait("demo", "--port", "0", database=database)
    assert refused.returncode == 1
    assert "other tenants" in refused.stderr


def test_the_database_is_readable_only_by_its_user(database):
    assert database.stat().st_mode & 0o077 == 0
