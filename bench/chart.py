"""Bar charts as SVG, by hand: a few rectangles need no library. Readable on light ground and dark."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH = 760
LABELS = 250
"""How much of the width names take, in pixels."""
NUMBERS = 90
BAR = 20
GAP = 8
TITLE = 34

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.ours { fill: #2f6f9f; }
.floor { fill: #a8b3bd; }
.peer { fill: #d08c3f; }
.spread { stroke: #1f2328; stroke-opacity: 0.6; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .ours { fill: #5aa5dc; }
  .floor { fill: #6b7782; }
  .peer { fill: #d99a52; }
  .spread { stroke: #e6edf3; }
}
"""


class Bar(NamedTuple):
    """One bar: a name, its length, how far the rounds reached, and whose it is (ours, floor or peer)."""

    name: str
    value: float
    least: float
    most: float
    kind: str


def bars(title: str, bars: Sequence[Bar]) -> str:
    """Return a picture of horizontal bars from zero, longest first, each with its number and its reach."""
    ordered = sorted(bars, key=lambda bar: -bar.value)
    scale = (WIDTH - LABELS - NUMBERS) / max((bar.most for bar in ordered), default=1.0)
    height = TITLE + len(ordered) * (BAR + GAP)
    drawn = "".join(_bar(bar, TITLE + index * (BAR + GAP), scale) for index, bar in enumerate(ordered))
    description = ", ".join(f"{bar.name} {bar.value:,.0f}" for bar in ordered)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        f"<title>{escape(f'{title}: {description}')}</title>\n<style>{STYLE}</style>\n"
        f'<text class="title" x="0" y="16">{escape(title)}</text>\n{drawn}</svg>\n'
    )


def _bar(bar: Bar, top: int, scale: float) -> str:
    middle, end = top + BAR // 2, LABELS + bar.value * scale
    text = top + BAR - 5
    return (
        f'<text x="{LABELS - 10}" y="{text}" text-anchor="end">{escape(bar.name)}</text>\n'
        f'<rect class="{bar.kind}" x="{LABELS}" y="{top}" width="{end - LABELS:.1f}" height="{BAR}" rx="2"/>\n'
        f'<line class="spread" x1="{LABELS + bar.least * scale:.1f}" x2="{LABELS + bar.most * scale:.1f}"'
        f' y1="{middle}" y2="{middle}"/>\n'
        f'<text x="{LABELS + bar.most * scale + 8:.1f}" y="{text}">{bar.value:,.0f}</text>\n'
    )
