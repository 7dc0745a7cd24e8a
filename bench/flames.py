"""Flame graphs as SVG, from the stacks that a sampler counted: who called whom is drawn upwards, time is width."""

from collections.abc import Iterable
from html import escape

WIDTH = 1000
ROW = 18
LEAST = 0.002
"""What took less than this part of all time is left out."""
_LETTER = 6.2
"""About as wide as a letter is, in pixels."""

STYLE = """
text { font: 11px system-ui, sans-serif; fill: #1f2328; }
rect { stroke: #ffffff; stroke-width: 0.5; }
.ours { fill: #8fbfe0; }
.other { fill: #d5dbe0; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  rect { stroke: #0d1117; }
  .ours { fill: #24587d; }
  .other { fill: #3a434c; }
}
"""

Tree = dict[str, "Node"]


class Node:
    """One function below one chain of callers: in how many samples it was, and what it called."""

    def __init__(self) -> None:
        self.count = 0
        self.calls: Tree = {}


def tree(stacks: Iterable[str], root: str, mark: str) -> Node:
    """Return the calls below a function, from lines like `outermost;…;innermost 12`.

    Args:
        stacks: the lines.
        root: the function's name, as frames begin; stacks without it are left out.
        mark: what the paths of our own frames hold; the rest of a path is left out.
    """
    top = Node()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        names = frames.split(";")
        below = next((index for index, name in enumerate(names) if name.startswith(root)), None)
        if below is None:
            continue
        node = top
        node.count += int(count)
        for name in names[below + 1 :]:
            node = node.calls.setdefault(_short(name, mark), Node())
            node.count += int(count)
    return top


def _short(name: str, mark: str) -> str:
    """Return a frame's function and file, without where the file lies on this machine."""
    function, _, path = name.partition(" (")
    before, marker, after = path.rstrip(")").rpartition(mark)
    del before
    return f"{function} ({marker}{after})" if marker else f"{function} ({path.rstrip(')').rpartition('/')[2]})"


def drawn(top: Node, title: str, mark: str) -> str:
    """Return the picture."""
    boxes: list[str] = []
    height = (_depth(top, top.count) + 1) * ROW + 24

    def draw(node: Node, left: float, level: int) -> None:
        for name, call in sorted(node.calls.items(), key=lambda item: -item[1].count):
            width = call.count / top.count * WIDTH
            if call.count >= top.count * LEAST:
                boxes.append(_box(name, left, height - level * ROW - ROW, width, mark))
                draw(call, left, level + 1)
            left += width

    draw(top, 0, 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f'<text x="0" y="12">{escape(title)}</text>\n{"".join(boxes)}</svg>\n'
    )


def _depth(node: Node, whole: int) -> int:
    return max((1 + _depth(call, whole) for call in node.calls.values() if call.count >= whole * LEAST), default=0)


def _box(name: str, left: float, top: int, width: float, mark: str) -> str:
    room = int(width / _LETTER) - 1
    function = name.partition(" (")[0]
    label = function if len(function) <= room else function[: room - 1] + "…" if room > 3 else ""
    return (
        f'<g><title>{escape(name)}: {width / WIDTH:.1%}</title><rect class="{"ours" if mark in name else "other"}"'
        f' x="{left:.1f}" y="{top}" width="{width:.1f}" height="{ROW}"/>'
        f'<text x="{left + 3:.1f}" y="{top + 13}">{escape(label)}</text></g>\n'
    )
