"""Messages of commands: what was wrong, what exists, what was left out, and whether anything has changed."""

import gzip
import io
import json
import os
import re
import signal
import subprocess
import time
from contextlib import closing

import apsw
import httpx
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness import TENANT, command, interaction, ndjson, portrait, server
from portrait.cli import cli, portrait_view
from portrait.cli.options import TENANT_VARIABLE
from portrait.ingest import formats
from portrait.model.errors import PortraitError

EMAIL = {"type": "email", "value": "Anna@Example.org"}
PLUGIN = '''
from typing import Annotated

from portrait import Record, Text, none, register_profile_section


@register_profile_section("{name}", key=("id",), default={default})
class Kept(Record, frozen=True):
    """Records."""

    id: Annotated[Text, none]
'''


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "portrait.db"
    stderr_of("tenant", "create", TENANT, database=path)
    return path


def run(*words, database=None, **variables):
    """Run a command in this process."""
    clean = {name: None for name in os.environ if name.startswith("PORTRAIT_")}
    where = [] if database is None else ["--database", f"sqlite:///{database}"]
    return CliRunner().invoke(cli, [*words, *where], env={**clean, **variables})


def stderr_of(*words, **options):
    """Run a command that succeeds; return its stderr."""
    done = run(*words, **options)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stderr


def refusal(*words, **options):
    """Run a command that is refused; return its message."""
    done = run(*words, **options)
    assert done.exit_code != 0
    assert done.stdout == ""
    return done.exception.detail if isinstance(done.exception, PortraitError) else done.stderr


def load(database, *lines, words=()):
    file = database.parent / "lines.jsonl"
    file.write_bytes(ndjson(lines))
    stderr_of("load", str(file), "--tenant", TENANT, *words, database=database)


def record_line(customer, section, record):
    return {"customerId": customer, "section": section, "record": record}


def test_a_refusal_of_an_unknown_tenant_names_the_known_tenants(database):
    stderr_of("tenant", "create", "shop", database=database)
    for words in (
        ("show", "c1"), ("load", "-"), ("key", "list"), ("key", "create"), ("key", "revoke", "k"),
        ("identity", "review"), ("identity", "merge", "a", "b"),
    ):  # fmt: skip
        text = refusal(*words, "--tenant", "shap", database=database)
        assert "Did you mean shop?" in text
        assert f"Tenants: {TENANT}, shop." in text
        assert "create shap" not in text
    text = refusal("show", "c1", "--tenant", "other", database=database)
    assert "mean" not in text


def test_the_tenant_may_come_from_the_environment_and_a_flag_goes_before(database):
    stderr_of("tenant", "create", "shop", database=database)
    load(database, record_line("c1", "interactions", interaction(1)))
    environment = {TENANT_VARIABLE: TENANT, "database": database}
    assert "ih_001" in run("show", "c1", **environment).stdout
    assert "knows no customer" in refusal("show", "c1", "--tenant", "shop", **environment)
    for words in (("key", "create", "--platform"), ("key", "list", "--platform"), ("key", "create")):
        stderr_of(*words, **environment)
    assert "viewer" in run("key", "list", **environment).stdout
    assert "either" in refusal("key", "list", "--platform", "--tenant", TENANT, **environment)


