"""JSON paths: the names, indexes and wildcards of RFC 9535, and nothing that searches or computes."""

import re
from typing import Any

_STEP = re.compile(
    r"""\.(?P<name>[A-Za-z_\u0080-\U0010FFFF][\w\u0080-\U0010FFFF-]*)
    | \[\s*(?:'(?P<single>[^'\\]*)' | "(?P<double>[^"\\]*)" | (?P<index>-?[0-9]{1,9}) | (?P<each>\*))\s*\]
    | \.(?P<every>\*)""",
    re.VERBOSE,
)
_MISSING = object()

Step = str | int | None
"""A name, an index, or None: each element."""


class JsonPath:
    """A path: `$`, then steps.

    Args:
        text: `$.parcels[*]`, say.

    Raises:
        ValueError: it is no such path; the text says what would be.
    """

    def __init__(self, text: str) -> None:
        self._steps: list[Step] = []
        position = 1
        if not text.startswith("$"):
            raise ValueError("must begin with $")
        while position < len(text):
            match = _STEP.match(text, position)
            if match is None:
                raise ValueError(
                    f"is no path from character {position + 1} on: steps are .name, ['name'], [0] and [*] alone"
                )
            self._steps.append(_step(match))
            position = match.end()

    @property
    def is_single(self) -> bool:
        """Whether it leads to one value at most."""
        return None not in self._steps

    def values(self, root: Any) -> list[Any]:
        """Return the values that it leads to; in place of a list, null has no elements.

        Raises:
            ValueError: a step leads nowhere; the text names the step, and nothing of the value.
        """
        values = [root]
        for step in self._steps:
            if step is None:
                values = [element for value in values for element in _elements(value)]
                continue
            values = [_down(value, step) for value in values]
            if any(value is _MISSING for value in values):
                raise ValueError(f"there is no {step!r}")
        return values

    def value(self, root: Any) -> Any:
        """Return the value that a single path leads to, or None."""
        value = root
        for step in self._steps:
            assert step is not None
            value = _down(value, step)
            if value is _MISSING:
                return None
        return value


def _step(match: re.Match[str]) -> Step:
    if match["each"] or match["every"]:
        return None
    if match["index"] is not None:
        return int(match["index"])
    return next(match[group] for group in ("name", "single", "double") if match[group] is not None)


def _elements(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError("there is no list for [*]")  # noqa: TRY004  # the answer's fault, as the others are
    return value


def _down(value: Any, step: str | int) -> Any:
    if isinstance(step, str):
        return value.get(step, _MISSING) if isinstance(value, dict) else _MISSING
    if isinstance(value, list) and -len(value) <= step < len(value):
        return value[step]
    return _MISSING
