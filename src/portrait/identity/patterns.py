"""Regular expressions that a tenant gives, held to a form in which matching a value is quick.

Python's engine tries one way of matching after the other, and an expression such as `(a+)+` has exponentially many of
them. What is let through here has so few that a value of `MAX_LENGTH` is decided on at once, whatever it is.
"""

import re
from math import comb
from typing import NamedTuple

MAX_LENGTH = 256
"""The longest value that patterns are matched with, in characters; a longer one matches none."""
MAX_WAYS = 5_000_000
"""In how many ways a tenant's patterns may match a value in all: three times `.*` are 2.9 million."""

_TOKEN = re.compile(
    r"(?P<atom>\\[dDsSwWtnr]|\\[^\w\s]|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\\[\]()|*+?{}^$]|\.)"
    r"|(?P<open>\((?:\?:)?)(?!\?)|(?P<close>\))|(?P<bar>\|)"
    r"|(?P<times>[*+?]|\{\d{1,3}(?:,(?:\d{1,3})?)?\})(?![*+?{])"
    r"|(?P<anchor>[\^$])",
    re.DOTALL,
)


class _Ways(NamedTuple):
    """In how many ways a part of a pattern may match."""

    open: int
    """How many of its repetitions have no end."""
    times: int
    """How many ways there are beside those."""

    def total(self, length: int = MAX_LENGTH) -> int:
        """Return how many ways there are, where each shares out so many characters among the repetitions."""
        return comb(length + self.open, self.open) * self.times


class _Unsafe(Exception):
    """A pattern is of another form."""


def fault(patterns: list[str]) -> str | None:
    """Return what is wrong with a tenant's patterns; None where they can be used.

    Let through are characters, classes, alternatives, groups, which may be left out (`?`), and greedy repetitions of
    one character.
    """
    ways = 0
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError):
            return "is not a regular expression"
        try:
            ways += _Reader(pattern).read().total()
        except _Unsafe:
            return "is more than characters, classes, alternatives, groups, and repetitions of one character"
    return "may match in too many ways: leave out some of `*`, `+`, `?`, `{}` and `|`" if ways > MAX_WAYS else None


class _Reader:
    """Reads one pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(pattern):
            found = _TOKEN.match(pattern, at)
            if found is None or found.lastgroup is None:
                raise _Unsafe
            self._tokens.append((found.lastgroup, found[0]))
            at = found.end()
        self._at = 0

    def read(self) -> _Ways:
        found = self._alternatives()
        if self._at < len(self._tokens):
            raise _Unsafe
        return found

    def _next(self, *kinds: str) -> str | None:
        """Return the next token and go on, where it is of one of these kinds."""
        if self._at < len(self._tokens) and self._tokens[self._at][0] in kinds:
            self._at += 1
            return self._tokens[self._at - 1][1]
        return None

    def _alternatives(self) -> _Ways:
        found = self._sequence()
        while self._next("bar"):
            other = self._sequence()
            found = _Ways(max(found.open, other.open), found.times + other.times)
        return found

    def _sequence(self) -> _Ways:
        found = _Ways(0, 1)
        while part := self._part():
            found = _Ways(found.open + part.open, found.times * part.times)
        return found

    def _part(self) -> _Ways | None:
        if self._next("open"):
            group = self._alternatives()
            if not self._next("close"):
                raise _Unsafe
            times = self._next("times")
            if times not in {None, "?"}:
                raise _Unsafe
            return _Ways(group.open, group.times + 1) if times else group
        if self._next("atom"):
            return _repeated(self._next("times"))
        return _Ways(0, 1) if self._next("anchor") else None


def _repeated(times: str | None) -> _Ways:
    """Return in how many ways one character repeats."""
    if times is None:
        return _Ways(0, 1)
    least, _, most = {"*": "0,", "+": "1,", "?": "0,1"}.get(times, times.strip("{}")).partition(",")
    if not most:
        return _Ways(int("," in times or times in "*+"), 1)
    return _Ways(0, int(most) - int(least) + 1)
