"""The packages of the extra, imported where they are needed: without them nothing but matching is missing."""

import importlib
from typing import Any

from portrait.model.errors import StartRefused
from portrait.serving import distribution


def needed(module: str, extra: str = "match") -> Any:
    """Import a module of the extra. Raises StartRefused, with what to install, where it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        command = distribution.command_for(extra)
        raise StartRefused(f"Probabilistic matching needs more packages. Install them: {command}") from error
