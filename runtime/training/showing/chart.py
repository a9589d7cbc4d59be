"""A small chart as SVG, for notebooks: no scripts, no ids, light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from runtime.training.scales import scale_of

# In the middle between light and dark, so that both pages show them.
COLOURS = ("#4a90e2", "#e08a3c", "#3aa76d", "#c65bb4", "#9a8b2e", "#d9534f")
WIDTH, HEIGHT = 460, 210
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 24, 30
MOST_POINTS = 240  # of a line: about one for two pixels
TICKS = 5
LETTER = 6.2  # the width of a letter of the legend


@dataclass(frozen=True)
class Line:
    """A line of a chart, or with `high` the band between `y` and `high`.

    Shapes: x, y, high (n). What is not finite is left out, and the line has a gap. A
    `faint` one is drawn below the others, and not named.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    high: np.ndarray | None = None
    colour: str = COLOURS[0]
    faint: bool = False
    dots: bool = False


@dataclass(frozen=True)
class _Axis:
    """Where values lie: from `low` to `high`, at the pixels `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False  # whether values are whole numbers

    def place(self, value: float) -> float:
        low, high = self.low, self.high
        value = min(value, high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        found = list(_decades(self.low, self.high)) if self.log else []
        least = 1.0 if self.whole else 0.0
        return found if len(found) > 1 else _steps(self.low, self.high, least)


def chart(lines: Sequence[Line], *, title: str = "", x_name: str = "iteration") -> str:
    """Return lines as an SVG element, or nothing where no value is finite.

    The axis of values is logarithmic, or ends below the largest ones, where that shows
    more; see `scale_of`.
    """
    spread = [_finite(each) for each in lines]
    values = np.concatenate([np.zeros(0), *(y for _, y in spread)])
    places = np.concatenate([np.zeros(0), *(x for x, _ in spread)])
    if not values.size:
        return ""
    x = _Axis(*_range(places.min(), places.max()), LEFT, WIDTH - RIGHT, whole=True)
    low, high = float(values.min()), float(values.max())
    log, top = scale_of(values)
    told = "" if top is None else f"up to {high:.3g}"
    if not log:
        high = high if top is None else top
        low, high = _range(low, high)
        room = 0.04 * (high - low)
        low, high = (low if low == 0 else low - room), high + room
    y = _Axis(low, high, HEIGHT - BOTTOM, TOP, log)
    parts = [*_frame(x, y, x_name)]
    parts += [_drawn(each, x, y) for each in sorted(lines, key=lambda e: not e.faint)]
    parts += [*_legend([each for each in lines if not each.faint], title)]
    if told:
        parts.append(f'<text x="{LEFT + 4}" y="{HEIGHT - BOTTOM - 5}">{told}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" font-size="11" '
        f'font-family="sans-serif" fill="currentColor" style="max-width: 100%; '
        f'height: auto">{"".join(parts)}</svg>'
    )


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places, least and largest values of at most `MOST_POINTS` neighbourhoods.

    Shapes: x, y (n) -> three of (m), m = n where n is not above `MOST_POINTS`.
    """
    if len(x) <= MOST_POINTS:
        return x, y, y
    starts = np.arange(0, len(x), -(-len(x) // MOST_POINTS))
    finite = np.isfinite(y)
    low = np.minimum.reduceat(np.where(finite, y, np.inf), starts)
    high = np.maximum.reduceat(np.where(finite, y, -np.inf), starts)
    return x[starts], low, high


def _finite(line: Line) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(line.x, float), np.asarray(line.y, float)
    if line.high is not None:
        x, y = np.tile(x, 2), np.concatenate([y, np.asarray(line.high, float)])
    seen = np.isfinite(y)
    return x[seen], y[seen]


def _range(low: float, high: float) -> tuple[float, float]:
    """Return a range that is not empty."""
    if high > low:
        return float(low), float(high)
    room = abs(low) * 0.1 or 1.0
    return float(low) - room, float(high) + room


def _frame(x: _Axis, y: _Axis, x_name: str) -> Iterator[str]:
    grid = 'stroke="currentColor" stroke-opacity="0.15"'
    for value in y.ticks():
        at = f"{y.place(value):.1f}"
        yield f'<path d="M{LEFT} {at}H{WIDTH - RIGHT}" {grid}/>'
        yield (
            f'<text x="{LEFT - 6}" y="{at}" text-anchor="end" '
            f'dominant-baseline="middle">{value:.4g}</text>'
        )
    ticks = x.ticks()
    for value in ticks:
        at = f"{x.place(value):.1f}"
        yield f'<path d="M{at} {TOP}V{HEIGHT - BOTTOM}" {grid}/>'
        yield (
            f'<text x="{at}" y="{HEIGHT - BOTTOM + 13}" text-anchor="middle">'
            f"{_short(value)}</text>"
        )
    yield (
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" '
        f'text-anchor="middle" fill-opacity="0.7">{escape(x_name)}</text>'
    )


def _drawn(line: Line, x: _Axis, y: _Axis) -> str:
    runs = list(_runs(line))
    shade = f'opacity="{0.35 if line.faint else 1}"'
    if line.high is not None:
        path = "".join(_band(run, x, y) for run in runs)
        return f'<path d="{path}" fill="{line.colour}" {shade}/>'
    stroke = f'fill="none" stroke="{line.colour}" stroke-linejoin="round"'
    path = "".join(_path(run, x, y) for run in runs)
    width = 1 if line.faint else 1.8
    drawn = f'<path d="{path}" {stroke} stroke-width="{width}" {shade}/>'
    if not line.dots and all(len(run) > 1 for run in runs):
        return drawn
    dots = [p for run in runs for p in run if line.dots or len(run) == 1]
    return drawn + "".join(
        f'<circle cx="{x.place(at):.1f}" cy="{y.place(value):.1f}" r="2.4" '
        f'fill="{line.colour}" {shade}/>'
        for at, value, _ in dots
    )


def _runs(line: Line) -> Iterator[list[tuple[float, float, float]]]:
    """Yield the points between gaps: place, value, upper value."""
    high = line.y if line.high is None else line.high
    run: list[tuple[float, float, float]] = []
    points = zip(line.x.tolist(), line.y.tolist(), high.tolist(), strict=True)
    for at, low, up in points:
        if math.isfinite(low) and math.isfinite(up):
            run.append((at, low, up))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _path(run: Sequence[tuple[float, float, float]], x: _Axis, y: _Axis) -> str:
    return _through((x.place(at), y.place(value)) for at, value, _ in run)


def _band(run: Sequence[tuple[float, float, float]], x: _Axis, y: _Axis) -> str:
    there = [(x.place(at), y.place(low)) for at, low, _ in run]
    back = [(x.place(at), y.place(up) - 0.5) for at, _, up in reversed(run)]
    return _through([*there, *back]) + "Z"


def _through(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{at:.1f} {value:.1f}" for at, value in points)


def _legend(lines: Sequence[Line], title: str) -> Iterator[str]:
    at = float(LEFT)
    if title:
        yield f'<text x="{at}" y="13" font-weight="bold">{escape(title)}</text>'
        at += (len(title) + 2) * LETTER
    for line in lines:
        yield f'<path d="M{at:.1f} 9h14" stroke="{line.colour}" stroke-width="2.5"/>'
        yield f'<text x="{at + 18:.1f}" y="13">{escape(line.name)}</text>'
        at += 18 + (len(line.name) + 2) * LETTER


def _steps(low: float, high: float, least: float) -> list[float]:
    """Return the multiples of 1, 2 or 5 times a power of ten in a range, about five."""
    rough = max((high - low) / TICKS, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [n * step for n in range(first, last + 1)]


def _decades(low: float, high: float) -> Iterator[float]:
    """Yield the powers of ten in a range, at most about five, else also 2 and 5."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    if last - first < 2:
        for power in range(first - 1, last + 1):
            yield from (n for k in (1, 2, 5) if low <= (n := k * 10.0**power) <= high)
        return
    for power in range(first, last + 1, -(-(last - first + 1) // TICKS)):
        yield 10.0**power


def _short(value: float) -> str:
    """Return a number of iterations: 500, 20k, 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and value % (size / 10) == 0):
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
