"""Pooling of planes: the maximum or the average of every window, some planes at a time.

A block (`Average`, `Maximum`) is a run of planes that stays in the cache, bound to its
arrays by `bind_forward` and `bind_backward`; `backward` adds to the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from netspec.errors import UnsupportedError
from netspec.ops.base import Shape, label
from runtime.arrays import Array, ArraySpec
from runtime.layers._windows import Windows, blocks

if TYPE_CHECKING:
    from netspec.graph import Node


@dataclass(frozen=True)
class Planes:
    """Planes (P, H, W) pooled to (P, H', W'), `at_once` of them at a time."""

    total: int
    windows: Windows
    at_once: int

    @property
    def blocks(self) -> list[slice]:
        """The runs of planes."""
        return blocks(self.total, self.at_once)

    @property
    def out(self) -> Shape:
        """The shape of what all planes are pooled to."""
        return (self.total, *self.windows.positions)

    def arrays(self, pool: str, learns: bool) -> dict[str, ArraySpec]:
        """Return the arrays of the pooling `pool`; `learns` if winners are needed."""
        (h, _), (oh, ow) = self.windows.sizes, self.windows.positions
        specs = {"rows": ArraySpec((self.at_once, h, ow))}
        if pool == "AVE":
            specs["weight"] = ArraySpec((oh, ow), life="state")
            specs["share"] = ArraySpec((self.at_once, oh, ow))
        elif learns:
            code = "uint8" if max(self.windows.kernel) < 256 else "uint32"
            largest = (self.at_once * max(h, oh) * ow,)
            specs["winner w"] = ArraySpec((self.total, h, ow), code, life="saved")
            specs["winner h"] = ArraySpec(self.out, code, life="saved")
            specs["code"] = ArraySpec(largest, code)
            specs["equal"] = ArraySpec(largest, "bool")
            specs["share"] = ArraySpec(largest)
        return specs


def _by_axis(windows: Windows) -> tuple[Windows, Windows]:
    """Split windows of an image into those along w, and those along h of the result."""
    (h, w), (oh, ow) = windows.sizes, windows.positions
    (kh, kw), (sh, sw), (ph, pw) = windows.kernel, windows.stride, windows.pad
    return (
        Windows((h, w), (h, ow), (1, kw), (1, sw), (0, pw), (1, 1)),
        Windows((h, ow), (oh, ow), (kh, 1), (sh, 1), (ph, 0), (1, 1)),
    )


def _beyond(windows: Windows) -> list[tuple[slice, ...]]:
    """Return the positions along each axis whose windows see nothing of the image."""
    found, taps = [], list(windows.taps())
    for axis, positions in enumerate(windows.positions):
        seen = {i for tap in taps for i in range(positions)[tap.positions[axis]]}
        ahead = (slice(None),) * axis
        found += [(*ahead, slice(i, i + 1)) for i in range(positions) if i not in seen]
    return found


class _Fold:
    """Combine each window's elements: image (P, *sizes) -> out (P, *positions).

    The maximum of windows beyond the image is the lowest number that is finite, as in
    Caffe; of others that see -inf only it is that.
    """

    def __init__(
        self, xp: ModuleType, ufunc: str, windows: Windows, image: Array, out: Array
    ) -> None:
        self._xp = xp
        self._combine = getattr(xp, ufunc)
        self._start = {"maximum": -math.inf, "add": 0.0}[ufunc]
        self._out = out
        lowest = float(xp.finfo(out.dtype).min)
        beyond = _beyond(windows) if ufunc == "maximum" else []
        self._beyond = [(out[:, *place], lowest) for place in beyond]
        pairs = [
            (image[:, *tap.image], out[:, *tap.positions]) for tap in windows.taps()
        ]
        # Begin with an offset that every position sees, if there is one.
        whole = [source for source, target in pairs if target.shape == out.shape]
        self._first = whole[0] if whole else None
        self._pairs = [pair for pair in pairs if pair[0] is not self._first]

    def run(self) -> None:
        if self._first is None:
            self._out.fill(self._start)
        else:
            self._xp.copyto(self._out, self._first)
        for source, target in self._pairs:
            self._combine(target, source, out=target)
        for target, lowest in self._beyond:
            target.fill(lowest)


class Average:
    """One block of an average pooling, along w and then along h.

    A window counts what it covers of the image with its padding, but nothing beyond.
    One that lies beyond altogether gives 0; Caffe divides 0 by 0.
    """

    def __init__(
        self, xp: ModuleType, windows: Windows, work: Mapping[str, Array], at: slice
    ) -> None:
        self._xp, self._work, self._at = xp, work, at
        self._by_w, self._by_h = _by_axis(windows)
        self._rows = work["rows"][: at.stop - at.start]
        self._share = work["share"][: at.stop - at.start]
        sizes = [
            [max(1, min(k, n + 2 * q - p * s)) for p in range(positions)]
            for n, positions, k, s, q in zip(
                windows.sizes,
                windows.positions,
                windows.kernel,
                windows.stride,
                windows.pad,
                strict=True,
            )
        ]
        h, w = (xp.asarray(axis, dtype=work["weight"].dtype) for axis in sizes)
        work["weight"][...] = 1 / (h[:, None] * w)

    def bind_forward(self, x: Array, y: Array) -> None:
        self._y = y[self._at]
        self._folds = (
            _Fold(self._xp, "add", self._by_w, x[self._at], self._rows),
            _Fold(self._xp, "add", self._by_h, self._rows, self._y),
        )

    def forward(self) -> None:
        for fold in self._folds:
            fold.run()
        self._xp.multiply(self._y, self._work["weight"], out=self._y)

    def bind_backward(self, dx: Array, dy: Array) -> None:
        self._dy = dy[self._at]
        dx = dx[self._at]
        self._to_rows = [
            (self._rows[:, *tap.image], self._share[:, *tap.positions])
            for tap in self._by_h.taps()
        ]
        self._to_image = [
            (dx[:, *tap.image], self._rows[:, *tap.positions])
            for tap in self._by_w.taps()
        ]

    def backward(self) -> None:
        xp = self._xp
        xp.multiply(self._dy, self._work["weight"], out=self._share)
        self._rows.fill(0)
        for target, source in (*self._to_rows, *self._to_image):
            xp.add(target, source, out=target)


class _Winners:
    """Which element of every window along one axis is the maximum: the first of them.

    It is kept as a code: the kernel's length less the offset, so that the first is
    the largest; 0 is none, as in a window of NaNs.

    Shapes: winner (P, *positions); equal, code and share are flat and large enough.
    """

    def __init__(
        self, xp: ModuleType, windows: Windows, winner: Array, work: Mapping[str, Array]
    ) -> None:
        self._xp = xp
        self._winner = winner
        self._equal, self._code, self._share = (
            work[name][: winner.size].reshape(winner.shape)
            for name in ("equal", "code", "share")
        )
        length = max(windows.kernel)
        self._taps = [(length - max(tap.offset), tap) for tap in windows.taps()]

    def bind_find(self, image: Array, out: Array) -> None:
        self._compared = [
            (
                code,
                image[:, *tap.image],
                out[:, *tap.positions],
                self._equal[:, *tap.positions],
            )
            for code, tap in self._taps
        ]

    def find(self) -> None:
        """Compare an image with its folded maximum."""
        xp, equal, code = self._xp, self._equal, self._code
        self._winner.fill(0)
        for number, image, out, seen in self._compared:
            equal.fill(False)
            xp.equal(image, out, out=seen)
            xp.copyto(code, equal)
            xp.multiply(code, number, out=code)
            xp.maximum(self._winner, code, out=self._winner)

    def bind_spread(self, dimage: Array, dout: Array) -> None:
        self._dout = dout
        self._spread = [
            (code, dimage[:, *tap.image], self._share[:, *tap.positions])
            for code, tap in self._taps
        ]

    def spread(self) -> None:
        """Add the gradient of every position to its winner's."""
        xp, equal, share = self._xp, self._equal, self._share
        for number, dimage, part in self._spread:
            xp.equal(self._winner, number, out=equal)
            xp.copyto(share, equal)
            xp.multiply(share, self._dout, out=share)
            xp.add(dimage, part, out=dimage)

    def bind_pick(self, image: Array, out: Array) -> None:
        self._out = out
        self._picked = [
            (code, image[..., *tap.image], out[:, *tap.positions], seen)
            for code, tap in self._taps
            for seen in [self._equal[:, *tap.positions]]
        ]

    def pick(self) -> None:
        """Copy from another image where the winners were; -1 where there is none."""
        self._out.fill(-1)
        for number, image, out, seen in self._picked:
            self._xp.equal(self._winner, number, out=self._equal)
            self._xp.copyto(out, image, where=seen)


