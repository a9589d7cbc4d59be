"""Pooling and SPP: the maximum or the average of every window of a plane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from netspec.errors import UnsupportedError
from netspec.ops import Shape, spp
from netspec.ops.base import count
from netspec.ops.pooling import Pooling as PoolingOp
from runtime.layers.base import Array, ArraySpec, Context, Kernel, register
from runtime.layers.windows import Tap, Windows, blocks

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
        return (self.total, *self.windows.places)

    def arrays(self, pool: str, learns: bool) -> dict[str, ArraySpec]:
        """Return the arrays of the pooling `pool`; `learns` if there is a gradient."""
        (_, w), (oh, ow) = self.windows.sizes, self.windows.places
        block = (self.at_once, oh, ow)
        specs = {"rows": ArraySpec((self.at_once, oh, w))}
        if pool == "AVE":
            specs["weight"] = ArraySpec((oh, ow), life="state")
            specs["share"] = ArraySpec(block)
        elif learns:
            code = "uint8" if count(self.windows.kernel) < 256 else "uint32"
            specs["winner"] = ArraySpec(self.out, code, life="saved")
            specs["code"] = ArraySpec(block, code)
            specs["equal"] = ArraySpec(block, "bool")
            specs["share"] = ArraySpec(block)
        return specs


class _Fold:
    """Combine the elements of every window: image (P, *sizes) -> out (P, *places).

    Windows are taken along h first and then along w, so that one of kh x kw costs
    kh + kw passes.
    """

    def __init__(
        self, xp: ModuleType, ufunc: str, windows: Windows, image: Array, out: Array
    ) -> None:
        self._xp = xp
        self._combine = getattr(xp, ufunc)
        lowest = float(xp.finfo(out.dtype).min)
        self._start = {"maximum": lowest, "add": 0.0}[ufunc]
        self._out = out
        pairs = [(image[:, *tap.image], out[:, *tap.places]) for tap in windows.taps()]
        # Begin with a position that every place sees, if there is one.
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


def _by_axis(windows: Windows) -> tuple[Windows, Windows]:
    """Split windows of an image into those along h, and those along w of the result."""
    (h, w), (oh, ow) = windows.sizes, windows.places
    (kh, kw), (sh, sw), (ph, pw) = windows.kernel, windows.stride, windows.pad
    return (
        Windows((h, w), (oh, w), (kh, 1), (sh, 1), (ph, 0), (1, 1)),
        Windows((oh, w), (oh, ow), (1, kw), (1, sw), (0, pw), (1, 1)),
    )


class _Average:
    """One block of an average pooling.

    A window counts what it covers of the image with its padding, but nothing beyond.
    One that lies beyond altogether gives 0; Caffe divides 0 by 0.
    """

    def __init__(
        self, xp: ModuleType, windows: Windows, work: Mapping[str, Array], at: slice
    ) -> None:
        self._xp, self._work, self._at = xp, work, at
        self._by_h, self._by_w = _by_axis(windows)
        self._rows = work["rows"][: at.stop - at.start]
        self._share = work["share"][: at.stop - at.start]
        sizes = [
            [max(1, min(k, n + 2 * q - p * s)) for p in range(places)]
            for n, places, k, s, q in zip(
                windows.sizes,
                windows.places,
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
            _Fold(self._xp, "add", self._by_h, x[self._at], self._rows),
            _Fold(self._xp, "add", self._by_w, self._rows, self._y),
        )

    def forward(self) -> None:
        for fold in self._folds:
            fold.run()
        self._xp.multiply(self._y, self._work["weight"], out=self._y)

    def bind_backward(self, dx: Array, dy: Array) -> None:
        self._dy = dy[self._at]
        dx = dx[self._at]
        self._to_rows = [
            (self._rows[:, *tap.image], self._share[:, *tap.places])
            for tap in self._by_w.taps()
        ]
        self._to_image = [
            (dx[:, *tap.image], self._rows[:, *tap.places]) for tap in self._by_h.taps()
        ]

    def backward(self) -> None:
        xp = self._xp
        xp.multiply(self._dy, self._work["weight"], out=self._share)
        self._rows.fill(0)
        for target, source in (*self._to_rows, *self._to_image):
            xp.add(target, source, out=target)


class _Maximum:
    """One block of a maximum pooling.

    The first maximum of a window, in row-major order, gets the gradient. Which one that
    is is kept as a code: the number of kernel positions less the position, so that the
    first is the largest; 0 is none, as in a window of NaNs.
    """

    def __init__(
        self, xp: ModuleType, windows: Windows, work: Mapping[str, Array], at: slice
    ) -> None:
        self._xp = xp
        self._windows, self._at = windows, at
        self._learns = "winner" in work
        self._mask: Array | None = None
        self._size = slice(0, at.stop - at.start)
        self._rows = work["rows"][self._size]
        if self._learns:
            self._winner = work["winner"][at]
            self._code = work["code"][self._size]
            self._equal = work["equal"][self._size]
            self._share = work["share"][self._size]

    def bind_forward(self, x: Array, y: Array) -> None:
        x, y = x[self._at], y[self._at]
        by_h, by_w = _by_axis(self._windows)
        self._folds = (
            _Fold(self._xp, "maximum", by_h, x, self._rows),
            _Fold(self._xp, "maximum", by_w, self._rows, y),
        )
        if self._learns:
            self._compared = [
                (code, x[:, *tap.image], y[:, *tap.places], self._equal[:, *tap.places])
                for code, tap in _codes(self._windows)
            ]

    def forward(self) -> None:
        for fold in self._folds:
            fold.run()
        if not self._learns:
            return
        xp, equal, code = self._xp, self._equal, self._code
        self._winner.fill(0)
        for number, x, y, seen in self._compared:
            equal.fill(False)
            xp.equal(x, y, out=seen)
            xp.copyto(code, equal)
            xp.multiply(code, number, out=code)
            xp.maximum(self._winner, code, out=self._winner)

    def bind_backward(self, dx: Array, dy: Array) -> None:
        dx = dx[self._at]
        self._dy = dy[self._at]
        self._pairs = [
            (code, dx[:, *tap.image], self._share[:, *tap.places])
            for code, tap in _codes(self._windows)
        ]

    def backward(self) -> None:
        xp, equal, share = self._xp, self._equal, self._share
        for number, dx, part in self._pairs:
            xp.equal(self._winner, number, out=equal)
            xp.copyto(share, equal)
            xp.multiply(share, self._dy, out=share)
            xp.add(dx, part, out=dx)

    def bind_mask(self, mask: Array, index: Array) -> None:
        self._mask = mask[self._at]
        self._places = [
            (code, self._mask[:, *tap.places], index[tap.image], equal)
            for code, tap in _codes(self._windows)
            for equal in [self._equal[:, *tap.places]]
        ]

    def find_places(self) -> None:
        """Write the place of every maximum within its plane, if there is a mask."""
        if self._mask is None:
            return
        self._mask.fill(-1)
        for number, mask, index, seen in self._places:
            self._xp.equal(self._winner, number, out=self._equal)
            self._xp.copyto(mask, index, where=seen)


def _codes(windows: Windows) -> Iterator[tuple[int, Tap]]:
    positions = count(windows.kernel)
    for tap in windows.taps():
        row, column = tap.position
        yield positions - (row * windows.kernel[1] + column), tap


_BLOCKS: Mapping[str, type[_Maximum] | type[_Average]] = {
    "MAX": _Maximum,
    "AVE": _Average,
}


def _check_pool(node: Node) -> None:
    pool = node.op.pool  # type: ignore[attr-defined]
    if pool not in _BLOCKS:
        raise UnsupportedError(
            f"layer {node.name!r} ({node.type}): {pool} pooling has no arithmetic "
            f"here, as in Caffe without a GPU; set pool to {' or '.join(_BLOCKS)}"
        )


@register
class Pooling(Kernel[PoolingOp]):
    """The maximum or the average of every window.

        MAX  y = max of x over the window;      dx = dy at the first maximum, else 0
        AVE  y = sum of x over the window / n;  dx = dy / n, n the size of the window

    Overlapping windows add up in dx. n counts padding but nothing beyond it, as in
    Caffe. A second top of MAX holds h W + w of the maximum. A NaN in a window gives
    NaN, where Caffe passes over it.

    Shapes: x (N, C, H, W) -> y (N, C, H', W'); the sizes are explained at the op.
    """

    types = ("Pooling",)

    def __init__(self, node: Node, context: Context) -> None:
        super().__init__(node, context)
        _check_pool(node)
        op = self.op
        image, places = op.bottoms[0], op.tops[0]
        windows = Windows(
            image[2:], places[2:], op.kernel, op.stride, op.pad, dilation=(1, 1)
        )
        size = max(1, count(windows.sizes))
        at_once = max(1, self.backend.block_elements // size)
        total = count(image, 0, 2)
        self._planes = Planes(total, windows, min(at_once, total))

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for room to fold in, and for the winners where they are needed."""
        masked = len(self.op.tops) > 1
        learns = masked or any(self.node.propagate)
        specs = self._planes.arrays(self.op.pool, learns)
        if masked:
            specs["index"] = ArraySpec(self._planes.windows.sizes, life="state")
        return specs

    def setup(self) -> None:
        """Bind every block of planes."""
        total, windows = self._planes.total, self._planes.windows
        image, places = (total, *windows.sizes), (total, *windows.places)
        self._blocks = [
            _BLOCKS[self.op.pool](self.xp, windows, self.work, at)
            for at in self._planes.blocks
        ]
        for block in self._blocks:
            block.bind_forward(self.x.reshape(image), self.y.reshape(places))
            if self.dx is not None:
                block.bind_backward(self.dx.reshape(image), self.dy.reshape(places))
        if len(self.tops) > 1:
            index = self.work["index"]
            index[...] = self.xp.arange(index.size).reshape(index.shape)
            for block in self._blocks:
                if isinstance(block, _Maximum):
                    block.bind_mask(self.tops[1].reshape(places), index)

    def forward(self) -> None:
        """Compute y, and the mask if there is a second top."""
        for block in self._blocks:
            block.forward()
            if isinstance(block, _Maximum):
                block.find_places()

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute dx."""
        if self.dx is None:
            return
        self.dx.fill(0)
        for block in self._blocks:
            block.backward()


@register
class SPP(Kernel[spp.SPP]):
    """Poolings of a pyramid to 1, 2 x 2, 4 x 4, ... bins, flattened and joined.

    Shapes: x (N, C, H, W) -> y (N, C (1 + 4 + ...)), level by level; with one level
    (N, C, 1, 1).
    """

    types = ("SPP",)

    def __init__(self, node: Node, context: Context) -> None:
        super().__init__(node, context)
        _check_pool(node)
        image = self.op.bottoms[0]
        total = count(image, 0, 2)
        at_once = max(1, self.backend.block_elements // max(1, count(image, 2)))
        self._levels = [
            Planes(
                total,
                Windows(image[2:], one.pooled, one.kernel, one.kernel, one.pad, (1, 1)),
                min(at_once, total),
            )
            for one in self.op.levels
        ]

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the arrays of every level, and for what it is pooled to."""
        specs = {}
        for level, planes in enumerate(self._levels):
            wanted = planes.arrays(self.op.pool, any(self.node.propagate))
            wanted["out"] = ArraySpec(planes.out)
            specs.update({f"{level}:{name}": spec for name, spec in wanted.items()})
        return specs

    def setup(self) -> None:
        """Bind every block of every level, and find the levels' places in the top."""
        image = self.op.bottoms[0]
        self._blocks, self._copies, self._dcopies = [], [], []
        start = 0
        for level, planes in enumerate(self._levels):
            prefix = f"{level}:"
            work = {
                name.removeprefix(prefix): array
                for name, array in self.work.items()
                if name.startswith(prefix)
            }
            flat = (planes.total, *planes.windows.sizes)
            length = image[1] * count(planes.windows.places)
            out = work["out"]
            flat_out = out.reshape(image[0], length)
            at = slice(start, start + length)
            start += length
            self._copies.append((self._flat(self.y)[:, at], flat_out))
            if self.dx is not None:
                self._dcopies.append((flat_out, self._flat(self.dy)[:, at]))
            for chosen in planes.blocks:
                block = _BLOCKS[self.op.pool](self.xp, planes.windows, work, chosen)
                block.bind_forward(self.x.reshape(flat), out)
                if self.dx is not None:
                    block.bind_backward(self.dx.reshape(flat), out)
                self._blocks.append(block)

    def _flat(self, top: Array) -> Array:
        return top.reshape(top.shape[0], -1)

    def forward(self) -> None:
        """Pool to every level and join."""
        for block in self._blocks:
            block.forward()
        for top, out in self._copies:
            self.xp.copyto(top, out)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Add up the levels' gradients."""
        if self.dx is None:
            return
        for out, dtop in self._dcopies:
            self.xp.copyto(out, dtop)
        self.dx.fill(0)
        for block in self._blocks:
            block.backward()