OTHERS = {
    "csv": (b"customerId,email\nc1,a@example.org\n", "looks like CSV"),
    "csv of a spreadsheet": (b"\xef\xbb\xbfcustomerId;email\r\nc1;a@example.org\r\n", "looks like CSV"),
    "tabs": (b"id\temail\nc1\ta@example.org\n", "looks like CSV"),
    "csv in gzip": (gzip.compress(b"id,email\nc1,a@example.org\n"), "looks like CSV"),
    "parquet": (b"PAR1\x15\x04", "Parquet"),
    "utf-16": ('{"customerId": "c1"}\n'.encode("utf-16"), "UTF-16"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_of_another_format_is_refused_whole_with_what_it_is(database, kind):
    content, words = OTHERS[kind]
    file = database.parent / "file"
    file.write_bytes(content)
    text = refusal("load", str(file), "--tenant", TENANT, database=database)
    assert words in text
    assert formats.EXAMPLE in text
    assert not list(database.parent.glob("*.refused.jsonl"))
    load(database, json.loads(formats.EXAMPLE))


def test_another_format_is_noticed_on_stdin_too(database):
    done = portrait("load", "-", "--tenant", TENANT, database=database, input="a,b\n1,2\n", cwd=database.parent)
    assert done.returncode == 1
    assert done.stderr.startswith("portrait: stdin looks like CSV. ")


@given(st.lists(st.sampled_from([b"a,b", b"wrong", b"[1]", b"", b"PAR", b"\xff"]), max_size=6), st.data())
def test_a_file_with_one_line_that_may_be_an_object_is_gone_through_line_by_line(lines, data):
    at = data.draw(st.integers(0, len(lines)))
    first = lines[0] if at else b""
    content = b"\n".join([*lines[:at], b'{"customerId": "c1"}', *lines[at:]])
    assert formats.foreign(content) is None or first.startswith((b"\x1f", b"PAR1", b"PK"))


def test_the_settings_file_may_be_named_before_a_command_or_behind_it(tmp_path):
    file = tmp_path / "other.toml"
    file.write_text("port = 1004\n")
    for words in (("--config", str(file), "settings"), ("settings", "--config", str(file))):
        assert "port = 1004\n    file;" in run(*words).stdout
    assert "port = 1005\n    flag;" in run("settings", "--port", "1005", "--config", str(file)).stdout
    assert "cannot be read" in refusal("serve", "--config", str(tmp_path / "missing.toml"))


def test_an_unknown_variable_is_named_with_the_setting_that_it_resembles():
    done = run("settings", PORTRAIT_PORTT="1", PORTRAIT_QUITE_ANOTHER="secret", PORTRAIT_HOST="127.0.0.3")
    assert done.exit_code == 0
    assert "PORTRAIT_PORTT is not a setting and has no effect. Did you mean PORTRAIT_PORT?" in done.stderr
    assert "PORTRAIT_QUITE_ANOTHER is not a setting" in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert stderr_of("settings", PORTRAIT_PORT="1", **{TENANT_VARIABLE: "shop"}) == ""


def test_a_customer_may_be_named_by_any_identifier_of_its_own(database):
    load(
        database,
        record_line("anna", "identities", EMAIL),
        record_line("anna", "identities", {"type": "cookie_id", "value": "same"}),
        record_line("ben", "identities", {"type": "device_id", "value": "same"}),
    )
    where = ("--tenant", TENANT)
    for words in (("show",), ("identity", "explain")):
        done = run(*words, "anna@example.org", *where, database=database)
        assert done.exit_code == 0
        assert "anna" in done.stdout
        assert done.stderr.splitlines()[0] == "anna@example.org is the email of anna."
        text = refusal(*words, "same", *where, database=database)
        assert "cookie_id of anna, device_id of ben" in text
        for unknown in ("x@example.org", "", ".", "nobody"):
            assert "knows no customer with this id" in refusal(*words, unknown, *where, database=database)
    assert run("show", "anna", *where, database=database).stderr == ""


def test_stored_sections_that_are_not_shown_are_named(database, tmp_path):
    plugins = {}
    for name, default in (("gone", True), ("asked", False)):
        plugins[name] = tmp_path / f"{name}.py"
        plugins[name].write_text(PLUGIN.format(name=name, default=default))
    every = [word for path in plugins.values() for word in ("--plugin", str(path))]
    load(database, *(record_line("c1", name, {"id": "i1"}) for name in plugins), words=every)
    show = ("show", "c1", "--tenant", TENANT)
    notes = stderr_of(*show, "--plugin", str(plugins["asked"]), database=database).splitlines()
    assert notes == [
        "Shown only with --sections: asked.",
        "Not shown, because their plugins are not loaded (see --plugin): gone.",
    ]
    assert "asked, gone" in stderr_of(*show, "--json", database=database)
    assert stderr_of(*show, "--sections", "segments", *every, database=database) == ""
    assert json.loads(run(*show, "--json", *every, database=database).stdout)["sections"][-1]["name"] == "gone"


def printed(records, width):
    out = io.StringIO()
    profile = {"customerId": "c", "tenantId": "t", "computedAt": "", "sections": [{"name": "s", "data": records}]}
    portrait_view.show(profile, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    return out.getvalue()


NAMES = st.text("abcdefgh", min_size=1, max_size=12).filter(lambda name: name != "kind")
PROPERTIES = st.text("rstuvwxyz", min_size=1, max_size=6)
WORDS = st.text("ijklmnopq", min_size=1, max_size=8)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.dictionaries(NAMES, WORDS | st.dictionaries(PROPERTIES, st.integers(0, 9), max_size=3), max_size=30),
        max_size=3,
    ),
    st.integers(40, 200),
)
def test_no_field_and_no_property_is_dropped_however_narrow_the_terminal(records, width):
    words = re.findall(r"\w+", printed(records, width))
    for record in records:
        for name, value in record.items():
            assert name in words
            if isinstance(value, str):
                assert value in words
            for property_ in value if isinstance(value, dict) else ():
                assert property_ in words


def test_a_note_at_the_end_says_that_a_text_was_cut():
    assert "--json shows them whole" in printed([{"long": "l" * 61}], 100)
    assert "--json" not in printed([{"long": "l" * 60}], 100)


def test_a_preview_says_that_nothing_has_changed_and_an_action_does_not(database):
    load(database, record_line("a", "interactions", interaction(1)), record_line("b", "interactions", interaction(2)))
    merge = ("identity", "merge", "a", "b", "--tenant", TENANT)
    before = run("show", "a", "--json", "--tenant", TENANT, database=database).stdout
    preview = run(*merge, "--preview", database=database)
    assert preview.stderr == "A preview: nothing has changed. The action would lead to this:\n"
    assert "customer_id b" in preview.stdout
    after = run("show", "a", "--json", "--tenant", TENANT, database=database).stdout
    assert before.partition("computedAt")[0] == after.partition("computedAt")[0]
    assert "preview" not in stderr_of(*merge, database=database)
    assert stderr_of(*merge, "--preview", database=database).startswith("A preview: nothing has changed.")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_a_service_with_exit_code_0_and_no_error(database, workers):
    log = []
    words = ("--auth", "open", "--workers", workers)
    with server(database, *words, log=log, start_new_session=True) as (url, process):
        assert httpx.get(f"{url}/health/live", timeout=60).status_code == 200
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
    assert not [line for line in log if "Aborted" in line or "Traceback" in line or not line.strip()]


@pytest.mark.parametrize("pause", [0.05, 0.15, 0.25])
def test_ctrl_c_while_the_workers_start_ends_them_without_a_traceback(database, pause):
    words = command("serve", "--auth", "open", "--workers", "2", "--port", "0", database=database)
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # before any thread
    )  # fmt: skip
    output = ""
    while "Started parent process" not in output:
        output += process.stdout.readline()
    time.sleep(pause)  # they import for about half a second
    os.killpg(process.pid, signal.SIGINT)
    output += process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert "Traceback" not in output


def test_ctrl_c_ends_a_command_with_one_line(database):
    file = database.parent / "many.jsonl"
    file.write_bytes(
        ndjson(record_line(f"c{number % 500}", "interactions", interaction(number)) for number in range(50_000))
    )
    words = command("load", str(file), "--tenant", TENANT, database=database)
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # The process that runs the tests may ignore SIGINT, as a shell's background jobs do; children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # before any thread
    )  # fmt: skip

    def facts():
        with closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            return connection.execute("SELECT count(*) FROM facts").get

    while not facts():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "portrait: Stopped. Records that were committed stay.\n")
    assert process.returncode == 130
    assert facts() > 0
