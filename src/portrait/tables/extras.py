"""Libraries of the extras, imported where they are needed: without them only their formats are missing."""

import importlib
from typing import Any

from portrait.model.errors import InputRefused
from portrait.serving import distribution


def needed(module: str, extra: str, what: str) -> Any:
    """Import a library of an extra.

    Args:
        module: the name to import.
        extra: the extra that brings it.
        what: what needs it, as the beginning of a sentence: `A workbook`.

    Raises:
        InputRefused: it is not installed; the detail says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputRefused(f"{what} needs a library. Install it: {distribution.command_for(extra)}") from error
