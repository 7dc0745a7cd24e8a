"""The commands that look after tenants, keys, settings and the database."""

import json
import os

import apsw
import click
import pytest

from harness import TENANT, interaction, ndjson, portrait, service
from portrait.cli import cli
from portrait.cli.options import DATA
from portrait.model import time
from portrait.settings import SETTINGS


def commands(group=cli, words=()):
    """Yield every command with the words that name it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


COMMANDS = dict(commands())
WITHOUT_DATA = {("sections",), ("settings",), ("db", "distribute"), ("db", "backup"), ("db", "restore")}
"""These read no records: those of `db` move tables or files, whatever is in them."""


@pytest.fixture
def database(tmp_path):
    """A database with a tenant and a customer."""
    path = tmp_path / "portrait.db"
    made = portrait("tenant", "create", TENANT, "--name", "Mine", database=path)
    assert made.returncode == 0, made.stderr
    assert f"portrait key create --tenant {TENANT}" in made.stderr
    lines = ndjson([{"customerId": "c1", "section": "interactions", "record": interaction(1)}])
    loaded = portrait("load", "-", "--tenant", TENANT, database=path, input=lines.decode(), cwd=tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    return path


def test_a_tenant_is_made_with_a_known_region(tmp_path):
    path = tmp_path / "portrait.db"
    made = portrait("tenant", "create", "shop", "--region", "uk", database=path)
    assert (made.returncode, made.stdout) == (1, "")
    assert "two capital letters" in made.stderr
    assert portrait("tenant", "create", "shop", "--region", "GB", database=path).returncode == 0
    rules = portrait("identity", "rules", "--tenant", "shop", database=path)
    assert json.loads(rules.stdout)["region"] == "GB"


@pytest.mark.parametrize("words", [(), *COMMANDS, ("tenant",), ("key",), ("db",)], ids=" ".join)
def test_every_command_has_help(words):
    done = portrait(*words, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {' '.join(['portrait', *words])}")
    assert done.stderr == ""


@pytest.mark.parametrize("words", [words for words in COMMANDS if words not in WITHOUT_DATA], ids=" ".join)
def test_every_command_that_touches_data_takes_its_settings(words):
    flags = {flag for parameter in COMMANDS[words].params for flag in parameter.opts}
    assert {f"--{name.replace('_', '-')}" for name in DATA} <= flags
    assert {"database", "plugin"} <= set(DATA)


def test_tenants_are_made_once_and_listed(database):
    listed = portrait("tenant", "list", database=database)
    assert [line.split("\t")[:2] for line in listed.stdout.splitlines()] == [[TENANT, "Mine"]]
    again = portrait("tenant", "create", TENANT, database=database)
    assert again.returncode == 1
    assert again.stderr.startswith("portrait: ")
    assert "Traceback" not in again.stderr


def test_a_key_is_printed_once_alone_listed_without_its_secret_and_taken_back(database):
    made = portrait("key", "create", "--tenant", TENANT, "--role", "editor", "--name", "import", database=database)
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert len(made.stdout.splitlines()) == 1
    listed = portrait("key", "list", "--tenant", TENANT, database=database).stdout
    assert key not in listed
    key_id, role, last_four, state, name, minter, made_at, ends_at, used_at = listed.strip().split("\t")
    assert (ends_at, used_at) == ("no end", "not used")
    assert abs(time.parse(made_at) - time.system_clock()) < time.HOUR
    assert (role, last_four, state, minter, name) == ("editor", f"…{key[-4:]}", "live", "command line", "import")
    assert portrait("key", "revoke", key_id, "--tenant", TENANT, database=database).returncode == 0
    assert "\trevoked\t" in portrait("key", "list", "--tenant", TENANT, database=database).stdout
    again = portrait("key", "revoke", key_id, "--tenant", TENANT, database=database)
    assert again.returncode == 1


def test_a_key_is_a_viewers_unless_it_says_otherwise(database):
    words = ("key", "create", "--tenant", TENANT, "--expires", "2999-01-01T00:00:00Z")
    assert portrait(*words, database=database).returncode == 0
    listed = portrait("key", "list", "--tenant", TENANT, database=database).stdout
    assert listed.split("\t")[1:4:2] == ["viewer", "live"]
    assert listed.split("\t")[7] == "2999-01-01T00:00:00Z"


def test_a_key_that_would_have_ended_already_is_refused(database):
    words = ("key", "create", "--tenant", TENANT, "--expires", "2020-01-01T00:00:00Z")
    refused = portrait(*words, database=database)
    assert refused.returncode in {1, 2}
    assert refused.stdout == ""
    assert portrait("key", "list", "--tenant", TENANT, database=database).stdout == ""


def test_a_platform_key_has_no_tenant_and_comes_with_a_warning_of_its_reach(database):
    made = portrait("key", "create", "--platform", database=database)
    assert made.returncode == 0
    assert "reach every customer" in made.stderr
    assert "reach" not in portrait("key", "create", "--tenant", TENANT, database=database).stderr
    assert "\tplatform\t" in portrait("key", "list", "--platform", database=database).stdout
    assert "\tplatform\t" not in portrait("key", "list", "--tenant", TENANT, database=database).stdout


async def test_revoking_a_key_lists_what_it_made_and_takes_it_along(database):
    async with service(database.parent, auth="keys", tenants=()) as running:
        access = running.services.access
        parent = (await access.create_key(None, "platform")).credential.id
        child = (await access.create_key(TENANT, "admin", name="a child", minted_by=parent)).credential
        grandchild = (await access.create_key(TENANT, "viewer", minted_by=child.id)).credential
    made = [time.rfc3339(credential.created_at) for credential in (child, grandchild)]
    lines = [
        [child.id, TENANT, "admin", f"…{child.last_four}", "{}", "a child", parent, made[0], "no end", "not used"],
        [
            grandchild.id,
            TENANT,
            "viewer",
            f"…{grandchild.last_four}",
            "{}",
            "",
            child.id,
            made[1],
            "no end",
            "not used",
        ],
    ]
    listed = portrait("key", "list", "--tenant", TENANT, database=database).stdout
    assert f"\tlive\ta child\t{parent}\t" in listed
    for words, state in (((), "live"), (("--descendants",), "revoked")):
        done = portrait("key", "revoke", parent, "--platform", *words, database=database)
        assert done.returncode == 0, done.stderr
        expected = sorted("\t".join(fields).format(state) for fields in lines)
        assert done.stdout.splitlines() == expected
    nothing = portrait("key", "revoke", parent, "--platform", "--descendants", database=database)
    assert nothing.returncode == 1


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--tenant", TENANT, "--platform"),
        ("--platform", "--role", "admin"),
        ("--tenant", TENANT, "--role", "owner"),
        ("--tenant", TENANT, "--expires", "tomorrow"),
        ("--tenant", TENANT, "--expires", "2030-01-01T00:00:00"),
    ],
    ids=" ".join,
)
def test_a_key_with_wrong_options_is_refused_and_nothing_is_printed(database, words):
    refused = portrait("key", "create", *words, database=database)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert portrait("key", "list", "--tenant", TENANT, database=database).stdout == ""


def test_a_key_of_an_unknown_tenant_is_refused(database):
    refused = portrait("key", "create", "--tenant", "nobody", database=database)
    assert refused.returncode == 1
    assert refused.stdout == ""


def test_the_check_of_a_sound_database_exits_with_0(database):
    checked = portrait("db", "check", database=database)
    assert (checked.returncode, checked.stdout) == (0, "1 customers, 1 facts, 0 differences\n")


def test_the_check_of_a_damaged_database_exits_with_1_and_the_rebuild_puts_it_right(database):
    with apsw.Connection(str(database)) as connection:
        connection.execute("DELETE FROM documents WHERE section = 'interactions'")
    checked = portrait("db", "check", database=database)
    assert checked.returncode == 1
    assert f"{TENANT}: document interactions: missing\n" in checked.stdout
    assert "portrait db rebuild" in checked.stderr
    rebuilt = portrait("db", "rebuild", database=database)
    assert rebuilt.returncode == 0
    assert f"{TENANT}: document interactions: missing\n" in rebuilt.stdout
    assert portrait("db", "check", database=database).returncode == 0


def test_an_upgrade_makes_the_schema_and_again_changes_nothing(tmp_path):
    path = tmp_path / "new.db"
    for _ in range(2):
        upgraded = portrait("db", "upgrade", database=path)
        assert upgraded.returncode == 0, upgraded.stderr
        with apsw.Connection(str(path)) as connection:
            assert connection.execute("SELECT count(*) FROM facts").get == 0


@pytest.mark.parametrize(
    "url",
    [
        "portrait.db",
        "postgres://x",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:////no/such/dir/portrait.db",
    ],
)
def test_a_wrong_database_url_is_refused_in_one_line(url, tmp_path):
    refused = portrait("tenant", "list", "--database", url, cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("portrait: ")
    assert len(refused.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def settings(tmp_path, *words, **variables):
    """Return value and source of each setting, as `portrait settings` prints them."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PORTRAIT_")}
    done = portrait(*words, cwd=tmp_path, env={**clean, **variables})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    effective = {}
    for head, where in zip(lines[::3], lines[1::3], strict=True):
        name, _, value = head.partition(" = ")
        effective[name] = (value, where.strip().partition(";")[0])
    return effective


