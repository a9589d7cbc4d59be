"""Local response normalization."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops.lrn import LRN as LrnOp  # noqa: N811
from runtime.arrays import Array, ArraySpec
from runtime.layers._windows import blocks
from runtime.layers.base import Kernel, register


class _WindowSums:
    """Sums over centred windows along some axes, by adding shifted copies.

    Differences of a running sum would need fewer additions but cancel: in float32 they
    are wrong in the third digit where these are right in the seventh.
    Shapes: first, second (equal); the sums of `first` end up in `result`.
    """

    def __init__(
        self,
        kernel: Kernel,
        first: Array,
        second: Array,
        axes: Sequence[int],
        size: int,
    ) -> None:
        self._xp = kernel.xp
        self._passes = []
        for axis in axes:
            pairs = []
            for shift in range(1, min(size // 2, first.shape[axis] - 1) + 1):
                before = (slice(None),) * axis
                late, early = slice(shift, None), slice(None, -shift)
                pairs.append((second[(*before, late)], first[(*before, early)]))
                pairs.append((second[(*before, early)], first[(*before, late)]))
            self._passes.append((first, second, pairs))
            first, second = second, first
        self.result = first

    def run(self) -> None:
        for source, target, pairs in self._passes:
            self._xp.copyto(target, source)
            for part, shifted in pairs:
                self._xp.add(part, shifted, out=part)


@register
class LRN(Kernel[LrnOp]):
    """Divide every value by a power of the energy around it.

        s = k + alpha / n * sum of x^2 over the window;  y = x / s^beta
        dx = dy / s^beta - 2 alpha beta / n * x * sum of (dy y / s) over the window

    The window is `local_size` channels, n = local_size; or, WITHIN_CHANNEL, a square of
    `local_size` pixels, n = local_size^2 also at the borders and k = 1, as in Caffe.

    Shapes: x (N, C, H, W) -> y (same).
    Source: Krizhevsky, Sutskever, Hinton, ImageNet classification with deep
    convolutional neural networks, 2012, section 3.3.
    """

    types = ("LRN",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for s, kept for the gradient, and for two blocks of images."""
        shape = self.op.tops[0]
        images = max(1, self.backend.block_elements // max(1, self.x_size))
        self._taken = blocks(shape[0], images)
        at_once = max((at.stop - at.start for at in self._taken), default=0)
        block = (at_once, *shape[1:])
        return {
            "s": ArraySpec(shape, life="saved"),
            "first": ArraySpec(block),
            "second": ArraySpec(block),
        }

    @property
    def x_size(self) -> int:
        """Elements of one image."""
        _, c, h, w = self.op.bottoms[0]
        return c * h * w

    def setup(self) -> None:
        """Cut everything into blocks of images."""
        op = self.op
        across = op.norm_region == "ACROSS_CHANNELS"
        axes = (1,) if across else (2, 3)
        size = op.local_size if across else op.local_size**2
        self._k = op.k if across else 1.0
        self._share = op.alpha / size
        self._blocks = []
        for at in self._taken:
            part = slice(0, at.stop - at.start)
            first, second = self.work["first"][part], self.work["second"][part]
            sums = _WindowSums(self, first, second, axes, op.local_size)
            spare = second if sums.result is first else first
            arrays = [self.x[at], self.y[at], self.work["s"][at]]
            gradients = [None, None]
            if self.dx is not None:
                gradients = [self.dx[at], self.dy[at]]
            self._blocks.append((arrays, gradients, first, sums, spare))

    def forward(self) -> None:
        """Compute s and y."""
        xp, backend = self.xp, self.backend
        for (x, y, s), _, first, sums, spare in self._blocks:
            xp.multiply(x, x, out=first)
            sums.run()
            xp.multiply(sums.result, self._share, out=s)
            xp.add(s, self._k, out=s)
            backend.power(s, self.op.beta, out=y, scratch=spare)
            xp.divide(x, y, out=y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute dx."""
        if self.dx is None:
            return
        xp, backend = self.xp, self.backend
        factor = 2 * self._share * self.op.beta
        for (x, _, s), (dx, dy), first, sums, spare in self._blocks:
            # y is computed again, so that its memory is free until backward.
            backend.power(s, self.op.beta, out=dx, scratch=spare)
            xp.divide(x, dx, out=first)
            xp.multiply(dy, first, out=first)
            xp.divide(first, s, out=first)
            sums.run()
            xp.multiply(sums.result, x, out=sums.result)
            xp.multiply(sums.result, factor, out=sums.result)
            xp.divide(dy, dx, out=dx)
            xp.subtract(dx, sums.result, out=dx)
