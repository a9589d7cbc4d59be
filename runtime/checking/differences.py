"""One array of gradients against differences of the objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from runtime.checking.probe import Objective, Variable
from runtime.checking.report import Element, Row

ROUNDING = 16 * float(np.finfo(np.float64).eps)  # of the magnitudes that are summed
SMALL = 1e-3  # of the largest gradient of an array; what is less is compared with this
FINER = (1.0, 0.1, 0.01)  # steps, for an element that is wrong at the first
SHRUNK = 0.1  # by how much the sides of a curve come closer from the first to the last


@dataclass(frozen=True)
class Settings:
    """How gradients are compared.

    eps: the step, relative for values above 1. rtol: the largest relative error.
    samples: of how many elements of each array. seed: which these are.
    """

    eps: float
    rtol: float
    samples: int
    seed: int


def check_variable(
    objective: Objective,
    variable: Variable,
    gradient: np.ndarray,
    tops: Sequence[np.ndarray],
    settings: Settings,
) -> Row:
    """Compare the gradient of a variable with central differences.

    tops: what `objective.at()` gives with nothing moved.
    """
    comparison = _Comparison(objective, variable, gradient, tops, settings)
    places = _places(gradient, settings)
    worst: Element | None = None
    kinks = wrong = 0
    nonzero = bool(np.any(gradient))
    for place in places:
        element = comparison.element(place)
        kinks += element.kink
        if element.kink:
            continue
        wrong += element.error > settings.rtol
        nonzero = nonzero or element.numerical != 0
        if worst is None or element.error > worst.error:
            worst = element
    return Row(
        name=variable.name,
        kind=variable.kind,
        shape=gradient.shape,
        count=gradient.size,
        checked=len(places),
        kinks=kinks,
        wrong=wrong,
        worst=worst,
        zero=not nonzero,
        users=variable.users,
    )


def _places(gradient: np.ndarray, settings: Settings) -> list[int]:
    """Return the elements to check: all, or random ones and the largest gradient."""
    count = gradient.size
    if count <= settings.samples:
        return list(range(count))
    rng = np.random.default_rng([settings.seed, count])
    chosen = rng.choice(count, settings.samples - 1, replace=False)
    largest = int(np.argmax(np.abs(gradient)))
    return sorted({*chosen.tolist(), largest})


class _Comparison:
    """The elements of one variable."""

    def __init__(
        self,
        objective: Objective,
        variable: Variable,
        gradient: np.ndarray,
        tops: Sequence[np.ndarray],
        settings: Settings,
    ) -> None:
        self._objective, self._variable = objective, variable
        self._gradient, self._tops = gradient, tops
        self._settings = settings
        self._noise = ROUNDING * max(objective.size(tops), 1e-30)
        finite = np.abs(gradient[np.isfinite(gradient)])
        self._least = SMALL * float(np.max(finite, initial=0.0))
        self._values = variable.data.reshape(-1).copy()

    def element(self, place: int) -> Element:
        """Compare one element; look closer where it is wrong or at a kink."""
        analytic = float(self._gradient.reshape(-1)[place])
        usual = self._settings.eps * max(1.0, abs(float(self._values[place])))
        tried: list[Element] = []
        gaps: list[float] = []
        for finer in FINER:
            step = finer * usual
            noise = self._noise / step
            sides = self._slopes(place, step)
            element = self._compared(place, analytic, sum(sides) / 2, noise)
            if element.error <= self._settings.rtol:
                return element
            tried.append(element)
            gaps.append(abs(sides[0] - sides[1]))
        kink = self._is_kink(analytic, gaps, sides, noise)
        return replace(tried[0], kink=kink)

    def _slopes(self, place: int, step: float) -> tuple[float, float]:
        """Return the slopes on both sides: forward and backward."""
        objective = self._objective
        above = objective.at(self._variable, place, step)
        below = objective.at(self._variable, place, -step)
        return (
            objective.difference(above, self._tops) / step,
            objective.difference(self._tops, below) / step,
        )

    def _compared(
        self, place: int, analytic: float, numerical: float, noise: float
    ) -> Element:
        rtol = self._settings.rtol
        scale = max(abs(analytic), abs(numerical), self._least, noise / rtol)
        error = abs(analytic - numerical) / scale if scale else 0.0
        if not np.isfinite(error):
            error = float("inf")
        index = tuple(int(one) for one in np.unravel_index(place, self._gradient.shape))
        return Element(index, analytic, numerical, error)

    def _is_kink(
        self,
        analytic: float,
        gaps: Sequence[float],
        sides: tuple[float, float],
        noise: float,
    ) -> bool:
        """Tell whether the slopes differ on both sides, and the gradient is between.

        On a smooth curve they meet as the step shrinks. A gradient that is beyond both
        is wrong at a kink too.
        """
        low, high = min(sides), max(sides)
        margin = self._settings.rtol * max(abs(low), abs(high)) + noise
        apart = gaps[-1] > SHRUNK * gaps[0] and gaps[-1] > 10 * margin
        return apart and low - margin <= analytic <= high + margin
