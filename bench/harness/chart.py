"""A line chart as SVG text, for a page that needs no script. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 170, 44, 48
INK, FAINT = "#1f2328", "#d0d7de"
LABEL_GAP = 15  # pixels between two names at the right end
OURS = ("#0969da", "#1a7f37", "#0550ae", "#54aeff", "#4ac26b", "#1b7c83")
OTHERS = ("#6e7781", "#bc4c00", "#8250df", "#bf3989", "#9a6700", "#57606a", "#cf222e", "#953800")

Series = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class Axis:
    """The vertical axis: values from `low` to `top`, and where its lines are."""

    low: float
    top: float
    marks: Sequence[float]
    is_log: bool

    def y(self, value: float) -> float:
        """Pixels from the top."""
        part = (value - self.low) / (self.top - self.low)
        if self.is_log:
            part = log10(value / self.low) / log10(self.top / self.low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


def axis(values: Sequence[float], is_log: bool) -> Axis:
    """From 0 to above all values; logarithmic: from below to above them, lines at 1, 2, 5, 10."""
    if not is_log:
        top, step = scale(max(values, default=1.0))
        return Axis(0, top, [i * step for i in range(round(top / step) + 1)], False)
    low, high = min(values, default=1.0), max(values, default=1.0)
    exponents = range(floor(log10(low)) - 1, ceil(log10(high)) + 2)
    marks = [float(f"{digit}e{power}") for power in exponents for digit in (1, 2, 5)]
    bottom = max(mark for mark in marks if mark <= low)
    top = min(mark for mark in marks if mark >= high and mark > bottom)
    return Axis(bottom, top, [mark for mark in marks if bottom <= mark <= top], True)


def line_chart(
    title: str, x_title: str, places: Sequence[str], series: Series, is_log: bool = False
) -> str:
    """One line a series over named places, None where it has no figure."""
    up = axis([v for line in series.values() for v in line if v is not None], is_log)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for mark in up.marks:
        y = up.y(mark)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{FAINT}"/>')
        text = f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{mark:g}</text>'
        parts.append(text)
    for i, place in enumerate(places):
        x = _x(i, len(places))
        y = HEIGHT - BOTTOM + 18
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{escape(place)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_title)}</text>'
    )
    colours = colours_of(list(series))
    for name, line in series.items():
        parts += _line(line, up, colours[name], is_ours(name))
    parts += _names(series, up, colours)
    return "\n".join([*parts, "</svg>", ""])


def scale(highest: float) -> tuple[float, float]:
    """(top, step): a round step with three to eight of them up to a top not below `highest`."""
    power = 10.0 ** floor(log10(highest / 8))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if highest <= 8 * f * power * (1 + 1e-9))
    return ceil(highest / step - 1e-9) * step, step


def is_ours(name: str) -> bool:
    """Whether a series is c1m's: these are drawn thicker."""
    return name.startswith("c1m")


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A colour each, c1m's from a palette of their own."""
    ours = [name for name in names if is_ours(name)]
    others = [name for name in names if not is_ours(name)]
    colours = {name: OURS[i % len(OURS)] for i, name in enumerate(ours)}
    return colours | {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(others)}


def spread(wanted: Sequence[float], gap: float, bottom: float) -> list[float]:
    """Positions near those wanted, in the same order, `gap` apart and not below `bottom`."""
    placed = [0.0] * len(wanted)
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    last = float("-inf")
    for i in order:
        last = placed[i] = max(wanted[i], last + gap)
    limit = bottom
    for i in reversed(order):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - gap
    return placed


def _x(i: int, count: int) -> float:
    return LEFT + 20 + i * (WIDTH - LEFT - RIGHT - 40) / max(count - 1, 1)


def _line(line: Sequence[float | None], up: Axis, colour: str, thick: bool) -> list[str]:
    points = [(_x(i, len(line)), up.y(v)) for i, v in enumerate(line) if v is not None]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    width = 2.6 if thick else 1.4
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>']
    return parts + [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]


def _names(series: Series, up: Axis, colours: Mapping[str, str]) -> list[str]:
    ends = {n: [v for v in line if v is not None] for n, line in series.items()}
    names = [name for name, values in ends.items() if values]
    heights = spread([up.y(ends[name][-1]) for name in names], LABEL_GAP, HEIGHT - BOTTOM)
    x = WIDTH - RIGHT + 12
    return [
        f'<text x="{x}" y="{y + 4:.1f}" fill="{colours[name]}">{escape(name)}</text>'
        for name, y in zip(names, heights, strict=True)
    ]
