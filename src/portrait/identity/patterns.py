"""Regular expressions that a tenant gives, matched by RE2: in time linear in the value, whatever they are.

All patterns of a tenant are one program within fixed bounds, so that no match costs much. What RE2 cannot do, looking
around and references to what a group matched, is refused.
"""

from collections.abc import Sequence

import re2

MAX_LENGTH = 256
"""The longest value that patterns are matched with, in characters; a longer value matches none."""
MAX_PATTERNS = 100
"""The most patterns of a tenant."""
MAX_CHARACTERS = 2048
"""The most characters of a tenant's patterns together."""
MAX_CATEGORIES = 10
"""How often a tenant's patterns may name a category of Unicode: RE2 needs a millisecond to read each."""
MAX_PROGRAM = 1500
"""The most instructions of a tenant's patterns together: a byte of a value goes through each at most once."""
MAX_MEMORY = 2**19
"""What RE2 may use for a tenant's program and what it remembers of running it, in bytes."""

_WORDS = {
    "bad repetition operator": "repeats a repetition: write one of `*`, `+`, `?` and `{}` after a part",
    "invalid character class range": "has a class whose range runs backwards, or whose name RE2 does not know",
    "invalid escape sequence": "has an escape that RE2 lacks, such as a reference to a group: write what it stands for",
    "invalid perl operator": "has a group that RE2 lacks, such as one that looks around: write out what is to match",
    "invalid repetition size": "repeats more than 1,000 times, nested ones multiplied, or backwards: repeat less",
    "missing )": "leaves a `(` open: close it, or escape it",
    "missing ]": "leaves a `[` open: close it, or escape it",
    "no argument for repetition operator": "repeats nothing: put what is to repeat before `*`, `+`, `?` and `{}`",
    "trailing \\": "ends in a backslash: leave it out, or escape it",
    "unexpected )": "closes a group that it did not open: open it, or escape the `)`",
}
"""What RE2 says of a pattern, before what it repeats of it; and what is wrong, and would be right."""


class Patterns:
    """A tenant's patterns. Patterns that cannot be used match nothing; `faults` says why, by their index."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.faults: dict[int, str] = {}
        kept: list[str] = []
        characters = categories = instructions = 0
        for index, pattern in enumerate(patterns):
            characters += len(pattern)
            categories += pattern.lower().count("\\p")
            if fault := _beyond(index, characters, categories):
                self.faults.update(dict.fromkeys(range(index, len(patterns)), fault))
                break
            try:
                size = _size(pattern)
            except re2.error as error:
                self.faults[index] = _explained(error)
                continue
            if instructions + size > MAX_PROGRAM:
                self.faults[index] = (
                    "takes the patterns beyond what they may cost together: repeat less, or leave some out"
                )
                continue
            instructions += size
            kept.append(pattern)
        self._program = re2.compile("|".join(f"(?:{pattern})" for pattern in kept), _options()) if kept else None

    def match(self, value: str) -> bool:
        """Tell whether a pattern matches a whole value, whatever its case."""
        if self._program is None or len(value) > MAX_LENGTH:
            return False
        return self._program.fullmatch(value.encode()) is not None


def _beyond(index: int, characters: int, categories: int) -> str | None:
    """Return the bound that the patterns up to this index exceed, before any of them is compiled; None: no bound."""
    if index >= MAX_PATTERNS:
        return f"is beyond the {MAX_PATTERNS} patterns that a tenant may have"
    if characters > MAX_CHARACTERS:
        return f"takes the patterns beyond the {MAX_CHARACTERS} characters that they may have together"
    if categories > MAX_CATEGORIES:
        return f"takes the patterns beyond the {MAX_CATEGORIES} categories (`\\p`) that they may name together"
    return None


def _size(pattern: str) -> int:
    """Return how many instructions a pattern takes.

    Raises:
        re2.error: RE2 does not have such patterns.
    """
    # A quotation that is left open would go on into the pattern that follows.
    if "\\Q" in pattern.replace("\\\\", ""):
        raise re2.error(b"invalid escape sequence: \\Q")
    size: int = re2.compile(pattern, _options()).programsize
    return size


def _options() -> re2.Options:
    """Return the options under which patterns are compiled; the other options have RE2's defaults."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False  # it would write what a tenant sent to the standard error
    options.max_mem = MAX_MEMORY
    options.never_capture = True  # only whether a pattern matches counts, which one pass tells
    return options


def _explained(error: re2.error) -> str:
    """Return what is wrong with a pattern, and what would be right; nothing of the pattern itself."""
    message = error.args[0].decode(errors="replace").partition(": ")[0]
    return _WORDS.get(message, "cannot be run by RE2, or is too large: see docs/reference/identifiers.md")
