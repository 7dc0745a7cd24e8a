"""The files of the page on installing: a unit that systemd takes, and an image that the checkout can build."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages import DOCS, ROOT, blocks
from portrait.settings import SETTINGS

PAGE = DOCS / "how-to" / "install.md"


@pytest.fixture
def unit():
    (text,) = [block.text for block in blocks(PAGE) if block.language == "ini"]
    return text


def test_the_unit_keeps_what_is_written_private_and_tries_again(unit):
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str
    parsed.read_string(unit)
    service = parsed["Service"]
    assert (service["UMask"], service["StateDirectoryMode"]) == ("0077", "0700")
    assert (service["Restart"], float(service["RestartSec"]) * 5 >= 10) == ("on-failure", True)
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"


def test_systemd_takes_the_unit(unit, tmp_path):
    """Only the program's path is changed: systemd checks that it exists."""
    program = Path(sys.executable).with_name("portrait")
    path = tmp_path / "portrait.service"
    path.write_text(unit.replace("/opt/portrait/bin/portrait", str(program)))
    try:
        done = subprocess.run(
            ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60, check=False
        )
    except FileNotFoundError:
        pytest.skip("no systemd-analyze on this machine")
    assert [line for line in done.stderr.splitlines() if "portrait" in line] == []


def test_the_image_copies_files_that_exist():
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    copied = {name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for name in line.split()}
    ignored, *kept = (ROOT / ".dockerignore").read_text().split()
    assert ignored == "*"
    assert {name.removeprefix("!") for name in kept} == copied
    assert all((ROOT / name).exists() for name in copied)
    assert "--require-hashes -r requirements/run.txt" in text
    variables = {name.lower() for name in re.findall(r"PORTRAIT_(\w+)=", text)}
    assert variables
    assert variables <= SETTINGS.keys()
    assert re.search(r"^USER portrait$", text, re.MULTILINE)
