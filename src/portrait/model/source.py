"""Sources: who says what a fact holds."""

PUBLIC = "public:"
"""Begins the name of a source whose key anybody can read, out of a page: what it says counts least."""


def is_public(source: str | None) -> bool:
    """Tell whether anybody may speak as a source: its key stands in a page."""
    return source is not None and source.startswith(PUBLIC)
