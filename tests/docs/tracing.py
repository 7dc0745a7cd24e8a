"""A tracer: which functions of Portrait are entered, by which, in what order."""

import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import portrait

SOURCE = f"{Path(portrait.__file__).parent}/"
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


class Entry(NamedTuple):
    """A function that was entered."""

    module: str
    """Without `portrait`, as `api.records`."""
    function: str
    caller: str
    """The nearest module of Portrait on the stack; empty: none."""


def module_of(frame: FrameType) -> str:
    """Return the module of a frame's code; empty: it is not Portrait's."""
    path = frame.f_code.co_filename
    return path.removeprefix(SOURCE).removesuffix(".py").replace("/", ".") if path.startswith(SOURCE) else ""


class Tracer:
    """Notes each function of Portrait once for each of its calls, whichever thread it runs in."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._frames: dict[int, FrameType] = {}
        """Frames that were entered, kept so that no id is used twice: a coroutine that goes on is not entered again."""
        self._is_on = False

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if not self._is_on or event != "call" or id(frame) in self._frames or not (module := module_of(frame)):
            return
        function = frame.f_code.co_qualname
        if function.endswith(">"):  # a comprehension or a lambda is part of the function that it stands in
            return
        self._frames[id(frame)] = frame
        caller, back = "", frame.f_back
        while back is not None and not (caller := module_of(back)):
            back = back.f_back
        self.entries.append(Entry(module, function, caller))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Trace threads that begin from here on, too."""
        threading.setprofile(self)
        try:
            yield
        finally:
            threading.setprofile(None)

    @contextmanager
    def on(self) -> Iterator[None]:
        """Note what is entered meanwhile."""
        before = sys.getprofile()
        self._is_on = True
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(before)
            self._is_on = False


def ranks() -> dict[str, tuple[int, int]]:
    """Return how far down each room, and each module of `writes`, stands."""
    contracts = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    rooms, writes = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    ranks = {room: (index, 0) for index, line in enumerate(rooms) for room in line.split(" | ")}
    depth, _ = ranks["writes"]
    return ranks | {f"writes.{name}": (depth, index) for index, line in enumerate(writes) for name in line.split(" | ")}


def rank(module: str, known: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Return how far down a module stands."""
    room, _, _ = module.partition(".")
    return known.get(module, known[room])


def upward(entries: list[Entry]) -> dict[str, str]:
    """Return the functions that were called from further down, and from which module."""
    known = ranks()
    return {
        entry.function: entry.caller
        for entry in entries
        if entry.caller and rank(entry.module, known) < rank(entry.caller, known)
    }


class Walk(NamedTuple):
    """How long a walk is."""

    stays: int
    """How often a reader changes files, and 1."""
    files: int
    climbs: int
    """How often the next file stands above the one before."""


def measured(entries: list[Entry]) -> Walk:
    """Return how long the walk through functions is, in the order in which they were entered."""
    modules = [entry.module for entry in entries]
    stays = modules[:1] + [after for before, after in pairwise(modules) if before != after]
    known = ranks()
    climbs = sum(rank(after, known) < rank(before, known) for before, after in pairwise(stays))
    return Walk(len(stays), len(set(stays)), climbs)
