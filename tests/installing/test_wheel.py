"""The wheel, installed by pip into an empty environment outside the checkout."""

import json
import shlex
import urllib.request
import zipfile

import pytest

from docs.pages import ROOT, blocks
from harness import serving
from portrait.serving import distribution

pytestmark = [pytest.mark.registries, pytest.mark.timeout(1200)]


def fetched(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return answer.read().decode()


def test_it_serves_the_demo(installed, tmp_path):
    command = shlex.join([str(installed.portrait), "demo", "--port", "0"])
    example = next(json.loads(block.text) for block in blocks(ROOT / "README.md") if block.language == "json")
    with serving(["sh", "-c", f"exec {command} >&2"], env=installed.variables, cwd=tmp_path) as (url, _):
        profile = fetched(f"{url}/api/v1/customers/CUST001/unified-profile", **{"X-Tenant-Id": "my-tenant"})
        page = fetched(f"{url}/docs")
    assert {**json.loads(profile), "computedAt": None} == {**example, "computedAt": None}
    assert f"Portrait {distribution.version()}" in page
    assert installed.portrait.with_name("portrait").read_text().startswith(f"#!{installed.python}")


def test_it_needs_nothing_else_and_holds_its_types_and_no_test(installed):
    assert "No broken requirements found" in installed.pip("check")
    names = zipfile.ZipFile(installed.wheel).namelist()
    assert "portrait/py.typed" in names
    assert "portrait/cli/sample.jsonl" in names
    assert {name.partition("/")[0] for name in names} == {
        "portrait", f"portrait_profiles-{distribution.version()}.dist-info"
    }  # fmt: skip


def test_it_prints_its_version_and_is_imported_from_its_environment(installed):
    assert installed.did(installed.portrait, "--version") == f"portrait, version {distribution.version()}\n"
    path = installed.did(installed.python, "-c", "import portrait; print(portrait.__file__)").strip()
    assert path.startswith(str(installed.directory)), "it is not the checkout's"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("postgres", ("tenant", "list", "--database", "postgresql://nobody@127.0.0.1/none")),
        ("match", ("identity", "match", "--tenant", "t", "--file", "people.csv", "--work", "run-1")),
    ],
)
def test_the_message_for_a_missing_extra_has_the_command_that_adds_it(installed, tmp_path, extra, words):
    (tmp_path / "people.csv").write_text("id,first_name,surname,email\n1,Anna,Bergmann,anna@example.com\n")
    if extra == "match":
        installed.did(installed.portrait, "tenant", "create", "t", cwd=tmp_path)
    done = installed.run(installed.portrait, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    command = shlex.split(done.stderr.partition("Install it: ")[2] or done.stderr.partition("Install them: ")[2])
    assert command[:4] == [str(installed.python), "-m", "pip", "install"]
    assert command[4:] == [f"portrait-profiles[{extra}] @ {installed.wheel.as_uri()}"]
    # pip takes the command without an index: it finds the wheel, and the wheel has the extra.
    tried = installed.run(*command, "--dry-run", "--no-deps", "--no-index", "--ignore-installed")
    assert tried.returncode == 0, tried.stderr
    assert "does not provide the extra" not in tried.stdout + tried.stderr