class Maximum:
    """One block of a maximum pooling, along w and then along h.

    So the first maximum in row-major order wins, and a window of kh x kw costs kh + kw
    passes, not kh kw.
    """

    def __init__(
        self, xp: ModuleType, windows: Windows, work: Mapping[str, Array], at: slice
    ) -> None:
        self._xp, self._at = xp, at
        self._by_w, self._by_h = _by_axis(windows)
        self._rows = work["rows"][: at.stop - at.start]
        self._masked = False
        self._winners: tuple[_Winners, ...] = ()
        if "winner w" in work:
            self._winners = (
                _Winners(xp, self._by_w, work["winner w"][at], work),
                _Winners(xp, self._by_h, work["winner h"][at], work),
            )

    def bind_forward(self, x: Array, y: Array) -> None:
        x, y = x[self._at], y[self._at]
        self._folds = (
            _Fold(self._xp, "maximum", self._by_w, x, self._rows),
            _Fold(self._xp, "maximum", self._by_h, self._rows, y),
        )
        if self._winners:
            self._winners[0].bind_find(x, self._rows)
            self._winners[1].bind_find(self._rows, y)

    def forward(self) -> None:
        for fold in self._folds:
            fold.run()
        for winners in self._winners:
            winners.find()
        if self._masked:
            for winners in self._winners:
                winners.pick()

    def bind_mask(self, mask: Array, index: Array) -> None:
        """Fill `mask` in every forward; index (H, W) holds the number of each pixel."""
        self._masked = True
        self._winners[0].bind_pick(index, self._rows)
        self._winners[1].bind_pick(self._rows, mask[self._at])

    def bind_backward(self, dx: Array, dy: Array) -> None:
        self._winners[1].bind_spread(self._rows, dy[self._at])
        self._winners[0].bind_spread(dx[self._at], self._rows)

    def backward(self) -> None:
        self._rows.fill(0)
        for winners in reversed(self._winners):
            winners.spread()


POOLS: Mapping[str, type[Maximum] | type[Average]] = {
    "MAX": Maximum,
    "AVE": Average,
}


def check_pool(node: Node) -> None:
    """Refuse a way of pooling that has no arithmetic."""
    pool = node.op.pool  # type: ignore[attr-defined]
    if pool not in POOLS:
        raise UnsupportedError(
            f"{pool} pooling has no arithmetic here, as in Caffe without a GPU; set "
            f"pool to {' or '.join(POOLS)}",
            layer=label(node.layer),
        )
