"""The types of the installed wheel, strictly checked as for a plugin's author."""

import subprocess
import sys

import pytest

from docs.pages import DOCS, ROOT, blocks
from plugins.rebuilt import sources

pytestmark = [pytest.mark.registries, pytest.mark.timeout(1200)]

MISUSED = """
from portrait import Held, PerJoin, newest
rule: PerJoin = newest
when: str = newest([]).entry.effective_at
"""


def checked(installed, directory):
    """Run mypy as a plugin's author would, on the files of a directory; return its exit code and complaints."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--python-executable", installed.python]
    done = subprocess.run(
        [*map(str, command), *sorted(path.name for path in directory.glob("*.py"))],
        cwd=directory, env=installed.variables, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_built_in_sections_as_plugins_and_the_examples_keep_strict_types(installed, tmp_path):
    for name, source in sources().items():
        (tmp_path / f"{name}_again.py").write_text(source)
    for path in [*ROOT.glob("examples/plugins/*.py"), *ROOT.glob("examples/package/*/__init__.py")]:
        (tmp_path / f"example_{path.stem}_{path.parent.name}.py").write_text(path.read_text())
    for page in (DOCS / "tutorial.md", DOCS / "how-to" / "write-a-plugin.md"):
        for block in blocks(page):
            if block.language == "python":
                (tmp_path / block.info).write_text(block.text)
    _, output = checked(installed, tmp_path)
    assert output == f"Success: no issues found in {len([*tmp_path.glob('*.py')])} source files\n"
    plugin = tmp_path / "consent_again.py"
    listed = installed.did(installed.portrait, "sections", "--plugin", plugin, cwd=tmp_path)
    assert listed.splitlines()[-1].startswith("consent-again\tstate\t")


def test_mypy_reports_misuse_of_the_types_of_the_wheel(installed, tmp_path):
    (tmp_path / "misused.py").write_text(MISUSED)
    code, output = checked(installed, tmp_path)
    assert code == 1
    assert "[assignment]" in output
    assert "Found 2 errors" in output