def test_settings_are_all_shown_with_their_defaults(tmp_path):
    effective = settings(tmp_path, "settings")
    assert effective.keys() == SETTINGS.keys()
    assert {source for _, source in effective.values()} == {"default"}
    assert effective["port"] == ("8080", "default")


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(tmp_path):
    (tmp_path / "portrait.toml").write_text('port = 1001\nhost = "127.0.0.2"\nplugin = ["a.py", "b.py"]\n')
    assert settings(tmp_path, "settings")["port"] == ("1001", "file")
    assert settings(tmp_path, "settings")["plugin"] == ("a.py b.py", "file")
    effective = settings(tmp_path, "settings", PORTRAIT_PORT="1002")
    assert (effective["port"], effective["host"]) == (("1002", "environment"), ("127.0.0.2", "file"))
    assert settings(tmp_path, "settings", PORTRAIT_PLUGIN="c.py d.py")["plugin"] == ("c.py d.py", "environment")
    effective = settings(tmp_path, "settings", "--port", "1003", PORTRAIT_PORT="1002")
    assert effective["port"] == ("1003", "flag")
    assert effective["auth"] == ("keys", "default")


def test_another_file_is_named_with_config(tmp_path):
    (tmp_path / "portrait.toml").write_text("port = 1001\n")
    (tmp_path / "other.toml").write_text("port = 1004\n")
    assert settings(tmp_path, "--config", "other.toml", "settings")["port"] == ("1004", "file")


def test_the_files_settings_reach_nested_commands(tmp_path):
    (tmp_path / "portrait.toml").write_text('database = "sqlite:///from-file.db"\n')
    made = portrait("tenant", "create", TENANT, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "from-file.db").exists()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("prot = 1\n", "prot"),
        ("[serve]\nport = 1\n", "serve"),
        ("port = \n", "portrait.toml"),
        ('port = "many"\n', "port"),
        ('auth = "nobody"\n', "auth"),
        ('plugin = "one.py"\n', "plugin"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_name(tmp_path, text, word):
    (tmp_path / "portrait.toml").write_text(text)
    refused = portrait("settings", cwd=tmp_path)
    assert refused.returncode in {1, 2}
    assert refused.stdout == ""
    assert word in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_file_that_is_named_and_missing_is_refused(tmp_path):
    refused = portrait("--config", "missing.toml", "settings", cwd=tmp_path)
    assert refused.returncode in {1, 2}
    assert "missing.toml" in refused.stderr
