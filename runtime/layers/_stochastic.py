"""Stochastic pooling of planes: an element of every window, drawn by its value."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import numpy as np

from runtime.arrays import Array, ArraySpec
from runtime.layers._planes import Planes
from runtime.layers._windows import Windows

UNIT = 2.0**-32  # of 32 random bits, as a number in [0, 1)


def stochastic_arrays(
    planes: Planes, *, train: bool, learns: bool
) -> dict[str, ArraySpec]:
    """Return the arrays of stochastic pooling; `learns` if dx is wanted."""
    out = (planes.at_once, *planes.windows.positions)
    specs = {name: ArraySpec(out) for name in ("sum", "part", "share")}
    specs["seen"] = ArraySpec(out, "bool")
    if train:
        few = int(np.prod(planes.windows.kernel)) < 256
        code = "uint8" if few else "uint32"
        specs["drawn"] = ArraySpec(planes.out, code, life="saved")
        specs["last"] = ArraySpec(planes.windows.positions, code, life="state")
        specs["open"] = ArraySpec(out, "bool")
        size = int(np.prod(planes.out))
        specs["bits"] = ArraySpec((size,), "uint32")
    elif learns:
        specs["x"] = ArraySpec((planes.total, *planes.windows.sizes), life="saved")
        specs["mean"] = ArraySpec(planes.out, life="saved")
        specs["over"] = ArraySpec(planes.out, life="saved")
    return specs


class _Block:
    """A run of planes, bound to its arrays: views of every tap, made once."""

    def __init__(
        self, xp: ModuleType, windows: Windows, work: Mapping[str, Array], at: slice
    ) -> None:
        self._xp, self._work, self._at = xp, work, at
        self._taps = list(windows.taps())
        names = ("sum", "part", "share", "seen")
        self._sum, self._part, self._share, self._seen = (
            work[name][: at.stop - at.start] for name in names
        )

    def _elements(self, image: Array) -> list[Array]:
        """Return the elements that every tap sees."""
        return [image[self._at][:, *tap.image] for tap in self._taps]

    def _seeing(self, array: Array) -> list[Array]:
        """Return the places of an array (P, H', W') whose windows have each tap."""
        return [array[:, *tap.positions] for tap in self._taps]

    def _bind_sums(self, x: Array) -> None:
        self._terms = list(zip(self._elements(x), self._seeing(self._sum), strict=True))

    def _add_up(self) -> None:
        """Compute the sum of every window."""
        self._sum.fill(0)
        for x, total in self._terms:
            self._xp.add(total, x, out=total)


class Draw(_Block):
    """One block in TRAIN.

    The first element at which the running sum of the window reaches u times its sum is
    drawn, u being uniform in [0, 1): elements from 0 on by their size. Where none does,
    which takes a negative sum, it is the last. dx goes to the drawn ones.
    """

    def __init__(
        self, xp: ModuleType, windows: Windows, work: Mapping[str, Array], at: slice
    ) -> None:
        super().__init__(xp, windows, work, at)
        self._drawn = work["drawn"][at]
        self._open = work["open"][: at.stop - at.start]
        self._last = work["last"]
        for number, tap in enumerate(self._taps, 1):
            self._last[*tap.positions] = number

    def bind_forward(self, x: Array, y: Array, bits: Array | None) -> None:
        """Take the arrays; bits (P, H', W') uint32 are new in every pass."""
        if bits is None:
            raise RuntimeError("stochastic pooling draws from random bits in TRAIN")
        self._bind_sums(x)
        self._y, self._bits = y[self._at], bits[self._at]
        arrays = (self._part, self._share, self._seen, self._open, self._drawn, self._y)
        seeing = [self._seeing(array) for array in arrays]
        self._steps = list(zip(self._elements(x), *seeing, strict=True))

    def forward(self) -> None:
        """Draw."""
        xp, bounds, seen = self._xp, self._share, self._seen
        self._add_up()
        xp.copyto(bounds, self._bits, casting="unsafe")
        xp.multiply(bounds, UNIT, out=bounds)
        xp.multiply(bounds, self._sum, out=bounds)
        self._part.fill(0)
        self._y.fill(0)
        self._open.fill(True)
        xp.copyto(self._drawn, self._last)
        for number, step in enumerate(self._steps, 1):
            x, running, bound, now, still, drawn, y = step
            xp.add(running, x, out=running)
            xp.copyto(y, x, where=still)
            xp.greater_equal(running, bound, out=now)
            xp.logical_and(now, still, out=now)
            xp.copyto(drawn, number, where=now, casting="unsafe")
            xp.logical_xor(still, now, out=still)
        xp.not_equal(self._sum, self._sum, out=seen)
        xp.copyto(self._y, self._sum, where=seen)  # what is no number stays none

    def bind_backward(self, dx: Array, dy: Array) -> None:
        """Take the gradients."""
        arrays = (self._drawn, self._seen, self._share, dy[self._at])
        seeing = [self._seeing(array) for array in arrays]
        self._spread = list(zip(self._elements(dx), *seeing, strict=True))

    def backward(self) -> None:
        """Add dy where it was drawn."""
        xp = self._xp
        for number, (dx, drawn, seen, share, dy) in enumerate(self._spread, 1):
            xp.equal(drawn, number, out=seen)
            xp.copyto(share, seen)
            xp.multiply(share, dy, out=share)
            xp.add(dx, share, out=dx)


class Expect(_Block):
    """One block in TEST: y = (sum of x^2) / (sum of x).

    Both y and dx = dy (2 x - y) / (sum of x) are 0 where that sum is not above 0.
    """

    def bind_forward(self, x: Array, y: Array, bits: Array | None) -> None:
        """Take the arrays."""
        self._bind_sums(x)
        self._x, self._y = x[self._at], y[self._at]
        seeing = [self._seeing(array) for array in (self._share, self._part)]
        self._steps = list(zip(self._elements(x), *seeing, strict=True))

    def forward(self) -> None:
        """Compute y, and keep what backward reads."""
        xp, part = self._xp, self._part
        self._add_up()
        part.fill(0)
        for x, square, total in self._steps:
            xp.multiply(x, x, out=square)
            xp.add(total, square, out=total)
        xp.less_equal(self._sum, 0, out=self._seen)
        xp.copyto(self._sum, np.inf, where=self._seen)
        xp.divide(part, self._sum, out=self._y)
        if "x" in self._work:
            xp.copyto(self._work["x"][self._at], self._x)
            xp.copyto(self._work["mean"][self._at], self._y)
            xp.divide(1, self._sum, out=self._work["over"][self._at])

    def bind_backward(self, dx: Array, dy: Array) -> None:
        """Take the gradients."""
        self._dy, work = dy[self._at], self._work
        self._over = work["over"][self._at]
        arrays = (self._share, self._part, work["mean"][self._at])
        seeing = [self._seeing(array) for array in arrays]
        images = (self._elements(dx), self._elements(work["x"]))
        self._spread = list(zip(*images, *seeing, strict=True))

    def backward(self) -> None:
        """Add the gradient of the expectation."""
        xp = self._xp
        xp.multiply(self._dy, self._over, out=self._part)
        for dx, x, share, part, mean in self._spread:
            xp.multiply(x, 2, out=share)
            xp.subtract(share, mean, out=share)
            xp.multiply(share, part, out=share)
            xp.add(dx, share, out=dx)
