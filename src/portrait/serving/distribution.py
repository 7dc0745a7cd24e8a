"""The distribution that this Portrait was installed from: its version, and how an extra of it is added."""

import json
import shlex
import sys
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

NAME = "portrait-profiles"
"""What pip calls it. `portrait` on the public index is somebody else's."""


def version() -> str:
    """Return the version that is installed."""
    return metadata.version(NAME)


def command_for(extra: str) -> str:
    """Return the command that adds an extra to this installation, from where it came from.

    pip keeps where that was (PEP 610) for whatever it did not take from an index: a wheel, a checkout, a repository.
    """
    return shlex.join([sys.executable, "-m", "pip", "install", *_requirement(extra)])


def _requirement(extra: str) -> tuple[str, ...]:
    origin = _origin()
    url = origin.get("url", "")
    if not url:
        return (f"{NAME}[{extra}]",)
    if origin.get("dir_info", {}).get("editable"):
        return ("--editable", f"{url2pathname(urlsplit(url).path)}[{extra}]")
    if vcs := origin.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return (f"{NAME}[{extra}] @ {url}",)


def _origin() -> dict[str, Any]:
    try:
        kept = metadata.distribution(NAME).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        kept = None  # it runs from its source alone
    origin: dict[str, Any] = json.loads(kept or "{}")
    return origin
