"""The curves of a history as HTML: losses, and the other outputs of tests."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from runtime.html import Markup
from runtime.training.plots import WINDOWS, running_mean, test_curves
from runtime.training.records import Records, StepRecord
from runtime.training.showing.chart import COLOURS, MOST_POINTS, Line, chart, thinned

MOST_DOTS = 50  # of a line; with more they run into each other


class Losses:
    """The losses of a history as arrays, read on where they grew."""

    def __init__(self) -> None:
        self._losses, self._iterations = array("d"), array("q")
        self._last: StepRecord | None = None

    def of(self, records: Sequence[StepRecord]) -> tuple[np.ndarray, np.ndarray]:
        """Return iterations and losses.

        Shapes: two of (n).
        """
        known = len(self._losses)
        if known > len(records) or (known and records[known - 1] is not self._last):
            self._losses, self._iterations, known = array("d"), array("q"), 0
        new = records[known:]
        self._losses.extend(record.loss for record in new)
        self._iterations.extend(record.iteration for record in new)
        self._last = records[-1] if records else None
        return np.array(self._iterations), np.array(self._losses)


def curves_html(history: Records, losses: Losses | None = None) -> Markup:
    """Return charts of the losses and of the other outputs of tests, side by side.

    The training loss is drawn as recorded, faintly, and smoothed over a fiftieth of the
    run. losses: what reads the history, where that is done again and again.
    """
    x, y = (losses or Losses()).of(history.train)
    lines = _loss_lines(x, y)
    others = _test_lines(history, losses=True, first=1)
    charts = [chart([*lines, *others])]
    charts.append(chart(_test_lines(history, losses=False, first=2)))
    return Markup(
        f'<div style="display: flex; flex-wrap: wrap; gap: 0 1em">'
        f"{''.join(charts)}</div>"
    )


def _loss_lines(x: np.ndarray, y: np.ndarray) -> list[Line]:
    if not len(x):
        return []
    places, low, high = thinned(x, y)
    means = running_mean(y, -(-len(y) // WINDOWS))
    group = -(-len(x) // len(places))
    last = np.minimum(np.arange(len(places)) * group + group - 1, len(x) - 1)
    same = group == 1
    return [
        Line("", places, low, high=None if same else high, faint=True),
        Line("train loss", x[last], means[last]),
    ]


def _test_lines(history: Records, *, losses: bool, first: int) -> list[Line]:
    lines = []
    for number, (name, (iterations, values)) in enumerate(
        test_curves(history, losses=losses).items()
    ):
        some = slice(None, None, -(-len(values) // MOST_POINTS))
        lines.append(
            Line(
                f"test {name}",
                np.array(iterations[some]),
                np.array(values[some]),
                colour=COLOURS[(first + number) % len(COLOURS)],
                dots=len(values) <= MOST_DOTS,
            )
        )
    return lines
