"""Small charts as inline SVG: lines, points with intervals, a grid of shares.

They take their colours from the page (classes `s0`, `s1`, … and `currentColor`), so they follow it into dark mode, and
refuse to know what they show. Text is escaped here.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

# Of the drawing, in its own units; 360 wide, so that letters keep their size on a phone.
WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 8, 8, 40


class Line(NamedTuple):
    """A curve, y over x; `look` is a class of the page's style, `spread` the [low, high] of each point's error bar."""

    x: Sequence[float]
    y: Sequence[float]
    look: str
    dots: bool = False
    spread: Sequence[tuple[float, float]] = ()


Range = tuple[float, float]


def chart(
    lines: Sequence[Line],
    *,
    says: str,
    x: str,
    y: str,
    across: Range | None = None,
    up: Range | None = None,
    whole: bool = False,
) -> Markup:
    """Curves in one frame.

    Args:
        lines: at least one, with at least one point.
        says: the picture in a sentence, for who can't see it.
        x, y: what the axes show.
        across, up: their ranges; None: those of the points.
        whole: x counts something.
    """
    left, right = across or _range([value for line in lines for value in line.x])
    low, high = up or _range([value for line in lines for value in line.y if math.isfinite(value)])

    def place(a: float, b: float) -> tuple[str, str]:
        return (
            f"{LEFT + (a - left) / (right - left) * (WIDTH - LEFT - RIGHT):.1f}",
            f"{HEIGHT - BOTTOM - (b - low) / (high - low) * (HEIGHT - TOP - BOTTOM):.1f}",
        )

    parts = []
    for tick in ticks(low, high):
        _, at = place(left, tick)
        parts.append(f'<path class="grid" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at}" dy="4" text-anchor="end">{tick:g}</text>')
    for tick in ticks(left, right, least=1.0 if whole else 0.0):
        at, _ = place(tick, low)
        parts.append(f'<path class="grid" d="M{at} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{at}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>')
    parts.append(f'<text transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">{escape(y)}</text>')
    for line in lines:
        points = [place(a, b) for a, b in zip(line.x, line.y, strict=True) if math.isfinite(b)]
        if len(points) > 1:
            parts.append(f'<path class="line {line.look}" d="M{"L".join(f"{a} {b}" for a, b in points)}"/>')
        for a, (bottom, top) in zip(line.x, line.spread, strict=False):
            (at, first), (_, last) = place(a, bottom), place(a, top)
            parts.append(f'<path class="bar {line.look}" d="M{at} {first}V{last}"/>')
        if line.dots or len(points) == 1:
            parts += [f'<circle class="{line.look}" cx="{a}" cy="{b}" r="3"/>' for a, b in points]
    return _svg(WIDTH, HEIGHT, says, parts)


def grid(counts: Sequence[tuple[int, int, int]], sizes: Sequence[int], names: Sequence[str], *, says: str) -> Markup:
    """A confusion matrix of many classes: a cell for each pair that occurs, shaded by its share of the row.

    Args:
        counts: (row, column, count).
        sizes: of the rows, what a share is of.
        names: of the classes.
        says: the picture in a sentence.
    """
    k = len(names)
    side = WIDTH / k
    parts = [f'<rect class="frame" width="{WIDTH}" height="{WIDTH}"/>']
    for row, column, count in counts:
        share = count / sizes[row]
        parts.append(
            f'<rect class="{"hit" if row == column else "miss"}" x="{column * side:.2f}" y="{row * side:.2f}" '
            f'width="{side:.2f}" height="{side:.2f}" opacity="{0.15 + 0.85 * share:.2f}">'
            f"<title>{escape(names[row])} taken for {escape(names[column])}: {count}</title></rect>"
        )
    return _svg(WIDTH, WIDTH, says, parts)


def ticks(low: float, high: float, about: int = 5, least: float = 0.0) -> list[float]:
    """Round numbers from low to high, about so many, each 1, 2 or 5 times a power of ten, or `least`, from the next."""
    rough = max((high - low) / about, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.99)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(values: Sequence[float]) -> Range:
    """From the least to the greatest, a little wider; something around a single value."""
    low, high = min(values), max(values)
    if low == high:
        return low - 0.5, high + 0.5
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def _svg(width: int, height: int, says: str, parts: Sequence[str]) -> Markup:
    inside = "".join(parts)
    return Markup(  # noqa: S704  # every text in it went through escape
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(says)}">{inside}</svg>'
    )
