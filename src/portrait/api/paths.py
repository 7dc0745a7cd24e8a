"""The paths of the API, and the error for a path that it does not have."""

import re
from collections.abc import Iterable

from portrait.model.errors import RouteNotFound

BASE = "/api/v1"
_SEE = "See /docs for all operations."


class _Node:
    """The segments that may follow in a path, after some of its segments."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.ends = False
        """Whether a path may end here."""
        self.named: dict[str, _Node] = {}
        self.any: _Node | None = None
        """The node after a segment that is a parameter."""

    def grow(self, segment: str) -> "_Node":
        """Return the node after a segment of a template."""
        child = _Node(f"{self.prefix}/{segment}")
        if segment.startswith("{"):
            self.any = self.any or child
            return self.any
        return self.named.setdefault(segment, child)

    def follow(self, segment: str) -> "_Node | None":
        """Return the node after a segment of a path; None where there is no such segment."""
        return self.named.get(segment) or (self.any if segment else None)


class Paths:
    """The paths of all operations, by their segments.

    Args:
        templates: the paths, with parameters in braces.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        self._root = _Node("")
        for template in templates:
            node = self._root
            for segment in template.split("/")[1:]:
                node = node.grow(segment)
            node.ends = True

    def unknown(self, path: str) -> RouteNotFound:
        """Return the error for a path that no operation has: where the path goes wrong, and what may follow there.

        It repeats only those segments of the path that templates have.
        """
        once = re.sub("/{2,}", "/", path)
        if once != path and self._is_known(once.rstrip("/") or "/"):
            return RouteNotFound("No operation has this path: write each slash once.")
        if self._is_known(path.rstrip("/") or "/"):
            return RouteNotFound("No operation has this path: leave out the slash at its end.")
        if self._is_known(f"{BASE}{path}".rstrip("/")):
            return RouteNotFound(f"No operation has this path: it must begin with {BASE}.")
        node = self._root
        for segment in path.split("/")[1:]:
            after = node.follow(segment)
            if after is None:
                break
            node = after
        there = [*sorted(node.named), *(["a " + node.any.prefix.rpartition("/")[2]] if node.any else [])]
        if not there:
            return RouteNotFound(f"No operation has this path: nothing follows {node.prefix}. {_SEE}")
        position = f"after {node.prefix} comes" if node.prefix else "it begins with"
        return RouteNotFound(f"No operation has this path: {position} one of: {', '.join(there)}. {_SEE}")

    def _is_known(self, path: str) -> bool:
        node: _Node | None = self._root
        for segment in path.split("/")[1:]:
            node = node.follow(segment) if node else None
        return node is not None and node.ends
